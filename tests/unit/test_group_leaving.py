"""A group whose member leaves: what it said before it went is heard, kept, and answered."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, cast

import pytest
import zmq
from support.change_records import data_change, message

from spanwire._core import Message, Output, Pipeline, Timestamp, decode_reply, encode_request
from spanwire.config import OutputConfig
from spanwire.consumer.reached import Reached
from spanwire.records import StreamIdentity
from spanwire.relay.group.desk import Desk
from spanwire.relay.group.group import Group
from spanwire.relay.group.intake import Intake
from spanwire.relay.group.state import State
from spanwire.relay.group.task import Task
from spanwire.store import MemoryStore

IDENTITY = StreamIdentity("p", "in", "shop", "all")
T0 = Timestamp.parse("2026-11-23T10:00:00Z")
NEVER_S = 3600.0
WAIT_MS = 60_000


def tasks() -> dict[int, list[Task]]:
    """Messages of one change each, by slot; several in each of two slots."""
    output = Output(
        "ring", [], topic="{table}/{bucket}/", choice={"buckets": 2}, options={"ring_bytes": 1 << 20}
    )
    found: dict[int, list[Task]] = {0: [], 1: []}
    with Pipeline("shop", "all", [output]) as pipeline:
        reader = pipeline.ring(0).reader(oldest=True)
        partition = pipeline.partition("token", dialect="googlesql", epoch=1, start=T0)
        number = 0
        while min(map(len, found.values())) < 2:
            number += 1
            row = ({"Id": str(number)}, {"Name": "n"}, {})
            partition.push([message(data_change(f"2026-11-23T10:00:{number:02}Z", [row]))])
            for frames in reader.read(10):
                if (whole := Message.decode(frames)).kind == "changes":
                    task = Task(whole, frames)
                    found[task.slot].append(task)
    return found


class Given:
    """An intake that has these from the start."""

    failure = waits_for = None
    room = True

    def __init__(self, work: list[Task]) -> None:
        self._work = work
        self._wake, self._woken = socket.socketpair()
        self.readable = self._woken.fileno()

    def start(self, reached: Reached) -> None:
        """Nothing to do."""

    def quieten(self) -> None:
        """It never tells of more."""

    def take(self) -> tuple[list[Task], Timestamp | None]:
        """All, once."""
        taken, self._work = self._work, []
        return taken, None

    def close(self) -> None:
        """Over."""
        self._wake.close()
        self._woken.close()


class Interrupted(Desk):
    """A desk at which something happens right after an ack was taken, before anything follows from it."""

    def __init__(self) -> None:
        super().__init__("tcp://127.0.0.1:*")
        self.meanwhile: Callable[[bytes], None] | None = None

    def requests(self) -> Iterator[tuple[bytes, dict[str, Any]]]:
        """What has come before that."""
        heard = list(super().requests())
        for peer, request in heard:
            if request["kind"] == "ack" and self.meanwhile is not None:
                self.meanwhile, meanwhile = None, self.meanwhile
                meanwhile(peer)
        yield from heard


class Peer:
    """A member in the words of the wire."""

    def __init__(self, endpoint: str) -> None:
        self._socket = zmq.Context.instance().socket(zmq.DEALER)
        self._socket.linger = WAIT_MS
        self._socket.connect(endpoint)
        self.say("join", group="mail", credit=1 << 20)
        assert self.next()["kind"] == "welcome"

    def say(self, kind: str, **fields: Any) -> None:
        """In the exchange that the join began."""
        self._socket.send(encode_request(kind, 1, **fields))

    def next(self) -> dict[str, Any]:
        """The next reply; a work's with the version of its first change as "version"."""
        while True:
            assert self._socket.poll(WAIT_MS)
            frame, *frames = self._socket.recv_multipart()
            reply = decode_reply(frame)
            if reply["kind"] == "work":
                reply["version"] = Message.decode(frames).changes()[0].version
            if reply["kind"] != "progress":
                return reply

    def held(self, least: int) -> list[dict[str, Any]]:
        """All work that is with it by now, which is `least` or more."""
        work = [self.next() for _ in range(least)]
        self.say("hello")  # answered behind whatever was sent by then
        while (reply := self.next())["kind"] == "work":
            work.append(reply)
        assert reply["kind"] == "welcome"
        return work

    def close(self) -> None:
        """Go; what was said is sent."""
        self._socket.close()


