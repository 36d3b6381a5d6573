"""Progress in one SQLite file, for one relay.

WAL with synchronous=FULL: a transaction that returned is on the disk, one that was cut off has
never been. A lock file beside it keeps a second relay out; the kernel drops that lock with the
process, however it dies.
"""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Collection, Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from spanwire._core import Timestamp
from spanwire.errors import FencedError, StoreError
from spanwire.records import DeadLetter, GroupRecord, PartitionRecord, Progress, State, StreamIdentity
from spanwire.store import groups, layout
from spanwire.store.lock import FileLock
from spanwire.store.rules import already_initialised, check_acquirable, fenced


class SqliteStore:
    """A store in a file. See `Store` for what its methods promise.

    StoreError where the file is another program's, of a newer layout, of another stream, damaged, or
    in use by another relay.
    """

    def __init__(self, path: str | Path, identity: StreamIdentity) -> None:
        self._identity = identity
        self._path = Path(path)
        self._mutex = threading.Lock()
        self._file_lock = FileLock(self._path)
        try:
            with self._readable_errors():
                self._database = sqlite3.connect(self._path, isolation_level=None, check_same_thread=False)
                try:
                    layout.prepare(self._database, identity, self._path)
                except BaseException:
                    self._database.close()
                    raise
        except BaseException:
            self._file_lock.release()
            raise

    @property
    def identity(self) -> StreamIdentity:
        """The stream whose progress this is."""
        return self._identity

    def load(self) -> list[PartitionRecord]:
        """All partitions, in the order they became known."""
        with self._transaction() as database:
            rows = database.execute(layout.SELECT + " ORDER BY id").fetchall()
            return [layout.from_row(row) for row in rows]

    def initialise(self, roots: Sequence[PartitionRecord]) -> None:
        """Keep the first partitions, all together."""
        with self._transaction() as database:
            if database.execute("SELECT EXISTS (SELECT 1 FROM partition)").fetchone()[0]:
                raise already_initialised()
            database.executemany(layout.INSERT, [layout.to_row(root) for root in roots])

    def schedule(self, tokens: Iterable[str]) -> None:
        """CREATED to SCHEDULED."""
        with self._transaction() as database:
            for token in tokens:
                changed = database.execute(
                    "UPDATE partition SET state = ? WHERE token = ? AND state = ?",
                    (State.SCHEDULED, token, State.CREATED),
                )
                self._only_if(changed, token, State.CREATED)

    def acquire(self, token: str, state: State, epoch: int) -> PartitionRecord:
        """Own a partition under a new epoch."""
        check_acquirable(token, state)
        with self._transaction() as database:
            database.execute("UPDATE stream SET epoch = epoch + 1")
            changed = database.execute(
                "UPDATE partition SET state = ?, epoch = (SELECT epoch FROM stream)"
                " WHERE token = ? AND state = ? AND epoch = ?",
                (State.RUNNING, token, state, epoch),
            )
            self._only_if(changed, token, state, epoch)
            owned = self._find(token)
            assert owned is not None
            return owned

    def add_children(
        self, parent: str, epoch: int, children: Sequence[PartitionRecord]
    ) -> list[PartitionRecord]:
        """Keep the children of a RUNNING partition; returns those that were not known."""
        with self._transaction() as database:
            known = self._find(parent)
            if known is None or known.state is not State.RUNNING or known.epoch != epoch:
                raise fenced(parent, State.RUNNING, epoch, known)
            new: dict[str, PartitionRecord] = {}
            for child in children:
                added = database.execute(layout.INSERT_NEW, layout.to_row(child))
                if added.rowcount:
                    new[child.token] = child
            return list(new.values())

    def advance(self, progress: Sequence[Progress]) -> None:
        """Move positions of RUNNING partitions, all together."""
        if not progress:
            return
        with self._transaction() as database:
            for one in progress:
                # The text of a timestamp sorts as the timestamp does; '' sorts before all.
                changed = database.execute(
                    "UPDATE partition SET position = max(coalesce(position, ''), ?)"
                    " WHERE token = ? AND state = ? AND epoch = ?",
                    (str(one.position), one.token, State.RUNNING, one.epoch),
                )
                self._only_if(changed, one.token, State.RUNNING, one.epoch)

    def finish(self, token: str, epoch: int, position: Timestamp | None = None) -> None:
        """RUNNING to FINISHED."""
        with self._transaction() as database:
            changed = database.execute(
                "UPDATE partition SET state = ? WHERE token = ? AND state = ? AND epoch = ?",
                (State.FINISHED, token, State.RUNNING, epoch),
            )
            self._only_if(changed, token, State.RUNNING, epoch)
            if position is not None:
                database.execute(
                    "UPDATE partition SET position = max(coalesce(position, ''), ?) WHERE token = ?",
                    (str(position), token),
                )

    def forget(self, tokens: Iterable[str]) -> None:
        """Drop FINISHED partitions."""
        with self._transaction() as database:
            for token in tokens:
                changed = database.execute(
                    "DELETE FROM partition WHERE token = ? AND state = ?", (token, State.FINISHED)
                )
                self._only_if(changed, token, State.FINISHED)

    def groups(self) -> list[GroupRecord]:
        """All groups, by name."""
        with self._transaction() as database:
            return groups.load(database)

    def own_group(self, name: str) -> GroupRecord:
        """Own a group under a new epoch."""
        with self._transaction() as database:
            return groups.own(database, name)

    def save_group(
        self, group: GroupRecord, letters: Sequence[DeadLetter] = (), done: Iterable[int] = ()
    ) -> None:
        """Keep a group's state and its letters."""
        with self._transaction() as database:
            groups.save(database, group, letters, done)

    def dead_letters(
        self,
        name: str,
        *,
        requeued: bool | None = None,
        without: Collection[int] = (),
        limit: int | None = None,
    ) -> list[DeadLetter]:
        """The dead letters of a group."""
        with self._transaction() as database:
            return groups.letters(database, name, requeued=requeued, without=without, limit=limit)

    def requeue(self, name: str, ids: Iterable[int] | None = None) -> int:
        """Have dead letters delivered again."""
        with self._transaction() as database:
            return groups.requeue(database, name, ids)

    def close(self) -> None:
        """Close the file and let another relay have it."""
        with self._mutex:
            self._database.close()
            self._file_lock.release()

    def _find(self, token: str) -> PartitionRecord | None:
        row = self._database.execute(layout.SELECT + " WHERE token = ?", (token,)).fetchone()
        return None if row is None else layout.from_row(row)

    def _only_if(self, changed: sqlite3.Cursor, token: str, state: State, epoch: int | None = None) -> None:
        if changed.rowcount != 1:
            raise fenced(token, state, epoch, self._find(token))

    @contextmanager
    def _transaction(self) -> Iterator[sqlite3.Connection]:
        with self._mutex, self._readable_errors():
            self._database.execute("BEGIN IMMEDIATE")
            try:
                yield self._database
                self._database.execute("COMMIT")
            except BaseException:
                if self._database.in_transaction:
                    self._database.execute("ROLLBACK")
                raise

    @contextmanager
    def _readable_errors(self) -> Iterator[None]:
        try:
            yield
        except (StoreError, FencedError):
            raise
        except sqlite3.ProgrammingError as error:
            raise StoreError(f"{self._path}: the store is closed", path=str(self._path)) from error
        except (sqlite3.Error, ValueError) as error:
            raise StoreError(
                f"{self._path}: is no usable store: {error}; restore it, or set store.path to a new file",
                path=str(self._path),
            ) from error
