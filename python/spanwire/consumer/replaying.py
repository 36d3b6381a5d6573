"""`replay`: changes that were sent before, read again from Spanner by a relay."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from spanwire._core import Change, Message, Timestamp, Window
from spanwire.consumer import letters
from spanwire.consumer.answered import Answered, parsed
from spanwire.consumer.link import Answer, Link
from spanwire.errors import ConfigError, RetentionExpired

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
        parsed("after", after),
        None if until is None else parsed("until", until),
        output,
        _bound("rate", rate),
        _bound("limit", limit),
    )
    return Replay(Link(endpoint), wanted, patience)


class Replay(Answered):
    """A replay that runs. Iterable once, sync or asyncio; a context manager."""

    _kind = "replay"

    def __init__(self, link: Link, wanted: Wanted, patience: float) -> None:
        """See `replay`."""
        super().__init__(link, patience)
        self._wanted = wanted
        self._windows: dict[tuple[bytes, str], Window] = {}
        self.position = wanted.after
        """All changes up to here have come from the relay; iteration may be behind it."""
        self.changes = 0
        """Changes that were handed over."""

    def _next(self) -> Change | None:
        if not self._ready:
            return None
        change = self._ready.popleft()
        self.changes += 1
        if self._wanted.limit and self.changes >= self._wanted.limit:
            self.close()
        elif not self._ready:
            self._grant()
        return change

    def _request(self) -> dict[str, Any]:
        """From the last position: what comes twice is dropped."""
        wanted = self._wanted
        return {
            "topics": wanted.topics,
            "after": self.position,
            "until": wanted.until,
            "output": wanted.output,
            "rate": wanted.rate,
            "limit": wanted.limit and wanted.limit - self.changes,
        }

    def _take(self, answer: Answer) -> None:
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
            self.position = max(self.position, answer.fields["position"] or self.position)
            if answer.kind == "done":
                self._over = True
                self._link.close()

    def _gone(self, text: str, oldest: Timestamp | None) -> RetentionExpired:
        return RetentionExpired(
            f"changes after {self.position} cannot be had any more: {text}; replay from {oldest} on, and "
            "take what is older from the tables",
            lost_from=self.position,
            lost_to=oldest,
        )


def _bound(name: str, value: int | None) -> int:
    if value is None:
        return 0
    if not 1 <= value <= _MOST[name]:
        raise ConfigError(f"{name}: must be 1 to {_MOST[name]}, is {value}")
    return value
