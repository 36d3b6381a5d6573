"""Follows one output of a stream's relays: what goes on to the consumer, in order, and what to ask for.

Pure: no I/O, no clock of its own. Messages and ticks go in as they come, however many were lost or repeated;
`requests` says what to ask the relays for, the answers go in, and `next` gives what may be handed over.

How nothing is lost and nothing overtakes:

- A message of a flow follows the one before it. A hole is asked for by its sequences (`AskRepair`); what
  comes behind waits in one queue, so it keeps its place.
- Of an ownership nothing goes on before ticks have told it, with nothing that was told before missed: then
  all that its parents sent is known. Likewise behind a move (`stage`).
- Where an ownership begins behind the point up to which its predecessors are complete, or a hole cannot be
  had any more, all changes of the stream from the watermark on are asked for (`AskReplay`). That is safe
  always: of each key a beginning has been handed over, the replay is in order, and windows drop what came.
- The watermark rises by positions, in marks that have their place in the same queue.
"""

from __future__ import annotations

import itertools
from collections import OrderedDict, deque
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from spanwire._core import Timestamp, Window
from spanwire.consumer.facts import Arrival, Head, Missing, PartitionId, Tick, Told
from spanwire.consumer.ownership import Flow, FlowKey, Ownership, Process, Said
from spanwire.consumer.reached import Frontier, Lane, Reached
from spanwire.errors import Gap, RefusedError
from spanwire.timestamps import EARLIEST, just_before

if TYPE_CHECKING:
    from spanwire._core import RecordVersion

_REMEMBERED = 4096
"""Partitions and ownerships that are over and still known."""
_PROCESSES = 64
_REPAIRS_AT_ONCE = 8
_ASK_AGAIN_S = 1.0
_PRUNE_EVERY = 64


@dataclass(frozen=True, slots=True)
class AskHeads:
    """Have the relays tell the heads of all their flows."""

    id: int


@dataclass(frozen=True, slots=True)
class AskRepair:
    """Messages `first` to `last` of one flow, from the ring of the process that sent them."""

    id: int
    incarnation: int
    partition: PartitionId
    epoch: int
    topic: str
    first: int
    last: int


@dataclass(frozen=True, slots=True)
class AskReplay:
    """All changes after one timestamp up to another, both of the whole stream, read again from Spanner."""

    id: int
    after: Timestamp
    until: Timestamp


Ask = AskHeads | AskRepair | AskReplay


@dataclass(slots=True)
class Mark:
    """All changes up to here stand before it."""

    watermark: Timestamp
    lost: bool = False
    """Or their loss was told: what of them comes after all could come behind newer ones of its keys."""


@dataclass(slots=True)
class Hole:
    """Messages of a flow that did not come; what was asked for and has come instead."""

    missing: Missing
    asked: int | None = None
    messages: list[tuple[Arrival, int]] = field(default_factory=list)
    filled: bool = False

    @property
    def until(self) -> Timestamp | None:
        """No change of it is newer."""
        bound = self.missing.last or self.missing.before
        return None if bound is None else _time(bound)


@dataclass(slots=True)
class Replay:
    """Changes to be read again, up to `until`, from where everything before has been handed over."""

    until: Timestamp
    after: Timestamp | None = None
    """Where to begin while there is no watermark."""
    asked: int | None = None
    ended: bool = False


@dataclass(slots=True)
class _End:
    """The answer to a replay has been given whole."""

    replay: Replay


