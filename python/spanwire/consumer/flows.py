"""Follows flows and ticks: what is new, what is missing. Pure: no I/O, no clock.

A flow is one topic of one partition under one epoch of one relay process, numbered 0, 1, 2, ...
without holes. Who joins late is owed nothing from before the first tick of a sender, the *baseline*;
a message that came before it sets the baseline of its own flow. After it, everything on a topic
subscribed to is owed, and a tick says what was sent: it is queued behind the data of its sender, so
what it names and what has not arrived by then is lost.

A flow that was never seen is owed

- from 0, when its partition's epoch began while this consumer was following;
- from `since` of the first tick that names it, when no tick of that sender was lost;
- from somewhere between, when ticks were lost. That is announced too, as not certain.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from spanwire.consumer.facts import ROUND, Arrival, Head, Missing, Tick
from spanwire.consumer.partitions import Ownership, Partitions

if TYPE_CHECKING:
    from spanwire._core import RecordVersion, Timestamp


@dataclass(slots=True)
class Flow:
    """Where one flow stands."""

    next: int
    """Everything before it has arrived, was announced, or is not owed."""
    last: RecordVersion | Timestamp | None = None
    """The newest change that arrived; before the first, how far its partition was complete."""
    floor: int = 0
    """The first message that arrived, while it is not known whether any before it was owed; else 0."""
    floor_version: RecordVersion | None = None


@dataclass(slots=True)
class Verdict:
    """What to do with a message."""

    new: bool
    """It was not there before."""
    missing: list[Missing] = field(default_factory=list)
    """What it shows to be lost: announce it first."""


class Flows:
    """The state of all flows that one consumer follows."""

    def __init__(self, topics: Sequence[str] = ("",), *, round_ticks: int = ROUND) -> None:
        self._topics = tuple(topics)
        self._partitions = Partitions(round_ticks)
        self._flows: dict[bytes, dict[tuple[int, int, str], Flow]] = {}

    @property
    def watermark(self) -> Timestamp | None:
        """All changes up to here have arrived, or their loss was announced; it never goes back."""
        return self._partitions.watermark

    @property
    def baselines(self) -> int:
        """Senders whose first tick has come."""
        return len(self._partitions.senders)

    @property
    def clashes(self) -> dict[bytes, int]:
        """Partitions that two relay processes own under the same epoch, and that epoch."""
        return self._partitions.clashes

    def message(self, message: Arrival) -> Verdict:
        """Take a message that belongs to a flow (a change, a dead letter)."""
        incarnation, epoch = message.incarnation, message.epoch
        owner = self._partitions.meet(message.partition, epoch, incarnation)
        flows = self._flows.setdefault(message.partition, {})
        key = (incarnation, epoch, message.topic)
        flow = flows.get(key)
        if owner is None:  # an old epoch: its changes are taken like any others, its flows have ended
            return Verdict(new=_advance(flows, key, message))
        if flow is None:
            owed = self._partitions.owes_from_zero(owner)
            flow = flows[key] = Flow(0 if owed else message.sequence, owner.behind)
            if not owed and message.sequence > 0:
                flow.floor, flow.floor_version = message.sequence, message.first
        if message.sequence < flow.next:
            return Verdict(new=False)
        verdict = Verdict(new=True)
        if message.sequence > flow.next:
            verdict.missing.append(_missing(key, message.partition, flow, message.sequence, message.first))
        flow.next, flow.last = message.sequence + 1, message.last or flow.last
        return verdict

    def tick(self, tick: Tick) -> list[Missing]:
        """Take a tick: what it shows to be lost. A tick that came before changes nothing."""
        sender = self._partitions.heard(tick)
        if sender is None:
            return []
        missing = self._partitions.begin(tick, sender)
        for head in tick.heads:
            missing += self._head(tick, head)
        if sender.first and tick.senders == 1:  # of several, each speaks of its own flows only
            missing += self._settle(tick)
        missing += self._partitions.advance(tick, sender)
        return missing

    def forget(self) -> list[bytes]:
        """Drop what is kept of partitions that ended long ago; which ones these were."""
        partitions = self._partitions.forget()
        for partition in partitions:
            self._flows.pop(partition, None)
        return partitions

    def _head(self, tick: Tick, head: Head) -> list[Missing]:
        if not head.topic.startswith(self._topics):
            return []
        owner = self._partitions.meet(head.partition, head.epoch, tick.incarnation)
        if owner is None:
            return []
        flows = self._flows.setdefault(head.partition, {})
        key = (tick.incarnation, head.epoch, head.topic)
        flow = flows.get(key)
        found: list[Missing] = []
        if flow is None:
            start, certain = self._start(owner, tick.sender, head.since, head.next)
            flow = flows[key] = Flow(start, owner.behind)
            if not certain:
                before = Flow(0, owner.behind)
                found.append(_missing(key, head.partition, before, head.since, None, certain=False))
        elif flow.floor:
            start, certain = self._start(owner, tick.sender, min(head.since, flow.floor), flow.floor)
            if not certain or start < flow.floor:
                before = Flow(start if certain else 0, owner.behind)
                found.append(
                    _missing(key, head.partition, before, flow.floor, flow.floor_version, certain=certain)
                )
            flow.floor, flow.floor_version = 0, None
        if head.next > flow.next:
            found.append(replace(_missing(key, head.partition, flow, head.next, None), last=head.last))
            flow.next = head.next
        return found

    def _start(self, owner: Ownership, name: bytes, since: int, baseline: int) -> tuple[int, bool]:
        """From where on a flow that was never seen is owed, and whether that is certain.

        `since`: where the tick's account begins; `baseline`: where it begins for one who just joined.
        """
        if self._partitions.owes_from_zero(owner, name):
            return 0, True
        sender = self._partitions.senders[owner.incarnation, name]
        if sender.first:
            return baseline, True
        return since, since == 0 or not sender.broken

    def _settle(self, tick: Tick) -> list[Missing]:
        """With the baseline told, what came before the first message of a flow is owed or it is not."""
        missing: list[Missing] = []
        for partition, flows in self._flows.items():
            for key, flow in flows.items():
                if key[0] != tick.incarnation or not flow.floor:
                    continue
                owner = self._partitions.meet(partition, key[1], key[0])
                if owner is not None and self._partitions.owes_from_zero(owner, tick.sender):
                    missing.append(
                        _missing(key, partition, Flow(0, owner.behind), flow.floor, flow.floor_version)
                    )
                flow.floor, flow.floor_version = 0, None
        return missing


def _advance(flows: dict[tuple[int, int, str], Flow], key: tuple[int, int, str], message: Arrival) -> bool:
    flow = flows.setdefault(key, Flow(0))
    if message.sequence < flow.next:
        return False
    flow.next, flow.last = message.sequence + 1, message.last or flow.last
    return True


def _missing(
    key: tuple[int, int, str],
    partition: bytes,
    flow: Flow,
    end: int,
    before: RecordVersion | None,
    *,
    certain: bool = True,
) -> Missing:
    """What lies between where a flow stands and `end`."""
    incarnation, epoch, topic = key
    return Missing(
        incarnation=incarnation,
        topic=topic,
        partition=partition,
        epoch=epoch,
        sequences=(flow.next, end - 1),
        after=flow.last,
        before=before,
        certain=certain,
    )
