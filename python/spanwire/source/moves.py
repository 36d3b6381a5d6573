"""Partitions whose key ranges move (MUTABLE_KEY_RANGE): what may run, and who waits for whom. Pure rules.

Partitions do not wait for the ones that named them: a new one is read at once. What waits is a partition
that key ranges moved into at a timestamp T, at the record that says so, until every partition they came
from has handed over all its changes up to T. So the changes of a key stay in order wherever it lives.

https://cloud.google.com/spanner/docs/reference/rpc/google.spanner.v1#partitioneventrecord
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

from spanwire._core import Timestamp
from spanwire.records import PartitionRecord, State
from spanwire.source.partitions import Lineage


class MovingLineage(Lineage):
    """The partitions of a mutable stream. `Lineage` says what its methods promise; here is what differs."""

    def ready(self) -> list[str]:
        """All created partitions: order is kept where key ranges move in, not between generations."""
        return [one.token for one in self.all() if one.state is State.CREATED]

    def finish(self, token: str) -> None:
        """RUNNING to FINISHED. Its key ranges may all have moved to partitions that were there before."""
        self._step(token, State.RUNNING, State.FINISHED)
        self._complete.discard(token)

    def forgettable(self) -> list[str]:
        """Finished partitions that lie behind the watermark: no record still to be read can name them.

        One that names them is of a timestamp at or before their end, and every unfinished partition goes
        on behind that, also after a restart.
        """
        watermark = self.watermark()
        return [
            one.token
            for one in self.all()
            if one.state is State.FINISHED and watermark is not None and one.resume_at < watermark
        ]


@dataclass(frozen=True, slots=True)
class Event:
    """A partition event record: at `at`, key ranges moved into `token` from `sources`, and out of it."""

    token: str
    at: Timestamp
    sources: tuple[str, ...] = ()
    destinations: tuple[str, ...] = ()


class Gates:
    """The partitions that stand at an event record, and which of them may go on."""

    def __init__(self) -> None:
        self._waiting: dict[str, Event] = {}
        self._left: dict[tuple[str, str], Timestamp] = {}

    def __len__(self) -> int:
        """How many wait."""
        return len(self._waiting)

    def arrive(self, event: Event) -> None:
        """A partition has come to this event; all that it held before has been handed to the senders."""
        self._waiting[event.token] = event
        for destination in event.destinations:
            self._left[event.token, destination] = event.at

    def leave(self, token: str) -> None:
        """A partition is read no more."""
        self._waiting.pop(token, None)
        for pair in [pair for pair in self._left if token in pair]:
            del self._left[pair]

    def open(self, lineage: Lineage, reached: Callable[[PartitionRecord], Timestamp | None]) -> list[str]:
        """The partitions that may go on now, taken off the list.

        `reached`: up to where all changes of an unfinished partition have been handed over; None where
        that is nowhere yet.
        """
        passed = [
            event.token
            for event in self._waiting.values()
            if all(self._passed(source, event, lineage, reached) for source in event.sources)
        ]
        for token in passed:
            del self._waiting[token]
        return passed

    def waits_for(self, token: str) -> tuple[str, ...]:
        """The sources of the move that a partition waits at; empty where it does not."""
        event = self._waiting.get(token)
        return () if event is None else event.sources

    def _passed(
        self,
        source: str,
        event: Event,
        lineage: Lineage,
        reached: Callable[[PartitionRecord], Timestamp | None],
    ) -> bool:
        """Whether a source has handed over all that the moved keys had in it."""
        if source == event.token:
            return True
        if source not in lineage:
            # It ended so long ago that it is forgotten, or has yet to be named: nobody can who is past it.
            others = (one for one in lineage.all() if one.token != event.token)
            return all(self._beyond(one, event.at, reached) for one in others)
        # It stands at, or went past, its own record of this move: what came before lies in the senders'
        # queues, ahead of what follows here.
        left = self._left.get((source, event.token))
        if (left is not None and left >= event.at) or self._exchanges(source, event):
            return True
        known = lineage[source]
        position = reached(known)
        return known.state is State.FINISHED or (position is not None and position >= event.at)

    def _exchanges(self, source: str, event: Event) -> bool:
        """Whether a source stands at this very timestamp and waits, itself or through others, for this one.

        Partitions that exchange keys in one transaction would wait for each other for ever. A key changes
        in one transaction a timestamp, so behind such a record no source has a change of a moved key.
        """
        seen, ahead = {source}, [source]
        while ahead:
            stands = self._waiting.get(ahead.pop())
            if stands is None or stands.at != event.at:
                continue
            if event.token in stands.sources:
                return True
            ahead += set(stands.sources) - seen
            seen.update(stands.sources)
        return False

    def _beyond(
        self, one: PartitionRecord, at: Timestamp, reached: Callable[[PartitionRecord], Timestamp | None]
    ) -> bool:
        """Whether a partition has read everything before `at`, so that it names nobody from there."""
        waiting = self._waiting.get(one.token)
        if one.state is State.FINISHED or (waiting is not None and waiting.at >= at):
            return True
        position = reached(one)
        return max(one.start, position or one.start) >= at


def started(start: Timestamp, tokens: Iterable[str], by: str | None = None) -> list[PartitionRecord]:
    """The partitions that a partition start record names, each once; `by`: the partition it was read in."""
    parents = () if by is None else (by,)
    return [PartitionRecord(token, start, parents) for token in dict.fromkeys(tokens)]
