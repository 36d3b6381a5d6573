"""Progress that ends with the process: for tests, demos and whoever starts from a timestamp anyway."""

from __future__ import annotations

import threading
from collections.abc import Collection, Iterable, Sequence
from dataclasses import replace
from itertools import islice

from spanwire._core import Timestamp
from spanwire.records import DeadLetter, GroupRecord, PartitionRecord, Progress, State, StreamIdentity
from spanwire.store.rules import (
    already_initialised,
    check_acquirable,
    epoch_before_the_first,
    fenced,
    group_fenced,
)


class MemoryStore:
    """A store in a dict. See `Store` for what its methods promise."""

    def __init__(self, identity: StreamIdentity) -> None:
        self._identity = identity
        self._lock = threading.Lock()
        self._partitions: dict[str, PartitionRecord] = {}
        self._epoch = epoch_before_the_first()
        self._groups: dict[str, GroupRecord] = {}
        self._letters: dict[str, dict[int, DeadLetter]] = {}
        self._last_letter = 0

    @property
    def identity(self) -> StreamIdentity:
        """The stream whose progress this is."""
        return self._identity

    def load(self) -> list[PartitionRecord]:
        """All partitions, in the order they became known."""
        with self._lock:
            return list(self._partitions.values())

    def initialise(self, roots: Sequence[PartitionRecord]) -> None:
        """Keep the first partitions."""
        with self._lock:
            if self._partitions:
                raise already_initialised()
            self._partitions = {root.token: root for root in roots}

    def schedule(self, tokens: Iterable[str]) -> None:
        """CREATED to SCHEDULED."""
        with self._lock:
            changed = [self._expect(token, State.CREATED).with_state(State.SCHEDULED) for token in tokens]
            self._put(changed)

    def acquire(self, token: str, state: State, epoch: int) -> PartitionRecord:
        """Own a partition under a new epoch."""
        check_acquirable(token, state)
        with self._lock:
            known = self._expect(token, state, epoch)
            self._epoch += 1
            owned = replace(known, state=State.RUNNING, epoch=self._epoch)
            self._put([owned])
            return owned

    def add_children(
        self, parent: str, epoch: int, children: Sequence[PartitionRecord]
    ) -> list[PartitionRecord]:
        """Keep the children of a RUNNING partition."""
        with self._lock:
            self._expect(parent, State.RUNNING, epoch)
            new = {child.token: child for child in children if child.token not in self._partitions}
            self._put(new.values())
            return list(new.values())

    def advance(self, progress: Sequence[Progress]) -> None:
        """Move positions."""
        with self._lock:
            moved = [
                self._expect(one.token, State.RUNNING, one.epoch).advanced(one.position) for one in progress
            ]
            self._put(moved)

    def finish(self, token: str, epoch: int, position: Timestamp | None = None) -> None:
        """RUNNING to FINISHED."""
        with self._lock:
            known = self._expect(token, State.RUNNING, epoch)
            self._put([known.advanced(position).with_state(State.FINISHED)])

    def forget(self, tokens: Iterable[str]) -> None:
        """Drop FINISHED partitions."""
        with self._lock:
            for token in [self._expect(token, State.FINISHED).token for token in tokens]:
                del self._partitions[token]

    def groups(self) -> list[GroupRecord]:
        """All groups, by name."""
        with self._lock:
            return [self._groups[name] for name in sorted(self._groups)]

    def own_group(self, name: str) -> GroupRecord:
        """Own a group under a new epoch."""
        with self._lock:
            self._epoch += 1
            owned = replace(self._groups.get(name, GroupRecord(name, 0)), epoch=self._epoch)
            self._groups[name] = owned
            return owned

    def save_group(
        self, group: GroupRecord, letters: Sequence[DeadLetter] = (), done: Iterable[int] = ()
    ) -> None:
        """Keep a group's state and its letters."""
        with self._lock:
            known = self._groups.get(group.name)
            if known is None or known.epoch != group.epoch:
                raise group_fenced(group.name, group.epoch, None if known is None else known.epoch)
            self._groups[group.name] = group
            held = self._letters.setdefault(group.name, {})
            for number in done:
                held.pop(number, None)
            for letter in letters:
                number = next((n for n, one in held.items() if _name(one) == _name(letter)), 0)
                if not number:
                    number = self._last_letter = self._last_letter + 1
                held[number] = replace(letter, id=number, requeued=False)

    def dead_letters(
        self,
        name: str,
        *,
        requeued: bool | None = None,
        without: Collection[int] = (),
        limit: int | None = None,
    ) -> list[DeadLetter]:
        """The dead letters of a group."""
        with self._lock:
            held = self._letters.get(name, {})
            wanted = (n for n in sorted(held) if requeued in (None, held[n].requeued) and n not in without)
            return [held[n] for n in islice(wanted, limit)]

    def requeue(self, name: str, ids: Iterable[int] | None = None) -> int:
        """Have dead letters delivered again."""
        with self._lock:
            held = self._letters.get(name, {})
            wanted = set(held if ids is None else ids)
            changed = [n for n, one in held.items() if n in wanted and not one.requeued]
            for number in changed:
                held[number] = replace(held[number], requeued=True)
            return len(changed)

    def close(self) -> None:
        """Nothing to give up: what is known stays readable."""

    def _expect(self, token: str, state: State, epoch: int | None = None) -> PartitionRecord:
        known = self._partitions.get(token)
        if known is None or known.state is not state or (epoch is not None and known.epoch != epoch):
            raise fenced(token, state, epoch, known)
        return known

    def _put(self, partitions: Iterable[PartitionRecord]) -> None:
        for partition in partitions:
            self._partitions[partition.token] = partition


def _name(letter: DeadLetter) -> tuple[str, str]:
    return (letter.table, letter.version)
