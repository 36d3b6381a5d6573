"""The partitions of IMMUTABLE_KEY_RANGE: each keeps its keys until it ends, and its children take over."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence

from spanwire.simulator.lineage import Lineage
from spanwire.simulator.moves import Move
from spanwire.simulator.partitions import Event, Partition, PartitionTree
from spanwire.simulator.records import ChildRecord, ImmutableEncoder


class ImmutableLineage(Lineage):
    """Splits and merges, told by child partitions records."""

    def __init__(self, count: int, created: int, encoder: ImmutableEncoder, seed: int) -> None:
        super().__init__(created, encoder)
        self.tree = PartitionTree(count, created, random.Random(f"{seed}/partitions"))  # noqa: S311
        self._encoder = encoder
        self._rng = random.Random(f"{seed}/records")  # noqa: S311
        self._open(self.live)

    @property
    def live(self) -> list[str]:
        """By key range."""
        return [partition.token for partition in self.tree.live]

    def get(self, token: str) -> Partition | None:
        """The partition."""
        return self.tree.get(token)

    def owner(self, place: int) -> str:
        """By key range."""
        return self.tree.owner(place).token

    def initial(self, at: int) -> list[bytes]:
        """Child records, without parents, of the partitions alive then."""
        return [
            self._encoder.children(ChildRecord(at, f"{place:08d}", [(partition.token, ())]))
            for place, partition in enumerate(self.tree.alive_at(at))
        ]

    def sequences(self, at: int) -> Callable[[int], str]:
        """Unique within the transaction."""
        del at
        return "{:08d}".format

    def split(self, token: str, at: int, parts: int) -> list[str]:
        """The parent ends."""
        return [child.token for child in self._turn(self.tree.split(token, at, parts)).children]

    def merge(self, tokens: list[str], at: int) -> str:
        """All parents, which must be neighbours, end."""
        return self._turn(self.tree.merge(tokens, at)).children[0].token

    def move(self, moves: Sequence[Move], at: int, ends: Sequence[str]) -> None:
        """Never."""
        del moves, at, ends
        raise ValueError('key ranges move only with mode = "mutable"')

    def churn(self, at: int, fewest: int, most: int, *, data_follows: bool) -> None:
        """A split or a merge."""
        if data_follows:
            raise AssertionError("parents end before their children start")
        event = self.tree.churn(at, fewest, most)
        if event is not None:
            self._turn(event)

    def _turn(self, event: Event) -> Event:
        """Open the children's logs, and tell the readers of each parent."""
        self._open(child.token for child in event.children)
        named = [(child.token, child.parents) for child in event.children]
        # Spanner's documentation shows one record with all children, its emulator one for each.
        apart = self._rng.random() < 0.5
        groups = [[one] for one in named] if apart else [named]
        rows = [
            self._encoder.children(ChildRecord(event.at, f"{place:08d}", group))
            for place, group in enumerate(groups)
        ]
        for parent in event.parents:
            twice = self.repeats(self.number(parent.token))
            self._logs[parent.token].end(event.at, rows + rows if twice else rows)
        return event