class Follower:
    """One output, followed. One thread at a time uses it."""

    def __init__(  # noqa: PLR0913 - all but the first are for special ends
        self,
        topics: Sequence[str] = ("",),
        *,
        start: Reached | None = None,
        can_ask: bool = True,
        endpoints: int | None = None,
        window: Callable[..., Any] = Window,
        restore: Callable[[Frontier], Any] | None = None,
        patience_s: float = 3.0,
        most_bytes: int = 64 << 20,
    ) -> None:
        """`topics`: beginnings of topics. `start`: None for what is newer than all that was sent.

        `can_ask`: whether there is somebody who answers; without, what is missing is a `Gap` at once.
        `endpoints`: how many of an output's senders are listened to, None for all. `patience_s`: how long
        an ownership may wait for what came before it to be told, until that is read again.
        """
        self._topics = tuple(topics)
        self._start = start
        self._endpoints = endpoints
        self._window, self._restore = window, restore or Window.restore
        self._patience_s = patience_s
        self.most_bytes = most_bytes
        self.can_ask = can_ask
        self._ids = itertools.count(1)
        self._arrivals = itertools.count()
        self._processes: OrderedDict[int, Process] = OrderedDict()
        self._ownerships: dict[tuple[PartitionId, int, int], Ownership] = {}
        self._current: dict[PartitionId, Ownership] = {}
        self._gone: OrderedDict[PartitionId, Ownership] = OrderedDict()
        self._generation = 0
        self._whole: Process | None = None
        self._members: frozenset[int] = frozenset()
        self._joined = False
        self._missed = False
        """A partition's end, and with it perhaps what it sent last."""
        self._waits_to_join_since: float | None = None
        self._left_since: float | None = None
        self._asked_heads_at: float | None = None
        self._again_at = 0.0
        self._queue: deque[tuple[Any, int]] = deque()
        self._handing: deque[tuple[Any, int]] = deque()
        self._asked: dict[int, Hole | Replay] = {}
        self._to_ask: deque[Hole] = deque()
        self._windows: dict[Lane, Any] = {}
        if start is not None:
            self._windows = {place: self._restore(state) for place, state in start.frontiers.items()}
        after = None if start is None else start.watermark
        self._assured = after
        """All changes up to here stand in the queue, or are asked for by it."""
        self._marked, self._passed = after, after
        self._marks = 0
        self.watermark: Timestamp | None = after
        """All changes up to here were handed over, or their loss was told; it never goes back."""
        self.bytes_held = 0
        """Of messages that wait here."""
        self.dropped = 0
        """Messages that came while too much waited: they are asked for like any that was lost."""
        self.clashes: dict[PartitionId, int] = {}
        """Partitions that two processes own under one epoch, and that epoch: it must rise."""

    # ------------------------------------------------------------- what comes

    @property
    def joined(self) -> bool:
        """From now on everything that is sent is handed over, or its loss is told."""
        return self._joined

    def message(self, message: Arrival, now: float, size: int = 0) -> None:
        """Take a live message that belongs to a flow (changes, a dead letter), of `size` bytes."""
        if self.bytes_held >= self.most_bytes:
            self._shed()
        if self.bytes_held >= self.most_bytes:
            self.dropped += 1  # the next one of its flow, or a tick, shows that it is missing
            return
        process = self._process(message.incarnation)
        if process.begun and self._joined:
            self._take(process, message, size)
        else:
            self.bytes_held += size
            process.early.append((message, size))

    def tick(self, tick: Tick, now: float) -> None:
        """Take a tick. One that came before changes nothing."""
        process = self._process(tick.incarnation)
        process.expected = min(tick.senders, self._endpoints or tick.senders)
        sender = process.hear(tick)
        if sender is None:
            return
        if not sender.sure:
            return  # heads were told in one that was lost: a complete one comes, and is asked for
        self._count_members(tick)
        process.epoch = max([process.epoch, *(told.epoch for told in tick.partitions)])
        if not self._generation and any(
            one.settled and one.epoch > process.epoch for one in self._processes.values()
        ):
            return  # of a relay that another one has taken over from
        for told in sorted(tick.partitions, key=lambda one: one.starts_at):  # parents before children
            process.reads = process.reads or told.position is not None
            ownership = self._told(process, told)
            if ownership is not None:
                ownership.tell(told, tick.sender)
        self._miss(process, tick)
        for head in tick.heads:
            if head.topic.startswith(self._topics):
                self._head(process, head)
        process.begun = process.begun or process.sure
        self._judge(now)

    def time(self, now: float) -> None:
        """Let time pass where nothing comes."""
        if self._processes:
            self._judge(now)

    # ------------------------------------------------------------- what to ask for, and the answers

    def requests(self, now: float) -> list[Ask]:
        """What to ask for now; each is given once, unless it is `lost`."""
        if not self.can_ask or now < self._again_at:
            return []
        asks: list[Ask] = []
        unsure = not self._joined or any(
            not one.sure for one in self._processes.values() if self._is_member(one)
        )
        if unsure and (self._asked_heads_at is None or now - self._asked_heads_at >= _ASK_AGAIN_S):
            self._asked_heads_at = now
            asks.append(AskHeads(next(self._ids)))
        while self._to_ask and len(self._asked) < _REPAIRS_AT_ONCE:
            hole = self._to_ask.popleft()
            if hole.filled or hole.asked is not None:
                continue
            missing = hole.missing
            assert missing.sequences is not None
            assert missing.topic is not None
            hole.asked = next(self._ids)
            self._asked[hole.asked] = hole
            asks.append(
                AskRepair(
                    hole.asked,
                    missing.incarnation,
                    missing.partition,
                    missing.epoch,
                    missing.topic,
                    *missing.sequences,
                )
            )
        replay = self._queue[0][0] if self._queue and not self._handing else None
        if isinstance(replay, Replay) and replay.asked is None and not replay.ended:
            after = self._passed or replay.after
            if after is not None and after < replay.until:
                replay.asked = next(self._ids)
                self._asked[replay.asked] = replay
                asks.append(AskReplay(replay.asked, after, replay.until))
        return asks

    def repaired(self, id: int, message: Arrival, size: int = 0) -> None:
        """A message of an answer."""
        asked = self._asked.get(id)
        if isinstance(asked, Hole):
            missing = asked.missing
            flow = (missing.incarnation, missing.partition, missing.epoch, missing.topic)
            if flow == (message.incarnation, message.partition, message.epoch, message.topic):
                asked.messages.append((message, size))
                self.bytes_held += size
        elif isinstance(asked, Replay):
            self._handing.append((message, size))
            self.bytes_held += size

    def progress(self, id: int, position: Timestamp) -> None:
        """All changes of a replay up to here have come."""
        if isinstance(asked := self._asked.get(id), Replay):
            self._handing.append((Mark(min(position, asked.until)), 0))

    def done(self, id: int, now: float) -> None:
        """An answer has come whole."""
        asked = self._asked.pop(id, None)
        if isinstance(asked, Hole):
            first, last = asked.missing.sequences or (0, -1)
            if [one.sequence for one, _ in asked.messages] == list(range(first, last + 1)):
                asked.filled = True
            else:
                self._give_up(asked)
        elif isinstance(asked, Replay):
            self._handing.append((_End(asked), 0))

    def refused(
        self, id: int, reason: str, oldest: Timestamp | None = None, text: str = "", now: float = 0.0
    ) -> None:
        """An answer is not to be had. `reason` as in the schema's `Reply.Reason`."""
        asked = self._asked.get(id)
        if reason in ("busy", "tooMany", "stopping", "failed"):
            self.lost(id, now)
            self._again_at = now + _ASK_AGAIN_S
        elif isinstance(asked, Hole):
            del self._asked[id]
            self._give_up(asked)
        elif isinstance(asked, Replay):
            del self._asked[id]
            asked.asked = None
            if reason != "gone":
                self._again_at = now + _ASK_AGAIN_S
                self._handing.append(
                    (RefusedError(text or f"a replay was refused: {reason}", reason=reason), 0)
                )
                return
            after = self._passed or asked.after
            beyond = asked.until if oldest is None else min(just_before(oldest), asked.until)
            if after is not None and beyond > after:
                self._handing.append((self._gone_for_ever(after, beyond), 0))
                self._handing.append((Mark(beyond, lost=True), 0))
            if beyond >= asked.until:
                self._handing.append((_End(asked), 0))

    def lost(self, id: int, now: float) -> None:
        """Who was asked has gone away: it is asked again, a replay from where it has come to."""
        asked = self._asked.pop(id, None)
        if isinstance(asked, Hole):
            self._drop_answer(asked)
            asked.asked = None
            self._to_ask.append(asked)
        elif isinstance(asked, Replay):
            asked.asked = None

    # ------------------------------------------------------------- what goes on

    @property
    def waits_for_answer(self) -> bool:
        """Nothing goes on before an answer has come: more live messages would only pile up."""
        return bool(self._queue) and isinstance(self._queue[0][0], Hole | Replay) and not self._handing

    @property
    def blocked_by(self) -> str | None:
        """Why nothing goes on, or the watermark stands still; None where that is not so."""
        if not self._joined:
            return "no relay has told where it stands"
        if self.waits_for_answer:
            entry = self._queue[0][0]
            what = "a replay" if isinstance(entry, Replay) else "a repair"
            return f"{what} has not come yet" if self.can_ask else "no relay answers requests"
        for ownership in self._current.values():
            if not ownership.continuous:
                return f"partition {ownership.id.hex()}: what came before it is not known yet"
        least = self._least()
        return None if least is None else f"partition {least.id.hex()} is complete up to {least.complete}"

    @property
    def held_by(self) -> PartitionId | None:
        """The partition that holds the watermark."""
        least = self._least()
        return None if least is None else least.id

    @property
    def baselines(self) -> int:
        """Senders that are known: whatever they lose is noticed."""
        return sum(one.sure for process in self._processes.values() for one in process.senders.values())

    def next(self) -> Any:
        """The next message to hand over, or a `Gap`; None where there is none. Raises `RefusedError`."""
        while True:
            if self._handing:
                entry, size = self._handing.popleft()
            elif self._queue:
                entry, size = self._queue[0]
                if isinstance(entry, Hole):
                    if not self._fill(entry):
                        return None
                    continue
                if isinstance(entry, Replay):
                    if not entry.ended and (self._passed is None or self._passed < entry.until):
                        return None
                    self._queue.popleft()
                    continue
                # A hole or a replay leaves the queue when it is over; all else does now.
                self._queue.popleft()
            else:
                return None
            self.bytes_held -= size
            if isinstance(entry, Mark):
                self._pass(entry.watermark, lost=entry.lost)
            elif isinstance(entry, _End):
                entry.replay.ended = True
                self._pass(entry.replay.until)
            elif isinstance(entry, RefusedError):
                raise entry
            else:
                return entry

    def fresh(self, message: Arrival) -> list[Any]:
        """Its changes that were not handed over before; they count as handed over now."""
        window = self.window(message.partition, message.topic)
        fresh: list[Any] = window.admit(message.changes())
        return fresh

    def window(self, partition: PartitionId, topic: str) -> Any:
        """What was handed over of a topic and partition."""
        place = (partition, topic)
        window = self._windows.get(place)
        if window is None:
            window = self._windows[place] = self._window(self._passed)
        return window

    def settle(self) -> None:
        """Raise the watermark: all that `next` gave was handed over."""
        while not self._handing and self._queue and isinstance(mark := self._queue[0][0], Mark):
            self._queue.popleft()
            self._pass(mark.watermark, lost=mark.lost)
        self.watermark = self._passed

    def clear(self) -> None:
        """Drop what waits. The watermark stays where it is."""
        self._queue.clear()
        self._handing.clear()
        self._passed = self.watermark

    def reached(self) -> Reached:
        """Where to go on from, once all that `next` gave was handed over."""
        frontiers = {lane: window.state() for lane, window in self._windows.items()}
        ahead = {
            lane: frontier
            for lane, frontier in frontiers.items()
            if frontier is not None and frontier[1] and (self._passed is None or frontier[0] > self._passed)
        }
        return Reached(self._passed, ahead)

    # ------------------------------------------------------------- flows

    def _shed(self) -> None:
        """Make room: what came before its process was known counts as lost."""
        for process in self._processes.values():
            self.dropped += len(process.early)
            self.bytes_held -= sum(size for _, size in process.early)
            process.early.clear()

    def _process(self, incarnation: int) -> Process:
        process = self._processes.get(incarnation)
        if process is None:
            process = self._processes[incarnation] = Process(incarnation)
            if len(self._processes) > _PROCESSES:
                self._forget_process()
        return process

    def _take(self, process: Process, message: Arrival, size: int) -> None:
        current = self._known(message.partition)
        ownership = self._find(process, message.partition, message.epoch)
        if ownership is None:
            return  # out of date: who came after it sends what it did not
        flow = process.flows.setdefault((message.partition, message.epoch, message.topic), Flow())
        if message.sequence < flow.next:
            return
        if message.sequence > flow.next:
            if current is not None and current.epoch > message.epoch and current.process is not process:
                return  # out of date, and not whole: likewise
            self._hole(ownership, message.topic, flow, message.sequence, message.stage, before=message.first)
        flow.next, flow.last = message.sequence + 1, message.last or flow.last
        self.bytes_held += size
        ownership.lane.append((message.stage, next(self._arrivals), message, size))
        self._flush(ownership)

    def _head(self, process: Process, head: Head) -> None:
        key: FlowKey = (head.partition, head.epoch, head.topic)
        if not (process.begun and self._joined):
            known = process.heads.get(key)
            if known is None or head.next >= known.next:
                process.heads[key] = head
            return
        ownership = self._find(process, head.partition, head.epoch)
        if ownership is None:
            return
        flow = process.flows.setdefault(key, Flow())
        if head.next > flow.next:
            current = self._known(head.partition)
            if current is not None and current is not ownership and current.process is not process:
                return
            stage = max((one.stage for one in ownership.said.values()), default=0)
            self._hole(ownership, head.topic, flow, head.next, stage, last=head.last)
            flow.next, flow.last = head.next, head.last or flow.last
            if stage <= ownership.open_stage:  # else others may open at this very tick: see _open
                self._flush(ownership)

    def _hole(  # noqa: PLR0913 - one place that makes what two callers notice
        self,
        ownership: Ownership,
        topic: str,
        flow: Flow,
        end: int,
        stage: int,
        *,
        before: RecordVersion | None = None,
        last: RecordVersion | None = None,
    ) -> None:
        floor = None if ownership.starts_at is None else just_before(ownership.starts_at)
        if floor is None or (self._passed is not None and floor < self._passed):
            floor = self._passed
        missing = Missing(
            incarnation=ownership.process.incarnation,
            topic=topic,
            partition=ownership.id,
            epoch=ownership.epoch,
            sequences=(flow.next, end - 1),
            after=flow.last or floor,
            before=before,
            last=last,
        )
        ownership.lane.append((stage, next(self._arrivals), Hole(missing), 0))

    # ------------------------------------------------------------- ownerships

    def _known(self, partition: PartitionId) -> Ownership | None:
        return self._current.get(partition) or self._gone.get(partition)

    def _find(self, process: Process, partition: PartitionId, epoch: int) -> Ownership | None:
        """The ownership that something was sent under; None where it is out of date and unknown."""
        place = (partition, epoch, process.incarnation)
        ownership = self._ownerships.get(place)
        current = self._known(partition)
        if ownership is None:
            if (
                current is not None
                and epoch < current.epoch
                and (current.process is not process or current.continuous)
            ):
                return None
            ownership = self._ownerships[place] = Ownership(partition, epoch, process)
            if current is not None and epoch < current.epoch:
                self._put_before(current, ownership)
        return ownership

    @staticmethod
    def _put_before(later: Ownership, earlier: Ownership) -> None:
        """Of an ownership that no tick told, as the next one came before it: they follow on each other."""
        while later.before is not None and later.before.epoch > earlier.epoch:
            later = later.before
        if later.before is not earlier:
            earlier.before, later.before = later.before, earlier
        earlier.starts_at, earlier.parents = later.starts_at, later.parents

    def _told(self, process: Process, told: Told) -> Ownership | None:
        """The ownership that a tick speaks of; None where it is out of date."""
        partition, epoch = told.id, told.epoch
        place = (partition, epoch, process.incarnation)
        current = self._known(partition)
        if current is not None and epoch <= current.epoch:
            if current.process is process:
                if epoch < current.epoch:
                    return self._ownerships.get(place)
                if not current.ended and partition in self._gone:
                    self._current[partition] = self._gone.pop(partition)
                return current
            if epoch == current.epoch:
                self.clashes.setdefault(partition, epoch)
                clashing = self._ownerships.setdefault(place, Ownership(partition, epoch, process))
                clashing.continuous, clashing.open_stage = True, _LAST_STAGE
                self._flush(clashing)
            return None
        ownership = self._ownerships.get(place)
        if ownership is None:
            ownership = self._ownerships[place] = Ownership(partition, epoch, process)
        while (
            current is not None
            and not current.continuous
            and current.process is not process
            and (current.starts_at is None or told.starts_at <= current.starts_at)
        ):
            current = current.before  # it never came to anything: all that it sent is sent again
        ownership.before = current
        self._current[partition] = ownership
        self._gone.pop(partition, None)
        for other in sorted(key for key in self._ownerships if key[0] == partition and key[1] < epoch):
            old = self._ownerships[other]
            if old is not current and old.process is not process and not old.continuous:
                self._drop(old)
            if old.process is process and old.starts_at is None:
                self._put_before(ownership, old)
            elif old is not current:  # of the one before messages may still be on their way
                del self._ownerships[other]
        return ownership

    def _count_members(self, tick: Tick) -> None:
        if tick.generation >= self._generation and tick.generation:
            self._generation, self._members = (
                tick.generation,
                frozenset(one.incarnation for one in tick.relays),
            )

    def _is_member(self, process: Process) -> bool:
        """Whether it is one of those that own partitions now; of single relays it is the newest."""
        if self._generation:
            return process.incarnation in self._members
        return process.epoch >= max(one.epoch for one in self._processes.values())

    def _judge(self, now: float) -> None:
        """Conclude what can be concluded after a tick, or after some time."""
        if not self._joined and not self._join(now):
            return
        for process in self._processes.values():
            if process.begun and (process.heads or process.early):
                self._begin(process)
        waits = self._succeeds() or self._missed or self._abandons(now)
        self._missed = False
        by_start = sorted(self._current.values(), key=lambda one: (one.starts_at or EARLIEST, one.epoch))
        for ownership in by_start:
            self._is_continuous(ownership)
        # What has to be read again comes before whatever opens now.
        waits = self._wait([one for one in by_start if not one.continuous], now) or waits
        for process in () if waits else self._processes.values():
            waits = self._open(process) or waits
        waits = waits or self._wait([one for one in by_start if one.continuous], now)
        if waits:
            self._read_again()
        self._raise()
        self._retire()

    def _wait(self, ownerships: Sequence[Ownership], now: float) -> bool:
        """Whether one of these has waited for so long that it is to be read again."""
        longest = 0.0
        for ownership in ownerships:
            if ownership.continuous and not ownership.lane and self._moves_are_over(ownership):
                ownership.waits_since = None
            elif ownership.told and ownership.process.settled:  # else what is not known yet will be told
                if ownership.waits_since is None:
                    ownership.waits_since = now
                longest = max(longest, 1e-9, now - ownership.waits_since)
        # Of a single relay that is gone nothing more comes; of several, the other may be late.
        return longest > 0 and longest >= (self._patience_s if self._generation else 0.0)

    def _join(self, now: float) -> bool:
        """Begin to follow once all members are known; whether it has begun."""
        heard = [one for one in self._processes.values() if one.senders]
        begun = [one for one in heard if one.begun]
        if self._waits_to_join_since is None:
            self._waits_to_join_since = now
        awaited = self._members - {one.incarnation for one in begun} if self._generation else ()
        if not begun or (
            (awaited or len(begun) < len(heard)) and now - self._waits_to_join_since < self._patience_s
        ):
            return False
        newest = self._newest(sent=True)
        if self._start is None and newest is None and self._generation:
            return False  # nobody has a partition yet: there is no place to begin at
        self._joined = True
        if not self._generation:
            begun = [max(begun, key=lambda one: one.epoch)]
            for one in [one for one in self._current.values() if one.process is not begun[0]]:
                self._go(one.id)
        # An end is told for a while: a sender that does not tell it has told it before.
        for one in [one for one in self._current.values() if one.ending and not one.told]:
            self._go(one.id)
        for process in begun:
            process.settled = True
        if len(begun) == 1 and not begun[0].reads:
            self._whole = begun[0]
        for process in begun:
            self._baseline(process)
        if self._start is None:  # nothing is owed that was committed before
            self._assured = self._marked = self._passed = newest
            self._take_all_over()
        else:
            self._read_again()
        return True

    def _baseline(self, process: Process) -> None:
        """Its flows are owed from where they stand, what came early included."""
        for key, head in process.heads.items():
            process.flows[key] = Flow(head.next, head.last)
        process.heads.clear()
        self._take_early(process)

    def _begin(self, process: Process) -> None:
        """A process that comes while others are followed: its flows are owed from their first message."""
        heads = list(process.heads.values())
        process.heads.clear()
        self._take_early(process)
        for head in heads:
            self._head(process, head)

    def _take_early(self, process: Process) -> None:
        early, process.early = process.early, []
        for message, size in early:
            self.bytes_held -= size
            self._take(process, message, size)

    def _is_continuous(self, ownership: Ownership, *, told: bool = False) -> bool:
        """Whether all that was changed before it began stands in the queue.

        `told`: what came after it in the same process is told, so all that was sent under it is.
        """
        if ownership.continuous:
            return True
        begins = ownership.starts_at
        if begins is None or not (told or ownership.told) or not ownership.process.settled:
            return False
        before = ownership.before
        if self._assured is not None and begins <= self._assured:
            found = True
        elif before is not None:
            found = self._precedes(before, ownership, begins)
        elif not ownership.parents:
            found = self._start is None and self._whole is ownership.process  # one of its first partitions
        else:
            parents = [self._known(one) for one in ownership.parents]
            found = bool(parents) and all(
                one is not None and self._precedes(one, ownership, begins) for one in parents
            )
            # One that begins behind its parents' ends was owned before, by somebody unknown.
            ends = [one.end for one in parents if one is not None]
            found = found and any(end is None or end >= begins for end in ends)
        if found:
            ownership.continuous = True
            ownership.before = None
        return found

    def _precedes(self, earlier: Ownership, later: Ownership, begins: Timestamp) -> bool:
        """Whether all of an ownership that another one follows on stands in the queue."""
        if not self._is_continuous(earlier, told=earlier.process is later.process):
            return False
        if earlier.process is later.process:
            # It was told behind all that the earlier one sent before: `_open` keeps them in that order.
            if earlier.id == later.id:
                earlier.open_stage = _LAST_STAGE
                later.lane.extendleft((0, *entry[1:]) for entry in reversed(earlier.lane))
                earlier.lane.clear()
            return True
        self._flush(earlier)
        if earlier.lane:
            return False
        if earlier.starts_at == begins:
            return True  # it began at the same place, and so all of it is sent again
        complete = earlier.complete
        return complete is not None and complete >= begins

    def _flush(self, ownership: Ownership) -> None:
        """Queue what may follow by now."""
        if not ownership.continuous or not ownership.lane:
            return
        if (
            ownership.lane[-1][0] > ownership.open_stage
            and self._moves_are_over(ownership)
            and not self._is_held_up(ownership)
        ):
            ownership.open_stage = max(ownership.open_stage, ownership.stage)
        while ownership.lane and ownership.lane[0][0] <= ownership.open_stage:
            self._append(*ownership.lane.popleft()[2:])

    def _open(self, process: Process) -> bool:
        """Queue what a process has told to follow now; whether it can only be read again.

        It sent all in a good order: that in which it came. Ticks that were lost may leave several of its
        partitions to open at once; where a message is missing then, its place among theirs is not known.
        """
        opening = [
            one
            for one in self._current.values()
            if one.process is process
            and one.continuous
            and one.stage > one.open_stage
            and self._moves_are_over(one)
        ]
        together: set[PartitionId] = set()
        while len(together) != len(opening):  # whatever is held up holds up what follows on it
            together = {one.id for one in opening}
            opening = [one for one in opening if not self._is_held_up(one, together)]
        entries = {one.id: [entry for entry in one.lane if entry[0] <= one.stage] for one in opening}
        behind = [entry for waiting in entries.values() for entry in waiting]
        if sum(map(bool, entries.values())) > 1 and any(isinstance(entry[2], Hole) for entry in behind):
            return True
        for _, _, entry, size in sorted(behind, key=lambda entry: entry[1]):
            self._append(entry, size)
        for one in opening:
            one.open_stage = one.stage
            one.lane = deque(entry for entry in one.lane if entry[0] > one.stage)
        return False

    def _moves_are_over(self, ownership: Ownership) -> bool:
        """Whether nothing is to come any more of what moved in; one process sends it in order itself."""
        for move, over in ownership.moves.items():
            if over or (self._assured is not None and move.at <= self._assured):
                continue
            source = self._known(move.source)
            if source is None:
                return False  # it came and ended unheard
            if source.process is ownership.process and source.continuous:
                continue
            complete = source.complete
            if not source.continuous or source.lane or complete is None or complete < move.at:
                return False
            ownership.moves[move] = True
        return True

    def _is_held_up(self, ownership: Ownership, opening: Collection[PartitionId] = ()) -> bool:
        """Whether something waits that its process sent before, of what it follows on; `opening` goes on."""
        place, process = ownership.lane[0][1] if ownership.lane else next(self._arrivals), ownership.process
        seen, follow = set(), [ownership]
        while follow:
            one = follow.pop()
            for before in (*one.parents, *(move.source for move in one.moves)):
                earlier = self._known(before)
                if earlier is None or earlier.process is not process or before in seen:
                    continue
                if earlier.lane and earlier.lane[0][1] < place and before not in opening:
                    return True
                seen.add(before)
                follow.append(earlier)
        return False

    def _append(self, entry: Any, size: int) -> None:
        if isinstance(entry, Hole):
            if not self.can_ask:
                if self._passed is not None and entry.until is not None and entry.until <= self._passed:
                    return  # it is not owed
                entry, size = entry.missing.error(), 0
            else:
                self._to_ask.append(entry)
        self._queue.append((entry, size))

    # ------------------------------------------------------------- replays

    def _newest(self, *, sent: bool = False) -> Timestamp | None:
        """No change that is missing is newer than this; with `sent`: none that was sent."""
        times = [
            sender.newest
            for process in self._processes.values()
            for sender in process.senders.values()
            if sender.newest is not None
        ]
        starts = [one.starts_at for one in self._current.values() if one.starts_at is not None]
        times += map(just_before, starts) if sent else starts
        return max(times, default=None)

    def _read_again(self) -> None:
        """Have all be read again from the watermark on: whatever was missed before is in it."""
        until = self._newest()
        if until is not None and (self._assured is None or until > self._assured):
            self._queue_replay(until)
        self._take_all_over()

    def _take_all_over(self) -> None:
        for ownership in self._current.values():
            self._take_over(ownership)
            self._flush(ownership)

    def _take_over(self, ownership: Ownership) -> None:
        """Whatever came before it is queued, or is not owed."""
        if (before := ownership.before) is not None and before.process is ownership.process:
            self._take_over(before)
            before.open_stage = _LAST_STAGE
            self._flush(before)
        ownership.continuous = True
        ownership.before = None
        ownership.waits_since = None
        ownership.moves = dict.fromkeys(ownership.moves, True)
        told = max((one.stage for one in ownership.said.values()), default=0)
        ownership.open_stage = max(ownership.open_stage, told)

    def _queue_replay(self, until: Timestamp) -> None:
        after, self._assured = self._assured, until
        if after is None:
            after = min((one.starts_at for one in self._current.values() if one.starts_at), default=None)
        if self.can_ask or not self._has_passed_start:
            self._queue.append((Replay(until, after), 0))
        else:
            self._queue.extend(((self._uncertain(after, until), 0), (Mark(until, lost=True), 0)))

    @property
    def _has_passed_start(self) -> bool:
        """Whether it is not what the consumer itself asked to start with."""
        return self._start is None or self._passed != self._start.watermark

    def _give_up(self, hole: Hole) -> None:
        """A hole that the ring cannot fill: read from Spanner, up to the newest there is, for others too."""
        self._drop_answer(hole)
        until = hole.until
        newest = self._newest()
        if until is None or (newest is not None and newest > until):
            until = newest
        after = hole.missing.after
        for place, (entry, _) in enumerate(self._queue):
            if entry is hole:
                if until is None or not (self._passed or after):
                    self._queue[place] = (hole.missing.error(), 0)
                else:
                    self._queue[place] = (Replay(until, None if after is None else _time(after)), 0)
                return

    def _drop_answer(self, hole: Hole) -> None:
        self.bytes_held -= sum(size for _, size in hole.messages)
        hole.messages.clear()

    def _fill(self, hole: Hole) -> bool:
        """Put what fills a hole at the head of the queue in its place; whether it was there."""
        covered = self._passed is not None and hole.until is not None and hole.until <= self._passed
        if not (hole.filled or covered):
            return False
        self._queue.popleft()
        if hole.asked is not None:
            self._asked.pop(hole.asked, None)
        if covered and not hole.filled:
            self._drop_answer(hole)
            hole.filled = True
        else:
            self._handing.extend(hole.messages)
        return True

    # ------------------------------------------------------------- the watermark

    def _least(self) -> Ownership | None:
        """The one that holds the watermark."""
        found: Ownership | None = None
        for ownership in self._current.values():
            complete = ownership.complete
            if complete is not None and (
                found is None or found.complete is None or complete < found.complete
            ):
                found = ownership
        return found

    def _raise(self) -> None:
        for ownership in self._current.values():
            if not (ownership.continuous and ownership.told) or ownership.lane:
                return
            if not self._moves_are_over(ownership):
                return
        if (least := self._least()) is None or (complete := least.complete) is None:
            return
        if self._marked is not None and complete <= self._marked:
            return
        self._marked = complete
        self._assured = complete if self._assured is None else max(self._assured, complete)
        mark = self._queue[-1][0] if self._queue else None
        if isinstance(mark, Mark) and not mark.lost:  # ticks alone must not pile up
            mark.watermark = complete
        else:
            self._queue.append((Mark(complete), 0))

    def _pass(self, watermark: Timestamp, *, lost: bool = False) -> None:
        if self._passed is not None and watermark <= self._passed:
            return
        self._passed = watermark
        self._marks += 1
        if self._marks % _PRUNE_EVERY == 0 or lost:
            for place, window in list(self._windows.items()):
                state = window.state()
                if state is None or state[0] <= watermark:
                    del self._windows[place]

    def _succeeds(self) -> bool:
        """Take a single relay that comes after another for its successor; whether that lost something.

        Once it has told all partitions that it has, what is left of the other's must have ended: else
        changes of those may have been sent that nobody tells of any more.
        """
        newest = max(self._processes.values(), key=lambda one: one.epoch)
        if newest.settled or not newest.begun:
            return False
        if self._generation:  # of several relays, another one may still have to take what is left
            for process in self._processes.values():
                process.settled = process.settled or process.begun
            return False
        left = [one for one in self._current.values() if one.process is not newest]
        if len(left) == len(self._current) or (left and not newest.reads):
            return False
        newest.settled = True
        for ownership in left:
            self._go(ownership.id)
        return not all(one.continuous and not one.lane and one.ended for one in left)

    def _abandons(self, now: float) -> bool:
        """Give up what nobody has told to have taken for long, of a relay that is no member any more.

        Likewise what was released and whose children are read, which they are not before it has ended.
        """
        left = [
            one
            for one in self._current.values()
            if not self._is_member(one.process) or (one.released and self._has_children(one))
        ]
        members = [one for one in self._processes.values() if one.incarnation in self._members]
        known = len(members) == len(self._members) and all(one.begun and one.sure for one in members)
        if not (self._generation and left and known):
            self._left_since = None
            return False
        if self._left_since is None:
            self._left_since = now
        if now - self._left_since < self._patience_s:
            return False
        self._left_since = None
        for ownership in left:
            self._go(ownership.id)
        return True

    def _has_children(self, ownership: Ownership) -> bool:
        """Whether some are known; None are where keys move: there a child says nothing of its parent."""
        everyone = (*self._current.values(), *self._gone.values())
        return any(one.children for one in everyone) and any(ownership.id in one.parents for one in everyone)

    def _miss(self, process: Process, tick: Tick) -> None:
        """Notice the partitions that a tick tells no more: their end was told in ticks that were lost.

        So were, perhaps, the heads of their last messages, and their children: that is read again.
        """
        present = {(told.id, told.epoch) for told in tick.partitions}
        broken = process.senders[tick.sender].broken
        for ownership in self._current.values():
            if ownership.process is not process or (ownership.id, ownership.epoch) in present:
                continue
            said = ownership.said.get(tick.sender)
            if said is not None and said.state == "ended" and not all(map(self._known, ownership.children)):
                ownership.children = ()  # they came and ended, too; one that still waits has another parent
            elif said is None and broken and ownership.ending:
                said = next(one for one in ownership.said.values() if one.state == "ended")
            elif said is None or said.state != "live":
                continue
            ownership.said[tick.sender] = Said(said.position, said.stage, "ended")
            self._missed = True

    def _retire(self) -> None:
        """Set aside what has ended in partitions that are known."""
        over = [
            one
            for one in self._current.values()
            if one.continuous and not one.lane and one.ended and all(map(self._known, one.children))
        ]
        for ownership in over:
            self._go(ownership.id)
        if over:
            self._raise()

    def _go(self, partition: PartitionId) -> None:
        self._gone[partition] = self._current.pop(partition)
        while len(self._gone) > _REMEMBERED:
            _, ownership = self._gone.popitem(last=False)
            self._forget_ownership(ownership)

    def _forget_ownership(self, ownership: Ownership) -> None:
        for place in [key for key in self._ownerships if key[0] == ownership.id]:
            self._drop(self._ownerships.pop(place))
            flows = ownership.process.flows
            for key in [one for one in flows if one[0] == place[0]]:
                del flows[key]

    def _forget_process(self) -> None:
        """Drop the oldest process that has nothing any more."""
        used = {one.process.incarnation for one in self._current.values()}
        for incarnation, process in self._processes.items():
            if incarnation not in used:
                self.bytes_held -= sum(size for _, size in process.early)
                del self._processes[incarnation]
                return

    def _drop(self, ownership: Ownership) -> None:
        self.bytes_held -= sum(size for *_, size in ownership.lane)
        ownership.lane.clear()

    # ------------------------------------------------------------- what cannot be had

    @staticmethod
    def _gap(what: str, after: Timestamp | None, until: Timestamp, *, certain: bool) -> Gap:
        """Of whatever topic and partition."""
        return Gap(
            f"{what}; read the rows again from Spanner",
            topic=None, partition=None, epoch=None, incarnation=None, output=None, sequences=None,
            after=after, before=until, last=None, certain=certain,
        )  # fmt: skip

    def _gone_for_ever(self, after: Timestamp, until: Timestamp) -> Gap:
        why = "cannot be had any more: they are older than Spanner keeps them"
        return self._gap(f"changes after {after}, up to {until}, {why}", after, until, certain=True)

    def _uncertain(self, after: Timestamp | None, until: Timestamp) -> Gap:
        begin = "the beginning" if after is None else after
        return self._gap(f"changes may be missing: after {begin}, up to {until}", after, until, certain=False)


_LAST_STAGE = 1 << 32


def _time(bound: RecordVersion | Timestamp) -> Timestamp:
    return bound if isinstance(bound, Timestamp) else bound.commit_timestamp
