"""The text of a cursor: a mark with the version of the format, then base64 of what is described below.

    cursor    = length body checksum             length of the body; CRC-32 of mark, length and body, 4 bytes
    body      = stream strings output*           each list behind its length
    stream    = text of 0 or 16 bytes
    output    = number flags watermark? last? partition*
    last      = moment identity
    partition = hash (16 bytes) lane*
    lane      = topic moment record*
    record    = transaction shared sequence run*
    run       = first length                     mods first, first + 1, ...

Numbers are varints (LEB128); a text is its length and UTF-8. `topic` and `transaction` are places in
`strings`. A moment is nanoseconds after the watermark of its output, or after 1970 where there is none,
zigzag. Records are sorted, and each says how many characters of its sequence it shares with the one
before: at one timestamp they differ in the last few.
"""

from __future__ import annotations

import base64
import binascii
import zlib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from itertools import groupby
from typing import TypeVar

from spanwire._core import Timestamp
from spanwire.consumer.reached import Frontier, Identity, Lane, Reached, Version
from spanwire.errors import ConfigError, FormatError
from spanwire.timestamps import nanoseconds

_MARK = "spanwire-cursor-"
_FORMAT = 1
_WATERMARK, _LAST = 1, 2
_NANOS = 1_000_000_000
_MOST_DIGITS = 11
"""Bytes of a varint: 2^76 nanoseconds are more than 10,000 years."""
_MOST_CHANGES = 1 << 23
"""Changes at the frontiers of one cursor; a Spanner transaction has at most 80,000 mutations."""
T = TypeVar("T")


def encode(outputs: Mapping[int, Reached], stream: bytes) -> str:
    """The text of a cursor; equal cursors have the same."""
    head = f"{_MARK}{_FORMAT}."
    body = _Writer().cursor(outputs, stream)
    sealed = _varint(len(body)) + body
    sealed += zlib.crc32(head.encode() + sealed).to_bytes(4, "big")
    return head + base64.urlsafe_b64encode(sealed).decode().rstrip("=")


def decode(text: str) -> tuple[dict[int, Reached], bytes]:
    """What `encode` was given. ConfigError and FormatError as `Cursor.decode` says."""
    text = text.strip()
    if not text.startswith(_MARK):
        raise ConfigError(f'not a cursor: it must begin with "{_MARK}", as Subscriber.cursor wrote it')
    number, dot, rest = text.removeprefix(_MARK).partition(".")
    if not dot:
        raise FormatError("the cursor was cut off: only its beginning is there; store it whole")
    if number != str(_FORMAT):
        if number.isascii() and number.isdigit() and int(number[:9]) > _FORMAT:
            raise FormatError(
                f"the cursor is of a newer version of spanwire (format {number[:9]}, this one reads up to "
                f"{_FORMAT}): upgrade this consumer"
            )
        raise FormatError("the cursor was changed: its format's number is none")
    return _Reader(_unsealed(f"{_MARK}{_FORMAT}.", rest)).cursor()


def _unsealed(head: str, rest: str) -> bytes:
    """The body, once length and checksum are right."""
    cut = FormatError("the cursor was cut off: store it whole")
    try:
        # One character too many holds six bits of a byte that is not there.
        whole = rest[: len(rest) - 1] if len(rest) % 4 == 1 else rest
        sealed = base64.b64decode(whole + "=" * (-len(whole) % 4), altchars=b"-_", validate=True)
    except (binascii.Error, ValueError):
        raise FormatError("the cursor was changed: a character in it is not of a cursor") from None
    reader = _Reader(sealed)
    try:
        length = reader.number()
    except FormatError:
        raise cut from None
    end = reader.at + length
    if len(sealed) < end + 4:
        raise cut
    body, seal = sealed[reader.at : end], sealed[end:]
    same = base64.urlsafe_b64encode(sealed).decode().rstrip("=") == rest  # no bits beside the bytes
    if not same or seal != zlib.crc32(head.encode() + sealed[:end]).to_bytes(4, "big"):
        raise FormatError("the cursor was changed: its checksum is wrong; use it as it was written")
    return body


def _varint(number: int) -> bytes:
    digits = bytearray()
    while number > 0x7F:
        digits.append(number & 0x7F | 0x80)
        number >>= 7
    digits.append(number)
    return bytes(digits)


def _runs(numbers: Iterable[int]) -> list[tuple[int, int]]:
    """Rising numbers as runs: first and length of each."""
    found: list[tuple[int, int]] = []
    for number in numbers:
        if found and number == sum(found[-1]):
            found[-1] = (found[-1][0], found[-1][1] + 1)
        else:
            found.append((number, 1))
    return found


