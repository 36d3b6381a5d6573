"""One sender of one output as a model: a queue with marks in band, heads, positions, ticks."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from simulation.changes import Message, Version, stamp
from simulation.facts import make_head, make_tick, make_told
from spanwire.consumer.facts import Move, Tick

if TYPE_CHECKING:
    from simulation.core import Lane, Partition

ROUND = 4
"""Ticks in which each head is told at least once: fewer than the core takes, so more is lost by then."""
ENDS = 2 * ROUND


@dataclass(slots=True)
class Mark:
    """Something that a partition says behind its data."""

    partition: Partition
    what: str
    """started, position, paused, passed, ended, released."""
    position: int | None = None
    children: tuple[bytes, ...] = ()
    stage: int = 0
    moves: tuple[Move, ...] = ()
    """Into it, of which it tells that it pauses for them."""
    remaining: int = 0
    """Senders that hold it up and have not reached it yet."""
    known: int | None = None
    """At the start: no change of a partition that is over by then is newer."""


@dataclass(slots=True)
class Head:
    """How far one flow was sent, and how much of that ticks have told."""

    sent: int = 0
    told: int = 0
    last: Version | None = None
    number: int = 0


@dataclass(slots=True)
class Progress:
    """What ticks tell of one partition."""

    partition: Partition
    position: int | None = None
    stage: int = 0
    state: str = "live"
    children: tuple[bytes, ...] = ()
    told: int = 0
    """Ticks that told of its end."""
    moves: dict[Move, int] = field(default_factory=dict)
    """Into it, and how many ticks have told each."""


@dataclass
class Sender:
    """Sends what is queued, at its own pace. All it tells is true of what it has sent."""

    lane: Lane
    number: int
    name: bytes
    publish: Callable[[Any], None] = lambda item: None
    """To the network."""
    queue: deque[Message | Mark] = field(default_factory=deque)
    enqueued: int = 0
    done: int = 0
    flows: dict[tuple[str, bytes, int], Head] = field(default_factory=dict)
    partitions: dict[bytes, Progress] = field(default_factory=dict)
    started: set[int] = field(default_factory=set)
    """Ownerships whose start it has reached, by their numbers."""
    sequence: int = 0
    urgent: bool = False
    complete_next: bool = False
    newest: int | None = None
    draining: bool = False
    history: list[Message | Tick] = field(default_factory=list)
    ownerships: list[Partition] = field(default_factory=list)

    def put(self, item: Message | Mark) -> None:
        """Queue a message or a mark."""
        self.queue.append(item)
        self.enqueued += 1
        self.wake()

    def wake(self) -> None:
        """Come to the queue soon."""
        if not self.draining:
            self.draining = True
            core = self.lane.core
            core.process.later(core.pace(), self._drain)

    def tell(self) -> None:
        """Asked for the heads of all flows: a tick now."""
        self.complete_next = True
        self.urgent = True
        self.wake()

    def send(self, message: Message) -> None:
        """Hand one message over to the socket, behind a tick where one is due at once."""
        if self.urgent:
            self.tick()
        key = (message.topic, message.partition, message.epoch)
        head = self.flows.get(key)
        if head is None:
            head = self.flows[key] = Head(number=self.lane.core.next_number())
        head.sent = message.sequence + 1
        head.last = message.last
        self._has_sent(message.last.commit_timestamp.seconds)
        self.history.append(message)
        self.lane.handed(message)
        self.publish(message)

    def tick(self) -> None:
        """Tell heads and positions."""
        rules = self.lane.core.rules
        self.urgent = False
        complete = len(self.flows) <= rules.complete_up_to or self.sequence % ROUND == 0 or self.complete_next
        self.complete_next = False
        heads = []
        for (topic, partition, epoch), head in self.flows.items():
            if head.sent == head.told and not complete and (self.sequence + head.number) % ROUND:
                continue
            heads.append(make_head(topic, partition, epoch, head))
            head.told = head.sent
        told = [make_told(id, progress, rules.tell_early) for id, progress in self.partitions.items()]
        newest = None if self.newest is None else stamp(self.newest)
        tick = make_tick(self, tuple(told), tuple(heads), complete=complete, newest=newest)
        self.sequence += 1
        self._forget_told()
        self.history.append(tick)
        self.lane.handed(tick)
        self.publish(tick)

    def _forget_told(self) -> None:
        gone = []
        for id, progress in self.partitions.items():
            if progress.moves:
                progress.moves = {move: n + 1 for move, n in progress.moves.items() if n + 1 < ENDS}
            if progress.state != "live":
                progress.told += 1
                if progress.told >= ENDS:
                    gone.append(id)
        if gone:
            for id in gone:
                del self.partitions[id]
            self.flows = {key: head for key, head in self.flows.items() if key[1] in self.partitions}

    def _drain(self) -> None:
        self.draining = False
        most = self.lane.core.rng.choice((1, 3, 10, 100))
        while self.queue and most:
            most -= 1
            item = self.queue.popleft()
            self.done += 1
            if isinstance(item, Message):
                self.send(item)
            else:
                self._reached(item)
        if self.queue:
            self.wake()
        elif self.urgent:
            self.tick()

    def _has_sent(self, instant: int | None) -> None:
        if instant is not None and (self.newest is None or instant > self.newest):
            self.newest = instant

    def _reached(self, mark: Mark) -> None:
        partition = mark.partition
        if mark.what == "started":
            self.partitions[partition.id] = Progress(partition)
            self.started.add(partition.number)
            self._has_sent(mark.known)
            self.ownerships.append(partition)
        progress = self.partitions.get(partition.id)
        if progress is not None and progress.partition is partition:
            if mark.position is not None:
                progress.position = max(mark.position, progress.position or mark.position)
                self._has_sent(progress.position)
            for move in mark.moves:
                progress.moves[move] = 0
            if mark.what == "passed":
                progress.stage = mark.stage
            elif mark.what == "ended":
                progress.state, progress.children = "ended", mark.children
            elif mark.what == "released":
                progress.state = "released"
        if mark.what in ("started", "passed", "ended", "released"):
            self.urgent = True
        partition.reached(mark, self)
