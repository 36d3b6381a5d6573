"""A record's values are the same to a consumer, whichever of the two modes its stream has."""

from __future__ import annotations

import base64
import math
from collections.abc import Iterator
from typing import Any

import pytest
import zmq
from google.cloud.spanner_v1.types import TypeCode
from google.protobuf.struct_pb2 import NULL_VALUE, ListValue, Value
from hypothesis import given, settings
from hypothesis import strategies as st
from support import change_records, change_stream_records

from spanwire._core import Message, Output, Pipeline, Timestamp


def _arrays(element: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    return st.lists(st.none() | element, max_size=4)


_numbers = st.floats() | st.sampled_from(["NaN", "Infinity", "-Infinity"])
_coded = st.binary(max_size=9).map(lambda content: base64.b64encode(content).decode())
_decimals = st.integers(-(2**63), 2**63 - 1).map(str)
FITTING: dict[str, st.SearchStrategy[Any]] = {
    "BOOL": st.booleans(),
    "INT64": _decimals,
    "FLOAT64": _numbers,
    "FLOAT32": st.floats(width=32),
    "TIMESTAMP": st.sampled_from(["0001-01-01T00:00:00Z", "9999-12-31T23:59:59.999999999Z"]),
    "DATE": st.dates().map(str),
    "STRING": st.text(max_size=12),
    "BYTES": _coded,
    "NUMERIC": st.sampled_from(["0", "-99999999999999999999999999999.999999999"]),
    "JSON": st.sampled_from(["{}", '{"a": [1, "\\u00e9 \\"q\\" \\\\"]}', "null"]),
    "PROTO": _coded,
    "ENUM": _decimals,
    "INTERVAL": st.just("P1Y2M3DT4H5M6.5S"),
    "UUID": st.uuids().map(str),
}


def _encoded(value: Any) -> Value:
    match value:
        case None:
            return Value(null_value=NULL_VALUE)
        case bool():
            return Value(bool_value=value)
        case float():
            return Value(number_value=value)
        case str():
            return Value(string_value=value)
        case _:
            return Value(list_value=ListValue(values=[_encoded(inner) for inner in value]))


def _as_json(value: Any) -> Any:
    """As the immutable shapes write it: what JSON has no number for is a string there."""
    if isinstance(value, list):
        return [_as_json(inner) for inner in value]
    if isinstance(value, float) and not math.isfinite(value):
        return "NaN" if math.isnan(value) else "Infinity" if value > 0 else "-Infinity"
    return value


@st.composite
def rows_of_every_type(draw: st.DrawFn) -> dict[str, Any]:
    """Values by column: of each type one, and one array; null here and there."""
    fitting = {f"one_{code}": of for code, of in FITTING.items()}
    fitting |= {f"many_{code}": _arrays(of) for code, of in FITTING.items()}
    return {name: draw(st.none() | of) for name, of in fitting.items() if draw(st.integers(0, 2))}


@pytest.fixture(scope="module")
def served() -> Iterator[tuple[Pipeline, zmq.Socket[bytes]]]:
    """A pipeline, and a SUB socket that hears all of it."""
    with Pipeline("shop", "all", [Output("pub", ["tcp://127.0.0.1:*"])], options={"tick_ms": 20}) as pipeline:
        socket = zmq.Context.instance().socket(zmq.SUB)
        socket.subscribe(b"")
        socket.connect(pipeline.endpoints[0][0])
        socket.recv_multipart()  # a tick: nothing sent from now on is missed
        yield pipeline, socket
        socket.close(0)


def _sent(served: tuple[Pipeline, zmq.Socket[bytes]], mode: Any, message: bytes) -> list[str]:
    """The canonical lines of what a message's changes go out as."""
    pipeline, socket = served
    at = Timestamp.parse("2026-01-01T00:00:00Z")
    partition = pipeline.partition("p", dialect="googlesql", mode=mode, epoch=1, start=at)
    assert partition.push([message]).changes == 1
    partition.release()
    while True:
        assert socket.poll(60_000), "nothing arrived"
        found = Message.decode(socket.recv_multipart())
        if found.kind == "changes":
            return [change.canonical() for change in found.changes()]


@settings(max_examples=40, deadline=None)
@given(new=rows_of_every_type(), old=rows_of_every_type())
def test_typed_values_are_those_of_the_same_record_in_the_immutable_shape(
    served: tuple[Pipeline, zmq.Socket[bytes]], new: dict[str, Any], old: dict[str, Any]
) -> None:
    """Whichever mode a stream has, its consumers are handed the same."""
    types = {f"one_{code}": {"code": code} for code in FITTING}
    types |= {f"many_{code}": {"code": "ARRAY", "array_element_type": {"code": code}} for code in FITTING}
    columns = [("Id", {"code": "INT64"}, True), *((name, type_, False) for name, type_ in types.items())]
    commit, sequence = "2026-01-01T00:00:01Z", "83365be2414b3aae-00000000"
    parts = ({"Id": "1"}, new, old)
    immutable = change_records.data_change(
        commit,
        [tuple({name: _as_json(value) for name, value in part.items()} for part in parts)],
        sequence=sequence,
        columns=[(*column, place) for place, column in enumerate(columns, 1)],
    )
    mutable = change_stream_records.data_change(
        commit,
        [(name, _numbered(type_), is_key) for name, type_, is_key in columns],
        [tuple({name: _encoded(value) for name, value in part.items()} for part in parts)],
        sequence=sequence,
    )
    lines = _sent(served, "mutable", change_stream_records.message(mutable))
    assert lines == _sent(served, "immutable", change_records.message(immutable))


def _numbered(type_: dict[str, Any]) -> dict[str, Any]:
    """A type with the numbers of its codes."""
    numbered: dict[str, Any] = {"code": TypeCode[type_["code"]].value}
    if "array_element_type" in type_:
        numbered["array_element_type"] = _numbered(type_["array_element_type"])
    return numbered
