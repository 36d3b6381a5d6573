"""What the database was like: row versions of the past, for reads at a timestamp."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from typing import Any, TypeAlias

from spanwire.simulator.records import Row
from spanwire.simulator.schema import Table

Key: TypeAlias = "tuple[Any, ...]"
State: TypeAlias = "dict[str, tuple[Table, dict[Key, Row]]]"
"""Tables by name, each with its rows."""


class Versions:
    """Undoes what happened since a timestamp, as far as it goes back. Not thread-safe."""

    def __init__(self, created: int, most: int) -> None:
        self._log: deque[tuple[int, str, Key | None, Any]] = deque()
        self._most = most
        self.earliest = created
        """Nothing earlier can be read: row versions before it are not kept."""

    def rows(self, at: int, before: list[tuple[str, Key, Row | None]]) -> None:
        """Rows changed at `at`; each with what it was before, None where it was not there."""
        self._log.extend((at, table, key, row) for table, key, row in before)
        while len(self._log) > self._most:
            self.earliest = max(self.earliest, self._log.popleft()[0])

    def table(self, at: int, name: str, before: tuple[Table, Mapping[Key, Row]] | None) -> None:
        """A table was created, altered or dropped at `at`; with what it was, None where it was not there."""
        self._log.append((at, name, None, None if before is None else (before[0], dict(before[1]))))

    def past(self, at: int, now: State) -> State:
        """The state after all that was committed up to and including `at`; `now` is what it is now."""
        state = {name: (table, dict(rows)) for name, (table, rows) in now.items()}
        for committed, name, key, before in reversed(self._log):
            if committed <= at:
                break
            if key is None:
                if before is None:
                    state.pop(name, None)
                else:
                    state[name] = (before[0], dict(before[1]))
            elif before is None:
                state[name][1].pop(key, None)
            else:
                state[name][1][key] = before
        return state
