"""Rows of MUTABLE_KEY_RANGE streams as Spanner sends them, built with google-cloud-spanner's own types."""

from __future__ import annotations

import base64
from collections.abc import Iterable, Mapping
from typing import Any

from google.cloud.spanner_v1.types import ChangeStreamRecord, PartialResultSet
from google.protobuf.struct_pb2 import Value
from google.protobuf.timestamp_pb2 import Timestamp

Record: Any = ChangeStreamRecord.pb()
"""The protobuf class behind the type."""


def message(*rows: Value, chunked: bool = False, resume_token: bytes = b"") -> bytes:
    """Rows, or the pieces of them, as one PartialResultSet."""
    result = PartialResultSet.pb()(values=rows, chunked_value=chunked, resume_token=resume_token)
    return bytes(result.SerializeToString())


def row(record: bytes) -> Value:
    """An encoded record as a row."""
    return Value(string_value=base64.b64encode(record).decode())


def data_change(
    commit: str,
    columns: Iterable[tuple[str, Any, bool]],
    mods: Iterable[tuple[Mapping[str, Value], Mapping[str, Value], Mapping[str, Value]]],
    *,
    sequence: str = "83365be2414b3aae-00000000",
    table: str = "orders",
) -> Value:
    """A row with one data change record.

    Columns are (name, fields of Type, whether in the key), mods are (keys, new, old).
    """
    record = Record()
    data = record.data_change_record
    data.commit_timestamp.FromJsonString(commit)
    data.record_sequence, data.server_transaction_id, data.table = sequence, "tx", table
    data.mod_type, data.value_capture_type = 10, 10
    places = {}
    for place, (name, type_, is_key) in enumerate(columns):
        places[name] = place
        data.column_metadata.add(name=name, type_=type_, is_primary_key=is_key, ordinal_position=place + 1)
    for keys, new, old in mods:
        mod = data.mods.add()
        for into, values in ((mod.keys, keys), (mod.new_values, new), (mod.old_values, old)):
            for name, value in values.items():
                into.add(column_metadata_index=places[name], value=value)
    return row(record.SerializeToString())


def heartbeat(at: str) -> Value:
    """A row with a heartbeat record."""
    return row(Record(heartbeat_record={"timestamp": _timestamp(at)}).SerializeToString())


def partition_start(start: str, tokens: Iterable[str]) -> Value:
    """A row with a partition start record."""
    fields = {"start_timestamp": _timestamp(start), "record_sequence": "1-1", "partition_tokens": tokens}
    return row(Record(partition_start_record=fields).SerializeToString())


def partition_end(end: str, token: str) -> Value:
    """A row with a partition end record."""
    fields = {"end_timestamp": _timestamp(end), "record_sequence": "1-2", "partition_token": token}
    return row(Record(partition_end_record=fields).SerializeToString())


def partition_event(
    commit: str, token: str, *, sources: Iterable[str] = (), destinations: Iterable[str] = ()
) -> Value:
    """A row with a partition event record: moves in from the sources, and out to the destinations."""
    fields = {
        "commit_timestamp": _timestamp(commit),
        "record_sequence": "1-3",
        "partition_token": token,
        "move_in_events": [{"source_partition_token": source} for source in sources],
        "move_out_events": [{"destination_partition_token": token} for token in destinations],
    }
    return row(Record(partition_event_record=fields).SerializeToString())


def _timestamp(text: str) -> Timestamp:
    timestamp = Timestamp()
    timestamp.FromJsonString(text)
    return timestamp
