"""Typed values of the simulator's rows, and their form in a change record's JSON.

Python types by column code: BOOL bool; INT64, ENUM, PG_OID int; FLOAT32, FLOAT64 float; NUMERIC
decimal.Decimal; STRING, UUID, INTERVAL str; BYTES, PROTO bytes; DATE datetime.date; TIMESTAMP Instant;
JSON str, the document's text as the database would normalise it; ARRAY list with None elements; NULL None.
"""

from __future__ import annotations

import base64
import datetime
import json
import math
import struct
from collections.abc import Callable
from decimal import Decimal
from typing import Any, Generic, NamedTuple, TypeVar

from spanwire.simulator.schema import Column, Dialect, Table

_EPOCH = datetime.datetime(1970, 1, 1, tzinfo=datetime.UTC)
_NANOS = 1_000_000_000


class Instant(NamedTuple):
    """A TIMESTAMP value: seconds since 1970 UTC (years 0001 to 9999) and nanoseconds, 0 to 999,999,999."""

    seconds: int
    nanos: int = 0


def rfc3339(instant: Instant) -> str:
    """RFC 3339 with Z and as many fraction digits as the value needs, as Spanner writes timestamps."""
    moment = _EPOCH + datetime.timedelta(seconds=instant.seconds)
    text = f"{moment.year:04d}{moment.strftime('-%m-%dT%H:%M:%S')}"
    fraction = f".{instant.nanos:09d}".rstrip("0") if instant.nanos else ""
    return f"{text}{fraction}Z"


def instant_of(nanos: int) -> Instant:
    """A count of nanoseconds since 1970 as an Instant."""
    return Instant(*divmod(nanos, _NANOS))


def timestamp_text(nanos: int) -> str:
    """A count of nanoseconds since 1970 as RFC 3339."""
    return rfc3339(instant_of(nanos))


def parse_timestamp(text: str) -> int:
    """RFC 3339 with any fraction and zone to nanoseconds since 1970; ValueError otherwise."""
    head, _, rest = text.partition(".")
    digits = len(rest) - len(rest.lstrip("0123456789"))
    fraction, zone = (rest[:digits], rest[digits:]) if rest else ("", "")
    moment = datetime.datetime.fromisoformat(head + zone)
    if moment.tzinfo is None:
        raise ValueError(f"timestamp without a zone: {text}")
    since = moment - _EPOCH
    return (since.days * 86_400 + since.seconds) * _NANOS + int(fraction.ljust(9, "0")[:9] or "0")


def numeric_text(value: Decimal) -> str:
    """NUMERIC as a record writes it: no exponent."""
    return "NaN" if value.is_nan() else format(value, "f")


def _float_json(value: float) -> float | str:
    if math.isfinite(value):
        return value
    if math.isnan(value):
        return "NaN"
    return "Infinity" if value > 0 else "-Infinity"


def _bytes_json(value: bytes) -> str:
    return base64.b64encode(value).decode()


_to_json = json.JSONEncoder(ensure_ascii=False, separators=(",", ":")).encode
_REMEMBERED = 4096  # texts a column keeps

# What JSON takes in place of the Python value, not None; None: the value itself.
_SCALARS: dict[str, Callable[[Any], Any] | None] = {
    "BOOL": None,
    "INT64": str,
    "FLOAT32": _float_json,
    "FLOAT64": _float_json,
    "NUMERIC": numeric_text,
    "STRING": None,
    "BYTES": _bytes_json,
    "DATE": datetime.date.isoformat,
    "TIMESTAMP": rfc3339,
    "JSON": None,
    "UUID": None,
    "INTERVAL": None,
    "PROTO": _bytes_json,
    "ENUM": str,
    "PG_OID": str,
}


_Writer = TypeVar("_Writer")


class ByTable(Generic[_Writer]):
    """What writes a table's rows, made once for each form that the table has: columns come and go."""

    def __init__(self, make: Callable[[Table], _Writer]) -> None:
        self._make = make
        self._made: dict[str, tuple[Table, _Writer]] = {}

    def of(self, table: Table) -> _Writer:
        """The table's."""
        met = self._made.get(table.name)
        if met is None or met[0] is not table:  # to compare two tables takes longer than to write a row
            met = self._made[table.name] = (table, self._make(table))
        return met[1]


