"""Records of mutable key ranges: google.spanner.v1.ChangeStreamRecord, in base64, one a row in both dialects.

Encoded by hand for speed, fields in the order of their numbers and defaults left out, so that the
official type writes the same bytes. Shape: the comments of
https://github.com/googleapis/googleapis/blob/master/google/spanner/v1/change_stream.proto
"""

from __future__ import annotations

import base64
from collections.abc import Callable
from functools import lru_cache
from typing import Any

from google.cloud.spanner_v1.types import ResultSetMetadata, StructType, Type, TypeCode

from spanwire.simulator import protobuf
from spanwire.simulator.protobuf import NULL, field, number_field, timestamp, varint
from spanwire.simulator.records import Capture, DataRecord, EndRecord, EventRecord, ModType, Row, StartRecord
from spanwire.simulator.schema import Column, Dialect, Table
from spanwire.simulator.values import ByTable, plainer, remembering

RECORD = "google.spanner.v1.ChangeStreamRecord"

# Fields of ChangeStreamRecord.
_DATA, _HEARTBEAT, _START, _END, _EVENT = 1, 2, 3, 4, 5

_NULL = field(2, NULL)
"""A ModValue's value that is NULL."""

_MOD_TYPES: dict[ModType, int] = {"INSERT": 10, "UPDATE": 20, "DELETE": 30}
_CAPTURES: dict[Capture, int] = {
    "OLD_AND_NEW_VALUES": 10,
    "NEW_VALUES": 20,
    "NEW_ROW": 30,
    "NEW_ROW_AND_OLD_VALUES": 40,
}


class ProtobufEncoder:
    """Writes rows of `READ_<stream>` (a PROTO) and `spanner.read_proto_bytes_<stream>` (BYTES)."""

    def __init__(self, dialect: Dialect, function: str) -> None:
        self.dialect: Dialect = dialect
        self.metadata = _metadata(dialect, function)
        self._writers = ByTable(_writers)

    def data(self, record: DataRecord) -> bytes:
        """A data change record."""
        table, columns = record.table, record.columns
        writers = self._writers.of(table)
        # ModValue's column_metadata_index, and what writes its value.
        places = {name: (number_field(1, place), writers[name]) for place, name in enumerate(columns)}
        mods = [
            _values(b"\x0a", mod.keys, places)
            + _values(b"\x12", mod.old, places)
            + _values(b"\x1a", mod.new, places)
            for mod in record.mods
        ]
        fields = (
            field(1, timestamp(record.commit_timestamp)),
            field(2, record.record_sequence.encode()),
            field(3, record.transaction_id.encode()),
            number_field(4, record.is_last),
            field(5, table.name.encode()),
            _described(table, columns, self.dialect),
            b"".join([field(7, mod) for mod in mods]),
            number_field(8, _MOD_TYPES[record.mod_type]),
            number_field(9, _CAPTURES[record.capture]),
            number_field(10, record.records_in_transaction),
            number_field(11, record.partitions_in_transaction),
            _text(12, record.tag),
            number_field(13, record.system),
        )
        return _row(_DATA, b"".join(fields))

    def heartbeat(self, at: int) -> bytes:
        """A heartbeat record."""
        return _row(_HEARTBEAT, field(1, timestamp(at)))

    def start(self, record: StartRecord) -> bytes:
        """A partition start record."""
        tokens = b"".join(_text(3, token) for token in record.tokens)
        return _row(_START, _headed(record.start, record.record_sequence) + tokens)

    def event(self, record: EventRecord) -> bytes:
        """A partition event record."""
        moves = [field(4, _text(1, token)) for token in record.sources]
        moves += [field(5, _text(1, token)) for token in record.destinations]
        head = _headed(record.at, record.record_sequence) + _text(3, record.token)
        return _row(_EVENT, head + b"".join(moves))

    def end(self, record: EndRecord) -> bytes:
        """A partition end record."""
        return _row(_END, _headed(record.at, record.record_sequence) + _text(3, record.token))


def _row(kind: int, record: bytes) -> bytes:
    """A row: the record as a Value, a string in base64."""
    return protobuf.string(base64.b64encode(field(kind, record)).decode("ascii"))


def _headed(at: int, record_sequence: str) -> bytes:
    """What start, event and end records begin with."""
    return field(1, timestamp(at)) + _text(2, record_sequence)


def _text(number: int, text: str) -> bytes:
    return field(number, text.encode()) if text else b""


def _values(tag: bytes, row: Row, places: dict[str, tuple[bytes, Callable[[Any], bytes]]]) -> bytes:
    """The repeated ModValue behind that tag: keys, old_values or new_values."""
    parts: list[bytes] = []
    for name, value in row.items():
        index, write = places[name]
        written = _NULL if value is None else write(value)
        parts += (tag, varint(len(index) + len(written)), index, written)
    return b"".join(parts)


def _writers(table: Table) -> dict[str, Callable[[Any], bytes]]:
    """By column, what writes a value that is not None as a ModValue's field `value`."""
    return {column.name: _writer(column) for column in table.columns}


def _writer(column: Column) -> Callable[[Any], bytes]:
    if column.code == "INT64" and not column.array:
        return lambda value: field(2, protobuf.string(str(value)))  # nearly every one is new
    plain = plainer(column)
    return remembering(lambda value: field(2, protobuf.encode(plain(value))))


@lru_cache(maxsize=1024)
def _described(table: Table, columns: tuple[str, ...], dialect: Dialect) -> bytes:
    """The field column_metadata: the same for every record of that shape."""
    return b"".join(
        field(
            6,
            _text(1, name)
            + field(2, Type.pb(table.by_name[name].type(dialect)).SerializeToString(deterministic=True))
            + number_field(3, table.by_name[name].key)
            + number_field(4, table.ordinals[name]),
        )
        for name in columns
    )


def _metadata(dialect: Dialect, function: str) -> bytes:
    """One column: a PROTO named ChangeRecord, or BYTES named as the function."""
    if dialect == "googlesql":
        column = StructType.Field(name="ChangeRecord", type_=Type(code=TypeCode.PROTO, proto_type_fqn=RECORD))
    else:
        column = StructType.Field(name=function, type_=Type(code=TypeCode.BYTES))
    return bytes(ResultSetMetadata.serialize(ResultSetMetadata(row_type=StructType(fields=[column]))))
