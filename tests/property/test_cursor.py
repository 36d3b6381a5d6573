"""Cursors: what goes into one comes out, small, and whatever is wrong with its text is said."""

from __future__ import annotations

import base64
import contextlib
import json
import os
import random
import zlib
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from spanwire import Timestamp
from spanwire.consumer.cursor import Cursor, Reached, Version
from spanwire.errors import ConfigError, FormatError
from spanwire.timestamps import just_before

GOLDEN = Path(__file__).parents[1] / "golden" / "cursors"
MARK = "spanwire-cursor-1."
ALPHABET = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_."

moments = st.builds(
    Timestamp, st.integers(-62_135_596_800, 253_402_300_799), st.integers(0, 999_999_999)
) | st.builds(Timestamp, st.just(1_800_000_000), st.integers(0, 9))
texts = st.text(st.characters(exclude_categories=("Cs",)), max_size=12)
identities = st.tuples(
    texts, st.sampled_from(["00000000", "00000001", "8336-000a"]) | texts, st.integers(0, 90)
)
frontiers = st.tuples(moments, st.lists(identities, min_size=1, max_size=4, unique=True).map(sorted))
lanes = st.tuples(st.binary(min_size=16, max_size=16), texts)
versions = st.builds(Version, moments, texts, texts, st.integers(0, 80_000))
reached = st.builds(
    Reached, st.none() | moments, st.dictionaries(lanes, frontiers, max_size=4), st.none() | versions
)
cursors = st.builds(
    Cursor,
    st.dictionaries(st.integers(0, 65_535), reached, max_size=3),
    st.just(b"") | st.binary(min_size=16, max_size=16),
)


def what_counts(cursor: Cursor) -> Cursor:
    """A cursor without the frontiers that its watermarks cover."""
    outputs = {number: Reached(one.watermark, one.ahead, one.last) for number, one in cursor.outputs.items()}
    return Cursor(outputs, cursor.stream)


def sealed(body: bytes) -> str:
    """Any bytes as the body of a cursor with the right length and checksum."""
    assert len(body) < 128
    whole = bytes([len(body)]) + body
    whole += zlib.crc32(MARK.encode() + whole).to_bytes(4, "big")
    return MARK + base64.urlsafe_b64encode(whole).decode().rstrip("=")


def some() -> Cursor:
    """A cursor with something of everything."""
    moment = Timestamp(1_795_000_000, 123_456_789)
    ahead = {
        (bytes([number]) * 16, topic): (
            Timestamp(1_795_000_001, number),
            [(f"MTcyNTAw{number}", f"0000000{record}", mod) for record in range(3) for mod in range(4)],
        )
        for number in range(3)
        for topic in ("shop/all/orders/", "shop/all/items/07/")
    }
    outputs = {
        0: Reached(moment, ahead),
        2: Reached.up_to(Version(moment, "tx", "00000002", 7)),
        3: Reached(),
    }
    return Cursor(outputs, bytes(range(16)))


@given(cursors)
def test_what_goes_in_comes_out(cursor: Cursor) -> None:
    """All but frontiers that the watermark covers; the text of equal cursors is the same, and URL-safe."""
    text = cursor.encode()
    assert set(text) <= set(ALPHABET)
    decoded = Cursor.decode(f" {text}\n")
    assert decoded == what_counts(cursor)
    assert decoded.encode() == text
    backwards = Cursor(dict(reversed(cursor.outputs.items())), cursor.stream)
    assert backwards.encode() == text


def test_any_flipped_character_is_refused() -> None:
    """Wherever it is, and whatever it becomes."""
    text = some().encode()
    rng = random.Random(1)
    for place in range(len(text)):
        for other in {*rng.sample(ALPHABET, 5), text[place].swapcase()} - {text[place]}:
            with pytest.raises((ConfigError, FormatError)):
                Cursor.decode(text[:place] + other + text[place + 1 :])


