"""Data change records out of PartialResultSet bytes, by google-cloud-spanner's own code, in two ways.

`values`: as the client's high-level API hands rows to everyone: lists of Python values, each JSON text
parsed. `lazy`: with the client's `lazy_decode`, rows as protobuf values, walked here by hand; more code
for whoever writes it, and several times as fast, since no JSON is parsed only to be written out again.
GoogleSQL only.
"""

from __future__ import annotations

import json
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from typing import Any, NamedTuple

from google.cloud.spanner_v1 import PartialResultSet
from google.cloud.spanner_v1.streamed import StreamedResultSet


class PlainRecord(NamedTuple):
    """A data change record. `mods`: keys, new and old values, as the reader has them."""

    seconds: int
    nanos: int
    sequence: str
    transaction: str
    is_last: bool
    table: str
    columns: Any
    mods: Sequence[Any]
    mod_type: str
    capture_type: str
    records_in_transaction: int
    partitions_in_transaction: int
    tag: str
    is_system: bool


class PlainColumn(NamedTuple):
    """A column of a record."""

    name: str
    code: str
    """Of its type."""
    element: str
    """Of an array its elements' code, else empty."""
    is_key: bool
    ordinal: int


class PlainChild(NamedTuple):
    """A partition that another ends in."""

    start: Any
    """As the client hands timestamps over; it takes it back as a parameter."""
    token: str
    parents: tuple[str, ...]


class Reader(ABC):
    """Messages or rows in, records out. The client's result set does chunk merging and row forming."""

    lazy: bool

    def __init__(self) -> None:
        self._results = StreamedResultSet(iter(()), lazy_decode=self.lazy)

    def read(self, messages: Sequence[bytes]) -> Iterator[PlainRecord]:
        """The records that these messages complete."""
        self._results._response_iterator = (PartialResultSet.deserialize(message) for message in messages)
        for row in self._results:
            yield from self.records(row)

    @abstractmethod
    def records(self, row: Any) -> Iterator[PlainRecord]:
        """The data change records of a row of the query."""

    @abstractmethod
    def children(self, row: Any) -> Iterator[PlainChild]:
        """The child partitions that a row of the query names."""

    @abstractmethod
    def shape(self, columns: Any) -> Any:
        """What tells two columns apart, hashable."""

    @abstractmethod
    def columns(self, columns: Any) -> list[PlainColumn]:
        """A record's columns."""

    @abstractmethod
    def texts(self, mod: Any) -> tuple[str, str, str]:
        """Keys, new and old values as JSON text."""

    @abstractmethod
    def dicts(self, mod: Any) -> tuple[dict[str, Any], dict[str, Any], dict[str, Any]]:
        """Keys, new and old values, parsed."""


class ValuesReader(Reader):
    """Rows as the client hands them to everyone."""

    lazy = False

    def records(self, row: Any) -> Iterator[PlainRecord]:
        """From the client's lists."""
        for item in row[0]:
            for commit, sequence, transaction, is_last, table, columns, mods, *rest in item[0]:
                seconds = int(commit.timestamp())
                yield PlainRecord(
                    seconds, commit.nanosecond, sequence, transaction, is_last, table, columns, mods, *rest
                )

    def children(self, row: Any) -> Iterator[PlainChild]:
        """From the client's lists."""
        for item in row[0]:
            for start, _, children in item[2]:
                for token, parents in children:
                    yield PlainChild(start, token, tuple(parents))

    def shape(self, columns: Any) -> Any:
        """Names, types, roles and places."""
        return tuple((name, *_codes(kind), key, place) for name, kind, key, place in columns)

    def columns(self, columns: Any) -> list[PlainColumn]:
        """From the lists that the client makes of them."""
        return [PlainColumn(*column) for column in self.shape(columns)]

    def texts(self, mod: Any) -> tuple[str, str, str]:
        """Written out again: the client has parsed them."""
        keys, new, old = mod
        return keys.serialize(), new.serialize(), old.serialize()

    def dicts(self, mod: Any) -> tuple[dict[str, Any], dict[str, Any], dict[str, Any]]:
        """The client's own."""
        keys, new, old = mod
        return keys, new, old


class LazyReader(Reader):
    """Rows as protobuf values."""

    lazy = True

    def __init__(self) -> None:
        super().__init__()
        self._second = ("", 0)

    def records(self, row: Any) -> Iterator[PlainRecord]:
        """From protobuf values."""
        for item in row[0].list_value.values:
            for record in item.list_value.values[0].list_value.values:
                fields = record.list_value.values
                seconds, nanos = self._timestamp(fields[0].string_value)
                yield PlainRecord(
                    seconds,
                    nanos,
                    fields[1].string_value,
                    fields[2].string_value,
                    fields[3].bool_value,
                    fields[4].string_value,
                    fields[5],
                    fields[6].list_value.values,
                    fields[7].string_value,
                    fields[8].string_value,
                    int(fields[9].string_value),
                    int(fields[10].string_value),
                    fields[11].string_value,
                    fields[12].bool_value,
                )

    def children(self, row: Any) -> Iterator[PlainChild]:
        """From protobuf values; timestamps as text."""
        for item in row[0].list_value.values:
            for record in item.list_value.values[2].list_value.values:
                start, _, children = record.list_value.values
                for child in children.list_value.values:
                    token, parents = child.list_value.values
                    names = tuple(parent.string_value for parent in parents.list_value.values)
                    yield PlainChild(start.string_value, token.string_value, names)

    def _timestamp(self, text: str) -> tuple[int, int]:
        whole, _, fraction = text[:-1].partition(".")
        if whole != self._second[0]:
            self._second = (whole, int(datetime.fromisoformat(whole).replace(tzinfo=UTC).timestamp()))
        return self._second[1], int(f"{fraction:0<9}")

    def shape(self, columns: Any) -> Any:
        """Their encoding."""
        return columns.SerializeToString()

    def columns(self, columns: Any) -> list[PlainColumn]:
        """From protobuf values; types are JSON text."""
        described = [column.list_value.values for column in columns.list_value.values]
        return [
            PlainColumn(
                name.string_value,
                *_codes(json.loads(kind.string_value)),
                key.bool_value,
                int(ordinal.string_value),
            )
            for name, kind, key, ordinal in described
        ]

    def texts(self, mod: Any) -> tuple[str, str, str]:
        """As Spanner sent them."""
        keys, new, old = mod.list_value.values
        return keys.string_value, new.string_value, old.string_value

    def dicts(self, mod: Any) -> tuple[dict[str, Any], dict[str, Any], dict[str, Any]]:
        """Parsed here."""
        keys, new, old = self.texts(mod)
        return json.loads(keys), json.loads(new), json.loads(old)


def _codes(kind: dict[str, Any]) -> tuple[str, str]:
    """A type's code, and that of its elements."""
    return kind["code"], kind.get("array_element_type", {}).get("code", "")


READERS: dict[str, type[Reader]] = {"values": ValuesReader, "lazy": LazyReader}
