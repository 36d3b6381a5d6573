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
    """A table that the stream watches, with the columns that it watches: the key's, in key order, then others.

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
    columns: dict[_Name, list[WatchedColumn]] = {}
    for schema, table, column, ordinal, generated in rows(_COLUMNS):
        name = (schema, table)
        is_key = column in keys.get(name, {})
        if name not in base or (generated == "ALWAYS" and not is_key):
            continue
        if only is not None:
            if name not in only:
                continue
            listed = only[name]
            if listed is not None and column not in listed and not is_key:
                continue
        columns.setdefault(name, []).append(WatchedColumn(column, is_key, int(ordinal)))
    found = []
    for (schema, table), own in columns.items():
        places = keys.get((schema, table), {})
        own.sort(key=lambda one, places=places: (not one.is_primary_key, places.get(one.name, one.ordinal_position)))  # type: ignore[misc]
        found.append(WatchedTable("" if schema == default else schema, table, tuple(own)))
    return sorted(found, key=lambda one: one.name)


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
