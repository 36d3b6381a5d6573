"""The pipeline, from PartialResultSet bytes to messages on real sockets."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator

import pytest
import zmq
from support.change_records import children, data_change, heartbeat, message, together

from spanwire._core import Message, Output, Partition, Pipeline, Timestamp, Window
from spanwire.errors import ClosedError, ConfigError, CorruptError, SocketError, UndecodableError

T0 = Timestamp.parse("2026-11-23T10:00:00Z")


def stamp(second: int, nanos: int = 0) -> str:
    """A timestamp as Spanner writes it."""
    return f"2026-11-23T10:00:{second:02d}.{nanos:09d}Z"


def insert(second: int, *ids: int, **more: str) -> object:
    """A row with one insert record."""
    return data_change(stamp(second), [({"Id": str(i)}, {"Name": f"n{i}"}, {}) for i in ids], **more)


class Listener:
    """A SUB socket that has seen a tick, so that nothing sent from now on is missed."""

    def __init__(self, endpoint: str) -> None:
        self.socket = zmq.Context.instance().socket(zmq.SUB)
        self.socket.subscribe(b"")
        self.socket.connect(endpoint)
        self.ticks: list[Message] = []
        self.tick()

    def next(self, timeout: float = 60.0) -> Message:
        """The next message."""
        assert self.socket.poll(timeout * 1000), "nothing arrived"
        return Message.decode(self.socket.recv_multipart())

    def tick(self) -> Message:
        """The next tick."""
        while (found := self.next()).kind != "tick":
            pass
        return found

    def other(self) -> Message:
        """The next message that is no tick."""
        while (found := self.next()).kind == "tick":
            self.ticks.append(found)
        return found


@pytest.fixture(params=["typed", "json"])
def pipeline(request: pytest.FixtureRequest) -> Iterator[Pipeline]:
    """One pub output, with values in either form."""
    output = Output("pub", ["tcp://127.0.0.1:*"], values=request.param)
    with Pipeline("shop", "all", [output], options={"tick_ms": 20}) as pipeline:
        yield pipeline


@pytest.fixture
def listener(pipeline: Pipeline) -> Iterator[Listener]:
    """Who hears all of it."""
    listener = Listener(pipeline.endpoints[0][0])
    yield listener
    listener.socket.close(0)


def open_partition(pipeline: Pipeline, token: str = "token", **more: object) -> Partition:
    """A partition from T0 on, under epoch 7."""
    return pipeline.partition(token, dialect="googlesql", epoch=7, start=T0, **more)  # type: ignore[arg-type]


def wait_for(condition: object, timeout: float = 60.0) -> None:
    """Wait for what happens on other threads."""
    deadline = time.monotonic() + timeout
    while not condition():  # type: ignore[operator]
        assert time.monotonic() < deadline, "it did not come about"
        time.sleep(0.005)


def test_a_change_arrives_with_its_version_and_values(pipeline: Pipeline, listener: Listener) -> None:
    """What is pushed as Spanner's bytes is received as a change, whatever form its values have."""
    partition = open_partition(pipeline)
    pushed = partition.push([message(insert(1, 5, 6))])
    assert (pushed.records, pushed.changes, pushed.duplicates) == (1, 2, 0)
    received = listener.other()
    assert (received.topic, received.table, received.epoch, received.sequence) == (
        "shop/all/orders/",
        "orders",
        7,
        0,
    )
    assert received.incarnation == pipeline.incarnation
    assert received.received_at <= received.sent_at
    five, six = received.changes()
    assert str(five.version) == f"{stamp(1)}/tx/00000000/0"
    assert str(received.last) == str(six.version) == f"{stamp(1)}/tx/00000000/1"
    assert (six.keys, six.new, six.old, six.mod_type) == ({"Id": 6}, {"Name": "n6"}, {}, "INSERT")
    assert json.loads(five.canonical()) == {
        "keys": {"Id": "5"},
        "mod_type": "INSERT",
        "new": {"Name": "n5"},
        "old": {},
        "table": "orders",
        "version": f"{stamp(1)}/tx/00000000/0",
    }


