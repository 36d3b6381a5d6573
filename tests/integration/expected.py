"""What a consumer must be handed for what the official client returned. Knows nothing of spanwire's code."""

from __future__ import annotations

import base64
import binascii
import datetime
import json
import struct
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from typing import Any

from integration import oracle
from integration.oracle import Record


@dataclass(frozen=True)
class Misfit:
    """A value that is not what its column's type says (the emulator has its ways): JSON as it came."""

    value: Any


@dataclass(frozen=True)
class Row:
    """One change as it should be: typed values, and JSON values as Spanner sent them."""

    table: str
    mod_type: str
    typed: dict[str, dict[str, Any]]
    sent: dict[str, dict[str, Any]]


def rows(records: list[Record]) -> dict[str, Row]:
    """Every mod of the data change records, by its version's text."""
    found: dict[str, Row] = {}
    for record in records:
        types = {column["name"]: column["type"] for column in record["column_types"]}
        for number, mod in enumerate(record["mods"]):
            parts = (
                record["commit_timestamp"],
                record["server_transaction_id"],
                record["record_sequence"],
                number,
            )
            sent = {"keys": mod["keys"], "new": mod["new_values"], "old": mod["old_values"]}
            typed = {
                place: {name: typed_value(value, types[name]) for name, value in values.items()}
                for place, values in sent.items()
            }
            version = "/".join(map(str, parts))
            assert version not in found, f"the official client returned {version} twice"
            found[version] = Row(record["table_name"], record["mod_type"], typed, sent)
    return found


def typed_value(value: Any, type_: dict[str, Any]) -> Any:
    """A value by the rules of Spanner's documentation, as Python has it; timestamps as text."""
    if value is None:
        return None
    try:
        if type_["code"] == "ARRAY":
            of = type_["array_element_type"]
            # The emulator's way to write NULL. Among text the same word is text.
            nulls = ("NULL",) if of["code"] in ("INT64", "NUMERIC", "DATE") else ()
            elements = [None if element in nulls else typed_value(element, of) for element in value]
            return Misfit(value) if any(isinstance(element, Misfit) for element in elements) else elements
        return _CONVERSIONS[type_["code"]](value)
    except (ValueError, InvalidOperation, binascii.Error):
        return Misfit(value)


def _timestamp(text: str) -> str:
    datetime.datetime.fromisoformat(text)
    return oracle.normal(text)


# NUMERIC and DATE travel as text.
_CONVERSIONS: dict[str, Any] = {
    "BOOL": bool,
    "INT64": int,
    "FLOAT64": float,
    "FLOAT32": float,
    "NUMERIC": str,
    "STRING": str,
    "DATE": str,
    "JSON": str,
    "BYTES": lambda text: base64.b64decode(text, validate=True),
    "TIMESTAMP": _timestamp,
}


def agrees(got: Any, wanted: Any) -> bool:
    """Whether a consumer's value is the expected one; bit by bit for floats."""
    if isinstance(wanted, Misfit):
        plain = json.loads(got.json) if type(got).__name__ == "Untyped" else got
        return bool(plain == wanted.value)
    if isinstance(wanted, dict):
        return got.keys() == wanted.keys() and all(agrees(got[name], wanted[name]) for name in wanted)
    if isinstance(wanted, list):
        return isinstance(got, list) and len(got) == len(wanted) and all(map(agrees, got, wanted))
    if isinstance(wanted, float):
        return isinstance(got, float) and struct.pack(">d", got) == struct.pack(">d", wanted)
    return type(spelled(got)) is type(wanted) and bool(spelled(got) == wanted)


def spelled(got: Any) -> Any:
    """A consumer's value in the spelling of the expected ones."""
    if isinstance(got, Decimal):
        return format(got, "f")
    if isinstance(got, datetime.date):
        return got.isoformat()
    if isinstance(got, tuple | list):  # seconds and nanoseconds; JSON has no tuples
        second = datetime.datetime(1970, 1, 1) + datetime.timedelta(seconds=got[0])
        return f"{second.isoformat()}.{got[1]:09}Z"
    if type(got).__name__ == "Timestamp":
        return str(got)
    return got