class TableJson:
    """Writes rows of one table as JSON objects.

    A column remembers the texts of values it has met lately, by identity: a workload draws them from a
    pool, and a row that is changed keeps most of its own. Values must therefore not be altered.
    """

    def __init__(self, table: Table) -> None:
        self._columns = {
            column.name: (f"{_to_json(column.name)}:", _writer(column)) for column in table.columns
        }

    def object(self, values: dict[str, Any]) -> str:
        """The object's text; columns in the order given."""
        if not values:
            return "{}"
        columns = self._columns
        members = []
        for name, value in values.items():
            label, write = columns[name]
            members.append(label + ("null" if value is None else write(value)))
        return f"{{{','.join(members)}}}"


def _writer(column: Column) -> Callable[[Any], str]:
    """What turns a value of the column, not None, into JSON text."""
    if column.code == "INT64" and not column.array:
        return '"{}"'.format  # nearly every one is new: not worth remembering
    plain = plainer(column)
    return remembering(lambda value: _to_json(plain(value)))


def plainer(column: Column) -> Callable[[Any], Any]:
    """What makes of a value of the column, not None, the string, number, bool or list that records hold."""
    scalar = _SCALARS[column.code]
    if scalar is None:
        return lambda value: value
    if not column.array:
        return scalar
    return lambda values: [None if one is None else scalar(one) for one in values]


_Written = TypeVar("_Written", str, bytes)


def remembering(write: Callable[[Any], _Written]) -> Callable[[Any], _Written]:
    """Remember what was written of the last values met, by identity (see TableJson)."""
    texts: dict[int, tuple[Any, _Written]] = {}

    def text(value: Any) -> _Written:
        met = texts.get(id(value))
        if met is not None and met[0] is value:
            return met[1]
        made = write(value)
        if len(texts) >= _REMEMBERED:
            texts.clear()
        if len(made) < _REMEMBERED:
            texts[id(value)] = (value, made)  # with the value: while it is here its id is its own
        return made

    return text


# ------------------------------------------------------------------ what users of commit() may write


def normalise(value: object, column: Column, dialect: Dialect) -> Any:
    """A user's value as the database would store it; for JSON a document or its text.

    ValueError names what is expected, never the value.
    """
    if value is None:
        return None
    if column.array:
        if not isinstance(value, list | tuple):
            raise ValueError("an ARRAY wants a list")
        return [None if one is None else _normalise(one, column.code, dialect) for one in value]
    return _normalise(value, column.code, dialect)


def _normalise(value: Any, code: str, dialect: Dialect) -> Any:
    expected: Any = _EXPECTED[code]
    if not isinstance(value, expected) or (isinstance(value, bool) and code not in ("BOOL", "JSON")):
        raise ValueError(f"{code} wants {' or '.join(one.__name__ for one in expected)}")
    if code == "FLOAT32":
        return struct.unpack("f", struct.pack("f", value))[0]
    if code == "FLOAT64":
        return float(value)
    if code == "NUMERIC":
        return _numeric(Decimal(value), dialect)
    if code == "JSON":
        return json_document(json.loads(value) if isinstance(value, str) else value, dialect)
    if code == "TIMESTAMP" and isinstance(value, datetime.datetime):
        since = value - _EPOCH
        return Instant(since.days * 86_400 + since.seconds, since.microseconds * 1000)
    return value


_EXPECTED: dict[str, tuple[type, ...]] = {
    "BOOL": (bool,),
    "INT64": (int,),
    "FLOAT32": (float, int),
    "FLOAT64": (float, int),
    "NUMERIC": (Decimal, int, str),
    "STRING": (str,),
    "BYTES": (bytes,),
    "DATE": (datetime.date,),
    "TIMESTAMP": (Instant, datetime.datetime),
    "JSON": (dict, list, str, int, float, bool),
    "UUID": (str,),
    "INTERVAL": (str,),
    "PROTO": (bytes,),
    "ENUM": (int,),
    "PG_OID": (int,),
}


def _numeric(value: Decimal, dialect: Dialect) -> Decimal:
    if dialect == "postgresql" or value.is_nan():
        return value  # PostgreSQL keeps the scale it was given
    digits = format(value, "f")
    plain = digits.rstrip("0").rstrip(".") if "." in digits else digits
    return Decimal("0") if plain in ("-0", "") else Decimal(plain)


def json_document(value: object, dialect: Dialect) -> str:
    """A document in the database's normal form: keys sorted; JSONB puts a space after `,` and `:`."""
    separators = (",", ":") if dialect == "googlesql" else (", ", ": ")
    return json.dumps(value, ensure_ascii=False, sort_keys=True, separators=separators)
