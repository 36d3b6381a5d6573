"""Which relays there are, and who owns which partition, as ticks tell. Pure: no I/O, no clock."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from typing import TYPE_CHECKING

from spanwire.consumer.facts import PartitionId, Tick, Told
from spanwire.consumer.ownership import LAST_STAGE, Ownership, Process
from spanwire.timestamps import just_before

if TYPE_CHECKING:
    from spanwire._core import Timestamp

_REMEMBERED = 4096
"""Partitions that are over and still known."""
_PROCESSES = 64


class Owners:
    """Processes and ownerships of one output, those of now and those that others still follow on."""

    def __init__(self, free: Callable[[int], None]) -> None:
        """`free`: told how many bytes of waiting messages were dropped with an ownership."""
        self._free = free
        self.processes: OrderedDict[int, Process] = OrderedDict()
        self.current: dict[PartitionId, Ownership] = {}
        self.gone: OrderedDict[PartitionId, Ownership] = OrderedDict()
        """What is over, the last of each partition."""
        self._all: dict[tuple[PartitionId, int, int], Ownership] = {}
        self.generation = 0
        """Of the membership; 0 where a relay has a stream alone."""
        self.members: frozenset[int] = frozenset()
        self.clashes: dict[PartitionId, int] = {}
        """Partitions that two processes own under one epoch, and that epoch: it must rise."""

    # ------------------------------------------------------------- processes

    def process(self, incarnation: int) -> Process:
        """The process of that number, from now on at the latest."""
        process = self.processes.get(incarnation)
        if process is None:
            process = self.processes[incarnation] = Process(incarnation)
            if len(self.processes) > _PROCESSES:
                self._forget_process()
        return process

    def count_members(self, tick: Tick) -> None:
        """Take who they are from a tick; one that is out of date changes nothing."""
        if tick.generation >= self.generation and tick.generation:
            self.generation = tick.generation
            self.members = frozenset(one.incarnation for one in tick.relays)

    def is_member(self, process: Process) -> bool:
        """Whether it is one of those that own partitions now; of single relays it is the newest."""
        if self.generation:
            return process.incarnation in self.members
        return process.epoch >= max(one.epoch for one in self.processes.values())

    def is_superseded(self, process: Process) -> bool:
        """Whether it is a single relay that another one has taken over from."""
        others = self.processes.values()
        return not self.generation and any(one.settled and one.epoch > process.epoch for one in others)

    # ------------------------------------------------------------- ownerships

    def known(self, partition: PartitionId) -> Ownership | None:
        """The last ownership of a partition, also where it is over."""
        return self.current.get(partition) or self.gone.get(partition)

    def find(self, process: Process, partition: PartitionId, epoch: int) -> Ownership | None:
        """The ownership that something was sent under; None where it is out of date and unknown."""
        place = (partition, epoch, process.incarnation)
        ownership = self._all.get(place)
        current = self.known(partition)
        if ownership is None:
            if (
                current is not None
                and epoch < current.epoch
                and (current.process is not process or current.continuous)
            ):
                return None
            ownership = self._all[place] = Ownership(partition, epoch, process)
            if current is not None and epoch < current.epoch:
                _put_before(current, ownership)
        return ownership

    def told(self, process: Process, told: Told) -> Ownership | None:
        """The ownership that a tick speaks of; None where it is out of date."""
        partition, epoch = told.id, told.epoch
        place = (partition, epoch, process.incarnation)
        current = self.known(partition)
        if current is not None and epoch <= current.epoch:
            if current.process is process:
                if epoch < current.epoch:
                    return self._all.get(place)
                if not current.ended and partition in self.gone:
                    self.current[partition] = self.gone.pop(partition)
                return current
            if epoch == current.epoch:
                self.clashes.setdefault(partition, epoch)
            return None
        ownership = self._all.get(place)
        if ownership is None:
            ownership = self._all[place] = Ownership(partition, epoch, process)
        while (
            current is not None
            and not current.continuous
            and current.process is not process
            and (current.starts_at is None or told.starts_at <= current.starts_at)
        ):
            current = current.before  # it never came to anything: all that it sent is sent again
        ownership.before = current
        self.current[partition] = ownership
        self.gone.pop(partition, None)
        for other in sorted(key for key in self._all if key[0] == partition and key[1] < epoch):
            old = self._all[other]
            if old is not current and old.process is not process and not old.continuous:
                self._drop(old)
            if old.process is process and old.starts_at is None:
                _put_before(ownership, old)
            elif old is not current:  # of the one before messages may still be on their way
                del self._all[other]
        return ownership

    def clashing(self, process: Process, told: Told) -> Ownership | None:
        """Where two processes own a partition under one epoch: the other one. It goes on as it comes."""
        current = self.known(told.id)
        if current is None or current.process is process or current.epoch != told.epoch:
            return None
        place = (told.id, told.epoch, process.incarnation)
        clashing = self._all.setdefault(place, Ownership(told.id, told.epoch, process))
        clashing.continuous, clashing.open_stage = True, LAST_STAGE
        return clashing

    def go(self, partition: PartitionId) -> None:
        """It is over, and still known to those that follow on it."""
        self.gone[partition] = self.current.pop(partition)
        while len(self.gone) > _REMEMBERED:
            _, ownership = self.gone.popitem(last=False)
            self._forget(ownership)

    def has_children(self, ownership: Ownership) -> bool:
        """Whether some are known; None are where keys move: there a child says nothing of its parent."""
        everyone = (*self.current.values(), *self.gone.values())
        return any(one.children for one in everyone) and any(ownership.id in one.parents for one in everyone)

    # ------------------------------------------------------------- what they have told

    def least(self) -> Ownership | None:
        """The one that holds the watermark."""
        found: Ownership | None = None
        least: Timestamp | None = None
        for ownership in self.current.values():
            complete = ownership.complete
            if complete is not None and (least is None or complete < least):
                found, least = ownership, complete
        return found

    def newest(self, *, sent: bool = False) -> Timestamp | None:
        """No change that is missing is newer than this; with `sent`: none that was sent."""
        times = [
            sender.newest
            for process in self.processes.values()
            for sender in process.senders.values()
            if sender.newest is not None
        ]
        starts = [one.starts_at for one in self.current.values() if one.starts_at is not None]
        times += map(just_before, starts) if sent else starts
        return max(times, default=None)

    def oldest_start(self) -> Timestamp | None:
        """Where the first partition began."""
        return min((one.starts_at for one in self.current.values() if one.starts_at), default=None)

    # ------------------------------------------------------------- what is forgotten

    def _forget(self, ownership: Ownership) -> None:
        for place in [key for key in self._all if key[0] == ownership.id]:
            self._drop(self._all.pop(place))
        flows = ownership.process.flows
        for key in [one for one in flows if one[0] == ownership.id]:
            del flows[key]

    def _forget_process(self) -> None:
        """Drop the oldest process that has nothing any more."""
        used = {one.process.incarnation for one in self.current.values()}
        for incarnation, process in self.processes.items():
            if incarnation not in used:
                self._free(sum(size for _, size in process.early))
                del self.processes[incarnation]
                return

    def _drop(self, ownership: Ownership) -> None:
        self._free(sum(size for *_, size in ownership.lane))
        ownership.lane.clear()


def _put_before(later: Ownership, earlier: Ownership) -> None:
    """Of an ownership that no tick told, as the next one came before it: they follow on each other."""
    while later.before is not None and later.before.epoch > earlier.epoch:
        later = later.before
    if later.before is not earlier:
        earlier.before, later.before = later.before, earlier
    earlier.starts_at, earlier.parents = later.starts_at, later.parents
