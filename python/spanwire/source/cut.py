"""How far a snapshot is, as one opaque text with which a cut-off one goes on: small, and bounded."""

from __future__ import annotations

import base64
import binascii
import json
import zlib
from dataclasses import dataclass, field

from spanwire._core import Timestamp

MOST_BYTES = 48 << 10
"""A request takes 64 KiB. Where the tokens of all parts take more, tables are named in their place: those
that were not finished are read again."""
_MOST_UNPACKED = 16 << 20
_VERSION = 1


@dataclass(frozen=True, slots=True)
class Part:
    """One part of a table: it is read by one query."""

    table: str
    number: int
    """Unique in the snapshot."""
    token: bytes
    """Spanner's partition token."""


@dataclass
class Cut:
    """How far a snapshot is: what another needs to go on with it."""

    at: Timestamp
    session: str = ""
    transaction: bytes = b""
    parts: list[Part] = field(default_factory=list)
    """What is not finished, where Spanner's tokens for it are known."""
    tables: list[str] = field(default_factory=list)
    """Tables that are to be parted, anew or for the first time."""
    next_number: int = 0
    parts_done: int = 0
    rows: int = 0
    """Rows of the parts that are done."""

    @property
    def parts_total(self) -> int:
        """As far as the tables are parted."""
        return self.parts_done + len(self.parts)

    def encode(self, stream: bytes) -> str:
        """The text. `stream`: which stream it is of, 16 bytes."""
        for parts in (self.parts, []):
            tables = [part.table for part in self.parts] if not parts else []
            data = {
                "v": _VERSION,
                "stream": stream.hex(),
                "at": str(self.at),
                "session": self.session,
                "transaction": _text(self.transaction),
                "parts": [[part.table, part.number, _text(part.token)] for part in parts],
                "tables": sorted({*self.tables, *tables}),
                "next": self.next_number,
                "done": self.parts_done,
                "rows": self.rows,
            }
            packed = zlib.compress(json.dumps(data, separators=(",", ":")).encode())
            text = base64.urlsafe_b64encode(packed).decode()
            if len(text) <= MOST_BYTES:
                break
        return text

    @classmethod
    def decode(cls, text: str, stream: bytes) -> Cut:
        """Read the text; ValueError where it is none, and OtherStream where it is of another stream."""
        try:
            inflate = zlib.decompressobj()
            unpacked = inflate.decompress(base64.urlsafe_b64decode(text.encode()), _MOST_UNPACKED)
            data = json.loads(unpacked)
            cut = cls(
                at=Timestamp.parse(data["at"]),
                session=str(data["session"]),
                transaction=base64.b64decode(data["transaction"]),
                parts=[
                    Part(str(table), int(number), base64.b64decode(token))
                    for table, number, token in data["parts"]
                ],
                tables=[str(table) for table in data["tables"]],
                next_number=int(data["next"]),
                parts_done=int(data["done"]),
                rows=int(data["rows"]),
            )
            version, of = data["v"], data["stream"]
        except (ValueError, KeyError, TypeError, AttributeError, zlib.error, binascii.Error):
            raise ValueError("it is no text with which a snapshot goes on") from None
        if version != _VERSION:
            raise ValueError(f"it is of version {version}, and this relay knows {_VERSION}")
        if of != stream.hex():
            raise OtherStream("it is of a snapshot of another stream")
        return cut


class OtherStream(ValueError):
    """A snapshot of another stream."""


def _text(data: bytes) -> str:
    return base64.b64encode(data).decode()
