"""Whole transactions, across tables and partitions, in commit order. Pure: no I/O, no clock.

A partition hands over its changes in commit order, and any number of them commit together. So no change
says that its transaction is complete: the watermark does. Below it nothing can come any more, and what
waits there is released, sorted by record version. What a watermark that stands still costs is memory,
which is bounded.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from heapq import heappop, heappush
from itertools import groupby
from operator import attrgetter
from typing import TYPE_CHECKING, NamedTuple

from spanwire.consumer.reached import Version
from spanwire.errors import HeldBackError
from spanwire.timestamps import nanoseconds
from spanwire.words import counted

if TYPE_CHECKING:
    from spanwire._core import Change, RecordVersion, Timestamp

MOST_BYTES = 512 << 20
"""What waits, by default."""
CHANGE_BYTES = 256
"""What a waiting change takes beside its share of its message."""
_NANOS = 1_000_000_000
_version = attrgetter("version")
_transaction = attrgetter("transaction")


@dataclass(slots=True)
class Transaction:
    """The changes of one transaction that are followed, all of them. Iterable."""

    commit_timestamp: Timestamp
    id: str
    """Spanner's server_transaction_id."""
    tag: str
    """As its writer set it, else empty."""
    changes: list[Change]
    """By record sequence and mod number."""
    torn: bool = False
    """It has other than `number_of_records_in_transaction` records, although nothing was filtered; counted
    with `whole=True` only."""

    def __iter__(self) -> Iterator[Change]:
        """Change by change."""
        return iter(self.changes)

    def __len__(self) -> int:
        """The number of its changes."""
        return len(self.changes)


class Waiting(NamedTuple):
    """Transactions that are held back."""

    since: float
    """When the watermark last moved, or something began to wait; seconds of the clock that `now` is of."""
    partition: str | None
    """The hash of the partition that holds the watermark back, where it is known."""
    changes: int
    """How many wait."""
    oldest: Timestamp
    """The commit timestamp of the first of them."""


class TransactionOrder:
    """Takes changes in the order of each partition, gives whole transactions in commit order."""

    def __init__(
        self,
        *,
        watermark: Timestamp | None = None,
        last: RecordVersion | Version | None = None,
        whole: bool = False,
        most_bytes: int = MOST_BYTES,
    ) -> None:
        """`watermark`: all up to there was handed over before. `last`: all up to and including it was.

        `whole`: no topic, table, row or column is left out on the way, so transactions are counted.
        `most_bytes`: of what may wait.
        """
        self._last = None if last is None else Version.of(last)
        self._passed = -(1 << 80)
        """Nanoseconds since 1970, of the newest watermark: nothing up to here waits or will."""
        self._watermark = watermark
        if watermark is not None:
            self._passed = nanoseconds(watermark)
        if self._last is not None:
            self._passed = max(self._passed, nanoseconds(self._last.commit_timestamp) - 1)
        self._whole = whole
        self._most = most_bytes
        self._moments: dict[int, list[Change]] = {}  # by nanoseconds since 1970
        self._sizes: dict[int, int] = {}
        self._next: list[int] = []  # a heap of the moments that wait
        self._changes = 0
        self._since = 0.0
        self._held_by: str | None = None
        self.bytes = 0
        """Of what waits: its share of its messages, and what a change takes beside."""
        self.late = 0
        """Changes that came at or below the watermark, and were dropped: they came before, or their loss was
        announced."""
        self.torn = 0
        """Transactions released that were torn."""

    @property
    def watermark(self) -> Timestamp | None:
        """All changes up to here were released."""
        return self._watermark

    @property
    def waiting(self) -> Waiting | None:
        """What is held back; None where nothing is."""
        if not self._next:
            return None
        oldest = self._moments[self._next[0]][0].commit_timestamp
        return Waiting(self._since, self._held_by, self._changes, oldest)

    def push(self, changes: Sequence[Change], now: float, size: int = 0) -> None:
        """Take changes that are new, whatever their partition. `size`: bytes of the message they came in.

        HeldBackError where more would wait than is allowed; none of them was taken then.
        """
        if not changes:
            return
        share = size // len(changes) + CHANGE_BYTES
        if self.bytes + share * len(changes) > self._most:
            raise self._held_back(now)
        if not self._next:
            self._since = now
        moments, sizes, passed, late = self._moments, self._sizes, self._passed, 0
        for change in changes:
            at = change.commit_timestamp
            key = at.seconds * _NANOS + at.nanos
            if key <= passed:
                late += 1
                continue
            if key in moments:
                moments[key].append(change)
                sizes[key] += share
            else:
                moments[key], sizes[key] = [change], share
                heappush(self._next, key)
        taken = len(changes) - late
        self.late += late
        self._changes += taken
        self.bytes += taken * share

    def advance(
        self, watermark: Timestamp | None, now: float, held_by: str | None = None
    ) -> list[Transaction]:
        """Whole transactions up to the watermark; one that is older than before changes nothing.

        `held_by`: the hash of the partition that holds it back from there on.
        """
        self._held_by = held_by
        if watermark is None or (until := nanoseconds(watermark)) <= self._passed:
            return []
        self._passed, self._watermark, self._since = until, watermark, now
        released: list[Transaction] = []
        while self._next and self._next[0] <= until:
            moment = heappop(self._next)
            changes = self._moments.pop(moment)
            self.bytes -= self._sizes.pop(moment)
            self._changes -= len(changes)
            if len(changes) == 1 and self._last is None and not self._whole:  # of many streams, nearly all
                [one] = changes
                released.append(
                    Transaction(one.commit_timestamp, one.transaction, one.transaction_tag, changes)
                )
            else:
                released += self._transactions(changes)
        return released

    def _transactions(self, changes: list[Change]) -> Iterator[Transaction]:
        """Those of one commit timestamp."""
        last = self._last
        if last is not None:
            if changes[0].commit_timestamp == last.commit_timestamp:
                changes = [change for change in changes if Version.of(change.version) > last]
            else:  # nothing is as old any more
                last = self._last = None
        if len(changes) > 1:
            changes.sort(key=_version)
            groups = [list(group) for _, group in groupby(changes, _transaction)]
        else:
            groups = [changes] if changes else []
        for group in groups:
            first = group[0]
            whole = Transaction(first.commit_timestamp, first.transaction, first.transaction_tag, group)
            begun = last is not None and whole.id == last.transaction  # and handed over up to there
            if self._whole and not begun and _is_torn(group):
                whole.torn = True
                self.torn += 1
            yield whole

    def _held_back(self, now: float) -> HeldBackError:
        waiting = self.waiting
        changes, oldest = (0, "now") if waiting is None else (waiting.changes, waiting.oldest)
        partition = self._held_by or "not known yet"
        return HeldBackError(
            f"held back until their transactions are complete: {counted(changes, 'change')} from {oldest} "
            f"on, and no more fit into {self._most >> 20} MiB: the watermark has stood at {self._watermark} "
            f"for {now - self._since:.1f} s, held back by partition {partition}; start again from the "
            "cursor, or allow more",
            partition=self._held_by,
            watermark=self._watermark,
            changes=changes,
        )


def _is_torn(changes: list[Change]) -> bool:
    """Whether records are missing or too many. The mods of each are numbered from 0."""
    expected = changes[0].number_of_records_in_transaction
    if len(changes) == 1:
        return expected != 1
    return sum(change.version.number == 0 for change in changes) != expected
