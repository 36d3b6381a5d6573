"""The snapshots that peers asked for: tables at one timestamp, then their changes are a replay from there.

Parts are read by several threads, into a pipeline of their own whose one output is a ring that waits for its
reader: so memory is bounded, and a part is finished once the last of its messages was sent.
"""

from __future__ import annotations

import queue
import threading
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import structlog

from spanwire._core import Message, Pipeline, Timestamp
from spanwire.config import Config, OutputConfig
from spanwire.errors import ClosedError, RetentionExpired, SourceError, SpanwireError
from spanwire.relay.rereading import ring_pipeline
from spanwire.router import Handler, Refusal, Sending
from spanwire.router.sending import end_with
from spanwire.source.connect import Connection, connect
from spanwire.source.cut import Cut, OtherStream, Part
from spanwire.source.snapshot import PartsLost, TableReads

_log = structlog.get_logger("spanwire.relay")

_WAIT_S = 0.05
_FUTURE_S = 60


@dataclass(frozen=True)
class WantedSnapshot:
    """What one peer asks for."""

    output: int
    """The output whose topics, choice and values it has."""
    topics: tuple[bytes, ...] = (b"",)
    tables: tuple[str, ...] = ()
    """None: all that the stream watches."""
    at: Timestamp | None = None
    """None: now."""
    cut: Cut | None = None
    """What is left of an earlier one."""


class Snapshots:
    """Serves snapshots, each from threads of its own, a few at a time, until `close`."""

    def __init__(self, config: Config, output: OutputConfig, stream: bytes) -> None:
        source = config.source
        tag = f"{source.request_tag[:41]}-snapshot" if source.request_tag else ""
        self._config = config
        self._source = source.model_copy(update={"priority": "low", "request_tag": tag})
        self._output = output
        self._stream = stream
        self._lock = threading.Lock()
        self._running: dict[threading.Thread, threading.Event] = {}
        self._connection: Connection | None = None
        self._connecting = threading.Lock()
        self._closed = False
        self.served = 0
        """Snapshots that came to their end."""

    def handler(
        self, lane: Callable[[dict[str, Any]], OutputConfig], may: Callable[[str, OutputConfig], bool]
    ) -> Handler:
        """Who serves requests of kind snapshot. `lane` finds their output, `may` whether it has a topic."""

        def serve(request: dict[str, Any], sending: Sending) -> None:
            output = lane(request)
            for topic in request["topics"]:
                if not may(topic, output):
                    text = f'no topic of output {request["output"]} begins with "{topic[:200]}"'
                    raise Refusal("unknownTopic", text)
            self.ask(self._wanted(request), sending)

        return serve

    def ask(self, wanted: WantedSnapshot, sending: Sending) -> None:
        """Have it served. Never waits. Refusal "busy" when too many run."""
        with self._lock:
            if self._closed:
                raise Refusal("stopping", "the relay stops; ask again, or another one")
            if len(self._running) >= self._output.max_snapshots:
                raise Refusal("busy", f"{len(self._running)} snapshots run; ask again later")
            stop = threading.Event()
            thread = threading.Thread(
                target=self._serve, args=(wanted, sending, stop), name="snapshot", daemon=True
            )
            self._running[thread] = stop
        thread.start()

    def stats(self) -> dict[str, int]:
        """How many run, and were served."""
        with self._lock:
            return {"running": len(self._running), "served": self.served}

    def close(self) -> None:
        """End them all. Who they were for is told by the router."""
        with self._lock:
            self._closed = True
            threads = list(self._running)
            for stop in self._running.values():
                stop.set()
        for thread in threads:
            thread.join()
        if self._connection is not None:
            self._connection.close()

    def _wanted(self, request: dict[str, Any]) -> WantedSnapshot:
        at, cut = request["at"], None
        if request["reason"]:
            try:
                cut = Cut.decode(request["reason"], self._stream)
            except OtherStream as error:
                raise Refusal("otherStream", f"the snapshot to go on with: {error}") from None
            except ValueError as error:
                raise Refusal("malformed", f"the snapshot to go on with: {error}") from None
            at = cut.at
        now = Timestamp.now()
        if at is not None and at > Timestamp(now.seconds + _FUTURE_S, now.nanos):
            raise Refusal("future", f"at, {at}, lies in the future; it is {now}")
        topics = tuple(topic.encode() for topic in request["topics"]) or (b"",)
        return WantedSnapshot(request["output"], topics, tuple(request["tables"]), at, cut)

    def _serve(self, wanted: WantedSnapshot, sending: Sending, stop: threading.Event) -> None:
        try:
            _Snapshot(self, wanted, sending, self._connect(), stop).run()
        except RetentionExpired as error:
            sending.refused("gone", str(error), error.fields.get("lost_to"))
        except Exception as error:
            end_with(sending, error, "snapshot")
        finally:
            with self._lock:
                self._running.pop(threading.current_thread(), None)
                self.served += 1

    def _connect(self) -> Connection:
        """The connection that all snapshots share, made by the first one."""
        with self._connecting:
            if self._connection is None:
                self._connection = connect(self._source)
            return self._connection


