"""The ground truth: each committed change as one canonical line of JSON.

Written from the simulator's typed values by code that shares nothing with what encodes records,
so that a fault there shows as a difference here.

A line is an object, keys sorted, no spaces, non-ASCII as it is: `version`
(<timestamp>/<transaction>/<sequence>/<mod from 0>, nine fraction digits), `table`, `mod_type`,
`keys`, `new`, `old`. INT64, ENUM and PG_OID are decimal strings; floats are the 16 lower-case
hexadecimal digits of their IEEE 754 double, big-endian; BYTES and PROTO base64; TIMESTAMP with nine
fraction digits; BOOL true or false; arrays lists with null; NULL null; NUMERIC, DATE, JSON, STRING and
the rest their text. A column that was not captured is not there.
"""

from __future__ import annotations

import binascii
import datetime
import json
import struct
from collections.abc import Callable, Iterator
from typing import Any

from spanwire.simulator.records import DataRecord
from spanwire.simulator.schema import Table

_dump = json.JSONEncoder(ensure_ascii=False, sort_keys=True, separators=(",", ":")).encode
_NOT_A_NUMBER = "7ff8000000000000"


def lines(record: DataRecord) -> Iterator[str]:
    """One line, without its end, for each mod of the record."""
    seconds, nanos = divmod(record.commit_timestamp, 10**9)
    place = f"{_moment(seconds, nanos)}/{record.transaction_id}/{record.record_sequence}/"
    write = _writers(record.table)
    for number, mod in enumerate(record.mods):
        keys, new, old = (
            {
                name: None if value is None else write[name](value) if name in write else value
                for name, value in values.items()
            }
            for values in mod
        )
        yield _dump(
            {
                "version": f"{place}{number}",
                "table": record.table.name,
                "mod_type": record.mod_type,
                "keys": keys,
                "new": new,
                "old": old,
            }
        )


def _moment(seconds: int, nanos: int) -> str:
    days, rest = divmod(seconds, 86_400)
    date = datetime.date.fromordinal(719_163 + days)  # 719,163 is 1970-01-01
    minutes, second = divmod(rest, 60)
    hour, minute = divmod(minutes, 60)
    return f"{date.isoformat()}T{hour:02}:{minute:02}:{second:02}.{nanos:09}Z"


def _bits(value: float) -> str:
    return struct.pack(">d", value).hex() if value == value else _NOT_A_NUMBER  # noqa: PLR0124


def _digits(value: Any) -> str:
    sign, digits, exponent = value.as_tuple()
    if not isinstance(exponent, int):
        return "NaN"
    text = "".join(map(str, digits)) + "0" * max(exponent, 0)
    if exponent < 0:
        text = text.rjust(1 - exponent, "0")
        text = f"{text[:exponent]}.{text[exponent:]}"
    return f"-{text}" if sign else text


def _base64(value: bytes) -> str:
    return binascii.b2a_base64(value, newline=False).decode("ascii")


_SCALARS: dict[str, Callable[[Any], Any]] = {
    "INT64": "{:d}".format,
    "FLOAT32": _bits,
    "FLOAT64": _bits,
    "NUMERIC": _digits,
    "BYTES": _base64,
    "PROTO": _base64,
    "ENUM": "{:d}".format,
    "PG_OID": "{:d}".format,
    "DATE": lambda value: f"{value.year:04}-{value.month:02}-{value.day:02}",
    "TIMESTAMP": lambda value: _moment(value.seconds, value.nanos),
}

_CACHE: dict[Table, dict[str, Callable[[Any], Any]]] = {}


def _writers(table: Table) -> dict[str, Callable[[Any], Any]]:
    """How the table's columns are written; those whose value stands for itself are left out."""
    if table not in _CACHE:
        _CACHE[table] = {
            column.name: _array(_SCALARS[column.code]) if column.array else _SCALARS[column.code]
            for column in table.columns
            if column.code in _SCALARS
        }
    return _CACHE[table]


def _array(write: Callable[[Any], Any]) -> Callable[[Any], Any]:
    return lambda values: [None if value is None else write(value) for value in values]
