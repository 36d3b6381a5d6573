"""Names in an output's choice that nothing has: slips, more often than tables and columns to come."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Iterator, Sequence

from spanwire.config import Config
from spanwire.errors import SpanwireError
from spanwire.source.connect import Connection
from spanwire.source.tables import WatchedTable, watched_tables

_COLUMN = re.compile(r'\s*(?:`([^`]+)`|"([^"]+)"|(\w+))')
"""What a condition begins with."""
_COLUMN_SETTINGS = ("columns", "exclude_columns", "mask", "truncate", "hash")


def unknown_names(connection: Connection, config: Config) -> list[str]:
    """A line for each table and column that an output names and the stream does not watch.

    The database is asked only where there are such names. That it cannot be is a line too.
    """
    if not any(one.tables or one.exclude_tables or one.table for one in config.output):
        return []
    try:
        tables = watched_tables(connection.look_into, config.source.stream, connection.dialect)
    except SpanwireError as error:
        return [f"the names of tables and columns could not be looked up: {error}"]
    return [f"{setting}: {what}" for setting, what in _unknown(config, tables)]


def _unknown(config: Config, tables: Sequence[WatchedTable]) -> Iterator[tuple[str, str]]:
    for number, output in enumerate(config.output):
        where = f"output[{number}]"
        for setting in ("tables", "exclude_tables"):
            for name in getattr(output, setting):
                if not _meant(name, tables):
                    yield f"{where}.{setting}", _no_table(name, tables)
        for place, rules in enumerate(output.table):
            section = f"{where}.table[{place}]"
            meant = _meant(rules.name, tables)
            if not meant:
                yield f"{section}.name", _no_table(rules.name, tables)
                continue
            known = {column.name.lower(): column.name for table in meant for column in table.columns}
            named = [(setting, name) for setting in _COLUMN_SETTINGS for name in getattr(rules, setting)]
            named += [("where", _column(condition)) for condition in rules.where]
            for setting, name in named:
                if name.lower() not in known:
                    what = f'the stream watches no column "{name}" of {rules.name}'
                    yield f"{section}.{setting}", what + _hint(name, known.values())


def _meant(name: str, tables: Iterable[WatchedTable]) -> list[WatchedTable]:
    """The tables of a name, or of the beginning of one, without regard to case."""
    start, is_open = name.removesuffix("*").lower(), name.endswith("*")
    return [
        one for one in tables if one.name.lower() == start or (is_open and one.name.lower().startswith(start))
    ]


def _column(condition: str) -> str:
    """The column that a condition compares; conditions are well formed."""
    found = _COLUMN.match(condition)
    return "" if found is None else next(filter(None, found.groups()))


def _no_table(name: str, tables: Iterable[WatchedTable]) -> str:
    return f'the stream watches no table "{name}"' + _hint(name, (one.name for one in tables))


def _hint(name: str, known: Iterable[str]) -> str:
    names = {one.lower(): one for one in known}
    close = difflib.get_close_matches(name.lower(), names, 1, 0.6)
    return f'; did you mean "{names[close[0]]}"?' if close else ""