class _Snapshot:
    """One of them, on its way to its peer."""

    def __init__(
        self,
        service: Snapshots,
        wanted: WantedSnapshot,
        sending: Sending,
        connection: Connection,
        stop: threading.Event,
    ) -> None:
        self._config, self._stream = service._config, service._stream
        self._readers = service._output.snapshot_readers
        self._wanted, self._sending, self._stop = wanted, sending, stop
        self._reads = TableReads(connection, service._source, data_boost=service._output.data_boost)
        self._rows = 0

    def run(self) -> None:
        """Send it all."""
        wanted, reads = self._wanted, self._reads
        if wanted.cut is not None:
            reads.go_on(wanted.cut)
        else:
            reads.begin(wanted.at, list(wanted.tables))
        self._rows = reads.cut.rows
        self._tell()
        in_vain = False
        while not self._stop.is_set() and not self._sending.over:
            before = reads.cut.parts_done
            lost = self._run_parts()
            if lost is None:
                break
            if in_vain and reads.cut.parts_done == before:
                raise lost
            in_vain = reads.cut.parts_done == before
            _log.warning("the parts of a snapshot are lost; what is not finished is read anew", why=str(lost))
            reads.part_anew()
        if not self._stop.is_set():
            self._tell()
            self._sending.done(reads.cut.at)

    def _run_parts(self) -> PartsLost | None:
        """Read the parts that are left; what they were lost by, if they were."""
        run = _Run(self._reads, ring_pipeline(self._config, self._wanted.output), self._stop)
        try:
            with run.pipeline:
                run.start(self._readers)
                self._send_all(run)
        finally:
            run.end()
        if run.failure is None or isinstance(run.failure, PartsLost):
            return run.failure
        raise run.failure

    def _send_all(self, run: _Run) -> None:
        """Send what comes, until all parts are finished, one fails, or nobody wants it any more."""
        tick = f"{self._config.source.database}/{self._config.source.stream}/_tick/".encode()
        taken = run.pipeline.ring(0).reader()
        while not (self._stop.is_set() or self._sending.over):
            failed, over = run.failure is not None, run.over
            for frames in taken.read(_WAIT_S):
                if frames[0] == tick:
                    continue
                message = Message.decode(frames)
                self._rows += message.count
                run.sent[message.partition] += 1
                run.rows[message.partition] += message.count
                if frames[0].startswith(self._wanted.topics):
                    try:
                        self._sending.send(frames)
                    except ClosedError:
                        return
            if run.take_finished():
                self._tell()
            if failed or (over and not run.finished):
                return

    def _tell(self) -> None:
        """Progress, with what a snapshot that is cut off here goes on from."""
        cut = self._reads.cut
        text = f"{cut.parts_done}/{cut.parts_total} {cut.encode(self._stream)}"
        self._sending.progress(cut.at, rows_done=self._rows, text=text)


class _Run:
    """The threads that read the parts of one transaction."""

    def __init__(self, reads: TableReads, pipeline: Pipeline, stop: threading.Event) -> None:
        self._reads, self._stop = reads, stop
        self._ended = threading.Event()
        self._left: queue.SimpleQueue[Part] = queue.SimpleQueue()
        self._threads: list[threading.Thread] = []
        self.pipeline = pipeline
        self.sent: Counter[bytes] = Counter()
        """Messages taken out of the ring, by the partition that they name."""
        self.rows: Counter[bytes] = Counter()
        """The same, in rows."""
        self.finished: dict[bytes, tuple[Part, int]] = {}
        """Parts that were read to their end, with the number of their messages, which may not be sent yet."""
        self.failure: SpanwireError | None = None

    def start(self, readers: int) -> None:
        """Read them all."""
        parts = list(self._reads.cut.parts)
        for part in parts:
            self._left.put(part)
        for number in range(min(readers, len(parts))):
            thread = threading.Thread(target=self._read, name=f"snapshot-{number}", daemon=True)
            self._threads.append(thread)
            thread.start()

    @property
    def over(self) -> bool:
        """Whether nothing more is read."""
        return not any(thread.is_alive() for thread in self._threads)

    def take_finished(self) -> bool:
        """Take the parts that were sent in full out of what is left; whether there were any."""
        done = [key for key, (_, messages) in list(self.finished.items()) if self.sent[key] >= messages]
        cut = self._reads.cut
        for key in done:
            part, _ = self.finished.pop(key)
            cut.parts.remove(part)
            cut.parts_done += 1
            cut.rows += self.rows.pop(key, 0)
        return bool(done)

    def end(self) -> None:
        """Stop the threads; the pipeline is closed, so none waits for the ring."""
        self._ended.set()
        self._reads.cancel()
        for thread in self._threads:
            thread.join()

    def _read(self) -> None:
        cut, tables = self._reads.cut, self._reads.tables
        try:
            while not (self._stop.is_set() or self._ended.is_set() or self.failure):
                try:
                    part = self._left.get_nowait()
                except queue.Empty:
                    return
                columns = [
                    (one.name, one.is_primary_key, one.ordinal_position) for one in tables[part.table].columns
                ]
                rows = self.pipeline.table(part.table, columns, part=str(part.number), at=cut.at)
                messages = self._reads.read(part, rows, self._ended)
                if messages is not None:
                    self.finished[rows.partition] = (part, messages)
        except ClosedError:
            return
        except SpanwireError as error:
            self.failure = self.failure or error
        except Exception as error:
            self.failure = SourceError(f"internal error: {type(error).__name__}: {error}")
            raise
