"""Keeps the partitions of one stream going: what is read, what is stored, what comes next.

One thread calls `turn`; readers report through a queue. So partitions, store and lineage change in
one place and in one order:

- the children of a partition are stored before it is finished,
- it is finished only when all that was read of it has been handed over,
- a child is read only when all its parents are finished; of a mutable stream it is read at once, but a
  partition that keys moved into stands still until all their sources have come as far,
- a position is stored only after everything up to it has been handed over.
"""

from __future__ import annotations

import queue
import time
from collections.abc import Sequence
from dataclasses import dataclass

import structlog

from spanwire._core import Partition, Pipeline, Timestamp
from spanwire.config import Config
from spanwire.errors import ClosedError, SpanwireError
from spanwire.records import PartitionRecord, Progress, State, short_token
from spanwire.source.connect import Connection
from spanwire.source.moves import Gates, MovingLineage
from spanwire.source.partitions import Lineage
from spanwire.source.reader import Ended, Job, Paused, Reader, Stopped
from spanwire.store import Store

_log = structlog.get_logger("spanwire.relay")

_FINISHING_POLL_S = 0.005
_MOVING_POLL_S = 0.002


@dataclass(frozen=True)
class Parts:
    """What a keeper works with."""

    config: Config
    connection: Connection
    store: Store
    pipeline: Pipeline
    beside: bool = False
    """Whether it is a re-read beside the live flow: then its partitions are no news."""


@dataclass
class _Running:
    reader: Reader
    partition: Partition
    epoch: int
    ended: Ended | None = None
    stands_since: float | None = None
    """When it came to a move whose sources have not come as far yet; None while it does not wait."""


