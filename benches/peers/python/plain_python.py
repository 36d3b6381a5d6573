"""The same relay core in plain Python: google-cloud-spanner decodes, pycapnp encodes, pyzmq sends.

It makes the messages that spanwire makes: same frames, same schema, batches closed at the same size,
records that were handed over before left out. Tuned as one would: columns are encoded once, a message is
one segment, protobuf is parsed by its C implementation (upb).
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Iterable, Sequence
from importlib.resources import as_file, files
from typing import Any, Literal

import capnp
import zmq
from rows import READERS, PlainChild, PlainRecord, Reader
from typed import Writer, writer

_CAPTURE = {
    "OLD_AND_NEW_VALUES": "oldAndNewValues",
    "NEW_ROW": "newRow",
    "NEW_VALUES": "newValues",
    "NEW_ROW_AND_OLD_VALUES": "newRowAndOldValues",
}
_FIRST_SEGMENT_WORDS = 1 << 12


def schema() -> Any:
    """The wire format's schema, loaded by pycapnp."""
    capnp.remove_import_hook()
    with as_file(files("spanwire") / "envelope.capnp") as path:
        return capnp.load(str(path))


class PlainRelay:
    """One partition's way from PartialResultSet bytes, or the client's rows, to a PUB socket. One thread."""

    def __init__(
        self,
        socket: zmq.Socket[bytes],
        *,
        decode: Literal["values", "lazy"] = "values",
        values: Literal["json", "typed"] = "json",
        topic: str = "d/s/{table}/",
        partition: str = "token",
        batch_bytes: int = 64 << 10,
    ) -> None:
        self._schema = schema()
        self._socket = socket
        self._reader = READERS[decode]()
        self._values = values
        self._topic = topic
        self._partition = hashlib.sha256(partition.encode()).digest()[:16]
        self._batch_bytes = batch_bytes
        self._shapes: dict[Any, _Shape] = {}
        self._flows: dict[str, _Flow] = {}
        self._seen: set[tuple[str, str]] = set()
        self._seen_at = (0, 0)
        self.changes = 0

    def push(self, messages: Sequence[bytes]) -> None:
        """Take messages of the query, in order; send what is full."""
        self._take_all(self._reader.read(messages))

    def push_row(self, row: Any) -> None:
        """Take a row as the client hands it over; send what is full."""
        self._take_all(self._reader.records(row))

    def children(self, row: Any) -> list[PlainChild]:
        """The child partitions that a row names."""
        return list(self._reader.children(row))

    def _take_all(self, records: Iterable[PlainRecord]) -> None:
        received_at = time.time_ns()
        for record in records:
            if (moment := (record.seconds, record.nanos)) != self._seen_at:
                self._seen_at = moment
                self._seen.clear()
            identity = (record.transaction, record.sequence)
            if identity not in self._seen:
                self._take(record, received_at)
                self._seen.add(identity)

    def flush(self) -> None:
        """Send what is open."""
        for flow in self._flows.values():
            self._send(flow)

    def _take(self, record: PlainRecord, received_at: int) -> None:
        shape = self._shape(record)
        flow = self._flows.get(record.table)
        if flow is None:
            topic = self._topic.format(table=record.table).encode()
            self._flows[record.table] = flow = _Flow(topic, self._partition)
        if flow.shape is not shape:
            self._send(flow)
            flow.shape = shape
        flow.add(record, self._encode(record, shape), received_at)
        if flow.size >= self._batch_bytes:
            self._send(flow)

    def _encode(self, record: PlainRecord, shape: _Shape) -> bytes:
        message = self._schema.DataChangeRecord.new_message(num_first_segment_words=_FIRST_SEGMENT_WORDS)
        message.commitTimestamp.seconds = record.seconds
        message.commitTimestamp.nanos = record.nanos
        message.modType = record.mod_type.lower()
        message.valueCaptureType = _CAPTURE[record.capture_type]
        message.isLastRecordInTransactionInPartition = record.is_last
        message.isSystemTransaction = record.is_system
        message.numberOfRecordsInTransaction = record.records_in_transaction
        message.numberOfPartitionsInTransaction = record.partitions_in_transaction
        message.serverTransactionId = record.transaction
        message.recordSequence = record.sequence
        message.transactionTag = record.tag
        mods = message.init("mods", len(record.mods))
        for number, (mod, source) in enumerate(zip(mods, record.mods, strict=True)):
            mod.number = number
            if self._values == "json":
                texts = mod.init("json")
                texts.keys, texts.newValues, texts.oldValues = self._reader.texts(source)
            else:
                shape.typed(mod, *self._reader.dicts(source))
        return bytes(message.to_bytes())

    def _shape(self, record: PlainRecord) -> _Shape:
        name = self._reader.shape(record.columns)
        shape = self._shapes.get(name)
        if shape is None:
            self._shapes[name] = shape = _Shape(self._schema, self._reader, record)
        return shape

    def _send(self, flow: _Flow) -> None:
        if flow.shape is None or flow.first is None or flow.last is None:
            return
        header = self._schema.Header.new_message(
            formatMajor=1,
            kind="changes",
            values=self._values,
            incarnation=1,
            epoch=1,
            sequence=flow.sequence,
            count=flow.count,
            receivedAt=flow.received_at,
            partition=flow.partition,
            columnsHash=flow.shape.hash,
        )
        for place, record, number in (
            (header.first, flow.first, 0),
            (header.last, flow.last, len(flow.last.mods) - 1),
        ):
            place.commitTimestamp.seconds, place.commitTimestamp.nanos = record.seconds, record.nanos
            place.transaction, place.sequence, place.mod = record.transaction, record.sequence, number
        header.sentAt = time.time_ns()
        frames = (flow.topic, header.to_bytes(), flow.shape.frame, b"".join(flow.body))
        self._socket.send_multipart(frames, copy=False)
        self.changes += flow.count
        flow.sequence += 1
        flow.empty()


