"""Protobuf encoded by hand: google.protobuf.Value, PartialResultSet, and fields of any message.

The generated classes take several times as long for the nested lists of a change record; the
tests parse what is written here with them.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable
from typing import TypeAlias

from google.protobuf import struct_pb2

Tree: TypeAlias = "bool | float | str | list[Tree] | None"
"""A google.protobuf.Value without objects, which result sets do not hold."""

NULL = b"\x08\x00"
TRUE = b"\x20\x01"
FALSE = b"\x20\x00"

_SMALL = [bytes((n,)) for n in range(128)]


def varint(number: int) -> bytes:
    """A length or number in base 128."""
    if number < 128:
        return _SMALL[number]
    if number < 16384:
        return bytes((number & 127 | 128, number >> 7))
    out = bytearray()
    while number > 127:
        out.append(number & 127 | 128)
        number >>= 7
    out.append(number)
    return bytes(out)


def string(text: str) -> bytes:
    """A Value of kind string."""
    data = text.encode()
    return b"\x1a" + varint(len(data)) + data


def element(value: bytes) -> bytes:
    """An encoded Value as an element of a list."""
    return b"\x0a" + varint(len(value)) + value


def string_element(text: str) -> bytes:
    """`element(string(text))`, at once."""
    data = text.encode()
    size = len(data)
    length = varint(size)
    return b"\x0a%b\x1a%b%b" % (varint(1 + len(length) + size), length, data)


def list_of(elements: bytes) -> bytes:
    """A Value of kind list over elements already framed by `element`."""
    return b"\x32" + varint(len(elements)) + elements


def list_value(values: Iterable[bytes]) -> bytes:
    """A Value of kind list over encoded Values."""
    return list_of(b"".join([b"\x0a" + varint(len(value)) + value for value in values]))


def framed(value: bytes) -> bytes:
    """An encoded Value as PartialResultSet's field `values`."""
    return b"\x12" + varint(len(value)) + value


def field(number: int, content: bytes) -> bytes:
    """A length-delimited field: a string, bytes or a message."""
    return varint(number << 3 | 2) + varint(len(content)) + content


def number_field(number: int, value: int) -> bytes:
    """An integer, enum or bool field; left out where it is zero, as protobuf does."""
    return varint(number << 3) + varint(value) if value else b""


def timestamp(nanos: int) -> bytes:
    """A google.protobuf.Timestamp, of nanoseconds since 1970; not before that."""
    seconds, rest = divmod(nanos, 1_000_000_000)
    return number_field(1, seconds) + number_field(2, rest)


def message(
    rows: Iterable[bytes], *, metadata: bytes = b"", chunked: bool = False, token: bytes = b""
) -> bytes:
    """A PartialResultSet of framed rows. `metadata`: an encoded ResultSetMetadata, empty after the first."""
    parts = [b"\x0a" + varint(len(metadata)) + metadata] if metadata else []
    parts += rows
    if chunked:
        parts.append(b"\x18\x01")
    if token:
        parts.append(b"\x22" + varint(len(token)) + token)
    return b"".join(parts)


def encode(tree: Tree) -> bytes:
    """A tree as an encoded Value."""
    match tree:
        case None:
            return NULL
        case bool():
            return TRUE if tree else FALSE
        case str():
            return string(tree)
        case list():
            return list_value([encode(one) for one in tree])
        case _:
            return b"\x11" + struct.pack("<d", tree)


def decode(value: bytes) -> Tree:
    """An encoded Value as a tree."""
    return _tree(struct_pb2.Value.FromString(value))


def _tree(value: struct_pb2.Value) -> Tree:
    match value.WhichOneof("kind"):
        case "string_value":
            return value.string_value
        case "list_value":
            return [_tree(one) for one in value.list_value.values]
        case "bool_value":
            return value.bool_value
        case "number_value":
            return value.number_value
        case "null_value":
            return None
        case kind:
            raise ValueError(f"a result set holds no {kind}")
