"""What every store does. Each method is one transaction: it happens whole, or not at all."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from typing import Protocol

from spanwire._core import Timestamp
from spanwire.records import DeadLetter, GroupRecord, PartitionRecord, Progress, State, StreamIdentity


class Store(Protocol):
    """Partitions of one change stream, and the groups that share its work. Thread-safe.

    Every change of a partition or a group is conditional on the state and the epoch that the caller knows.
    Where the store holds another, nothing is written and FencedError says so: somebody else goes on
    with it, or a late call came after a newer one. A store that cannot be read or
    written raises StoreError.
    """

    @property
    def identity(self) -> StreamIdentity:
        """The stream whose progress this is."""

    def load(self) -> list[PartitionRecord]:
        """All partitions, in the order they became known; empty before `initialise`."""

    def initialise(self, roots: Sequence[PartitionRecord]) -> None:
        """Keep the first partitions, all together. StoreError where there are partitions already."""

    def schedule(self, tokens: Iterable[str]) -> None:
        """CREATED to SCHEDULED: all parents of these have finished."""

    def acquire(self, token: str, state: State, epoch: int) -> PartitionRecord:
        """Own a SCHEDULED or RUNNING partition under a new epoch, greater than any before it.

        `state` and `epoch` are what the caller last saw. Returns the partition as it is now: RUNNING.
        """

    def add_children(
        self, parent: str, epoch: int, children: Sequence[PartitionRecord]
    ) -> list[PartitionRecord]:
        """Keep the children of a RUNNING partition; returns those that were not known.

        A child that is known is left as it is, whatever its state: it arrives once from every parent.
        """

    def advance(self, progress: Sequence[Progress]) -> None:
        """Move positions of RUNNING partitions, all together. A position never goes back."""

    def finish(self, token: str, epoch: int, position: Timestamp | None = None) -> None:
        """RUNNING to FINISHED, at `position`. Its children are kept, and all its changes were handed over."""

    def forget(self, tokens: Iterable[str]) -> None:
        """Drop FINISHED partitions that nothing refers to any more."""

    def groups(self) -> list[GroupRecord]:
        """All groups there have ever been, by name."""

    def own_group(self, name: str) -> GroupRecord:
        """Own a group under a new epoch, greater than any before it; it is made where there is none."""

    def save_group(
        self, group: GroupRecord, letters: Sequence[DeadLetter] = (), done: Iterable[int] = ()
    ) -> None:
        """Keep a group's state, with the letters that it now counts as handled, all together.

        A letter of a version that is there already takes its place. `done`: letters that were requeued and
        have been handled: they are dropped.
        """

    def dead_letters(
        self,
        name: str,
        *,
        requeued: bool | None = None,
        without: Collection[int] = (),
        limit: int | None = None,
    ) -> list[DeadLetter]:
        """The dead letters of a group in the order they came, `limit` at most.

        `requeued`: those that are, or are not. `without`: not these, by `id`.
        """

    def requeue(self, name: str, ids: Iterable[int] | None = None) -> int:
        """Have dead letters delivered again, all without `ids`; how many there were.

        Not conditional on an epoch: whoever owns the group takes them, at the latest with its next save.
        """

    def close(self) -> None:
        """Give the store up. Calling it again does nothing."""
