"""What a simulator serves, by google-cloud-spanner's own types; and changes in canonical form, from there."""

from __future__ import annotations

import base64
import datetime
import json
import random
import struct
from collections.abc import Iterable, Iterator
from typing import Any

from google.cloud.spanner_v1 import PartialResultSet, TypeCode
from google.cloud.spanner_v1.streamed import StreamedResultSet
from google.cloud.spanner_v1.types.change_stream import ChangeStreamRecord
from google.protobuf import struct_pb2
from integration.oracle import merged

from spanwire.simulator import Simulator
from spanwire.simulator.queries import ChangeQuery
from support import replay
from support.replay import Replay

_PB = ChangeStreamRecord.pb(ChangeStreamRecord()).__class__
_Record = _PB.DataChangeRecord


def read(
    simulator: Simulator, token: str | None, start: int, end: int, heartbeat: int = 300_000
) -> list[Any]:
    """A partition's records without a server between, each a ChangeStreamRecord's protobuf class."""
    query = ChangeQuery(simulator.config.function, start, end, token, heartbeat)
    return list(records(simulator.read(query, b"", lambda: True)))


def delivered(simulator: Simulator) -> list[str]:
    """All that the stream has, in canonical form, by the official types."""
    end = simulator._commits.now()
    if simulator.config.mode == "mutable":
        run = Replay(lambda token, start: read(simulator, token, start, end), random.Random(0))
        run.run(simulator.created)
        return [line for _, record in replay.data(run.processed) for line in lines(record)]
    function = simulator.config.function
    found: list[str] = []
    for token in simulator.partitions:
        query = ChangeQuery(function, simulator.created, end, token, 300_000)
        for record in merged(simulator.read(query, b"", lambda: True)):
            if "data_change_record" in record:
                found += json_lines(record["data_change_record"])
    return found


def records(messages: Iterable[bytes]) -> Iterator[Any]:
    """The records of messages, put together by the official client's code."""
    results = StreamedResultSet(PartialResultSet.deserialize(message) for message in messages)
    for [value] in results:
        coded = results.fields[0].type_.code == TypeCode.BYTES  # the client leaves BYTES in base64
        yield parsed(base64.b64decode(value) if coded else value)


def parsed(encoded: bytes) -> Any:
    """A record; the official type must write the same bytes."""
    record = _PB.FromString(encoded)
    assert record.SerializeToString(deterministic=True) == encoded
    return record


def lines(record: Any) -> Iterator[str]:
    """The canonical lines of a data change record (docs/history.md)."""
    types = [column.type_ for column in record.column_metadata]
    names = [column.name for column in record.column_metadata]
    moment = f"{record.commit_timestamp.ToDatetime():%Y-%m-%dT%H:%M:%S}.{record.commit_timestamp.nanos:09}Z"
    for number, mod in enumerate(record.mods):
        version = f"{moment}/{record.server_transaction_id}/{record.record_sequence}/{number}"
        change: dict[str, Any] = {"version": version, "table": record.table}
        change["mod_type"] = _Record.ModType.Name(record.mod_type)
        for place, values in (("keys", mod.keys), ("new", mod.new_values), ("old", mod.old_values)):
            change[place] = {
                names[one.column_metadata_index]: canonical(one.value, types[one.column_metadata_index])
                for one in values
            }
        yield json.dumps(change, sort_keys=True, separators=(",", ":"), ensure_ascii=False)


def canonical(value: struct_pb2.Value, type_: Any) -> Any:
    """A value in canonical form; its kind must be the type's."""
    kind = value.WhichOneof("kind")
    if TypeCode(type_.code) == TypeCode.ARRAY and kind == "list_value":
        return [canonical(one, type_.array_element_type) for one in value.list_value.values]
    return plain(None if kind == "null_value" else getattr(value, kind), TypeCode(type_.code).name)


def json_lines(record: dict[str, Any]) -> Iterator[str]:
    """The canonical lines of an immutable stream's data change record, as the official client gives it."""
    types = {column["name"]: column["type"] for column in record["column_types"]}
    parts = (record[name] for name in ("commit_timestamp", "server_transaction_id", "record_sequence"))
    version = "/".join(parts)
    for number, mod in enumerate(record["mods"]):
        change = {"version": f"{version}/{number}", "table": record["table_name"]}
        change["mod_type"] = record["mod_type"]
        for place, member in (("keys", "keys"), ("new", "new_values"), ("old", "old_values")):
            change[place] = {name: _of_json(value, types[name]) for name, value in mod[member].items()}
        yield json.dumps(change, sort_keys=True, separators=(",", ":"), ensure_ascii=False)


def _of_json(value: Any, type_: dict[str, Any]) -> Any:
    if type_["code"] == "ARRAY" and isinstance(value, list):
        return [_of_json(one, type_["array_element_type"]) for one in value]
    return plain(value, type_["code"])


def plain(value: Any, code: str) -> Any:
    """A scalar in canonical form, from the string, number or bool that travels."""
    if value is None:
        return None
    if code == "BOOL":
        assert isinstance(value, bool)
        return value
    if code in ("FLOAT64", "FLOAT32"):
        special = {"NaN": float("nan"), "Infinity": float("inf"), "-Infinity": float("-inf")}
        number = special[value] if isinstance(value, str) else float(value)
        return "7ff8000000000000" if number != number else struct.pack(">d", number).hex()  # noqa: PLR0124
    assert isinstance(value, str), f"{code} travels as a string"
    return _moment(value) if code == "TIMESTAMP" else value


def _moment(text: str) -> str:
    whole, _, fraction = text.removesuffix("Z").partition(".")
    datetime.datetime.fromisoformat(whole)
    return f"{whole}.{fraction:0<9}Z"
