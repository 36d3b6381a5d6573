"""Records of MUTABLE_KEY_RANGE streams are read as google-cloud-spanner's own type reads them."""

from __future__ import annotations

import contextlib
import json
import math
from itertools import pairwise
from random import Random
from typing import Any

import pytest
from google.cloud.spanner_v1.types import TypeAnnotationCode, TypeCode
from google.protobuf.json_format import MessageToDict
from google.protobuf.message import DecodeError
from google.protobuf.struct_pb2 import NULL_VALUE, ListValue, Struct, Value
from hypothesis import given, settings
from hypothesis import strategies as st
from support.change_stream_records import Record, message, row

from spanwire._core import RecordReader, Timestamp
from spanwire.errors import CorruptError, UndecodableError

Data = Record.DataChangeRecord

WITHOUT_HURRY = settings(deadline=None, max_examples=60)

texts = st.text(max_size=8)
names = st.text(min_size=1, max_size=6)
int32s = st.integers(-(2**31), 2**31 - 1)
timestamps = st.builds(
    dict, seconds=st.integers(-62_135_596_800, 253_402_300_799), nanos=st.integers(0, 999_999_999)
)
scalars = st.one_of(
    st.just(Value(null_value=NULL_VALUE)),
    st.booleans().map(lambda truth: Value(bool_value=truth)),
    st.floats().map(lambda number: Value(number_value=number)),
    st.text(max_size=30).map(lambda text: Value(string_value=text)),
)
values = st.recursive(
    scalars,
    lambda inner: (
        st.lists(inner, max_size=4).map(lambda items: Value(list_value=ListValue(values=items)))
        | st.dictionaries(texts, inner, max_size=3).map(lambda of: Value(struct_value=Struct(fields=of)))
    ),
    max_leaves=8,
)

codes = st.sampled_from([*(code.value for code in TypeCode if code != TypeCode.ARRAY), 12, 99])
plain_types = st.fixed_dictionaries(
    {"code": codes, "type_annotation": st.sampled_from([0, 0, 0, 2, 3, 4, 7]), "proto_type_fqn": texts}
)
types = st.recursive(
    plain_types, lambda inner: inner.map(lambda of: {"code": 8, "array_element_type": of}), max_leaves=3
)
columns = st.fixed_dictionaries(
    {
        "name": names,
        "type_": types,
        "is_primary_key": st.booleans(),
        "ordinal_position": st.integers(-(2**63), 2**63 - 1),
    }
)
mod_values = st.lists(
    st.builds(dict, column_metadata_index=st.integers(-2, 6) | int32s, value=values), max_size=4
)
data_changes = st.builds(
    dict,
    commit_timestamp=timestamps,
    record_sequence=names,
    server_transaction_id=names,
    is_last_record_in_transaction_in_partition=st.booleans(),
    table=names,
    column_metadata=st.lists(columns, max_size=4),
    mods=st.lists(st.builds(dict, keys=mod_values, new_values=mod_values, old_values=mod_values), max_size=3),
    mod_type=st.sampled_from([10, 20, 30]),
    value_capture_type=st.sampled_from([10, 20, 30, 40]),
    number_of_records_in_transaction=int32s,
    number_of_partitions_in_transaction=int32s,
    transaction_tag=texts,
    is_system_transaction=st.booleans(),
)
about_partitions = st.one_of(
    st.builds(dict, heartbeat_record=st.builds(dict, timestamp=timestamps)),
    st.builds(
        dict,
        partition_start_record=st.builds(
            dict,
            start_timestamp=timestamps,
            record_sequence=texts,
            partition_tokens=st.lists(names, max_size=3),
        ),
    ),
    st.builds(
        dict,
        partition_end_record=st.builds(
            dict, end_timestamp=timestamps, record_sequence=texts, partition_token=texts
        ),
    ),
    st.builds(
        dict,
        partition_event_record=st.builds(
            dict,
            commit_timestamp=timestamps,
            record_sequence=texts,
            partition_token=texts,
            move_in_events=st.lists(st.builds(dict, source_partition_token=names), max_size=3),
            move_out_events=st.lists(st.builds(dict, destination_partition_token=names), max_size=3),
        ),
    ),
)
records = (st.builds(dict, data_change_record=data_changes) | about_partitions).map(lambda of: Record(**of))
dialects = st.sampled_from(["googlesql", "postgresql"])


