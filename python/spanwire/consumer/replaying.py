"""`replay`: changes that were sent before, read again from Spanner by a relay."""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Self

import zmq

from spanwire._core import Change, Message, Timestamp, Window
from spanwire.consumer import letters
from spanwire.consumer.link import Answer, Link
from spanwire.errors import ConfigError, RefusedError, RetentionExpired

_LOOK_S = 1.0
_AGAIN_S = 0.5
_PASSING = ("busy", "tooMany", "stopping")
"""Refusals after which the same may be had a little later."""
_MOST = {"rate": 2**32 - 1, "limit": 2**64 - 1}


@dataclass(frozen=True)
class Wanted:
    """What is to be replayed."""

    topics: list[str]
    """Beginnings of topics; none takes all."""
    after: Timestamp
    until: Timestamp | None
    """None: what the relay has read by then."""
    output: int
    rate: int
    """Changes a second; 0: no limit."""
    limit: int
    """Changes; 0: no limit."""


def replay(  # noqa: PLR0913 - what a user may say of a replay
    endpoint: str,
    topics: str | Sequence[str] = (),
    after: Timestamp | str = "",
    until: Timestamp | str | None = None,
    *,
    output: int = 0,
    rate: int | None = None,
    limit: int | None = None,
    patience: float = 60.0,
) -> Replay:
    """The changes of (after, until] as they were sent first, in the same canonical form; to be iterated over.

    `endpoint`: where a relay's output of kind "replay" is bound. `topics`: beginnings of topics; none takes
    all. `after`, `until`: Timestamps or RFC 3339 text; without `until`, up to what the relay has read by
    now. `output`: the relay's output whose topics, choice and values they have, numbered from 0 without
    those of kind "replay". `rate`: changes a second; `limit`: changes; both are kept by the relay.
    `patience`: seconds to wait for a relay that is not there, or has no room.

        for change in replay("tcp://127.0.0.1:5570", "shop/all_tables/orders/", after="2026-11-23T17:50:32Z"):
            ...

    Each partition's changes come in order; a change comes once, also over a broken connection. Iteration
    raises RetentionExpired where the stream does not keep the range any more, and RefusedError for what
    the relay refuses otherwise. ConfigError: an endpoint, timestamp or number that cannot be one.
    """
    wanted = Wanted(
        [topics] if isinstance(topics, str) else list(topics),
        _timestamp("after", after),
        None if until is None else _timestamp("until", until),
        output,
        _bound("rate", rate),
        _bound("limit", limit),
    )
    return Replay(Link(endpoint), wanted, patience)


