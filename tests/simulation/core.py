"""The core as a model: records in; flows, messages, marks and ticks out. No socket, no thread."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from simulation.changes import TOPICS, Change, Message, stamp
from simulation.clock import MS, Process, between
from simulation.ring import Item, Ring
from simulation.sender import Mark, Sender
from simulation.spanner import Record
from simulation.window import Window
from spanwire.consumer.facts import Move, Relay

MARK_EVERY = 50 * MS


def id_of(token: str) -> bytes:
    """A partition's name on the wire."""
    return token.encode()


@dataclass
class Rules:
    """What a relay is set to."""

    tick_ms: int = 250
    batch: int = 5
    busy: float = 0.05
    complete_up_to: int = 256
    ring_bytes: int = 4_000
    tell_early: int = 0
    """How much too far positions are told: a bug that can be planted."""


@dataclass
class Flow:
    """One topic of one partition under one ownership through one output."""

    name: tuple[int, str, bytes, int]
    sender: Sender
    output: int
    sequence: int = 0
    open: list[Change] = field(default_factory=list)
    records: int = 0
    queued: int = 0
    """The sender's count at which its last queued message has gone out."""

    def close(self, stage: int) -> Message | None:
        """The message that was being filled."""
        if not self.open:
            return None
        message = Message(self.name, self.sequence, stage, self.open, self.output)
        self.sequence += 1
        self.open, self.records = [], 0
        return message


@dataclass(eq=False)
class Lane:
    """One output: its senders, and the ring behind them."""

    core: Core
    output: int
    kind: str
    """pub or feed: a feed holds up nobody's position."""
    senders: list[Sender] = field(default_factory=list)
    ring: Ring = field(default_factory=lambda: Ring(0))
    followers: list[Callable[[], None]] = field(default_factory=list)
    """Told when something was appended to the ring."""

    def handed(self, item: Item) -> None:
        """A sender has handed this over."""
        self.ring.append(item)
        for told in self.followers:
            told()


class Core:
    """The pipeline of one relay process."""

    def __init__(self, process: Process, rng: random.Random, incarnation: int, rules: Rules) -> None:
        self.process, self.rng, self.incarnation, self.rules = process, rng, incarnation, rules
        self.lanes: list[Lane] = []
        self.partitions: dict[str, Partition] = {}
        self.members: Callable[[], tuple[int, tuple[Relay, ...]]] = lambda: (0, ())
        self._numbers = 0
        self._collecting: set[int] = set()

    def lane(self, kind: str, senders: int) -> Lane:
        """Add an output."""
        lane = Lane(self, len(self.lanes), kind, ring=Ring(self.rules.ring_bytes))
        self.lanes.append(lane)
        for number in range(senders):
            name = b"%d/%d/%d" % (self.incarnation, lane.output, number)
            sender = Sender(lane, number, name)
            lane.senders.append(sender)
            self._tick_regularly(sender)
        return lane

    def pace(self) -> int:
        """How long a sender takes until it comes to its queue."""
        rng = self.rng
        return between(rng, 5 * MS, 40 * MS) if rng.random() < self.rules.busy else between(rng, 10, 2 * MS)

    def next_number(self) -> int:
        """A number for each flow and each ownership."""
        self._numbers += 1
        return self._numbers

    def open(
        self,
        token: str,
        epoch: int,
        start: int,
        resumed: bool,
        parents: Sequence[str],
        known: int | None = None,
    ) -> Partition:
        """Open a partition under an epoch."""
        partition = Partition(self, token, epoch, start, resumed, parents)
        self.partitions[token] = partition
        partition.mark(Mark(partition, "started", known=known))
        return partition

    def tell(self, output: int) -> None:
        """All senders of an output tick now, and tell all heads."""
        for sender in self.lanes[output].senders:
            sender.tell()

    def collect(self, sender: Sender) -> None:
        """The sender comes for what is open, now or when it is not busy any more."""
        if id(sender) not in self._collecting:
            self._collecting.add(id(sender))
            self.process.later(self.pace(), lambda: self._collect(sender))

    def _collect(self, sender: Sender) -> None:
        self._collecting.discard(id(sender))
        for partition in list(self.partitions.values()):
            partition.take_open(sender)

    def _tick_regularly(self, sender: Sender) -> None:
        interval = self.rules.tick_ms * MS

        def tick() -> None:
            sender.urgent = True  # behind what is queued
            sender.wake()
            self.process.later(interval, tick)

        self.process.later(between(self.rng, 1, interval), tick)


@dataclass
class Pushed:
    """What a push met, and how many of its records were taken."""

    taken: int = 0
    paused: bool = False
    starts: tuple[str, ...] = ()
    event: Record | None = None
    children: list[tuple[int, str, tuple[str, ...]]] = field(default_factory=list)
    over: bool = False


