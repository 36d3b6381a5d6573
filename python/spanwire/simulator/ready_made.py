"""Ready-made messages: no commits, no workload, only bytes as fast as gRPC takes them. For benches.

What is real: the records are well-formed, their columns, values and counts are those of a table of the
built-in workload's kind, every record has a timestamp, a transaction and thus versions of its own, and
timestamps rise in each partition. What is not: keys and values repeat from message to message (one
message is encoded once; then only timestamps and transaction ids are written into it), each record is
a transaction of its own, and no ground truth is kept.

Record i, from 1, of a partition has the timestamp S + i microseconds, where S is the start of the
initial query that named the partition, and its transaction id follows from partition and i. So a range
read again holds the same records. Partitions do not end. Every message carries a resume token: official
clients hand nothing on before one comes.

With a `rate` the timestamps are those of a schedule (`schedule.py`) that begins at S, and a record goes out
when its timestamp has come, whatever became of those before it: an open loop. What holds up the server,
gRPC or a reader makes records late; none is put off, or left out, to suit who is slow. Several go out in
one message, of up to `message_bytes`, where they are late, and where all are due within a millisecond:
a message each would measure gRPC's work per message and nothing else.
"""

from __future__ import annotations

import base64
import datetime
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from decimal import Decimal

from spanwire.simulator import protobuf
from spanwire.simulator.arguments import check
from spanwire.simulator.clock import MICROSECOND
from spanwire.simulator.commits import Commits
from spanwire.simulator.config import ReadyMade, SimulatorConfig
from spanwire.simulator.queries import ChangeQuery
from spanwire.simulator.records import ChildRecord, DataRecord, Encoder, ImmutableEncoder, Mod
from spanwire.simulator.schedule import Schedule
from spanwire.simulator.schema import Column, Table
from spanwire.simulator.status import closing, invalid
from spanwire.simulator.values import Instant

TABLE = Table(
    "orders",
    (
        Column("customer", "STRING", key=True),
        Column("number", "INT64", key=True),
        Column("status", "STRING"),
        Column("note", "STRING"),
        Column("total", "NUMERIC"),
        Column("weight", "FLOAT64"),
        Column("express", "BOOL"),
        Column("placed", "TIMESTAMP"),
        Column("due", "DATE"),
        Column("tags", "STRING", array=True),
    ),
)

# What is written over in the template. Both are as long as what takes their place.
_TIME = 978_307_200_123_456_000
_TIME_TEXT = b"2001-01-01T00:00:00.123456Z"
_TRANSACTION = "0000000000000000001="
_TOKEN = "ready-made"  # noqa: S105
_RESUME_TOKEN = 4  # PartialResultSet's field

_NANOS = 1_000_000_000
_ENDLESS = 1 << 60
_BUNDLE_US = 1000
"""With a rate: the first record due waits so long for others at the most."""
_GLANCE_S = 0.05
"""How long a wait goes without a look whether it has become pointless."""


_Write = Callable[[int, int], bytes]
"""A message of so many records from one on."""


