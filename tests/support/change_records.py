"""Change stream rows as Spanner sends them (GoogleSQL), built with protobuf's own types."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from google.cloud.spanner_v1.types import PartialResultSet
from google.protobuf import struct_pb2

Object = Mapping[str, Any] | str
COLUMNS = (("Id", {"code": "INT64"}, True, 1), ("Name", {"code": "STRING"}, False, 2))


def _list(*values: struct_pb2.Value) -> struct_pb2.Value:
    return struct_pb2.Value(list_value=struct_pb2.ListValue(values=values))


def _text(text: str) -> struct_pb2.Value:
    return struct_pb2.Value(string_value=text)


def _bool(truth: bool) -> struct_pb2.Value:
    return struct_pb2.Value(bool_value=truth)


def _json(value: Any) -> struct_pb2.Value:
    if isinstance(value, str):
        return _text(value)
    return _text(json.dumps(value, separators=(",", ":")))


def _row(
    data: Sequence[Any] = (), heartbeats: Sequence[Any] = (), children: Sequence[Any] = ()
) -> struct_pb2.Value:
    return _list(_list(_list(*data), _list(*heartbeats), _list(*children)))


def data_change(
    commit: str,
    mods: Iterable[tuple[Object, Object, Object]],
    *,
    mod_type: str = "INSERT",
    transaction: str = "tx",
    sequence: str = "00000000",
    table: str = "orders",
    columns: Sequence[tuple[str, Mapping[str, Any], bool, int]] = COLUMNS,
    records: int = 1,
) -> struct_pb2.Value:
    """A row with one data change record; mods are (keys, new, old), each an object or its JSON text.

    `records`: how many its transaction has.
    """
    return _row(
        data=[
            _list(
                _text(commit),
                _text(sequence),
                _text(transaction),
                _bool(True),
                _text(table),
                _list(*(_list(_text(n), _json(t), _bool(k), _text(str(o))) for n, t, k, o in columns)),
                _list(*(_list(_json(keys), _json(new), _json(old)) for keys, new, old in mods)),
                _text(mod_type),
                _text("OLD_AND_NEW_VALUES"),
                _text(str(records)),
                _text("1"),
                _text(""),
                _bool(False),
            )
        ]
    )


def together(*rows: struct_pb2.Value) -> struct_pb2.Value:
    """The data change records of several rows in one."""
    return _row(
        data=[one for row in rows for one in row.list_value.values[0].list_value.values[0].list_value.values]
    )


def heartbeat(timestamp: str) -> struct_pb2.Value:
    """A row with a heartbeat record."""
    return _row(heartbeats=[_list(_text(timestamp))])


def children(start: str, partitions: Iterable[tuple[str, Sequence[str]]]) -> struct_pb2.Value:
    """A row with a child partitions record."""
    parts = [_list(_text(token), _list(*map(_text, parents))) for token, parents in partitions]
    return _row(children=[_list(_text(start), _text("00000001"), _list(*parts))])


def message(*rows: struct_pb2.Value, resume_token: bytes = b"") -> bytes:
    """The rows as one PartialResultSet."""
    result = PartialResultSet.pb()(values=rows, resume_token=resume_token)
    return result.SerializeToString()
