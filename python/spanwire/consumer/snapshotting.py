"""`snapshot`: the rows of a stream's tables at one timestamp, read from Spanner by a relay."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from spanwire._core import Change, Message, Timestamp
from spanwire.consumer import letters
from spanwire.consumer.answered import Answered, parsed
from spanwire.consumer.link import Answer, Link
from spanwire.errors import RetentionExpired


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
            None if at is None else parsed("at", at),
            resume,
            output,
        ),
        patience,
    )


class Snapshot(Answered):
    """A snapshot on its way. Iterable once, sync or asyncio; a context manager."""

    _kind = "snapshot"

    def __init__(self, link: Link, wanted: Wanted, patience: float) -> None:
        """See `snapshot`."""
        super().__init__(link, patience)
        self._wanted = wanted
        self._told: deque[tuple[int, str]] = deque()
        """What goes on from where, once so many rows were handed over."""
        self._came = 0
        self._complete = False
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

    def _next(self) -> Change | None:
        # What was told behind rows holds once they have been handled: when the next one is asked for.
        while self._told and self._told[0][0] <= self.rows:
            self.resume = self._told.popleft()[1]
        if not self._ready:
            self.done = self._over and self._complete
            self._grant()
            return None
        self.rows += 1
        return self._ready.popleft()

    def _request(self) -> dict[str, Any]:
        wanted = self._wanted
        return {
            "tables": wanted.tables,
            "topics": wanted.topics,
            "at": self.at,
            "output": wanted.output,
            "reason": self._asked_from,
        }

    def _take(self, answer: Answer) -> None:
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

    def _gone(self, text: str, oldest: Timestamp | None) -> RetentionExpired:
        return RetentionExpired(text, lost_from=self.at, lost_to=oldest)