@contextmanager
def running(desk: Desk, store: MemoryStore, work: list[Task], interval_s: float = NEVER_S) -> Iterator[Group]:
    """A group that has this to hand out."""
    output = OutputConfig.model_validate({"kind": "group", "name": "mail", "bind": desk.endpoint, "slots": 2})
    group = Group(output, b"s" * 16, store, desk)
    group.start(cast(Intake, Given(work)), T0, interval_s, lambda: None)
    try:
        yield group
    finally:
        group.close()
        assert group.failure is None


@pytest.mark.parametrize("heartbeat_s", [NEVER_S, 0.0], ids=["at a delivery", "at a heartbeat"])
def test_who_is_found_gone_is_heard_out(heartbeat_s: float, monkeypatch: pytest.MonkeyPatch) -> None:
    """A connection may be over while its last acks wait to be read: they count, and so does its leave."""
    monkeypatch.setattr("spanwire.relay.group.group._HEARTBEAT_S", heartbeat_s)
    found = tasks()
    (first, third), second = found[0][:2], found[1][0]
    desk = Interrupted()
    gone = threading.Event()
    with running(desk, MemoryStore(IDENTITY), [first, second, third]):
        leaving = Peer(desk.endpoint)
        work = {one["version"]: one["delivery"] for one in leaving.held(2)}
        assert work.keys() == {first.version(0), second.version(0)}

        def go(peer: bytes) -> None:
            leaving.say("ack", delivery=work[second.version(0)], handled=1)
            leaving.say("leave")
            leaving.close()
            while desk.reply(peer, "pong", 0):
                time.sleep(0.001)
            gone.set()

        desk.meanwhile = go
        leaving.say("ack", delivery=work[first.version(0)], handled=1)  # the third goes out for it
        assert gone.wait(WAIT_MS / 1000)
        staying = Peer(desk.endpoint)
        held = [(one["version"], one["deliveries"]) for one in staying.held(1)]
        assert held == [(third.version(0), 1)], "what was acknowledged came again, or an innocent was counted"
        staying.close()


def test_who_dies_is_found_gone_and_what_it_held_goes_to_others(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a word: its oldest work counts."""
    monkeypatch.setattr("spanwire.relay.group.group._HEARTBEAT_S", 0.01)
    found = tasks()
    desk = Interrupted()
    with running(desk, MemoryStore(IDENTITY), [found[0][0], found[1][0]]) as group:
        dying = Peer(desk.endpoint)
        oldest = dying.held(2)[0]["version"]
        dying.close()
        while group.stats()["members"]:
            time.sleep(0.001)
        staying = Peer(desk.endpoint)
        counts = {one["version"]: one["deliveries"] for one in staying.held(2)}
        assert counts == {found[0][0].version(0): 1, found[1][0].version(0): 1} | {oldest: 2}
        staying.close()


def test_a_leave_is_answered_once_what_was_acknowledged_is_stored() -> None:
    """However rarely progress is stored otherwise; the change it was at is counted."""
    found = tasks()
    first, second = found[0][0], found[1][0]
    desk, store = Interrupted(), MemoryStore(IDENTITY)
    with running(desk, store, [first, second]) as group:
        leaving = Peer(desk.endpoint)
        work = {one["version"]: one["delivery"] for one in leaving.held(2)}
        leaving.say("ack", delivery=work[first.version(0)], handled=1)
        leaving.say("leave", delivery=work[second.version(0)])
        reply = leaving.next()
        assert (reply["kind"], reply["id"]) == ("done", 1)
        kept = State.decode(store.own_group("mail").state)
        assert list(kept.reached.frontiers) == [first.lane]
        assert kept.failures == {str(second.version(0)): 1}
        assert group.stats()["members"] == []
        leaving.close()


def test_a_group_that_ends_hears_what_its_members_said_by_then() -> None:
    """It is stored with the rest."""
    task = tasks()[0][0]
    desk, store = Interrupted(), MemoryStore(IDENTITY)
    with running(desk, store, [task]) as group:
        member = Peer(desk.endpoint)
        [work] = member.held(1)

        def end(_: bytes) -> None:
            member.say("ack", delivery=work["delivery"], handled=1)
            assert desk.socket.poll(WAIT_MS)
            group._stop.set()

        desk.meanwhile = end
        member.say("ack", delivery=work["delivery"], handled=0)
        assert member.next()["reason"] == "stopping"
        member.close()
    assert list(State.decode(store.own_group("mail").state).reached.frontiers) == [task.lane]
