"""How a value of each type is written into the wire format's `Value`, by pycapnp."""

from __future__ import annotations

import struct
from base64 import b64decode
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import Any

Writer = Callable[[Any, Any], None]
"""Writes a value that is not null into a place of its own."""


def writer(code: str, element: str) -> Writer:
    """For a column's type; `element` is that of an array. KeyError for a type that is not known."""
    return _arrays(element) if code == "ARRAY" else _WRITERS[code]


def _timestamp(place: Any, text: str) -> None:
    _moment(place.init("timestamp"), text)


def _moment(group: Any, text: str) -> None:
    whole, _, fraction = text[:-1].partition(".")
    group.seconds = int(datetime.fromisoformat(whole).replace(tzinfo=UTC).timestamp())
    group.nanos = int(f"{fraction:0<9}")


def _single(value: Any) -> float:
    """As a float of four bytes has it."""
    widened: float = struct.unpack("f", struct.pack("f", float(value)))[0]
    return widened


def _set(field: str, convert: Callable[[Any], Any] | None = None) -> Writer:
    if convert is None:
        return lambda place, value: setattr(place, field, value)
    return lambda place, value: setattr(place, field, convert(value))


_FIELDS: dict[str, tuple[str, Callable[[Any], Any] | None]] = {
    "BOOL": ("bool", None),
    "INT64": ("int64", int),
    "FLOAT64": ("float64", float),
    "FLOAT32": ("float64", _single),
    "NUMERIC": ("text", None),
    "STRING": ("text", None),
    "DATE": ("text", None),
    "JSON": ("text", None),
    "BYTES": ("bytes", b64decode),
}
_WRITERS: dict[str, Writer] = {code: _set(*how) for code, how in _FIELDS.items()} | {"TIMESTAMP": _timestamp}
_EMPTY = {"bool": False, "int64": 0, "float64": 0.0, "text": "", "bytes": b""}


def _arrays(element: str) -> Writer:
    if element == "TIMESTAMP":
        return _timestamps
    field, convert = _FIELDS[element]
    empty = _EMPTY[field]

    def write(place: Any, values: Sequence[Any]) -> None:
        array = place.init("array")
        _nulls(array, values)
        items = array.init(field, len(values))
        for number, value in enumerate(values):
            items[number] = empty if value is None else convert(value) if convert else value

    return write


def _timestamps(place: Any, values: Sequence[Any]) -> None:
    array = place.init("array")
    _nulls(array, values)
    for item, value in zip(array.init("timestamp", len(values)), values, strict=True):
        if value is not None:
            _moment(item, value)


def _nulls(array: Any, values: Sequence[Any]) -> None:
    if None in values:
        bits = bytearray((len(values) + 7) // 8)
        for number, value in enumerate(values):
            if value is None:
                bits[number // 8] |= 1 << number % 8
        array.nulls = bytes(bits)