class Keeper:
    """The partitions of a running relay."""

    def __init__(self, parts: Parts) -> None:
        self._parts = parts
        self._tell = _log.debug if parts.beside else _log.info
        self._end = parts.config.source.end_at
        self._interval_s = parts.config.store.interval_ms / 1000
        self._reports: queue.SimpleQueue[Ended | Paused | Stopped | None] = queue.SimpleQueue()
        self._running: dict[str, _Running] = {}
        self._gates = Gates()
        self._stopping = False
        self._stored_at = time.monotonic()
        self.lineage = self._lineage([])

    def begin(self, partitions: list[PartitionRecord]) -> None:
        """Go on with what the store holds: what ran is owned again, under a new epoch; new ones are begun."""
        self.lineage = self._lineage(partitions)
        running = [one.token for one in partitions if one.state is State.RUNNING]
        self._schedule(again=running)

    def turn(self, wait_s: float | None = None) -> None:
        """Wait for something to happen, at the most until progress is due, and deal with it.

        Raises what ends the relay: the fault of a reader, or of the store.
        """
        for failure in self._deal(self._patience() if wait_s is None else wait_s):
            raise failure
        self._settle()
        self._schedule()
        self._open_gates()
        if time.monotonic() - self._stored_at >= self._interval_s:
            self.store_progress()
            self._break_silence()

    def is_due(self, since_s: float) -> bool:
        """Whether there is something to do for `turn`, so many seconds after the last one."""
        return not self._reports.empty() or since_s >= self._patience()

    def wake(self) -> None:
        """End a `turn` that is waiting. From any thread."""
        self._reports.put(None)

    def done(self) -> bool:
        """Whether everything up to the requested end has been handed over."""
        return self.lineage.done() and not self._running

    def store_progress(self) -> None:
        """Store every position that has moved."""
        self._stored_at = time.monotonic()
        # One that has ended is stored as ended: going on from its very end could be out of its range.
        reading = [(token, one) for token, one in self._running.items() if one.ended is None]
        self._advance({token: self._position(one) for token, one in reading})

    def stop_readers(self, timeout: float) -> bool:
        """End all reading; whether every reader has ended. A reader may wait for an output that is full."""
        deadline = time.monotonic() + timeout
        self._stopping = True
        for one in self._running.values():
            one.reader.stop()
        return all(
            one.reader.join(max(0.0, deadline - time.monotonic())) for one in list(self._running.values())
        )

    def close(self, *, drained: bool) -> None:
        """Store what was handed over and give up the partitions, after the pipeline was `drained` or not."""
        # One failure has ended the relay already: another must not keep the rest from being stored.
        for failure in self._deal(0.0):
            _log.warning("another partition failed while the relay ended", why=str(failure))
        self._settle()
        self.store_progress()
        # Giving up sends what is open: an output that is stuck would hold this up for ever.
        for one in self._running.values() if drained else ():
            try:
                one.partition.release()
            except ClosedError:
                continue

    def troubles(self) -> dict[str, str]:
        """Partitions that are not being read at the moment, and why."""
        found = {}
        for token, one in list(self._running.items()):
            if one.reader.trouble:
                found[token] = one.reader.trouble
            elif (since := one.stands_since) is not None and time.monotonic() - since > one.reader.patience_s:
                sources = ", ".join(map(short_token, self._gates.waits_for(token)))
                found[token] = (
                    f"partition {short_token(token)} waits for {sources}, which its key ranges came from"
                )
        return found

    def position(self, partition: PartitionRecord) -> Timestamp:
        """How far a partition has been handed over: where it would go on."""
        return self._now(partition).resume_at

    def complete_to(self, partition: PartitionRecord) -> Timestamp:
        """All changes of a partition up to here have been handed over."""
        return self._now(partition).complete_to

    def _now(self, partition: PartitionRecord) -> PartitionRecord:
        one = self._running.get(partition.token)
        return partition.advanced(None if one is None else self._position(one))

    def _deal(self, wait_s: float) -> list[SpanwireError]:
        """Take in all reports there are, waiting for the first; the failures among them, oldest first."""
        failures: list[SpanwireError] = []
        try:
            report = self._reports.get(timeout=wait_s) if wait_s > 0 else self._reports.get_nowait()
            while True:
                if isinstance(report, Ended):
                    self._take(report)
                elif isinstance(report, Paused):
                    self._stand(report)
                elif report is not None and report.error is not None:
                    failures.append(report.error)
                report = self._reports.get_nowait()
        except queue.Empty:
            return failures

    def _take(self, report: Ended) -> None:
        one = self._running[report.token]
        if report.children:
            self._parts.store.add_children(report.token, one.epoch, report.children)
            self.lineage.add(report.children)
        one.ended = report
        one.reader.confirm()

    def _stand(self, report: Paused) -> None:
        """What a partition stands at: store and read what it names, or have it wait for the others.

        The new partitions are in the core before the one that named them goes on: so no tick tells that
        one further than their start without telling them.
        """
        if self._stopping:
            return  # what it stands at has not been passed, and will be read again
        one = self._running[report.token]
        if report.children:
            self._parts.store.add_children(report.token, one.epoch, report.children)
            self.lineage.add(report.children)
            self._schedule()
        if report.event is not None:
            self._gates.arrive(report.event)
            one.stands_since = time.monotonic()
        else:
            one.reader.go_on()

    def _open_gates(self) -> None:
        for token in self._gates.open(self.lineage, self._handed_over) if len(self._gates) else ():
            one = self._running[token]
            one.stands_since = None
            one.reader.go_on()

    def _handed_over(self, partition: PartitionRecord) -> Timestamp | None:
        return self._now(partition).position

    def _settle(self) -> None:
        """Finish the partitions that have ended and been handed over."""
        for token, one in list(self._running.items()):
            if one.ended is None or not one.partition.finished:
                continue
            position = self._position(one)
            if one.ended.over:
                self._parts.store.finish(token, one.epoch, position)
                self.lineage.advance(token, position)
                self.lineage.finish(token)
            else:
                self._advance({token: position})
                self.lineage.complete(token)
            del self._running[token]
            self._gates.leave(token)
            self._tell(
                "partition ended",
                partition=short_token(token),
                children=[short_token(child.token) for child in one.ended.children],
            )
        if forgettable := self.lineage.forgettable():
            self._parts.store.forget(forgettable)
            self.lineage.forget(forgettable)

    def _schedule(self, again: Sequence[str] = ()) -> None:
        """Own and read what may be read: what has become ready, and what ran `again`.

        All are open in the core before any is read: a tick that told the first one's position without the
        others would make consumers believe that they are as far.
        """
        ready = [token for token in self.lineage.ready() if not self.lineage.is_complete(token)]
        if ready:
            self._parts.store.schedule(ready)
        for token in ready:
            self.lineage.schedule(token)
        wanted = [*again, *self.lineage.scheduled()]
        newest = self.lineage.newest()
        readers = [
            self._own(self.lineage[token], newest) for token in wanted if not self.lineage.is_complete(token)
        ]
        for reader in readers:
            reader.start()

    def _own(self, known: PartitionRecord, newest: Timestamp | None) -> Reader:
        parts = self._parts
        owned = parts.store.acquire(known.token, known.state, known.epoch)
        self.lineage.own(owned)
        partition = parts.pipeline.partition(
            owned.token,
            dialect=parts.connection.dialect,
            mode=parts.connection.mode,
            epoch=owned.epoch,
            start=owned.resume_at,
            parents=owned.parents,
            resumed=owned.position is not None,
            known=newest,
        )
        job = Job(parts.connection, owned, partition, self._end, self._running.__len__)
        reader = Reader(job, self._reports.put)
        self._running[owned.token] = _Running(reader, partition, owned.epoch)
        self._tell(
            "reading partition",
            partition=short_token(owned.token),
            start=str(owned.resume_at),
            epoch=owned.epoch,
        )
        return reader

    def _position(self, one: _Running) -> Timestamp | None:
        """What may be stored: handed over, and no further than Spanner has said anything.

        A partition read to the requested end counts as complete up to it, but going on from there
        could lie past the partition's own end, and its children would be lost. Nor does a timestamp
        that was seen say that all of it was: the next run would drop the rest as handed over.
        """
        position, proved = one.partition.position, one.reader.proved
        return None if position is None or proved is None else min(position, proved)

    def _advance(self, positions: dict[str, Timestamp | None]) -> None:
        moved = [
            Progress(token, self._running[token].epoch, position)
            for token, position in positions.items()
            if position is not None and self.lineage[token].advanced(position) is not self.lineage[token]
        ]
        self._parts.store.advance(moved)
        for one in moved:
            self.lineage.advance(one.token, one.position)

    def _lineage(self, partitions: list[PartitionRecord]) -> Lineage:
        kind = Lineage if self._parts.connection.mode == "immutable" else MovingLineage
        return kind(partitions, self._end)

    def _patience(self) -> float:
        if len(self._gates):
            return _MOVING_POLL_S
        if any(one.ended is not None for one in self._running.values()):
            return _FINISHING_POLL_S
        return max(0.001, self._stored_at + self._interval_s - time.monotonic())

    def _break_silence(self) -> None:
        for token, one in self._running.items():
            if one.ended is None and one.reader.silent_for() > one.reader.patience_s:
                _log.warning(
                    "a stream fell silent: it is opened again",
                    partition=short_token(token),
                    silent_s=round(one.reader.silent_for(), 1),
                )
                one.reader.interrupt()
