"""The initial query: which partitions a stream has at a timestamp."""

from __future__ import annotations

import threading
from typing import Any

from spanwire._core import RecordReader, Timestamp
from spanwire.errors import CorruptError
from spanwire.records import PartitionRecord
from spanwire.source.connect import Connection
from spanwire.source.partitions import newborn
from spanwire.source.retry import FAULTS, Backoff, Doing, judge
from spanwire.source.stream import RawStream


def first_partitions(
    connection: Connection, start: Timestamp, stop: threading.Event
) -> list[PartitionRecord]:
    """The partitions that a stream has at `start`, from the initial query; empty only when stopped.

    Passing faults are waited out; others are raised as SourceError.
    """
    doing, backoff = Doing(f"asking for the first partitions of {connection.query.stream}", start), Backoff()
    while not stop.is_set():
        session = ""
        try:
            with RawStream(connection, connection.query.request(None, start)) as stream:
                session = stream.session
                found = RecordReader(connection.dialect).read(list(stream))
        except FAULTS as error:
            failure = judge(error, doing)
            if not failure.retryable:
                raise failure from error
            if failure.fields.get("session_lost"):
                connection.session.lost(session)
            stop.wait(backoff.next(failure))
            continue
        roots = _roots(found)
        if not roots:
            raise CorruptError(f"{doing.what}: Spanner names none")
        return roots
    return []


def _roots(records: list[dict[str, Any]]) -> list[PartitionRecord]:
    roots: dict[str, PartitionRecord] = {}
    for record in records:
        if (born := record.get("child_partitions_record")) is not None:
            named = [(child["token"], child["parent_partition_tokens"]) for child in born["child_partitions"]]
            for root in newborn(born["start_timestamp"], named):
                roots.setdefault(root.token, root)
    return list(roots.values())
