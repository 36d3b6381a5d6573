"""Prints the version, table and keys of each change, with pycapnp and pyzmq alone.

    spanwire schema > envelope.capnp
    python consume.py envelope.capnp tcp://127.0.0.1:5560 shop/all_tables/

Where spanwire is installed, `spanwire.Subscriber` does more with less: see the README.
"""

from __future__ import annotations

import sys
from datetime import UTC, datetime
from typing import Any

import capnp
import zmq

capnp.remove_import_hook()


def main(schema: str, endpoint: str, topic: str) -> None:
    """Print changes until interrupted."""
    envelope = capnp.load(schema)
    socket = zmq.Context.instance().socket(zmq.SUB)
    socket.connect(endpoint)
    socket.subscribe(topic.encode())
    while True:
        _topic, head, shape, body = socket.recv_multipart()
        with envelope.Header.from_bytes(head) as header:
            if header.formatMajor > 1 or header.requiredFeatures or header.bodyEncoding != "none":
                sys.exit("this message needs a newer reader")
            if header.kind != "changes":
                continue  # a tick, a notice
        with envelope.Columns.from_bytes(shape) as columns:
            for record in envelope.DataChangeRecord.read_multiple_bytes(body):
                show(columns, record)


def show(columns: Any, record: Any) -> None:
    """A line for each row that the record changed."""
    committed = record.commitTimestamp
    second = datetime.fromtimestamp(committed.seconds, UTC).strftime("%Y-%m-%dT%H:%M:%S")
    names = [column.name for column in columns.columns if column.isPrimaryKey]
    for mod in record.mods:
        identity = f"{record.serverTransactionId}/{record.recordSequence}/{mod.number}"
        version = f"{second}.{committed.nanos:09}Z/{identity}"
        if mod.which() == "json":
            print(version, columns.table, mod.json.keys, flush=True)
            continue
        # A list may be shorter than its columns: what is not there is missing. Of a value, the member
        # that is set is its kind: "int64", "text", "null", ...
        keys = (getattr(cell, str(cell.which())) for cell in mod.typed.keys)
        print(version, columns.table, dict(zip(names, keys, strict=False)), flush=True)


if __name__ == "__main__":
    if len(sys.argv) != 4:
        sys.exit("usage: consume.py SCHEMA ENDPOINT TOPIC: envelope.capnp tcp://127.0.0.1:5560 shop/all/")
    main(*sys.argv[1:])
