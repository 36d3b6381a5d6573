"""Change records as the simulator thinks of them, typed, before any wire shape."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple, Protocol

from spanwire.simulator.schema import Dialect, Table

ModType = Literal["INSERT", "UPDATE", "DELETE"]
Mode = Literal["immutable", "mutable"]
"""Of a stream's key ranges: its option partition_mode, IMMUTABLE_KEY_RANGE or MUTABLE_KEY_RANGE."""
Capture = Literal["OLD_AND_NEW_VALUES", "NEW_VALUES", "NEW_ROW", "NEW_ROW_AND_OLD_VALUES"]
Row = dict[str, Any]


class Mod(NamedTuple):
    """One row's change: typed values by column name; a column that is not captured is not there."""

    keys: Row
    new: Row
    old: Row


@dataclass(slots=True)
class DataRecord:
    """Changes of one kind to one table, by one transaction, in one partition."""

    commit_timestamp: int
    """Nanoseconds since 1970."""
    record_sequence: str
    transaction_id: str
    is_last: bool
    table: Table
    columns: tuple[str, ...]
    """The columns that the record describes, key first."""
    mods: list[Mod]
    mod_type: ModType
    capture: Capture
    records_in_transaction: int = 0
    partitions_in_transaction: int = 0
    tag: str = ""
    system: bool = False


class ChildRecord(NamedTuple):
    """Immutable key ranges: what a partition ends with, and the initial query answers with (no parents)."""

    start: int
    record_sequence: str
    partitions: Sequence[tuple[str, Sequence[str]]]


class StartRecord(NamedTuple):
    """Mutable key ranges: partitions to be read from `start` on; what the initial query answers with."""

    start: int
    record_sequence: str
    tokens: Sequence[str]


class EventRecord(NamedTuple):
    """Mutable key ranges: what moved into a partition, from where, and what out of it, to where."""

    at: int
    record_sequence: str
    token: str
    sources: Sequence[str] = ()
    destinations: Sequence[str] = ()


class EndRecord(NamedTuple):
    """Mutable key ranges: the last record of a partition."""

    at: int
    record_sequence: str
    token: str


class Encoder(Protocol):
    """A wire shape, the part that both modes have: each row is an encoded google.protobuf.Value."""

    dialect: Dialect
    metadata: bytes
    """Encoded ResultSetMetadata."""

    def data(self, record: DataRecord) -> bytes:
        """A data change record."""

    def heartbeat(self, at: int) -> bytes:
        """A heartbeat record."""


class ImmutableEncoder(Encoder, Protocol):
    """Records of immutable key ranges, in one dialect's shape."""

    def children(self, record: ChildRecord) -> bytes:
        """A child partitions record."""


class MutableEncoder(Encoder, Protocol):
    """Records of mutable key ranges."""

    def start(self, record: StartRecord) -> bytes:
        """A partition start record."""

    def event(self, record: EventRecord) -> bytes:
        """A partition event record."""

    def end(self, record: EndRecord) -> bytes:
        """A partition end record."""
