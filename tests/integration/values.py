"""Columns of every type that the emulator delivers, and values at their extremes, in both dialects.

What the emulator makes of some of them in its change streams is its own: NaN and infinities come as
null, timestamps lose their fraction, and the year 1 is written "1". Other tests cover what it cannot.
"""

from __future__ import annotations

import base64
import math
from dataclasses import dataclass
from typing import Any

from integration.emulator import Dialect


def b64(content: bytes) -> str:
    """Bytes as mutations carry them."""
    return base64.b64encode(content).decode()


@dataclass(frozen=True)
class Kind:
    """A column type: its name in each dialect's DDL, and values as mutations take them."""

    name: str
    googlesql: str
    postgresql: str
    values: tuple[Any, ...]
    may_be_key: bool = True
    null_elements: bool = False
    """Whether arrays may hold NULL, which comes as the string "NULL"; of others the emulator dies."""

    def ddl(self, dialect: Dialect, *, array: bool = False) -> str:
        """The type in DDL."""
        if dialect == "postgresql":
            return self.postgresql + ("[]" if array else "")
        return f"ARRAY<{self.googlesql}>" if array else self.googlesql

    def for_dialect(self, dialect: Dialect) -> tuple[Any, ...]:
        """Its values, as far as the dialect takes them."""
        if dialect == "postgresql":
            return tuple(value for value in self.values if value not in _NOT_IN_POSTGRESQL)
        return tuple(value for value in self.values if value not in _NOT_IN_GOOGLESQL)


# PostgreSQL text cannot hold NUL.
_NOT_IN_POSTGRESQL = ("with \x00 inside",)
_NOT_IN_GOOGLESQL = ("-1234567890123456789012345678901234567890.12345678901234567890", "NaN")

KINDS = (
    Kind("bool", "BOOL", "boolean", (True, False)),
    Kind(
        "int64",
        "INT64",
        "bigint",
        ("0", "-1", str(2**63 - 1), str(-(2**63)), str(2**53 + 1)),
        null_elements=True,
    ),
    Kind(
        "float64",
        "FLOAT64",
        "double precision",
        (0.0, -0.0, 1.5, 0.1, 5e-324, 1.7976931348623157e308, -1e21, math.nan, math.inf, -math.inf),
        may_be_key=False,
    ),
    Kind(
        "float32",
        "FLOAT32",
        "real",
        (0.0, 1.5, 0.1, 1e-45, 3.4028234663852886e38, math.nan, math.inf, -math.inf),
        may_be_key=False,
    ),
    Kind(
        "numeric",
        "NUMERIC",
        "numeric",
        (
            "0",
            "123.45",
            "0.000000001",
            "-99999999999999999999999999999.999999999",
            "-1234567890123456789012345678901234567890.12345678901234567890",
            "NaN",
        ),
        may_be_key=False,
        null_elements=True,
    ),
    Kind(
        "string",
        "STRING(MAX)",
        "text",
        (
            "",
            "plain",
            'quote " backslash \\ slash / newline \n tab \t bell \x07 delete \x7f',
            "ünïcödé 漢字 🚀 \u2028 \ufeff \U0010ffff",
            "with \x00 inside",
            "</script> & {\"json\": [1]} 'single' NULL",
        ),
    ),
    Kind("bytes", "BYTES(MAX)", "bytea", ("", b64(b"\x00"), b64(bytes(range(256))), b64(b"\xff" * 5))),
    Kind(
        "date", "DATE", "date", ("0001-01-01", "1969-12-31", "2024-02-29", "9999-12-31"), null_elements=True
    ),
    Kind(
        "timestamp",
        "TIMESTAMP",
        "timestamptz",
        (
            "0001-01-01T00:00:00Z",
            "1969-12-31T23:59:59.999999Z",
            "1970-01-01T00:00:00Z",
            "2026-11-23T17:50:32.669475Z",
            "9999-12-31T23:59:59.999999Z",
        ),
    ),
    Kind(
        "json",
        "JSON",
        "jsonb",
        (
            "{}",
            "[]",
            '""',
            "null",
            "true",
            "12.5",
            '{"a": [1, null, {"b": "quote \\" and \\\\ and \\u00e9 and 🚀"}], "": ""}',
        ),
        may_be_key=False,
    ),
)


def all_types_table(dialect: Dialect) -> str:
    """DDL of `everything`: id, and for each type a scalar column and an array column."""
    columns = [f"{kind.name}_one {kind.ddl(dialect)}" for kind in KINDS]
    columns += [f"{kind.name}_many {kind.ddl(dialect, array=True)}" for kind in KINDS]
    if dialect == "postgresql":
        return f"CREATE TABLE everything (id bigint PRIMARY KEY, {', '.join(columns)})"
    return f"CREATE TABLE everything (id INT64, {', '.join(columns)}) PRIMARY KEY (id)"


ALL_COLUMNS = ("id", *(f"{kind.name}_one" for kind in KINDS), *(f"{kind.name}_many" for kind in KINDS))


def all_types_rows(dialect: Dialect, *, shift: int = 0) -> list[tuple[Any, ...]]:
    """Rows of `everything`.

    Every value of every type in some row, every type null in some row, arrays empty, null, of all
    values, and of nulls alone and between. With another `shift` each row has other values.
    """
    most = max(len(kind.values) for kind in KINDS)
    rows: list[tuple[Any, ...]] = []
    for number in range(most + 1):
        ones, arrays = [], []
        for kind in KINDS:
            values = (*kind.for_dialect(dialect), None)
            ones.append(values[(number + shift) % len(values)])
            one, every = [values[0]], list(values[:-1])
            nulls = ([None], [None, *values, values[0]]) if kind.null_elements else (one, every)
            shapes = ([], None, one, every, *nulls)
            arrays.append(shapes[(number + shift) % len(shapes)])
        rows.append((number, *ones, *arrays))
    return rows
