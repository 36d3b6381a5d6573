"""What the source, the store and the relay tell each other. Plain data, no I/O."""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import StrEnum

from spanwire._core import Timestamp
from spanwire.timestamps import just_before


@dataclass(frozen=True, slots=True)
class StreamIdentity:
    """Which change stream: progress of one is worth nothing to another."""

    project: str
    instance: str
    database: str
    stream: str

    def __str__(self) -> str:
        """The stream's resource path."""
        return (
            f"projects/{self.project}/instances/{self.instance}"
            f"/databases/{self.database}/changeStreams/{self.stream}"
        )


class State(StrEnum):
    """The life of a partition; it only ever goes forward."""

    CREATED = "created"  # known from a child partitions record, waits for its parents
    SCHEDULED = "scheduled"  # all its parents have finished: it may be read
    RUNNING = "running"  # owned, under an epoch
    FINISHED = "finished"  # ended in children, and everything before was handed over


@dataclass(frozen=True, slots=True)
class PartitionRecord:
    """A partition as the store keeps it."""

    token: str
    start: Timestamp
    """Its first timestamp."""
    parents: tuple[str, ...] = ()
    state: State = State.CREATED
    position: Timestamp | None = None
    """All its changes up to here have been handed over; None before the first."""
    epoch: int = 0
    """Number of its last ownership; 0 before the first."""

    @property
    def resume_at(self) -> Timestamp:
        """Where reading goes on, inclusive: what was sent at this very timestamp is sent again."""
        return self.start if self.position is None else max(self.position, self.start)

    @property
    def complete_to(self) -> Timestamp:
        """All its changes up to here have been handed over. Its first ones may be at its start itself."""
        before = just_before(self.start)
        return before if self.position is None else max(self.position, before)

    def with_state(self, state: State) -> PartitionRecord:
        """The same partition, in another state."""
        return replace(self, state=state)

    def advanced(self, position: Timestamp | None) -> PartitionRecord:
        """The same partition, further on; a position never goes back."""
        if position is None or (self.position is not None and position <= self.position):
            return self
        return replace(self, position=position)


@dataclass(frozen=True, slots=True)
class Progress:
    """A position reached by one partition under one epoch."""

    token: str
    epoch: int
    position: Timestamp


@dataclass(frozen=True, slots=True)
class GroupRecord:
    """A work group as the store keeps it."""

    name: str
    epoch: int
    """Number of its last ownership; 0 before the first."""
    state: str = ""
    """How far it is, as the relay writes it (`spanwire.relay.group.state`); empty before the first time."""


@dataclass(frozen=True, slots=True)
class DeadLetter:
    """A change that a group has given up: it could not be handled, or not be decoded."""

    version: str
    table: str
    reason: str
    deliveries: int
    """How often it was given to a handler; 0 for one that could not be decoded."""
    at: Timestamp
    """When it was given up."""
    frames: tuple[bytes, ...]
    """The message that it came in."""
    place: int = 0
    """Which of that message's changes it is, from 0."""
    id: int = 0
    """Its number in the store; 0 before it is there."""
    requeued: bool = False
    """It is to be delivered again."""


def short_token(token: str) -> str:
    """A partition token, cut to what tells it apart in a message."""
    return token if len(token) <= 24 else f"{token[:10]}...{token[-10:]}"
