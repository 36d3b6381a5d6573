"""Which tables and columns a stream watches, and the query that reads one of them.

https://cloud.google.com/spanner/docs/information-schema
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from spanwire.source.query import Dialect, quoted

Rows = Callable[[str], Iterable[Sequence[Any]]]
"""What answers a query."""

_COLUMNS = (
    "SELECT table_schema, table_name, column_name, ordinal_position, is_generated "
    "FROM information_schema.columns"
)
_KEYS = (
    "SELECT table_schema, table_name, column_name, ordinal_position "
    "FROM information_schema.index_columns WHERE index_type = 'PRIMARY_KEY'"
)
_BASE_TABLES = (
    "SELECT table_schema, table_name FROM information_schema.tables WHERE table_type = 'BASE TABLE'"
)
_SYSTEM_SCHEMAS = {"information_schema", "spanner_sys", "pg_catalog"}
_YES = (True, "YES")
_BEHIND_KEYS = 1_000_000

_Name = tuple[str, str]
"""Schema and table."""


@dataclass(frozen=True, slots=True)
class WatchedColumn:
    """A column that the stream watches."""

    name: str
    is_primary_key: bool
    ordinal_position: int
    """From 1, as in the table definition."""


@dataclass(frozen=True, slots=True)
class WatchedTable:
    """A table that the stream watches, with the columns that it watches: the key's in key order, then others.

    Generated columns outside the key are not among them: they never reach a stream.
    """

    schema: str
    """Empty for the default one."""
    table: str
    columns: tuple[WatchedColumn, ...]

    @property
    def name(self) -> str:
        """As records name it: `sales.orders`."""
        return f"{self.schema}.{self.table}" if self.schema else self.table

    def sql(self, dialect: Dialect) -> str:
        """The query of all its rows. All names are quoted; it reads partition by partition."""
        columns = ", ".join(quoted(column.name, dialect) for column in self.columns)
        table = ".".join(quoted(part, dialect) for part in (self.schema, self.table) if part)
        return f"SELECT {columns} FROM {table}"  # noqa: S608 - names cannot be parameters; they are quoted


def watched_tables(rows: Rows, stream: str, dialect: Dialect) -> list[WatchedTable]:
    """The tables that a stream watches, by name; none where there is no such stream.

    A table without a key of which no column is watched has nothing that could be read, and is left out.
    """
    default = "" if dialect == "googlesql" else "public"
    everything = quoted("all" if dialect == "postgresql" else "ALL", dialect)
    streams = rows(f"SELECT change_stream_name, {everything} FROM information_schema.change_streams")  # noqa: S608
    for_all = next((flag in _YES for name, flag in streams if name == stream), None)
    if for_all is None:
        return []
    keys = _keys(rows)
    only = None if for_all else _listed(rows, stream)
    base = {(schema, table) for schema, table in rows(_BASE_TABLES) if schema.lower() not in _SYSTEM_SCHEMAS}
    found: dict[_Name, list[tuple[int, WatchedColumn]]] = {}
    for schema, table, column, ordinal, generated in rows(_COLUMNS):
        name = (schema, table)
        if name not in base or (only is not None and name not in only):
            continue
        listed = None if only is None else only[name]
        place = keys.get(name, {}).get(column)
        if place is None and (generated == "ALWAYS" or (listed is not None and column not in listed)):
            continue
        made = WatchedColumn(column, place is not None, int(ordinal))
        found.setdefault(name, []).append((place if place is not None else _BEHIND_KEYS + int(ordinal), made))
    tables = [
        WatchedTable(
            "" if schema == default else schema, table, tuple(one for _, one in sorted(own, key=_place))
        )
        for (schema, table), own in found.items()
    ]
    return sorted(tables, key=lambda one: one.name)


def _place(column: tuple[int, WatchedColumn]) -> int:
    return column[0]


def _keys(rows: Rows) -> dict[_Name, dict[str, int]]:
    """Of each table its key's columns, with their places in it."""
    keys: dict[_Name, dict[str, int]] = {}
    for schema, table, column, place in rows(_KEYS):
        keys.setdefault((schema, table), {})[column] = int(place)
    return keys


def _listed(rows: Rows, stream: str) -> dict[_Name, set[str] | None]:
    """The tables that a stream names; with the columns that it names, None where it takes all."""
    tables = rows(
        "SELECT change_stream_name, table_schema, table_name, all_columns "
        "FROM information_schema.change_stream_tables"
    )
    listed: dict[_Name, set[str] | None] = {
        (schema, table): None if flag in _YES else set()
        for name, schema, table, flag in tables
        if name == stream
    }
    columns = rows(
        "SELECT change_stream_name, table_schema, table_name, column_name "
        "FROM information_schema.change_stream_columns"
    )
    for name, schema, table, column in columns:
        own = listed.get((schema, table))
        if name == stream and own is not None:
            own.add(column)
    return listed
