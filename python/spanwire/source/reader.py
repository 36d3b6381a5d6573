"""One thread reads one partition: from its stream into the core, over every break, to its end."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass

import structlog

from spanwire._core import Partition, Pushed, Timestamp
from spanwire.errors import ClosedError, CorruptError, SourceError, SpanwireError, UndecodableError
from spanwire.records import PartitionRecord, short_token
from spanwire.source.connect import Connection
from spanwire.source.partitions import Ending, Endings, Reading, just_before, newborn
from spanwire.source.retry import FAULTS, Backoff, Doing, judge
from spanwire.source.stream import RawStream

_log = structlog.get_logger("spanwire.source")

_EMULATOR_TOKEN = b"dummy_resume_token"
"""The emulator sends the same resume token always: it marks no place."""


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
    children: list[PartitionRecord]
    """The partitions it ended in; none where it reached the requested end."""


@dataclass(frozen=True)
class Stopped:
    """A partition's reading was stopped, or failed for good."""

    token: str
    error: SpanwireError | None = None


Report = Callable[[Ended | Stopped], None]


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


@dataclass
class _Query:
    """One request of a partition: from `start`, or the same again behind a resume token."""

    start: Timestamp
    resume_token: bytes = b""
    attempt: int = 1
    session: str = ""


class Reader:
    """Reads one owned partition on a thread of its own, and reports once, at the end."""

    def __init__(self, job: Job, report: Report) -> None:
        self._job = job
        self._report = report
        self._stop = threading.Event()
        self._confirmed = threading.Event()
        self._lock = threading.Lock()
        self._stream: RawStream | None = None
        self._waiting_since: float | None = None
        self._children: dict[str, PartitionRecord] = {}
        self._newest = job.record.resume_at
        self._proved = job.record.position
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
        return self._proved

    def start(self) -> None:
        """Begin reading."""
        self._thread.start()

    def stop(self) -> None:
        """End reading soon; the report follows. From any thread."""
        self._stop.set()
        self._confirmed.set()
        self.interrupt()

    def interrupt(self) -> None:
        """Break the stream off, to be resumed: it has fallen silent."""
        with self._lock:
            if self._stream is not None:
                self._stream.cancel()

    def confirm(self) -> None:
        """The end that was reported is stored: the core may tell of it."""
        self._confirmed.set()

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
            ended = self._read()
        except ClosedError as error:
            self._report(Stopped(token, None if self._stop.is_set() else error))
        except SpanwireError as error:
            self._report(Stopped(token, self._located(error)))
        except Exception as error:  # a fault of ours must end the relay, not just this thread
            self._report(
                Stopped(token, SpanwireError(f"{self._doing().what}: {type(error).__name__}: {error}"))
            )
        else:
            self._report(Ended(token, list(self._children.values())) if ended else Stopped(token))
            if ended:
                self._finish()

    def _read(self) -> bool:
        """Read to the partition's end: True; False where reading was stopped before."""
        job, backoff, endings = self._job, Backoff(), Endings()
        query = _Query(job.record.resume_at)
        reading = Reading(self._newest, job.end)
        while not self._stop.is_set():
            newest = self._newest
            try:
                self._follow(query, reading)
            except FAULTS as error:
                if self._stop.is_set():
                    return False
                failure = judge(error, self._doing(query.start))
                if endings.confirming and failure.fields.get("code") == "OUT_OF_RANGE":
                    # A finished partition's very end lies outside of it: there is nothing more to say.
                    return True
                if self._newest > newest:
                    backoff.reset()
                query = self._after(failure, query)
                self._pause(backoff.next(failure), failure)
                continue
            if self._stop.is_set():
                return False
            job.partition.end_of_stream()
            if endings.ended(reading, Timestamp.now()) is not Ending.AGAIN:
                return True
            query = _Query(job.partition.restart())
            progressed = self._newest > newest
            reading = Reading(self._newest, job.end)
            if progressed:
                backoff.reset()
                continue
            if backoff.attempts >= _EMPTY_STREAMS:
                self.trouble = f"{self._doing().what}: its stream ends again and again without anything new"
            self._pause(backoff.next())
        return False

    def _follow(self, query: _Query, reading: Reading) -> None:
        """Push one stream to its clean end; faults of the stream are raised as they are."""
        job = self._job
        request = job.connection.query.request(job.record.token, query.start, job.end)
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
                    self._note(push([message]), reading)
                    self._waiting_since = time.monotonic()
            finally:
                self._waiting_since = None
                with self._lock:
                    self._stream = None

    def _note(self, pushed: Pushed, reading: Reading) -> None:
        self.trouble = None
        last = pushed.last
        for record in pushed.children:
            children = newborn(record.start, record.partitions)
            reading.saw(record.start, [child.token for child in children])
            for child in children:
                self._children.setdefault(child.token, child)
        reading.saw(last)
        if last is None:
            return
        self._newest = max(self._newest, last)
        proved = last if last == pushed.heartbeat else just_before(last)
        if proved >= self._job.record.start and (self._proved is None or proved > self._proved):
            self._proved = proved

    def _after(self, failure: SpanwireError, query: _Query) -> _Query:
        """The query to go on with; raises the failure where trying again does not help."""
        partition = self._job.partition
        if not failure.retryable:
            # A resume token may be refused for its age alone; reading afresh shows what is true.
            if query.resume_token and type(failure) is SourceError:
                return _Query(partition.restart())
            raise failure
        if failure.fields.get("session_lost"):
            self._job.connection.session.lost(query.session)
            return _Query(partition.restart())
        token = partition.resume().token
        if token is None or token.startswith(_EMULATOR_TOKEN):
            return _Query(partition.restart())
        return _Query(query.start, token, query.attempt + 1)

    def _pause(self, seconds: float, failure: SpanwireError | None = None) -> None:
        if failure is not None:
            self.trouble = str(failure)
            _log.warning(
                "reading a partition was interrupted, it goes on",
                partition=short_token(self._job.record.token),
                why=str(failure),
                wait_s=round(seconds, 3),
            )
        self._stop.wait(seconds)

    def _finish(self) -> None:
        """Tell the core that the partition has ended. Waits while an output is full: so it is done here."""
        self._confirmed.wait()
        if not self._stop.is_set():
            try:
                self._job.partition.finish(None if self._children else self._job.end)
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
