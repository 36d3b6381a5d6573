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
from collections import deque
from collections.abc import Callable, Collection, Sequence
from typing import TYPE_CHECKING, Any

from spanwire._core import Window
from spanwire.consumer.asks import Ask, AskHeads
from spanwire.consumer.facts import Arrival, Head, Missing, PartitionId, Tick
from spanwire.consumer.line import ASK_AGAIN_S, Hole, Line, time_of
from spanwire.consumer.owners import Owners
from spanwire.consumer.ownership import LAST_STAGE, Flow, FlowKey, Ownership, Process, Said
from spanwire.consumer.reached import Frontier, Reached
from spanwire.timestamps import EARLIEST, just_before

if TYPE_CHECKING:
    from spanwire._core import RecordVersion, Timestamp


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
        self._patience_s = patience_s
        self.most_bytes = most_bytes
        self._owners = owners = Owners(self._free)
        self._line = Line(start=start, can_ask=can_ask, newest=owners.newest, window=window, restore=restore)
        self._arrivals = itertools.count()
        self._whole: Process | None = None
        """The process that is known from its very beginning."""
        self._joined = False
        self._missed = False
        """A partition's end, and with it perhaps what it sent last."""
        self._waits_to_join_since: float | None = None
        self._left_since: float | None = None
        self._asked_heads_at: float | None = None
        self.dropped = 0
        """Messages that came while too much waited: they are asked for like any that was lost."""

    @property
    def can_ask(self) -> bool:
        """Whether there is somebody who answers."""
        return self._line.can_ask

    @can_ask.setter
    def can_ask(self, can: bool) -> None:
        self._line.can_ask = can

    @property
    def watermark(self) -> Timestamp | None:
        """All changes up to here were handed over, or their loss was told; it never goes back."""
        return self._line.watermark

    @property
    def bytes_held(self) -> int:
        """Of messages that wait here."""
        return self._line.bytes_held

    @property
    def clashes(self) -> dict[PartitionId, int]:
        """Partitions that two processes own under one epoch, and that epoch: it must rise."""
        return self._owners.clashes

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
        process = self._owners.process(message.incarnation)
        if process.begun and self._joined:
            self._take(process, message, size)
        else:
            self._line.bytes_held += size
            process.early.append((message, size))

    def tick(self, tick: Tick, now: float) -> None:
        """Take a tick. One that came before changes nothing."""
        process = self._owners.process(tick.incarnation)
        process.expected = min(tick.senders, self._endpoints or tick.senders)
        sender = process.hear(tick)
        if sender is None:
            return
        if not sender.sure:
            return  # heads were told in one that was lost: a complete one comes, and is asked for
        self._owners.count_members(tick)
        process.epoch = max([process.epoch, *(told.epoch for told in tick.partitions)])
        if self._owners.is_superseded(process):
            return
        for told in sorted(tick.partitions, key=lambda one: one.starts_at):  # parents before children
            process.reads = process.reads or told.position is not None
            ownership = self._owners.told(process, told)
            if ownership is not None:
                ownership.tell(told, tick.sender)
            elif (clashing := self._owners.clashing(process, told)) is not None:
                self._flush(clashing)
        self._miss(process, tick)
        for head in tick.heads:
            if head.topic.startswith(self._topics):
                self._head(process, head)
        process.begun = process.begun or process.sure
        self._judge(now)

    def time(self, now: float) -> None:
        """Let time pass where nothing comes: it decides while others than who has told may still tell."""
        if self._owners.processes and not (self._joined and self._owners.generation == 0):
            self._judge(now)

    # ------------------------------------------------------------- what to ask for, and the answers

    def requests(self, now: float) -> list[Ask]:
        """What to ask for now; each is given once, unless it is `lost`."""
        if not self._line.may_ask(now):
            return []
        asks: list[Ask] = []
        unsure = not self._joined or any(
            not one.sure for one in self._owners.processes.values() if self._owners.is_member(one)
        )
        if unsure and (self._asked_heads_at is None or now - self._asked_heads_at >= ASK_AGAIN_S):
            self._asked_heads_at = now
            asks.append(AskHeads(self._line.next_id()))
        return [*asks, *self._line.asks()]

    def repaired(self, id: int, message: Arrival, size: int = 0) -> None:
        """A message of an answer."""
        self._line.repaired(id, message, size)

    def progress(self, id: int, position: Timestamp) -> None:
        """All changes of a replay up to here have come."""
        self._line.progress(id, position)

    def done(self, id: int, now: float) -> None:
        """An answer has come whole."""
        self._line.done(id)

    def refused(
        self, id: int, reason: str, oldest: Timestamp | None = None, text: str = "", now: float = 0.0
    ) -> None:
        """An answer is not to be had. `reason` as in the schema's `Reply.Reason`."""
        self._line.refused(id, reason, oldest, text, now)

    def lost(self, id: int, now: float) -> None:
        """Who was asked has gone away: it is asked again, a replay from where it has come to."""
        self._line.lost(id)

    # ------------------------------------------------------------- what goes on

    @property
    def waits_for_answer(self) -> bool:
        """Nothing goes on before an answer has come: more live messages would only pile up."""
        return self._line.waits_for is not None

    @property
    def blocked_by(self) -> str | None:
        """Why nothing goes on, or the watermark stands still; None where that is not so."""
        if not self._joined:
            return "no relay has told where it stands"
        if (what := self._line.waits_for) is not None:
            return f"{what} has not come yet" if self.can_ask else "no relay answers requests"
        for ownership in self._owners.current.values():
            if not ownership.continuous:
                return f"partition {ownership.id.hex()}: what came before it is not known yet"
        least = self._owners.least()
        return None if least is None else f"partition {least.id.hex()} is complete up to {least.complete}"

    @property
    def held_by(self) -> PartitionId | None:
        """The partition that holds the watermark."""
        least = self._owners.least()
        return None if least is None else least.id

    @property
    def baselines(self) -> int:
        """Senders that are known: whatever they lose is noticed."""
        processes = self._owners.processes.values()
        return sum(one.sure for process in processes for one in process.senders.values())

    def next(self) -> Any:
        """The next message to hand over, or a `Gap`; None where there is none. Raises `RefusedError`."""
        return self._line.next()

    def fresh(self, message: Arrival) -> list[Any]:
        """Its changes that were not handed over before; they count as handed over now."""
        window = self._line.window(message.partition, message.topic)
        fresh: list[Any] = window.admit(message.changes())
        return fresh

    def window(self, partition: PartitionId, topic: str) -> Any:
        """What was handed over of a topic and partition."""
        return self._line.window(partition, topic)

    def settle(self) -> None:
        """Raise the watermark: all that `next` gave was handed over."""
        self._line.settle()

    def clear(self) -> None:
        """Drop what waits. The watermark stays where it is."""
        self._line.clear()

    def reached(self) -> Reached:
        """Where to go on from, once all that `next` gave was handed over."""
        return self._line.reached()

    # ------------------------------------------------------------- flows

    def _free(self, size: int) -> None:
        """So many bytes wait no more."""
        self._line.bytes_held -= size

    def _shed(self) -> None:
        """Make room: what came before its process was known counts as lost."""
        for process in self._owners.processes.values():
            self.dropped += len(process.early)
            self._free(sum(size for _, size in process.early))
            process.early.clear()

    def _take(self, process: Process, message: Arrival, size: int) -> None:
        current = self._owners.known(message.partition)
        ownership = self._owners.find(process, message.partition, message.epoch)
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
        self._line.bytes_held += size
        ownership.lane.append((message.stage, next(self._arrivals), message, size))
        self._flush(ownership)

    def _head(self, process: Process, head: Head) -> None:
        key: FlowKey = (head.partition, head.epoch, head.topic)
        if not (process.begun and self._joined):
            known = process.heads.get(key)
            if known is None or head.next >= known.next:
                process.heads[key] = head
            return
        ownership = self._owners.find(process, head.partition, head.epoch)
        if ownership is None:
            return
        flow = process.flows.setdefault(key, Flow())
        if head.next > flow.next:
            current = self._owners.known(head.partition)
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
        before_it = None if ownership.starts_at is None else just_before(ownership.starts_at)
        floor = max((at for at in (before_it, self._line.passed) if at is not None), default=None)
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

    # ------------------------------------------------------------- what follows on what

    def _judge(self, now: float) -> None:
        """Conclude what can be concluded after a tick, or after some time."""
        if not self._joined and not self._join(now):
            return
        for process in self._owners.processes.values():
            if process.begun and (process.heads or process.early):
                self._begin(process)
        waits = self._succeeds() or self._missed or self._abandons(now)
        self._missed = False
        by_start = sorted(
            self._owners.current.values(), key=lambda one: (one.starts_at or EARLIEST, one.epoch)
        )
        for ownership in by_start:
            self._is_continuous(ownership)
        # What has to be read again comes before whatever opens now.
        waits = self._wait([one for one in by_start if not one.continuous], now) or waits
        for process in () if waits else self._owners.processes.values():
            waits = self._open(process) or waits
        waits = waits or self._wait([one for one in by_start if one.continuous], now)
        if waits:
            self._read_again()
        self._raise()
        self._retire()

    def _wait(self, ownerships: Sequence[Ownership], now: float) -> bool:
        """Whether one of these has waited for so long that it is to be read again."""
        # Of a single relay that is gone nothing more comes; of several, the other may be late.
        patience = self._patience_s if self._owners.generation else 0.0
        waits = False
        for ownership in ownerships:
            if ownership.continuous and not ownership.lane and self._moves_are_over(ownership):
                ownership.waits_since = None
            elif ownership.told and ownership.process.settled:  # else what is not known yet will be told
                if ownership.waits_since is None:
                    ownership.waits_since = now
                waited = now - ownership.waits_since
                if not self._waits_for_a_name(ownership):
                    waits = waits or waited >= patience
                elif any(one.broken for one in ownership.process.senders.values()):
                    waits = waits or waited >= self._patience_s  # else it cannot have ended unheard
        return waits

    def _waits_for_a_name(self, ownership: Ownership) -> bool:
        """Whether keys moved in from a partition of which nothing was told: most likely nothing yet."""
        return ownership.continuous and any(
            not (over or self._owners.known(move.source) or self._is_assured(move.at))
            for move, over in ownership.moves.items()
        )

    def _is_assured(self, at: Timestamp) -> bool:
        return self._line.assured is not None and at <= self._line.assured

    def _join(self, now: float) -> bool:
        """Begin to follow once all members are known; whether it has begun."""
        heard = [one for one in self._owners.processes.values() if one.senders]
        begun = [one for one in heard if one.begun]
        if self._waits_to_join_since is None:
            self._waits_to_join_since = now
        awaited = self._owners.members - {one.incarnation for one in begun} if self._owners.generation else ()
        if not begun or (
            (awaited or len(begun) < len(heard)) and now - self._waits_to_join_since < self._patience_s
        ):
            return False
        newest = self._owners.newest(sent=True)
        if newest is None and (self._start is not None or self._owners.generation):
            return False  # nobody has a partition yet: what it takes from its store is not told either
        self._joined = True
        if not self._owners.generation:
            begun = [max(begun, key=lambda one: one.epoch)]
            for one in [one for one in self._owners.current.values() if one.process is not begun[0]]:
                self._owners.go(one.id)
        # An end is told for a while: a sender that does not tell it has told it before.
        for one in [one for one in self._owners.current.values() if one.ending and not one.told]:
            self._owners.go(one.id)
        for process in begun:
            process.settled = True
        if len(begun) == 1 and not begun[0].reads:
            self._whole = begun[0]
        for process in begun:
            self._baseline(process)
        if self._start is None:  # nothing is owed that was committed before
            self._line.begin_at(newest)
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
            self._free(size)
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
        if self._is_assured(begins):
            found = True
        elif before is not None:
            found = self._precedes(before, ownership, begins)
        elif not ownership.parents:
            found = self._start is None and self._whole is ownership.process  # one of its first partitions
        else:
            parents = [self._owners.known(one) for one in ownership.parents]
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
                earlier.open_stage = LAST_STAGE
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
            self._line.append(*ownership.lane.popleft()[2:])

    def _open(self, process: Process) -> bool:
        """Queue what a process has told to follow now; whether it can only be read again.

        It sent all in a good order: that in which it came. Ticks that were lost may leave several of its
        partitions to open at once; where a message is missing then, its place among theirs is not known.
        """
        opening = [
            one
            for one in self._owners.current.values()
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
            self._line.append(entry, size)
        for one in opening:
            one.open_stage = one.stage
            one.lane = deque(entry for entry in one.lane if entry[0] > one.stage)
        return False

    def _moves_are_over(self, ownership: Ownership) -> bool:
        """Whether nothing is to come any more of what moved in; one process sends it in order itself."""
        for move, over in ownership.moves.items():
            if over or self._is_assured(move.at):
                continue
            source = self._owners.known(move.source)
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
        """Whether something waits of what it follows on, up to where it does; `opening` goes on.

        Of its own process only: what that sent before came before.
        """
        place, process = ownership.lane[0][1] if ownership.lane else next(self._arrivals), ownership.process
        seen: set[tuple[PartitionId, Timestamp | None]] = set()
        follow = [ownership]
        while follow:
            one = follow.pop()
            begins = [(parent, one.starts_at) for parent in one.parents]
            for before, at in (*begins, *((move.source, move.at) for move in one.moves)):
                earlier = self._owners.known(before)
                if earlier is None or earlier.process is not process or (before, at) in seen:
                    continue
                if before not in opening and any(
                    came < place and _may_be_before(entry, at) for _, came, entry, _ in earlier.lane
                ):
                    return True
                seen.add((before, at))
                follow.append(earlier)
        return False

    # ------------------------------------------------------------- what is read again, and the watermark

    def _read_again(self) -> None:
        """Have all be read again from the watermark on: whatever was missed before is in it."""
        if (until := self._owners.newest()) is not None:
            self._line.read_again(until, self._owners.oldest_start())
        self._take_all_over()

    def _take_all_over(self) -> None:
        for ownership in self._owners.current.values():
            self._take_over(ownership)
            self._flush(ownership)

    def _take_over(self, ownership: Ownership) -> None:
        """Whatever came before it is queued, or is not owed."""
        if (before := ownership.before) is not None and before.process is ownership.process:
            self._take_over(before)
            before.open_stage = LAST_STAGE
            self._flush(before)
        ownership.continuous = True
        ownership.before = None
        ownership.waits_since = None
        ownership.moves = dict.fromkeys(ownership.moves, True)
        told = max((one.stage for one in ownership.said.values()), default=0)
        ownership.open_stage = max(ownership.open_stage, told)

    def _raise(self) -> None:
        for ownership in self._owners.current.values():
            if not (ownership.continuous and ownership.told) or ownership.lane:
                return
            if not self._moves_are_over(ownership):
                return
        least = self._owners.least()
        if least is not None and least.complete is not None:
            self._line.mark(least.complete)

    # ------------------------------------------------------------- who comes after whom

    def _succeeds(self) -> bool:
        """Take a single relay that comes after another for its successor; whether that lost something.

        Once it has told all partitions that it has, what is left of the other's must have ended: else
        changes of those may have been sent that nobody tells of any more.
        """
        newest = max(self._owners.processes.values(), key=lambda one: one.epoch)
        if newest.settled or not newest.begun:
            return False
        if self._owners.generation:  # of several relays, another one may still have to take what is left
            for process in self._owners.processes.values():
                process.settled = process.settled or process.begun
            return False
        left = [one for one in self._owners.current.values() if one.process is not newest]
        if len(left) == len(self._owners.current) or (left and not newest.reads):
            return False
        newest.settled = True
        for ownership in left:
            self._owners.go(ownership.id)
        return not all(one.continuous and not one.lane and one.ended for one in left)

    def _abandons(self, now: float) -> bool:
        """Whether to read again, because for long nobody has told to have what a relay has left.

        It may have ended unheard, or nobody has taken it: then it has to go on holding the watermark. It is
        over for certain where its children are read, which they are not before it has ended.
        """
        if not self._owners.generation:
            return False
        left = [
            one
            for one in self._owners.current.values()
            if one.released or not self._owners.is_member(one.process)
        ]
        members = [one for one in self._owners.processes.values() if one.incarnation in self._owners.members]
        known = len(members) == len(self._owners.members) and all(one.begun and one.sure for one in members)
        if not (left and known):
            self._left_since = None
            return False
        if self._left_since is None:
            self._left_since = now
        if now - self._left_since < self._patience_s:
            return False
        self._left_since = None
        for ownership in left:
            if self._owners.has_children(ownership):
                self._owners.go(ownership.id)
        return True

    def _miss(self, process: Process, tick: Tick) -> None:
        """Notice the partitions that a tick tells no more: their end was told in ticks that were lost.

        So were, perhaps, the heads of their last messages, and their children: that is read again.
        """
        present = {(told.id, told.epoch) for told in tick.partitions}
        broken = process.senders[tick.sender].broken
        for ownership in self._owners.current.values():
            if ownership.process is not process or (ownership.id, ownership.epoch) in present:
                continue
            said = ownership.said.get(tick.sender)
            if (
                said is not None
                and said.state == "ended"
                and not all(map(self._owners.known, ownership.children))
            ):
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
            for one in self._owners.current.values()
            if one.continuous and not one.lane and one.ended and all(map(self._owners.known, one.children))
        ]
        for ownership in over:
            self._owners.go(ownership.id)
        if over:
            self._raise()


def _may_be_before(entry: Arrival | Hole, at: Timestamp | None) -> bool:
    """Whether it may have changes up to a timestamp."""
    bound = entry.missing.after if isinstance(entry, Hole) else entry.first
    return at is None or bound is None or time_of(bound) <= at
