"""The consumer library against a real pipeline on real sockets, with a proxy that loses messages."""

from __future__ import annotations

import logging
import re
import threading
import time
from collections.abc import Iterator
from itertools import islice
from typing import Any

import pytest
import zmq
from support.change_records import children, data_change, heartbeat, message
from support.lossy import LossyProxy
from support.ports import free_endpoint
from support.waiting import soon

from spanwire import Subscriber
from spanwire._core import Change, Output, Partition, Pipeline, Timestamp
from spanwire.consumer.cursor import Cursor
from spanwire.errors import ClosedError, ConfigError, FormatError, Gap

WAIT_S = 60.0
T0 = Timestamp.parse("2026-11-23T10:00:00Z")


def stamp(second: int) -> str:
    """A commit timestamp."""
    return f"2026-11-23T10:00:{second:02d}.000000000Z"


class Relay:
    """A pipeline with one partition; each `send` goes out as a message of its own."""

    def __init__(
        self, bind: str = "tcp://127.0.0.1:*", *, epoch: int = 7, resumed: int | None = None
    ) -> None:
        self.pipeline = Pipeline("shop", "all", [Output("pub", [bind])], options={"tick_ms": 20})
        self.endpoint = self.pipeline.endpoints[0][0]
        self.partition = self.open(epoch, resumed)

    def open(self, epoch: int, resumed: int | None = None, token: str = "token", **more: object) -> Partition:
        """Open a partition under an epoch."""
        start = T0 if resumed is None else Timestamp.parse(stamp(resumed))
        return self.pipeline.partition(
            token,
            dialect="googlesql",
            epoch=epoch,
            start=start,
            resumed=resumed is not None,
            **more,  # type: ignore[arg-type]
        )

    def send(self, second: int, *ids: int, table: str = "orders", partition: Partition | None = None) -> None:
        """Send one message, with a change for each id."""
        mods = [({"Id": str(one)}, {"Name": f"n{one}"}, {}) for one in ids]
        (partition or self.partition).push([message(data_change(stamp(second), mods, table=table))])
        assert self.pipeline.drain(WAIT_S)

    def beat(self, second: int) -> None:
        """Let a heartbeat say that all up to here was sent."""
        self.partition.push([message(heartbeat(stamp(second)))])
        assert self.pipeline.drain(WAIT_S)


@pytest.fixture
def relay() -> Iterator[Relay]:
    """A relay with one partition."""
    relay = Relay(free_endpoint())  # some tests bind there again
    with relay.pipeline:
        yield relay


@pytest.fixture
def proxy(relay: Relay) -> Iterator[LossyProxy]:
    """In front of the relay, losing nothing until told so."""
    with LossyProxy(relay.endpoint) as proxy:
        yield proxy


@pytest.fixture
def subscriber(proxy: LossyProxy) -> Iterator[Subscriber]:
    """Behind the proxy, joined."""
    with Subscriber(proxy.endpoint) as subscriber:
        assert subscriber.wait_joined(WAIT_S)
        yield subscriber


def ids(changes: list[Change]) -> list[int]:
    """Their keys."""
    return [change.keys["Id"] for change in changes]


def receive(subscriber: Subscriber, count: int) -> list[int]:
    """The ids of the next changes, exactly so many."""
    found: list[int] = []
    while len(found) < count:
        changes = subscriber.receive(WAIT_S)
        assert changes, f"only {found} arrived"
        found += ids(changes)
    assert len(found) == count, found
    return found


def next_gap(subscriber: Subscriber) -> Gap:
    """The gap that comes next, before any change."""
    with pytest.raises(Gap) as caught:
        receive(subscriber, 1)
    return caught.value


def nothing_comes(subscriber: Subscriber, seconds: float = 0.2) -> None:
    """Neither changes nor gaps."""
    assert subscriber.receive(seconds) == []


