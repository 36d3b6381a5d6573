"""Who owns which key ranges where ranges move between living partitions: MUTABLE_KEY_RANGE.

Pure: no clock, no I/O. A partition owns any number of ranges of the key space, also none. What happens
at one moment, a `Turn`, is done as a whole: ranges are taken from their owners before any is given, so
that two partitions can swap.
"""

from __future__ import annotations

import random
from bisect import bisect_right
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import NamedTuple

from spanwire.simulator.partitions import SPACE, new_token

Range = tuple[int, int]
"""From a place on, up to before another."""


class Move(NamedTuple):
    """Key ranges of a living partition that go to another one."""

    source: str
    destination: str
    share: float = 1.0
    """How much of what the source owns: above 0; 1: all."""


@dataclass(slots=True)
class MovablePartition:
    """One partition. `end` is None while it lives; its records lie in `start` <= t <= `end` (nanoseconds)."""

    token: str
    start: int
    end: int | None = None


@dataclass(slots=True)
class Turn:
    """What happened to the partitions at `at`."""

    at: int
    started: dict[str, list[str]] = field(default_factory=dict)
    """Partitions that start, by the one that they take their first ranges from."""
    moves: list[tuple[str, str]] = field(default_factory=list)
    """Source and destination, each pair once."""
    ended: list[str] = field(default_factory=list)

    def sources(self, token: str) -> list[str]:
        """From where ranges moved into a partition."""
        return [source for source, destination in self.moves if destination == token]

    def destinations(self, token: str) -> list[str]:
        """To where ranges moved out of a partition."""
        return [destination for source, destination in self.moves if source == token]


