"""How the simulator cuts values, against the official client's own merge."""

from __future__ import annotations

from typing import Any

import pytest
from google.cloud.spanner_v1 import PartialResultSet
from google.cloud.spanner_v1.streamed import StreamedResultSet
from google.protobuf import struct_pb2
from hypothesis import given, settings
from hypothesis import strategies as st

from spanwire.simulator import protobuf
from spanwire.simulator.chunking import Chunking, cut, join
from spanwire.simulator.records import ChildRecord, DataRecord, Mod
from spanwire.simulator.records_googlesql import GoogleSqlEncoder
from spanwire.simulator.records_postgresql import PostgresEncoder
from spanwire.simulator.tables import ACCOUNTS

trees: st.SearchStrategy[Any] = st.recursive(
    st.text(max_size=5) | st.booleans() | st.none(), lambda inner: st.lists(inner, max_size=4), max_leaves=12
)
values = st.text(max_size=8) | st.lists(trees, max_size=5)
NAMES = ("id", "revision", "name", "tags")
RECORD = DataRecord(
    1_700_000_000_123_456_000,
    "00000000",
    "abcdefgh",
    True,
    ACCOUNTS,
    NAMES,
    [Mod({"id": 1}, {"revision": 2, "name": 'é "🚀"\n' * 5, "tags": ["a", None, ""]}, {"name": None})] * 2,
    "UPDATE",
    "OLD_AND_NEW_VALUES",
)
ENCODERS = (GoogleSqlEncoder(), PostgresEncoder("s"))


@given(values, st.integers(0, 60))
def test_what_is_cut_joins_again(value: Any, at: int) -> None:
    """Any cut of any value is undone by Spanner's merge rule."""
    head, tail = cut(value, at)
    assert join(head, tail) == value


@pytest.mark.parametrize("value", [None, True, 1.5])
def test_scalars_are_never_cut(value: Any) -> None:
    """Null, bool and number have no pieces."""
    with pytest.raises(TypeError):
        cut(value, 0)


@pytest.mark.parametrize("encoder", ENCODERS, ids=lambda encoder: encoder.dialect)
@pytest.mark.parametrize("limit", [16, 17, 23, 40, 100])
def test_the_official_client_merges_the_pieces(encoder: Any, limit: int) -> None:
    """Rows cut to any size come out of the official client as if they had not been cut."""
    rows = [
        encoder.data(RECORD),
        encoder.heartbeat(1),
        encoder.children(ChildRecord(2, "00000000", [("token-a", ("p", "q")), ("token-b", ())])),
    ]
    messages = [protobuf.message(map(protobuf.framed, rows), metadata=encoder.metadata)]
    whole = _official(messages)
    for seed in range(5):
        pieces = [
            Chunking(limit, 0, seed).pieces(row, "partition", number) for number, row in enumerate(rows)
        ]
        assert len(pieces[0]) > 1
        cut_up = [protobuf.message((), metadata=encoder.metadata)]
        for own in pieces:
            cut_up += [protobuf.message([protobuf.framed(piece)], chunked=True) for piece in own[:-1]]
            cut_up.append(protobuf.message([protobuf.framed(own[-1])]))
        assert _official(cut_up) == whole


@pytest.mark.parametrize("encoder", ENCODERS, ids=lambda encoder: encoder.dialect)
def test_chopped_rows_are_cut_at_any_place(encoder: Any) -> None:
    """Chopping cuts small rows in two, at a place the seed chooses, and the client merges them."""
    row = encoder.data(RECORD)
    whole = _official([protobuf.message([protobuf.framed(row)], metadata=encoder.metadata)])
    heads = set()
    for number in range(100):
        head, tail = Chunking(10**9, 1, 5).pieces(row, "partition", number)
        heads.add(head)
        messages = [
            protobuf.message([protobuf.framed(head)], metadata=encoder.metadata, chunked=True),
            protobuf.message([protobuf.framed(tail)]),
        ]
        assert _official(messages) == whole
    assert len(heads) > 30


def test_a_row_is_always_cut_alike() -> None:
    """Seed, partition and place decide, so that a resume token means the same again."""
    row = ENCODERS[0].data(RECORD)
    first = Chunking(50, 0, 1).pieces(row, "a", 3)
    assert first == Chunking(50, 0, 1).pieces(row, "a", 3)
    assert first != Chunking(50, 0, 1).pieces(row, "a", 4)
    assert first != Chunking(50, 0, 2).pieces(row, "a", 3)


def test_a_small_row_stays_whole() -> None:
    """Nothing is cut that need not be."""
    row = ENCODERS[0].heartbeat(1)
    assert Chunking(1000, 0, 1).pieces(row, "a", 0) == [row]


@settings(max_examples=200)
@given(values)
def test_the_encoding_is_protobufs_own(value: Any) -> None:
    """What is written by hand parses as google.protobuf.Value, and reads back."""
    encoded = protobuf.encode(value)
    assert struct_pb2.Value.FromString(encoded).SerializeToString() == encoded
    assert protobuf.decode(encoded) == value


@pytest.mark.parametrize("size", [0, 1, 120, 127, 128, 129, 16_380, 16_383, 16_384, 16_385, 2_100_000])
def test_lengths_of_every_width(size: int) -> None:
    """Lengths around each boundary of a varint."""
    text = "é" * (size // 2) + "x" * (size % 2)
    value = struct_pb2.Value(string_value=text)
    assert protobuf.string(text) == value.SerializeToString()
    as_list = struct_pb2.Value(list_value=struct_pb2.ListValue(values=[value, value]))
    assert protobuf.list_of(protobuf.string_element(text) * 2) == as_list.SerializeToString()
    assert protobuf.list_value([protobuf.string(text)] * 2) == as_list.SerializeToString()
    message = protobuf.message([protobuf.framed(protobuf.string(text))], chunked=True, token=b"t")
    parsed = PartialResultSet.pb(PartialResultSet.deserialize(message))
    assert (parsed.values[0].string_value, parsed.chunked_value, parsed.resume_token) == (text, True, b"t")


def _official(messages: list[bytes]) -> list[Any]:
    return list(StreamedResultSet(PartialResultSet.deserialize(message) for message in messages))
