"""What an announced gap takes in."""

from __future__ import annotations

from typing import Any

from simulation.changes import Change
from spanwire._core import Timestamp
from spanwire.errors import Gap


def covers(gap: Gap, change: Change) -> bool:
    """Whether a change lies in what a gap announces."""
    fields = gap.fields
    if fields["topic"] is not None and fields["topic"] != change.topic:
        return False
    after, before, last = fields["after"], fields["before"], fields["last"]
    if after is not None and not _beyond(change, after):
        return False
    if last is not None:
        return not _beyond(change, last)
    return before is None or not _beyond(change, before)


def _beyond(change: Change, bound: Any) -> bool:
    return bool(change.commit_timestamp > bound if isinstance(bound, Timestamp) else change.version > bound)


def time_of(bound: Any) -> Timestamp:
    """When it was committed."""
    return bound if isinstance(bound, Timestamp) else bound.commit_timestamp
