"""The initial query: which partitions a stream has at a timestamp."""

from __future__ import annotations

import threading
from typing import Any

from spanwire._core import RecordReader, Timestamp
from spanwire.errors import CorruptError
from spanwire.records import PartitionRecord
from spanwire.source.connect import Connection
from spanwire.source.moves import started
from spanwire.source.partitions import newborn
from spanwire.source.retry import FAULTS, Backoff, Doing, judge
from spanwire.source.stream import RawStream

_EMPTY_ANSWERS = 3
"""So many answers without a partition are more than a server that goes away."""

_PATIENCE_S = 30.0
"""The initial query is short: one that takes longer, from its start on, is asked again."""


class Asking:
    """The initial query while it is asked: another thread may cancel it, and see what is wrong with it."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._stream: RawStream | None = None
        self._cancelled = False
        self.trouble: str | None = None
        """Why it has not been answered yet; None while nothing is wrong."""

    def cancel(self) -> None:
        """End it, and whatever would be asked after it. From any thread."""
        with self._lock:
            self._cancelled = True
            if self._stream is not None:
                self._stream.cancel()

    def messages(self, stream: RawStream) -> list[bytes]:
        """All messages of a stream; a fault of its own where it was cancelled."""
        with self._lock:
            self._stream = stream
            if self._cancelled:
                stream.cancel()
        try:
            return list(stream)
        finally:
            with self._lock:
                self._stream = None


def first_partitions(
    connection: Connection, start: Timestamp, stop: threading.Event, asking: Asking | None = None
) -> list[PartitionRecord]:
    """The partitions that a stream has at `start`, from the initial query; empty only when stopped.

    It is asked until an answer names all that were named before and no other: one that ends early looks
    like any other, and a partition that is missed here is missed for ever.

    Passing faults are waited out, with a word in `asking`; others are raised as SourceError. Who sets
    `stop` cancels `asking` too.
    """
    asking = asking or Asking()
    doing, backoff = Doing(f"asking for the first partitions of {connection.query.stream}", start), Backoff()
    roots: dict[str, PartitionRecord] = {}
    while not stop.is_set():
        session = ""
        try:
            end = connection.query.until(start, None, Timestamp.now())
            request = connection.query.request(None, start, end)
            # A start that lies ahead is answered when it has come.
            patience = _PATIENCE_S + max(0, start.seconds - Timestamp.now().seconds)
            with RawStream(connection, request, timeout_s=patience) as stream:
                session = stream.session
                found = RecordReader(connection.dialect, connection.mode).read(asking.messages(stream))
        except FAULTS as error:
            failure = judge(error, doing)
            if not failure.retryable:
                raise failure from error
            if failure.fields.get("session_lost"):
                connection.session.lost(session)
            asking.trouble = str(failure)
            stop.wait(backoff.next(failure))
            continue
        asking.trouble = None
        answer = {root.token: root for root in _roots(found)}
        if roots and answer.keys() == roots.keys():
            return list(roots.values())
        if not answer and backoff.attempts >= _EMPTY_ANSWERS:
            raise CorruptError(f"{doing.what}: Spanner names none")
        if roots or not answer:
            stop.wait(backoff.next())
        roots |= answer
    return []


def _roots(records: list[dict[str, Any]]) -> list[PartitionRecord]:
    roots: dict[str, PartitionRecord] = {}
    for record in records:
        if (born := record.get("child_partitions_record")) is not None:
            named = [(child["token"], child["parent_partition_tokens"]) for child in born["child_partitions"]]
            for root in newborn(born["start_timestamp"], named):
                roots.setdefault(root.token, root)
        if (born := record.get("partition_start_record")) is not None:
            for root in started(born["start_timestamp"], born["partition_tokens"]):
                roots.setdefault(root.token, root)
    return list(roots.values())
