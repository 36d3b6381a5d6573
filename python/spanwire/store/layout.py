"""How the SQLite file is laid out, and whether a file found is laid out so."""

from __future__ import annotations

import json
import sqlite3
from pathlib import Path
from typing import Any

from spanwire._core import Timestamp
from spanwire.errors import StoreError
from spanwire.records import PartitionRecord, State, StreamIdentity
from spanwire.store.rules import epoch_before_the_first

VERSION = 2
APPLICATION_ID = 0x53_50_57_52
"""What tells our files from those of other programs ("SPWR")."""

SELECT = "SELECT token, start, parents, state, position, epoch FROM partition"
INSERT = "INSERT INTO partition (token, start, parents, state, position, epoch) VALUES (?, ?, ?, ?, ?, ?)"
INSERT_NEW = INSERT + " ON CONFLICT (token) DO NOTHING"

_CREATE_1 = (
    "CREATE TABLE stream (project TEXT NOT NULL, instance TEXT NOT NULL, database TEXT NOT NULL,"
    " stream TEXT NOT NULL, epoch INTEGER NOT NULL) STRICT",
    "CREATE TABLE partition (id INTEGER PRIMARY KEY, token TEXT NOT NULL UNIQUE, start TEXT NOT NULL,"
    " parents TEXT NOT NULL, state TEXT NOT NULL, position TEXT, epoch INTEGER NOT NULL) STRICT",
)

_CREATE_2 = (
    "CREATE TABLE work_group (name TEXT PRIMARY KEY, epoch INTEGER NOT NULL, state TEXT NOT NULL) STRICT",
    "CREATE TABLE dead_letter (id INTEGER PRIMARY KEY AUTOINCREMENT, work_group TEXT NOT NULL,"
    " changed TEXT NOT NULL, version TEXT NOT NULL, reason TEXT NOT NULL, deliveries INTEGER NOT NULL,"
    " at TEXT NOT NULL, place INTEGER NOT NULL, frames BLOB NOT NULL, requeued INTEGER NOT NULL DEFAULT 0,"
    " UNIQUE (work_group, changed, version)) STRICT",
    "CREATE INDEX requeued_letter ON dead_letter (work_group, id) WHERE requeued",
)
_STEPS = {1: _CREATE_1, 2: _CREATE_2}
"""What each layout adds to the one before."""

Row = tuple[Any, ...]


def prepare(database: sqlite3.Connection, identity: StreamIdentity, path: Path) -> None:
    """Lay out a new file, or make sure that this one is ours, whole, and of this stream."""
    if not _is_empty(database):
        check(database, identity, path)
    database.execute("PRAGMA journal_mode = WAL")
    database.execute("PRAGMA synchronous = FULL")
    database.execute("BEGIN IMMEDIATE")
    try:
        if _is_empty(database):
            _create(database, identity)
        _raise(database)
        database.execute("COMMIT")
    except BaseException:
        database.execute("ROLLBACK")
        raise


def to_row(partition: PartitionRecord) -> Row:
    """A partition in the order of SELECT."""
    position = None if partition.position is None else str(partition.position)
    parents = json.dumps(partition.parents)
    return (partition.token, str(partition.start), parents, partition.state, position, partition.epoch)


def from_row(row: Row) -> PartitionRecord:
    """A partition from a row in the order of SELECT; ValueError where it holds something else."""
    token, start, parents, state, position, epoch = row
    return PartitionRecord(
        token=token,
        start=Timestamp.parse(start),
        parents=tuple(json.loads(parents)),
        state=State(state),
        position=None if position is None else Timestamp.parse(position),
        epoch=epoch,
    )


def _is_empty(database: sqlite3.Connection) -> bool:
    tables = database.execute("SELECT count(*) FROM sqlite_schema").fetchone()[0]
    return bool(tables == 0 and _pragma(database, "application_id") == 0)


def _create(database: sqlite3.Connection, identity: StreamIdentity) -> None:
    for statement in _STEPS[1]:
        database.execute(statement)
    database.execute(
        "INSERT INTO stream VALUES (?, ?, ?, ?, ?)",
        (identity.project, identity.instance, identity.database, identity.stream, epoch_before_the_first()),
    )
    database.execute(f"PRAGMA application_id = {APPLICATION_ID}")
    database.execute("PRAGMA user_version = 1")


def _raise(database: sqlite3.Connection) -> None:
    """Bring an older layout up to ours: what is in it stays."""
    for version in range(_pragma(database, "user_version") + 1, VERSION + 1):
        for statement in _STEPS[version]:
            database.execute(statement)
        database.execute(f"PRAGMA user_version = {version}")


def check(database: sqlite3.Connection, identity: StreamIdentity, path: Path) -> None:
    """StoreError unless a file is ours, whole, of a layout that is known, and of this stream."""
    if _pragma(database, "application_id") != APPLICATION_ID:
        raise StoreError(
            f"{path}: is another program's database; set store.path to a file of its own", path=str(path)
        )
    version = _pragma(database, "user_version")
    if not 1 <= version <= VERSION:
        raise StoreError(
            f"{path}: has layout {version}, this version of spanwire knows {VERSION}; "
            "use the version that wrote it, or set store.path to a new file",
            path=str(path),
        )
    damage = database.execute("PRAGMA quick_check(1)").fetchone()[0].splitlines()[-1]
    if damage != "ok":
        raise StoreError(
            f"{path}: is damaged ({damage}); restore it, or set store.path to a new file", path=str(path)
        )
    stored = StreamIdentity(
        *database.execute("SELECT project, instance, database, stream FROM stream").fetchone()
    )
    if stored != identity:
        raise StoreError(
            f"{path}: holds the progress of {stored}, not of {identity}; set store.path to another file",
            path=str(path),
        )


def _pragma(database: sqlite3.Connection, name: str) -> int:
    return int(database.execute(f"PRAGMA {name}").fetchone()[0])
