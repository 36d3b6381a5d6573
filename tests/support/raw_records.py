"""Data change records of either dialect, their values as raw JSON text: also what nobody should write."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Literal

import zmq
from google.cloud.spanner_v1.types import PartialResultSet
from google.protobuf import struct_pb2

from spanwire._core import Change, Message, Output, Partition, Pipeline, Pushed, Timestamp
from spanwire.simulator.chunking import Chunking

Dialect = Literal["googlesql", "postgresql"]
DIALECTS: tuple[Dialect, ...] = ("googlesql", "postgresql")
Values = Literal["typed", "json"]
VALUES: tuple[Values, ...] = ("typed", "json")
T0 = Timestamp.parse("2020-01-01T00:00:00Z")


@dataclass(frozen=True)
class Column:
    """One column of a record: its type as Spanner writes it."""

    name: str
    type: Mapping[str, Any]
    key: bool = False


ID = Column("Id", {"code": "INT64"}, key=True)

Objects = tuple[str, str, str]
"""The JSON text of a mod's keys, new and old values."""


def members(values: Mapping[str, str]) -> str:
    """An object's text of its members' texts."""
    return "{" + ",".join(f"{json.dumps(name)}:{text}" for name, text in values.items()) + "}"


def record(
    dialect: Dialect,
    commit: str,
    mods: Sequence[Objects],
    columns: Sequence[Column] = (ID,),
    *,
    table: str = "orders",
    sequence: str = "00000000",
    capture: str = "OLD_AND_NEW_VALUES",
    mod_type: str = "UPDATE",
) -> bytes:
    """The row with one data change record, encoded."""
    if dialect == "postgresql":
        shapes = [
            {"name": c.name, "type": c.type, "is_primary_key": c.key, "ordinal_position": n}
            for n, c in enumerate(columns, 1)
        ]
        changes = ",".join(
            f'{{"keys":{keys},"new_values":{new},"old_values":{old}}}' for keys, new, old in mods
        )
        fields = {
            "commit_timestamp": commit,
            "record_sequence": sequence,
            "server_transaction_id": "tx",
            "is_last_record_in_transaction_in_partition": True,
            "table_name": table,
            "column_types": shapes,
            "mod_type": mod_type,
            "value_capture_type": capture,
            "number_of_records_in_transaction": 1,
            "number_of_partitions_in_transaction": 1,
            "transaction_tag": "",
            "is_system_transaction": False,
        }
        inner = json.dumps(fields, ensure_ascii=False)[:-1] + f',"mods":[{changes}]}}'
        row = struct_pb2.Value(string_value=f'{{"data_change_record":{inner}}}')
    else:
        shape = [[c.name, json.dumps(c.type), c.key, str(n)] for n, c in enumerate(columns, 1)]
        head = [commit, sequence, "tx", True, table, shape, [list(objects) for objects in mods]]
        row = struct_pb2.Value()
        row.list_value.extend([[[[*head, mod_type, capture, "1", "1", "", False]], [], []]])
    encoded: bytes = row.SerializeToString()
    return encoded


def messages(*rows: bytes, limit: int = 1 << 20) -> list[bytes]:
    """The rows as PartialResultSets, one a row; what is larger than `limit` bytes is chunked."""
    made = []
    for number, row in enumerate(rows):
        *heads, last = Chunking(limit, 0, 1).pieces(row, "p", number)
        for piece, chunked in [*((head, True) for head in heads), (last, False)]:
            value = struct_pb2.Value.FromString(piece)
            made.append(PartialResultSet.pb()(values=[value], chunked_value=chunked).SerializeToString())
    return made


class Wire:
    """A pipeline with one PUB, and a SUB that hears all of it."""

    def __init__(self, pipeline: Pipeline, dialect: Dialect, values: Values) -> None:
        self.pipeline = pipeline
        self.dialect = dialect
        self.values = values
        self._opened = 0
        self._socket = zmq.Context.instance().socket(zmq.SUB)
        self._socket.rcvhwm = 0
        self._socket.subscribe(b"")
        self._socket.connect(pipeline.endpoints[0][0])
        while Message.decode(self._receive()).kind != "tick":
            pass

    def partition(self) -> Partition:
        """A new one."""
        self._opened += 1
        return self.pipeline.partition(f"token {self._opened}", dialect=self.dialect, epoch=1, start=T0)

    def push(self, mods: Sequence[Objects], columns: Sequence[Column] = (ID,), **more: Any) -> Pushed:
        """One record, from a partition of its own."""
        row = record(self.dialect, "2026-11-23T10:00:01Z", mods, columns, **more)
        return self.partition().push(messages(row))

    def next(self) -> Message:
        """The next message that is no tick."""
        return Message.decode(self.frames())

    def frames(self) -> list[bytes]:
        """The same, undecoded."""
        while Message.decode(found := self._receive()).kind == "tick":
            pass
        return found

    def changes(self, number: int) -> list[Change]:
        """The next so many changes."""
        found: list[Change] = []
        while len(found) < number:
            found += self.next().changes()
        assert len(found) == number
        return found

    def close(self) -> None:
        """Hear nothing more."""
        self._socket.close(0)

    def _receive(self) -> list[bytes]:
        assert self._socket.poll(60_000), "nothing arrived"
        return self._socket.recv_multipart()


@contextmanager
def wire(
    dialect: Dialect, values: Values = "typed", *, output: Mapping[str, int] | None = None, **settings: Any
) -> Iterator[Wire]:
    """A pipeline of its own, and who hears it; with options of its output, and settings."""
    one_output = Output("pub", ["tcp://127.0.0.1:*"], values=values, options=output)
    with Pipeline("shop", "all", [one_output], options={"tick_ms": 20}, **settings) as pipeline:
        made = Wire(pipeline, dialect, values)
        try:
            yield made
        finally:
            made.close()
