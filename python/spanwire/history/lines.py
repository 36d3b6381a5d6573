"""The lines of a history: changes in their canonical form, and what else a consumer or a relay did.

Each line that is no change is an object with one member, which names it. Timestamps and versions are
their text, which sorts as they do.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Self

from spanwire.errors import Gap, SpanwireError

Order = Literal["key", "transaction"]
Transaction = tuple[str, str]
"""Commit timestamp and server transaction id."""


@dataclass(frozen=True, slots=True)
class Change:
    """One change, as far as judging needs it."""

    version: str
    table: str
    row: str
    """Its table and primary key."""
    digest: bytes
    """Of the whole content: two changes of one version must agree in everything."""

    @classmethod
    def of(cls, line: dict[str, Any]) -> Self:
        """From its canonical form. KeyError, TypeError where it is none."""
        text = json.dumps(line, sort_keys=True, ensure_ascii=False)
        return cls(
            line["version"],
            line["table"],
            json.dumps([line["table"], line["keys"]], sort_keys=True),
            hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=16).digest(),
        )


@dataclass(frozen=True, slots=True)
class Consumer:
    """What a consumer asked for: the first line of its history."""

    order: Order = "key"
    after: str | None = None
    """It is owed what was committed after this timestamp; None: everything."""
    tables: tuple[str, ...] | None = None
    """It is owed the changes of these tables; None: of all."""

    def line(self) -> str:
        """As a line of a history."""
        return json.dumps({"consumer": {"order": self.order, "after": self.after, "tables": self.tables}})

    def is_owed(self, version: str, table: str) -> bool:
        """Whether a change is one that it asked for."""
        wanted = self.tables is None or table in self.tables
        return wanted and (self.after is None or timestamp_of(version) > self.after)


@dataclass(frozen=True, slots=True)
class Watermark:
    """What a consumer holds: it has all changes up to here, or was told of their loss."""

    at: str

    def line(self) -> str:
        """As a line of a history."""
        return json.dumps({"watermark": self.at})


@dataclass(frozen=True, slots=True)
class Announced:
    """A loss that a consumer was told of."""

    after: str | None
    """All up to here had come, a version or a timestamp; None: nothing had."""
    before: str | None
    """The end of what is lost, a version or a timestamp; None: whatever was committed by then."""
    topic: str | None = None
    """Of this topic only."""

    @classmethod
    def of(cls, gap: Gap) -> Self:
        """From the error that told of it."""
        fields = gap.fields
        bounds = [fields.get("after"), fields.get("before") or fields.get("last")]
        after, before = (None if bound is None else str(bound) for bound in bounds)
        return cls(after, before, fields.get("topic"))

    def line(self) -> str:
        """As a line of a history."""
        return json.dumps({"gap": {"after": self.after, "before": self.before, "topic": self.topic}})

    def covers(self, version: str, table: str) -> bool:
        """Whether a change may be among what is lost. Of a timestamp shared with a bound it may be."""
        if self.topic is not None and f"/{table}/" not in f"/{self.topic}":
            return False
        at = timestamp_of(version)
        if self.after is not None:
            shared = "/" in self.after and at == timestamp_of(self.after) and version != self.after
            if at <= timestamp_of(self.after) and not shared:
                return False
        return self.before is None or at <= timestamp_of(self.before)


@dataclass(frozen=True, slots=True)
class Flow:
    """Where the message that the following changes are in belongs."""

    incarnation: int
    output: int
    partition: str
    """The 16-byte hash, in hexadecimal."""
    epoch: int
    topic: str
    sequence: int

    def line(self) -> str:
        """As a line of a history."""
        return json.dumps({"message": {name: getattr(self, name) for name in self.__slots__}})


@dataclass(frozen=True, slots=True)
class Positions:
    """What a tick told: how far partitions were, under which epoch."""

    incarnation: int
    positions: tuple[tuple[str, int, str], ...]
    """Partition, epoch, position."""

    def line(self) -> str:
        """As a line of a history."""
        return json.dumps({"tick": {"incarnation": self.incarnation, "positions": self.positions}})


Line = Change | Consumer | Watermark | Announced | Flow | Positions


def read(path: str | os.PathLike[str]) -> Iterator[Line]:
    """The lines of a history. SpanwireError names file and line where one is none."""
    try:
        with Path(path).open(encoding="utf-8") as lines:
            for number, line in enumerate(lines, start=1):
                try:
                    found = _parse(json.loads(line))
                except (ValueError, KeyError, TypeError, AttributeError):
                    raise SpanwireError(f"{path}:{number}: is not a line of a history") from None
                yield found
    except OSError as error:
        raise SpanwireError(f"{path}: cannot be read: {error.strerror}") from None


def _parse(line: dict[str, Any]) -> Line:
    match line:
        case {"consumer": asked}:
            return Consumer(asked["order"], asked["after"], _tables(asked["tables"]))
        case {"watermark": str(at)}:
            return Watermark(at)
        case {"gap": gap}:
            return Announced(gap["after"], gap["before"], gap["topic"])
        case {"message": flow}:
            return Flow(**flow)
        case {"tick": tick}:
            return Positions(tick["incarnation"], tuple((a, b, c) for a, b, c in tick["positions"]))
        case _:
            return Change.of(line)


def _tables(names: Sequence[str] | None) -> tuple[str, ...] | None:
    return None if names is None else tuple(names)


def timestamp_of(version: str) -> str:
    """The commit timestamp of a version; a timestamp is its own."""
    return version.split("/", 1)[0]


def transaction_of(version: str) -> Transaction:
    """The transaction that a change belongs to."""
    timestamp, rest = version.split("/", 1)
    return timestamp, rest.rsplit("/", 2)[0]


def order_of(version: str) -> tuple[str, str, int]:
    """What orders the changes of one row: no two transactions change a row at one timestamp."""
    timestamp, rest = version.split("/", 1)
    _, sequence, number = rest.rsplit("/", 2)
    return timestamp, sequence, int(number)