class ReadyMadeReader:
    """Answers change-stream queries with ready-made messages. Thread-safe."""

    def __init__(
        self, config: SimulatorConfig, ready: ReadyMade, encoder: ImmutableEncoder, commits: Commits
    ) -> None:
        self._ready = ready
        self._encoder = encoder
        self._commits = commits
        self._config = config
        self._template = _Template.of(ready, encoder)
        self._changes = ready.changes
        self._released = threading.Event()
        self._held = 0
        self._lock = threading.Lock()
        if not ready.hold:
            self._released.set()
        self.closed = False

    @property
    def message_bytes(self) -> int:
        """Size of each full message."""
        return self._template.size

    @property
    def held(self) -> int:
        """How many queries stand where their messages are held back."""
        return self._held

    def hold(self, changes: int) -> None:
        """Hold the messages of queries that come from now on back, so many changes in each partition."""
        self._changes, self._released = changes, threading.Event()

    def release(self) -> None:
        """Let the messages go."""
        self._released.set()

    def read(self, query: ChangeQuery, resume: bytes, active: Callable[[], bool]) -> Iterator[bytes]:
        """The query's messages: after them heartbeats, until the requested end or the client goes."""
        check(query, self._config, self._commits.created, self._commits.now())
        if query.token is None:
            yield self._initial(query.start)
            return
        number, base = _parsed(query.token)
        schedule = self._schedule(number, base)
        first = _resumed(resume) if resume else schedule.last_until(query.start - 1) + 1
        yield protobuf.message((), metadata=self._encoder.metadata, token=_token(first))
        changes, released = self._changes, self._released
        if not released.is_set():
            self._stand(1)
            try:
                yield from self._beat(query, active, first, until=released)
            finally:
                self._stand(-1)
        last = changes // self._ready.changes_per_record if changes else _ENDLESS
        if query.end is not None:
            last = min(last, schedule.last_until(query.end))
        records = range(first, max(first, last + 1))
        write = self._template.writer(number, schedule)
        if self._ready.rate:
            yield from self._paced(query, active, schedule, records, write)
        else:
            most = self._template.records
            for first_of_message in records[::most]:
                yield write(first_of_message, min(most, records.stop - first_of_message))
        yield from self._beat(query, active, records.stop, until=None)

    def _schedule(self, partition: int, base: int) -> Schedule:
        if not self._ready.rate:
            return Schedule(base)
        return Schedule(base, self._ready.step, self._config.partitions, partition)

    def _paced(
        self,
        query: ChangeQuery,
        active: Callable[[], bool],
        schedule: Schedule,
        records: range,
        write: _Write,
    ) -> Iterator[bytes]:
        """Messages of records as they fall due."""
        bundle = max(1, int(_BUNDLE_US / (self._ready.step * self._config.partitions)))
        while records:
            yield from self._await(query, active, schedule, records[:bundle])
            if not active():
                return
            due = schedule.last_until(time.time_ns()) + 1 - records.start
            if (count := min(due, self._template.records, len(records))) > 0:
                yield write(records.start, count)
                records = records[count:]

    def _await(
        self, query: ChangeQuery, active: Callable[[], bool], schedule: Schedule, records: range
    ) -> Iterator[bytes]:
        """Until all of these are due, or the client has gone; meanwhile heartbeats."""
        heard = time.monotonic()
        while (left := schedule.at(records[-1]) - time.time_ns()) > 0 and active():
            if self.closed:
                raise closing()
            time.sleep(min(left / _NANOS, _GLANCE_S))
            if time.monotonic() - heard >= query.heartbeat / 1000:
                at = min(self._commits.now(), schedule.at(records[0]) - MICROSECOND)
                beat = protobuf.framed(self._encoder.heartbeat(at))
                yield protobuf.message([beat], token=_token(records[0]))
                heard = time.monotonic()

    def _initial(self, start: int) -> bytes:
        rows = [
            protobuf.framed(
                self._encoder.children(
                    ChildRecord(start, f"{number:08d}", [(f"{_TOKEN}-{number}-{start}", ())])
                )
            )
            for number in range(self._config.partitions)
        ]
        return protobuf.message(rows, metadata=self._encoder.metadata)

    def _stand(self, more: int) -> None:
        with self._lock:
            self._held += more

    def _beat(
        self, query: ChangeQuery, active: Callable[[], bool], following: int, until: threading.Event | None
    ) -> Iterator[bytes]:
        while active() and not (until is not None and until.is_set()):
            if self.closed:
                raise closing()
            now = self._commits.now()
            done = until is None and query.end is not None and now >= query.end
            at = now if query.end is None else min(now, query.end)
            # Held back, nothing may be promised beyond the start: the records are still to come.
            at = query.start if until is not None else at
            beat = protobuf.framed(self._encoder.heartbeat(at))
            yield protobuf.message([beat], token=_token(following))
            if done:
                return
            self._sleep(query, active, until)

    def _sleep(self, query: ChangeQuery, active: Callable[[], bool], until: threading.Event | None) -> None:
        left = query.heartbeat / 1000
        if query.end is not None and until is None:
            left = min(left, (query.end - time.time_ns()) / _NANOS)
        wake = time.monotonic() + left
        while active() and not self.closed and time.monotonic() < wake:
            if until is not None and until.wait(0.05):
                return
            if until is None:
                time.sleep(0.05)


def _parsed(token: str) -> tuple[int, int]:
    try:
        name, number, base = token.rsplit("-", 2)
        if name == _TOKEN:
            return int(number), int(base)
    except ValueError:
        pass
    raise invalid("Specified partition_token is invalid, as it does not belong to the Change Stream.")


