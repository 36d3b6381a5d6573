"""The partitions of a stream and what may happen to them: pure rules, no I/O, no clock.

A partition is created (known), scheduled (all its parents have finished), running (owned and read),
finished (it ended in children, and everything before was handed over). `Lineage` keeps them and
answers what may run next and how far the stream is complete. `Reading` keeps what one query of one
partition brought, and `Endings` answers, when its stream ends, what that end means.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from enum import Enum, auto

from spanwire._core import Timestamp
from spanwire.records import PartitionRecord, State


class Lineage:
    """All partitions that matter: unfinished ones, and finished ones that a child still waits beside.

    `end`: the requested end, inclusive; a partition that has been read up to it is complete for this
    run but not finished, so that a later run with a later end finds it where it stopped.
    """

    def __init__(self, partitions: Iterable[PartitionRecord] = (), end: Timestamp | None = None) -> None:
        self._partitions: dict[str, PartitionRecord] = {}
        self._end = end
        self._complete: set[str] = set()
        self._watermark: Timestamp | None = None
        for partition in partitions:
            self._put(partition)

    def __len__(self) -> int:
        """How many partitions are known."""
        return len(self._partitions)

    def __getitem__(self, token: str) -> PartitionRecord:
        """The partition as it is now; KeyError where it is not known."""
        return self._partitions[token]

    def __contains__(self, token: str) -> bool:
        """Whether it is known."""
        return token in self._partitions

    def all(self) -> list[PartitionRecord]:
        """All partitions, in the order they became known."""
        return list(self._partitions.values())

    def newest(self) -> Timestamp | None:
        """No change is newer of a partition that is over, nor of others one that was handed over."""
        return max((one.complete_to for one in self._partitions.values()), default=None)

    def add(self, children: Iterable[PartitionRecord]) -> None:
        """Take in partitions as they became known. One that is known already is left as it is."""
        for child in children:
            if child.token not in self._partitions:
                self._put(child)

    def ready(self) -> list[str]:
        """Created partitions whose parents have all finished: they may be scheduled.

        A parent that is not known has not finished: its own parent has yet to name it. Roots have no parents.
        """
        return [
            one.token
            for one in self._partitions.values()
            if one.state is State.CREATED and all(self._has_finished(parent) for parent in one.parents)
        ]

    def scheduled(self) -> list[str]:
        """Partitions that may be read now and are not yet."""
        return [one.token for one in self._partitions.values() if one.state is State.SCHEDULED]

    def schedule(self, token: str) -> None:
        """CREATED to SCHEDULED."""
        self._step(token, State.CREATED, State.SCHEDULED)

    def own(self, owned: PartitionRecord) -> None:
        """SCHEDULED, or RUNNING under an older epoch, to RUNNING as the store now has it."""
        known = self._partitions[owned.token]
        if known.state not in (State.SCHEDULED, State.RUNNING) or owned.state is not State.RUNNING:
            raise ValueError(f"a partition cannot be owned while {known.state.value}")
        if owned.epoch <= known.epoch:
            raise ValueError(f"epoch {owned.epoch} is not after {known.epoch}")
        self._put(owned.advanced(known.position))

    def advance(self, token: str, position: Timestamp | None) -> bool:
        """Move a RUNNING partition's position; whether it moved. It never goes back."""
        known = self._partitions[token]
        moved = known.advanced(position)
        if known.state is not State.RUNNING or moved is known:
            return False
        self._put(moved)
        return True

    def finish(self, token: str) -> None:
        """RUNNING to FINISHED. ValueError unless a child of it is known: its lineage would be lost."""
        if not any(token in one.parents for one in self._partitions.values()):
            raise ValueError("a partition finishes only in children")
        self._step(token, State.RUNNING, State.FINISHED)
        self._complete.discard(token)

    def complete(self, token: str) -> None:
        """A partition has been read, and handed over, up to the requested end."""
        if self._end is None:
            raise ValueError("there is no end to have reached")
        if self._partitions[token].state is State.FINISHED:
            raise ValueError("a partition that ended in children is finished, not complete")
        self._complete.add(token)

    def is_complete(self, token: str) -> bool:
        """Whether it needs no more reading in this run: read to the end, or it goes on only after it."""
        known = self._partitions[token]
        return token in self._complete or (self._end is not None and known.resume_at > self._end)

    def done(self) -> bool:
        """Whether all partitions have finished or reached the requested end.

        A child that starts within the range waits for its parents, so those decide for it.
        """
        return self._end is not None and all(
            one.state is State.FINISHED or self.is_complete(one.token) for one in self._partitions.values()
        )

    def forgettable(self) -> list[str]:
        """Finished partitions that nothing needs any more: every child that names them may run already.

        Such a child was scheduled when its last parent had finished, so none can arrive again either.
        """
        awaited = {
            parent
            for one in self._partitions.values()
            if one.state is State.CREATED
            for parent in one.parents
        }
        return [
            one.token
            for one in self._partitions.values()
            if one.state is State.FINISHED and one.token not in awaited
        ]

    def forget(self, tokens: Iterable[str]) -> None:
        """Drop finished partitions."""
        for token in tokens:
            if self._partitions[token].state is not State.FINISHED:
                raise ValueError("only a finished partition can be forgotten")
            del self._partitions[token]

    def watermark(self) -> Timestamp | None:
        """All changes of the stream up to here have been handed over; None before there are partitions.

        The least position of all that have not finished, a waiting child counting with its start.
        It never goes back.
        """
        positions = [one.resume_at for one in self._partitions.values() if one.state is not State.FINISHED]
        if positions:
            least = min(positions)
            if self._watermark is None or least > self._watermark:
                self._watermark = least
        return self._watermark

    def _has_finished(self, token: str) -> bool:
        known = self._partitions.get(token)
        return known is not None and known.state is State.FINISHED

    def _step(self, token: str, before: State, after: State) -> None:
        known = self._partitions[token]
        if known.state is not before:
            raise ValueError(f"a partition cannot become {after.value} while {known.state.value}")
        self._put(known.with_state(after))

    def _put(self, partition: PartitionRecord) -> None:
        self._partitions[partition.token] = partition


