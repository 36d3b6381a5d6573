"""What a relay sends to one request, change by change; asked for again where it was cut off."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Iterator
from types import TracebackType
from typing import Any, ClassVar, Self

from spanwire._core import Change, Timestamp
from spanwire.consumer.link import Answer, Link
from spanwire.consumer.waiting import readable
from spanwire.errors import ConfigError, RefusedError, RetentionExpired
from spanwire.timestamps import timestamp_problem

_LOOK_S = 1.0
_AGAIN_S = 0.5
_PASSING = ("busy", "tooMany", "stopping")
"""Refusals after which the same may be had a little later."""


class Answered:
    """Base of `Replay` and `Snapshot`. Iterable once and a context manager, sync and asyncio."""

    _kind: ClassVar[str]
    """Of the request."""

    def __init__(self, link: Link, patience: float) -> None:
        """`patience`: seconds to wait for a relay that is not there, or has no room."""
        self._link = link
        self._patience = patience
        self._ready: deque[Change] = deque()
        self._to_grant = 0
        self._exchange: int | None = None
        self._ask_at = 0.0
        self._why = ""
        self._unserved_since: float | None = time.monotonic()
        self._over = False

    def stop(self) -> None:
        """Have the iteration end soon, with what has come; for handlers of signals and other threads."""
        self._over = True

    def close(self) -> None:
        """End it."""
        self._over = True
        self._ready.clear()
        self._link.close()

    def __iter__(self) -> Iterator[Change]:
        """One by one, to its end."""
        return self

    def __next__(self) -> Change:
        """The next one; waits for it."""
        while (change := self._next()) is None:
            if self._over:
                raise StopIteration
            self._turn()
            if not self._ready and not self._over:
                self._link.socket.poll(round(_LOOK_S * 1000))
        return change

    def __aiter__(self) -> Self:
        """One by one, to its end."""
        return self

    async def __anext__(self) -> Change:
        """The next one; waits for it."""
        while (change := self._next()) is None:
            if self._over:
                raise StopAsyncIteration
            self._turn()
            if not self._ready and not self._over:
                await readable(self._link.socket, _LOOK_S)
        return change

    def __enter__(self) -> Self:
        """Itself."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        """End it."""
        self.close()

    async def __aenter__(self) -> Self:
        """Itself."""
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        """End it; nothing is waited for."""
        self.close()

    def _next(self) -> Change | None:
        """What is handed over next; None where nothing has come."""
        raise NotImplementedError

    def _request(self) -> dict[str, Any]:
        """The fields of the request, from where it has come to."""
        raise NotImplementedError

    def _take(self, answer: Answer) -> None:
        """Take an answer that is no refusal."""
        raise NotImplementedError

    def _gone(self, text: str, oldest: Timestamp | None) -> RetentionExpired:
        """The error where what is asked for cannot be had any more."""
        raise NotImplementedError

    def _grant(self) -> None:
        """What came was handed on: let more come."""
        if self._exchange is not None and self._to_grant:
            self._link.grant(self._exchange, self._to_grant)
            self._to_grant = 0

    def _turn(self) -> None:
        """Ask where nothing is asked, and take what has come; never waits."""
        now = time.monotonic()
        if self._exchange in self._link.look_around(now):
            self._again(now)
        if self._exchange is None and now >= self._ask_at:
            self._exchange = self._link.ask(self._kind, **self._request())
        if self._unserved_since is not None and now - self._unserved_since > self._patience:
            self.close()
            raise RefusedError(
                f"{self._link.endpoint}: no relay has served this for {self._patience:.0f} s"
                + (f" ({self._why})" if self._why else '; is an output of kind "replay" bound there?'),
                reason="busy",
                endpoint=self._link.endpoint,
            )
        for answer in self._link.take():
            if answer.kind == "refused":
                self._refused(answer, now)
            else:
                self._unserved_since = None
                self._take(answer)
            if self._over:
                return

    def _refused(self, answer: Answer, now: float) -> None:
        reason, text = answer.fields["reason"], answer.fields["text"]
        if reason in _PASSING:
            self._why = text
            self._again(now)
            return
        self.close()
        if reason == "gone":
            raise self._gone(text, answer.fields["oldest"])
        raise RefusedError(f"{self._link.endpoint}: {text}", reason=reason, endpoint=self._link.endpoint)

    def _again(self, now: float) -> None:
        """Ask again, a little later, for what had not come in full."""
        self._exchange = None
        self._to_grant = 0
        self._ask_at = now + _AGAIN_S
        if self._unserved_since is None:
            self._unserved_since = now


def parsed(name: str, value: Timestamp | str) -> Timestamp:
    """A timestamp that a user gave. ConfigError for text that is none."""
    if isinstance(value, Timestamp):
        return value
    if problem := timestamp_problem(value):
        raise ConfigError(f"{name}: {problem}")
    return Timestamp.parse(value)
