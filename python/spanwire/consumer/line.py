"""What stands in line to be handed over: messages, and the places of those that are asked for again.

Pure: no I/O, no clock of its own. Everything has its place in one queue, so that nothing overtakes: a hole
holds the place of the messages that are missing, a replay that of everything up to a timestamp, a mark that
of a watermark. Windows drop what was handed over before.
"""

from __future__ import annotations

import itertools
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from spanwire._core import Timestamp, Window
from spanwire.consumer.asks import Ask, AskRepair, AskReplay
from spanwire.consumer.facts import Arrival, Missing, PartitionId
from spanwire.consumer.reached import Frontier, Lane, Reached
from spanwire.errors import Gap, RefusedError
from spanwire.timestamps import just_before

if TYPE_CHECKING:
    from spanwire._core import RecordVersion

_REPAIRS_AT_ONCE = 8
ASK_AGAIN_S = 1.0
_PRUNE_EVERY = 64


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
        return None if bound is None else time_of(bound)


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


class Line:
    """The queue of one output, with what is asked for to fill it."""

    def __init__(
        self,
        *,
        start: Reached | None,
        can_ask: bool,
        newest: Callable[[], Timestamp | None],
        window: Callable[..., Any] = Window,
        restore: Callable[[Frontier], Any] | None = None,
    ) -> None:
        """`newest`: tells up to where there may be changes that are missing."""
        self.can_ask = can_ask
        self._newest = newest
        self._window = window
        restore = restore or Window.restore
        self._windows: dict[Lane, Any] = {}
        if start is not None:
            self._windows = {place: restore(state) for place, state in start.frontiers.items()}
        after = None if start is None else start.watermark
        self._start = after
        self._starts = start is not None
        self.assured = after
        """All changes up to here stand in the queue, or are asked for by it."""
        self.passed = after
        """All changes up to here were given."""
        self.watermark = after
        """All changes up to here were handed over, or their loss was told; it never goes back."""
        self.bytes_held = 0
        """Of messages that wait, here or to come here."""
        self._marked = after
        self._marks = 0
        self._queue: deque[tuple[Any, int]] = deque()
        self._handing: deque[tuple[Any, int]] = deque()
        """What an answer has brought: it goes before the queue."""
        self._asked: dict[int, Hole | Replay] = {}
        self._to_ask: deque[Hole] = deque()
        self._ids = itertools.count(1)
        self._again_at = 0.0

    # ------------------------------------------------------------- what comes into it

    def begin_at(self, newest: Timestamp | None) -> None:
        """Nothing up to here is owed."""
        self.assured = self.passed = self._marked = newest

    def append(self, entry: Any, size: int) -> None:
        """Queue a message or a hole."""
        if isinstance(entry, Hole):
            if not self.can_ask:
                if self.passed is not None and entry.until is not None and entry.until <= self.passed:
                    return  # it is not owed
                entry, size = entry.missing.error(), 0
            else:
                self._to_ask.append(entry)
        self._queue.append((entry, size))

    def mark(self, complete: Timestamp) -> None:
        """All changes up to here have been queued."""
        if self._marked is not None and complete <= self._marked:
            return
        self._marked = complete
        self.assured = complete if self.assured is None else max(self.assured, complete)
        last = self._queue[-1][0] if self._queue else None
        if isinstance(last, Mark) and not last.lost:  # ticks alone must not pile up
            last.watermark = complete
        else:
            self._queue.append((Mark(complete), 0))

    def read_again(self, until: Timestamp, after: Timestamp | None) -> None:
        """Have all be read again that is not assured; `after`: where to begin while nothing is."""
        if self.assured is not None and until <= self.assured:
            return
        after, self.assured = self.assured or after, until
        if self.can_ask or not self._has_passed_start:
            self._queue.append((Replay(until, after), 0))
        else:
            self._queue.extend(((_uncertain(after, until), 0), (Mark(until, lost=True), 0)))

    @property
    def _has_passed_start(self) -> bool:
        """Whether it is not what the consumer itself asked to start with."""
        return not self._starts or self.passed != self._start

    # ------------------------------------------------------------- what to ask for, and the answers

    def next_id(self) -> int:
        """A number for a question."""
        return next(self._ids)

    def may_ask(self, now: float) -> bool:
        """Whether somebody is there to be asked, and has not just said that it cannot."""
        return self.can_ask and now >= self._again_at

    def asks(self) -> Iterator[Ask]:
        """What to ask for now: each repair at most once, and the replay that comes next."""
        while self._to_ask and len(self._asked) < _REPAIRS_AT_ONCE:
            hole = self._to_ask.popleft()
            if hole.filled or hole.asked is not None:
                continue
            missing = hole.missing
            assert missing.sequences is not None
            assert missing.topic is not None
            hole.asked = self.next_id()
            self._asked[hole.asked] = hole
            flow = (missing.incarnation, missing.partition, missing.epoch, missing.topic)
            yield AskRepair(hole.asked, *flow, *missing.sequences)
        replay = self._queue[0][0] if self._queue and not self._handing else None
        if isinstance(replay, Replay) and replay.asked is None and not replay.ended:
            after = self.passed or replay.after
            if after is not None and after < replay.until:
                replay.asked = self.next_id()
                self._asked[replay.asked] = replay
                yield AskReplay(replay.asked, after, replay.until)

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

    def done(self, id: int) -> None:
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

    def refused(self, id: int, reason: str, oldest: Timestamp | None, text: str, now: float) -> None:
        """An answer is not to be had. `reason` as in the schema's `Reply.Reason`."""
        asked = self._asked.get(id)
        if reason in ("busy", "tooMany", "stopping", "failed"):
            self.lost(id)
            self._again_at = now + ASK_AGAIN_S
        elif isinstance(asked, Hole):
            del self._asked[id]
            self._give_up(asked)
        elif isinstance(asked, Replay):
            del self._asked[id]
            asked.asked = None
            if reason != "gone":
                self._again_at = now + ASK_AGAIN_S
                error = RefusedError(text or f"a replay was refused: {reason}", reason=reason)
                self._handing.append((error, 0))
                return
            after = self.passed or asked.after
            beyond = asked.until if oldest is None else min(just_before(oldest), asked.until)
            if after is not None and beyond > after:
                self._handing.append((_gone_for_ever(after, beyond), 0))
                self._handing.append((Mark(beyond, lost=True), 0))
            if beyond >= asked.until:
                self._handing.append((_End(asked), 0))

    def lost(self, id: int) -> None:
        """Who was asked has gone away: it is asked again, a replay from where it has come to."""
        asked = self._asked.pop(id, None)
        if isinstance(asked, Hole):
            self._drop_answer(asked)
            asked.asked = None
            self._to_ask.append(asked)
        elif isinstance(asked, Replay):
            asked.asked = None

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
                if until is None or not (self.passed or after):
                    self._queue[place] = (hole.missing.error(), 0)
                else:
                    self._queue[place] = (Replay(until, None if after is None else time_of(after)), 0)
                return

    def _drop_answer(self, hole: Hole) -> None:
        self.bytes_held -= sum(size for _, size in hole.messages)
        hole.messages.clear()

    # ------------------------------------------------------------- what goes on

    @property
    def waits_for(self) -> str | None:
        """The answer without which nothing goes on; None where there is none to wait for."""
        entry = self._queue[0][0] if self._queue and not self._handing else None
        return "a replay" if isinstance(entry, Replay) else "a repair" if isinstance(entry, Hole) else None

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
                    if not entry.ended and (self.passed is None or self.passed < entry.until):
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

    def _fill(self, hole: Hole) -> bool:
        """Put what fills a hole at the head of the queue in its place; whether it was there."""
        covered = self.passed is not None and hole.until is not None and hole.until <= self.passed
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

    def window(self, partition: PartitionId, topic: str) -> Any:
        """What was handed over of a topic and partition."""
        place = (partition, topic)
        window = self._windows.get(place)
        if window is None:
            window = self._windows[place] = self._window(self.passed)
        return window

    def settle(self) -> None:
        """Raise the watermark: all that `next` gave was handed over."""
        while not self._handing and self._queue and isinstance(mark := self._queue[0][0], Mark):
            self._queue.popleft()
            self._pass(mark.watermark, lost=mark.lost)
        self.watermark = self.passed

    def clear(self) -> None:
        """Drop what waits. The watermark stays where it is."""
        self._queue.clear()
        self._handing.clear()
        self.passed = self.watermark

    def reached(self) -> Reached:
        """Where to go on from, once all that `next` gave was handed over."""
        frontiers = {lane: window.state() for lane, window in self._windows.items()}
        ahead = {
            lane: frontier
            for lane, frontier in frontiers.items()
            if frontier is not None and frontier[1] and (self.passed is None or frontier[0] > self.passed)
        }
        return Reached(self.passed, ahead)

    def _pass(self, watermark: Timestamp, *, lost: bool = False) -> None:
        if self.passed is not None and watermark <= self.passed:
            return
        self.passed = watermark
        self._marks += 1
        if self._marks % _PRUNE_EVERY == 0 or lost:
            for place, window in list(self._windows.items()):
                state = window.state()
                if state is None or state[0] <= watermark:
                    del self._windows[place]


# ---------------------------------------------------------------------- what cannot be had


def _gap(what: str, after: Timestamp | None, until: Timestamp, *, certain: bool) -> Gap:
    """Of whatever topic and partition."""
    return Gap(
        f"{what}; read the rows again from Spanner",
        topic=None, partition=None, epoch=None, incarnation=None, output=None, sequences=None,
        after=after, before=until, last=None, certain=certain,
    )  # fmt: skip


def _gone_for_ever(after: Timestamp, until: Timestamp) -> Gap:
    why = "cannot be had any more: they are older than Spanner keeps them"
    return _gap(f"changes after {after}, up to {until}, {why}", after, until, certain=True)


def _uncertain(after: Timestamp | None, until: Timestamp) -> Gap:
    begin = "the beginning" if after is None else after
    return _gap(f"changes may be missing: after {begin}, up to {until}", after, until, certain=False)


def time_of(bound: RecordVersion | Timestamp) -> Timestamp:
    """When it was committed."""
    return bound if isinstance(bound, Timestamp) else bound.commit_timestamp
