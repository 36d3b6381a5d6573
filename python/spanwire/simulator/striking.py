"""Faults at work: between the messages of a query and the server that sends them."""

from __future__ import annotations

import random
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any, Literal

from google.cloud.spanner_v1.types import PartialResultSet
from grpc import StatusCode

from spanwire.simulator import protobuf
from spanwire.simulator.chunking import cut, size
from spanwire.simulator.faults import Fault, FaultScript, Kind, Strike
from spanwire.simulator.queries import ChangeQuery
from spanwire.simulator.reading import Heartbeat
from spanwire.simulator.status import Refused, SessionLost, stamp

Partition = int | Literal["initial"]
_Result = PartialResultSet.pb(PartialResultSet()).__class__

_REFUSALS: dict[Kind, tuple[StatusCode, str]] = {
    "unavailable": (StatusCode.UNAVAILABLE, "The service is currently unavailable."),
    "aborted": (StatusCode.ABORTED, "The operation was aborted."),
    "resource_exhausted": (StatusCode.RESOURCE_EXHAUSTED, "Quota exceeded."),
    "deadline_exceeded": (StatusCode.DEADLINE_EXCEEDED, "Deadline Exceeded"),
    # What a client's gRPC makes of a stream that is reset; a server in Python cannot send the frame itself.
    "reset": (StatusCode.INTERNAL, "Received RST_STREAM with error code 2"),
    "unauthenticated": (
        StatusCode.UNAUTHENTICATED,
        "Request had invalid authentication credentials. Expected OAuth 2 access token, login cookie or "
        "other valid authentication credential.",
    ),
    "permission_denied": (
        StatusCode.PERMISSION_DENIED,
        "Caller is missing IAM permission spanner.databases.select on resource.",
    ),
    "partition_expired": (
        StatusCode.OUT_OF_RANGE,
        "This partition is no longer valid. All Change Stream records associated with this partition have "
        "expired and have been deleted, as specified by the Change Stream retention period.",
    ),
}


class Strikes:
    """A script at work. Thread-safe.

    `number` gives a partition's number by its token.
    """

    def __init__(self, script: FaultScript, number: Callable[[str], int]) -> None:
        self._script = script
        self._number = number
        self._queries: Counter[Partition] = Counter()
        self._lock = threading.Lock()
        self._struck: list[Strike] = []

    @property
    def struck(self) -> list[Strike]:
        """What struck so far, partition by partition, in each in order."""
        with self._lock:
            return sorted(self._struck, key=lambda one: (str(one.partition), one.query, one.message))

    def repeats(self, partition: int) -> bool:
        """Whether a partition names its children twice. Of all its queries: it is so written."""
        for place, fault in enumerate(self._script.faults):
            if fault.kind == "duplicate_children" and fault.partition in (None, partition):
                if fault.probability and not self._drawn(fault, place, (partition, 0, 0)):
                    continue
                self._note(Strike(fault.kind, partition, 0))
                return True
        return False

    def apply(self, query: ChangeQuery, messages: Iterator[bytes]) -> Iterator[bytes]:
        """The query's messages, until one of its faults ends them."""
        partition: Partition = "initial" if query.token is None else self._number(query.token)
        with self._lock:
            self._queries[partition] += 1
            at = (partition, self._queries[partition])
        number = beats = 1
        held: list[bytes] = []
        while True:
            fault = self._fault(at, number, heartbeat=False)
            if fault is not None and not fault.in_value:
                self._end(fault, at, number, query)
                return
            message = next(messages, None)
            if message is None:
                yield from held
                return
            if isinstance(message, Heartbeat):
                troubled = self._fault(at, beats, heartbeat=True)
                beats += 1
                if troubled is not None:
                    self._note(Strike(troubled.kind, *at, beats - 1))
                    emptied, beat = _without_rows(message)
                    held += [beat] if troubled.kind == "stale_heartbeat" else []
                    yield emptied
                    continue
            elif fault is not None:
                yield _first_part(message, self._rng(at, number))
                self._end(fault, at, number, query)
                return
            else:
                number += 1
            yield bytes(message)  # gRPC sends nothing that is derived from it
            if held and not _is_chunked(message):  # nothing comes between the parts of a value
                yield from held
                held.clear()

    # -------------------------------------------------------------- within

    def _fault(self, at: tuple[Partition, int], number: int, *, heartbeat: bool) -> Fault | None:
        """What strikes before a query's n-th message, or at its n-th heartbeat."""
        partition, query = at
        for place, fault in enumerate(self._script.faults):
            if fault.kind == "duplicate_children" or fault.kind.endswith("_heartbeat") is not heartbeat:
                continue
            if fault.partition not in (None, partition) or query < fault.query:
                continue
            if fault.queries and query >= fault.query + fault.queries:
                continue
            if self._drawn(fault, place, (*at, number)) if fault.probability else number == fault.message:
                return fault
        return None

    def _drawn(self, fault: Fault, place: int, at: tuple[Partition, int, int]) -> bool:
        return random.Random(f"{self._script.seed}/{place}/{at}").random() < fault.probability  # noqa: S311

    def _rng(self, at: tuple[Partition, int], number: int) -> random.Random:
        return random.Random(f"{self._script.seed}/cut/{at}/{number}")  # noqa: S311

    def _note(self, strike: Strike) -> None:
        with self._lock:
            self._struck.append(strike)

    def _end(self, fault: Fault, at: tuple[Partition, int], number: int, query: ChangeQuery) -> None:
        """End the stream: by a refusal, or cleanly."""
        self._note(Strike(fault.kind, *at, number))
        if fault.kind == "early_end":
            return
        if fault.kind == "session_lost":
            raise SessionLost
        if fault.kind == "expired":
            raise Refused(
                StatusCode.OUT_OF_RANGE,
                "Specified start_timestamp is too far in the past. Please specify a start_timestamp within "
                f"the earliest read timestamp: {stamp(query.start + 1_000_000_000)}. "
                f"Received start_timestamp: {stamp(query.start)}.",
            )
        raise Refused(*_REFUSALS[fault.kind])


def _without_rows(message: bytes) -> tuple[bytes, bytes]:
    """The message without its heartbeat, for metadata cannot be left out; and the heartbeat's own message."""
    result: Any = _Result.FromString(message)
    rows = [protobuf.framed(value.SerializeToString()) for value in result.values]
    del result.values[:]
    return bytes(result.SerializeToString()), protobuf.message(rows)


def _is_chunked(message: bytes) -> bool:
    """Whether its last value goes on in the next message."""
    result: Any = _Result.FromString(message)
    return bool(result.chunked_value)


def _first_part(message: bytes, rng: random.Random) -> bytes:
    """The message up to a place within its last value, without a resume token."""
    result: Any = _Result.FromString(message)
    if not result.values:
        return message
    tree = protobuf.decode(result.values[-1].SerializeToString())
    head, _ = cut(tree, rng.randrange(1, max(size(tree), 2)))
    result.values[-1].ParseFromString(protobuf.encode(head))
    result.chunked_value = True
    result.resume_token = b""
    return bytes(result.SerializeToString())
