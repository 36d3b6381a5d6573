"""Messages whose bytes were changed: merged as protobuf reads them, or refused.

protobuf's own parser takes the messages apart, and the merging rules of
`google.spanner.v1.PartialResultSet.values` stand here once more, one piece after the other. What
spanwire hands on is what that gives. It is stricter where nothing can be made of the bytes without
guessing, and looks into values only where it puts pieces together:

| | protobuf | spanwire |
|---|---|---|
| a group | stepped over | refused |
| a known field of another wire type | stepped over | refused |
| a value of several kinds, in pieces | the last one counts | refused |
| text that is not UTF-8, a value that is none | refused | handed on as it came: refused where it is read |
"""

from __future__ import annotations

import functools
from random import Random
from typing import Any

from google.protobuf.descriptor_pb2 import FieldDescriptorProto as Field
from google.protobuf.descriptor_pb2 import FileDescriptorProto
from google.protobuf.descriptor_pool import DescriptorPool
from google.protobuf.message import DecodeError
from google.protobuf.message_factory import GetMessageClass
from google.protobuf.struct_pb2 import NULL_VALUE, ListValue, Struct, Value
from hypothesis import given
from hypothesis import strategies as st

from spanwire import _core
from spanwire.errors import CorruptError

_CUT = ("string_value", "list_value", "struct_value")
"""Kinds of values that a cut can go through."""


def _parsers() -> tuple[Any, Any]:
    """`PartialResultSet`, as far as it says which bytes are values, and `google.protobuf.Value`.

    Its structs have their fields as the list of entries that they are on the wire: as a map, libraries
    drop some of them.
    """
    of = {
        "Outline": {2: ("values", "*BYTES"), 3: ("chunked_value", "BOOL"), 4: ("resume_token", "BYTES")},
        "Value": {
            1: ("null_value", "INT32"),
            2: ("number_value", "DOUBLE"),
            3: ("string_value", "STRING"),
            4: ("bool_value", "BOOL"),
            5: ("struct_value", "Struct"),
            6: ("list_value", "ListValue"),
        },
        "Struct": {1: ("fields", "*Entry")},
        "Entry": {1: ("key", "STRING"), 2: ("value", "Value")},
        "ListValue": {1: ("values", "*Value")},
    }
    file = FileDescriptorProto(name="results.proto", syntax="proto3")
    for name, fields in of.items():
        message = file.message_type.add(name=name)
        if name == "Value":
            message.oneof_decl.add(name="kind")
        for number, (field_name, kind) in fields.items():
            plain = kind.removeprefix("*")
            field = message.field.add(name=field_name, number=number)
            field.label = Field.LABEL_REPEATED if kind != plain else Field.LABEL_OPTIONAL
            field.type = Field.TYPE_MESSAGE if plain in of else Field.Type.Value(f"TYPE_{plain}")
            if plain in of:
                field.type_name = f".{plain}"
            if name == "Value":
                field.oneof_index = 0
    pool = DescriptorPool()
    pool.Add(file)
    found = (GetMessageClass(pool.FindMessageTypeByName(name)) for name in ("Outline", "Value"))
    return next(found), next(found)


Outline, Read = _parsers()


class _CannotMergeError(Exception):
    """The rules do not say what becomes of the two."""


def _merged(head: Any, tail: Any) -> Any:
    """Two pieces of a value as one."""
    kind = head.WhichOneof("kind")
    if kind != tail.WhichOneof("kind") or kind not in _CUT:
        raise _CannotMergeError
    merged = Read()
    merged.CopyFrom(head)
    if kind == "string_value":
        merged.string_value += tail.string_value
    elif kind == "list_value":
        before, after = merged.list_value.values, list(tail.list_value.values)
        if before and after and before[-1].WhichOneof("kind") in _CUT:
            before[-1].CopyFrom(_merged(before[-1], after.pop(0)))
        before.extend(after)
    else:
        entries = {entry.key: entry for entry in merged.struct_value.fields}
        for entry in tail.struct_value.fields:
            if entry.key in entries:
                known = entries[entry.key].value
                known.CopyFrom(_merged(known, entry.value))
            else:
                merged.struct_value.fields.append(entry)
    return merged


def _by_the_rules(outlines: list[Any]) -> list[Any]:
    """The values of a result set; None for one that cannot be read."""
    values: list[Any] = []
    pieces: list[Any] = []
    for outline in outlines:
        for place, encoded in enumerate(outline.values):
            pieces.append(_read(encoded))
            if not outline.chunked_value or place < len(outline.values) - 1:
                values.append(None if None in pieces else functools.reduce(_merged, pieces))
                pieces = []
    return values


def _read(encoded: bytes) -> Any:
    """A value; None where the bytes are none."""
    try:
        return Read.FromString(encoded)
    except DecodeError:
        return None


# ---------------------------------------------------------------- what is tried


