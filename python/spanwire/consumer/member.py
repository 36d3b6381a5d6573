"""`Member`: one of those who share the work of a group, at least once, in order per key."""

from __future__ import annotations

import os
import socket
import time
from collections import deque
from collections.abc import Awaitable, Callable
from types import TracebackType
from typing import Self

import zmq

from spanwire._core import Change, Message, Timestamp
from spanwire.consumer.link import Answer, Link
from spanwire.consumer.waiting import readable
from spanwire.errors import ClosedError, RefusedError

_LOOK_S = 1.0
_JOIN_AGAIN_S = 0.5
_LINGER_MS = 1000
_LEAVE_S = 5.0
_LEAVE_LOOK_S = 0.1
"""How soon a connection that breaks while the answer to a leave is waited for is noticed."""
_SILENCE_S = 10.0
"""A relay tells its members every second how far the group is."""
_PASSING = ("stopping", "notMember", "busy", "tooMany", "neverSent", "outOfOrder", "failed")
"""Refusals after which a member joins again; others say that it is at the wrong place."""


class _Held:
    """Work that is here: one message of one slot."""

    def __init__(self, answer: Answer) -> None:
        assert answer.frames is not None
        self.delivery = int(answer.fields["delivery"])
        self.place = int(answer.fields["handled"])
        """The change that is next."""
        self.size = answer.size
        self.changes = Message.decode(answer.frames).changes()
        self.end = int(answer.fields["until"]) or len(self.changes)
        self.suspect = int(answer.fields["deliveries"]) > 1
        self.deliveries = {self.place: int(answer.fields["deliveries"])}


