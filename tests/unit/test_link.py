"""`Link` against a ROUTER that the test plays: what is asked, credit, garbage, silence, a new connection."""

import contextlib
import logging
import time
from collections.abc import Iterator

import pytest
import zmq

from spanwire._core import Timestamp, decode_request, encode_reply
from spanwire.consumer.link import PING_S, SILENCE_S, Answer, Link
from spanwire.errors import ClosedError, ConfigError

WAIT_MS = 60_000
FRAMES = [b"shop/all/orders/", b"header", b"columns", b"body"]
SIZE = sum(map(len, FRAMES))


class Relay:
    """A ROUTER that answers as it is told."""

    def __init__(self) -> None:
        self._socket = zmq.Context.instance().socket(zmq.ROUTER)
        self._socket.linger = 0
        self.endpoint = f"tcp://127.0.0.1:{self._socket.bind_to_random_port('tcp://127.0.0.1')}"
        self.peer = b""

    def request(self) -> dict:
        """The next request."""
        assert self._socket.poll(WAIT_MS)
        self.peer, frame = self._socket.recv_multipart()
        return decode_request(frame)

    def is_quiet(self) -> bool:
        """Whether nothing comes for a moment."""
        return not self._socket.poll(50)

    def answer(self, *frames: bytes) -> None:
        """Send these frames to whoever asked last."""
        self._socket.send_multipart([self.peer, *frames])

    def close(self) -> None:
        """Gone."""
        self._socket.close()


@pytest.fixture
def relay() -> Iterator[Relay]:
    """One to link to."""
    made = Relay()
    yield made
    made.close()


def taken(link: Link, number: int) -> list[Answer]:
    """So many answers, waited for."""
    answers: list[Answer] = []
    while len(answers) < number:
        assert link.socket.poll(WAIT_MS)
        answers += link.take()
    return answers


def test_what_is_asked_is_answered_in_its_exchange(relay: Relay) -> None:
    """Ids rise, fields travel, messages keep their four frames, and done ends the exchange."""
    at = Timestamp(1_000, 5)
    with Link(relay.endpoint, window_bytes=1000) as link:
        first, second = link.ask("replay", topics=["shop/"], after=at), link.ask("heads", output=2)
        assert first < second
        request = relay.request()
        assert (request["kind"], request["id"], request["credit"]) == ("replay", first, 1000)
        assert (request["topics"], request["after"]) == (["shop/"], at)
        assert relay.request()["output"] == 2
        relay.answer(encode_reply("message", first), *FRAMES)
        relay.answer(encode_reply("progress", first, position=at))
        relay.answer(encode_reply("done", second))
        message, progress, done = taken(link, 3)
        assert (message.id, message.kind, message.frames, message.size) == (first, "message", FRAMES, SIZE)
        assert (progress.kind, progress.fields["position"]) == ("progress", at)
        assert (done.id, done.kind) == (second, "done")
        assert link.open == [first]


def test_a_refusal_ends_the_exchange_and_hello_ends_with_its_welcome(relay: Relay) -> None:
    """Nothing is waited for that will not come."""
    with Link(relay.endpoint) as link:
        hello, repair = link.ask("hello"), link.ask("repair", first=3, last=4)
        relay.request(), relay.request()
        relay.answer(encode_reply("welcome", hello, stream=b"s" * 16))
        relay.answer(encode_reply("refused", repair, reason="gone", oldest=Timestamp(7), text="too old"))
        welcome, refused = taken(link, 2)
        assert welcome.fields["stream"] == b"s" * 16
        assert (refused.fields["reason"], refused.fields["oldest"]) == ("gone", Timestamp(7))
        assert link.open == []


def test_credit_rises_by_what_was_handed_on(relay: Relay) -> None:
    """It is told in steps of a quarter window, always as the total from the beginning."""
    with Link(relay.endpoint, window_bytes=1000) as link:
        one = link.ask("feed")
        relay.request()
        link.grant(one, 200)
        assert relay.is_quiet()
        link.grant(one, 100)
        request = relay.request()
        assert (request["kind"], request["id"], request["credit"]) == ("credit", one, 1300)
        link.grant(one + 1, 5000)
        assert relay.is_quiet()


def test_after_a_cancel_nothing_more_is_taken_of_an_exchange(relay: Relay) -> None:
    """What was on its way is dropped, and counted."""
    with Link(relay.endpoint) as link:
        one, two = link.ask("replay"), link.ask("heads")
        relay.request(), relay.request()
        link.cancel(one)
        assert relay.request()["kind"] == "cancel"
        relay.answer(encode_reply("message", one), *FRAMES)
        relay.answer(encode_reply("done", two))
        assert [answer.id for answer in taken(link, 1)] == [two]
        assert link.counts.unasked == 1


def test_garbage_is_counted_logged_once_and_changes_nothing(
    relay: Relay, caplog: pytest.LogCaptureFixture
) -> None:
    """Whatever a relay sends, the exchange goes on."""
    garbage = [
        [b""],
        [b"\xff" * 40],
        [b"", b"", b""],
        [encode_reply("message", 1)],
        [encode_reply("message", 1), *FRAMES, b"more"],
        [encode_reply("done", 1), b"more"],
    ]
    with Link(relay.endpoint) as link, caplog.at_level(logging.WARNING):
        one = link.ask("replay")
        relay.request()
        for frames in garbage:
            relay.answer(*frames)
        relay.answer(encode_reply("done", one))
        assert [answer.kind for answer in taken(link, 1)] == ["done"]
        assert link.counts.garbled == len(garbage)
    assert len(caplog.records) == 1