def test_changes_arrive_in_order_and_decoded(relay: Relay, subscriber: Subscriber) -> None:
    """What was pushed is handed over in order, with its values."""
    relay.send(1, 1, 2)
    relay.send(2, 3)
    first = next(iter(subscriber))
    assert (first.topic, first.table, first.mod_type) == ("shop/all/orders/", "orders", "INSERT")
    assert (first.keys, first.new) == ({"Id": 1}, {"Name": "n1"})
    assert receive(subscriber, 2) == [2, 3]


def test_an_iteration_that_is_left_goes_on_later(relay: Relay, subscriber: Subscriber) -> None:
    """Leaving a for loop loses nothing of the message it was in."""
    relay.send(1, 1, 2, 3)
    for change in subscriber:
        assert change.keys["Id"] == 1
        break
    assert receive(subscriber, 2) == [2, 3]


def test_a_lost_message_raises_between_its_neighbours(
    relay: Relay, proxy: LossyProxy, subscriber: Subscriber
) -> None:
    """The gap stands in the place of what is missing, names it, and receiving goes on after it."""
    proxy.lose = lambda message: message.kind == "changes" and message.sequence in (1, 2)
    for second in range(1, 5):
        relay.send(second, second)
    received = [subscriber.receive(WAIT_S)]
    gap = next_gap(subscriber)
    received.append(subscriber.receive(WAIT_S))
    assert [ids(changes) for changes in received] == [[1], [4]]
    assert gap.fields["topic"] == "shop/all/orders/"
    assert gap.fields["sequences"] == (1, 2)
    assert gap.fields["after"] == received[0][-1].version
    assert gap.fields["before"] == received[1][0].version
    assert gap.fields["certain"]
    assert (gap.fields["epoch"], gap.fields["incarnation"]) == (7, relay.pipeline.incarnation)
    assert "2 messages missing (1 to 2) of shop/all/orders/" in str(gap)
    nothing_comes(subscriber)


def test_a_lost_tail_is_noticed_by_the_next_tick(
    relay: Relay, proxy: LossyProxy, subscriber: Subscriber
) -> None:
    """Without any later change."""
    proxy.lose = lambda message: message.kind == "changes" and message.sequence >= 1
    relay.send(1, 1)
    relay.send(2, 2)
    (change,) = subscriber.receive(WAIT_S)
    gap = next_gap(subscriber)
    assert (gap.fields["sequences"], gap.fields["after"], gap.fields["before"]) == (
        (1, 1),
        change.version,
        None,
    )
    nothing_comes(subscriber)


def test_a_lost_first_message_is_noticed(relay: Relay, proxy: LossyProxy, subscriber: Subscriber) -> None:
    """Of a topic of which nothing had come before."""
    proxy.lose = lambda message: message.kind == "changes" and message.sequence == 0
    relay.send(1, 1)
    relay.send(2, 2)
    gap = next_gap(subscriber)
    assert gap.fields["sequences"] == (0, 0)
    assert receive(subscriber, 1) == [2]
    nothing_comes(subscriber)


def test_a_new_partitions_lost_first_message_is_noticed_at_once(
    relay: Relay, proxy: LossyProxy, subscriber: Subscriber
) -> None:
    """Of a partition that began while this subscriber followed, the gap comes before the next change."""
    relay.beat(1)
    relay.partition.finish()
    left = relay.open(8, resumed=1, token="left", parents=["token"])
    wait_for_partition(subscriber, 2)
    proxy.lose = lambda message: message.kind == "changes" and message.sequence == 0
    relay.send(2, 2, partition=left)
    relay.send(3, 3, partition=left)
    assert next_gap(subscriber).fields["sequences"] == (0, 0)
    assert receive(subscriber, 1) == [3]
    nothing_comes(subscriber)


def wait_for_partition(subscriber: Subscriber, epochs: int) -> None:
    """Receive until the ticks have told so many partitions, at least for two ticks."""
    for _ in range(5 * epochs):
        assert subscriber.receive(0.05) == []