# ---------------------------------------------------------------- what each makes of the bytes


def ours(*messages: bytes, dialect: Any = "googlesql") -> list[Any]:
    """The records that the core reads; the JSON text of its mods read, their members as pairs."""
    found = RecordReader(dialect, "mutable").read(messages)
    for record in found:
        for fields in record.values():
            for mod in fields.get("mods", ()):
                mod.update({place: _pairs(text) for place, text in mod.items()})
            for column in fields.get("column_types", ()):
                _read_unknown(column["type"])
    return found


def _pairs(text: str) -> list[tuple[str, Any]]:
    """The members of an object; objects inside it as dicts, numbers so that all their bits count."""
    read = json.JSONDecoder(parse_int=float, object_pairs_hook=_Object).decode(text)
    return [(name, _exact(value)) for name, value in read]


class _Object(list[tuple[str, Any]]):
    pass


def _exact(value: Any) -> Any:
    match value:
        case _Object():
            return {name: _exact(inner) for name, inner in value}
        case list():
            return [_exact(inner) for inner in value]
        case float():
            return ("number", value.hex())
        case _:
            return value


def _read_unknown(type_: dict[str, Any]) -> None:
    if "unknown" in type_:
        type_["unknown"] = json.loads(type_["unknown"])
    if "array_element_type" in type_:
        _read_unknown(type_["array_element_type"])


def theirs(record: Any) -> dict[str, Any]:
    """The official type's record, in the same form."""
    kind = record.WhichOneof("record")
    fields = getattr(record, kind)
    if kind == "data_change_record":
        return {kind: _data(fields)}
    plain = MessageToDict(fields, preserving_proto_field_name=True, always_print_fields_with_no_presence=True)
    for name in plain:
        if name.endswith("timestamp"):
            plain[name] = _timestamp(getattr(fields, name))
    return {kind: plain}


def _data(fields: Any) -> dict[str, Any]:
    columns = [
        {
            "name": column.name,
            "type": _type(column.type_),
            "is_primary_key": column.is_primary_key,
            "ordinal_position": column.ordinal_position,
        }
        for column in fields.column_metadata
    ]

    def members(mod_values: Any) -> list[tuple[str, Any]]:
        known = {place: column["name"] for place, column in enumerate(columns)}
        places = [(one.column_metadata_index, one.value) for one in mod_values]
        return [(known.get(place, f"#{place}"), _value(value)) for place, value in places]

    return {
        "commit_timestamp": _timestamp(fields.commit_timestamp),
        "table_name": fields.table,
        "column_types": columns,
        "mods": [
            {place: members(getattr(mod, place)) for place in ("keys", "new_values", "old_values")}
            for mod in fields.mods
        ],
        "mod_type": Data.ModType.Name(fields.mod_type),
        "value_capture_type": Data.ValueCaptureType.Name(fields.value_capture_type),
    } | {
        name: getattr(fields, name)
        for name in (
            "record_sequence",
            "server_transaction_id",
            "is_last_record_in_transaction_in_partition",
            "number_of_records_in_transaction",
            "number_of_partitions_in_transaction",
            "transaction_tag",
            "is_system_transaction",
        )
    }


def _timestamp(of: Any) -> Timestamp:
    return Timestamp(of.seconds, of.nanos)


def _type(of: Any) -> dict[str, Any]:
    known_code = of.code != 0 and of.code in [code.value for code in TypeCode]
    known_annotation = of.type_annotation in [code.value for code in TypeAnnotationCode]
    known = known_code and known_annotation
    found: dict[str, Any] = {"code": TypeCode(of.code).name if known else "TYPE_CODE_UNSPECIFIED"}
    if known_annotation and of.type_annotation:
        found["type_annotation"] = TypeAnnotationCode(of.type_annotation).name
    if of.HasField("array_element_type"):
        found["array_element_type"] = _type(of.array_element_type)
    if of.proto_type_fqn:
        found["proto_type_fqn"] = of.proto_type_fqn
    if not known:
        found["unknown"] = _with_codes(MessageToDict(of, preserving_proto_field_name=True))
        found["unknown"].pop("struct_type", None)
    return found


