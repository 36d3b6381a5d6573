r"""Analytics in DuckDB that are right at every moment: whole transactions, in commit order.

    python duckdb_analytics.py DATABASE CHANGES REPLAYS TOPICS SINCE
    python duckdb_analytics.py shop.duckdb tcp://127.0.0.1:5560 tcp://127.0.0.1:5570 shop/all_tables/ \
        2026-11-23T00:00:00Z

Which tables are analysed, and which of their columns, stands in KEYS and TABLES below: those of spanwire's
simulator, for you to change. Changes of other tables are passed over.

What a query sums up over several tables is a state that Spanner had: no transaction is in it by half. The
cursor is written in the DuckDB transaction that holds the rows, so each change has its effect exactly once.
"""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterable
from itertools import islice
from typing import Any

import duckdb

from spanwire import Change, Subscriber, Timestamp

KEYS = {"accounts": ("id",), "orders": ("customer", "number")}
TABLES = {  # what is analysed of each table, whatever else it has
    "accounts": {"id": "BIGINT", "name": "VARCHAR", "balance": "DECIMAL(38, 9)", "active": "BOOLEAN"},
    "orders": {"customer": "VARCHAR", "number": "BIGINT", "weight": "FLOAT", "prices": "DECIMAL(38, 9)[]"},
}
AT_ONCE = 1000
"""Transactions of Spanner in one of DuckDB, at most."""

Rows = dict[tuple[Any, ...], dict[str, Any] | None]
"""By primary key: the values that change; None for a row that goes."""


def main(path: str, changes: str, replays: str, topics: str, since: str) -> None:
    """Follow a stream until interrupted, from where the database stands; a new one from `since` on."""
    with duckdb.connect(path) as database:
        database.execute("CREATE TABLE IF NOT EXISTS progress (cursor VARCHAR)")
        for table, columns in TABLES.items():
            described = ", ".join(f"{name} {kind}" for name, kind in columns.items())
            key = f"PRIMARY KEY ({', '.join(KEYS[table])})"
            database.execute(f"CREATE TABLE IF NOT EXISTS {table} ({described}, {key})")
        stored = database.execute("SELECT cursor FROM progress").fetchone()
        start = stored[0] if stored else Timestamp.parse(since)
        with Subscriber(changes, topics, replay=replays, start=start, order="transaction") as subscriber:
            while True:
                first = next(subscriber.transactions())  # waits; what came with it is there at once
                come = [first, *islice(subscriber.transactions(timeout=0), AT_ONCE - 1)]
                database.begin()
                for table, rows in net(come).items():
                    write(database, table, rows)
                database.execute("DELETE FROM progress")
                database.execute("INSERT INTO progress VALUES (?)", [subscriber.cursor])
                database.commit()


def net(transactions: Iterable[Iterable[Change]]) -> dict[str, Rows]:
    """What transactions do to each table, taken together: DuckDB is quick with many rows at a time."""
    tables: dict[str, Rows] = {table: {} for table in TABLES}
    for transaction in transactions:
        for change in transaction:
            rows = tables.get(change.table)
            if rows is None:
                continue
            key = tuple(change.keys[name] for name in KEYS[change.table])
            if change.mod_type == "DELETE":
                rows[key] = None
            else:
                rows[key] = {**(rows.get(key) or {}), **change.keys, **change.new}
    return tables


def write(database: duckdb.DuckDBPyConnection, table: str, rows: Rows) -> None:
    """Delete the rows that went; insert or update the others, those with the same columns together."""
    keys = KEYS[table]
    if gone := [key for key, values in rows.items() if values is None]:
        where = f"({', '.join(keys)}) IN (VALUES {{}})"
        execute(database, f"DELETE FROM {table} WHERE {where}", table, keys, gone)  # noqa: S608
    alike: dict[tuple[str, ...], list[tuple[Any, ...]]] = {}
    for values in filter(None, rows.values()):
        names = tuple(name for name in TABLES[table] if name in values)
        alike.setdefault(names, []).append(tuple(values[name] for name in names))
    for names, same in alike.items():
        updates = ", ".join(f"{name} = excluded.{name}" for name in names if name not in keys)
        insert = f"INSERT INTO {table} ({', '.join(names)}) VALUES {{}} ON CONFLICT DO "  # noqa: S608
        execute(database, insert + (f"UPDATE SET {updates}" if updates else "NOTHING"), table, names, same)


def execute(
    database: duckdb.DuckDBPyConnection, statement: str, table: str, names: tuple[str, ...], rows: list[Any]
) -> None:
    """One statement for many rows. Each value is cast: else DuckDB finds one type for all rows."""
    row = ", ".join(f"?::{TABLES[table][name]}" for name in names)
    values = [value for row in rows for value in row]
    database.execute(statement.format(", ".join([f"({row})"] * len(rows))), values)


if __name__ == "__main__":
    if len(sys.argv) != 6:
        sys.exit(__doc__)
    with contextlib.suppress(KeyboardInterrupt):
        main(*sys.argv[1:])
