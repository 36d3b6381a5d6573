"""One thread reads one partition: from its stream into the core, over every break, to its end."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, replace

import structlog

from spanwire._core import Partition, Pushed, Timestamp
from spanwire.errors import (
    ClosedError,
    CorruptError,
    RetentionExpired,
    SourceError,
    SpanwireError,
    UnavailableError,
    UndecodableError,
)
from spanwire.records import PartitionRecord, short_token
from spanwire.source.connect import Connection
from spanwire.source.moves import Event, started
from spanwire.source.partitions import Ending, Endings, Reading, newborn
from spanwire.source.retry import FAULTS, Backoff, Doing, judge
from spanwire.source.stream import RawStream
from spanwire.timestamps import just_before

_log = structlog.get_logger("spanwire.source")

_EMULATOR_TOKEN = b"dummy_resume_token"
"""The emulator sends the same resume token always: it marks no place."""


_SILENT_S, _SILENT_HEARTBEATS = 20.0, 3
"""A stream that says nothing for so long, and misses so many heartbeats, is opened again."""

_EMPTY_STREAMS = 5
"""So many streams that bring nothing are worth a word: each alone may be a server that goes away."""

_ADVICE: dict[type[SpanwireError], str] = {
    CorruptError: "nothing of it counts as sent; when it comes again after a restart, report it",
    UndecodableError: 'nothing of it counts as sent; source.on_undecodable = "dead-letter" sends such '
    "changes on raw, to a topic of their own",
}


@dataclass(frozen=True)
class Ended:
    """A partition's reading came to its end. The core's partition is not finished yet."""

    token: str
    over: bool
    """It is over for good; else it reached the requested end."""
    children: list[PartitionRecord]
    """The partitions it ended in, as far as they have not been reported before."""


@dataclass(frozen=True)
class Paused:
    """A partition's reading stands at a record that others must know of before it goes on."""

    token: str
    children: list[PartitionRecord]
    """The partitions that a start record names: to be stored, and read."""
    event: Event | None
    """Key ranges that moved: to be waited for."""


@dataclass(frozen=True)
class Stopped:
    """A partition's reading was stopped, or failed for good."""

    token: str
    error: SpanwireError | None = None


Report = Callable[[Ended | Paused | Stopped], None]


@dataclass(frozen=True)
class Job:
    """What a reader is to read."""

    connection: Connection
    record: PartitionRecord
    """The partition, owned."""
    partition: Partition
    """The same in the core."""
    end: Timestamp | None
    """The requested end, inclusive."""
    count_partitions: Callable[[], int] = lambda: 1
    """How many are being read: of many, each says less often that it is idle. From any thread."""


@dataclass
class _Query:
    """One request of a partition, or the same again behind a resume token: so all else stays as it was."""

    start: Timestamp
    end: Timestamp | None
    heartbeat_ms: int
    resume_token: bytes = b""
    attempt: int = 1
    session: str = ""


