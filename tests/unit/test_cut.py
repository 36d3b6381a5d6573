"""The text with which a snapshot that was cut off goes on."""

from __future__ import annotations

import base64
import json
import random
import zlib

import pytest

from spanwire._core import Timestamp
from spanwire.source.cut import MOST_BYTES, Cut, OtherStream, Part

STREAM = b"0123456789abcdef"
AT = Timestamp.parse("2026-11-23T17:50:32.669475001Z")


def test_it_comes_back_as_it_was() -> None:
    """Timestamp to the nanosecond, tokens byte for byte."""
    parts = [Part("sales.orders", 3, bytes(range(256))), Part("склад", 7, b"")]
    cut = Cut(AT, "s/1", b"\x00tx", parts, ["items"], next_number=9, parts_done=4, rows=2**40)
    assert Cut.decode(cut.encode(STREAM), STREAM) == cut
    assert cut.parts_total == 6


def test_it_stays_small_whatever_there_is_to_do() -> None:
    """Tokens that do not fit are left out: then their tables are named."""
    tokens = random.Random(7)
    parts = [Part(f"t{number % 3}", number, tokens.randbytes(200)) for number in range(3000)]
    cut = Cut(AT, "s/1", b"tx", parts, ["t9"], next_number=3000, parts_done=1)
    text = cut.encode(STREAM)
    assert len(text) <= MOST_BYTES
    read = Cut.decode(text, STREAM)
    assert (read.parts, read.tables, read.next_number) == ([], ["t0", "t1", "t2", "t9"], 3000)
    few = Cut(AT, "s/1", b"tx", parts[:100], ["t9"], next_number=3000, parts_done=1)
    assert Cut.decode(few.encode(STREAM), STREAM) == few


def test_what_is_none_is_refused() -> None:
    """Garbage, cut texts, other versions and other streams: ValueError, and nothing else."""
    good = Cut(AT, "s", b"t", [Part("a", 1, b"x")]).encode(STREAM)

    def packed(data: object) -> str:
        return base64.urlsafe_b64encode(zlib.compress(json.dumps(data).encode())).decode()

    data = json.loads(zlib.decompress(base64.urlsafe_b64decode(good)))
    wrong = ["", "é", "AAAA", good[:-8], packed([]), packed({}), packed({**data, "v": 2})]
    wrong += [packed({**data, name: None}) for name in ("at", "transaction", "parts", "tables", "next")]
    for text in wrong:
        with pytest.raises(ValueError, match=r"snapshot goes on|version"):
            Cut.decode(text, STREAM)
    with pytest.raises(OtherStream):
        Cut.decode(good, b"another stream..")
