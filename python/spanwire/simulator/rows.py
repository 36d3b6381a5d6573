"""The rows of the simulated database, and what a mutation makes of them under each capture type."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

from spanwire.simulator.records import Capture, Mod, ModType, Row
from spanwire.simulator.schema import Column, Table

Key = tuple[Any, ...]


@dataclass(frozen=True, slots=True)
class Mutation:
    """What is to happen to one row.

    `values` holds the key's columns and, but for a delete, those to be written. `upsert` inserts or
    updates, whichever the row needs.
    """

    kind: Literal["insert", "update", "upsert", "delete"]
    table: str
    values: Mapping[str, Any]


def insert(table: str, **values: Any) -> Mutation:
    """A new row; columns not given are NULL."""
    return Mutation("insert", table, values)


def update(table: str, **values: Any) -> Mutation:
    """New values for some columns of an existing row."""
    return Mutation("update", table, values)


def upsert(table: str, **values: Any) -> Mutation:
    """An insert where the row is not there, else an update."""
    return Mutation("upsert", table, values)


def delete(table: str, **keys: Any) -> Mutation:
    """The end of a row; nothing happens where there is none, as in Spanner."""
    return Mutation("delete", table, keys)


class Change(NamedTuple):
    """What a mutation did to a row, as a stream captures it."""

    table: Table
    mod_type: ModType
    columns: tuple[str, ...]
    key: Key
    mod: Mod


class Rows:
    """All rows. Not thread-safe. `undo` takes back what happened since `begin`."""

    def __init__(self, tables: Iterable[Table], capture: Capture) -> None:
        self._rows: dict[str, dict[Key, Row]] = {table.name: {} for table in tables}
        self._capture = capture
        self._before: list[tuple[str, Key, Row | None]] = []

    def keys(self, name: str) -> list[Key]:
        """The keys of a table's rows, oldest first."""
        return list(self._rows[name])

    def create(self, table: Table) -> None:
        """A table without rows. ValueError where there is one of that name."""
        if table.name in self._rows:
            raise ValueError(f"there is a table {table.name}")
        self._rows[table.name] = {}

    def drop(self, name: str) -> None:
        """A table goes, with its rows."""
        del self._rows[name]

    def alter(self, before: Table, after: Table) -> None:
        """Give the rows of a table its new columns: NULL where they are new, converted where retyped.

        ValueError, and nothing altered, where the key is another one, or Spanner knows no such conversion.
        """
        if before.keys != after.keys:
            raise ValueError(f"{after.name}: a primary key cannot be altered")
        how = {column.name: _conversion(before.by_name.get(column.name), column) for column in after.values}
        rows = self._rows[after.name]
        for key, row in rows.items():
            rows[key] = {
                name: None if (value := row.get(name)) is None else convert(value)
                for name, convert in how.items()
            }

    def of(self, name: str) -> dict[Key, Row]:
        """A table's rows, by key; not to be altered."""
        return self._rows[name]

    @property
    def before(self) -> list[tuple[str, Key, Row | None]]:
        """What was changed since `begin`: table, key, and the row as it was, None where it was not there."""
        return self._before

    def begin(self) -> None:
        """A transaction starts."""
        self._before.clear()

    def undo(self) -> None:
        """The transaction failed."""
        for name, key, row in reversed(self._before):
            rows = self._rows[name]
            if row is None:
                rows.pop(key, None)
            else:
                rows[key] = row
        self._before.clear()

    def apply(self, table: Table, mutation: Mutation) -> Change | None:
        """Do it; None where nothing changed. ValueError where the row is there already, or is not."""
        rows = self._rows[table.name]
        values = mutation.values
        key: Key = tuple([values[name] for name in table.key_names])
        before = rows.get(key)
        kind = mutation.kind
        if kind == "upsert":
            kind = "insert" if before is None else "update"
        if (kind == "insert") is not (before is None):
            if kind == "delete":
                return None
            raise ValueError(
                f"{kind} into {table.name}: the row is {'not there' if before is None else 'there'}"
            )
        self._before.append((table.name, key, before))
        if before is None:
            row = {name: values.get(name) for name in table.value_names}
            rows[key] = row
            return self._change(table, "INSERT", key, self._inserted(row))
        if kind == "delete":
            del rows[key]
            return self._change(table, "DELETE", key, self._deleted(before))
        changed = {name: values[name] for name in table.value_names if name in values}
        row = before | changed
        rows[key] = row
        return self._change(table, "UPDATE", key, self._updated(before, row, changed))

    def _change(
        self, table: Table, mod_type: ModType, key: Key, values: tuple[Row, Row, tuple[str, ...] | None]
    ) -> Change:
        new, old, names = values
        columns = table.key_names + (table.value_names if names is None else names)
        return Change(
            table, mod_type, columns, key, Mod(dict(zip(table.key_names, key, strict=True)), new, old)
        )

    def _inserted(self, row: Row) -> tuple[Row, Row, tuple[str, ...] | None]:
        return row, {}, None

    def _deleted(self, row: Row) -> tuple[Row, Row, tuple[str, ...] | None]:
        keeps = self._capture in ("OLD_AND_NEW_VALUES", "NEW_ROW_AND_OLD_VALUES")
        return {}, row if keeps else {}, None

    def _updated(self, before: Row, row: Row, changed: Row) -> tuple[Row, Row, tuple[str, ...] | None]:
        old = {name: before[name] for name in changed}
        match self._capture:
            case "OLD_AND_NEW_VALUES":
                return changed, old, tuple(changed)
            case "NEW_VALUES":
                return changed, {}, tuple(changed)
            case "NEW_ROW":
                return row, {}, None
            case _:
                return row, old, None


def _conversion(before: Column | None, after: Column) -> Callable[[Any], Any]:
    """What becomes of a column's value when the column gets another type."""
    if before is None or before.code == after.code:
        array = before.array if before is not None else after.array
        if array is not after.array:
            raise ValueError(f"{after.name}: an array stays an array")
        return lambda value: value
    convert = _CONVERSIONS.get((before.code, after.code))
    if convert is None or before.array or after.array:
        raise ValueError(f"{after.name}: {before.code} cannot become {after.code}")
    return convert


# https://cloud.google.com/spanner/docs/schema-updates#supported-updates
_CONVERSIONS: dict[tuple[str, str], Callable[[Any], Any]] = {
    ("STRING", "BYTES"): str.encode,
    ("BYTES", "STRING"): lambda value: value.decode("utf-8", "replace"),
    ("BYTES", "PROTO"): lambda value: value,
    ("PROTO", "BYTES"): lambda value: value,
    ("INT64", "ENUM"): lambda value: value,
    ("ENUM", "INT64"): lambda value: value,
}
