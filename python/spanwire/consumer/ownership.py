"""What ticks tell: relay processes, their senders, and who has which partition. Pure: no I/O, no clock.

A tick is believed only while it is certain that no head was missed: from a complete one on, as long as none
is lost. What it says about its sender's partitions then holds for all messages that came before it.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

from spanwire.consumer.facts import Arrival, Head, Move, PartitionId, Tick, Told
from spanwire.timestamps import just_before

if TYPE_CHECKING:
    from spanwire._core import RecordVersion, Timestamp

LAST_STAGE = 1 << 32
"""Behind every other one."""
FlowKey = tuple[PartitionId, int, str]
"""A flow within its relay process: partition, epoch, topic."""


@dataclass(slots=True)
class Flow:
    """Where one flow stands."""

    next: int = 0
    """Everything before it has come, is asked for, or is not owed."""
    last: RecordVersion | None = None
    """The newest change before `next`, where it is known."""


@dataclass(slots=True)
class Sender:
    """One sender of a relay process, by its ticks."""

    sequence: int = -1
    sure: bool = False
    """Every head that it has told is known here."""
    broken: bool = False
    """Ticks of it were lost, ever: what it told for a while may be missed."""
    newest: Timestamp | None = None


@dataclass(slots=True)
class Process:
    """One relay process."""

    incarnation: int
    count: int = 1
    """Of senders that its output has."""
    expected: int = 1
    """Of senders that are listened to."""
    epoch: int = 0
    """The highest one told."""
    settled: bool = False
    """What relays before it have left is known: its partitions may go on."""
    begun: bool = False
    """All its senders are known: from then on whatever it sends is accounted for."""
    sure: bool = False
    """Nothing that it has sent is unknown here, as of its last ticks."""
    reads: bool = False
    """It has told a position: all partitions that it began with are known."""
    senders: dict[bytes, Sender] = field(default_factory=dict)
    flows: dict[FlowKey, Flow] = field(default_factory=dict)
    heads: dict[FlowKey, Head] = field(default_factory=dict)
    """As told before it has begun."""
    early: list[tuple[Arrival, int]] = field(default_factory=list)
    """What came before it has begun, with its size in bytes."""

    def hear(self, tick: Tick) -> Sender | None:
        """The sender of a tick; None where this very tick came before."""
        self.count = tick.senders
        sender = self.senders.setdefault(tick.sender, Sender())
        if tick.sequence <= sender.sequence:
            return None
        follows = tick.sequence == sender.sequence + 1
        sender.sure = tick.complete or (follows and (sender.sure or not tick.sequence))
        sender.broken = sender.broken or not follows
        sender.sequence = tick.sequence
        if tick.newest is not None and (sender.newest is None or tick.newest > sender.newest):
            sender.newest = tick.newest
        self.sure = len(self.senders) >= self.expected and all(one.sure for one in self.senders.values())
        return sender


@dataclass(slots=True)
class Said:
    """What one sender has said last about an ownership."""

    position: Timestamp | None
    stage: int
    state: Literal["live", "ended", "released"]


@dataclass(slots=True)
class Ownership:
    """One partition under one epoch of one process."""

    id: PartitionId
    epoch: int
    process: Process
    starts_at: Timestamp | None = None
    """Where it began; None until a tick has told it."""
    parents: tuple[PartitionId, ...] = ()
    children: tuple[PartitionId, ...] = ()
    said: dict[bytes, Said] = field(default_factory=dict)
    moves: dict[Move, bool] = field(default_factory=dict)
    """Into it, and whether nothing of their sources is still to come."""
    before: Ownership | None = None
    """The one that it took over from."""
    continuous: bool = False
    """All changes before it have been queued, or are asked for: what it sends may follow."""
    open_stage: int = -1
    """What belongs to a later stage waits."""
    waits_since: float | None = None
    """Since when something of it cannot go on for want of what came before."""
    lane: deque[tuple[int, int, Any, int]] = field(default_factory=deque)
    """What waits until it may follow: its stage, its place among all that came, itself, its bytes."""

    def tell(self, told: Told, sender: bytes) -> None:
        """Take what a sender says; a position never goes back within an epoch."""
        self.starts_at = told.starts_at
        self.parents = told.parents
        self.children = told.children or self.children
        for move in told.moves:
            self.moves.setdefault(move, False)
        last, position = self.said.get(sender), told.position
        if last is not None and last.position is not None and (position is None or position < last.position):
            position = last.position
        self.said[sender] = Said(position, told.stage, told.state)

    @property
    def told(self) -> bool:
        """Every sender has told it, and nothing that they told before it is missed."""
        return self.process.sure and len(self.said) >= len(self.process.senders)

    @property
    def ending(self) -> bool:
        """Some sender has told its end."""
        return any(one.state == "ended" for one in self.said.values())

    @property
    def ended(self) -> bool:
        """Every sender has told its end."""
        return self.ending and self.told and all(one.state == "ended" for one in self.said.values())

    @property
    def released(self) -> bool:
        """Every sender has told that somebody else goes on with it."""
        return self.told and all(one.state == "released" for one in self.said.values())

    @property
    def end(self) -> Timestamp | None:
        """Where it has ended; None until every sender has told that."""
        if not self.ended:
            return None
        return max((one.position for one in self.said.values() if one.position), default=self.starts_at)

    @property
    def stage(self) -> int:
        """The last stage that every sender has told."""
        return min(one.stage for one in self.said.values()) if self.told else -1

    @property
    def complete(self) -> Timestamp | None:
        """All changes of its keys up to here were sent, and told by all its senders; None if that is unknown.

        Its first changes may be at `starts_at` itself, and so may its children's at its end.
        """
        if self.starts_at is None:
            return None
        positions = [one.position for one in self.said.values() if one.position is not None]
        if not positions or len(positions) < max(len(self.said), self.process.expected):
            return just_before(self.starts_at)
        return just_before(min(positions)) if self.children and self.ended else min(positions)