class Member:
    """Takes part in the work of a group. A context manager and iterable, both sync and asyncio.

    Each change is given to one member at a time, in order per key, at least once: a change counts as handled
    when the next one is asked for (or `ack` says so). Whoever dies, leaves or takes longer than the group's
    ack_timeout_ms loses what it holds to others.

        with Member("tcp://127.0.0.1:5580", "mail") as member:
            for change in member:
                send(change)

    It connects and joins again by itself; what it held before is delivered again, to whomever. One thread or
    task uses it.
    """

    def __init__(self, endpoint: str, group: str, *, name: str | None = None) -> None:
        """Connect, and join. ConfigError for an endpoint that cannot be one.

        `name`: how the relay's log and status call this member; host and process if not given.
        """
        self._link = Link(endpoint)
        self._group = group
        self._name = name or f"{socket.gethostname()}:{os.getpid()}"
        self._exchange: int | None = None
        self._welcomed = False
        self._join_at = 0.0
        self._heard_at = time.monotonic()
        self._held: deque[_Held] = deque()
        self._at: _Held | None = None  # whose change was handed over and is not acknowledged yet
        self._confirming: int | None = None
        self._deliveries = 0
        self._watermark: Timestamp | None = None
        self._join(self._heard_at)

    @property
    def deliveries(self) -> int:
        """How often the change that was handed over last has been given to a member, with this time."""
        return self._deliveries

    @property
    def watermark(self) -> Timestamp | None:
        """All changes up to here are handled, by whichever member, as the relay last said."""
        return self._watermark

    def receive(self, timeout: float | None = None) -> Change | None:
        """The next change; None when none came within `timeout` seconds (None: for ever).

        The one before counts as handled. RefusedError where this is no member's place, such as a relay that
        has no group of this name.
        """
        self.ack()
        deadline = None if timeout is None else time.monotonic() + timeout
        while (change := self._step()) is None:
            wait = self._patience(deadline)
            if wait < 0:
                return None
            self._link.socket.poll(round(wait * 1000) or 1)
        return change

    async def areceive(self, timeout: float | None = None) -> Change | None:
        """As `receive`, for asyncio."""
        self.ack()
        deadline = None if timeout is None else time.monotonic() + timeout
        while (change := self._step()) is None:
            wait = self._patience(deadline)
            if wait < 0:
                return None
            await readable(self._link.socket, wait)
        return change

    def ack(self) -> None:
        """The change that was handed over last is handled. Nothing where there is none, or it was said."""
        held, self._at = self._at, None
        if held is None:
            return
        held.place += 1
        self._tell("ack", delivery=held.delivery, handled=held.place)
        if held.suspect and held.place < held.end and self._exchange is not None:
            # Should the next one end this process, it must be the one to blame.
            self._confirming = self._link.ask("hello")
        self._close(held)

    def reject(self, reason: str, *, dead: bool = False) -> None:
        """The change that was handed over last could not be handled: it is delivered again.

        After the group's max_deliveries, or at once if it is `dead`, it goes to the dead letters with its
        `reason`, which should hold no row data. Nothing where there is no such change.
        """
        held, self._at = self._at, None
        if held is None:
            return
        self._tell(
            "reject", delivery=held.delivery, handled=held.place, reason=reason[:1000], limit=int(dead)
        )
        held.place = held.end  # the rest of it goes back, too
        self._close(held)

    def run(self, handler: Callable[[Change], object]) -> None:
        """Handle changes for ever; one that `handler` fails at is rejected with the exception's type."""
        while True:
            change = self.receive()
            if change is None:
                continue
            try:
                handler(change)
            except Exception as error:
                self.reject(type(error).__name__)

    async def arun(self, handler: Callable[[Change], Awaitable[object]]) -> None:
        """As `run`, for asyncio."""
        while True:
            change = await self.areceive()
            if change is None:
                continue
            try:
                await handler(change)
            except Exception as error:
                self.reject(type(error).__name__)

    def close(self) -> None:
        """Leave. A change that was handed over and not acknowledged is delivered to another.

        What was acknowledged is stored when this returns: it waits until the relay says so, 5 s at the most.
        Past that, or when the connection breaks before, what the relay did not hear of is delivered again.
        On an event loop use `aclose`, which does not hold it up.
        """
        try:
            leave_by = self._leave()
            while (wait := self._stay(leave_by)) > 0:
                self._link.socket.poll(round(wait * 1000) or 1)
        finally:
            self._end()

    async def aclose(self) -> None:
        """As `close`, for asyncio. Cancelled, it closes at once."""
        try:
            leave_by = self._leave()
            while (wait := self._stay(leave_by)) > 0:
                await readable(self._link.socket, wait)
        finally:
            self._end()

    def __iter__(self) -> Self:
        """Change by change, for ever."""
        return self

    def __next__(self) -> Change:
        """The next change; waits for it."""
        change = self.receive()
        assert change is not None
        return change

    def __aiter__(self) -> Self:
        """Change by change, for ever."""
        return self

    async def __anext__(self) -> Change:
        """The next change; waits for it."""
        change = await self.areceive()
        assert change is not None
        return change

    def __enter__(self) -> Self:
        """The member."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Leave; what failed at a change rejects it."""
        self._blame(kind)
        self.close()

    async def __aenter__(self) -> Self:
        """The member."""
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Leave; what failed at a change rejects it."""
        self._blame(kind)
        await self.aclose()

    # ---------------------------------------------------------------- within

    def _patience(self, deadline: float | None) -> float:
        """Seconds to wait for the socket; less than 0 when time is out."""
        if deadline is None:
            return _LOOK_S
        left = deadline - time.monotonic()
        return -1.0 if left <= 0 else min(left, _LOOK_S)

    def _step(self) -> Change | None:
        """Take what has come, see to the connection, and give the next change where there is one."""
        if self._link.socket.closed:
            raise ClosedError("the member is closed")
        now = time.monotonic()
        for answer in self._link.take():
            self._take(answer, now)
        if any(lost == self._exchange for lost in self._link.look_around(now)):
            self._lose(now)
        if self._exchange is not None and now - self._heard_at > _SILENCE_S:
            self._link.cancel(self._exchange)
            self._lose(now)
        if self._exchange is None and now >= self._join_at:
            self._join(now)
        if self._confirming is not None or not self._held:
            return None
        held = self._at = self._held[0]
        self._deliveries = held.deliveries.get(held.place, 1)
        return held.changes[held.place]

    def _take(self, answer: Answer, now: float) -> None:
        self._heard_at = now
        if answer.id == self._confirming:
            self._confirming = None
        elif answer.id != self._exchange:
            return
        elif answer.kind == "work":
            self._held.append(_Held(answer))
        elif answer.kind in ("welcome", "progress"):
            self._welcomed = True
            self._watermark = answer.fields["position"] or self._watermark
        elif answer.kind == "refused":
            reason = answer.fields["reason"]
            self._exchange = None
            self._lose(now + _JOIN_AGAIN_S)
            if reason not in _PASSING:
                raise RefusedError(
                    f"{self._link.endpoint}: {answer.fields['text']}", reason=reason, group=self._group
                )

    def _join(self, now: float) -> None:
        self._heard_at = now
        self._welcomed = False
        self._exchange = self._link.ask("join", group=self._group, member=self._name)

    def _blame(self, kind: type[BaseException] | None) -> None:
        """The change at hand, for an error that ends the work."""
        if kind is not None and issubclass(kind, Exception) and not self._link.socket.closed:
            self.reject(kind.__name__)

    def _leave(self) -> float:
        """Say so; until when the answer is waited for."""
        self._tell("leave", delivery=0 if self._at is None else self._at.delivery)
        self._drop()
        return time.monotonic() + _LEAVE_S

    def _stay(self, leave_by: float) -> float:
        """Seconds to wait for the answer to the leave; 0 where it has come, or none will."""
        if not self._welcomed or self._link.socket.closed:
            return 0.0
        now = time.monotonic()
        self._link.take()  # work that is still on its way is given back with the rest
        self._link.look_around(now)
        if self._exchange not in self._link.open:
            return 0.0
        return min(max(0.0, leave_by - now), _LEAVE_LOOK_S)

    def _end(self) -> None:
        if not self._link.socket.closed:
            self._link.socket.setsockopt(zmq.LINGER, _LINGER_MS)  # what the relay has not answered
            self._link.close()

    def _lose(self, join_at: float) -> None:
        """A member no more: what is held goes to others."""
        self._exchange, self._join_at = None, join_at
        self._drop()

    def _drop(self) -> None:
        self._held.clear()
        self._at = None
        self._confirming = None

    def _tell(self, kind: str, **fields: object) -> None:
        if self._exchange is not None:
            self._link.tell(self._exchange, kind, **fields)

    def _close(self, held: _Held) -> None:
        """Done with a message: the relay may send as much more."""
        if held.place < held.end:
            return
        if self._held and self._held[0] is held:
            self._held.popleft()
        if self._exchange is not None:
            self._link.grant(self._exchange, held.size)
