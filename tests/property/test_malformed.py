"""Bytes that are nearly what Spanner sends: read as Google's protobuf reads them, or refused.

What protobuf reads and writes anew has one form: each field once, in order, nothing overlong. The
bytes before and after must mean the same to spanwire. It may refuse what no writer writes and protobuf
would mend (`_ON_PURPOSE`); what protobuf refuses it may still read where it never looks at that part.
"""

from __future__ import annotations

import base64
from collections.abc import Callable, Sequence
from typing import Any

from google.cloud.spanner_v1.types import ChangeStreamRecord, PartialResultSet
from google.protobuf.message import DecodeError, Message
from google.protobuf.struct_pb2 import Value
from hypothesis import given
from hypothesis import strategies as st
from support.change_records import children, data_change, heartbeat, message

from spanwire import _core
from spanwire.errors import SpanwireError

_ON_PURPOSE = ("a group, or no wire type", "a value of two kinds", "written twice", "a record of a kind that")
_STAMP = "2026-11-23T17:50:32.669475000Z"
_MODS = [({"Id": "1"}, {"Name": "añ"}, {"Name": None}), ({"Id": "2"}, {}, {})]
_ROWS = [data_change(_STAMP, _MODS), heartbeat(_STAMP), children(_STAMP, [("a", ["b", "c"]), ("d", [])])]


def _records() -> list[ChangeStreamRecord]:
    """One of each kind that a MUTABLE_KEY_RANGE stream has."""
    at = {"seconds": 1_795_456_232, "nanos": 669_475_000}
    value = {"column_metadata_index": 1, "value": Value(string_value="x")}
    mod = {"keys": [{"column_metadata_index": 0, "value": Value(string_value="1")}], "new_values": [value]}
    columns = [
        {"name": "Id", "type_": {"code": 2}, "is_primary_key": True, "ordinal_position": 1},
        {"name": "Names", "type_": {"code": 8, "array_element_type": {"code": 6}}, "ordinal_position": 2},
    ]
    data = {
        "commit_timestamp": at,
        "record_sequence": "1",
        "server_transaction_id": "tx",
        "is_last_record_in_transaction_in_partition": True,
        "table": "orders",
        "column_metadata": columns,
        "mods": [mod, mod],
        "mod_type": 20,
        "value_capture_type": 10,
        "number_of_records_in_transaction": 3,
        "number_of_partitions_in_transaction": 2,
        "transaction_tag": "tag",
    }
    event = {
        "commit_timestamp": at,
        "record_sequence": "1",
        "partition_token": "a",
        "move_in_events": [{"source_partition_token": "b"}],
        "move_out_events": [{"destination_partition_token": "c"}],
    }
    start = {"start_timestamp": at, "record_sequence": "1", "partition_tokens": ["a", "b"]}
    end = {"end_timestamp": at, "record_sequence": "1", "partition_token": "a"}
    kinds: dict[str, dict[str, Any]] = {
        "data_change_record": data,
        "heartbeat_record": {"timestamp": at},
        "partition_start_record": start,
        "partition_end_record": end,
        "partition_event_record": event,
    }
    return [ChangeStreamRecord(**{kind: fields}) for kind, fields in kinds.items()]


@st.composite
def _nearly(draw: st.DrawFn, whole: Sequence[bytes]) -> bytes:
    """One of these with a few stretches of it overwritten, cut out, repeated or put elsewhere."""
    found = bytearray(draw(st.sampled_from(whole)))
    for _ in range(draw(st.integers(1, 4))):
        start, end = sorted((draw(st.integers(0, len(found))), draw(st.integers(0, len(found)))))
        stretch = found[start : min(end, start + 40)]
        match draw(st.integers(0, 4)):
            case 0:
                found[start : start + 1] = draw(st.binary(min_size=1, max_size=2))
            case 1:
                del found[start : start + len(stretch)]
            case 2:
                found[end:end] = stretch
            case 3:
                found[start:start] = draw(st.binary(max_size=4))
            case _ if start < len(found):
                found[start] ^= 1 << draw(st.integers(0, 7))
    return bytes(found)


def _means_the_same(encoded: bytes, of: type[Message], read: Callable[[bytes], Any]) -> None:
    """The bytes, and what protobuf makes of them, to spanwire."""
    try:
        anew: bytes | None = of.FromString(encoded).SerializeToString()
    except DecodeError:
        anew = None
    try:
        ours = read(encoded)
    except SpanwireError as error:
        if anew is None or any(purpose in str(error) for purpose in _ON_PURPOSE):
            return
        try:
            raise AssertionError(f"{error}; and of what protobuf reads: {read(anew)}")
        except SpanwireError:
            return
    if anew is not None:
        assert ours == read(anew)


@given(_nearly([message(row, resume_token=b"token") for row in _ROWS] + [message(*_ROWS)]))
def test_messages(encoded: bytes) -> None:
    """The values of a `PartialResultSet`, which itself is never looked into for them."""

    def values(encoded: bytes) -> list[Value] | None:
        try:
            return [Value.FromString(value) for value in _core.reassemble([encoded])]
        except DecodeError:  # which protobuf refuses with the message
            return None

    _means_the_same(encoded, PartialResultSet.pb(), values)


@given(_nearly([row.SerializeToString() for row in _ROWS]))
def test_googlesql_rows(encoded: bytes) -> None:
    """The structs of a GoogleSQL row."""

    def records(encoded: bytes) -> Any:
        return _core.RecordReader("googlesql").read([_row(encoded)])

    _means_the_same(encoded, Value, records)


@given(_nearly([ChangeStreamRecord.serialize(record) for record in _records()]))
def test_mutable_records(encoded: bytes) -> None:
    """A `ChangeStreamRecord` of either dialect."""

    def records(encoded: bytes) -> Any:
        row = Value(string_value=base64.b64encode(encoded).decode()).SerializeToString()
        return _core.RecordReader("googlesql", mode="mutable").read([_row(row)])

    _means_the_same(encoded, ChangeStreamRecord.pb(), records)


def _row(value: bytes) -> bytes:
    """A message with one value, whatever its bytes."""
    length, size = len(value), b""
    while length >= 0x80:
        size += bytes([length & 0x7F | 0x80])
        length >>= 7
    return b"\x12" + size + bytes([length]) + value
