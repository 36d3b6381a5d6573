"""The ROUTER and its thread, asked by real sockets: credit, garbage, peers that take nothing, the end."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import zmq

from spanwire._core import Timestamp, decode_reply, encode_request
from spanwire.consumer.link import Answer, Link
from spanwire.errors import ClosedError, SocketError, SpanwireError
from spanwire.router import Limits, Refusal, Router, Sending, in_background

STREAM = b"s" * 16
WAIT_MS = 60_000
MESSAGE = [b"t/", b"h" * 10, b"c" * 10, b"b" * 78]  # 100 bytes


@contextmanager
def serving(
    limits: Limits | None = None, **handlers: Callable[[dict[str, Any], Sending], None]
) -> Iterator[Router]:
    """A router with these handlers, on a free port."""
    with Router(["tcp://127.0.0.1:*"], STREAM, handlers, limits) as router:
        yield router


def answers(link: Link, until: Callable[[Answer], bool]) -> list[Answer]:
    """All answers up to the one wanted."""
    found: list[Answer] = []
    while not found or not until(found[-1]):
        assert link.socket.poll(WAIT_MS)
        for one in link.take():
            found.append(one)
    return found


def ends(answer: Answer) -> bool:
    """Whether the exchange is over with it."""
    return answer.kind in ("done", "refused")


def test_a_supply_keeps_to_the_credit_and_goes_on_with_more() -> None:
    """Messages come as far as credit reaches, in order, then as many more as were handed on."""

    def repair(_: dict[str, Any], sending: Sending) -> None:
        sending.supply([str(number).encode(), *MESSAGE[1:]] for number in range(500))

    with serving(repair=repair) as router, Link(router.endpoints[0], window_bytes=400) as link:
        one = link.ask("repair")
        found: list[bytes] = []
        over = False
        while not over:
            assert link.socket.poll(WAIT_MS)
            for answer in link.take():
                over = over or answer.kind == "done"
                if answer.frames:
                    found.append(answer.frames[0])
                    link.grant(one, answer.size)
        assert found == [str(number).encode() for number in range(500)]


def test_without_credit_nothing_is_sent() -> None:
    """A peer that gives none gets nothing but the answers that are no messages; others go on."""
    began = threading.Event()

    def replay(_: dict[str, Any], sending: Sending) -> None:
        began.set()
        for _ in range(50):
            sending.send(MESSAGE)
        sending.done(Timestamp(5))

    with (
        serving(replay=in_background(replay)) as router,
        Link(router.endpoints[0], window_bytes=250) as slow,
        Link(router.endpoints[0]) as other,
    ):
        slow.ask("replay")
        assert began.wait(60)
        other.ask("replay")
        assert answers(other, ends)[-1].fields["position"] == Timestamp(5)
        hello = slow.ask("hello")
        found = answers(slow, lambda answer: answer.id == hello)
        assert [one.kind for one in found] == ["message"] * 3 + [
            "welcome"
        ]  # the last one may pass the credit


def test_an_exchange_that_gets_no_credit_is_ended_with_a_word() -> None:
    """It keeps its place for a while only; whoever serves it is told too."""
    ended = threading.Event()

    def replay(_: dict[str, Any], sending: Sending) -> None:
        try:
            while True:
                sending.send(MESSAGE)
        except ClosedError:
            assert sending.over
            ended.set()

    with (
        serving(Limits(credit_s=0.2), replay=in_background(replay)) as router,
        Link(router.endpoints[0], window_bytes=250) as link,
    ):
        link.ask("replay")
        last = answers(link, ends)[-1]
        assert (last.kind, last.fields["reason"]) == ("refused", "busy")
        assert ended.wait(60)
        assert router.stats()["refused"] == {"busy": 1}


class Stuck:
    """A peer that reads nothing, and has asked for so much that its connection takes no more."""

    def __init__(self) -> None:
        self.sent = 0
        self.socket: zmq.Socket[bytes] = zmq.Context.instance().socket(zmq.DEALER)
        self.socket.linger, self.socket.rcvhwm = 0, 1

    def much(self, _: dict[str, Any], sending: Sending) -> None:
        """Handles snapshots."""
        for _ in range(64):
            sending.send([*MESSAGE[:3], bytes(1 << 20)])
            self.sent += 1
        sending.done()

    def clog(self, router: Router) -> None:
        """Ask, and wait until nothing more goes out."""
        self.socket.connect(router.endpoints[0])
        self.socket.send(encode_request("snapshot", 1, credit=1 << 40))
        before = 0
        while self.sent != before or not before:
            before = self.sent
            time.sleep(0.2)

    def hears(self, ends: int) -> list[tuple[int, str]]:
        """Id and kind of all replies, until so many exchanges are over."""
        heard: list[tuple[int, str]] = []
        while sum(kind in ("done", "refused") for _, kind in heard) < ends:
            assert self.socket.poll(WAIT_MS)
            reply = decode_reply(self.socket.recv_multipart()[0])
            heard.append((reply["id"], reply["kind"]))
        return heard


@pytest.fixture
def stuck() -> Iterator[Stuck]:
    """Of no router yet."""
    one = Stuck()
    yield one
    one.socket.close()


def test_many_small_messages_wait_for_a_peer_that_does_not_read(stuck: Stuck) -> None:
    """Their bytes bound them, not their number: once it reads, it gets them all."""

    def replay(_: dict[str, Any], sending: Sending) -> None:
        for _ in range(3000):
            sending.send(MESSAGE)
        sending.done()

    with serving(snapshot=in_background(stuck.much), replay=replay) as router:
        stuck.clog(router)
        stuck.socket.send(encode_request("replay", 2, credit=1 << 40))
        heard = stuck.hears(2)
        assert heard.count((1, "message")) == 64
        assert heard.count((2, "message")) == 3000
        assert heard.count((2, "done")) == 1


def test_who_asks_and_does_not_read_is_told_what_it_does_not_get(stuck: Stuck) -> None:
    """Answers that pile up are dropped: whatever was still open is refused, so that it is asked again."""
    with serving(snapshot=in_background(stuck.much)) as router:
        stuck.clog(router)
        for _ in range(2000):
            stuck.socket.send(encode_request("ping", 0))
        heard = stuck.hears(1)
        assert heard[-1] == (1, "refused")
        assert heard.count((0, "pong")) < 2000
        assert router.stats()["open"] == 0


def test_a_cancelled_exchange_ends_for_who_serves_it() -> None:
    """A handler that waits for credit is set free."""
    ended = threading.Event()

    def replay(_: dict[str, Any], sending: Sending) -> None:
        try:
            while True:
                sending.send(MESSAGE)
        except ClosedError:
            ended.set()

    with serving(replay=in_background(replay)) as router, Link(router.endpoints[0], window_bytes=250) as link:
        one = link.ask("replay")
        assert link.socket.poll(WAIT_MS)
        link.cancel(one)
        assert ended.wait(60)
        assert router.stats()["open"] == 0


@pytest.mark.parametrize(
    ("raised", "reason"),
    [
        (Refusal("gone", "too old", Timestamp(3)), "gone"),
        (SpanwireError("it failed"), "failed"),
        (KeyError("ours"), "failed"),
    ],
)
def test_what_a_handler_raises_is_the_peers_answer(raised: Exception, reason: str) -> None:
    """Typed, for that exchange alone; the router goes on."""

    def repair(_: dict[str, Any], sending: Sending) -> None:
        raise raised

    def heads(_: dict[str, Any], sending: Sending) -> None:
        sending.done()

    with serving(repair=repair, heads=heads) as router, Link(router.endpoints[0]) as link:
        link.ask("repair")
        last = answers(link, ends)[-1]
        assert (last.kind, last.fields["reason"]) == ("refused", reason)
        if reason == "gone":
            assert last.fields["oldest"] == Timestamp(3)
        link.ask("heads")
        assert answers(link, ends)[-1].kind == "done"


def test_garbage_is_answered_and_nobody_else_notices() -> None:
    """Wrong frames, wrong bytes, too many bytes, floods: a typed refusal to that peer, counted."""

    def heads(_: dict[str, Any], sending: Sending) -> None:
        sending.done()

    rude = zmq.Context.instance().socket(zmq.DEALER)
    rude.linger = 0
    with serving(heads=heads) as router, Link(router.endpoints[0]) as link:
        rude.connect(router.endpoints[0])
        for frames in ([b"junk"], [b""], [b"a", b"b"], [b"x" * 100_000], [encode_request("join", 1)]):
            rude.send_multipart(frames)
            assert rude.poll(WAIT_MS)
            reply = decode_reply(rude.recv_multipart()[0])
            assert (reply["kind"], bool(reply["text"])) == ("refused", True)
        for _ in range(3000):  # and never reads
            rude.send(b"junk")
        link.ask("heads")
        assert answers(link, ends)[-1].kind == "done"
        refused = router.stats()["refused"]
        assert refused["tooLarge"] == refused["unknownKind"] == 1
        assert refused["malformed"] >= 3
    rude.close()


def test_the_end_is_told() -> None:
    """Who waits for something when the relay stops is refused, instead of waiting for ever."""

    def repair(_: dict[str, Any], sending: Sending) -> None:
        sending.progress(Timestamp(1))

    with serving(repair=repair) as router:
        link = Link(router.endpoints[0])
        link.ask("repair")
        assert answers(link, lambda one: one.kind == "progress")
    last = answers(link, ends)[-1]
    assert (last.kind, last.fields["reason"]) == ("refused", "stopping")
    link.close()


def test_a_port_in_use_is_said_in_a_line() -> None:
    """The endpoint, and what to do."""
    with serving() as router, pytest.raises(SocketError, match="bind to another port"):
        Router([router.endpoints[0]], STREAM, {})