class _Flow:
    """The open message of one topic."""

    def __init__(self, topic: bytes, partition: bytes) -> None:
        self.topic = topic
        self.partition = partition
        self.shape: _Shape | None = None
        self.sequence = 0
        self.empty()

    def empty(self) -> None:
        self.body: list[bytes] = []
        self.size = self.count = self.received_at = 0
        self.first: PlainRecord | None = None
        self.last: PlainRecord | None = None

    def add(self, record: PlainRecord, encoded: bytes, received_at: int) -> None:
        if self.first is None:
            self.first, self.received_at = record, received_at
        self.last = record
        self.body.append(encoded)
        self.size += len(encoded)
        self.count += len(record.mods)


class _Shape:
    """The columns of a table: their frame, encoded once, and how their values are typed."""

    def __init__(self, capnp: Any, reader: Reader, record: PlainRecord) -> None:
        described = reader.columns(record.columns)
        message = capnp.Columns.new_message(table=record.table)
        self._keys: list[tuple[str, Writer]] = []
        self._others: list[tuple[str, Writer]] = []
        for place, column in zip(message.init("columns", len(described)), described, strict=True):
            place.name, place.type.code = column.name, column.code.lower()
            if column.element:
                place.type.init("arrayElement").code = column.element.lower()
            place.isPrimaryKey, place.ordinalPosition = column.is_key, column.ordinal
            (self._keys if column.is_key else self._others).append(
                (column.name, writer(column.code, column.element))
            )
        self.frame: bytes = message.to_bytes()
        self.hash = hashlib.sha256(self.frame).digest()[:16]

    def typed(self, mod: Any, keys: dict[str, Any], new: dict[str, Any], old: dict[str, Any]) -> None:
        """Write a mod's values by the types of their columns."""
        group = mod.init("typed")
        for name, columns, values in (
            ("keys", self._keys, keys),
            ("newValues", self._others, new),
            ("oldValues", self._others, old),
        ):
            if not values:
                continue
            for place, (column, write) in zip(group.init(name, len(columns)), columns, strict=True):
                if column not in values:
                    place.missing = None
                elif (value := values[column]) is None:
                    place.null = None
                else:
                    write(place, value)
