"""What the commits and the readers of a stream need of its partitions, in either mode."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Sequence
from typing import Protocol

from spanwire.simulator.log import PartitionLog
from spanwire.simulator.moves import Move
from spanwire.simulator.records import DataRecord, Encoder


class Span(Protocol):
    """When a partition lives: `end` is None while it does, nanoseconds since 1970."""

    @property
    def start(self) -> int:
        """From then on."""

    @property
    def end(self) -> int | None:
        """Until then."""


class Lineage(ABC):
    """All partitions, with their logs. Only look-ups and `wake` are thread-safe: commits are serial."""

    churns_with_commits = False
    """Whether what happens to partitions can share a timestamp with commits."""

    def __init__(self, created: int, encoder: Encoder) -> None:
        self.created = created
        """When the stream began, nanoseconds since 1970: nothing earlier can be read."""
        self.encoder = encoder
        self.repeats: Callable[[int], bool] = lambda _number: False
        """Whether a partition, by its number, names its children twice: a fault."""
        self._logs: dict[str, PartitionLog] = {}
        self._numbers: dict[str, int] = {}

    def number(self, token: str) -> int:
        """A partition's number, from 0 in the order they came to be; -1 for a token that never was."""
        return self._numbers.get(token, -1)

    def write(self, token: str, records: list[DataRecord]) -> None:
        """Records of one transaction to the log of their partition."""
        self._logs[token].append(records[0].commit_timestamp, list(map(self.encoder.data, records)))

    def log(self, token: str) -> PartitionLog | None:
        """A partition's log; None for a token that never was."""
        return self._logs.get(token)

    def wake(self) -> None:
        """Let every reader look around."""
        for log in list(self._logs.values()):
            log.wake()

    def _open(self, tokens: Iterable[str]) -> None:
        """Give new partitions their logs."""
        for token in tokens:
            self._numbers[token] = len(self._numbers)
            self._logs[token] = PartitionLog()

    @property
    @abstractmethod
    def live(self) -> list[str]:
        """Tokens of the partitions that take changes now."""

    @abstractmethod
    def get(self, token: str) -> Span | None:
        """When the partition of that token lives."""

    @abstractmethod
    def owner(self, place: int) -> str:
        """The partition that a key at that place belongs to now."""

    @abstractmethod
    def initial(self, at: int) -> list[bytes]:
        """The rows that answer the initial query from `at` on."""

    @abstractmethod
    def sequences(self, at: int) -> Callable[[int], str]:
        """The record_sequence of a transaction's first, second, … record, for a transaction at `at`."""

    @abstractmethod
    def split(self, token: str, at: int, parts: int) -> list[str]:
        """Split a living partition: the new ones' tokens. ValueError where it cannot be."""

    @abstractmethod
    def merge(self, tokens: list[str], at: int) -> str:
        """Make one of living partitions: its token. ValueError where it cannot be."""

    @abstractmethod
    def move(self, moves: Sequence[Move], at: int, ends: Sequence[str]) -> None:
        """Move key ranges, all at once, then end partitions. ValueError where it cannot be."""

    @abstractmethod
    def churn(self, at: int, fewest: int, most: int, *, data_follows: bool) -> None:
        """Something of the seed's choice. `data_follows`: more records of this timestamp come behind it."""
