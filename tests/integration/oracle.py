"""A change stream as google-cloud-spanner's own high-level client reads it: what everything is compared with.

Records have the shape of `spanwire._core.RecordReader`, with the JSON texts parsed: what the two
return for the same bytes must be equal. Nothing here knows spanwire's code.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from google.cloud.spanner_v1 import ExecuteSqlRequest, PartialResultSet, Type, TypeCode, param_types
from google.cloud.spanner_v1.streamed import StreamedResultSet
from integration.emulator import EmulatorDatabase

Record = dict[str, Any]
"""{"data_change_record" | "heartbeat_record" | "child_partitions_record": {...}}."""

_METHOD = "/google.spanner.v1.Spanner/ExecuteStreamingSql"
_HEARTBEAT_MS = 300_000


@dataclass(frozen=True)
class Query:
    """One read of one partition, or with token None the initial query. Timestamps as RFC 3339 in UTC."""

    database: EmulatorDatabase
    stream: str
    start: str
    end: str | None = None
    token: str | None = None
    heartbeat_ms: int = _HEARTBEAT_MS

    @property
    def sql(self) -> str:
        """The statement, in the database's dialect."""
        if self.database.dialect == "postgresql":
            return f'SELECT * FROM "spanner"."read_json_{self.stream}"($1, $2, $3, $4, null)'
        return (
            f"SELECT ChangeRecord FROM `READ_{self.stream}`(start_timestamp => @p1, end_timestamp => @p2, "
            "partition_token => @p3, heartbeat_milliseconds => @p4)"
        )

    @property
    def params(self) -> dict[str, Any]:
        """Its parameters' values."""
        return {"p1": self.start, "p2": self.end, "p3": self.token, "p4": self.heartbeat_ms}

    @property
    def param_types(self) -> dict[str, Type]:
        """Its parameters' types."""
        timestamp, string, int64 = param_types.TIMESTAMP, param_types.STRING, param_types.INT64
        return {"p1": timestamp, "p2": timestamp, "p3": string, "p4": int64}


def official(query: Query) -> list[Record]:
    """The query's records, as the official client's high-level API returns them."""
    with query.database.client.snapshot() as snapshot:
        results = snapshot.execute_sql(query.sql, params=query.params, param_types=query.param_types)
        return list(_records(results))


def merged(messages: Iterable[bytes]) -> list[Record]:
    """The same from messages that were read raw: parsed, merged and decoded by the official client's code."""
    return list(_records(StreamedResultSet(PartialResultSet.deserialize(message) for message in messages)))


def raw(query: Query, resume_token: bytes = b"") -> list[bytes]:
    """All of the query's messages: each one an encoded PartialResultSet."""
    return list(streamed(query, resume_token))


def streamed(query: Query, resume_token: bytes = b"") -> Iterator[bytes]:
    """The query's messages as they arrive."""
    database = query.database.client
    session = database.spanner_api.create_session(database=database.name)
    request = ExecuteSqlRequest(
        session=session.name,
        sql=query.sql,
        params={
            name: str(value) if isinstance(value, int) else value for name, value in query.params.items()
        },
        param_types=query.param_types,
        resume_token=resume_token,
    )
    call = database.spanner_api.transport.grpc_channel.unary_stream(
        _METHOD, request_serializer=ExecuteSqlRequest.serialize, response_deserializer=None
    )
    messages = call(request, timeout=120)
    try:
        yield from messages
    finally:
        messages.cancel()
        database.spanner_api.delete_session(name=session.name)


@dataclass(frozen=True)
class PartitionRead:
    """What one partition returned."""

    token: str | None
    parents: tuple[str, ...]
    records: list[Record] = field(repr=False)


