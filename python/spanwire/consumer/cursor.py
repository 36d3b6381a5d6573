"""`Cursor`: what a consumer keeps to go on from. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from spanwire.consumer import cursor_text
from spanwire.consumer.reached import Frontier, Identity, Lane, Reached, Version
from spanwire.errors import ConfigError

if TYPE_CHECKING:
    from spanwire._core import Timestamp

__all__ = ["Cursor", "Frontier", "Identity", "Lane", "Reached", "Version"]


@dataclass(frozen=True, slots=True)
class Cursor:
    """What was handed over, by output of the relay: to go on from, at whichever relay of the stream.

    Stored in the transaction that applies the changes, it makes their effect exactly once. Its size is
    bounded by what is ahead of the watermark: per partition and topic one commit timestamp, and a few bytes
    for each record at it.
    """

    outputs: Mapping[int, Reached] = field(default_factory=dict)
    """By the output's place in the relay's configuration, from 0."""
    stream: bytes = b""
    """First 16 bytes of SHA-256 of the stream's resource path; empty where it is not known."""

    @classmethod
    def at(cls, timestamp: Timestamp) -> Cursor:
        """Of all changes up to a timestamp, as a snapshot of that timestamp has them."""
        return cls({0: Reached(timestamp)})

    @property
    def watermark(self) -> Timestamp | None:
        """All changes up to here were handed over, whichever the output; None where that is not known."""
        marks = [reached.watermark for reached in self.outputs.values()]
        known = [mark for mark in marks if mark is not None]
        return min(known) if known and len(known) == len(marks) else None

    def of(self, output: int) -> Reached:
        """How far one output is; of one that the cursor does not know, as far as all others."""
        return self.outputs.get(output, Reached(self.watermark))

    def expect(self, stream: bytes) -> None:
        """ConfigError where this cursor is known to be of another stream."""
        if self.stream and stream and self.stream != stream:
            raise ConfigError(
                f"the cursor is of another change stream ({self.stream.hex()}) than the relay's "
                f"({stream.hex()}): start from a timestamp or a snapshot, or connect to the relay it is from",
                stream=self.stream,
            )

    @classmethod
    def merged(cls, cursors: Iterable[Cursor]) -> Cursor:
        """The cursors of several outputs in one. ConfigError where they are of different streams.

        Of an output that several name, the later cursor counts.
        """
        outputs: dict[int, Reached] = {}
        merged = cls()
        for cursor in cursors:
            merged.expect(cursor.stream)
            outputs |= cursor.outputs
            merged = cls(outputs, merged.stream or cursor.stream)
        return merged

    def encode(self) -> str:
        """As text that fits into URLs, the same for equal cursors."""
        return cursor_text.encode(self.outputs, self.stream)

    @classmethod
    def decode(cls, text: str, stream: bytes = b"") -> Cursor:
        """From text that this version or an older one wrote.

        ConfigError where it is not a cursor or known to be of another stream than `stream`; FormatError
        where it was cut off or changed, or written by a version too new.
        """
        cursor = cls(*cursor_text.decode(text))
        cursor.expect(stream)
        return cursor