def test_a_topic_lost_whole_is_noticed(relay: Relay, proxy: LossyProxy, subscriber: Subscriber) -> None:
    """Although nothing of it ever arrives."""
    proxy.lose = lambda message: message.topic == "shop/all/lines/"
    relay.send(1, 1)
    relay.send(2, 2, table="lines")
    relay.send(3, 3, table="lines")
    found: list[int] = []
    gaps: list[Gap] = []
    while len(found) < 1 or not gaps or gaps[-1].fields["sequences"][1] < 1:
        try:
            found += ids(subscriber.receive(WAIT_S))
        except Gap as gap:
            gaps.append(gap)
    assert found == [1]
    assert {gap.fields["topic"] for gap in gaps} == {"shop/all/lines/"}
    missing = [
        number for gap in gaps for number in range(gap.fields["sequences"][0], gap.fields["sequences"][1] + 1)
    ]
    assert missing == [0, 1]


def test_other_topics_losses_are_not_told(relay: Relay, proxy: LossyProxy) -> None:
    """Who follows one topic hears of that one's losses only, and still gets its ticks."""
    proxy.lose = lambda message: message.topic == "shop/all/lines/"
    with Subscriber(proxy.endpoint, "shop/all/orders/") as subscriber:
        assert subscriber.wait_joined(WAIT_S)
        relay.send(1, 1, table="lines")
        relay.send(2, 2, table="orders")
        relay.send(3, 3, table="orders_archive")
        assert receive(subscriber, 1) == [2]
        nothing_comes(subscriber)
    assert proxy.lost


def test_losses_while_ticks_are_lost_too_are_noticed_after(
    relay: Relay, proxy: LossyProxy, subscriber: Subscriber
) -> None:
    """A broken link takes ticks with it: what they told is told again."""
    relay.send(1, 1)
    assert receive(subscriber, 1) == [1]
    proxy.lose = lambda _: True
    relay.send(2, 2)
    deadline = time.monotonic() + WAIT_S
    while sum(one.kind == "tick" for one in proxy.lost) < 3:
        assert time.monotonic() < deadline
        time.sleep(0.01)
    proxy.lose = lambda _: False
    gap = next_gap(subscriber)
    assert (gap.fields["sequences"], gap.fields["certain"]) == ((1, 1), True)
    nothing_comes(subscriber)


def test_gaps_can_be_called_back(relay: Relay, proxy: LossyProxy) -> None:
    """With on_gap nothing is raised, and the call comes before the changes that follow the gap."""
    proxy.lose = lambda message: message.kind == "changes" and message.sequence == 1
    happened: list[object] = []
    with Subscriber(
        proxy.endpoint, on_gap=lambda gap: happened.append(gap.fields["sequences"])
    ) as subscriber:
        assert subscriber.wait_joined(WAIT_S)
        for second in (1, 2, 3):
            relay.send(second, second)
        while 3 not in happened:
            happened += ids(subscriber.receive(WAIT_S))
    assert happened == [1, (1, 1), 3]


def test_a_joiner_is_not_owed_what_was_before(relay: Relay) -> None:
    """Neither the flows' earlier messages nor flows that rest are announced as missing."""
    relay.send(1, 1)
    relay.send(2, 2, table="lines")
    with Subscriber(relay.endpoint) as subscriber:
        assert subscriber.wait_joined(WAIT_S)
        nothing_comes(subscriber, 0.5)
        relay.send(3, 3)
        relay.send(4, 4, table="lines")
        assert receive(subscriber, 2) == [3, 4]


def test_what_is_sent_again_is_handed_over_once(relay: Relay, subscriber: Subscriber) -> None:
    """A partition read again under a new epoch brings the same changes, and new ones."""
    relay.send(1, 1, 2)
    relay.send(2, 3)
    assert receive(subscriber, 3) == [1, 2, 3]
    relay.partition.release()
    again = relay.open(8)
    relay.send(1, 1, 2, partition=again)
    relay.send(2, 3, partition=again)
    relay.send(3, 4, partition=again)
    assert receive(subscriber, 1) == [4]
    nothing_comes(subscriber)


def test_an_old_epochs_changes_are_taken(relay: Relay, subscriber: Subscriber) -> None:
    """A former owner that goes on for a while sends what the new one may never send again."""
    new = relay.open(8, resumed=5)
    relay.send(6, 6, partition=new)
    assert receive(subscriber, 1) == [6]
    relay.send(7, 7, partition=relay.partition)
    assert receive(subscriber, 1) == [7]
    nothing_comes(subscriber)


