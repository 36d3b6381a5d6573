"""Chunked values merge as google-cloud-spanner's own client merges them, however they were cut.

The official client merges by the columns' types, spanwire by the kinds of the values: over values
that fit their types and cuts that a server may make, the two must agree.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator
from random import Random
from typing import Any

from google.cloud.spanner_v1 import PartialResultSet, StructType, Type, TypeCode
from google.cloud.spanner_v1.streamed import StreamedResultSet
from google.protobuf.struct_pb2 import NULL_VALUE, ListValue, Value
from hypothesis import given
from hypothesis import strategies as st

from spanwire import _core

_TEXTS = (TypeCode.STRING, TypeCode.INT64, TypeCode.TIMESTAMP, TypeCode.JSON, TypeCode.BYTES)
_texts = st.text(alphabet="abé😀", max_size=8)
_scalars = st.sampled_from([*_TEXTS, TypeCode.BOOL, TypeCode.FLOAT64]).map(lambda code: Type(code=code))


def _structs(types: st.SearchStrategy[Type]) -> st.SearchStrategy[Type]:
    fields = st.lists(types.map(lambda type_: StructType.Field(type_=type_)), min_size=1, max_size=4)
    return fields.map(lambda fields: Type(code=TypeCode.STRUCT, struct_type=StructType(fields=fields)))


def _arrays(types: st.SearchStrategy[Type]) -> st.SearchStrategy[Type]:
    return types.map(lambda type_: Type(code=TypeCode.ARRAY, array_element_type=type_))


_types = st.recursive(_scalars, lambda types: _arrays(types) | _structs(types), max_leaves=6)


def _values(type_: Type) -> st.SearchStrategy[Any]:
    """Values of a type as they travel: structs are lists, what is no bool or float is text."""
    match type_.code:
        case TypeCode.ARRAY:
            fitting: st.SearchStrategy[Any] = st.lists(_values(type_.array_element_type), max_size=4)
        case TypeCode.STRUCT:
            fitting = st.tuples(*(_values(field.type_) for field in type_.struct_type.fields)).map(list)
        case TypeCode.BOOL:
            fitting = st.booleans()
        case TypeCode.FLOAT64:
            fitting = st.integers(-9, 9).map(float) | st.sampled_from(["NaN", "Infinity"])
        case _:
            fitting = _texts
    return st.none() | fitting


@st.composite
def _results(draw: st.DrawFn) -> tuple[list[Type], list[Any]]:
    """The columns of a result set, and the values of its rows one after the other."""
    columns = draw(st.lists(_types, min_size=1, max_size=3))
    rows = draw(st.lists(st.tuples(*map(_values, columns)), max_size=3))
    return columns, [value for row in rows for value in row]


def _split(value: Any, choose: Random) -> tuple[Any, Any] | None:
    """A value in two pieces, cut where a server may cut it; None where it may not."""
    if isinstance(value, str):
        at = choose.randint(0, len(value))
        return value[:at], value[at:]
    if not isinstance(value, list):
        return None
    at = choose.randint(0, len(value))
    head, tail = copy.deepcopy(value[:at]), copy.deepcopy(value[at:])
    if tail and choose.random() < 0.5 and (pieces := _split(tail[0], choose)):
        head.append(pieces[0])
        tail[0] = pieces[1]
    elif head and isinstance(head[-1], str | list) and (tail or choose.random() < 0.5):
        # A cut behind a value that could be cut is a cut through it: its rest is empty.
        tail.insert(0, type(head[-1])())
    return head, tail


def _pieces(value: Any, choose: Random) -> Iterator[Any]:
    for _ in range(choose.randint(0, 3)):
        if not (pieces := _split(value, choose)):
            break
        yield pieces[0]
        value = pieces[1]
    yield value


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
            return Value(list_value=ListValue(values=[_encoded(element) for element in value]))


def _messages(columns: list[Type], values: list[Any], choose: Random) -> list[Any]:
    """The values in protobuf messages, cut and grouped at random; the first has the metadata."""
    messages: list[Any] = []

    def send(values: list[Value], *, chunked: bool = False) -> None:
        message = PartialResultSet.pb(PartialResultSet())
        message.values.extend(values)
        message.chunked_value = chunked
        messages.append(message)

    waiting: list[Value] = []
    for value in values:
        *pieces, last = _pieces(value, choose)
        for piece in pieces:
            send([*waiting, _encoded(piece)], chunked=True)
            waiting = []
        waiting.append(_encoded(last))
        if choose.random() < 0.5:
            send(waiting)
            waiting = []
    send(waiting)
    fields = [StructType.Field(type_=type_) for type_ in columns]
    messages[0].metadata.row_type.CopyFrom(StructType.pb(StructType(fields=fields)))
    return messages


@given(_results(), st.randoms(use_true_random=False))
def test_it_merges_as_the_official_client_does(result: tuple[list[Type], list[Any]], choose: Random) -> None:
    """The same messages give the same values, and those are the ones that were cut."""
    columns, values = result
    messages = _messages(columns, values, choose)
    encoded = [message.SerializeToString() for message in messages]
    wrapped = (PartialResultSet.wrap(PartialResultSet.pb(PartialResultSet.deserialize(m))) for m in encoded)
    official = [value for row in StreamedResultSet(wrapped, lazy_decode=True) for value in row]
    ours = [Value.FromString(value) for value in _core.reassemble(encoded)]
    assert ours == official
    assert ours == [_encoded(value) for value in values]


@given(_results(), st.randoms(use_true_random=False))
def test_messages_without_values_change_nothing(result: tuple[list[Type], list[Any]], choose: Random) -> None:
    """Fillers between the messages, also in the middle of a value, are as if they were not there."""
    encoded = [message.SerializeToString() for message in _messages(*result, choose)]
    fillers = (b"", PartialResultSet.serialize(PartialResultSet(resume_token=b"t")))
    filled = [part for message in encoded for part in (message, choose.choice(fillers))]
    assert _core.reassemble(filled) == _core.reassemble(encoded)