class Partition:
    """One partition under one epoch."""

    def __init__(
        self, core: Core, token: str, epoch: int, start: int, resumed: bool, parents: Sequence[str]
    ) -> None:
        self.core, self.token, self.epoch, self.start = core, token, epoch, start
        self.resumed = resumed
        self.number = core.next_number()
        self.id = id_of(token)
        self.parents = tuple(id_of(parent) for parent in parents)
        self.stage = 0
        self.position: int | None = None
        """All its changes up to here have been handed over."""
        self.finished = False
        self.complete: int | None = None
        self.last: int | None = None
        self._after = start if resumed else -1
        self._window = Window()
        self._marked: int | None = None
        self._marked_at = 0
        self._flows: dict[tuple[int, str], Flow] = {}
        self._behind: dict[int, int] = {}
        self._children: dict[bytes, None] = {}
        lanes = core.lanes
        holds = [sender for lane in lanes if lane.kind != "feed" for sender in lane.senders]
        self._holds = holds or [sender for lane in lanes for sender in lane.senders]
        self._waits: set[int] = set()
        self._done = False

    @property
    def resume_from(self) -> int:
        """Where to query afresh: the newest instant seen."""
        return self.start if self.last is None else max(self.last, self.start)

    def push(self, records: Sequence[Record], heartbeat: int | None) -> Pushed:
        """Take records of the partition's query, in order, up to one that it pauses at."""
        pushed = Pushed()
        for record in records:
            pushed.taken += 1
            if record.kind == "data":
                self._data(record)
            elif record.kind == "children":
                self.last = max(record.at, self.last or 0)
                for token, parents in record.what:
                    self._children[id_of(token)] = None
                    pushed.children.append((record.at, token, parents))
            else:
                self._reach(record.at)
                if record.kind == "end":
                    pushed.over = True
                    break
                pushed.paused = True
                if record.kind == "start":
                    pushed.starts = record.what
                else:
                    pushed.event = record
                break
        if heartbeat is not None and not pushed.paused:
            self.complete = max(heartbeat, self.complete or 0)
            self.last = max(heartbeat, self.last or 0)
        self._settle(pushed, heartbeat is not None)
        return pushed

    def proceed(self, event: bool) -> None:
        """Go on behind the record that it pauses at."""
        for lane in self.core.lanes:
            for sender in lane.senders:
                self._behind[id(sender)] = sender.enqueued
        if event:
            self.stage += 1
            self.mark(Mark(self, "passed", stage=self.stage))

    def finish(self) -> None:
        """It has ended: nothing follows."""
        self.complete = max(self.last or 0, self.complete or 0)
        self._close_all()
        self._done = True
        self.mark(Mark(self, "ended", self.complete, tuple(self._children)))

    def release(self) -> None:
        """Given up under this epoch."""
        if self._done:
            return
        self._done = True
        self._close_all()
        self.mark(Mark(self, "released"))

    def mark(self, mark: Mark) -> None:
        """Say something behind the data, to all senders."""
        mark.remaining = len(self._holds)
        for lane in self.core.lanes:
            for sender in lane.senders:
                if mark.what == "position":
                    if id(sender) in self._waits:
                        continue
                    self._waits.add(id(sender))
                sender.put(mark)

    def reached(self, mark: Mark, sender: Sender) -> None:
        """A sender has reached a mark; the last that counts makes it true."""
        if mark.what == "position":
            self._waits.discard(id(sender))
        if sender not in self._holds:
            return
        mark.remaining -= 1
        if mark.remaining:
            return
        if mark.position is not None:
            self.position = max(mark.position, self.position or 0)
        self.finished = self.finished or mark.what == "ended"

    def take_open(self, sender: Sender) -> None:
        """The sender takes what is open, ahead of its queue where nothing of the same flow waits there."""
        if self.number not in sender.started or sender.done < self._behind.get(id(sender), 0):
            return
        for flow in self._flows.values():
            if flow.sender is sender and sender.done >= flow.queued:
                message = flow.close(self.stage)
                if message is not None:
                    sender.send(message)

    def _reach(self, at: int) -> None:
        if self.last is None or at > self.last:
            if self.last is not None:
                self.complete = max(self.last, self.complete or 0)
            self.last = at

    def _data(self, record: Record) -> None:
        self._reach(record.at)
        changes: list[Change] = record.what
        if record.at <= self._after or not self._window.take_record(changes[0].version):
            return
        topic = changes[0].topic
        for lane in self.core.lanes:
            flow = self._flows.get((lane.output, topic))
            if flow is None:
                name = (self.core.incarnation, topic, self.id, self.epoch)
                sender = lane.senders[TOPICS.index(topic) % len(lane.senders)]
                flow = self._flows[lane.output, topic] = Flow(name, sender, lane.output)
            flow.open += changes
            flow.records += 1
            if flow.records >= self.core.rules.batch:
                self._close(flow)
            else:
                self.core.collect(flow.sender)

    def _close(self, flow: Flow) -> None:
        message = flow.close(self.stage)
        if message is not None:
            flow.sender.put(message)
            flow.queued = flow.sender.enqueued

    def _close_all(self) -> None:
        for flow in self._flows.values():
            self._close(flow)

    def _settle(self, pushed: Pushed, heartbeat: bool) -> None:
        now = self.core.process.clock.now
        if pushed.paused:
            self._close_all()
            self._marked, self._marked_at = self.complete, now
            moves: tuple[Move, ...] = ()
            if pushed.event is not None:
                moves = tuple(Move(stamp(pushed.event.at), id_of(source)) for source in pushed.event.what)
            self.mark(Mark(self, "paused", self.complete, moves=moves))
            return
        moved = self.complete is not None and (self._marked is None or self.complete > self._marked)
        due = heartbeat or now - self._marked_at >= MARK_EVERY
        if moved and due and not any(id(sender) in self._waits for sender in self._holds):
            self._close_all()
            self._marked, self._marked_at = self.complete, now
            self.mark(Mark(self, "position", self.complete))
