"""Generated transactions over the built-in tables, or any others of the same column types."""

from __future__ import annotations

import datetime
import random
import struct
import time
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from spanwire.simulator.commits import Commits, Transaction
from spanwire.simulator.config import SimulatorConfig
from spanwire.simulator.records import Row
from spanwire.simulator.rows import Mutation
from spanwire.simulator.schema import Column, Dialect, Table
from spanwire.simulator.values import Instant, json_document, timestamp_text

_POOL = 256  # different values a column takes, its large ones and revision apart
_WORDS = (
    *("amber", "béta", "ちいさな", "数据", "данные", "naïve", "Straße", "e\u0301", "🚀", "🇫🇷", "🏳️‍🌈"),
    *("\\", '"', "/", "\t", "\n", "\u2028", "\x7f", "\x01", "\ufeff", "a/b", "<tag>", "&", "'quote'"),
    *("NULL", "NaN", "null", "{}", "[]", "0", "-1", "zebra"),
)


@dataclass(frozen=True, slots=True)
class WorkloadConfig:
    """How much and how fast."""

    changes: int = 1000
    """So many changes, exactly."""
    rate: float = 0.0
    """Changes a second; 0: as fast as they can be made."""
    max_mods: int = 40
    """A transaction has 1 to so many changes."""
    large_every: int = 5000
    """One in about so many changes carries a large value; 0: none."""
    large_bytes: int = 100_000


@dataclass(frozen=True, slots=True)
class Done:
    """What a workload committed. `last`: its last commit timestamp, nanoseconds since 1970; 0 for none."""

    changes: int
    transactions: int
    last: int
    seconds: float

    def as_json(self) -> dict[str, Any]:
        """For one line of JSON."""
        return {
            "committed": self.changes,
            "transactions": self.transactions,
            "last": timestamp_text(self.last) if self.last else None,
            "seconds": round(self.seconds, 3),
        }


class Workload:
    """Makes transactions of inserts, updates, deletes. One seed, one sequence of them."""

    def __init__(self, config: SimulatorConfig, commits: Commits) -> None:
        self._rng = random.Random(f"{config.seed}/workload")  # noqa: S311
        self._commits = commits
        self._dialect = config.dialect
        self._tables: list[_TableRows] = []
        self._revision = 0

    def run(self, config: WorkloadConfig, progress: Callable[[int], None] | None = None) -> Done:
        """Commit until there are enough changes. `progress` is told each transaction's."""
        began = time.monotonic()
        self._adopt(self._commits.tables)
        changes = transactions = last = 0
        while changes < config.changes:
            made = self._transactions(config, config.changes - changes)
            commits = self._commits.commit_typed(made)
            committed = sum(commit.changes for commit in commits)
            changes += committed
            transactions += len(commits)
            last = commits[0].timestamp
            if progress is not None:
                progress(committed)
            if config.rate:
                ahead = began + changes / config.rate - time.monotonic()
                if ahead > 0:
                    time.sleep(ahead)
        return Done(changes, transactions, last, time.monotonic() - began)

    def _adopt(self, tables: list[Table]) -> None:
        """Tables may have come, gone and changed since the last run."""
        known = {rows.table.name: rows for rows in self._tables}
        self._tables = []
        for table in tables:
            rows = known.get(table.name)
            if rows is None:
                rows = _TableRows(table, self._rng, self._dialect)
            elif rows.table is not table:
                rows.adopt(table, self._commits.keys(table.name))
            self._tables.append(rows)

    def _transactions(self, config: WorkloadConfig, most: int) -> list[Transaction]:
        """One, or now and then two that share no row and will share a timestamp."""
        touched: set[tuple[Any, ...]] = set()
        made: list[Transaction] = []
        for _ in range(2 if self._rng.random() < 0.05 else 1):
            size = min(self._rng.randint(1, config.max_mods), most)
            most -= size
            if size:
                tag = self._rng.choice(("", "", "", "checkout", "nightly-é"))
                system = self._rng.random() < 0.02
                made.append(Transaction(self._mutations(size, touched, config), tag, system))
        return made

    def _mutations(self, size: int, touched: set[tuple[Any, ...]], config: WorkloadConfig) -> list[Mutation]:
        mutations: list[Mutation] = []
        while size:
            rows = self._rng.choice(self._tables)
            # A run of one kind, so that records carry several mods; one transaction in a few mixes.
            run = size if self._rng.random() < 0.7 else self._rng.randint(1, size)
            size -= run
            kind = self._rng.choices(("insert", "update", "delete"), (50, 38, 12))[0]
            for _ in range(run):
                self._revision += 1
                large = config.large_every and not self._rng.randrange(config.large_every)
                mutations.append(
                    rows.mutation(kind, self._revision, touched, config.large_bytes if large else 0)
                )
        return mutations


