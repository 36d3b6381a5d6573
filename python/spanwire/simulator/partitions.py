"""The tree of partitions with immutable key ranges: who owns which part, from when until when.

Pure: no clock, no I/O.

Keys hash into 0 … 2**32-1; a partition owns a range of that. At any time the live partitions
cover the space without overlap, so each key lives in exactly one of them.
"""

from __future__ import annotations

import base64
import random
from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import pairwise

SPACE = 2**32


@dataclass(slots=True)
class Partition:
    """One partition. `end` is None while it lives; its changes lie in `start` <= t < `end` (nanoseconds)."""

    token: str
    low: int
    high: int
    start: int
    parents: tuple[str, ...] = ()
    end: int | None = None
    children: tuple[str, ...] = ()

    def __contains__(self, place: int) -> bool:
        return self.low <= place < self.high


@dataclass(slots=True)
class Event:
    """A split or a merge at `at`: the parents end, the children start."""

    at: int
    parents: list[Partition]
    children: list[Partition] = field(default_factory=list)


class PartitionTree:
    """All partitions that there ever were. One seed gives the same tokens and the same choices."""

    def __init__(self, count: int, start: int, rng: random.Random) -> None:
        self._rng = rng
        self._all: dict[str, Partition] = {}
        bounds = [SPACE * place // count for place in range(count + 1)]
        self._live = [self._make(low, high, start) for low, high in pairwise(bounds)]  # by key range
        self._lows = [partition.low for partition in self._live]

    @property
    def live(self) -> list[Partition]:
        """The partitions that take changes now, by key range."""
        return list(self._live)

    def get(self, token: str) -> Partition | None:
        """The partition of that token, alive or not."""
        return self._all.get(token)

    def owner(self, place: int) -> Partition:
        """Who owns that place of the key space now."""
        return self._live[bisect_right(self._lows, place) - 1]

    def alive_at(self, at: int) -> list[Partition]:
        """The partitions that a read from `at` on begins with, by key range."""
        found = [p for p in self._all.values() if p.start <= at and (p.end is None or at < p.end)]
        return sorted(found, key=lambda partition: partition.low)

    def split(self, token: str, at: int, parts: int = 2) -> Event:
        """End a live partition and start `parts` that share its range. ValueError where that cannot be."""
        parent = self._living(token)
        if parent.high - parent.low < parts:
            raise ValueError(f"partition {token} is too small to split into {parts}")
        inner = sorted(self._rng.sample(range(parent.low + 1, parent.high), parts - 1))
        bounds = [parent.low, *inner, parent.high]
        return self._replace([parent], bounds, at)

    def merge(self, tokens: Sequence[str], at: int) -> Event:
        """End live neighbours and start one that takes their ranges. ValueError where they are not that."""
        parents = sorted((self._living(token) for token in tokens), key=lambda partition: partition.low)
        if len(parents) < 2 or any(left.high != right.low for left, right in pairwise(parents)):
            raise ValueError("a merge wants two or more neighbours")
        return self._replace(parents, [parents[0].low, parents[-1].high], at)

    def churn(self, at: int, fewest: int, most: int) -> Event | None:
        """One split or merge of the seed's choice that leaves between `fewest` and `most` alive."""
        count = len(self._live)
        can_split, can_merge = count < most, count > max(fewest, 1)
        if not can_split and not can_merge:
            return None
        if can_split and (not can_merge or self._rng.random() < 0.5):
            parts = 3 if count + 2 <= most and self._rng.random() < 0.2 else 2
            return self.split(self._rng.choice(self._live).token, at, parts)
        size = 3 if count - 2 >= max(fewest, 1) and self._rng.random() < 0.3 else 2
        first = self._rng.randrange(count - size + 1)
        return self.merge([p.token for p in self._live[first : first + size]], at)

    def _living(self, token: str) -> Partition:
        partition = self._all.get(token)
        if partition is None or partition.end is not None:
            raise ValueError(f"no live partition {token}")
        return partition

    def _replace(self, parents: list[Partition], bounds: list[int], at: int) -> Event:
        tokens = tuple(parent.token for parent in parents)
        children = [self._make(low, high, at, tokens) for low, high in pairwise(bounds)]
        for parent in parents:
            parent.end = at
            parent.children = tuple(child.token for child in children)
        first = self._live.index(parents[0])
        self._live[first : first + len(parents)] = children
        self._lows = [partition.low for partition in self._live]
        return Event(at, parents, children)

    def _make(self, low: int, high: int, start: int, parents: tuple[str, ...] = ()) -> Partition:
        partition = Partition(new_token(self._rng), low, high, start, parents)
        self._all[partition.token] = partition
        return partition


def new_token(rng: random.Random) -> str:
    """A partition token. Spanner's are about this long and this opaque."""
    return base64.urlsafe_b64encode(rng.randbytes(48)).decode()
