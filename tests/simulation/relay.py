"""One relay process as a model: reads, sends, stores, in steps between which it may die or stand still.

The rules are the real ones: `Lineage`, `MovingLineage` and `Gates` decide, `MemoryStore` refuses. What
is modelled is the keeper's order of doing things, with each write to the store a step of its own.
"""

from __future__ import annotations

import random
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field

from simulation.changes import stamp
from simulation.clock import MS, Call, Clock, Process, between
from simulation.core import Core, Partition, Rules
from simulation.spanner import Log, Record, Spanner
from spanwire._core import Timestamp
from spanwire.errors import FencedError
from spanwire.records import PartitionRecord, Progress, State
from spanwire.source.moves import Event, Gates, MovingLineage, started
from spanwire.source.partitions import Lineage
from spanwire.store import MemoryStore

LEASE = 1_500 * MS


@dataclass
class Habits:
    """How a relay works."""

    store_every: int = 200 * MS
    heartbeat_every: int = 100 * MS
    breaks: float = 0.01
    """How often a query's stream breaks."""
    stalls: float = 0.01
    """How often a partition's stream hangs for long."""


@dataclass
class Leases:
    """Who says that it works on which partition; only to save work: safety comes from epochs."""

    held: dict[str, tuple[int, int]] = field(default_factory=dict)

    def renew(self, token: str, incarnation: int, now: int) -> None:
        """The owner lives; one that has lost it meanwhile does not take it back so."""
        if self.may_take(token, incarnation, now):
            self.take(token, incarnation, now)

    def take(self, token: str, incarnation: int, now: int) -> None:
        """It is worked on here from now on."""
        self.held[token] = incarnation, now + LEASE

    def may_take(self, token: str, incarnation: int, now: int) -> bool:
        """Nobody else has said so lately."""
        holder, until = self.held.get(token, (incarnation, 0))
        return holder == incarnation or until < now

    def end(self, token: str) -> None:
        """It is free."""
        self.held.pop(token, None)


class Reader:
    """Reads one owned partition into the core."""

    def __init__(self, relay: Relay, record: PartitionRecord, partition: Partition, log: Log) -> None:
        self.relay, self.record, self.partition, self.log = relay, record, partition, log
        self.index = log.index_from(record.resume_at.seconds)
        self.standing = False
        self.over = False
        self.stopped = False
        self.passing: Record | None = None
        self._heard_at = 0
        relay.later(between(relay.rng, 1, 5 * MS), self._read)

    def go_on(self) -> None:
        """What the last pause was for is done."""
        self.partition.proceed(self.passing is not None)
        self.standing, self.passing = False, None
        self.relay.later(between(self.relay.rng, 1, 2 * MS), self._read)

    def _read(self) -> None:
        relay, rng = self.relay, self.relay.rng
        if self.stopped or self.standing or self.over:
            return
        if rng.random() < relay.habits.breaks:
            self.index = self.log.index_from(self.partition.resume_from)
        records = self.log.records[self.index : self.index + rng.choice((1, 2, 4, 8))]
        heartbeat = None
        now = relay.clock.now
        if (
            self.index + len(records) == len(self.log.records)
            and now - self._heard_at > relay.habits.heartbeat_every
        ):
            heartbeat = relay.spanner.heartbeat(self.log)
            self._heard_at = now
        if records or heartbeat is not None:
            pushed = self.partition.push(records, heartbeat)
            self.index += pushed.taken
            if pushed.children:
                relay.report(lambda: relay.keep_children(self, newborn(pushed.children)))
            if pushed.starts:
                self.standing = True
                children = started(stamp(records[pushed.taken - 1].at), pushed.starts, self.record.token)
                relay.report(lambda: relay.stand_at_start(self, children))
            elif pushed.event is not None:
                self.standing, self.passing = True, pushed.event
                relay.report(lambda: relay.stand_at_event(self))
            if pushed.over:
                self.over = True
        if self.log.end is not None and self.index == len(self.log.records) and not self.standing:
            self.over = True
        if self.over:
            relay.report(lambda: relay.ended(self))
        elif not self.standing:
            slow = rng.random() < relay.habits.stalls
            relay.later(between(rng, 100 * MS, 800 * MS) if slow else relay.reading_pace(), self._read)


def newborn(children: list[tuple[int, str, tuple[str, ...]]]) -> list[PartitionRecord]:
    """The partitions that child records name, each once."""
    known: dict[str, PartitionRecord] = {}
    for at, token, parents in children:
        known.setdefault(token, PartitionRecord(token, stamp(at), parents))
    return list(known.values())


