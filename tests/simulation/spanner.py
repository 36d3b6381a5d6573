"""Spanner as a model: transactions, partitions with key ranges, a log for each, in either mode.

Commits, splits, merges and moves happen at even instants; heartbeats tell odd ones, so none shares a
timestamp with a record.
"""

from __future__ import annotations

import random
from bisect import bisect_left
from dataclasses import dataclass, field
from itertools import pairwise
from operator import itemgetter
from typing import Any, NamedTuple

from simulation.changes import TOPICS, Change, Version, stamp
from simulation.clock import Clock

PLACES = 12
"""Keys are places in the key space."""


class Expired(Exception):
    """The range asked for is older than the retention."""


class Record(NamedTuple):
    """One record of a partition's log."""

    at: int
    kind: str
    """data, children (immutable); start, event, end (mutable)."""
    what: Any


@dataclass(eq=False)
class Log:
    """One partition."""

    token: str
    start: int
    low: int = 0
    high: int = 0
    parents: tuple[str, ...] = ()
    end: int | None = None
    records: list[Record] = field(default_factory=list)

    def index_from(self, start: int) -> int:
        """Where the records at or after an instant begin."""
        return bisect_left(self.records, start, key=itemgetter(0))


class Spanner:
    """One database with one change stream."""

    def __init__(self, clock: Clock, rng: random.Random, *, mutable: bool, partitions: int) -> None:
        self.clock, self.rng, self.mutable = clock, rng, mutable
        self.retention: int | None = None
        self.swaps = True
        """Whether keys of two partitions change places at one timestamp."""
        self.logs: dict[str, Log] = {}
        self.committed: list[Change] = []
        self._where: list[str] = [""] * PLACES
        self._transactions = 0
        self._last = 0
        """The newest instant at which something happened."""
        self._written: set[tuple[str, int]] = set()
        """Rows written at that instant."""
        bounds = [PLACES * n // partitions for n in range(partitions + 1)]
        for low, high in pairwise(bounds):
            self._open(0, low, high)

    # ------------------------------------------------------------------ reading

    @property
    def instant(self) -> int:
        """Now; later than every instant at which something happened before this event."""
        return 2 * self.clock.now

    @property
    def oldest(self) -> int:
        """Reads must not begin before it."""
        return 0 if self.retention is None else max(0, self.instant - self.retention)

    def initial(self, at: int) -> list[str]:
        """The partitions that a read from `at` on begins with."""
        self.check(at)
        extra = 1 if self.mutable else 0
        return [
            log.token
            for log in self.logs.values()
            if log.start <= at and (log.end is None or at < log.end + extra)
        ]

    def check(self, start: int) -> None:
        """Refuse a read that would begin before the retention."""
        if start < self.oldest:
            raise Expired

    def heartbeat(self, log: Log) -> int | None:
        """Everything up to here has been returned to who has read the whole log; None where it has ended."""
        return None if log.end is not None else self.instant - 1

    # ------------------------------------------------------------------ writing

    def live(self) -> list[Log]:
        """Partitions that have not ended."""
        return [log for log in self.logs.values() if log.end is None]

    def commit(self) -> None:
        """One transaction: rows of several tables and partitions, perhaps one row twice."""
        rng, at = self.rng, self._pass()
        draw = rng.random
        count = (1, 1, 1, 2, 3, 6)[int(draw() * 6)]
        rows = [(TOPICS[int(draw() * 3)], int(draw() * PLACES)) for _ in range(count)]
        rows = [row for row in dict.fromkeys(rows) if row not in self._written]
        if not rows:
            return
        self._written.update(rows)
        if rng.random() < 0.1:
            rows.append(rng.choice(rows))
        self._transactions += 1
        transaction = f"{int(draw() * 90) + 10}t{self._transactions}"
        records: list[tuple[str, list[tuple[str, int]]]] = []
        for row in rows:
            token = self._where[row[1]]
            last = records[-1] if records else None
            if (
                last
                and last[0] == token
                and last[1][-1][0] == row[0]
                and row not in last[1]
                and rng.random() < 0.5
            ):
                last[1].append(row)
            else:
                records.append((token, [row]))
        tokens = {token for token, _ in records}
        newest = {token: number for number, (token, _) in enumerate(records)}
        for number, (token, mods) in enumerate(records):
            sequence = f"{self._transactions:08x}-{number:04x}" if self.mutable else f"{number:08d}"
            changes = []
            for mod, (topic, key) in enumerate(mods):
                change = Change(at, Version(stamp(at), transaction, sequence, mod), topic, key)
                change.number_of_records_in_transaction = len(records)
                change.number_of_partitions_in_transaction = len(tokens)
                change.is_last_record_in_transaction_in_partition = newest[token] == number
                changes.append(change)
            self.logs[token].records.append(Record(at, "data", changes))
            self.committed += changes

    def churn(self) -> None:
        """Partitions split, merge, or give key ranges away; sometimes transactions share the timestamp."""
        if self.mutable:
            if self.rng.random() < 0.3:
                self.commit()
            swapped = self._swap() if self.swaps and self.rng.random() < 0.2 else self._move()
            if not swapped and self.rng.random() < 0.3:
                self.commit()
            return
        if self._last >= self.instant:
            return  # what a parent has of this instant would belong to its child
        self._pass()
        splittable = [log for log in self.live() if log.high - log.low > 1]
        if splittable and (len(self.live()) < 2 or (len(self.live()) < 6 and self.rng.random() < 0.5)):
            self._split(self.rng.choice(splittable))
        else:
            self._merge()
        if self.rng.random() < 0.3:
            self.commit()

    def _pass(self) -> int:
        at = self.instant
        if at > self._last:
            self._last = at
            self._written.clear()
        return at

    def _open(self, at: int, low: int, high: int, parents: tuple[str, ...] = ()) -> Log:
        log = Log(f"p{len(self.logs)}", at, low, high, parents)
        self.logs[log.token] = log
        self._where[low:high] = [log.token] * (high - low)
        return log

    def _split(self, parent: Log) -> None:
        parts = min(self.rng.choice((2, 2, 3)), parent.high - parent.low)
        inner = sorted(self.rng.sample(range(parent.low + 1, parent.high), parts - 1))
        bounds = [parent.low, *inner, parent.high]
        self._replace([parent], [(low, high) for low, high in pairwise(bounds)])

    def _merge(self) -> None:
        live = sorted(self.live(), key=lambda log: log.low)
        if len(live) < 2:
            return
        first = self.rng.randrange(len(live) - 1)
        parents = live[first : first + self.rng.choice((2, 2, 3))]
        self._replace(parents, [(parents[0].low, parents[-1].high)])

    def _replace(self, parents: list[Log], bounds: list[tuple[int, int]]) -> None:
        tokens = tuple(parent.token for parent in parents)
        children = [self._open(self._last, low, high, tokens) for low, high in bounds]
        # Spanner's documentation shows one record with all children, its emulator one for each.
        groups = [[child] for child in children] if self.rng.random() < 0.5 else [children]
        for parent in parents:
            parent.end = self._last
            for group in groups * self.rng.choice((1, 1, 2)):
                named = [(child.token, child.parents) for child in group]
                parent.records.append(Record(self._last, "children", named))

    # Key ranges that move, as tests/property/test_moves.py has them.

    def _move(self) -> bool:
        """Keys move from some partitions to another one, old or new, at one timestamp; some then end."""
        rng = self.rng
        at = self._pass()
        live = [log.token for log in self.live()]
        if len(live) < 6 and rng.random() < 0.5:
            target = self._open_moving(rng.choice(live), at)
        else:
            target = rng.choice(live)
        sources: dict[str, None] = {}
        for key in rng.sample(range(PLACES), rng.randint(1, PLACES)):
            if self._where[key] != target and self._can_move(key):
                sources[self._where[key]] = None
                self._where[key] = target
        for source in sources:
            self._log(source, "event", ())
        if sources:
            self._log(target, "event", tuple(sources))
        for log in self.live():
            if log.token not in self._where and len(self.live()) > 1 and rng.random() < 0.6:
                self._log(log.token, "end", None)
                log.end = at
        self._moved = at
        return False

    _moved = -1

    def _can_move(self, key: int) -> bool:
        """A key moves once a timestamp."""
        return self._moved != self._last

    def _open_moving(self, by: str, at: int) -> str:
        log = Log(f"p{len(self.logs)}", at)
        self._log(by, "start", (log.token,))
        self.logs[log.token] = log
        return log.token

    def _swap(self) -> bool:
        """Some partitions pass their keys round at one timestamp; in one record each, or in two."""
        live = [log.token for log in self.live()]
        ring = self.rng.sample(live, min(len(live), self.rng.choice((2, 2, 3))))
        at = self._pass()
        if len(ring) < 2 or self._moved == at:
            return False
        self._moved = at
        after = dict(zip(ring, ring[1:] + ring[:1], strict=True))
        self._where = [after.get(owner, owner) for owner in self._where]
        for one in after:
            before = next(token for token, to in after.items() if to == one)
            records: list[tuple[str, ...]] = [(before,)]
            if self.rng.random() < 0.5:
                records = self.rng.sample([(before,), ()], 2)
            for sources in records:
                self._log(one, "event", sources)
        return True

    def _log(self, token: str, kind: str, what: object) -> None:
        self.logs[token].records.append(Record(self._last, kind, what))