def test_a_position_is_known_only_between_commit_timestamps(pipeline: Pipeline) -> None:
    """A record alone says nothing of its own timestamp: another one may follow at it."""
    partition = open_partition(pipeline)
    partition.push([message(insert(1, 1))])
    assert pipeline.drain(60)
    assert partition.position is None
    time.sleep(0.06)
    partition.push([message(insert(2, 2))])
    wait_for(lambda: partition.position == Timestamp.parse(stamp(1)))
    partition.push([message(heartbeat(stamp(9)))])
    wait_for(lambda: partition.position == Timestamp.parse(stamp(9)))


def test_what_was_handed_over_is_dropped_when_it_comes_again(pipeline: Pipeline, listener: Listener) -> None:
    """A re-read from any timestamp gives nothing twice, and loses nothing at the timestamp itself."""
    partition = open_partition(pipeline)
    partition.push([message(insert(1, 1), insert(2, 2))])
    assert partition.restart() == Timestamp.parse(stamp(2))
    again = partition.push([message(insert(2, 2), insert(2, 3, sequence="00000001"), insert(3, 4))])
    assert (again.changes, again.duplicates) == (2, 1)
    ids = []
    while len(ids) < 4:
        ids += [change.keys["Id"] for change in listener.other().changes()]
    assert ids == [1, 2, 3, 4]


def test_a_resumed_partition_drops_up_to_its_position(pipeline: Pipeline) -> None:
    """The stored position is inclusive on both sides: read from it, and all up to it is known."""
    partition = open_partition(pipeline, resumed=True)
    pushed = partition.push([message(insert(0, 1), insert(0, 2, sequence="00000001"), insert(1, 3))])
    assert (pushed.changes, pushed.duplicates) == (1, 2)


def test_a_new_partition_takes_what_lies_at_its_start(pipeline: Pipeline) -> None:
    """A child's start timestamp is inclusive."""
    assert open_partition(pipeline).push([message(insert(0, 1))]).changes == 1


def test_ticks_tell_flows_positions_and_ends(pipeline: Pipeline, listener: Listener) -> None:
    """A consumer learns from ticks what was sent, how far each partition is, and when it ends."""
    partition = open_partition(pipeline, parents=["parent"])
    partition.push(
        [
            message(insert(1, 1)),
            message(insert(1, 1, table="people", sequence="00000001")),
            message(heartbeat(stamp(2))),
        ]
    )
    partition.push([message(children(stamp(3), [("left", ["token"]), ("right", ["token"])]))])
    partition.finish()
    wait_for(lambda: partition.finished)
    flows, partitions = {}, []
    while not partitions or partitions[-1]["state"] != "ended":
        tick = listener.tick().tick()
        assert tick["complete"], "every head is told, also of what rests"
        flows = {flow["topic"]: (flow["since"], flow["next"]) for flow in tick["flows"]} | flows
        partitions += tick["partitions"]
    assert flows == {"shop/all/orders/": (0, 1), "shop/all/people/": (0, 1)}
    ended = partitions[-1]
    assert ended["epoch"] == 7
    assert ended["position"] == Timestamp.parse(stamp(3))
    assert ended["starts_at"] == T0
    assert len(ended["parents"]) == 1
    assert len(ended["children"]) == 2
    while listener.tick().tick()["partitions"]:
        pass  # its end is told more than once, then no more
    assert tick["newest"] == ended["position"]
    assert tick["relays"] == [
        {"incarnation": pipeline.incarnation, "endpoints": pipeline.endpoints[0], "replay": []}
    ]


def test_ticks_count_in_what_an_earlier_process_sent(pipeline: Pipeline, listener: Listener) -> None:
    """Of partitions that are over nobody tells: who joins now learns from `newest` how far they went."""
    open_partition(pipeline, known=Timestamp.parse(stamp(9)))
    while not (tick := listener.tick().tick())["partitions"]:
        pass
    assert tick["newest"] == Timestamp.parse(stamp(9))