def _token(following: int) -> bytes:
    """The resume token of a message: the number of the record that follows on it. Always as long."""
    return b"%016d" % following


def _resumed(token: bytes) -> int:
    if not token.isdigit():
        raise invalid("The resume_token does not belong to this query.")
    return int(token)


@dataclass(frozen=True, slots=True)
class _Template:
    """A message cut where timestamps and transaction ids stand: `parts` lie around them, in turn."""

    parts: list[bytes]
    records: int

    @property
    def size(self) -> int:
        """Bytes of the message, without its resume token."""
        return sum(map(len, self.parts)) + self.records * (len(_TIME_TEXT) + len(_TRANSACTION))

    @classmethod
    def of(cls, ready: ReadyMade, encoder: Encoder) -> _Template:
        """The template of one message, made by the ordinary encoder."""
        row = protobuf.framed(encoder.data(_record(ready)))
        records = max(1, -(-ready.message_bytes // len(row)))
        # The encoders write transaction id and timestamp in different orders; both must be there once.
        pieces = row.replace(_TIME_TEXT, b"\x00T\x00").replace(_TRANSACTION.encode(), b"\x00I\x00")
        around = pieces.split(b"\x00T\x00")
        if len(around) != 2 or pieces.count(b"\x00I\x00") != 1:
            raise AssertionError("the template holds one timestamp and one transaction id")
        before, after = around
        if b"\x00I\x00" not in after:
            raise AssertionError("the timestamp comes first")
        middle, end = after.split(b"\x00I\x00")
        parts = [before, middle]
        for _ in range(records - 1):
            parts += [end + before, middle]
        return cls([*parts, end], records)

    def writer(self, partition: int, schedule: Schedule) -> _Write:
        """What makes messages, of as many records as the template has at the most."""
        whole = len(self.parts) * 2
        filled: list[bytes] = [b""] * whole
        filled[0::2] = self.parts
        text = _Seconds().text
        prefix = f"{partition % 1000:03d}".encode()
        at = schedule.at

        def write(first: int, count: int) -> bytes:
            place = 1
            for number in range(first, first + count):
                filled[place] = text(at(number))
                filled[place + 2] = b"%s%016d=" % (prefix, number)
                place += 4
            filled[-1] = protobuf.field(_RESUME_TOKEN, _token(first + count))
            if count == self.records:
                return b"".join(filled)
            # The parts after the last record's: its end without the next one's beginning.
            return b"".join([*filled[: place - 1], self.parts[-1], filled[-1]])

        return write


class _Seconds:
    """Timestamps as text with six digits, quick within one second."""

    def __init__(self) -> None:
        self._second = -1
        self._text = b""

    def text(self, nanos: int) -> bytes:
        """The timestamp's text; always as long."""
        second, rest = divmod(nanos, 1_000_000_000)
        if second != self._second:
            moment = datetime.datetime.fromtimestamp(second, datetime.UTC)
            self._second, self._text = second, moment.strftime("%Y-%m-%dT%H:%M:%S.").encode()
        return b"%s%06dZ" % (self._text, rest // 1000)


def _record(ready: ReadyMade) -> DataRecord:
    """The one record that is repeated, its notes as long as the wanted size of a change asks."""
    mods = [_mod(number, ready.change_bytes) for number in range(ready.changes_per_record)]
    names = TABLE.key_names + TABLE.value_names
    return DataRecord(_TIME, "00000000", _TRANSACTION, True, TABLE, names, mods, "INSERT", "NEW_ROW", 1, 1)


def _mod(number: int, size: int) -> Mod:
    fixed = 250  # about what keys, names and the other values take
    note = base64.b64encode(number.to_bytes(4, "big") * (max(size - fixed, 0) // 5)).decode()
    new = {
        "status": ("new", "paid", "shipped")[number % 3],
        "note": note,
        "total": Decimal(1999 + number).scaleb(-2),
        "weight": 0.25 + number,
        "express": number % 2 == 0,
        "placed": Instant(1_700_000_000 + number, 120_000_000),
        "due": datetime.date(2026, 1, 1 + number % 28),
        "tags": ["gift", None, "é"],
    }
    return Mod({"customer": f"customer-{number:05d}", "number": number}, new, {})
