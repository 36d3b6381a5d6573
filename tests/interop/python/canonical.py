"""The canonical form of a change, from its message alone: see docs/canonical.md."""

from __future__ import annotations

import base64
import datetime
import json
import struct
from collections.abc import Callable, Iterable
from typing import Any

import capnp
import json_text

_NAN = "7ff8000000000000"
_PLACES: dict[str | None, str] = {"keys": "keys", "newValues": "new", "oldValues": "old"}
_dump = json.JSONEncoder(ensure_ascii=False, sort_keys=True, separators=(",", ":")).encode


class Shape:
    """The columns of a message by role, with how their JSON text is read."""

    def __init__(self, columns: Any) -> None:
        self.table: str = columns.table
        self.keys = {one.name: json_text.reader(one.type) for one in columns.columns if one.isPrimaryKey}
        self.rest = {one.name: json_text.reader(one.type) for one in columns.columns if not one.isPrimaryKey}


def line(record: Any, mod: Any, shape: Shape) -> str:
    """One change."""
    committed = timestamp(record.commitTimestamp.seconds, record.commitTimestamp.nanos)
    return _dump(
        {
            "version": f"{committed}/{record.serverTransactionId}/{record.recordSequence}/{mod.number}",
            "table": shape.table,
            "mod_type": (name_of(record.modType) or "unknown").upper(),
            **_objects(mod, shape),
        }
    )


def _objects(mod: Any, shape: Shape) -> dict[str, Any]:
    match which(mod):
        case "json":
            return {
                "keys": json_text.typed(mod.json.keys, shape.keys),
                "new": json_text.typed(mod.json.newValues, shape.rest),
                "old": json_text.typed(mod.json.oldValues, shape.rest),
            }
        case "typed":
            found = {
                "keys": _cells(mod.typed.keys, shape.keys),
                "new": _cells(mod.typed.newValues, shape.rest),
                "old": _cells(mod.typed.oldValues, shape.rest),
            }
            for other in mod.typed.others:
                if place := _PLACES.get(name_of(other.place)):
                    found[place].setdefault(other.name, stand_in(other.json))
            return found
    return dict.fromkeys(("keys", "new", "old"), "unknown")


def _cells(cells: Any, names: Iterable[str]) -> dict[str, Any]:
    """A list may be shorter than its columns: what is not there is missing."""
    return {name: value(cell) for name, cell in zip(names, cells, strict=False) if which(cell) != "missing"}


def value(cell: Any) -> Any:
    """A value that is not missing."""
    match which(cell):
        case "null":
            return None
        case "array":
            return _array(cell.array)
        case str(kind) if kind in _SCALARS:
            return _SCALARS[kind](getattr(cell, kind))
    return "unknown"


def _array(array: Any) -> Any:
    kind = which(array)
    if kind not in _SCALARS:
        return "unknown"
    elements = [_SCALARS[kind](element) for element in getattr(array, kind)]
    for place in range(min(len(elements), len(array.nulls) * 8)):
        if array.nulls[place // 8] >> place % 8 & 1:
            elements[place] = None
    return elements


def which(union: Any) -> str | None:
    """The member's name; None where a later schema added it."""
    try:
        return str(union.which())
    except capnp.KjException:
        return None


def name_of(enumerant: Any) -> str | None:
    """Its name; None where a later schema added it."""
    try:
        return str(enumerant)
    except RuntimeError:
        return None


def bits(number: float) -> str:
    """IEEE 754; there is one NaN."""
    return _NAN if number != number else struct.pack(">d", number).hex()  # noqa: PLR0124


def timestamp(seconds: int, nanos: int) -> str:
    """Python's own times stop at microseconds."""
    days, rest = divmod(seconds, 86_400)
    date = datetime.date.fromordinal(719_163 + days)  # 719,163 is 1970-01-01
    return f"{date.isoformat()}T{rest // 3600:02}:{rest // 60 % 60:02}:{rest % 60:02}.{nanos:09}Z"


def stand_in(text: str) -> dict[str, str]:
    """JSON text in place of a value: no typed value is an object."""
    return {"json": text}


_SCALARS: dict[str, Callable[[Any], Any]] = {
    "bool": bool,
    "int64": str,
    "float64": bits,
    "text": str,
    "bytes": lambda content: base64.b64encode(content).decode(),
    "timestamp": lambda moment: timestamp(moment.seconds, moment.nanos),
    "json": stand_in,
}