def test_ticks_tell_where_to_ask_and_come_when_asked_for() -> None:
    """A tick that nobody would wait a second for: behind what was sent, with every head."""
    output = Output("pub", ["tcp://127.0.0.1:*"])
    with Pipeline("shop", "all", [output], replay_endpoints=["tcp://10.0.0.1:5557"]) as pipeline:
        listener = Listener(pipeline.endpoints[0][0])
        open_partition(pipeline).push([message(insert(1, 1))])
        assert pipeline.drain(60)
        pipeline.tell(0)
        while not (tick := listener.tick().tick())["flows"]:
            pass
        assert tick["complete"]
        assert tick["newest"] == Timestamp.parse(stamp(1))
        assert [relay["replay"] for relay in tick["relays"]] == [["tcp://10.0.0.1:5557"]]
        with pytest.raises(ConfigError, match="output: there is no output 1: there are 1"):
            pipeline.tell(1)
        listener.socket.close(0)
    with pytest.raises(ClosedError):
        pipeline.tell(0)


def test_flows_are_numbered_without_holes(pipeline: Pipeline, listener: Listener) -> None:
    """Every message of a topic from a partition has the next number, however they were batched."""
    partition = open_partition(pipeline)
    rounds = 300
    for number in range(rounds):
        commit = f"2026-11-23T10:{number // 60:02d}:{number % 60:02d}Z"
        partition.push(
            [message(data_change(commit, [({"Id": "1"}, {"Name": ""}, {})], table=f"t{number % 3}"))]
        )
    expected: dict[str, int] = {}
    seen = 0
    while seen < rounds:
        received = listener.other()
        assert received.sequence == expected.get(received.topic, 0)
        expected[received.topic] = received.sequence + 1
        seen += received.count
    assert seen == rounds


def test_children_and_heartbeats_are_told(pipeline: Pipeline) -> None:
    """The reader learns of children, heartbeats and the newest timestamp from what push answers."""
    partition = open_partition(pipeline)
    pushed = partition.push([message(heartbeat(stamp(1)), children(stamp(2), [("a", ["token", "other"])]))])
    assert pushed.heartbeat == Timestamp.parse(stamp(1))
    assert pushed.last == Timestamp.parse(stamp(2))
    (record,) = pushed.children
    assert (record.start, record.partitions) == (Timestamp.parse(stamp(2)), [("a", ["token", "other"])])


def test_corrupt_bytes_stop_the_partition_before_its_position_moves(pipeline: Pipeline) -> None:
    """A truncated response is an error, and the partition takes nothing more."""
    partition = open_partition(pipeline)
    good = message(insert(1, 1))
    with pytest.raises(CorruptError):
        partition.push([good[:-3]])
    with pytest.raises(ClosedError):
        partition.push([good])
    assert partition.position is None


def test_an_undecodable_change_names_its_version() -> None:
    """The default is to stop, with the record's version and table in the error and no row data."""
    with Pipeline("shop", "all", [Output("pub", ["tcp://127.0.0.1:*"])]) as pipeline:
        partition = open_partition(pipeline)
        broken = message(data_change(stamp(4), [({"Id": "1"}, {"Name": "SECRET"}, {})]))
        broken = broken.replace(b'{"Name":"SECRET"}', b'{"Name":"SECRET",')
        with pytest.raises(UndecodableError) as caught:
            partition.push([message(insert(1, 1)), broken])
        assert caught.value.fields["version"].startswith(stamp(4))
        assert caught.value.fields["table"] == "orders"
        assert "SECRET" not in str(caught.value)
        with pytest.raises(ClosedError):
            partition.push([])


def test_an_undecodable_change_goes_to_the_dead_letters() -> None:
    """With on_undecodable = "dead-letter" it goes out raw, and the stream goes on."""
    output = Output("pub", ["tcp://127.0.0.1:*"])
    options = {"tick_ms": 20}
    with Pipeline("shop", "all", [output], on_undecodable="dead-letter", options=options) as pipeline:
        listener = Listener(pipeline.endpoints[0][0])
        partition = open_partition(pipeline)
        broken = message(insert(4, 1)).replace(b'{"Name":"n1"}', b'{"Name":"n1",')
        partition.push([broken, message(insert(5, 2))])
        letters = [listener.other(), listener.other()]
        letters.sort(key=lambda letter: letter.kind)
        assert [letter.kind for letter in letters] == ["changes", "deadLetter"]
        letter = letters[1].dead_letter()
        assert letters[1].topic == "shop/all/_dead/"
        assert str(letter["version"]).startswith(stamp(4))
        assert letter["table"] == "orders"
        assert b'{"Name":"n1",' in letter["raw"]
        assert pipeline.stats()["undecodable"] == 1
        listener.socket.close(0)


