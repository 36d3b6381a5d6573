"""`snapshot`: the rows of a stream's tables at one timestamp, read from Spanner by a relay."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Self

from spanwire._core import Change, Message, Timestamp
from spanwire.consumer import letters
from spanwire.consumer.link import Answer, Link
from spanwire.errors import ConfigError, RefusedError, RetentionExpired

_LOOK_S = 1.0
_AGAIN_S = 0.5
_PASSING = ("busy", "tooMany", "stopping")
"""Refusals after which the same may be had a little later."""


@dataclass(frozen=True)
class Wanted:
    """What is to be had."""

    tables: list[str]
    """None takes all that the stream watches."""
    topics: list[str]
    """Beginnings of topics; none takes all."""
    at: Timestamp | None
    """None: now."""
    resume: str
    """What an earlier one said of where it was; empty: from the beginning."""
    output: int


def snapshot(  # noqa: PLR0913 - what a user may say of a snapshot
    endpoint: str,
    tables: str | Sequence[str] = (),
    *,
    topics: str | Sequence[str] = (),
    at: Timestamp | str | None = None,
    resume: str = "",
    output: int = 0,
    patience: float = 60.0,
) -> Snapshot:
    """The rows of tables as they were at one timestamp, each as its insert would have come.

    `endpoint`: where a relay's output of kind "replay" is bound. `tables`: such as "sales.orders"; none takes
    all that the stream watches. `topics`: beginnings of topics; none takes all. `at`: now where not given;
    the one that it came to be is `Snapshot.at`. All changes later than that make of these rows the tables as
    they are later. `resume`: what an earlier one's `Snapshot.resume` said; then `tables` and `at` are its
    own. `output`, `patience`: as for `replay`.

        with snapshot("tcp://127.0.0.1:5570", "orders") as rows:
            for row in rows:
                put(row.keys, row.new)
        # goes on with the changes after rows.at

    Rows come in no order, and over a broken connection or a long pause some may come again, the same.
    Iteration raises RetentionExpired where the database keeps no versions that old any more, and
    RefusedError for what the relay refuses otherwise. ConfigError: an endpoint or timestamp that cannot be
    one.
    """
    return Snapshot(
        Link(endpoint),
        Wanted(
            [tables] if isinstance(tables, str) else list(tables),
            [topics] if isinstance(topics, str) else list(topics),
            _timestamp(at),
            resume,
            output,
        ),
        patience,
    )


class Snapshot:
    """A snapshot on its way. Iterable once; a context manager."""

    def __init__(self, link: Link, wanted: Wanted, patience: float) -> None:
        """See `snapshot`."""
        self._link, self._wanted, self._patience = link, wanted, patience
        self._told: deque[tuple[int, str]] = deque()
        """What goes on from where, once so many rows were handed over."""
        self._ready: deque[Change] = deque()
        self._came = 0
        self._to_grant = 0
        self._exchange: int | None = None
        self._ask_at = 0.0
        self._unserved_since = time.monotonic()
        self._over = self._complete = False
        self._asked_from = wanted.resume
        self.at = wanted.at
        """The snapshot's timestamp; None where it is not known yet."""
        self.resume = wanted.resume
        """Another snapshot goes on from here where this one is cut off: a small text. Rows handed over by now
        that it does not know of come again."""
        self.rows = 0
        """Rows that were handed over."""
        self.parts = (0, 0)
        """Parts of the tables that have come, and how many there are as far as is known."""
        self.done = False
        """Whether all rows were handed over."""

    def close(self) -> None:
        """End it."""
        self._over = True
        self._ready.clear()
        self._link.close()

    def __iter__(self) -> Iterator[Change]:
        """Row by row, to its end."""
        return self

    def __next__(self) -> Change:
        """The next row; waits for it."""
        while not self._ready:
            self._remember()
            if self._over:
                self.done = self._complete
                raise StopIteration
            if self._exchange is not None and self._to_grant:
                self._link.grant(self._exchange, self._to_grant)
                self._to_grant = 0
            self._turn()
            if not self._ready and not self._over:
                self._link.socket.poll(round(_LOOK_S * 1000))
        self._remember()
        self.rows += 1
        return self._ready.popleft()

    def __enter__(self) -> Self:
        """The snapshot itself."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        """End it."""
        self.close()

    def _remember(self) -> None:
        """What was told behind rows holds once they have been handled: when the next one is asked for."""
        while self._told and self._told[0][0] <= self.rows:
            self.resume = self._told.popleft()[1]

    def _turn(self) -> None:
        """Ask where nothing is asked, and take what has come; never waits."""
        now = time.monotonic()
        if self._exchange in self._link.look_around(now):
            self._again(now)
        if self._exchange is None and now >= self._ask_at:
            self._exchange = self._link.ask(
                "snapshot",
                tables=self._wanted.tables,
                topics=self._wanted.topics,
                at=self.at,
                output=self._wanted.output,
                reason=self._asked_from,
            )
        if self._unserved_since and now - self._unserved_since > self._patience:
            self.close()
            raise RefusedError(
                f"{self._link.endpoint}: no relay has answered for {self._patience:.0f} s; is an output of "
                'kind "replay" bound there?',
                reason="busy",
                endpoint=self._link.endpoint,
            )
        for answer in self._link.take():
            self._take(answer, now)
            if self._over:
                return

    def _take(self, answer: Answer, now: float) -> None:
        if answer.kind != "refused":
            self._unserved_since = 0.0
        if answer.frames is not None:
            message = Message.decode(answer.frames)
            if message.kind == "snapshot":
                rows = message.changes()
                self._came += len(rows)
                self._ready.extend(rows)
            elif message.kind == "deadLetter":
                letters.warn(message.dead_letter())
            self._to_grant += answer.size
        elif answer.kind == "progress":
            self.at = answer.fields["position"] or self.at
            parts, _, text = answer.fields["text"].partition(" ")
            done, _, total = parts.partition("/")
            if text and done.isdigit() and total.isdigit():
                self.parts = int(done), int(total)
                self._told.append((self._came, text))
                self._asked_from = text
        elif answer.kind == "done":
            self.at = answer.fields["position"] or self.at
            self._over = self._complete = True
            self._link.close()
        elif answer.kind == "refused":
            self._refused(answer, now)

    def _refused(self, answer: Answer, now: float) -> None:
        reason, text = answer.fields["reason"], answer.fields["text"]
        if reason in _PASSING:
            self._again(now)
            return
        self.close()
        if reason == "gone":
            raise RetentionExpired(text, lost_from=self.at, lost_to=answer.fields["oldest"])
        raise RefusedError(f"{self._link.endpoint}: {text}", reason=reason, endpoint=self._link.endpoint)

    def _again(self, now: float) -> None:
        """Ask again, a little later, for what had not come in full."""
        self._exchange = None
        self._to_grant = 0
        self._ask_at = now + _AGAIN_S
        self._unserved_since = self._unserved_since or now


def _timestamp(value: Timestamp | str | None) -> Timestamp | None:
    if value is None or isinstance(value, Timestamp):
        return value
    try:
        return Timestamp.parse(value)
    except ValueError:
        raise ConfigError(
            f'at: must be RFC 3339 in UTC, such as "2026-11-23T17:50:32.669475Z", is "{value}"'
        ) from None
