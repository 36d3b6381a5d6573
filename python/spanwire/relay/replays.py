"""The re-reads that peers asked for: a few at a time, the others in a queue; equal ones share one read."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import structlog

from spanwire._core import Message, Timestamp
from spanwire.config import Config
from spanwire.errors import ClosedError, RetentionExpired
from spanwire.relay.rereading import Range, Rereading
from spanwire.router import Refusal, Sending
from spanwire.router.sending import end_with
from spanwire.source.connect import Connection, connect
from spanwire.source.retention import oldest_to_ask_for

_log = structlog.get_logger("spanwire.relay")

_PROGRESS_S = 0.2
_PACED_BATCHES_PER_S = 10
_LOOK_S = 0.1


@dataclass(frozen=True)
class Wanted:
    """What one peer asks to be read again."""

    range: Range
    topics: tuple[bytes, ...] = (b"",)
    """The beginnings of the topics it takes."""
    rate: int = 0
    """Changes a second; 0: as fast as they come."""
    limit: int = 0
    """It ends behind the message that brings them to so many changes; 0: at the range's end."""

    @property
    def shareable(self) -> bool:
        """Whether others may be served by the same read."""
        return not (self.rate or self.limit)


@dataclass(eq=False)
class _Job:
    """One read, and whom it is for."""

    first: Wanted
    peers: list[tuple[Wanted, Sending]] = field(default_factory=list)
    told: Timestamp | None = None
    told_at: float = 0.0
    sent: int = 0
    """Changes that were sent, whoever took them."""
    next_at: float = 0.0

    def drop_who_left(self) -> bool:
        """Whether anybody is left."""
        self.peers = [(wanted, sending) for wanted, sending in self.peers if not sending.over]
        return bool(self.peers)


