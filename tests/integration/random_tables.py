"""Random tables of all types, and random transactions on them; all of it decided by one generator."""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import Any

from google.cloud.spanner import KeySet
from integration.emulator import Dialect, EmulatorDatabase
from integration.values import KINDS, Kind, b64

CAPTURES = ("OLD_AND_NEW_VALUES", "NEW_ROW", "NEW_VALUES", "NEW_ROW_AND_OLD_VALUES")
_WORDS = ("order", "group", "select", "from", "null", "table", "desc", "MixedCase")
_LONG = 1_200_000
"""More than the emulator puts into one message."""


def stream_ddl(dialect: Dialect, capture: str) -> str:
    """DDL of the change stream `watch`."""
    if dialect == "postgresql":
        return f"CREATE CHANGE STREAM watch FOR ALL WITH (value_capture_type = '{capture}')"
    return f"CREATE CHANGE STREAM watch FOR ALL OPTIONS (value_capture_type = '{capture}')"


class Table:
    """A random table, and random values for it."""

    def __init__(self, dialect: Dialect, number: int, rng: random.Random) -> None:
        self._dialect = dialect
        self._rng = rng
        self._quote = '"' if dialect == "postgresql" else "`"
        self.schema = rng.choice((None, None, "sales"))
        word = rng.choice((f"t{number}", f"{rng.choice(_WORDS)}_{number}", _WORDS[number]))
        self.name = f"{self.schema}.{word}" if self.schema else word
        keyed = [kind for kind in KINDS if kind.may_be_key]
        self._keys = rng.choices(keyed, k=rng.randint(1, 3))
        self._others = [(rng.choice(KINDS), rng.random() < 0.3) for _ in range(rng.randint(0, 8))]
        size = len(self._keys) + len(self._others)
        # A column's own name, or a word that must be quoted; keys anywhere among the columns.
        names = rng.sample(_WORDS, min(size, 3)) + [f"c{n}" for n in range(size)]
        self._names = rng.sample(names[:size], size)
        self.keys, self.others = self._names[: len(self._keys)], self._names[len(self._keys) :]
        self.ddl = self._ddl()

    def _ddl(self) -> str:
        columns = [
            f"{self._quoted(name)} {kind.ddl(self._dialect)}"
            for name, kind in zip(self.keys, self._keys, strict=True)
        ]
        columns += [
            f"{self._quoted(name)} {kind.ddl(self._dialect, array=array)}"
            for name, (kind, array) in zip(self.others, self._others, strict=True)
        ]
        self._rng.shuffle(columns)
        name = ".".join(map(self._quoted, self.name.split(".")))
        key = f"PRIMARY KEY ({', '.join(map(self._quoted, self.keys))})"
        if self._dialect == "postgresql":
            return f"CREATE TABLE {name} ({', '.join(columns)}, {key})"
        return f"CREATE TABLE {name} ({', '.join(columns)}) {key}"

    def key(self) -> list[Any]:
        """A key; few of them are different, so that rows are updated and deleted."""
        nullable = (None,) if self._dialect == "googlesql" else ()
        return [self._rng.choice((*kind.for_dialect(self._dialect)[:3], *nullable)) for kind in self._keys]

    def write(self) -> tuple[str, Any]:
        """One write of a transaction: the method's name, and its arguments."""
        chance = self._rng.random()
        if chance < 0.04:
            return "delete", (self.name, KeySet(all_=True))
        if chance < 0.2:
            return "delete", (self.name, KeySet(keys=[self.key()]))
        verb = "replace" if chance < 0.3 else "insert_or_update"
        rows = range(self._rng.choice((1, 1, 1, 4)))
        # Some of the columns only: what is missing from a record depends on the capture type.
        some = sorted(self._rng.sample(range(len(self.others)), self._rng.randint(0, len(self.others))))
        columns = [*self.keys, *(self.others[place] for place in some)]
        values = [[*self.key(), *(self._value(*self._others[place]) for place in some)] for _ in rows]
        return verb, (self.name, columns, values)

    def _quoted(self, name: str) -> str:
        return f"{self._quote}{name}{self._quote}"

    def _value(self, kind: Kind, array: bool) -> Any:
        values = kind.for_dialect(self._dialect)
        if self._rng.random() < 0.2:
            return None
        if not array:
            if kind.name in ("string", "bytes") and self._rng.random() < 0.02:
                return "é" * (_LONG // 2) if kind.name == "string" else b64(b"\xfb" * _LONG)
            return self._rng.choice(values)
        choices = (*values, None) if kind.null_elements else values
        return self._rng.choices(choices, k=self._rng.choice((0, 1, 4, 17)))


def make(dialect: Dialect, rng: random.Random) -> list[Table]:
    """Some tables."""
    return [Table(dialect, number, rng) for number in range(rng.randint(1, 3))]


def database_ddl(tables: Sequence[Table], dialect: Dialect, capture: str) -> list[str]:
    """All of a database that holds them."""
    schemas = sorted({table.schema for table in tables if table.schema})
    return [
        *(f"CREATE SCHEMA {name}" for name in schemas),
        *(table.ddl for table in tables),
        stream_ddl(dialect, capture),
    ]


def write(database: EmulatorDatabase, tables: Sequence[Table], rng: random.Random) -> str:
    """Some transactions of some writes each; the last commit timestamp."""
    last = ""
    for number in range(rng.randint(2, 8)):
        # Drawn outside of the transaction: an aborted one is run again.
        writes = [table.write() for table in rng.choices(tables, k=rng.randint(1, 9))]

        def work(transaction: Any, writes: list[tuple[str, Any]] = writes) -> None:
            for verb, arguments in writes:
                getattr(transaction, verb)(*arguments)

        last = database.run(work, tag=rng.choice((None, f"tag {number}")))
    return last
