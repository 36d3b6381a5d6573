"""Values that came as JSON text, written by their columns' types: see docs/canonical.md."""

from __future__ import annotations

import base64
import datetime
import math
import re
import struct
from collections.abc import Callable, Mapping
from json.decoder import JSONDecoder, scanstring
from typing import Any

import canonical

_SPACE = re.compile(r"[ \t\n\r]*")
_INTEGER = re.compile(r'"(-?[0-9]{1,19})"|(-?(?:0|[1-9][0-9]*))')
_NUMBER = re.compile(r"-?[0-9].*")
_SPECIAL = {'"NaN"': math.nan, '"Infinity"': math.inf, '"-Infinity"': -math.inf}
_TIMESTAMP = re.compile(
    r'"([0-9]{4}-[0-9]{2}-[0-9]{2})T([0-9]{2}):([0-9]{2}):([0-9]{2})(?:\.([0-9]{1,9}))?(?:Z|\+00:00)"'
)
_DECIMAL = re.compile(r'"(-?[0-9]+(?:\.[0-9]+)?(?:[eE][-+]?[0-9]+)?)"')
_DATE = re.compile(r'"(([0-9]{1,4})-([0-9]{2})-([0-9]{2}))"')
_UUID = re.compile(r'"([0-9a-fA-F]{8}(?:-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12})"')
# What ends in P or T has no part where it needs one.
_INTERVAL = re.compile(
    r'"(P(?:-?[0-9]+Y)?(?:-?[0-9]+M)?(?:-?[0-9]+W)?(?:-?[0-9]+D)?'
    r'(?:T(?:-?[0-9]+H)?(?:-?[0-9]+M)?(?:-?[0-9]+(?:\.[0-9]+)?S)?)?(?<![PT]))"'
)
_scan = JSONDecoder().raw_decode

Reader = Callable[[str], Any]
"""Takes the JSON text of a value that is not null; ValueError where it does not fit."""


def typed(text: str, readers: Mapping[str, Reader]) -> dict[str, Any]:
    """An object's values by name; what does not fit its column, or has none, is its JSON text."""
    values: dict[str, Any] = {}
    for name, raw in _members(text):
        if name not in values:
            values[name] = _value(raw, readers[name]) if name in readers else canonical.stand_in(raw)
    return values


def reader(of: Any) -> Reader:
    """How a column of a type is read."""
    if canonical.name_of(of.code) == "array" and of._has("arrayElement"):
        return _array(of.arrayElement)
    return _scalar(of) or _misfit


def _scalar(of: Any) -> Reader | None:
    code, annotation = canonical.name_of(of.code), canonical.name_of(of.annotation)
    if annotation == "pgOid":
        return _integer
    return _pg_numeric if (code, annotation) == ("numeric", "pgNumeric") else _READERS.get(code)


def _value(raw: str, read: Reader) -> Any:
    if raw == "null":
        return None
    try:
        return read(raw)
    except ValueError:
        return canonical.stand_in(raw)


def _array(element: Any) -> Reader:
    read = _scalar(element)

    def one(raw: str) -> Any:
        if raw == "null" or (raw == '"NULL"' and read in _KNOW_NULL):
            return None
        return canonical.stand_in(raw) if read is None else read(raw)

    def array(raw: str) -> list[Any]:
        return [one(text) for text in _elements(raw)]

    return array


def _integer(raw: str) -> str:
    found = _INTEGER.fullmatch(raw)
    number = int(found[1] or found[2]) if found else 2**64
    if not -(2**63) <= number < 2**63:
        raise ValueError
    return str(number)


def _bool(raw: str) -> bool:
    if raw not in ("true", "false"):
        raise ValueError
    return raw == "true"


def _float(raw: str) -> str:
    if raw in _SPECIAL:
        return canonical.bits(_SPECIAL[raw])
    number = float(raw) if _NUMBER.fullmatch(raw) else math.inf
    if math.isinf(number):
        raise ValueError
    return canonical.bits(number)


def _float32(raw: str) -> str:
    written = _float(raw)
    if raw not in _SPECIAL:
        try:
            struct.pack(">f", float(raw))
        except OverflowError as too_great:
            raise ValueError from too_great
    return written


def _string(raw: str) -> str:
    if not raw.startswith('"'):
        raise ValueError
    text, _ = scanstring(raw, 1)
    text.encode()  # UnicodeEncodeError, a ValueError: half a surrogate pair
    return text


def _bytes(raw: str) -> str:
    text = _string(raw)
    if base64.b64encode(base64.b64decode(text, validate=True)).decode() != text:
        raise ValueError
    return text


def _timestamp(raw: str) -> str:
    found = _TIMESTAMP.fullmatch(raw)
    if not found or found[2] > "23" or found[3] > "59" or found[4] > "59":
        raise ValueError
    datetime.date.fromisoformat(found[1])
    return f"{found[1]}T{found[2]}:{found[3]}:{found[4]}.{(found[5] or ''):0<9}Z"


def _formed(raw: str, form: re.Pattern[str]) -> re.Match[str]:
    found = form.fullmatch(raw)
    if not found:
        raise ValueError
    return found


def _date(raw: str) -> str:
    found = _formed(raw, _DATE)
    datetime.date(int(found[2]), int(found[3]), int(found[4]))
    return found[1]


def _uuid(raw: str) -> str:
    return _formed(raw, _UUID)[1]


def _interval(raw: str) -> str:
    return _formed(raw, _INTERVAL)[1]


def _numeric(raw: str) -> str:
    return raw if _NUMBER.fullmatch(raw) else _formed(raw, _DECIMAL)[1]


def _pg_numeric(raw: str) -> str:
    return "NaN" if raw == '"NaN"' else _numeric(raw)


def _misfit(raw: str) -> Any:
    raise ValueError


_READERS: dict[str | None, Reader] = {
    "bool": _bool,
    **dict.fromkeys(("int64", "enum"), _integer),
    "float64": _float,
    "float32": _float32,
    "string": _string,
    "date": _date,
    "interval": _interval,
    "uuid": _uuid,
    "numeric": _numeric,
    "json": lambda raw: _string(raw) if raw.startswith('"') else raw,
    **dict.fromkeys(("bytes", "proto"), _bytes),
    "timestamp": _timestamp,
}
_KNOW_NULL = (_integer, _numeric, _pg_numeric, _date, _interval, _uuid)
"""Where the string "NULL" in an array is null: nothing of these types reads so."""


def _members(text: str) -> list[tuple[str, str]]:
    """An object's names, with the JSON text of their values."""
    found = []
    at = _behind(text, "{", 0)
    while text[at] != "}":
        name, at = scanstring(text, at + 1)
        at = _behind(text, ":", at)
        end = _scan(text, at)[1]
        found.append((name, text[at:end]))
        at = _next(text, end)
    return found


def _elements(text: str) -> list[str]:
    """The JSON text of an array's elements; ValueError where it is none."""
    found = []
    at = _behind(text, "[", 0)
    while text[at] != "]":
        end = _scan(text, at)[1]
        found.append(text[at:end])
        at = _next(text, end)
    return found


def _behind(text: str, token: str, at: int) -> int:
    at = _SPACE.match(text, at).end()  # type: ignore[union-attr]
    if text[at : at + 1] != token:
        raise ValueError(f"{token} was expected")
    return _SPACE.match(text, at + 1).end()  # type: ignore[union-attr]


def _next(text: str, at: int) -> int:
    """Behind a value: at the next one, or at what closes."""
    at = _SPACE.match(text, at).end()  # type: ignore[union-attr]
    return _behind(text, ",", at) if text[at] == "," else at