def test_a_restarted_relay_is_a_continuation(relay: Relay) -> None:
    """After an orderly stop, changes under the new incarnation follow without a gap."""
    with Subscriber(relay.endpoint) as subscriber:
        assert subscriber.wait_joined(WAIT_S)
        relay.send(1, 1)
        relay.beat(5)
        relay.partition.release()
        relay.pipeline.close()
        assert receive(subscriber, 1) == [1]
        restarted = Relay(relay.endpoint, epoch=8, resumed=5)
        with restarted.pipeline:
            assert receive_until(subscriber, restarted, 6) == [6]
            nothing_comes(subscriber)


def receive_until(subscriber: Subscriber, relay: Relay, second: int) -> list[int]:
    """Send once the subscriber has come back to this relay."""
    baselines = subscriber._inbox.baselines
    deadline = time.monotonic() + WAIT_S
    while subscriber._inbox.baselines == baselines:
        assert time.monotonic() < deadline
        assert subscriber.receive(0.05) == []
    relay.send(second, second)
    return receive(subscriber, 1)


def restart(relay: Relay, subscriber: Subscriber, epoch: int) -> Relay:
    """Another relay in the place of one that ended when all up to second 5 had come."""
    relay.beat(5)
    wait_for_watermark(subscriber, 5)
    relay.partition.release()
    relay.pipeline.close()
    return Relay(relay.endpoint, epoch=epoch, resumed=5)


def test_what_a_restarted_relay_sent_before_the_link_was_back_is_missed(
    relay: Relay, proxy: LossyProxy, subscriber: Subscriber
) -> None:
    """It goes on for one who followed: its flows are owed from their first message."""
    proxy.lose = lambda message: message.kind == "changes"  # the link may be back before it is sent
    restarted = restart(relay, subscriber, 8)
    with restarted.pipeline:
        restarted.send(6, 6)
        gap = next_gap(subscriber)
        assert (gap.fields["sequences"], gap.fields["epoch"]) == ((0, 0), 8)
        assert str(gap.fields["after"]) == stamp(5)


def test_an_epoch_that_did_not_rise_is_logged_once(relay: Relay, caplog: pytest.LogCaptureFixture) -> None:
    """Another process under the same epoch cannot be told from one that is out of date: that is said."""
    with Subscriber(relay.endpoint) as subscriber:
        assert subscriber.wait_joined(WAIT_S)
        restarted = restart(relay, subscriber, 7)
        with restarted.pipeline:
            assert receive_until(subscriber, restarted, 6) == [6]
            restarted.send(7, 7)
            assert receive(subscriber, 1) == [7]
            nothing_comes(subscriber)
    said = [record.getMessage() for record in caplog.records if "epoch" in record.getMessage()]
    (partition,) = subscriber._inbox.followers[0].clashes
    assert said == [
        f"two relay processes own partition {partition.hex()} under epoch 7: losses of the later one are "
        "not told and the watermark stays behind; epochs must rise, across restarts too"
    ]


def wait_for_watermark(subscriber: Subscriber, second: int) -> None:
    """Receive until all up to there is known to have come."""
    deadline = time.monotonic() + WAIT_S
    while subscriber.watermark is None or subscriber.watermark < Timestamp.parse(stamp(second)):
        assert time.monotonic() < deadline, subscriber.watermark
        subscriber.receive(0.05)


def test_the_watermark_follows_partitions_and_their_children(relay: Relay, subscriber: Subscriber) -> None:
    """It is the least position over live partitions; a child takes over from its parent."""
    relay.send(1, 1)
    relay.beat(5)
    wait_for_watermark(subscriber, 5)
    relay.partition.push([message(children(stamp(7), [("left", ["token"])]))])
    relay.partition.finish()
    left = relay.open(8, resumed=7, token="left", parents=["token"])
    left.push([message(heartbeat(stamp(9)))])
    wait_for_watermark(subscriber, 9)
    assert subscriber.watermark == Timestamp.parse(stamp(9))


