"""Prints changes in canonical form with pycapnp and pyzmq alone.

python consume.py envelope.capnp TOPIC COUNT ENDPOINT...

ends after COUNT changes. A line `joined` on stderr says that ticks came from every endpoint: nothing
that is sent from then on is missed.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from itertools import islice
from typing import Any

import canonical
import capnp
import zmq

capnp.remove_import_hook()
FORMAT_MAJOR = 1
FEATURES = 0
"""No feature bit is known to this reader."""


class Refused(Exception):
    """A message that takes a newer reader."""


def main(schema: str, topic: str, count: str, *endpoints: str) -> None:
    """Print so many changes."""
    envelope = capnp.load(schema)
    left, senders = int(count), set[bytes]()
    with zmq.Context() as context, context.socket(zmq.SUB) as socket:
        socket.set_hwm(0)
        for endpoint in endpoints:
            socket.connect(endpoint)
        socket.subscribe(topic.encode())
        while left:
            # bytes, not views: those are aligned in memory, which Cap'n Proto wants.
            _topic, header_frame, columns, body = socket.recv_multipart()
            with envelope.Header.from_bytes(header_frame) as header:
                accept(header)
                kind, sender = canonical.name_of(header.kind), bytes(header.partition)
            if kind == "tick" and sender not in senders:
                senders.add(sender)
                if len(senders) == len(endpoints):
                    print("joined", file=sys.stderr, flush=True)
            if kind == "changes":
                for line in islice(changes(envelope, columns, body), left):
                    sys.stdout.buffer.write(line.encode() + b"\n")
                    left -= 1


def accept(header: Any) -> None:
    """Refuse a message that takes a newer reader."""
    if header.formatMajor > FORMAT_MAJOR:
        raise Refused(f"formatMajor {header.formatMajor}, and this reader knows {FORMAT_MAJOR}")
    if unknown := header.requiredFeatures & ~FEATURES:
        raise Refused(f"requiredFeatures {unknown:#x}, which this reader does not know")
    if canonical.name_of(header.bodyEncoding) != "none":
        raise Refused("a bodyEncoding that this reader does not know")


def changes(envelope: Any, columns: bytes, body: bytes) -> Iterator[str]:
    """The changes of a message, a line each."""
    with envelope.Columns.from_bytes(columns, traversal_limit_in_words=len(columns)) as found:
        shape = canonical.Shape(found)
    for record in envelope.DataChangeRecord.read_multiple_bytes(body, traversal_limit_in_words=len(body)):
        for mod in record.mods:
            yield canonical.line(record, mod, shape)


if __name__ == "__main__":
    try:
        main(*sys.argv[1:])
    except Refused as refused:
        sys.exit(f"consume: refused: {refused}: get a newer one")
