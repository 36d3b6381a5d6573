"""A consumer without spanwire: the published schema, pycapnp and pyzmq. Any language can do the same.

    python plain_consumer.py envelope.capnp tcp://127.0.0.1:5560 [topic]

prints one line of JSON a change. It looks at changes only; a consumer that must know what it missed
follows header.sequence per (topic, partition, epoch, incarnation, output) and the ticks as well.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import capnp
import zmq

capnp.remove_import_hook()


def main() -> None:
    """Print changes until interrupted."""
    schema, endpoint, *topic = sys.argv[1:]
    for change in consume(schema, endpoint, *topic):
        print(json.dumps(change, ensure_ascii=False, default=bytes.hex), flush=True)


def consume(schema: str, endpoint: str, topic: str = "") -> Iterator[dict[str, Any]]:
    """Connect, subscribe to a topic and all below it, and yield changes for ever."""
    envelope = capnp.load(schema)
    with zmq.Context() as context, context.socket(zmq.SUB) as socket:
        socket.connect(endpoint)
        socket.subscribe(topic.encode())
        while True:
            yield from changes(envelope, socket.recv_multipart())


def changes(envelope: Any, frames: list[bytes]) -> Iterator[dict[str, Any]]:
    """The changes of one message; none where it is a tick or a notice."""
    _topic, header_frame, columns_frame, body = frames
    with envelope.Header.from_bytes(header_frame) as header:
        if header.formatMajor > 1 or header.requiredFeatures or header.bodyEncoding != "none":
            raise ValueError("this message needs a newer reader")
        if header.kind != "changes":
            return
    with envelope.Columns.from_bytes(columns_frame) as columns:
        keys = [column.name for column in columns.columns if column.isPrimaryKey]
        others = [column.name for column in columns.columns if not column.isPrimaryKey]
        for record in envelope.DataChangeRecord.read_multiple_bytes(body):
            for mod in record.mods:
                yield {
                    "version": version(record, mod.number),
                    "table": columns.table,
                    "mod_type": str(record.modType).upper(),
                    **values(mod, keys, others),
                }


def values(mod: Any, keys: list[str], others: list[str]) -> dict[str, dict[str, Any]]:
    """A mod's keys, new and old values by column name; what is missing is not there."""
    if mod.which() == "json":
        texts = {"keys": mod.json.keys, "new": mod.json.newValues, "old": mod.json.oldValues}
        return {name: json.loads(text) for name, text in texts.items()}
    found = {
        "keys": typed(keys, mod.typed.keys),
        "new": typed(others, mod.typed.newValues),
        "old": typed(others, mod.typed.oldValues),
    }
    places = {"keys": "keys", "newValues": "new", "oldValues": "old"}
    for other in mod.typed.others:
        found[places[str(other.place)]][other.name] = json.loads(other.json)
    return found


def typed(names: list[str], cells: Any) -> dict[str, Any]:
    """Values by column name; a list may be shorter than its columns."""
    return {name: value(cell) for name, cell in zip(names, cells, strict=False) if cell.which() != "missing"}


def value(cell: Any) -> Any:
    """One value. Timestamps as (seconds, nanoseconds): Python's own types stop at microseconds."""
    kind = cell.which()
    if kind == "null":
        return None
    if kind == "timestamp":
        return (cell.timestamp.seconds, cell.timestamp.nanos)
    if kind == "json":
        return json.loads(cell.json)
    if kind == "array":
        return array(cell.array)
    return getattr(cell, str(kind))


def array(cell: Any) -> list[Any]:
    """An array: nulls are set bits."""
    kind = str(cell.which())
    elements = list(getattr(cell, kind))
    if kind == "timestamp":
        elements = [(element.seconds, element.nanos) for element in elements]
    if kind == "json":
        elements = [json.loads(element) for element in elements]
    for place in range(len(elements)):
        if place // 8 < len(cell.nulls) and cell.nulls[place // 8] >> place % 8 & 1:
            elements[place] = None
    return elements


def version(record: Any, number: int) -> str:
    """The change's name for ever: commit timestamp, transaction, sequence, number."""
    committed = record.commitTimestamp
    second = datetime.fromtimestamp(committed.seconds, UTC).strftime("%Y-%m-%dT%H:%M:%S")
    return f"{second}.{committed.nanos:09}Z/{record.serverTransactionId}/{record.recordSequence}/{number}"


if __name__ == "__main__":
    main()