@given(cursors, st.data())
def test_any_flipped_bit_of_any_cursor_is_refused(cursor: Cursor, data: st.DataObject) -> None:
    """Behind its mark, with the base64 around it in order."""
    text = cursor.encode().removeprefix(MARK)
    raw = bytearray(base64.urlsafe_b64decode(text + "=" * (-len(text) % 4)))
    bit = data.draw(st.integers(0, len(raw) * 8 - 1))
    raw[bit // 8] ^= 1 << bit % 8
    with pytest.raises(FormatError, match=r"cursor was (changed|cut off)"):
        Cursor.decode(MARK + base64.urlsafe_b64encode(raw).decode().rstrip("="))


def test_one_that_was_cut_off_says_so() -> None:
    """Behind its mark, at whatever place."""
    text = some().encode()
    for end in range(len(MARK) - 1, len(text)):
        with pytest.raises(FormatError, match="cut off"):
            Cursor.decode(text[:end])


@pytest.mark.parametrize(
    ("text", "error", "words"),
    [
        ("", ConfigError, "not a cursor"),
        ("2026-11-23T17:50:32Z", ConfigError, "not a cursor"),
        ("spanwire-cursor-2.AAAA", FormatError, "newer version"),
        ("spanwire-cursor-99999999999999999999.AAAA", FormatError, "newer version"),
        ("spanwire-cursor-0.AAAA", FormatError, "changed"),
        ("spanwire-cursor-x.AAAA", FormatError, "changed"),
        (f"{MARK}ÄÄÄÄ", FormatError, "changed"),
        (f"{some().encode()}AAAA", FormatError, "changed"),
        (f"{some().encode()}=", FormatError, "changed"),
    ],
)
def test_what_is_wrong_is_said(text: str, error: type[Exception], words: str) -> None:
    """In one line that says what to do."""
    with pytest.raises(error, match=words) as raised:
        Cursor.decode(text)
    assert "\n" not in str(raised.value)


@given(st.binary(max_size=120))
def test_any_body_ends_in_an_error_or_a_cursor(body: bytes) -> None:
    """Also where the checksum is right, by whoever made it."""
    with contextlib.suppress(FormatError):
        Cursor.decode(sealed(body))


def test_a_body_that_claims_too_much_is_refused() -> None:
    """A run of 2^60 mods, 2^60 outputs: nothing is made of them."""
    many = b"\xff" * 8 + b"\x0f"
    identity = b"\x01\x00\x00\x00\x01\x00"  # one record: string 0, nothing shared, no more; one run from 0
    head = b"\x00\x01\x01t"  # no stream; one string
    run_of = head + b"\x01\x00\x02\x00" + identity  # one output, 0, with a last version at 1970
    assert Cursor.decode(sealed(run_of + b"\x01\x00")).of(0).last == Version(Timestamp(0), "t", "", 0)
    for body in (run_of + many + b"\x00", head + many, many, b"\x00" + many):
        with pytest.raises(FormatError):
            Cursor.decode(sealed(body))


def test_a_cursor_of_another_stream_is_refused() -> None:
    """Where both are known; a cursor that does not know its own goes with any."""
    text = some().encode()
    assert Cursor.decode(text, bytes(range(16))) == Cursor.decode(text, b"") == some()
    with pytest.raises(ConfigError, match="another change stream"):
        Cursor.decode(text, bytes(16))
    Cursor({}).expect(bytes(16))


def test_cursors_of_several_outputs_become_one() -> None:
    """The later one counts; the watermark of all is the least, and of an output that is new too."""
    early, late = Timestamp(10), Timestamp(20)
    a, b = Cursor({0: Reached(late)}, bytes(16)), Cursor({1: Reached(early)})
    both = Cursor.merged([a, b])
    assert both == Cursor({0: Reached(late), 1: Reached(early)}, bytes(16))
    assert both.watermark == both.of(2).watermark == early
    assert Cursor.merged([both, Cursor({1: Reached(late)})]).watermark == late
    assert Cursor.merged([both, Cursor({1: Reached()})]).watermark is None
    assert Cursor().watermark is None
    assert Cursor.at(early).of(0) == Cursor.at(early).of(7) == Reached(early)
    with pytest.raises(ConfigError, match="another change stream"):
        Cursor.merged([a, Cursor({}, bytes(range(16)))])


def test_in_the_middle_of_a_timestamp_a_read_begins_just_before_it() -> None:
    """So that all of its transaction comes again, to be dropped up to the last change handed over."""
    version = Version(Timestamp(5, 0), "tx", "00000000", 1)
    assert Reached.up_to(version) == Reached(Timestamp(4, 999_999_999), {}, version)
    assert just_before(Timestamp(5, 1)) == Timestamp(5, 0)
    assert str(version) == "1970-01-01T00:00:05.000000000Z/tx/00000000/1"


@given(moments, texts, texts.filter(lambda text: "/" not in text), st.integers(0, 80_000))
def test_a_version_is_read_as_it_is_written(
    moment: Timestamp, transaction: str, sequence: str, mod: int
) -> None:
    """Also where its transaction has slashes; and versions sort as their parts do, not as text."""
    version = Version(moment, transaction, sequence, mod)
    assert Version.parse(str(version)) == version
    assert version < version._replace(number=mod + 10)


def test_it_stays_small() -> None:
    """A hundred partitions ahead of the watermark, and a transaction of many records."""
    watermark = Timestamp(1_795_000_000, 1)
    rng = random.Random(5)
    one = {
        (rng.randbytes(16), "shop/all/orders/"): (
            Timestamp(1_795_000_000, 500_000_000 + number),
            [(base64.b64encode(rng.randbytes(15)).decode(), "00000000", 0)],
        )
        for number in range(100)
    }
    assert len(Cursor({0: Reached(watermark, one)}, bytes(16)).encode()) < 80 * 100
    most = [("MTcyNTAwNDY2NDY4NTU3NzE=", f"{number:08}", 0) for number in range(20_000)]
    huge = Cursor({0: Reached(watermark, {(bytes(16), "t"): (Timestamp(1_795_000_001), most)})})
    text = huge.encode()
    assert len(text) < 12 * len(most)
    assert Cursor.decode(text) == huge


def described(cursor: Cursor) -> dict[str, Any]:
    """A cursor as JSON, for the golden files."""
    return {
        "stream": cursor.stream.hex(),
        "outputs": {
            str(number): {
                "watermark": one.watermark and str(one.watermark),
                "last": one.last and str(one.last),
                "frontiers": [
                    [partition.hex(), topic, str(moment), [list(identity) for identity in records]]
                    for (partition, topic), (moment, records) in sorted(one.frontiers.items())
                ],
            }
            for number, one in sorted(cursor.outputs.items())
        },
    }


@pytest.mark.parametrize("name", sorted(path.stem for path in GOLDEN.glob("*.txt")) or ["1-everything"])
def test_cursors_written_long_ago_are_read(name: str) -> None:
    """Each committed text gives what stands beside it, for ever."""
    text = (GOLDEN / f"{name}.txt").read_text(encoding="ascii")
    assert described(Cursor.decode(text)) == json.loads((GOLDEN / f"{name}.json").read_text(encoding="utf-8"))


def test_the_format_is_the_committed_one() -> None:
    """What is written now is what was frozen: another layout needs another number and texts of its own."""
    now = {"1-everything": some(), "1-nothing": Cursor(), "1-watermark": Cursor({0: Reached(Timestamp(1))})}
    if os.environ.get("SPANWIRE_WRITE_GOLDEN"):
        for name, cursor in now.items():
            if (GOLDEN / f"{name}.txt").exists():
                continue
            (GOLDEN / f"{name}.txt").write_text(f"{cursor.encode()}\n", encoding="ascii")
            described_text = json.dumps(described(cursor), indent=1)
            (GOLDEN / f"{name}.json").write_text(f"{described_text}\n", encoding="utf-8")
    for name, cursor in now.items():
        assert (GOLDEN / f"{name}.txt").read_text(encoding="ascii") == f"{cursor.encode()}\n", name