class Relay(Process):
    """The process. `shares`: other relays may own partitions of the same store beside it."""

    def __init__(
        self,
        clock: Clock,
        spanner: Spanner,
        store: MemoryStore,
        leases: Leases,
        *,
        seed: int,
        incarnation: int,
        rules: Rules,
        habits: Habits,
        shares: bool,
    ) -> None:
        super().__init__(clock)
        self.spanner, self.store, self.leases = spanner, store, leases
        self.rng = random.Random(seed)
        self.habits, self.shares = habits, shares
        self.core = Core(self, self.rng, incarnation, rules)
        self.readers: dict[str, Reader] = {}
        self.ending: dict[str, Reader] = {}
        self.gates = Gates()
        self._known = (MovingLineage if spanner.mutable else Lineage)()
        self.stopping = False
        self.stopped = False
        self.on_stop: Callable[[], None] = lambda: None
        self._todo: deque[Call] = deque()
        self._busy = False

    def begin(self, start: int) -> None:
        """Go on with what the store holds, or begin with the stream's partitions at `start`."""
        if not self.store.load():
            tokens = self.spanner.initial(start)
            self.store.initialise([PartitionRecord(token, stamp(start)) for token in tokens])
        self._known = (MovingLineage if self.spanner.mutable else Lineage)(self.store.load())
        for one in self._known.all():
            if one.state is State.RUNNING and self._may_take(one):
                self._do(lambda one=one: self._own(one))
        self._turn()
        self._store_regularly()

    def reading_pace(self) -> int:
        """Between two reads of a partition."""
        return between(self.rng, 2 * MS, 30 * MS)

    def stop(self) -> None:
        """As SIGTERM: end reading, drain, store, release, end."""
        self.stopping = True
        for reader in self.readers.values():
            reader.stopped = True
        self._do(self._stop_when_drained)

    def give_up(self, token: str) -> None:
        """Hand a partition to whoever takes it next: stop reading, drain, store, release."""
        reader = self.readers.get(token)
        if reader is None or reader.over or reader.standing or reader.stopped:
            return
        reader.stopped = True
        self.gates.leave(token)
        self.later(between(self.rng, MS, 50 * MS), lambda: self._do(lambda: self._give_up(reader)))

    # ---------------------------------------------------------------- reports of readers

    def report(self, call: Call) -> None:
        """A reader's word to the keeper."""
        self._do(call)

    def keep_children(self, reader: Reader, children: list[PartitionRecord]) -> None:
        """Children are stored before their parent is finished."""
        if self._is_current(reader):
            self._keep(reader, children)

    def stand_at_start(self, reader: Reader, children: list[PartitionRecord]) -> None:
        """What a start record names is stored and open before the partition that names it goes on."""
        if not self._is_current(reader) or self.stopping:
            return
        for (
            child
        ) in children:  # opened here, not by another relay: so no tick is past their start without them
            self.leases.take(child.token, self.core.incarnation, self.clock.now)
        self._keep(reader, children)

        def go_on() -> None:
            self._schedule()
            reader.go_on()

        self._do(go_on)

    def stand_at_event(self, reader: Reader) -> None:
        """Key ranges moved: it waits for where they came from."""
        if self._is_current(reader) and not self.stopping and reader.passing is not None:
            sources = tuple(reader.passing.what)
            self.gates.arrive(Event(reader.record.token, stamp(reader.passing.at), sources))

    def _keep(self, reader: Reader, children: list[PartitionRecord]) -> None:
        self.store.add_children(reader.record.token, reader.record.epoch, children)
        self._known.add(children)

    def ended(self, reader: Reader) -> None:
        """All of it has been read: finished when it is handed over."""
        if self._is_current(reader):
            reader.partition.finish()
            self.ending[reader.record.token] = reader

    # ---------------------------------------------------------------- the keeper

    def _do(self, call: Call) -> None:
        self._todo.append(call)
        if not self._busy:
            self._busy = True
            self.later(between(self.rng, 10, MS), self._next)

    def _next(self) -> None:
        call = self._todo.popleft()
        self._busy = bool(self._todo)
        if self._busy:
            self.later(between(self.rng, 10, MS), self._next)
        try:
            call()
        except FencedError as error:
            self._fenced(error)

    def _turn(self) -> None:
        if self.stopping:
            return
        self._do(self._settle)
        self._do(self._schedule)
        self._do(self._open_gates)
        self.later(between(self.rng, 2 * MS, 10 * MS if len(self.gates) else 40 * MS), self._turn)

    def _store_regularly(self) -> None:
        if not self.stopping:
            self._do(self._store_positions)
            self.later(self.habits.store_every, self._store_regularly)

    def _store_positions(self) -> None:
        moved = []
        for token, reader in self.readers.items():
            self._renew(token)
            position = self._position(reader)
            if position is not None and not reader.over:
                moved.append(Progress(token, reader.record.epoch, position))
        for batch in [[one] for one in moved] if self.shares else [moved]:
            try:
                self.store.advance(batch)
            except FencedError as error:
                self._fenced(error)
            else:
                for one in () if self.shares else batch:
                    self._known.advance(one.token, one.position)

    def _position(self, reader: Reader) -> Timestamp | None:
        position = reader.partition.position
        return None if position is None else stamp(position)

    def _settle(self) -> None:
        for token, reader in list(self.ending.items()):
            if reader.partition.finished and self._is_current(reader):
                position = self._position(reader)
                self.store.finish(token, reader.record.epoch, position)
                self._forget(token)
                if not self.shares:
                    self._known.advance(token, position)
                    self._known.finish(token)
        lineage = self._lineage()
        if gone := lineage.forgettable():
            try:
                self.store.forget(gone)
                self._known.forget([] if self.shares else gone)
            except FencedError:
                if not self.shares:
                    raise

    def _forget(self, token: str) -> None:
        self.readers.pop(token, None)
        self.ending.pop(token, None)
        self.gates.leave(token)

    def _schedule(self) -> None:
        if self.stopping:
            return
        lineage = self._lineage()
        ready = lineage.ready()
        if ready:
            self.store.schedule(ready)
            for token in [] if self.shares else ready:
                self._known.schedule(token)
        takes = (State.SCHEDULED, State.RUNNING) if self.shares else (State.SCHEDULED,)
        for one in self._lineage().all():
            if one.token not in self.readers and one.state in takes and self._may_take(one):
                self._own(one)

    def _may_take(self, one: PartitionRecord) -> bool:
        return not self.shares or self.leases.may_take(one.token, self.core.incarnation, self.clock.now)

    def _renew(self, token: str) -> None:
        self.leases.renew(token, self.core.incarnation, self.clock.now)

    def _own(self, known: PartitionRecord) -> None:
        if known.token in self.readers or self.stopping:
            return
        owned = self.store.acquire(known.token, known.state, known.epoch)
        self.leases.take(owned.token, self.core.incarnation, self.clock.now)
        if not self.shares:
            self._known.own(owned)
        parents, resumed = owned.parents, owned.position is not None
        known = self._lineage().newest()
        partition = self.core.open(
            owned.token,
            owned.epoch,
            owned.resume_at.seconds,
            resumed,
            parents,
            None if known is None else known.seconds,
        )
        self.readers[owned.token] = Reader(self, owned, partition, self.spanner.logs[owned.token])

    def _open_gates(self) -> None:
        if len(self.gates):
            for token in self.gates.open(self._lineage(), self._handed_over):
                self.readers[token].go_on()

    def _handed_over(self, one: PartitionRecord) -> Timestamp | None:
        reader = self.readers.get(one.token)
        return one.advanced(None if reader is None else self._position(reader)).position

    def _lineage(self) -> Lineage:
        """What a relay alone knows; of several, what the store holds now."""
        if self.shares:
            self._known = (MovingLineage if self.spanner.mutable else Lineage)(self.store.load())
        return self._known

    def _is_current(self, reader: Reader) -> bool:
        return self.readers.get(reader.record.token) is reader

    def _fenced(self, error: FencedError) -> None:
        """Somebody else goes on with a partition: so it is given up; a relay alone ends."""
        if not self.shares:
            self._end()
            return
        for token, reader in list(self.readers.items()):
            if error.fields.get("partition") == token:
                reader.stopped = True
                self._forget(token)
                reader.partition.release()

    def _give_up(self, reader: Reader) -> None:
        if not self._is_current(reader):
            return
        if any(sender.queue for lane in self.core.lanes for sender in lane.senders):
            self.later(MS, lambda: self._do(lambda: self._give_up(reader)))
            return
        token = reader.record.token
        if (position := self._position(reader)) is not None:
            self.store.advance([Progress(token, reader.record.epoch, position)])
        reader.partition.release()
        self._forget(token)
        self.leases.end(token)

    def _stop_when_drained(self) -> None:
        if any(sender.queue for lane in self.core.lanes for sender in lane.senders):
            self.later(MS, lambda: self._do(self._stop_when_drained))
            return
        self._settle()
        self._store_positions()
        for reader in self.readers.values():
            self.leases.end(reader.record.token)
            reader.partition.release()
        self.later(20 * MS, self._end)

    def _end(self) -> None:
        if self.alive:
            self.kill()
            self.stopped = True
            self.on_stop()
