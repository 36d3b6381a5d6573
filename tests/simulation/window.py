"""The core's dedup window in plain Python: rust/spanwire-core/src/dedup.rs says why it is exact."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from simulation.changes import Change, Version
from spanwire._core import Timestamp

State = tuple[Timestamp, list[tuple[str, str, int]]]


class Window:
    """The newest commit timestamp taken, and the identities taken at it. As `_core.Window`."""

    __slots__ = ("_at", "_taken")

    def __init__(self, after: Timestamp | None = None) -> None:
        self._at: Timestamp | None = None
        self._taken: set[Any] = set()
        if after is not None:
            nanos = after.nanos + 1
            self._at = Timestamp(after.seconds + nanos // 1_000_000_000, nanos % 1_000_000_000)

    def admit(self, changes: Iterable[Change]) -> list[Change]:
        """Those of records not taken before; they are taken from now on. A record's mods come together."""
        fresh: list[Change] = []
        record, known = None, False
        for change in changes:
            version = change.version
            identity = version[:3]
            if identity != record:
                record, known = identity, not self._take(version.commit_timestamp, version[1:3])
            if not known:
                fresh.append(change)
        return fresh

    def admit_version(self, version: Version) -> bool:
        """Whether this very change was not taken before; it is from now on."""
        return self._take(version.commit_timestamp, (version.transaction, version.sequence, version.number))

    def take_record(self, version: Version) -> bool:
        """The same for a whole record, of which this is one change."""
        return self._take(version.commit_timestamp, version[1:3])

    def state(self) -> State | None:
        """What it would take to make it again."""
        return None if self._at is None else (self._at, sorted(self._taken))

    @classmethod
    def restore(cls, state: State) -> Window:
        """Make it again."""
        window = cls()
        window._at, window._taken = state[0], set(map(tuple, state[1]))
        return window

    def _take(self, at: Timestamp, identity: tuple[Any, ...]) -> bool:
        if self._at is not None:
            if at < self._at:
                return False
            if at == self._at:
                if identity in self._taken:
                    return False
                self._taken.add(identity)
                return True
        self._at = at
        self._taken = {identity}
        return True