def _with_codes(type_: dict[str, Any]) -> dict[str, Any]:
    """A type as JSON, also where its code is the default, which protobuf leaves out."""
    if "array_element_type" in type_:
        type_["array_element_type"] = _with_codes(type_["array_element_type"])
    return {"code": "TYPE_CODE_UNSPECIFIED"} | type_


def _value(of: Value) -> Any:
    match of.WhichOneof("kind"):
        case "null_value":
            return None
        case "number_value" if math.isnan(of.number_value):
            return "NaN"
        case "number_value" if math.isinf(of.number_value):
            return "Infinity" if of.number_value > 0 else "-Infinity"
        case "number_value":
            return ("number", of.number_value.hex())
        case "list_value":
            return [_value(inner) for inner in of.list_value.values]
        case "struct_value":
            return {name: _value(inner) for name, inner in of.struct_value.fields.items()}
        case kind:
            return getattr(of, str(kind))


# ---------------------------------------------------------------- they agree


@WITHOUT_HURRY
@given(st.lists(records, min_size=1, max_size=4), dialects)
def test_every_field_is_what_the_official_type_reads(found: list[Any], dialect: str) -> None:
    """Records of all kinds, capture types, column types and values, the same in both dialects."""
    rows = [row(record.SerializeToString()) for record in found]
    assert ours(message(*rows), dialect=dialect) == [theirs(record) for record in found]


@WITHOUT_HURRY
@given(records, st.randoms(use_true_random=False))
def test_it_does_not_matter_where_a_record_is_cut(record: Any, choose: Random) -> None:
    """Pieces of the base64 text are put together before anything is read."""
    text = row(record.SerializeToString()).string_value
    cuts = sorted(choose.randint(0, len(text)) for _ in range(choose.randint(0, 4)))
    ends = [0, *cuts, len(text)]
    pieces = [text[start:end] for start, end in pairwise(ends)]
    messages = [message(Value(string_value=piece), chunked=True) for piece in pieces[:-1]]
    assert ours(*messages, message(Value(string_value=pieces[-1]))) == [theirs(record)]


@WITHOUT_HURRY
@given(records, records, st.binary(max_size=6))
def test_what_a_later_version_adds_is_stepped_over(record: Any, other: Any, unknown: bytes) -> None:
    """Fields of numbers that nobody knows yet, of whatever they hold, change nothing."""
    later = b"".join((b"\xa2\x06" + bytes([len(unknown)]) + unknown, b"\xa8\x06\x01", b"\xb1\x06" + bytes(8)))
    kind = record.WhichOneof("record")
    inner = getattr(record, kind).SerializeToString() + later
    added = type(other)()
    getattr(added, kind).ParseFromString(inner)
    assert ours(message(row(later + added.SerializeToString() + later))) == [theirs(record)]


@WITHOUT_HURRY
@given(records, st.randoms(use_true_random=False))
def test_bytes_that_were_changed_are_refused_or_read_alike(record: Any, choose: Random) -> None:
    """The core is stricter than protobuf, so it may refuse more; what it reads, it reads the same."""
    changed = bytearray(record.SerializeToString())
    for _ in range(choose.randint(1, 4)):
        changed[choose.randrange(len(changed))] = choose.randrange(256)
    with contextlib.suppress(CorruptError, UndecodableError, DecodeError):
        assert ours(message(row(bytes(changed)))) == [theirs(Record.FromString(bytes(changed)))]


@WITHOUT_HURRY
@given(records, st.data())
def test_a_record_that_was_cut_short_is_refused(record: Any, data: st.DataObject) -> None:
    """The record is one field of its message, so that no beginning of it is a record."""
    whole = record.SerializeToString()
    cut = whole[: data.draw(st.integers(0, len(whole) - 1))]
    with pytest.raises((CorruptError, UndecodableError)):
        ours(message(row(cut)))


@WITHOUT_HURRY
@given(st.binary(max_size=60))
def test_arbitrary_bytes_are_refused_where_protobuf_refuses_them(encoded: bytes) -> None:
    """As a record, as the text of a row, and as a row."""
    with contextlib.suppress(CorruptError, UndecodableError):
        found = ours(message(row(encoded)))
        assert found == [theirs(Record.FromString(encoded))]
    for broken in (b"\x12" + bytes([len(encoded) + 2]) + b"\x1a" + bytes([len(encoded)]) + encoded, encoded):
        with contextlib.suppress(CorruptError, UndecodableError):
            ours(broken)
