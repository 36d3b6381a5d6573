"""The groups of a store, for tools: whether a relay uses it at this moment or not.

SQLite lets others read beside a writer, and write in turn with it. What is changed here is no relay's alone:
see `Store.requeue`.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path

from spanwire.config import StoreConfig
from spanwire.errors import ConfigError, SpanwireError, StoreError
from spanwire.records import DeadLetter, GroupRecord, StreamIdentity
from spanwire.store import groups, layout

_PAGE = 100
_BUSY_S = 10.0


class GroupsBeside:
    """What a store holds of groups."""

    def __init__(self, database: sqlite3.Connection, path: Path) -> None:
        self._database, self._path = database, path

    def all(self) -> list[GroupRecord]:
        """Every group, by name."""
        return groups.load(self._database)

    def named(self, name: str) -> GroupRecord:
        """One group; ConfigError where there is none of that name."""
        known = {one.name: one for one in self.all()}
        if name not in known:
            names = ", ".join(known) or "none"
            raise ConfigError(
                f'the store {self._path} holds no group "{name}"; it holds: {names}', group=name
            )
        return known[name]

    def dead_letters(self, name: str) -> Iterator[DeadLetter]:
        """The dead letters of a group, in the order they came."""
        last = 0
        while page := groups.letters(self._database, name, after=last, limit=_PAGE):
            yield from page
            last = page[-1].id

    def count(self, name: str) -> tuple[int, int]:
        """How many dead letters a group has, and how many of them are requeued."""
        return groups.count(self._database, name)

    def requeue(self, name: str, ids: Iterable[int] | None = None) -> int:
        """As `Store.requeue`."""
        with self._database:
            return groups.requeue(self._database, name, ids)


@contextmanager
def groups_beside(config: StoreConfig, identity: StreamIdentity) -> Iterator[GroupsBeside]:
    """Open the store that a relay's config names. ConfigError where it is not kept in a file, StoreError."""
    if config.kind == "memory":
        raise ConfigError('store.kind: "memory" ends with its relay; groups can be looked at with "sqlite"')
    path = Path(config.path)
    if not path.exists():
        raise StoreError(f"{path}: is not there; start the relay once, or set store.path", path=str(path))
    try:
        connected = sqlite3.connect(f"{path.absolute().as_uri()}?mode=rw", uri=True, timeout=_BUSY_S)
        with closing(connected) as database:
            layout.check(database, identity, path)
            if int(database.execute("PRAGMA user_version").fetchone()[0]) < layout.VERSION:
                raise StoreError(f"{path}: has no groups yet; start the relay once", path=str(path))
            yield GroupsBeside(database, path)
    except SpanwireError:
        raise
    except sqlite3.Error as error:
        raise StoreError(f"{path}: cannot be read: {error}", path=str(path)) from error
