"""What ticks tell about partitions: who owns them, how far they are complete. Pure: no I/O, no clock."""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from spanwire.consumer.facts import Missing, PartitionId, Tick, Told

if TYPE_CHECKING:
    from spanwire._core import Timestamp

_REMEMBERED = 4096
"""Ended partitions that are still known as parents, and whose late messages are recognised."""
_LAG = 8
"""Ticks that one sender may be behind another."""
_PATIENCE = 60
"""Ticks of every sender without a word about a partition, until it is given up."""


@dataclass(slots=True)
class Sender:
    """One sender of one relay process, by its ticks."""

    sequence: int
    """Of its last tick."""
    first: bool = True
    """That tick was its first: the baseline."""
    skipped: bool = False
    """Ticks right before that one were lost."""
    broken: bool = False
    """Ticks after the baseline were lost, ever."""
    sure_at: int = 0
    """From this tick on all heads told in lost ticks have been told again."""
    told: dict[PartitionId, int] = field(default_factory=dict)
    """The partitions it last told, and their epochs, without those whose end is accounted for."""

    @property
    def sure(self) -> bool:
        """Its positions can be believed: no head can be missing that speaks of messages before them."""
        return self.sequence >= self.sure_at


@dataclass(slots=True)
class Ownership:
    """One partition under one epoch."""

    id: PartitionId
    epoch: int
    incarnation: int
    inherited: bool = False
    """It, or a parent, was followed before under another relay process: its flows are owed from 0."""
    behind: Timestamp | None = None
    """How far the partition was complete under the epoch before; None where there was none."""
    older: dict[int, Ownership] = field(default_factory=dict)
    """Epochs before, where the same process had it: their last messages may still be told of."""
    starts_at: Timestamp | None = None
    """Where this epoch started; None until a tick told it."""
    positions: dict[bytes, Timestamp | None] = field(default_factory=dict)
    """By sender: complete up to here."""
    ended: set[bytes] = field(default_factory=set)
    """Senders that told its end."""
    newcomers: set[bytes] = field(default_factory=set)
    """Senders whose baseline is older than it: its flows there are owed from 0."""
    children: tuple[PartitionId, ...] = ()
    heirs: dict[PartitionId, Timestamp] = field(default_factory=dict)
    """Children that another process told of, and where they went on."""
    silence: int = 0
    """Ticks since it was last told."""

    def lost(self, after: Timestamp | None, before: Timestamp | None) -> Missing:
        """Something of it, or of what it split into, between two timestamps may not have arrived."""
        return Missing(
            incarnation=self.incarnation,
            topic=None,
            partition=self.id,
            epoch=self.epoch,
            sequences=None,
            after=after,
            before=before,
            certain=False,
        )