def seconds_received(subscriber: Subscriber) -> int:
    """The second up to which the watermark says that all was handed over; 0 while it says nothing."""
    watermark = subscriber.watermark
    return 0 if watermark is None or watermark < T0 else int(str(watermark)[17:19])


def test_the_watermark_waits_for_a_busy_consumer(relay: Relay, subscriber: Subscriber) -> None:
    """It never passes a change that has come but was not handed over: whoever stores it loses none."""
    for second in range(1, 6):
        relay.send(second, second)
        time.sleep(0.03)
    relay.beat(30)
    time.sleep(0.3)  # all of it has come, and the tick that tells 30
    for second in range(1, 6):
        assert seconds_received(subscriber) < second
        assert receive(subscriber, 1) == [second]
    wait_for_watermark(subscriber, 30)


def test_the_watermark_waits_for_the_last_change_of_an_iteration(
    relay: Relay, subscriber: Subscriber
) -> None:
    """The changes of one message come one by one, and it may be read between them, and after a close."""
    relay.send(1, 1, 2, 3)
    relay.send(2, 4)
    relay.beat(30)
    time.sleep(0.3)
    iteration = iter(subscriber)
    for expected in (1, 2, 3):
        assert seconds_received(subscriber) < 1
        assert next(iteration).keys["Id"] == expected
    assert seconds_received(subscriber) < 2
    subscriber.close()
    assert seconds_received(subscriber) < 2


def test_the_watermark_waits_for_changes_passed_by_whole_messages(
    relay: Relay, subscriber: Subscriber
) -> None:
    """What an iteration left over still counts as not handed over when messages are taken behind it."""
    relay.send(1, 1, 2)
    relay.send(3, 3)
    relay.beat(30)
    assert next(iter(subscriber)).keys["Id"] == 1
    assert next(subscriber.messages(WAIT_S)).count == 1
    for _ in subscriber.messages(0.3):
        pass
    assert seconds_received(subscriber) < 1
    assert receive(subscriber, 1) == [2]
    wait_for_watermark(subscriber, 30)


def test_a_gap_comes_before_the_watermark_passes_it(
    relay: Relay, proxy: LossyProxy, subscriber: Subscriber
) -> None:
    """While a loss waits to be told, the watermark stays before it."""
    proxy.lose = lambda message: message.kind == "changes" and message.sequence == 1
    for second in (1, 2):
        relay.send(second, second)
    relay.beat(30)
    time.sleep(0.3)
    assert receive(subscriber, 1) == [1]
    assert seconds_received(subscriber) < 2
    assert next_gap(subscriber).fields["sequences"] == (1, 1)
    wait_for_watermark(subscriber, 30)


async def test_async_for_hands_over_the_same(relay: Relay, proxy: LossyProxy) -> None:
    """Changes, gaps and the end of a timeout, on the running event loop."""
    proxy.lose = lambda message: message.kind == "changes" and message.sequence == 1
    with Subscriber(proxy.endpoint) as subscriber:
        assert subscriber.wait_joined(WAIT_S)
        assert await subscriber.areceive(0.05) == []
        for second in (1, 2, 3):
            relay.send(second, second)
        async for change in subscriber:
            assert change.keys["Id"] == 1
            break
        with pytest.raises(Gap):
            await subscriber.areceive(WAIT_S)
        assert ids(await subscriber.areceive(WAIT_S)) == [3]


async def test_async_receiving_wakes_up_for_what_comes_later(relay: Relay, proxy: LossyProxy) -> None:
    """A task that waits is woken by the socket, not by a timeout."""
    with Subscriber(proxy.endpoint) as subscriber:
        assert subscriber.wait_joined(WAIT_S)
        timer = threading.Timer(0.2, relay.send, (1, 1))
        timer.start()
        began = time.monotonic()
        assert ids(await subscriber.areceive(WAIT_S)) == [1]
        assert time.monotonic() - began < WAIT_S
        timer.join()


