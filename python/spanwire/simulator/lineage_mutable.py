"""The partitions of MUTABLE_KEY_RANGE: key ranges move between living partitions.

What is told where, all at one timestamp and in this order: in a partition that splits, a start record
that names the new ones; in every partition that gives or takes ranges, one event record (or one for what
came in and one for what went out); in a partition that ends, an end record, its last. Data records of
the same timestamp may stand before and behind, but for two partitions that each wait for the other:
there they stand before.
"""

from __future__ import annotations

import itertools
import random
from collections.abc import Callable, Iterator, Sequence

from spanwire.simulator.lineage import Lineage
from spanwire.simulator.moves import KeyRanges, MovablePartition, Move, Turn
from spanwire.simulator.records import EndRecord, EventRecord, MutableEncoder, StartRecord


class MutableLineage(Lineage):
    """Splits, moves and ends, told by partition start, event and end records."""

    churns_with_commits = True

    def __init__(self, count: int, created: int, encoder: MutableEncoder, seed: int) -> None:
        super().__init__(created, encoder)
        self.ranges = ranges = KeyRanges(count, created, random.Random(f"{seed}/partitions"))  # noqa: S311
        self._encoder = encoder
        self._rng = random.Random(f"{seed}/records")  # noqa: S311
        self._open(ranges.live)
        self._sequence = (0, 0)
        """Of which timestamp, and what the sequences of its last transaction or turn begin with."""

    @property
    def live(self) -> list[str]:
        """Oldest first."""
        return self.ranges.live

    def get(self, token: str) -> MovablePartition | None:
        """The partition."""
        return self.ranges.get(token)

    def owner(self, place: int) -> str:
        """By what moved so far."""
        return self.ranges.owner(place)

    def initial(self, at: int) -> list[bytes]:
        """Start records of the partitions alive then."""
        tokens = self.ranges.alive_at(at)
        # One record may name many partitions: readers meet both, all in one and one for each.
        groups = [[one] for one in tokens] if len(tokens) % 2 else [tokens]
        return [
            self._encoder.start(StartRecord(at, f"{0:016x}-{place:08x}", group))
            for place, group in enumerate(groups)
        ]

    def sequences(self, at: int) -> Callable[[int], str]:
        """Hexadecimal, rising over all that has the timestamp; the second part counts its records."""
        last, head = self._sequence
        step = self._rng.randrange(1, 2**20)
        # Far enough below 2**64 that what is added never reaches it.
        head = head + step if last == at else self._rng.randrange(2**64 - 2**40)
        self._sequence = (at, head)
        return lambda number: f"{head:016x}-{number:08x}"

    def split(self, token: str, at: int, parts: int) -> list[str]:
        """The parent lives on; the new partitions take their ranges from it."""
        return self._tell(self.ranges.split(token, at, parts)).started[token]

    def merge(self, tokens: list[str], at: int) -> str:
        """The first takes all that the others own; they end."""
        self._tell(self.ranges.merge(tokens, at))
        return tokens[0]

    def move(self, moves: Sequence[Move], at: int, ends: Sequence[str]) -> None:
        """Move key ranges, all at once, then end partitions. ValueError where it cannot be."""
        self._tell(self.ranges.move(moves, at, ends=ends))

    def churn(self, at: int, fewest: int, most: int, *, data_follows: bool) -> None:
        """A split, a move, a swap, several moves to one, or an end."""
        turn = self.ranges.churn(at, fewest, most, swaps=not data_follows)
        if turn is not None:
            self._tell(turn)

    def _tell(self, turn: Turn) -> Turn:
        """The turn's records to the logs."""
        for started in turn.started.values():
            self._open(started)
        rows: dict[str, list[bytes]] = {}
        for token, row in self._rows(turn, map(self.sequences(turn.at), itertools.count())):
            rows.setdefault(token, []).append(row)
        for token, own in rows.items():
            if token in turn.ended:
                self._logs[token].end(turn.at, own)
            else:
                self._logs[token].append(turn.at, own)
        return turn

    def _rows(self, turn: Turn, names: Iterator[str]) -> Iterator[tuple[str, bytes]]:
        """The rows and where they go. `names`: record sequences."""
        encoder, at = self._encoder, turn.at
        for parent, tokens in turn.started.items():
            row = encoder.start(StartRecord(at, next(names), tokens))
            yield from [(parent, row)] * (2 if self.repeats(self.number(parent)) else 1)
        apart = self._rng.random() < 0.3
        for token in dict.fromkeys(token for move in turn.moves for token in move):
            came, went = turn.sources(token), turn.destinations(token)
            told: list[tuple[list[str], list[str]]] = [(came, []), ([], went)] if apart else [(came, went)]
            for sources, destinations in told:
                if sources or destinations:
                    event = EventRecord(at, next(names), token, sources, destinations)
                    yield token, encoder.event(event)
        for token in turn.ended:
            yield token, encoder.end(EndRecord(at, next(names), token))
