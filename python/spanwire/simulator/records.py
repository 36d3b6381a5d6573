"""Change records as the simulator thinks of them, typed, before any wire shape."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple, Protocol

from spanwire.simulator.schema import Dialect, Table

ModType = Literal["INSERT", "UPDATE", "DELETE"]
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
    """What a partition ends with, and what the initial query answers with (no parents there)."""

    start: int
    record_sequence: str
    partitions: Sequence[tuple[str, Sequence[str]]]


class Encoder(Protocol):
    """One dialect's wire shape: each row is an encoded google.protobuf.Value."""

    dialect: Dialect
    metadata: bytes
    """Encoded ResultSetMetadata."""

    def data(self, record: DataRecord) -> bytes:
        """A data change record."""

    def heartbeat(self, at: int) -> bytes:
        """A heartbeat record."""

    def children(self, record: ChildRecord) -> bytes:
        """A child partitions record."""