def follow(
    database: EmulatorDatabase,
    stream: str,
    start: str,
    end: str,
    read: Callable[[Query], list[Record]] = official,
) -> list[PartitionRead]:
    """Every partition from start to end, inclusive, parents first, each once; waits until end has passed."""
    wait_until(end)
    initial = PartitionRead(None, (), read(Query(database, stream, start, end)))
    reads, known = [initial], set[str]()
    waiting = list(_children(initial.records))
    while waiting:
        # Children of a merge are named by each parent, and start when the last parent has ended.
        waiting.sort()
        begins, token, parents = waiting.pop(0)
        if token in known or begins > normal(end):
            continue
        known.add(token)
        reads.append(PartitionRead(token, parents, read(Query(database, stream, begins, end, token))))
        waiting.extend(_children(reads[-1].records))
    return reads


def data_records(reads: Iterable[PartitionRead]) -> list[Record]:
    """The data change records among what was read, in the order read, without their wrapping."""
    return [
        record["data_change_record"]
        for read in reads
        for record in read.records
        if "data_change_record" in record
    ]


def wait_until(moment: str) -> None:
    """Sleep until the local clock has passed it."""
    while (left := datetime.fromisoformat(moment).timestamp() - time.time()) >= 0:
        time.sleep(left + 0.01)


def just_after(timestamp: str) -> str:
    """A millisecond later: an end that surely takes in what was committed at the timestamp."""
    moment = datetime.fromisoformat(timestamp) + timedelta(milliseconds=1)
    return moment.strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def normal(timestamp: Any) -> str:
    """A timestamp with nine fraction digits and Z, so that it compares as text."""
    text = timestamp.rfc3339() if hasattr(timestamp, "rfc3339") else str(timestamp)
    text = text.replace("+00:00", "Z")
    whole, _, fraction = text.removesuffix("Z").partition(".")
    if not text.endswith("Z"):
        raise ValueError(f"not in UTC: {text}")
    return f"{whole}.{fraction:0<9}Z"


def _children(records: Sequence[Record]) -> Iterator[tuple[str, str, tuple[str, ...]]]:
    for record in records:
        if child_record := record.get("child_partitions_record"):
            for child in child_record["child_partitions"]:
                yield child_record["start_timestamp"], child["token"], tuple(child["parent_partition_tokens"])


def _records(results: Any) -> Iterator[Record]:
    for row in results:
        if results.fields[0].type_.code == TypeCode.JSON:  # PostgreSQL: one object a row
            yield tidy(_plain(row[0]))
            continue
        item_type = results.fields[0].type_.array_element_type
        for item in row[0]:
            for kind, records in _named(item, item_type).items():
                for record in records or ():
                    yield tidy({kind: record})


def _named(value: Any, type_: Any) -> Any:
    """Structs as dicts by the names that the result's metadata gives their fields."""
    if value is None:
        return None
    if type_.code == TypeCode.ARRAY:
        return [_named(item, type_.array_element_type) for item in value]
    if type_.code == TypeCode.STRUCT:
        fields = type_.struct_type.fields
        assert len(fields) == len(value)
        return {field.name: _named(item, field.type_) for field, item in zip(fields, value, strict=True)}
    return _plain(value) if type_.code == TypeCode.JSON else value


def _plain(value: Any) -> Any:
    """The client's JsonObject as what it holds."""
    if not hasattr(value, "serialize"):
        return value
    text = value.serialize()
    return None if text is None else json.loads(text)


def tidy(record: Record) -> Record:
    """One spelling: timestamps with nine digits; no parents is [], not [None] or None; no values are {}."""
    ((kind, fields),) = record.items()
    fields = dict(fields)
    for name in ("commit_timestamp", "timestamp", "start_timestamp"):
        if name in fields:
            fields[name] = normal(fields[name])
    if kind == "data_change_record":
        fields["mods"] = [{name: values or {} for name, values in mod.items()} for mod in fields["mods"]]
    if kind == "child_partitions_record":
        fields["child_partitions"] = [
            {
                "token": child["token"],
                "parent_partition_tokens": [p for p in child["parent_partition_tokens"] or () if p],
            }
            for child in fields["child_partitions"]
        ]
    return {kind: fields}
