"""A running group: members on one side, its input on the other, the machine between, the store beneath."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import structlog
import zmq

from spanwire._core import Timestamp
from spanwire.config import OutputConfig
from spanwire.consumer.reached import Reached
from spanwire.errors import FormatError, SpanwireError
from spanwire.records import DeadLetter, GroupRecord
from spanwire.relay.group.desk import Desk
from spanwire.relay.group.intake import MOST_BYTES, Framed, Intake
from spanwire.relay.group.machine import Dead, Machine, Rules
from spanwire.relay.group.progress import Progress
from spanwire.relay.group.state import State
from spanwire.relay.group.task import Task
from spanwire.store import Store

_log = structlog.get_logger("spanwire.relay")

_HEARTBEAT_S = 1.0
"""How often members hear how far the group is; one whose connection is gone is noticed by it."""
_LOOK_S = 0.2
_MOST_MEMBERS = 4096
_LETTERS_AT_ONCE = 16
"""Dead letters that are delivered again at a time: they are not in memory before."""


class Group:
    """One output of kind "group", served by a thread of its own from `start` to `close`."""

    def __init__(self, output: OutputConfig, stream: bytes, store: Store, desk: Desk) -> None:
        """`desk`: bound, and closed by `close`. `stream`: as `Request.stream`."""
        self._output, self._stream, self._store, self._desk = output, stream, store, desk
        self.name = output.name
        self._shape = f"{output.slots} {output.topic}"
        self._rules = Rules(
            slots=output.slots,
            in_flight=output.in_flight,
            ack_timeout_s=output.ack_timeout_ms / 1000,
            max_deliveries=output.max_deliveries,
        )
        self._joins: dict[bytes, int] = {}  # the exchange in which each member joined
        self._names: dict[bytes, str] = {}
        self._gone: set[bytes] = set()  # members that nothing can be sent to
        self._left: list[tuple[bytes, int]] = []  # who waits for the answer to its leave, in which exchange
        self._letters: set[int] = set()  # requeued ones that are at work
        self._undecoded: list[DeadLetter] = []
        self._buried = 0  # dead letters that were written
        self._given: Timestamp | None = None
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None
        self.failure: BaseException | None = None
        """What ended it early."""

    @property
    def endpoint(self) -> str:
        """Where members connect."""
        return self._desk.endpoint

    def start(
        self, intake: Intake, begin: Timestamp, interval_s: float, on_failure: Callable[[], None]
    ) -> None:
        """Own the group and serve it; `begin`: where one begins that the store does not know yet."""
        self._record = self._store.own_group(self.name)
        if self._record.state:
            state = State.decode(self._record.state, self._shape)
        else:
            # Stored before anything is delivered: what was not acknowledged by then comes again.
            state = State(Reached(begin), shape=self._shape)
            self._record = replace(self._record, state=state.encode())
            self._store.save_group(self._record)
        self._progress = Progress(state.reached)
        self._machine = Machine(self._rules, self._progress, state.failures)
        self._intake, self._interval_s, self._on_failure = intake, interval_s, on_failure
        intake.start(state.reached)
        self._thread = threading.Thread(target=self._run, name=f"group-{self.name}", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Tell the members, store how far it is, and end."""
        self._stop.set()
        if self._thread is not None:
            self._thread.join()
            self._intake.close()
        self._desk.close()

    def stats(self) -> dict[str, Any]:
        """What is going on: see docs/metrics.md."""
        watermark, waits_for, machine = None, None, None
        if self._thread is not None:
            stored = self._stored
            watermark = None if stored is None else str(stored)
            waits_for, machine = self._intake.waits_for, self._machine
        return {
            "name": self.name,
            "endpoint": self.endpoint,
            "watermark": watermark,
            "members": sorted(self._names.copy().values()),
            "waiting_bytes": 0 if machine is None else machine.bytes,
            "waiting_messages": 0 if machine is None else machine.waiting,
            "waits_for": waits_for,
            "deliveries": 0 if machine is None else machine.deliveries,
            "redeliveries": 0 if machine is None else machine.redeliveries,
            "dead_letters": self._buried,
            "refused": dict(self._desk.refused),
        }

    def has_handled(self, until: Timestamp) -> bool:
        """Whether all changes up to there are handled and stored; True where it is not served."""
        if self._thread is None:
            return True
        stored = self._stored
        return stored is not None and stored >= until

    @property
    def _stored(self) -> Timestamp | None:
        """All changes up to here are handled, and stored."""
        return State.decode(self._record.state).reached.watermark

    def problem(self) -> str | None:
        """Why it is not well; None while it is."""
        if self.failure is not None:
            return f"group {self.name} ended: {self.failure}"
        return None

    # ---------------------------------------------------------------- its thread

    def _run(self) -> None:
        try:
            self._serve()
        except SpanwireError as error:
            self._fail(error)
        except Exception as error:
            self._fail(error)

    def _fail(self, error: BaseException) -> None:
        self.failure = error
        _log.error("a group ends", group=self.name, why=f"{type(error).__name__}: {error}")
        self._on_failure()

    def _serve(self) -> None:
        poller = zmq.Poller()
        poller.register(self._desk.socket, zmq.POLLIN)
        poller.register(self._intake.readable, zmq.POLLIN)
        heartbeat_at = save_at = time.monotonic()
        while not self._stop.is_set():
            poller.poll(0 if self._gone else round(_LOOK_S * 1000))
            now = time.monotonic()
            self._hear(now)
            self._take_in()
            for member in self._machine.look(now):
                self._expel(member, "it held work for longer than ack_timeout_ms, or was silent")
            if now >= heartbeat_at:
                heartbeat_at = now + _HEARTBEAT_S
                self._beat()
            if now >= save_at:
                save_at = now + self._interval_s
                self._requeue()
                self._save()
            elif self._machine.unsaved or self._left:
                self._save()
            self._dispatch(now)
        self._hear(time.monotonic())  # what members have acknowledged by now counts
        for member in list(self._joins):
            self._expel(member, "the relay stops; join again", reason="stopping")
        self._save()

    def _take_in(self) -> None:
        if self._intake.failure is not None:
            raise self._intake.failure
        self._intake.quieten()
        if self._intake.room:
            arrived, self._given = self._intake.take()
            for one in arrived:
                if isinstance(one, Framed):
                    self._bury(one)
                else:
                    self._machine.add(one)
        self._intake.room = self._machine.bytes < MOST_BYTES

    def _bury(self, letter: Framed) -> None:
        """What the relay could not decode, no member can handle: it is a dead letter from the start."""
        said = letter.whole.dead_letter()
        self._undecoded.append(
            DeadLetter(
                version=str(said["version"]),
                table=said["table"],
                reason=f"could not be decoded: {said['reason']}",
                deliveries=0,
                at=Timestamp.now(),
                frames=tuple(letter.frames),
            )
        )

    def _dispatch(self, now: float) -> None:
        for one in self._machine.dispatch(now):
            task = one.work
            assert isinstance(task, Task)
            sent = self._desk.reply(
                one.member,
                "work",
                self._joins[one.member],
                task.frames,
                delivery=one.number,
                handled=one.handled,
                deliveries=one.deliveries,
                until=task.until,
            )
            if not sent:
                self._machine.unsent(one)
                self._gone.add(one.member)

    def _beat(self) -> None:
        reached = self._progress.reached(self._given).watermark
        for member, id in list(self._joins.items()):
            if not self._desk.reply(member, "progress", id, position=reached):
                self._gone.add(member)

    # ---------------------------------------------------------------- what members say

    def _hear(self, now: float) -> None:
        """Do what members say, and give up those that are gone once all that they said is heard.

        A connection can be over while the last acks that came by it, and a leave, still wait to be read.
        """
        for peer, request in self._desk.requests():
            self._obey(peer, request, now)
        if self._desk.heard_all:
            for member in self._gone:
                self._machine.lose(member, "its member is gone")
                self._forget(member)
            self._gone.clear()

    def _obey(self, peer: bytes, request: dict[str, Any], now: float) -> None:
        kind, id = request["kind"], request["id"]
        machine, delivery, handled = self._machine, request["delivery"], request["handled"]
        refusal: str | None = None
        if kind == "join":
            self._join(peer, request, now)
        elif kind == "ack":
            refusal = machine.ack(peer, delivery, handled, now)
        elif kind == "reject":
            reason = request["reason"] or "rejected"
            refusal = machine.reject(peer, delivery, handled, reason, now, dead=request["limit"] == 1)
        elif kind == "credit":
            refusal = machine.hear(peer, now, request["credit"])
        elif kind == "leave":
            refusal = machine.leave(peer, delivery)
            self._forget(peer)
            if refusal is None:
                self._left.append((peer, id))
        elif kind == "cancel":
            # It may come from one who was never here: its exchange was lost with its connection.
            machine.leave(peer, 0)
            self._forget(peer)
        elif kind in ("ping", "hello"):
            machine.hear(peer, now)
            self._desk.reply(peer, "pong" if kind == "ping" else "welcome", id, stream=self._stream)
        else:
            text = f"{kind} is not served here; this endpoint is of group {self.name}"
            self._desk.refuse(peer, id, "unknownKind", text)
        if refusal is not None:
            self._desk.refuse(peer, id, refusal, _WORDS[refusal])

    def _join(self, peer: bytes, request: dict[str, Any], now: float) -> None:
        id = request["id"]
        if request["group"] != self.name:
            text = f'this endpoint is of group "{self.name}", not of "{request["group"]}"'
            self._desk.refuse(peer, id, "unknownOutput", text)
        elif request["stream"] not in (b"", self._stream):
            text = "this relay reads another stream than the one that was asked for"
            self._desk.refuse(peer, id, "otherStream", text)
        elif len(self._joins) >= _MOST_MEMBERS:
            self._desk.refuse(peer, id, "tooMany", f"{_MOST_MEMBERS} members are here, the most; try later")
        else:
            self._machine.join(peer, request["credit"], now)
            self._gone.discard(peer)
            self._joins[peer], self._names[peer] = id, request["member"]
            _log.info("a member joined", group=self.name, member=request["member"])
            position = self._progress.reached(self._given).watermark
            self._desk.reply(peer, "welcome", id, stream=self._stream, position=position)

    def _expel(self, member: bytes, why: str, reason: str = "notMember") -> None:
        if (id := self._joins.get(member)) is not None:
            self._desk.refuse(member, id, reason, why)
            self._forget(member)

    def _forget(self, member: bytes) -> None:
        if self._joins.pop(member, None) is not None:
            _log.info("a member is gone", group=self.name, member=self._names.pop(member))

    # ---------------------------------------------------------------- what is kept

    def _save(self) -> None:
        """Keep how far it is, with counts and dead letters, all together."""
        machine = self._machine
        reached = self._progress.reached(self._given)
        machine.forget(str(reached.watermark))
        letters = [_letter(one) for one in machine.dead] + self._undecoded
        state = State(reached, machine.failures, self._shape).encode()
        given_up = {one.work for one in machine.dead}
        ended = [one for one in machine.finished if isinstance(one, Task) and one.letter]
        done = [one.letter for one in ended if one not in given_up]
        if state != self._record.state or letters or done:
            record = GroupRecord(self.name, self._record.epoch, state)
            self._store.save_group(record, letters, done)
            self._record = record
            self._buried += len(letters)
        for one in machine.dead:
            _log.warning(
                "a change goes to the dead letters",
                group=self.name,
                version=str(one.version),
                reason=one.reason,
                deliveries=one.deliveries,
            )
        self._letters -= {one.letter for one in ended}
        self._undecoded = []
        machine.saved()
        for member, id in self._left:
            self._desk.reply(member, "done", id)  # what it acknowledged is kept
        self._left.clear()

    def _requeue(self) -> None:
        """Take up dead letters that somebody wants delivered again."""
        room = _LETTERS_AT_ONCE - len(self._letters)
        if room <= 0:
            return
        wanted = self._store.dead_letters(self.name, requeued=True, without=self._letters, limit=room)
        for letter in wanted:
            try:
                task = Task.of_letter(letter)
            except FormatError as error:
                _log.warning(
                    "a dead letter stays one", group=self.name, version=letter.version, why=str(error)
                )
                self._undecoded.append(letter)
                continue
            task.slot %= self._rules.slots  # it may be of a time with more of them
            self._letters.add(letter.id)
            self._machine.add(task)


_WORDS = {
    "notMember": "this is no member of the group (any more); join first",
    "neverSent": "there is no such work with this member",
    "outOfOrder": "more of that work was acknowledged before",
}


def _letter(dead: Dead) -> DeadLetter:
    task = dead.work
    assert isinstance(task, Task)
    return DeadLetter(
        version=str(dead.version),
        table=task.table,
        reason=dead.reason,
        deliveries=dead.deliveries,
        at=Timestamp.now(),
        frames=tuple(task.frames),
        place=dead.place,
    )