class KeyRanges:
    """All partitions that there ever were, and who owns what now. One seed, the same tokens and choices."""

    def __init__(self, count: int, start: int, rng: random.Random) -> None:
        self._rng = rng
        self._all: dict[str, MovablePartition] = {}
        tokens = [self._make(start).token for _ in range(count)]
        bounds = [SPACE * place // count for place in range(count + 1)]
        self._owned: dict[str, list[Range]] = {
            token: [bound] for token, bound in zip(tokens, pairwise(bounds), strict=True)
        }
        self._lows: list[int] = []
        self._owners: list[str] = []
        self._index()
        self._kinds: list[str] = []

    @property
    def live(self) -> list[str]:
        """Tokens of the partitions that live now, oldest first."""
        return list(self._owned)

    def get(self, token: str) -> MovablePartition | None:
        """The partition of that token, alive or not."""
        return self._all.get(token)

    def owner(self, place: int) -> str:
        """Who owns that place of the key space now."""
        return self._owners[bisect_right(self._lows, place) - 1]

    def ranges(self, token: str) -> list[Range]:
        """What a living partition owns now."""
        return list(self._owned[token])

    def alive_at(self, at: int) -> list[str]:
        """The partitions that a read from `at` on begins with: also those whose last record is of then."""
        return [p.token for p in self._all.values() if p.start <= at and (p.end is None or at <= p.end)]

    # -------------------------------------------------------------- what can happen

    def move(self, moves: Sequence[Move], at: int, *, ends: Sequence[str] = ()) -> Turn:
        """Move ranges, all at once, then end the partitions named. ValueError where it cannot be."""
        turn = Turn(at, ended=list(ends))
        owned = {token: list(ranges) for token, ranges in self._owned.items()}
        taken = [(one, self._take(one, owned)) for one in moves]
        for one, ranges in taken:
            owned[one.destination] = _joined([*owned[one.destination], *ranges])
            if (one.source, one.destination) not in turn.moves:
                turn.moves.append((one.source, one.destination))
        for token in ends:
            if owned.pop(self._living(token)):
                raise ValueError(f"partition {token} owns key ranges: move them first")
        if not owned:
            raise ValueError("the last partition cannot end")
        for token in ends:
            self._all[token].end = at
        self._owned = owned
        self._index()
        return turn

    def split(self, token: str, at: int, parts: int = 2) -> Turn:
        """Start `parts` - 1 partitions that take most of a living one's ranges; it lives on with the rest."""
        self._living(token)
        if parts < 2:
            raise ValueError("a split wants two or more parts")
        if _size(self._owned[token]) < parts:
            raise ValueError(f"partition {token} owns too little to split into {parts}")
        started = [self._make(at).token for _ in range(parts - 1)]
        self._owned |= {one: [] for one in started}
        turn = self.move([Move(token, one, 1 / parts) for one in started], at)
        turn.started[token] = started
        return turn

    def merge(self, tokens: Sequence[str], at: int) -> Turn:
        """Move all that the others own to the first, and end them. ValueError where they do not live."""
        heir, *others = tokens
        if not others or len(set(tokens)) < len(tokens):
            raise ValueError("a merge wants two or more partitions")
        for token in tokens:
            self._living(token)
        return self.move([Move(one, heir) for one in others if self._owned[one]], at, ends=others)

    def churn(self, at: int, fewest: int, most: int, *, swaps: bool = True) -> Turn | None:
        """One thing of the seed's choice that leaves between `fewest` and `most` alive.

        Of each kind there is one in every so many turns, where it can be. `swaps`: also two partitions
        that each wait for the other.
        """
        possible = {
            "split": len(self._owned) < most,
            "end": len(self._owned) > max(fewest, 1),
            "move": len(self._owned) > 1,
            "empty": len(self._owned) > 1,
            "swap": swaps and len(self._owners_of_ranges()) > 1,
            "gather": len(self._owned) > 2 and len(self._owners_of_ranges()) > 2,
        }
        if not any(possible.values()):
            return None
        kind = next((one for one in self._kinds if possible[one]), None)
        if kind is None:
            self._kinds = self._rng.sample(sorted(possible), len(possible))
            kind = next(one for one in self._kinds if possible[one])
        self._kinds.remove(kind)
        doing: dict[str, Callable[[int], Turn]] = {
            "split": lambda at: self._split(at, most - len(self._owned)),
            "end": self._end,
            "move": lambda at: self._move_out(at, self._rng.uniform(0.2, 0.8)),
            "empty": lambda at: self._move_out(at, 1.0),
            "swap": self._swap,
            "gather": self._gather,
        }
        return doing[kind](at)

    # -------------------------------------------------------------- the kinds of churn

    def _split(self, at: int, most: int) -> Turn:
        return self.split(self._rich(1)[0], at, 1 + self._rng.randint(1, min(2, most)))

    def _end(self, at: int) -> Turn:
        """An empty partition ends, else one that gives away everything at the same moment."""
        empty = [token for token, ranges in self._owned.items() if not ranges]
        if empty:
            return self.move((), at, ends=[self._rng.choice(empty)])
        return self.merge(self._rng.sample(list(self._owned), 2), at)

    def _move_out(self, at: int, share: float) -> Turn:
        [source] = self._rich(1)
        destination = self._rng.choice([token for token in self._owned if token != source])
        return self.move([Move(source, destination, share)], at)

    def _swap(self, at: int) -> Turn:
        one, other = self._rich(2)
        return self.move([Move(one, other, 0.5), Move(other, one, self._rng.choice((0.5, 1.0)))], at)

    def _gather(self, at: int) -> Turn:
        """Several sources at once; one of them may itself be moved into: a chain."""
        first, second, third = self._rich(3)
        moves = [Move(first, third, 0.4), Move(second, third, 0.4)]
        return self.move([*moves, Move(first, second, 0.2)] if self._rng.random() < 0.5 else moves, at)

    def _rich(self, count: int) -> list[str]:
        return self._rng.sample(self._owners_of_ranges(), count)

    def _owners_of_ranges(self) -> list[str]:
        """Those that own enough for anything."""
        return [token for token, ranges in self._owned.items() if _size(ranges) > 16]

    # -------------------------------------------------------------- within

    def _living(self, token: str) -> str:
        if token not in self._owned:
            raise ValueError(f"no live partition {token}")
        return token

    def _take(self, move: Move, owned: dict[str, list[Range]]) -> list[Range]:
        """Take the move's ranges from their owner."""
        left = owned[self._living(move.source)]
        self._living(move.destination)
        if move.source == move.destination:
            raise ValueError("a move wants two partitions")
        if not 0 < move.share <= 1:
            raise ValueError("a move's share is above 0 and not above 1")
        total = _size(left)
        wanted = total if move.share == 1 else max(1, int(total * move.share))
        if not total:
            raise ValueError(f"partition {move.source} owns nothing to move")
        taken: list[Range] = []
        while wanted:
            low, high = left.pop()
            size = min(high - low, wanted)
            taken.append((high - size, high))
            wanted -= size
            if low < high - size:
                left.append((low, high - size))
        return taken

    def _index(self) -> None:
        """Where each range begins, for `owner`."""
        places = sorted((low, token) for token, ranges in self._owned.items() for low, _ in ranges)
        self._lows = [low for low, _ in places]
        self._owners = [token for _, token in places]

    def _make(self, start: int) -> MovablePartition:
        partition = MovablePartition(new_token(self._rng), start)
        self._all[partition.token] = partition
        return partition


def _size(ranges: Sequence[Range]) -> int:
    return sum(high - low for low, high in ranges)


def _joined(ranges: Sequence[Range]) -> list[Range]:
    """In order, those that touch as one."""
    joined: list[Range] = []
    for low, high in sorted(ranges):
        touches = bool(joined) and joined[-1][1] == low
        joined.append((joined.pop()[0] if touches else low, high))
    return joined