_scalars = st.one_of(
    st.just(Value(null_value=NULL_VALUE)),
    st.booleans().map(lambda truth: Value(bool_value=truth)),
    st.sampled_from([0.0, -1.5, 1e300]).map(lambda number: Value(number_value=number)),
    st.text(alphabet="aé😀", max_size=5).map(lambda text: Value(string_value=text)),
)
_values = st.recursive(
    _scalars,
    lambda inner: (
        st.lists(inner, max_size=4).map(lambda items: Value(list_value=ListValue(values=items)))
        | st.dictionaries(st.sampled_from("abc"), inner, max_size=3).map(
            lambda fields: Value(struct_value=Struct(fields=fields))
        )
    ),
    max_leaves=6,
)


def _cut(value: Value, choose: Random) -> tuple[Value, Value]:
    """A value in two pieces, which may or may not be where a server may cut."""
    match value.WhichOneof("kind"):
        case "string_value":
            at = choose.randint(0, len(value.string_value))
            return Value(string_value=value.string_value[:at]), Value(string_value=value.string_value[at:])
        case "list_value":
            items = list(value.list_value.values)
            at = choose.randint(0, len(items))
            before, after = items[:at], items[at:]
            if after and choose.random() < 0.8:
                last, after[0] = _cut(after[0], choose)
                before.append(last)
            return Value(list_value=ListValue(values=before)), Value(list_value=ListValue(values=after))
        case "struct_value":
            names = sorted(value.struct_value.fields)
            head, tail = {}, {}
            for name in names:
                head[name], tail[name] = _cut(value.struct_value.fields[name], choose)
            for name in names:
                choose.choice((head, tail, {})).pop(name, None)  # here, there, or the cut goes through it
            return Value(struct_value=Struct(fields=head)), Value(struct_value=Struct(fields=tail))
        case _:
            return value, value


def _messages(values: list[Value], choose: Random) -> list[bytes]:
    """The values as the messages of a result set, some of them in pieces."""
    messages = []
    waiting: list[bytes] = []

    def send(*, is_cut: bool) -> None:
        token = choose.choice((b"", b"t"))
        message = Outline(values=waiting, chunked_value=is_cut, resume_token=token)
        messages.append(message.SerializeToString())
        waiting.clear()

    for value in values:
        rest = value
        for _ in range(choose.randint(0, 2)):
            piece, rest = _cut(rest, choose)
            waiting.append(piece.SerializeToString())
            send(is_cut=True)
        waiting.append(rest.SerializeToString())
        if choose.random() < 0.5:
            send(is_cut=False)
    send(is_cut=False)
    return messages


def _broken(message: bytes, choose: Random) -> bytes:
    """A message with bytes changed, left out, put in, or written twice."""
    changed = bytearray(message)
    for _ in range(choose.randint(1, 3)):
        start, end = sorted(choose.randint(0, len(changed)) for _ in range(2))
        near = changed[start : start + 1]
        match choose.randrange(5):
            case 0:
                changed[start : start + 1] = bytes([choose.randrange(256)])
            case 1 if near:
                changed[start] = (near[0] + choose.choice((1, 8, 255, 248))) % 256  # another length or tag
            case 2:
                del changed[start : min(end, start + 4)]
            case 3:
                changed[start:start] = changed[start:end]
            case _:
                changed[start:start] = choose.randbytes(2)
    return bytes(changed)


def _agree(messages: list[bytes]) -> bool:
    """Whether the messages are taken; where they are, that the values are those of the oracle."""
    try:
        ours = _core.reassemble(messages)
    except CorruptError:
        return False
    theirs = _by_the_rules([Outline.FromString(message) for message in messages])
    assert len(ours) == len(theirs)
    assert [_plain(_read(encoded)) for encoded in ours] == [_plain(value) for value in theirs]
    return True


def _plain(value: Any) -> Any:
    """What a value says, with numbers so that all their bits count."""
    kind = value and value.WhichOneof("kind")
    match kind:
        case None:
            return None
        case "list_value":
            return [_plain(item) for item in value.list_value.values]
        case "struct_value":
            return {"fields": [(entry.key, _plain(entry.value)) for entry in value.struct_value.fields]}
        case "number_value":
            return ("number", value.number_value.hex())
        case _:
            return (kind, getattr(value, kind))


# ---------------------------------------------------------------- the tests


@given(st.lists(_values, min_size=1, max_size=4), st.randoms(use_true_random=False))
def test_pieces_make_what_the_rules_say_or_are_refused(values: list[Value], choose: Random) -> None:
    """Cut anywhere, also where no server may: taken where the rules say what the pieces make."""
    messages = _messages(values, choose)
    try:
        _by_the_rules([Outline.FromString(message) for message in messages])
    except _CannotMergeError:
        assert not _agree(messages)
    else:
        assert _agree(messages)


@given(st.lists(_values, min_size=1, max_size=4), st.randoms(use_true_random=False))
def test_broken_bytes_are_refused_or_read_as_protobuf_reads_them(values: list[Value], choose: Random) -> None:
    """One message of a stream has its bytes changed."""
    messages = _messages(values, choose)
    place = choose.randrange(len(messages))
    messages[place] = _broken(messages[place], choose)
    _agree(messages)