def test_what_is_not_ours_is_refused_and_the_rest_goes_on(relay: Relay) -> None:
    """A foreign message is a FormatError; what comes after it is taken."""
    foreign = zmq.Context.instance().socket(zmq.PUB)
    port = foreign.bind_to_random_port("tcp://127.0.0.1")
    with Subscriber([relay.endpoint, f"tcp://127.0.0.1:{port}"]) as subscriber:
        assert soon(lambda: subscriber.receive(0) == [] and subscriber.heard)
        with pytest.raises(FormatError):
            for _ in range(1200):  # until the link is there
                foreign.send_multipart([b"a/b/c/", b"x", b"y", b"z"])
                subscriber.receive(0.05)
        relay.send(1, 1)
        found: list[int] = []
        while not found:
            try:
                found = ids(subscriber.receive(WAIT_S))
            except FormatError:
                continue
        assert found == [1]
    foreign.close(0)


def dead_letter_relay(topic: str = "{database}/{stream}/{table}/") -> Pipeline:
    """A pipeline that sends on what it cannot decode."""
    output = Output("pub", ["tcp://127.0.0.1:*"])
    return Pipeline(
        "shop", "all", [output], topic=topic, on_undecodable="dead-letter", options={"tick_ms": 20}
    )


def undecodable(second: int, table: str = "orders", nanos: int = 0) -> bytes:
    """A change whose keys are not what they must be."""
    at = stamp(second).replace("000000000Z", f"{nanos:09d}Z")
    return message(data_change(at, [("not an object", {}, {})], table=table))


def wait_for_letters(subscriber: Subscriber, letters: list[dict[str, object]], count: int) -> list[object]:
    """Receive until so many dead letters came, and then a while; their tables."""
    deadline = time.monotonic() + WAIT_S
    while len(letters) < count:
        assert time.monotonic() < deadline, letters
        subscriber.receive(0.05)
    nothing_comes(subscriber)
    return [one["table"] for one in letters]


@pytest.mark.parametrize(
    ("template", "topics", "ticks"),
    [
        ("{database}/{stream}/{table}/", "", ""),
        ("{database}/{stream}/{table}/", "shop/all/", ""),
        ("{database}/{stream}/{table}/", "shop/all/_dead/", ""),
        ("{database}/{stream}/x/{table}/", "shop/all/x/orders/", ""),
        ("cdc/{table}/", "cdc/orders/", "shop/all/_tick/"),
    ],
)
def test_dead_letters_are_told(template: str, topics: str, ticks: str) -> None:
    """A change that could not be decoded comes as a call: all where topics do not tell the tables."""
    letters: list[dict[str, object]] = []
    with (
        dead_letter_relay(template) as pipeline,
        Subscriber(
            pipeline.endpoints[0], topics, ticks=ticks or (), on_dead_letter=letters.append
        ) as subscriber,
    ):
        partition = pipeline.partition("token", dialect="googlesql", epoch=1, start=T0)
        if "_dead" in topics:  # no ticks are subscribed to: letters until one has come
            for number in range(1200):
                partition.push([undecodable(0, "first", number)])
                assert subscriber.receive(0.05) == []
                if letters:
                    break
            assert pipeline.drain(WAIT_S)
            nothing_comes(subscriber)
            letters.clear()
        else:
            assert subscriber.wait_joined(WAIT_S)
        partition.push([undecodable(1), undecodable(2, "lines")])
        assert wait_for_letters(subscriber, letters, 2) == ["orders", "lines"]


def test_dead_letters_of_the_tables_followed_are_told() -> None:
    """Who follows some tables hears of their dead letters, and of no others."""
    letters: list[dict[str, object]] = []
    with (
        dead_letter_relay() as pipeline,
        Subscriber(
            pipeline.endpoints[0], ["shop/all/orders/", "shop/all/li"], on_dead_letter=letters.append
        ) as subscriber,
    ):
        assert subscriber.wait_joined(WAIT_S)
        partition = pipeline.partition("token", dialect="googlesql", epoch=1, start=T0)
        tables = ("orders_archive", "orders", "users", "lines")
        partition.push([undecodable(second, table) for second, table in enumerate(tables, 1)])
        assert wait_for_letters(subscriber, letters, 2) == ["orders", "lines"]