class Replay:
    """A replay that runs. Iterable once, sync or asyncio; a context manager."""

    def __init__(self, link: Link, wanted: Wanted, patience: float) -> None:
        """See `replay`."""
        self._link = link
        self._wanted = wanted
        self._patience = patience
        self._after = wanted.after
        self._windows: dict[tuple[bytes, str], Window] = {}
        self._ready: deque[Change] = deque()
        self._to_grant = 0
        self._exchange: int | None = None
        self._ask_at = 0.0
        self._why = ""
        self._unserved_since: float | None = time.monotonic()
        self._over = False
        self.position = wanted.after
        """All changes up to here have come from the relay; iteration may be behind it."""
        self.changes = 0
        """Changes that were handed over."""

    def close(self) -> None:
        """End it."""
        self._over = True
        self._ready.clear()
        self._link.close()

    def __iter__(self) -> Iterator[Change]:
        """Change by change, to its end."""
        return self

    def __next__(self) -> Change:
        """The next change; waits for it."""
        while (change := self._next()) is None:
            if self._over:
                raise StopIteration
            self._turn()
            if not self._ready and not self._over:
                self._link.socket.poll(round(_LOOK_S * 1000))
        return change

    def __aiter__(self) -> Self:
        """Change by change, to its end."""
        return self

    async def __anext__(self) -> Change:
        """The next change; waits for it."""
        while (change := self._next()) is None:
            if self._over:
                raise StopAsyncIteration
            self._turn()
            if not self._ready and not self._over:
                await _readable(self._link.socket, _LOOK_S)
        return change

    def __enter__(self) -> Self:
        """The replay itself."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        """End it."""
        self.close()

    def _next(self) -> Change | None:
        if not self._ready:
            return None
        change = self._ready.popleft()
        self.changes += 1
        if self._wanted.limit and self.changes >= self._wanted.limit:
            self.close()
        elif not self._ready and self._exchange is not None:
            self._link.grant(self._exchange, self._to_grant)
            self._to_grant = 0
        return change

    def _turn(self) -> None:
        """Ask where nothing is asked, and take what has come; never waits."""
        now, wanted = time.monotonic(), self._wanted
        if self._exchange in self._link.look_around(now):
            self._again(now)
        if self._exchange is None and now >= self._ask_at:
            self._exchange = self._link.ask(
                "replay",
                topics=wanted.topics,
                after=self._after,
                until=wanted.until,
                output=wanted.output,
                rate=wanted.rate,
                limit=wanted.limit and wanted.limit - self.changes,
            )
        if self._unserved_since is not None and now - self._unserved_since > self._patience:
            self.close()
            raise RefusedError(
                f"{self._link.endpoint}: no relay has served this for {self._patience:.0f} s"
                + (f" ({self._why})" if self._why else '; is an output of kind "replay" bound there?'),
                reason="busy",
                endpoint=self._link.endpoint,
            )
        for answer in self._link.take():
            self._take(answer, now)
            if self._over:
                return

    def _take(self, answer: Answer, now: float) -> None:
        if answer.kind != "refused":
            self._unserved_since = None
        if answer.frames is not None:
            message = Message.decode(answer.frames)
            fresh = []
            if message.kind == "changes":
                key = (message.partition, message.topic)
                fresh = self._windows.setdefault(key, Window()).admit(message.changes())
            elif message.kind == "deadLetter":
                letters.warn(message.dead_letter())
            if fresh:
                self._ready.extend(fresh)
                self._to_grant += answer.size
            else:
                self._link.grant(answer.id, answer.size)
        elif answer.kind in ("progress", "done"):
            position = answer.fields["position"]
            self.position = self._after = max(self._after, position or self._after)
            if answer.kind == "done":
                self._over = True
                self._link.close()
        elif answer.kind == "refused":
            self._refused(answer, now)

    def _refused(self, answer: Answer, now: float) -> None:
        reason, text = answer.fields["reason"], answer.fields["text"]
        if reason in _PASSING:
            self._why = text
            self._again(now)
            return
        self.close()
        if reason == "gone":
            oldest = answer.fields["oldest"]
            raise RetentionExpired(
                f"changes after {self._after} cannot be had any more: {text}; replay from {oldest} on, and "
                "take what is older from the tables",
                lost_from=self._after,
                lost_to=oldest,
            )
        raise RefusedError(f"{self._link.endpoint}: {text}", reason=reason, endpoint=self._link.endpoint)

    def _again(self, now: float) -> None:
        """Ask again from the last position, a little later. What comes twice is dropped."""
        self._exchange = None
        self._to_grant = 0
        self._ask_at = now + _AGAIN_S
        if self._unserved_since is None:
            self._unserved_since = now


async def _readable(socket: zmq.Socket[bytes], timeout: float) -> None:
    """Wait until the socket may be readable, in whatever event loop runs."""
    if int(socket.getsockopt(zmq.EVENTS)) & zmq.POLLIN:
        return
    loop, happened = asyncio.get_running_loop(), asyncio.Event()
    # The descriptor says that something has happened; only the socket knows what.
    descriptor = int(socket.getsockopt(zmq.FD))
    loop.add_reader(descriptor, happened.set)
    try:
        await asyncio.wait_for(happened.wait(), timeout)
    except TimeoutError:
        pass
    finally:
        loop.remove_reader(descriptor)


def _timestamp(name: str, value: Timestamp | str) -> Timestamp:
    if isinstance(value, Timestamp):
        return value
    try:
        return Timestamp.parse(value)
    except ValueError:
        raise ConfigError(
            f'{name}: must be RFC 3339 in UTC, such as "2026-11-23T17:50:32.669475Z", is "{value}"'
        ) from None


def _bound(name: str, value: int | None) -> int:
    if value is None:
        return 0
    if not 1 <= value <= _MOST[name]:
        raise ConfigError(f"{name}: must be 1 to {_MOST[name]}, is {value}")
    return value