class _TableRows:
    """One table's living keys, and new values for its rows."""

    def __init__(self, table: Table, rng: random.Random, dialect: Dialect) -> None:
        self._rng = rng
        self._dialect = dialect
        self._next = 0
        self.adopt(table, [])

    def adopt(self, table: Table, keys: list[tuple[Any, ...]]) -> None:
        """The table's columns are these now, its rows those."""
        self.table = table
        self._keys = keys
        self._others = [column for column in table.values if column.name != "revision"]
        self._pool: list[Row] = [
            {column.name: _value(column, self._rng, self._dialect) for column in self._others}
            for _ in range(_POOL)
        ]
        self._large = [column for column in self._others if column.code in _LARGE]

    def mutation(self, kind: str, revision: int, touched: set[tuple[Any, ...]], large: int) -> Mutation:
        """What was asked for, or an insert where no living row untouched by the transaction is found."""
        if kind != "insert":
            found = self._living(touched, take=kind == "delete")
            if found is not None and kind == "delete":
                return Mutation("delete", self.table.name, found)
            if found is not None:
                return Mutation("update", self.table.name, self._changed(found, revision, large))
        key = self._new_key()
        touched.add((self.table.name, *key))
        self._keys.append(key)
        values = dict(zip(self.table.key_names, key, strict=True))
        values |= self._rng.choice(self._pool)
        return Mutation("insert", self.table.name, self._marked(values, revision, large))

    def _living(self, touched: set[tuple[Any, ...]], take: bool) -> Row | None:
        if not self._keys:
            return None
        place = self._rng.randrange(len(self._keys))
        key = self._keys[place]
        if (self.table.name, *key) in touched:
            return None
        touched.add((self.table.name, *key))
        if take:
            self._keys[place] = self._keys[-1]
            self._keys.pop()
        return dict(zip(self.table.key_names, key, strict=True))

    def _changed(self, values: Row, revision: int, large: int) -> Row:
        fresh = self._rng.choice(self._pool)
        first = self._rng.randrange(len(self._others))
        for column in self._others[first : first + 3]:
            values[column.name] = fresh[column.name]
        return self._marked(values, revision, large)

    def _marked(self, values: Row, revision: int, large: int) -> Row:
        """Every write is told apart by its revision."""
        if "revision" in self.table.by_name:
            values["revision"] = revision
        if large and self._large:
            column = self._rng.choice(self._large)
            value = _LARGE[column.code](self._rng.choice(("x", "é", "数", '"', "🚀")) * (large // 2))
            values[column.name] = [None, value] if column.array else value
        return values

    def _new_key(self) -> tuple[Any, ...]:
        self._next += 1
        return tuple(_key(column, self._next, self._rng) for column in self.table.keys)


_LARGE: dict[str, Callable[[str], Any]] = {
    "STRING": lambda text: text,
    "BYTES": str.encode,
    "PROTO": str.encode,
    "JSON": lambda text: json_document(text, "googlesql"),  # as a document it is the same in both dialects
}


def _key(column: Column, number: int, rng: random.Random) -> Any:
    if column.nullable and rng.random() < 0.3:
        return None
    match column.code:
        case "INT64":
            return number if rng.random() < 0.9 else -number
        case "STRING":
            return f"{rng.choice(_WORDS)}-{number}"
        case "BYTES":
            return number.to_bytes(8, "big") + rng.randbytes(4)
        case "TIMESTAMP":
            return Instant(number, number % 1_000_000_000)
        case "UUID":
            return str(uuid.UUID(int=rng.getrandbits(96) << 32 | number))
        case "DATE":
            return datetime.date.fromordinal(1 + number % 3_600_000)
        case code:
            raise ValueError(f"the workload makes no keys of type {code}")


def _value(column: Column, rng: random.Random, dialect: Dialect) -> Any:
    if rng.random() < 0.08:
        return None
    if not column.array:
        return _scalar(column.code, rng, dialect)
    return [
        None if rng.random() < 0.15 else _scalar(column.code, rng, dialect)
        for _ in range(rng.choice((0, 1, 2, 3, 5)))
    ]


def _scalar(code: str, rng: random.Random, dialect: Dialect) -> Any:
    make = _MAKERS.get(code)
    if make is None:
        raise ValueError(f"the workload makes no values of type {code}")
    return make(rng, dialect)


def _numeric(rng: random.Random, dialect: Dialect) -> Decimal:
    if rng.random() < 0.2:
        return rng.choice(_NUMERICS[dialect])
    # Odd, so that no zero ends it: GoogleSQL would drop that.
    return Decimal(rng.randrange(10**9) * 10 + 1).scaleb(-rng.choice((0, 1, 9)))


_MOST = Decimal("99999999999999999999999999999.999999999")
_NUMERICS: dict[Dialect, tuple[Decimal, ...]] = {
    "googlesql": (Decimal(0), _MOST, _MOST.copy_negate(), Decimal("-0.000000001")),
    "postgresql": (Decimal("NaN"), Decimal("0.00"), Decimal("-1.50"), Decimal(f"{7**200}.{'0' * 40}1")),
}


def _instant(rng: random.Random, _dialect: Dialect) -> Instant:
    nanos = rng.choice((0, 120_000_000, 123_456_000, 1, 999_999_999))
    seconds = rng.choice((_FIRST, _LAST, *(rng.randrange(_FIRST, _LAST) for _ in range(4))))
    return Instant(seconds, nanos)


_FIRST, _LAST = -62_135_596_800, 253_402_300_799
"""The first and the last second of a TIMESTAMP: years 0001 to 9999."""


def _document(rng: random.Random, dialect: Dialect) -> str:
    words = {rng.choice(_WORDS): rng.choice(_WORDS), "n": rng.randrange(100), "l": [1, None, "x"]}
    return json_document(rng.choice((words, [], None, "text", 1.5, {"deep": {"er": words}})), dialect)


def _single(value: float) -> float:
    """The nearest FLOAT32."""
    return float(struct.unpack("f", struct.pack("f", value))[0])


_SPECIAL = (float("nan"), float("inf"), float("-inf"))

_LONGS = (0, -1, 2**63 - 1, -(2**63))
_DOUBLES = (0.1, -0.0, 5e-324, 1e300, 1e22, *_SPECIAL)
_SINGLES = (0.1, -0.0, 1e-45, 3.4028234663852886e38, *_SPECIAL)
_INTERVALS = (
    *("P0Y", "P1Y2M3DT4H5M6.5S", "P-1Y-2M-3DT-4H-5M-6.789S", "PT0.000000001S", "P10000Y", "P-10000Y"),
    *("P1Y-2M3DT-4H", "P3660000D", "PT-87840000H"),
)

_MAKERS: dict[str, Callable[[random.Random, Dialect], Any]] = {
    "BOOL": lambda rng, _: rng.random() < 0.5,
    "INT64": lambda rng, _: rng.choice((*_LONGS, rng.randrange(-(10**6), 10**6))),
    "FLOAT64": lambda rng, _: rng.choice((rng.gauss(0, 1e3), rng.random(), *_DOUBLES)),
    "FLOAT32": lambda rng, _: _single(rng.choice((rng.gauss(0, 10), *_SINGLES))),
    "NUMERIC": _numeric,
    "STRING": lambda rng, _: " ".join(rng.choices(_WORDS, k=rng.randrange(12))),
    "BYTES": lambda rng, _: rng.randbytes(rng.randrange(24)),
    "DATE": lambda rng, _: datetime.date.fromordinal(rng.randint(1, datetime.date.max.toordinal())),
    "TIMESTAMP": _instant,
    "JSON": _document,
    "UUID": lambda rng, _: str(uuid.UUID(int=rng.getrandbits(128))),
    "INTERVAL": lambda rng, _: rng.choice(_INTERVALS),
    "PROTO": lambda rng, _: rng.randbytes(rng.randrange(24)),
    "ENUM": lambda rng, _: rng.choice((0, 1, 7, -1, 2**31 - 1, -(2**31))),
    "PG_OID": lambda rng, _: rng.choice((0, 16_384, 2**32 - 1)),
}
