"""What goes over the wire, as light objects that answer as the core's do."""

from __future__ import annotations

from functools import lru_cache
from typing import NamedTuple

from spanwire._core import Timestamp

TOPICS = ("db/s/a/", "db/s/b/", "db/s/c/")


@lru_cache(maxsize=1 << 16)
def stamp(instant: int) -> Timestamp:
    """A model instant as a timestamp."""
    return Timestamp(instant)


class Version(NamedTuple):
    """As `_core.RecordVersion`."""

    commit_timestamp: Timestamp
    transaction: str
    sequence: str
    number: int

    def __str__(self) -> str:
        return f"{self.commit_timestamp.seconds}/{self.transaction}/{self.sequence}/{self.number}"


class Change:
    """One row change, as a consumer is given it; the same object wherever it is sent."""

    __slots__ = (
        "at",
        "commit_timestamp",
        "is_last_record_in_transaction_in_partition",
        "key",
        "number_of_partitions_in_transaction",
        "number_of_records_in_transaction",
        "topic",
        "transaction",
        "version",
    )
    transaction_tag = ""

    def __init__(self, at: int, version: Version, topic: str, key: int) -> None:
        self.at = at
        self.version = version
        self.topic = topic
        self.key = key
        self.commit_timestamp = version.commit_timestamp
        self.transaction = version.transaction
        self.number_of_records_in_transaction = 0
        self.number_of_partitions_in_transaction = 0
        self.is_last_record_in_transaction_in_partition = False

    @property
    def table(self) -> str:
        """Its table: here the last level of its topic."""
        return self.topic.split("/")[2]

    @property
    def row(self) -> tuple[str, int]:
        """Which row changed."""
        return self.topic, self.key

    def __repr__(self) -> str:
        return f"{self.version} {self.topic}{self.key}"


class Message:
    """As `_core.Message`, of kind changes."""

    __slots__ = (
        "_changes",
        "epoch",
        "first",
        "incarnation",
        "last",
        "output",
        "partition",
        "sequence",
        "size",
        "stage",
        "topic",
    )
    kind = "changes"

    def __init__(
        self,
        flow: tuple[int, str, bytes, int],
        sequence: int,
        stage: int,
        changes: list[Change],
        output: int,
    ) -> None:
        self.incarnation, self.topic, self.partition, self.epoch = flow
        self.sequence = sequence
        self.stage = stage
        self.output = output
        self._changes = changes
        self.first = changes[0].version
        self.last = changes[-1].version
        self.size = 100 + 50 * len(changes)

    def changes(self) -> list[Change]:
        """The changes in it."""
        return self._changes

    @property
    def count(self) -> int:
        """How many these are."""
        return len(self._changes)

    def __len__(self) -> int:
        """Bytes of its four frames."""
        return self.size

    def __repr__(self) -> str:
        where = f"{self.partition.decode()} e{self.epoch} i{self.incarnation} {self.topic}#{self.sequence}"
        return f"{where} stage {self.stage} [{', '.join(str(one.version) for one in self._changes)}]"
