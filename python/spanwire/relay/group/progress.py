"""How far a group is: what is handled for good, and from where to go on after a restart. Pure.

Slots run ahead of each other, so the watermark of what is handled stays behind the slowest. Beside it
is kept, per partition and topic, the point up to which all is handled: what lies above the watermark is
not delivered again.
"""

from __future__ import annotations

import heapq
from collections.abc import Mapping
from typing import Protocol

from spanwire._core import Timestamp

Flow = tuple[bytes, str]
"""A partition and a topic: its changes come in commit order, and all are of one slot."""
Identity = tuple[str, str, int]
"""What tells the changes of one commit timestamp apart: transaction, sequence, number."""
Point = tuple[Timestamp, list[Identity]]
"""All before a timestamp, and these at it."""

MAX_POINTS = 4096
"""Points that are stored at the most; without its point a flow's changes above the watermark come again."""


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
    flow: Flow | None
    """Where it came from; None for a dead letter that was requeued, which is no part of the progress."""

    def version(self, place: int) -> Version:
        """The version of one of its changes."""


class Progress:
    """What of one group's input is handled."""

    def __init__(self, watermark: Timestamp, points: Mapping[Flow, Point] | None = None) -> None:
        """Go on from where a group was: all up to `watermark` is handled, and up to `points` above it."""
        self._watermark = watermark
        self._points = dict(points or {})
        self._open: dict[int, Work] = {}
        self._oldest: list[tuple[Timestamp, int]] = []
        self._numbers: dict[int, int] = {}
        self._given = 0

    @property
    def points(self) -> dict[Flow, Point]:
        """Per flow, up to where all is handled, where that is above the watermark; the newest of many."""
        above = {flow: point for flow, point in self._points.items() if point[0] > self._watermark}
        self._points = above
        if len(above) <= MAX_POINTS:
            return dict(above)
        return dict(heapq.nlargest(MAX_POINTS, above.items(), key=lambda item: item[1][0]))

    def given(self, work: Work) -> None:
        """Work has come that is not handled yet."""
        if work.flow is None:
            return
        self._given += 1
        self._open[self._given] = work
        self._numbers[id(work)] = self._given
        heapq.heappush(self._oldest, (work.version(work.begin).commit_timestamp, self._given))

    def handled(self, work: Work, begin: int, end: int) -> None:
        """Its changes from `begin` up to before `end` are handled; those before are already."""
        if work.flow is None:
            return
        if begin < end:
            self._points[work.flow] = _reach(self._points.get(work.flow), work, begin, end)
        if end >= work.end:
            del self._open[self._numbers.pop(id(work))]

    def watermark(self, given: Timestamp | None) -> Timestamp:
        """All up to here is handled; it never goes back. `given`: all up to there has been given."""
        while self._oldest and self._oldest[0][1] not in self._open:
            heapq.heappop(self._oldest)
        if given is not None:
            if self._oldest:
                given = min(given, _before(self._oldest[0][0]))
            self._watermark = max(self._watermark, given)
        return self._watermark


def _reach(known: Point | None, work: Work, begin: int, end: int) -> Point:
    """The point of a flow whose changes `begin` to `end` - 1 are handled, too."""
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


def _before(at: Timestamp) -> Timestamp:
    """The last timestamp before another."""
    return Timestamp(at.seconds, at.nanos - 1) if at.nanos else Timestamp(at.seconds - 1, 999_999_999)
