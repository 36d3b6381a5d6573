"""A limit: a change stream read over gRPC in Python and dropped. A process of its own.

As the relay's readers read: a thread a partition, a bare channel with the same options, no deserialiser. It
says {"reading": <partitions>} once it asks for all of them and, when the last message has come,
{"last_at": <nanoseconds>} of the system's monotonic clock.
"""

from __future__ import annotations

import argparse
import json
import threading
import time
from collections.abc import Iterator

import grpc
from google.cloud.spanner_v1 import CreateSessionRequest, ExecuteSqlRequest, Session

from spanwire._core import RecordReader, Timestamp
from spanwire.source.channels import OPTIONS, OWN_THREAD
from spanwire.source.query import StreamQuery
from spanwire.source.stream import METHOD

_CREATE_SESSION = "/google.spanner.v1.Spanner/CreateSession"
_HEARTBEAT_MS = 1000


class BareReader:
    """Reads all partitions to a number of changes each."""

    def __init__(self, address: str, database: str, stream: str, changes: int) -> None:
        self._channel = grpc.insecure_channel(address, options=[*OPTIONS, *OWN_THREAD])
        self._query = StreamQuery("googlesql", stream, _HEARTBEAT_MS)
        self._changes = changes
        create = self._channel.unary_unary(
            _CREATE_SESSION, CreateSessionRequest.serialize, Session.deserialize
        )
        self._session = create(CreateSessionRequest(database=database)).name
        self._lock = threading.Lock()
        self.last_at = 0
        """When the last message came that any partition waited for."""

    def partitions(self) -> list[tuple[str, Timestamp]]:
        """The first partitions, from now on."""
        records = RecordReader("googlesql").read(list(self._messages(None, Timestamp.now())))
        return [
            (child["token"], record["child_partitions_record"]["start_timestamp"])
            for record in records
            for child in record["child_partitions_record"]["child_partitions"]
        ]

    def read(self, token: str, start: Timestamp) -> None:
        """Read one partition to its end, which is so many messages of as many changes as the first."""
        reader, messages = RecordReader("googlesql"), self._messages(token, start)
        changes = 0
        while not changes:
            found = (record.get("data_change_record") for record in reader.read([next(messages)]))
            changes = sum(len(record["mods"]) for record in found if record)
        left = -(-self._changes // changes) - 1
        if left:
            for _ in messages:
                left -= 1
                if not left:
                    break
        now = time.monotonic_ns()
        with self._lock:
            self.last_at = max(self.last_at, now)

    def _messages(self, token: str | None, start: Timestamp) -> Iterator[bytes]:
        read = self._channel.unary_stream(
            METHOD, request_serializer=ExecuteSqlRequest.serialize, response_deserializer=None
        )
        request = self._query.request(token, start)
        request.session = self._session
        messages: Iterator[bytes] = iter(read(request))
        return messages


def main() -> None:
    """Read, and say when it was done."""
    parser = argparse.ArgumentParser(description="A change stream, read and dropped.")
    parser.add_argument("--address", required=True)
    parser.add_argument("--database", required=True)
    parser.add_argument("--stream", required=True)
    parser.add_argument("--changes", type=int, required=True, help="in each partition")
    options = parser.parse_args()
    reader = BareReader(options.address, options.database, options.stream, options.changes)
    partitions = reader.partitions()
    threads = [threading.Thread(target=reader.read, args=each, daemon=True) for each in partitions]
    for thread in threads:
        thread.start()
    print(json.dumps({"reading": len(partitions)}), flush=True)
    for thread in threads:
        thread.join()
    print(json.dumps({"last_at": reader.last_at}), flush=True)


if __name__ == "__main__":
    main()