@dataclass(slots=True)
class _Writer:
    """Builds a body. `base`: nanoseconds that moments are counted from."""

    strings: dict[str, int] = field(default_factory=dict)
    base: int = 0

    def cursor(self, outputs: Mapping[int, Reached], stream: bytes) -> bytes:
        written = self._list(sorted(outputs.items()), self._output)  # which finds the strings
        return self._bytes(stream) + self._list(list(self.strings), self._text) + written

    def _list(self, items: list[T], one: Callable[[T], bytes]) -> bytes:
        return _varint(len(items)) + b"".join([one(item) for item in items])

    def _bytes(self, data: bytes) -> bytes:
        return _varint(len(data)) + data

    def _text(self, text: str) -> bytes:
        return self._bytes(text.encode())

    def _string(self, text: str) -> bytes:
        return _varint(self.strings.setdefault(text, len(self.strings)))

    def _moment(self, timestamp: Timestamp) -> bytes:
        after = nanoseconds(timestamp) - self.base
        return _varint(after << 1 if after >= 0 else -after << 1 | 1)

    def _output(self, item: tuple[int, Reached]) -> bytes:
        number, reached = item
        self.base = 0
        flags = _WATERMARK * (reached.watermark is not None) | _LAST * (reached.last is not None)
        written = _varint(number) + _varint(flags)
        if reached.watermark is not None:
            written += self._moment(reached.watermark)
            self.base = nanoseconds(reached.watermark)
        if reached.last is not None:
            moment, transaction, sequence, mod = reached.last
            written += self._moment(moment) + self._records([(transaction, sequence, mod)])
        lanes = sorted(reached.ahead.items())
        partitions = [(hash_, list(group)) for hash_, group in groupby(lanes, lambda item: item[0][0])]
        return written + self._list(partitions, self._partition)

    def _partition(self, item: tuple[bytes, list[tuple[Lane, Frontier]]]) -> bytes:
        hash_, lanes = item
        if len(hash_) != 16:
            raise ValueError(f"a partition's hash has 16 bytes, not {len(hash_)}")
        return hash_ + self._list(lanes, self._lane)

    def _lane(self, item: tuple[Lane, Frontier]) -> bytes:
        (_, topic), (moment, identities) = item
        return self._string(topic) + self._moment(moment) + self._records(identities)

    def _records(self, identities: list[Identity]) -> bytes:
        records = [
            (record, _runs(number for _, _, number in group))
            for record, group in groupby(sorted(set(identities)), lambda identity: identity[:2])
        ]
        written, before = bytearray(_varint(len(records))), ""
        for (transaction, sequence), runs in records:
            shared = 0
            while shared < min(len(before), len(sequence)) and before[shared] == sequence[shared]:
                shared += 1
            before = sequence
            written += self._string(transaction) + _varint(shared) + self._text(sequence[shared:])
            written += self._list(runs, lambda run: _varint(run[0]) + _varint(run[1]))
        return bytes(written)


class _Reader:
    """Reads a body. Whatever the bytes are, it ends, in bounded memory: with FormatError or a cursor."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._strings: list[str] = []
        self._base = 0
        self._changes = 0
        self.at = 0

    def cursor(self) -> tuple[dict[int, Reached], bytes]:
        try:
            stream = self._take(self.number())
            self._strings = self._list(self._text)
            outputs = dict(self._list(self._output))
        except (ValueError, IndexError, OverflowError):
            raise self._malformed() from None
        if self.at != len(self._data) or len(stream) not in (0, 16):
            raise self._malformed()
        return outputs, stream

    def number(self) -> int:
        number = 0
        for digit in range(_MOST_DIGITS):
            [byte] = self._take(1)
            number |= (byte & 0x7F) << 7 * digit
            if byte < 0x80:
                return number
        raise self._malformed()

    @staticmethod
    def _malformed() -> FormatError:
        return FormatError("the cursor holds what no version of spanwire writes")

    def _take(self, size: int) -> bytes:
        if size > len(self._data) - self.at:
            raise self._malformed()
        self.at += size
        return self._data[self.at - size : self.at]

    def _list(self, one: Callable[[], T]) -> list[T]:
        return [one() for _ in range(self.number())]  # each takes a byte at least

    def _text(self) -> str:
        return self._take(self.number()).decode()

    def _moment(self) -> Timestamp:
        number = self.number()
        nanos = self._base + (-(number >> 1) if number & 1 else number >> 1)
        return Timestamp(nanos // _NANOS, nanos % _NANOS)

    def _output(self) -> tuple[int, Reached]:
        number, flags = self.number(), self.number()
        self._base = 0
        watermark = last = None
        if flags & _WATERMARK:
            watermark = self._moment()
            self._base = nanoseconds(watermark)
        if flags & _LAST:
            moment = self._moment()
            [identity] = self._records()
            last = Version(moment, *identity)
        if flags & ~(_WATERMARK | _LAST):
            raise self._malformed()
        frontiers = {lane: frontier for lanes in self._list(self._partition) for lane, frontier in lanes}
        return number, Reached(watermark, frontiers, last)

    def _partition(self) -> list[tuple[Lane, Frontier]]:
        hash_ = self._take(16)
        return self._list(lambda: self._lane(hash_))

    def _lane(self, hash_: bytes) -> tuple[Lane, Frontier]:
        topic = self._strings[self.number()]
        return (hash_, topic), (self._moment(), self._records())

    def _records(self) -> list[Identity]:
        identities: list[Identity] = []
        sequence = ""
        for _ in range(self.number()):
            transaction = self._strings[self.number()]
            sequence = sequence[: self.number()] + self._text()
            for first, length in self._list(lambda: (self.number(), self.number())):
                self._changes += length
                if self._changes > _MOST_CHANGES:
                    raise self._malformed()
                identities += [(transaction, sequence, first + place) for place in range(length)]
        return identities