class Partitions:
    """All partitions that a consumer has heard of."""

    def __init__(self, round_ticks: int) -> None:
        self._round = round_ticks
        self.senders: dict[tuple[int, bytes], Sender] = {}
        self.watermark: Timestamp | None = None
        self._sizes: dict[int, int] = {}
        self._heard: dict[int, set[bytes]] = {}
        self._most = 0
        self._owners: dict[PartitionId, Ownership] = {}
        self._gone: OrderedDict[PartitionId, Ownership] = OrderedDict()
        self.clashes: dict[PartitionId, int] = {}
        """Partitions that two processes own under one epoch, and that epoch: it must rise."""

    def baselined(self, incarnation: int) -> bool:
        """Whether all senders of a relay process have ticked."""
        return len(self._names(incarnation)) >= self._sizes.get(incarnation, 1)

    def _names(self, incarnation: int) -> set[bytes]:
        """The senders of a relay process that were heard."""
        return self._heard.get(incarnation, set())

    def _all_heard(self, incarnation: int) -> bool:
        """Whether as many senders were heard as ever; who listens to some of them only never hears more."""
        return len(self._names(incarnation)) >= min(self._most, self._sizes.get(incarnation, 1))

    def _complete(self, owner: Ownership) -> Timestamp | None:
        """A partition's position over all senders; None where one has told none."""
        least: Timestamp | None = None
        names = self._names(owner.incarnation)
        if not self._all_heard(owner.incarnation):
            return None
        for name in names:
            position = owner.positions.get(name)
            if position is None:
                return None
            least = position if least is None else min(least, position)
        return least

    def _reached(self, owner: Ownership) -> Timestamp | None:
        """Its position; while there is none, how far it had come when this epoch started."""
        before = owner.behind if owner.older else None
        return self._complete(owner) or before or owner.starts_at or owner.behind

    def _is_over(self, owner: Ownership) -> bool:
        """All senders have told its end, or those that have not were heard too late for that.

        One that told it alive and then no more was not: what it sent last may be lost.
        """
        told_by_all = owner.ended >= self._names(owner.incarnation) and self._all_heard(owner.incarnation)
        rested = owner.silence > _LAG * len(self.senders) and owner.ended >= owner.positions.keys()
        return bool(owner.ended) and (told_by_all or rested)

    def owes_from_zero(self, owner: Ownership, sender: bytes | None = None) -> bool:
        """Whether a flow of it that was never seen is owed from its first message on.

        Which sender a message came through is known to ticks only; without one, all must agree.
        """
        if owner.inherited:
            return True
        if sender is not None:
            return sender in owner.newcomers
        return self.baselined(owner.incarnation) and self._names(owner.incarnation) <= owner.newcomers

    def meet(self, partition: PartitionId, epoch: int, incarnation: int) -> Ownership | None:
        """The ownership that these name; None where it is out of date."""
        owner = self._owners.get(partition) or self._gone.get(partition)
        if owner is None:
            owner = self._owners[partition] = Ownership(partition, epoch, incarnation)
        elif epoch > owner.epoch:
            owner = self._owners[partition] = self._succeed(owner, epoch, incarnation)
            self._gone.pop(partition, None)
        elif incarnation != owner.incarnation:
            if epoch == owner.epoch:
                self.clashes.setdefault(partition, epoch)
            return None
        elif epoch < owner.epoch:
            if epoch not in owner.older:  # heard of only now: it began before the one that followed it
                after = min((one for one in owner.older if one > epoch), default=None)
                newer = owner if after is None else owner.older[after]
                owner.older[epoch] = Ownership(
                    partition, epoch, incarnation, newer.inherited, newcomers=newer.newcomers
                )
            return owner.older[epoch]
        return owner

    def _succeed(self, owner: Ownership, epoch: int, incarnation: int) -> Ownership:
        """The next ownership of its partition."""
        same = incarnation == owner.incarnation
        new = Ownership(
            owner.id,
            epoch,
            incarnation,
            inherited=owner.inherited or not same,
            behind=self._reached(owner),
            older={**owner.older, owner.epoch: owner} if same else {},
        )
        owner.older = {}
        return new

    def heard(self, tick: Tick) -> Sender | None:
        """The sender of a tick; None where this very tick came before."""
        self._sizes[tick.incarnation] = tick.senders
        key = (tick.incarnation, tick.sender)
        sender = self.senders.get(key)
        if sender is None:
            sender = Sender(tick.sequence)
            if tick.sequence > 0 and any(known != tick.incarnation for known, _ in self.senders):
                sender.sure_at = tick.sequence + self._round  # it goes on for one who followed: no baseline
            self.senders[key] = sender
            names = self._heard.setdefault(tick.incarnation, set())
            names.add(tick.sender)
            self._most = max(self._most, len(names))
            return sender
        if tick.sequence <= sender.sequence:
            return None
        sender.skipped = tick.sequence != sender.sequence + 1
        if sender.skipped:
            sender.broken = True
            sender.sure_at = tick.sequence + self._round
        sender.first = False
        sender.sequence = tick.sequence
        return sender

    def begin(self, tick: Tick, sender: Sender) -> list[Missing]:
        """Take the ownerships that a tick tells first, before its heads are looked at."""
        missing: list[Missing] = []
        for told in sorted(tick.partitions, key=lambda one: one.starts_at):  # parents before children
            owner = self.meet(told.id, told.epoch, tick.incarnation)
            if owner is None or tick.sender in owner.positions:
                continue
            if not sender.first:
                owner.newcomers.add(tick.sender)
            if owner.starts_at is None:
                owner.starts_at = told.starts_at
                behind = self._inherit(owner, told)
                # In one process the heads account for all that was sent, as long as no tick was lost.
                unheard = all(one.starts_at is None for one in owner.older.values())
                if unheard or sender.skipped:
                    behind.append(owner.behind)
                known = [one for one in behind if one is not None and one < told.starts_at]
                if known:
                    missing.append(owner.lost(min(known), told.starts_at))
        return missing

    def _inherit(self, child: Ownership, told: Told) -> list[Timestamp | None]:
        """How far those parents are complete that were followed under another process, and are not over."""
        behind: list[Timestamp | None] = []
        for one in told.parents:
            parent = self._owners.get(one) or self._gone.get(one)
            if parent is None:
                continue
            if parent.incarnation == child.incarnation:
                child.inherited = child.inherited or parent.inherited
                continue
            child.inherited = True
            if child.behind is None or not (self._is_over(parent) or child.id in parent.heirs):
                behind.append(self._reached(parent))
            parent.heirs[child.id] = told.starts_at
        return behind

    def advance(self, tick: Tick, sender: Sender) -> list[Missing]:
        """Take the positions that a tick tells, after its heads were looked at."""
        present: dict[PartitionId, int] = {}
        for told in tick.partitions:
            owner = self.meet(told.id, told.epoch, tick.incarnation)
            if owner is None:
                continue
            owner.silence = -1
            before = owner.positions.get(tick.sender)
            after = told.position if sender.sure else before
            if before is not None and (after is None or after < before):
                after = before  # within an epoch a position never goes back
            owner.positions[tick.sender] = after
            if told.state == "ended":
                owner.children = told.children
            if told.state == "live" or not sender.sure:
                present[told.id] = told.epoch
            elif told.state == "ended":
                owner.ended.add(tick.sender)
        missing = self._vanished(tick, sender)
        sender.told = present
        self._raise_watermark()
        return missing + self._retire()

    def _vanished(self, tick: Tick, sender: Sender) -> list[Missing]:
        """What left the ticks unseen: its end was told in a tick that was lost, with its last heads."""
        missing: list[Missing] = []
        present = {told.id for told in tick.partitions}
        for partition in sender.told.keys() - present:
            owner = self._owners.get(partition)
            if owner is not None and (owner.epoch, owner.incarnation) == (
                sender.told[partition],
                tick.incarnation,
            ):
                missing.append(owner.lost(self._reached(owner), None))
                owner.ended.add(tick.sender)
        return missing

    def _retire(self) -> list[Missing]:
        """Set aside what has ended and whose children are known, and what nobody speaks of any more."""
        missing: list[Missing] = []
        over: list[Ownership] = []
        active = {owner.incarnation for owner in self._owners.values()}
        patience = _PATIENCE * sum(1 for incarnation, _ in self.senders if incarnation in active)
        for owner in self._owners.values():
            owner.silence += 1
            if owner.silence > patience:
                over.append(owner)
                if not self._is_over(owner) and self._reached(owner) is not None:
                    # Not all that it split into need be known: some may have ended unheard, too.
                    missing.append(owner.lost(self._reached(owner), max(owner.heirs.values(), default=None)))
            elif self._is_over(owner) and all(
                one in self._owners or one in self._gone for one in owner.children
            ):
                over.append(owner)
        for owner in over:
            del self._owners[owner.id]
            self._gone[owner.id] = owner
        return missing

    def forget(self) -> list[PartitionId]:
        """The partitions that ended so long ago that nothing of them is kept any more."""
        surplus = max(0, len(self._gone) - _REMEMBERED)
        return [self._gone.popitem(last=False)[0] for _ in range(surplus)]

    def _raise_watermark(self) -> None:
        least: Timestamp | None = None
        for owner in self._owners.values():
            if not owner.positions or owner.heirs:
                continue  # known by messages only, so its parents hold the watermark; or its children do
            position = self._complete(owner)
            if position is None:
                return
            least = position if least is None else min(least, position)
        if least is not None and (self.watermark is None or least > self.watermark):
            self.watermark = least
