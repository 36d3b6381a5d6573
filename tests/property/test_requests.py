"""Requests and replies: what goes in comes out, here and in Cap'n Proto's library; the rest is refused."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from random import Random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.schemas import LATER, TODAY, broken, grown, load

from spanwire._core import Timestamp, decode_reply, decode_request, encode_reply, encode_request
from spanwire.errors import FormatError

SCHEMA = load(TODAY)
_U16, _U32, _U64 = (st.integers(0, 2**bits - 1) for bits in (16, 32, 64))
_TEXT = st.text(st.characters(codec="utf-8"), max_size=20)
_TEXTS = st.lists(_TEXT, max_size=4)
_HASH = st.just(b"") | st.binary(min_size=16, max_size=16)
_TIMESTAMP = st.none() | st.builds(
    Timestamp, st.integers(-62_135_596_800, 253_402_300_799), st.integers(0, 999_999_999)
)
_REQUEST_KINDS = list(SCHEMA.Request.Kind.schema.enumerants)
_REPLY_KINDS = list(SCHEMA.Reply.Kind.schema.enumerants)
_REASONS = list(SCHEMA.Reply.Reason.schema.enumerants)

requests = st.fixed_dictionaries(
    {"kind": st.sampled_from(_REQUEST_KINDS), "id": _U64},
    optional={
        **dict.fromkeys(("credit", "incarnation", "epoch", "first", "last", "limit", "delivery"), _U64),
        **dict.fromkeys(("rate", "handled"), _U32),
        **dict.fromkeys(("topics", "tables"), _TEXTS),
        **dict.fromkeys(("stream", "partition"), _HASH),
        **dict.fromkeys(("after", "until", "at"), _TIMESTAMP),
        **dict.fromkeys(("group", "member", "reason"), _TEXT),
        "output": _U16,
    },
)
replies = st.fixed_dictionaries(
    {"kind": st.sampled_from(_REPLY_KINDS), "id": _U64},
    optional={
        **dict.fromkeys(("delivery", "rows_done", "rows_total"), _U64),
        **dict.fromkeys(("handled", "deliveries", "until"), _U32),
        **dict.fromkeys(("position", "oldest"), _TIMESTAMP),
        "stream": _HASH,
        "reason": st.sampled_from(_REASONS),
        "text": _TEXT,
    },
)
both = pytest.mark.parametrize(
    ("struct", "encode", "decode", "fields"),
    [
        pytest.param("Request", encode_request, decode_request, requests, id="request"),
        pytest.param("Reply", encode_reply, decode_reply, replies, id="reply"),
    ],
)


def _by_pycapnp(struct: str, frame: bytes) -> dict[str, Any]:
    """Every field as Cap'n Proto's own library reads it, under its name in Python."""
    said = {}
    with getattr(SCHEMA, struct).from_bytes(frame) as read:
        for name in read.schema.fieldnames:
            value = getattr(read, name)
            if name in ("after", "until", "at", "position", "oldest") and not isinstance(value, int):
                value = Timestamp(value.seconds, value.nanos) if read._has(name) else None
            elif name in ("kind", "reason") and not isinstance(value, str):
                value = str(value)
            elif name in ("topics", "tables"):
                value = list(value)
            said["".join(f"_{letter.lower()}" if letter.isupper() else letter for letter in name)] = value
    assert said.pop("format_major") == 1
    return said


def _defaults(decode: Callable[[bytes], dict[str, Any]], encode: Callable[..., bytes]) -> dict[str, Any]:
    return decode(encode("unspecified", 0))


@both
@given(data=st.data())
def test_what_is_asked_is_what_is_read(
    struct: str, encode: Any, decode: Any, fields: Any, data: st.DataObject
) -> None:
    """Every field comes back, those not given at their defaults, and the C++ library reads the same."""
    given_fields = data.draw(fields)
    frame = encode(**given_fields)
    said = decode(frame)
    assert said == _defaults(decode, encode) | given_fields
    assert said == _by_pycapnp(struct, frame)
    assert encode(**said) == frame


@both
@given(data=st.data())
def test_what_others_write_is_read(
    struct: str, encode: Any, decode: Any, fields: Any, data: st.DataObject
) -> None:
    """A frame by the C++ library, in as many segments as it likes, says what it was given."""
    given_fields = data.draw(fields)
    with getattr(SCHEMA, struct).from_bytes(encode(**given_fields)) as read:
        message = getattr(SCHEMA, struct).new_message(
            num_first_segment_words=data.draw(st.sampled_from([1, 64]))
        )
        message.from_dict(read.to_dict())
    assert decode(message.to_bytes()) == decode(encode(**given_fields))


@both
@given(data=st.data())
def test_a_broken_one_is_refused_or_read_alike(
    struct: str, encode: Any, decode: Any, fields: Any, data: st.DataObject
) -> None:
    """FormatError and nothing else, or what the C++ library reads too; one cut short is refused."""
    frame = encode(**data.draw(fields))
    with pytest.raises(FormatError):
        decode(frame[: data.draw(st.integers(0, len(frame) - 1))])
    choose: Random = data.draw(st.randoms(use_true_random=False))
    changed = broken(frame, choose)
    said = None
    with contextlib.suppress(FormatError):
        said = decode(changed)
    if said is not None and said["kind"] != "unspecified" and said.get("reason") != "unspecified":
        assert said == _by_pycapnp(struct, changed)


@both
@given(garbage=st.binary(max_size=400))
def test_garbage_is_refused(struct: str, encode: Any, decode: Any, fields: Any, garbage: bytes) -> None:
    """FormatError and nothing else. Random bytes have no format of ours."""
    del struct, encode, fields
    with pytest.raises(FormatError):
        decode(garbage)


@both
def test_what_a_later_version_says_is_left_aside_or_unspecified(
    struct: str, encode: Any, decode: Any, fields: Any, tmp_path: Any
) -> None:
    """A field that is not known is left aside; a kind or reason that is not known can be answered to."""
    del fields
    schema = tmp_path / TODAY.name
    schema.write_text(grown(TODAY.read_text(encoding="utf-8")), encoding="utf-8")
    later = getattr(load(schema), struct)

    def read(**fields: Any) -> dict[str, Any]:
        return decode(later.new_message(**{"formatMajor": 1, "id": 7, **LATER, **fields}).to_bytes())

    assert read(kind="laterName") == _defaults(decode, encode) | {"id": 7}
    assert read(kind=1)["kind"] in ("hello", "welcome")
    with pytest.raises(FormatError, match="format 2"):
        read(formatMajor=2)


def test_a_request_has_a_largest_size() -> None:
    """One that no relay takes is not written either."""
    with pytest.raises(FormatError, match="65536"):
        encode_request("feed", 1, topics=["x" * 1_000] * 70)
    with pytest.raises(FormatError, match="65536"):
        decode_request(bytes(65_544))


def test_names_that_are_none_are_the_callers_mistake() -> None:
    """ValueError names the field; TypeError a field that there is not."""
    with pytest.raises(ValueError, match=r"kind: .*'?Hello"):
        encode_request("Hello", 1)
    with pytest.raises(ValueError, match="reason"):
        encode_reply("refused", 1, reason="none")
    with pytest.raises(ValueError, match="partition: must be 16 bytes or none, is 3"):
        encode_request("repair", 1, partition=b"abc")
    with pytest.raises(TypeError):
        encode_request("repair", 1, epock=3)  # type: ignore[call-arg]
    with pytest.raises(OverflowError):
        encode_request("repair", -1)