def test_a_lost_dead_letter_is_a_gap() -> None:
    """Also for who follows one table: it may have been of that one."""
    with (
        dead_letter_relay() as pipeline,
        LossyProxy(pipeline.endpoints[0][0], lambda message: message.kind == "deadLetter") as proxy,
        Subscriber(proxy.endpoint, "shop/all/orders/") as subscriber,
    ):
        assert subscriber.wait_joined(WAIT_S)
        partition = pipeline.partition("token", dialect="googlesql", epoch=1, start=T0)
        partition.push([undecodable(1)])
        gap = next_gap(subscriber)
        assert (gap.fields["topic"], gap.fields["sequences"]) == ("shop/all/_dead/", (0, 0))
        nothing_comes(subscriber)


def test_ticks_are_found_where_topics_do_not_lead_to_them() -> None:
    """With a topic template of its own, a relay's ticks are named to the subscriber."""
    output = Output("pub", ["tcp://127.0.0.1:*"])
    with (
        Pipeline("shop", "all", [output], topic="cdc/{table}/", options={"tick_ms": 20}) as pipeline,
        Subscriber(pipeline.endpoints[0], "cdc/orders/", ticks="shop/all/_tick/") as subscriber,
    ):
        assert subscriber.wait_joined(WAIT_S)
        partition = pipeline.partition("token", dialect="googlesql", epoch=1, start=T0)
        for table in ("orders", "lines"):
            partition.push([message(data_change(stamp(1), [({"Id": "1"}, {}, {})], table=table))])
        assert [change.topic for change in subscriber.receive(WAIT_S)] == ["cdc/orders/"]
        nothing_comes(subscriber)


def test_messages_come_whole_for_who_wants_them(
    relay: Relay, proxy: LossyProxy, subscriber: Subscriber
) -> None:
    """With their headers, and gaps between them; the changes can still be had."""
    proxy.lose = lambda message: message.kind == "changes" and message.sequence == 1
    relay.send(1, 1, 2)
    relay.send(2, 3)
    relay.send(3, 4)
    (first,) = [next(subscriber.messages(WAIT_S))]
    assert (first.topic, first.count, first.table) == ("shop/all/orders/", 2, "orders")
    assert ids(first.changes()) == [1, 2]
    with pytest.raises(Gap):
        next(subscriber.messages(WAIT_S))
    assert next(subscriber.messages(WAIT_S)).count == 1
    assert list(subscriber.messages(0.2)) == []


def test_a_silent_relay_is_logged_once(relay: Relay, caplog: pytest.LogCaptureFixture) -> None:
    """After three intervals without a tick; and again when it is back."""
    caplog.set_level(logging.INFO, "spanwire.consumer")
    with Subscriber(relay.endpoint) as subscriber:
        assert subscriber.wait_joined(WAIT_S)
        assert soon(lambda: subscriber.receive(0) == [] and not subscriber.stale)
        relay.pipeline.close()
        assert soon(lambda: subscriber.receive(0.05) == [] and subscriber.stale)
        nothing_comes(subscriber)
        with Relay(relay.endpoint, epoch=8).pipeline:
            assert soon(lambda: subscriber.receive(0.05) == [] and not subscriber.stale)
    said = [record.message for record in caplog.records if record.name == "spanwire.consumer"]
    # A machine that does much else lets a relay that is there be late, too: then it is told of that.
    assert said and said == [
        f"no relay is heard on {relay.endpoint}: changes may be late",
        f"the relay is heard again on {relay.endpoint}",
    ] * (len(said) // 2)


def test_waiting_to_join_ends_when_nobody_is_there() -> None:
    """False after the timeout, no error: the relay may come later."""
    with Subscriber("tcp://127.0.0.1:9") as subscriber:
        assert not subscriber.wait_joined(0.1)
        assert subscriber.watermark is None


@pytest.mark.parametrize("endpoint", ["127.0.0.1:5560", "tcp://", "http://127.0.0.1:1", ""])
def test_a_wrong_endpoint_is_said_with_what_to_write(endpoint: str) -> None:
    """One line that names it and shows a right one."""
    with pytest.raises(ConfigError, match=r"tcp://127\.0\.0\.1:5560"):
        Subscriber(endpoint)


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"topics": []}, 'topics: needs at least one; "" takes all'),
        ({"receive_high_water_mark": -1}, "receive_high_water_mark: must be 0 or more, is -1"),
        ({"start": ""}, 'start: must be "now", a timestamp or a cursor: '),
        (
            {"start": "2999-01-01T00:00:00Z"},
            'start: 2999-01-01T00:00:00.000000000Z lies in the future; write "',
        ),
        ({"start": Timestamp(32_000_000_000)}, "start: 2984-01-15T08:53:20.000000000Z lies in the future"),
    ],
)
def test_what_would_receive_nothing_is_refused(wrong: dict[str, Any], said: str) -> None:
    """In a line, instead of silence."""
    with pytest.raises(ConfigError, match=f"^{re.escape(said)}"):
        Subscriber("tcp://127.0.0.1:9", **wrong)


