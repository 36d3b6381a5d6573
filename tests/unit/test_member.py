"""`Member` at a relay that the test plays: how it leaves."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable, Iterator

import pytest
import zmq
from support.change_records import data_change, message

from spanwire import Member
from spanwire._core import Message, Output, Pipeline, Timestamp, decode_request, encode_reply
from spanwire.errors import ClosedError

WAIT_S = 60.0
LONG_S = 600.0
"""Longer than any of these tests may take."""


def work() -> list[bytes]:
    """The frames of a message of three changes."""
    output = Output("ring", [], options={"ring_bytes": 1 << 20})
    with Pipeline("shop", "all", [output]) as pipeline:
        reader = pipeline.ring(0).reader(oldest=True)
        start = Timestamp.parse("2026-11-23T10:00:00Z")
        partition = pipeline.partition("token", dialect="googlesql", epoch=1, start=start)
        rows = [({"Id": str(one)}, {"Name": "n"}, {}) for one in range(3)]
        partition.push([message(data_change("2026-11-23T10:00:01Z", rows))])
        while True:
            for frames in reader.read(10):
                if Message.decode(frames).kind == "changes":
                    return frames


class Relay:
    """A ROUTER that welcomes a member, gives it a message, and hears it out until it leaves."""

    def __init__(self) -> None:
        self._socket = zmq.Context.instance().socket(zmq.ROUTER)
        self._socket.linger = 0
        self.endpoint = f"tcp://127.0.0.1:{self._socket.bind_to_random_port('tcp://127.0.0.1')}"
        self.peer, self.exchange = b"", 0

    def next(self) -> dict | None:
        """The next request, if one is there within a moment."""
        if not self._socket.poll(10):
            return None
        self.peer, frame = self._socket.recv_multipart()
        return decode_request(frame)

    def await_kind(self, kind: str) -> dict:
        """The next request of that kind; others are left aside."""
        end = time.monotonic() + WAIT_S
        while time.monotonic() < end:
            if (request := self.next()) is not None and request["kind"] == kind:
                return request
        raise AssertionError(f"no {kind} came")

    def take_in(self) -> None:
        """Welcome who joins, and give it work."""
        self.exchange = self.await_kind("join")["id"]
        self.say("welcome")
        self.say("work", *work(), delivery=1, deliveries=1)

    def say(self, kind: str, *frames: bytes, **fields: object) -> None:
        """In the exchange of the member."""
        self._socket.send_multipart([self.peer, encode_reply(kind, self.exchange, **fields), *frames])

    def close(self) -> None:
        """Gone."""
        self._socket.close()


@pytest.fixture
def relay() -> Iterator[Relay]:
    """One to join."""
    made = Relay()
    yield made
    made.close()


def beside(what: Callable[[], None]) -> threading.Thread:
    """On a thread of its own."""
    thread = threading.Thread(target=what)
    thread.start()
    return thread


def test_close_waits_until_the_relay_has_what_was_acknowledged(relay: Relay) -> None:
    """Its answer to the leave says so; work that is still on its way is nobody's."""
    happened: list[object] = []

    def play() -> None:
        relay.take_in()
        happened.append(("acked", relay.await_kind("ack")["handled"]))
        happened.append(("left, at", relay.await_kind("leave")["delivery"]))
        relay.say("work", *work(), delivery=2, deliveries=1)
        time.sleep(0.1)
        happened.append("answered")
        relay.say("done")

    thread = beside(play)
    with Member(relay.endpoint, "mail") as member:
        assert member.receive(WAIT_S) is not None
        assert member.receive(WAIT_S) is not None
    happened.append("closed")
    thread.join()
    assert happened == [("acked", 1), ("left, at", 1), "answered", "closed"]
    with pytest.raises(ClosedError):
        member.receive(0)


def test_a_relay_that_does_not_answer_is_not_waited_for_for_ever(
    relay: Relay, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What was said has gone out all the same."""
    monkeypatch.setattr("spanwire.consumer.member._LEAVE_S", 0.05)
    thread = beside(relay.take_in)
    with Member(relay.endpoint, "mail") as member:
        assert member.receive(WAIT_S) is not None
        member.ack()
    thread.join()
    assert relay.await_kind("ack")["handled"] == 1
    relay.await_kind("leave")


def test_who_is_no_member_does_not_wait(relay: Relay, monkeypatch: pytest.MonkeyPatch) -> None:
    """It was not welcomed, was refused, or its relay went away meanwhile."""
    monkeypatch.setattr("spanwire.consumer.member._LEAVE_S", LONG_S)
    began = time.monotonic()
    Member(relay.endpoint, "mail").close()

    def refuse() -> None:
        relay.take_in()
        relay.await_kind("leave")
        relay.say("refused", reason="stopping")
        relay.take_in()
        relay.await_kind("leave")
        relay.close()

    relay.await_kind("leave")
    thread = beside(refuse)
    for _ in range(2):
        with Member(relay.endpoint, "mail") as member:
            assert member.receive(WAIT_S) is not None
    thread.join()
    assert time.monotonic() - began < LONG_S / 3


async def test_an_event_loop_goes_on_while_a_member_leaves(
    relay: Relay, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Here the relay lives on the same loop: it could never answer otherwise."""
    monkeypatch.setattr("spanwire.consumer.member._LEAVE_S", WAIT_S)
    happened: list[str] = []
    changes = work()

    async def play() -> None:
        while True:
            await asyncio.sleep(0.001)
            if (request := relay.next()) is None:
                continue
            if request["kind"] == "join":
                relay.exchange = request["id"]
                relay.say("welcome")
                relay.say("work", *changes, delivery=1, deliveries=1)
            elif request["kind"] in ("reject", "leave"):
                happened.append(request["kind"])
                if request["kind"] == "leave":
                    relay.say("done")
                    return

    player = asyncio.create_task(play())
    with pytest.raises(KeyError):
        async with Member(relay.endpoint, "mail") as member:
            assert await member.areceive(WAIT_S) is not None
            raise KeyError
    happened.append("closed")
    await player
    assert happened == ["reject", "leave", "closed"]


async def test_a_leave_that_is_cancelled_closes_at_once(
    relay: Relay, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing stays open, whoever stops waiting."""
    monkeypatch.setattr("spanwire.consumer.member._LEAVE_S", LONG_S)
    thread = beside(relay.take_in)
    member = Member(relay.endpoint, "mail")
    assert await member.areceive(WAIT_S) is not None
    thread.join()
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(member.aclose(), 0.01)
    with pytest.raises(ClosedError):
        await member.areceive(0)