class Ending(Enum):
    """What the clean end of a query's stream means for its partition."""

    OVER = auto()  # an end record was its last: finish it
    CHILDREN = auto()  # it ended in children, all of which are known: store them, then finish it
    END = auto()  # everything up to the requested end has been read
    AGAIN = auto()  # neither: read again from the last timestamp seen


@dataclass
class Reading:
    """What one query of one partition has brought."""

    start: Timestamp
    end: Timestamp | None = None
    last: Timestamp | None = None
    children: set[str] = field(default_factory=set)
    over: bool = False
    """A partition end record came: nothing follows it."""

    def saw(self, last: Timestamp | None, children: Iterable[str] = ()) -> None:
        """Records arrived: the newest timestamp among them, and the child partitions they name."""
        if last is not None and (self.last is None or last > self.last):
            self.last = last
        self.children.update(children)

    @property
    def progressed(self) -> bool:
        """Whether anything newer than its start arrived."""
        return bool(self.children) or (self.last is not None and self.last > self.start)

    @property
    def reached_end(self) -> bool:
        """Whether something at or past the requested end arrived: nothing up to it is missing."""
        return self.end is not None and self.last is not None and self.last >= self.end


class Endings:
    """What the clean ends of a partition's streams, one after another, mean together.

    A stream may end cleanly without having said all: a server that goes away, a proxy, an emulator's
    slice. So only child records, or the requested end, end a partition, and each is looked at again:

    - An end record (MUTABLE_KEY_RANGE) says it outright.
    - Children may come in a record each. A fresh query that starts where they do settles whether
      there are more.
    - A bounded query may bring nothing at its end at all, so waiting for that would loop for ever.
      It has been read when the end lies in the past and several queries on end brought nothing new.
    """

    QUIET = 3
    """So many streams on end without anything new: one alone may be a server that goes away."""

    def __init__(self) -> None:
        self._children: set[str] = set()
        self._confirming = False
        self._quiet = 0

    @property
    def confirming(self) -> bool:
        """Whether the children that are known were all that a stream told before its clean end."""
        return self._confirming

    def ended(self, reading: Reading, now: Timestamp) -> Ending:
        """What this clean end means. `reading`: everything since the last one, over all breaks."""
        if reading.over:
            return Ending.OVER
        known = len(self._children)
        self._children |= reading.children
        if self._children:
            same = self._confirming and len(self._children) == known
            self._quiet = self._quiet + 1 if same else 0
            # It names them all again; one that is cut short settles nothing.
            if same and (reading.children == self._children or self._quiet >= self.QUIET):
                return Ending.CHILDREN
            self._confirming = True
            return Ending.AGAIN
        if reading.reached_end:
            return Ending.END
        past = reading.end is not None and now >= reading.end
        self._quiet = self._quiet + 1 if past and not reading.progressed else 0
        return Ending.END if self._quiet >= self.QUIET else Ending.AGAIN


def newborn(start: Timestamp, partitions: Sequence[tuple[str, Sequence[str]]]) -> list[PartitionRecord]:
    """The partitions that a child partitions record names, as (token, parent tokens), each once."""
    known: dict[str, PartitionRecord] = {}
    for token, parents in partitions:
        known.setdefault(token, PartitionRecord(token=token, start=start, parents=tuple(parents)))
    return list(known.values())
