"""Groups and dead letters in the SQLite file. Each function runs within a transaction of its caller."""

from __future__ import annotations

import sqlite3
import struct
from collections.abc import Collection, Iterable, Sequence

from spanwire._core import Timestamp
from spanwire.records import DeadLetter, GroupRecord
from spanwire.store.rules import group_fenced

_LETTER = "id, changed, version, reason, deliveries, at, place, frames, requeued"


def load(database: sqlite3.Connection) -> list[GroupRecord]:
    """All groups, by name."""
    rows = database.execute("SELECT name, epoch, state FROM work_group ORDER BY name").fetchall()
    return [GroupRecord(*row) for row in rows]


def own(database: sqlite3.Connection, name: str) -> GroupRecord:
    """Own a group under a new epoch of the stream's counter."""
    database.execute("UPDATE stream SET epoch = epoch + 1")
    database.execute(
        "INSERT INTO work_group SELECT ?, epoch, '' FROM stream WHERE true"
        " ON CONFLICT (name) DO UPDATE SET epoch = excluded.epoch",
        (name,),
    )
    row = database.execute("SELECT name, epoch, state FROM work_group WHERE name = ?", (name,)).fetchone()
    return GroupRecord(*row)


def save(
    database: sqlite3.Connection, group: GroupRecord, letters: Sequence[DeadLetter], done: Iterable[int]
) -> None:
    """Keep a group's state and its letters; FencedError where it has another owner."""
    changed = database.execute(
        "UPDATE work_group SET state = ? WHERE name = ? AND epoch = ?", (group.state, group.name, group.epoch)
    )
    if changed.rowcount != 1:
        known = database.execute("SELECT epoch FROM work_group WHERE name = ?", (group.name,)).fetchone()
        raise group_fenced(group.name, group.epoch, None if known is None else known[0])
    database.executemany(
        "DELETE FROM dead_letter WHERE work_group = ? AND id = ?", [(group.name, one) for one in done]
    )
    database.executemany(
        "INSERT INTO dead_letter (work_group, changed, version, reason, deliveries, at, place, frames)"
        " VALUES (?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT (work_group, changed, version) DO UPDATE SET"
        " reason = excluded.reason, deliveries = excluded.deliveries, at = excluded.at,"
        " place = excluded.place, frames = excluded.frames, requeued = 0",
        [(group.name, *_to_row(letter)) for letter in letters],
    )


def letters(
    database: sqlite3.Connection,
    name: str,
    *,
    requeued: bool | None = None,
    without: Collection[int] = (),
    after: int = 0,
    limit: int | None = None,
) -> list[DeadLetter]:
    """The dead letters of a group, in the order they came; those behind the number `after`."""
    words, values = "work_group = ? AND id > ?", [name, after]
    if requeued is not None:
        words += " AND requeued" if requeued else " AND NOT requeued"
    if without:
        words += f" AND id NOT IN ({', '.join(str(int(one)) for one in without)})"
    statement = f"SELECT {_LETTER} FROM dead_letter WHERE {words} ORDER BY id LIMIT ?"  # noqa: S608
    rows = database.execute(statement, (*values, -1 if limit is None else limit)).fetchall()
    return [_from_row(row) for row in rows]


def count(database: sqlite3.Connection, name: str) -> tuple[int, int]:
    """How many letters a group has, and how many of them are requeued."""
    statement = "SELECT count(*), coalesce(sum(requeued), 0) FROM dead_letter WHERE work_group = ?"
    letters, requeued = database.execute(statement, (name,)).fetchone()
    return int(letters), int(requeued)


def requeue(database: sqlite3.Connection, name: str, ids: Iterable[int] | None) -> int:
    """Have letters delivered again; how many."""
    statement = "UPDATE dead_letter SET requeued = 1 WHERE work_group = ? AND NOT requeued"
    if ids is None:
        return database.execute(statement, (name,)).rowcount
    return sum(database.execute(f"{statement} AND id = ?", (name, one)).rowcount for one in set(ids))


def _to_row(letter: DeadLetter) -> tuple[object, ...]:
    return (
        letter.table,
        letter.version,
        letter.reason,
        letter.deliveries,
        str(letter.at),
        letter.place,
        b"".join(struct.pack("<I", len(one)) + one for one in letter.frames),
    )


def _from_row(row: tuple[object, ...]) -> DeadLetter:
    number, table, version, reason, deliveries, at, place, packed, requeued = row
    assert isinstance(packed, bytes)
    frames, offset = [], 0
    while offset < len(packed):
        (length,) = struct.unpack_from("<I", packed, offset)
        frames.append(packed[offset + 4 : offset + 4 + length])
        offset += 4 + length
    return DeadLetter(
        version=str(version),
        table=str(table),
        reason=str(reason),
        deliveries=int(str(deliveries)),
        at=Timestamp.parse(str(at)),
        frames=tuple(frames),
        place=int(str(place)),
        id=int(str(number)),
        requeued=bool(requeued),
    )