def test_a_closed_subscriber_says_so() -> None:
    """ClosedError, not ZeroMQ's error."""
    subscriber = Subscriber("tcp://127.0.0.1:9")
    subscriber.close()
    with pytest.raises(ClosedError):
        subscriber.receive(0)


def test_whole_transactions_go_on_where_an_iteration_was_left(relay: Relay) -> None:
    """First the rest of the one that it was in; a cursor taken there has handed over no more than was."""
    with Subscriber(relay.endpoint, order="transaction") as subscriber:
        assert subscriber.wait_joined(WAIT_S)
        for second in (1, 2, 3):
            relay.send(second, 10 * second, 10 * second + 1)
        relay.beat(4)
        assert next(iter(subscriber)).keys["Id"] == 10
        (left,) = Cursor.decode(subscriber.cursor).outputs.values()
        assert left.last is not None and left.last.commit_timestamp == Timestamp.parse(stamp(1))
        following = islice(subscriber.transactions(WAIT_S), 3)
        assert [[change.keys["Id"] for change in one] for one in following] == [[11], [20, 21], [30, 31]]
        (reached,) = Cursor.decode(subscriber.cursor).outputs.values()
        assert str(reached.watermark) >= stamp(3)


def test_a_transaction_that_lacks_records_is_torn_where_nothing_is_filtered(
    relay: Relay, caplog: pytest.LogCaptureFixture
) -> None:
    """Only who says that nothing is filtered has records counted; the first torn one is logged."""

    def send(second: int, of: int, *sequences: int) -> None:
        for sequence in sequences:
            row = data_change(
                stamp(second),
                [({"Id": str(second)}, {"Name": "n"}, {})],
                transaction=f"tx-{second}",
                sequence=f"{sequence:08}",
                records=of,
            )
            relay.partition.push([message(row)])

    def transactions(whole: bool) -> Subscriber:
        return Subscriber(relay.endpoint, order="transaction", whole=whole)

    with transactions(whole=True) as counting, transactions(whole=False) as trusting:
        assert counting.wait_joined(WAIT_S) and trusting.wait_joined(WAIT_S)
        send(1, 2, 0, 1)
        send(2, 2, 0)
        send(3, 3, 0, 1)
        send(4, 1, 0)
        relay.beat(5)
        found = {
            subscriber: {one.id: (len(one), one.torn) for one in islice(subscriber.transactions(WAIT_S), 4)}
            for subscriber in (counting, trusting)
        }
    sizes = {"tx-1": 2, "tx-2": 1, "tx-3": 2, "tx-4": 1}
    assert found[trusting] == {id: (size, False) for id, size in sizes.items()}
    assert found[counting] == {id: (size, id in ("tx-2", "tx-3")) for id, size in sizes.items()}
    assert [one.getMessage()[:16] for one in caplog.records if "whole=True" in one.getMessage()] == [
        "transaction tx-2"
    ]
    with pytest.raises(ConfigError, match=r"^whole: "):
        Subscriber(relay.endpoint, whole=True)
