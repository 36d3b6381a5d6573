"""How far a group is: what is handled for good, and from where to go on after a restart. Pure.

Slots run ahead of each other, so the watermark of what is handled stays behind the slowest. Beside it
is kept, per lane (partition and topic), how far that is: what lies above the watermark and is handled is not
delivered again.
"""

from __future__ import annotations

import heapq
from typing import Protocol

from spanwire._core import Timestamp
from spanwire.consumer.reached import Frontier, Lane, Reached
from spanwire.timestamps import just_before

MAX_LANES = 4096
"""Lanes whose point is stored at the most; of the others, changes above the watermark come again."""


class Version(Protocol):
    """What names a change; `_core.RecordVersion` is one."""

    @property
    def commit_timestamp(self) -> Timestamp:
        """When it was committed."""

    @property
    def transaction(self) -> str:
        """Spanner's id of its transaction."""

    @property
    def sequence(self) -> str:
        """Its record's sequence in the transaction."""

    @property
    def number(self) -> int:
        """Its place in the record."""


class Work(Protocol):
    """One message of a group's input: changes of one slot, in order."""

    slot: int
    size: int
    """In bytes."""
    begin: int
    """The first of its changes that is to be handled: those before were handled in another message."""
    end: int
    """Behind the last of its changes that is to be handled."""
    lane: Lane | None
    """Partition and topic: the changes of one are in commit order, and of one slot. None for a dead letter
    that was requeued, which is no part of the progress."""

    def version(self, place: int) -> Version:
        """The version of one of its changes."""


class Progress:
    """What of one group's input is handled."""

    def __init__(self, start: Reached) -> None:
        """Go on from where a group was; it has a watermark."""
        assert start.watermark is not None
        self._watermark = start.watermark
        self._lanes: dict[Lane, Frontier] = {
            lane: (at, list(which)) for lane, (at, which) in start.frontiers.items()
        }
        self._open: dict[int, Work] = {}
        self._oldest: list[tuple[Timestamp, int]] = []
        self._numbers: dict[int, int] = {}
        self._given = 0

    def given(self, work: Work) -> None:
        """Work has come that is not handled yet."""
        if work.lane is None:
            return
        self._given += 1
        self._open[self._given] = work
        self._numbers[id(work)] = self._given
        heapq.heappush(self._oldest, (work.version(work.begin).commit_timestamp, self._given))

    def handled(self, work: Work, begin: int, end: int) -> None:
        """Its changes from `begin` up to before `end` are handled; those before are already."""
        if work.lane is None:
            return
        if begin < end:
            self._lanes[work.lane] = _reach(self._lanes.get(work.lane), work, begin, end)
        if end >= work.end:
            del self._open[self._numbers.pop(id(work))]

    def reached(self, given: Timestamp | None) -> Reached:
        """How far all is handled; it never goes back. `given`: all up to there has been given."""
        while self._oldest and self._oldest[0][1] not in self._open:
            heapq.heappop(self._oldest)
        if given is not None:
            if self._oldest:
                given = min(given, just_before(self._oldest[0][0]))
            self._watermark = max(self._watermark, given)
        self._lanes = {lane: one for lane, one in self._lanes.items() if one[0] > self._watermark}
        kept = self._lanes
        if len(kept) > MAX_LANES:
            kept = dict(heapq.nlargest(MAX_LANES, kept.items(), key=lambda item: item[1][0]))
        return Reached(self._watermark, {lane: (at, list(which)) for lane, (at, which) in kept.items()})


def _reach(known: Frontier | None, work: Work, begin: int, end: int) -> Frontier:
    """Of a lane, how far it is whose changes `begin` to `end` - 1 are handled, too."""
    at = work.version(end - 1).commit_timestamp
    if known is not None and known[0] > at:
        return known
    reached = known if known is not None and known[0] == at else (at, [])
    for place in range(end - 1, begin - 1, -1):
        version = work.version(place)
        if version.commit_timestamp != at:
            break
        reached[1].append((version.transaction, version.sequence, version.number))
    return reached