def test_a_dead_letter_takes_no_other_record_of_its_row_with_it() -> None:
    """What can be decoded goes out as changes, before and behind it."""
    output = Output("pub", ["tcp://127.0.0.1:*"])
    options = {"tick_ms": 20}
    with Pipeline("shop", "all", [output], on_undecodable="dead-letter", options=options) as pipeline:
        listener = Listener(pipeline.endpoints[0][0])
        partition = open_partition(pipeline)
        row = together(*(insert(second, second, sequence=f"{second:08d}") for second in (1, 2, 3)))
        broken = message(row).replace(b"00:02.000000000Z", b"00:62.000000000Z")
        pushed = partition.push([broken])
        assert (pushed.records, pushed.changes) == (3, 2)
        ids: list[int] = []
        letters = []
        while len(ids) < 2 or not letters:
            received = listener.other()
            if received.kind == "deadLetter":
                letters.append(received.dead_letter())
            else:
                ids += [change.keys["Id"] for change in received.changes()]
        assert ids == [1, 3]
        assert "timestamp" in letters[0]["reason"]
        listener.socket.close(0)


def test_a_port_in_use_is_said_in_one_line() -> None:
    """The error names the endpoint and what to do."""
    with Pipeline("d", "s", [Output("pub", ["tcp://127.0.0.1:*"])]) as first:
        taken = first.endpoints[0][0]
        with pytest.raises(SocketError) as caught:
            Pipeline("d", "s", [Output("pub", [taken])])
    assert taken in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("make", "setting"),
    [
        (lambda: Output("sub", ["tcp://127.0.0.1:*"]), "kind"),
        (lambda: Output("pub", [], values="typed"), "bind"),
        (lambda: Output("pub", ["tcp://127.0.0.1:*"], options={"que": 1}), "options"),
        (lambda: Output("pub", ["tcp://127.0.0.1:*"], options={"queue_bytes": -1}), "queue_bytes"),
        (lambda: Pipeline("d", "s", []), "outputs"),
        (lambda: Pipeline("d", "s", [Output("pub", ["tcp://127.0.0.1:*"])], topic="x"), "topic"),
        (lambda: Pipeline("d", "s", [Output("pub", ["nonsense"])]), "bind"),
    ],
)
def test_a_setting_that_cannot_work_is_named(make: object, setting: str) -> None:
    """Every refusal names the setting."""
    with pytest.raises(ConfigError) as caught:
        make()  # type: ignore[operator]
    assert caught.value.fields["setting"] == setting


def test_a_window_admits_a_record_once(pipeline: Pipeline, listener: Listener) -> None:
    """The consumer's window drops exactly what it has seen."""
    partition = open_partition(pipeline)
    partition.push([message(insert(1, 1, 2), insert(2, 3))])
    changes: list[object] = []
    while len(changes) < 3:
        changes += listener.other().changes()
    window = Window()
    assert window.admit(changes[:2]) == changes[:2]  # type: ignore[arg-type]
    assert window.admit(changes) == changes[2:]  # type: ignore[arg-type]
    assert window.admit(changes) == []  # type: ignore[arg-type]


def test_push_blocks_on_a_full_output_and_loses_nothing() -> None:
    """A push output without a worker holds the reader; once one comes, everything arrives in order."""
    options = {"queue_messages": 2, "batch_changes": 1}
    with Pipeline("d", "s", [Output("push", ["tcp://127.0.0.1:*"], options=options)]) as pipeline:
        partition = open_partition(pipeline)
        rows = [message(insert(second, second)) for second in range(1, 40)]
        pusher = threading.Thread(target=partition.push, args=(rows,))
        pusher.start()
        pusher.join(0.3)
        assert pusher.is_alive(), "nothing held the reader"
        puller = zmq.Context.instance().socket(zmq.PULL)
        puller.connect(pipeline.endpoints[0][0])
        ids = []
        while len(ids) < 39:
            assert puller.poll(60_000)
            ids += [change.keys["Id"] for change in Message.decode(puller.recv_multipart()).changes()]
        pusher.join()
        puller.close(0)
        assert ids == list(range(1, 40))