class Reader:
    """Reads one owned partition on a thread of its own, and reports its pauses and, once, its end."""

    def __init__(self, job: Job, report: Report) -> None:
        self._job = job
        self._report = report
        self._stop = threading.Event()
        self._confirmed = threading.Event()
        self._gate = threading.Event()
        self._lock = threading.Lock()
        self._stream: RawStream | None = None
        self._waiting_since: float | None = None
        self.patience_s = _SILENT_S
        """Seconds in which its stream says something, if it is not dead although its connection is not."""
        self._children: dict[str, PartitionRecord] = {}
        self._newest = job.record.resume_at
        self._newest_met: Pushed | None = None
        """The push that met the newest; of several, one whose record says that nothing as old follows."""
        self._interrupted = False
        """Whether that was logged, and not yet that it is over."""
        self.trouble: str | None = None
        """Why it is not reading at the moment; None while it is."""
        self._thread = threading.Thread(
            target=self._run, name=f"reader-{short_token(job.record.token)}", daemon=True
        )

    @property
    def partition(self) -> Partition:
        """The core's partition that this reader pushes into."""
        return self._job.partition

    @property
    def proved(self) -> Timestamp | None:
        """Spanner has sent everything up to here: by its heartbeats, or as something later followed.

        None where that is not even its start.
        """
        record, met = self._job.record, self._newest_met
        if met is None or met.last is None:
            return record.position
        proved = met.last if met.last in (met.heartbeat, met.end) else just_before(met.last)
        if proved < record.start:
            return record.position
        return proved if record.position is None else max(proved, record.position)

    def start(self) -> None:
        """Begin reading."""
        self._thread.start()

    def stop(self) -> None:
        """End reading soon; the report follows. From any thread."""
        self._stop.set()
        self._confirmed.set()
        self._gate.set()
        self.interrupt()

    def interrupt(self) -> None:
        """Break the stream off, to be resumed: it has fallen silent."""
        with self._lock:
            if self._stream is not None:
                self._stream.cancel()

    def confirm(self) -> None:
        """The end that was reported is stored: the core may tell of it."""
        self._confirmed.set()

    def go_on(self) -> None:
        """What the last pause was for is done."""
        self._gate.set()

    def join(self, timeout: float) -> bool:
        """Wait for the thread; whether it has ended."""
        self._thread.join(timeout)
        return not self._thread.is_alive()

    def silent_for(self) -> float:
        """Seconds since Spanner last said anything, not counting time spent handing on."""
        since = self._waiting_since
        return 0.0 if since is None else time.monotonic() - since

    def _run(self) -> None:
        token = self._job.record.token
        try:
            ending = self._read()
        except ClosedError as error:
            self._report(Stopped(token, None if self._stop.is_set() else error))
        except SpanwireError as error:
            self._report(Stopped(token, self._located(error)))
        except Exception as error:  # a fault of ours must end the relay, not just this thread
            self._report(
                Stopped(token, SpanwireError(f"{self._doing().what}: {type(error).__name__}: {error}"))
            )
        else:
            if ending is None:
                self._report(Stopped(token))
                return
            over = ending is not Ending.END
            self._report(Ended(token, over, list(self._children.values())))
            self._finish(None if over else self._job.end)

    def _read(self) -> Ending | None:
        """Read to the partition's end: how it ended; None where reading was stopped before."""
        job, backoff, endings = self._job, Backoff(), Endings()
        query = self._query(job.record.resume_at)
        reading = Reading(self._newest, job.end)
        while not self._stop.is_set():
            newest = self._newest
            try:
                self._follow(query, reading)
            except (*FAULTS, UnavailableError) as error:
                if self._stop.is_set():
                    return None
                failure = judge(error, self._doing(query.start))
                if endings.confirming and failure.fields.get("code") == "OUT_OF_RANGE":
                    # A finished partition's very end lies outside of it: there is nothing more to say.
                    return Ending.CHILDREN
                if self._newest > newest:
                    backoff.reset()
                query = self._after(failure, query)
                self._pause(backoff.next(failure), failure)
                continue
            if self._stop.is_set():
                return None
            if (ending := endings.ended(reading, Timestamp.now())) is not Ending.AGAIN:
                return ending
            query = self._query(job.partition.restart())
            progressed = self._newest > newest
            reading = Reading(self._newest, job.end)
            if progressed:
                backoff.reset()
                continue
            if backoff.attempts >= _EMPTY_STREAMS:
                self.trouble = f"{self._doing().what}: its stream ends again and again without anything new"
            self._pause(backoff.next())
        return None

    def _query(self, start: Timestamp) -> _Query:
        """A fresh query from `start`, as far as Spanner lets one reach."""
        query = self._job.connection.query
        end = query.until(start, self._job.end, Timestamp.now())
        return _Query(start, end, query.heartbeat_of(self._job.count_partitions()))

    def _follow(self, query: _Query, reading: Reading) -> None:
        """Push one stream to its clean end; faults of the stream are raised as they are."""
        job = self._job
        request = job.connection.query.request(
            job.record.token, query.start, query.end, heartbeat_ms=query.heartbeat_ms
        )
        self.patience_s = max(_SILENT_S, _SILENT_HEARTBEATS * query.heartbeat_ms / 1000)
        request.resume_token = query.resume_token
        with RawStream(job.connection, request, query.attempt) as stream:
            query.session = stream.session
            with self._lock:
                self._stream = stream
            if self._stop.is_set():
                return
            push = job.partition.push
            self._waiting_since = time.monotonic()
            try:
                for message in stream:
                    self._waiting_since = None
                    pushed = push([message])
                    self._note(pushed, reading)
                    while pushed.paused:
                        self._stand_at(pushed)
                        if self._stop.is_set():
                            return
                        pushed = job.partition.proceed()
                        self._note(pushed, reading)
                    if reading.over:
                        return
                    self._waiting_since = time.monotonic()
            finally:
                self._waiting_since = None
                with self._lock:
                    self._stream = None
        try:
            job.partition.end_of_stream()
        except CorruptError as error:
            # Cut short by a server that went away: like any break, unless it comes again and again.
            raise UnavailableError(f"{self._doing().what}: {error}", unclear=True) from error

    def _stand_at(self, pushed: Pushed) -> None:
        """Report what the partition stands at, and wait until it may go on."""
        token, event = self._job.record.token, None
        children = [child for one in pushed.starts for child in started(one.start, one.tokens, token)]
        if (met := pushed.event) is not None:
            event = Event(token, met.commit_timestamp, tuple(met.sources))
        self._gate.clear()
        self._report(Paused(token, children, event))
        if not self._stop.is_set():  # who stops it sets that first, then the gate
            self._gate.wait()

    def _note(self, pushed: Pushed, reading: Reading) -> None:
        """Keep what a push met. This comes with every message: most bring nothing but changes."""
        if self.trouble is not None or self._interrupted:
            self.trouble = None
            self._say_over()
        if pushed.end is not None:
            reading.over = True
        for record in pushed.children:
            children = newborn(record.start, record.partitions)
            reading.saw(record.start, [child.token for child in children])
            for child in children:
                self._children.setdefault(child.token, child)
        last = pushed.last
        if last is None:
            return
        reading.saw(last)
        if last > self._newest:
            self._newest = last
            self._newest_met = pushed
        elif last == self._newest and last in (pushed.heartbeat, pushed.end):
            self._newest_met = pushed

    def _after(self, failure: SpanwireError, query: _Query) -> _Query:
        """The query to go on with; raises the failure where trying again does not help."""
        partition = self._job.partition
        if not failure.retryable:
            # A resume token may be refused for its age alone, or for that of the query it belongs to;
            # reading afresh from what was seen last shows what is true.
            if query.resume_token and type(failure) in (SourceError, RetentionExpired):
                return self._query(partition.restart())
            raise failure
        if failure.fields.get("session_lost"):
            self._job.connection.session.lost(query.session)
            return self._query(partition.restart())
        token = partition.resume().token
        if token is None or token.startswith(_EMULATOR_TOKEN):
            return self._query(partition.restart())
        return replace(query, resume_token=token, attempt=query.attempt + 1)

    def _pause(self, seconds: float, failure: SpanwireError | None = None) -> None:
        if failure is not None:
            self.trouble = str(failure)
            self._say_interrupted(failure)
        self._stop.wait(seconds)

    def _say_interrupted(self, failure: SpanwireError) -> None:
        """Once; until it is over, each further attempt is for who debugs."""
        say = _log.debug if self._interrupted else _log.warning
        self._interrupted = True
        say(
            "reading a partition was interrupted, it is tried again",
            partition=short_token(self._job.record.token),
            why=str(failure),
        )

    def _say_over(self) -> None:
        if self._interrupted:
            self._interrupted = False
            _log.info("reading a partition goes on", partition=short_token(self._job.record.token))

    def _finish(self, end: Timestamp | None) -> None:
        """Tell the core that the partition has ended. Waits while an output is full: so it is done here."""
        self._confirmed.wait()
        if not self._stop.is_set():
            try:
                self._job.partition.finish(end)
            except SpanwireError as error:
                if not self._stop.is_set():
                    self._report(Stopped(self._job.record.token, error))

    def _located(self, error: SpanwireError) -> SpanwireError:
        """The error with where it was met and what can be done, as far as it does not say so itself."""
        advice = _ADVICE.get(type(error))
        if advice is None:
            return error
        return type(error)(f"{self._doing().what}: {error}; {advice}", **error.fields)

    def _doing(self, start: Timestamp | None = None) -> Doing:
        token = self._job.record.token
        return Doing(f"reading partition {short_token(token)}", start, {"partition": token})