def test_a_relay_that_answers_pings_is_never_silent(relay: Relay) -> None:
    """Pings go out every few seconds while something is open, and only then."""
    with Link(relay.endpoint) as link:
        assert link.look_around(0.0) == []
        assert relay.is_quiet()
        one = link.ask("replay")
        relay.request()
        for step in range(10):
            assert link.look_around(step * PING_S) == []
            assert relay.request()["kind"] == "ping"
            assert link.look_around(step * PING_S + 0.1) == []
            relay.answer(encode_reply("pong", 0))
            assert link.socket.poll(WAIT_MS)
            assert link.take() == []
        assert link.open == [one]


def test_a_silent_relay_is_told_once_and_connected_to_anew(relay: Relay) -> None:
    """What was open is lost, and can be asked again over the new connection."""
    with Link(relay.endpoint) as link:
        one = link.ask("replay")
        relay.request()
        before = relay.peer
        assert link.look_around(100.0) == []
        assert relay.request()["kind"] == "ping"
        assert link.look_around(100.0 + SILENCE_S - 1) == []
        assert link.look_around(100.0 + SILENCE_S) == [one]
        assert link.look_around(100.0 + SILENCE_S + 1) == []
        again = link.ask("replay")
        while (request := relay.request())["kind"] != "replay":
            pass
        assert request["id"] == again
        assert relay.peer != before


def test_an_outage_is_logged_when_it_begins_and_when_it_ends(
    relay: Relay, caplog: pytest.LogCaptureFixture
) -> None:
    """However often the relay is connected to meanwhile."""
    with Link(relay.endpoint) as link, caplog.at_level(logging.INFO):
        for step in range(4):
            link.ask("replay")
            now = 100.0 * step
            assert link.look_around(now) == []
            assert len(link.look_around(now + SILENCE_S)) == 1
        last = link.ask("replay")
        while (request := relay.request())["id"] != last or request["kind"] != "replay":
            pass
        relay.answer(encode_reply("done", last))
        assert [answer.kind for answer in taken(link, 1)] == ["done"]
    assert [record.message.removeprefix(f"the relay at {relay.endpoint} ") for record in caplog.records] == [
        "does not answer (is it an output of another kind?): it is connected to anew",
        "answers again",
    ]


def test_a_socket_of_another_kind_is_told_of_and_left(caplog: pytest.LogCaptureFixture) -> None:
    """ZeroMQ never connects to its place again: the link does, and finds the relay that is there by then."""
    context = zmq.Context.instance()
    wrong, right = context.socket(zmq.PUB), context.socket(zmq.ROUTER)
    port = wrong.bind_to_random_port("tcp://127.0.0.1", 10_000, 32_000)  # bound again below
    with Link(f"tcp://127.0.0.1:{port}") as link, right:
        link.ask("join")
        for _ in range(WAIT_MS // 50):
            if link.look_around(0.0):
                break
            link.socket.poll(50)
        wrong.close()
        for _ in range(WAIT_MS // 50):  # the port is given up a little later
            with contextlib.suppress(zmq.ZMQError):
                right.bind(f"tcp://127.0.0.1:{port}")
                break
            time.sleep(0.05)
        assert not caplog.records
        seconds = 0.0
        while not right.poll(50):
            assert seconds < 40 * SILENCE_S
            if not link.open:
                again = link.ask("join")
            link.look_around(seconds)
            seconds += SILENCE_S / 5
        assert decode_request(right.recv_multipart()[1])["id"] == again
    [record] = caplog.records
    assert "does not answer (is it an output of another kind?)" in record.message


def test_what_lies_in_the_socket_is_no_silence(relay: Relay) -> None:
    """Who was busy for long finds its answers, instead of losing them."""
    with Link(relay.endpoint) as link:
        one = link.ask("replay")
        relay.request()
        assert link.look_around(0.0) == []
        relay.answer(encode_reply("done", one))
        assert link.socket.poll(WAIT_MS)
        assert link.look_around(1000.0) == []
        assert [answer.kind for answer in taken(link, 1)] == ["done"]


def test_a_broken_connection_loses_what_was_open_on_it(relay: Relay) -> None:
    """A relay that begins anew knows nothing of what was asked of the one before."""
    link = Link(relay.endpoint)
    one = link.ask("replay")
    relay.request()
    relay.close()
    lost: list[int] = []
    for _ in range(WAIT_MS // 50):
        lost += link.look_around(0.0)
        if lost:
            break
        link.socket.poll(50)
    assert lost == [one]
    assert link.open == []
    link.close()


def test_wrong_use_is_said_in_a_line() -> None:
    """An endpoint that cannot be one; a link that is closed."""
    with pytest.raises(ConfigError, match="must look like tcp://"):
        Link("tcp:/nowhere")
    link = Link("tcp://127.0.0.1:9")
    link.close()
    link.close()
    with pytest.raises(ClosedError):
        link.take()