class Replays:
    """Serves replays from threads of its own, until `close`.

    They read over a connection of their own, with Spanner's low priority: the live flow does not wait for
    them. Each takes one of the 20 readers that Spanner allows a partition.
    """

    def __init__(self, config: Config, *, at_once: int, queued: int) -> None:
        source = config.source
        self._config = config
        # The same tag with an ending, so that Spanner's query statistics tell them apart.
        tag = f"{source.request_tag[:43]}-replay" if source.request_tag else ""
        self._source = source.model_copy(update={"priority": "low", "request_tag": tag})
        self._at_once, self._most_queued = at_once, queued
        self._changed = threading.Condition()
        self._queue: deque[_Job] = deque()
        self._running: dict[_Job, Rereading | None] = {}
        self._threads: list[threading.Thread] = []
        self._connection: Connection | None = None
        self._connecting = threading.Lock()
        self._closed = False
        self.served = 0
        """Reads that came to their end."""

    def ask(self, wanted: Wanted, sending: Sending) -> None:
        """Have it served, soon or when its turn comes. Never waits. Refusal "busy" when too many wait."""
        if wanted.range.until <= wanted.range.after:
            sending.done(wanted.range.after)
            return
        with self._changed:
            self._queue = deque(job for job in self._queue if job.drop_who_left())
            for job in self._queue:
                if job.first.range == wanted.range and job.first.shareable and wanted.shareable:
                    job.peers.append((wanted, sending))
                    break
            else:
                waiting = sum(other.peer == sending.peer for job in self._queue for _, other in job.peers)
                if waiting > self._most_queued // 2:
                    # The rest of the queue is for others.
                    raise Refusal("tooMany", f"{waiting} replays of yours wait; ask again when they are done")
                if len(self._queue) >= self._most_queued + self._at_once - len(self._running):
                    text = f"{len(self._running)} replays run and {len(self._queue)} wait; ask again later"
                    raise Refusal("busy", text)
                self._queue.append(_Job(wanted, [(wanted, sending)]))
                if len(self._threads) < self._at_once:
                    name = f"replay-{len(self._threads)}"
                    self._threads.append(threading.Thread(target=self._serve, name=name, daemon=True))
                    self._threads[-1].start()
            self._changed.notify()
        # It is told that it was taken, whether it waits or not.
        sending.progress(wanted.range.after)

    def stats(self) -> dict[str, int]:
        """How many run, wait, and were served."""
        with self._changed:
            return {"running": len(self._running), "queued": len(self._queue), "served": self.served}

    def close(self) -> None:
        """End them all. Who they were for is told by the router."""
        with self._changed:
            self._closed = True
            for reading in self._running.values():
                if reading is not None:
                    reading.stop()
            self._changed.notify_all()
        for thread in self._threads:
            thread.join()
        if self._connection is not None:
            self._connection.close()

    def _serve(self) -> None:
        while (job := self._next()) is not None:
            began = time.monotonic()
            told = {**_told(job.first), "peers": [sending.peer.hex() for _, sending in job.peers]}
            try:
                ended = self._run(job)
            except RetentionExpired as error:
                ended = "gone"
                retention = self._connect().retention
                oldest = oldest_to_ask_for(error.fields.get("lost_to"), retention, Timestamp.now())
                told["oldest"] = str(oldest)
                text = f"the stream keeps its changes no longer than from {oldest} on"
                for _, sending in job.peers:
                    sending.refused("gone", text, oldest)
            except Exception as error:
                ended = "failed"
                for _, sending in job.peers:
                    end_with(sending, error, "replay")
            finally:
                with self._changed:
                    self._running.pop(job, None)
                    self.served += 1
                    self._changed.notify_all()
            seconds = round(time.monotonic() - began, 3)
            _log.info("a replay ended", **told, ended=ended, changes=job.sent, seconds=seconds)

    def _next(self) -> _Job | None:
        """The next job whose turn it is; None at the end. Paced ones leave a place for those that are not."""
        with self._changed:
            while not self._closed:
                paced = sum(one.first.rate > 0 for one in self._running)
                for job in list(self._queue):
                    if not job.drop_who_left():
                        self._queue.remove(job)
                    elif not job.first.rate or paced < max(1, self._at_once - 1):
                        self._queue.remove(job)
                        self._running[job] = None
                        return job
                self._changed.wait()
            return None

    def _connect(self) -> Connection:
        """The connection that all replays share, made by the first one."""
        with self._connecting:
            if self._connection is None:
                self._connection = connect(self._source)
            return self._connection

    def _run(self, job: _Job) -> str:
        """Serve it; how it ended: "done", "left" when nobody wants it any more, "stopped" by `close`."""
        reading = Rereading(self._config, self._connect(), _range(job.first))
        with self._changed:
            self._running[job] = reading
            if self._closed:
                return "stopped"
        _log.debug("replaying", **_told(job.first))
        for read in reading:
            for frames in read.messages:
                self._send(job, frames)
                if job.first.limit and job.sent >= job.first.limit:
                    break
            if not job.drop_who_left():
                return "left"
            self._tell(job, read.position)
            if job.first.limit and job.sent >= job.first.limit:
                for _, sending in job.peers:
                    sending.done(job.told)
                return "done"
        if self._closed:
            return "stopped"
        for _, sending in job.peers:
            sending.done(job.first.range.until)
        return "done"

    def _send(self, job: _Job, frames: list[bytes]) -> None:
        """To all that take its topic. Who takes it slowest holds the others, until he is dropped."""
        count = 0
        for wanted, sending in job.peers:
            if not frames[0].startswith(wanted.topics):
                continue
            try:
                sending.send(frames)
            except ClosedError:
                continue
            count = count or Message.decode(frames).count
            if not wanted.shareable:
                self._pace(job, wanted, sending, count)
        job.sent += count

    def _pace(self, job: _Job, wanted: Wanted, sending: Sending, count: int) -> None:
        if not wanted.rate:
            return
        now = time.monotonic()
        job.next_at = max(now, job.next_at) + count / wanted.rate
        while not (sending.over or self._closed) and (left := job.next_at - time.monotonic()) > 0:
            time.sleep(min(left, _LOOK_S))

    def _tell(self, job: _Job, position: Timestamp) -> None:
        """The position before the messages just sent holds: it came with what was read before them."""
        now = time.monotonic()
        if position != job.told and now - job.told_at >= _PROGRESS_S:
            job.told, job.told_at = position, now
            for _, sending in job.peers:
                sending.progress(position)


def _told(wanted: Wanted) -> dict[str, Any]:
    """What a line in the log says of it."""
    asked = wanted.range
    return {
        "output": asked.output,
        "after": str(asked.after),
        "until": str(asked.until),
        "rate": wanted.rate,
        "limit": wanted.limit,
    }


def _range(wanted: Wanted) -> Range:
    """With messages small enough to keep a rate, and not far past a limit."""
    bounds = [wanted.limit, -(-wanted.rate // _PACED_BATCHES_PER_S)]
    return replace(wanted.range, batch_changes=min(filter(None, bounds), default=0))


def topics_of(names: Sequence[str]) -> tuple[bytes, ...]:
    """The beginnings of topics as they are in frames; none means all."""
    return tuple(name.encode() for name in names) or (b"",)
