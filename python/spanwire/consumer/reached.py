"""How far the changes of one output were handed over, as plain data."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple

from spanwire._core import Timestamp
from spanwire.timestamps import just_before

if TYPE_CHECKING:
    from spanwire._core import RecordVersion

Identity = tuple[str, str, int]
"""Of a change at one commit timestamp: transaction, record sequence, mod number."""
Frontier = tuple[Timestamp, list[Identity]]
"""As `_core.Window.state()`: the newest commit timestamp handed over, and which changes at it."""
Lane = tuple[bytes, str]
"""The 16-byte hash of a partition, and a topic: what one window keeps apart."""


class Version(NamedTuple):
    """A record version as plain data, in the order of `RecordVersion`."""

    commit_timestamp: Timestamp
    transaction: str
    sequence: str
    number: int

    @classmethod
    def of(cls, version: RecordVersion | Version) -> Version:
        """The same version."""
        return cls(version.commit_timestamp, version.transaction, version.sequence, version.number)

    @classmethod
    def parse(cls, text: str) -> Version:
        """From what `str` of it or of a `RecordVersion` gives. ValueError for any other text."""
        moment, _, identity = text.partition("/")
        transaction, sequence, number = identity.rsplit("/", 2)  # a transaction's id may have slashes
        return cls(Timestamp.parse(moment), transaction, sequence, int(number))

    def __str__(self) -> str:
        """As `RecordVersion` is written."""
        return f"{self.commit_timestamp}/{self.transaction}/{self.sequence}/{self.number}"


@dataclass(frozen=True, slots=True)
class Reached:
    """How far the changes of one output were handed over: nothing beyond what is named here was."""

    watermark: Timestamp | None = None
    """All changes up to here were."""
    frontiers: Mapping[Lane, Frontier] = field(default_factory=dict)
    """In key order: of the lanes that are ahead of the watermark, how far."""
    last: Version | None = None
    """In transaction order: all changes up to and including this one were."""

    @classmethod
    def up_to(cls, last: RecordVersion | Version) -> Reached:
        """In transaction order, in the middle of a commit timestamp: a re-read begins just before it."""
        version = Version.of(last)
        return cls(just_before(version.commit_timestamp), {}, version)

    @property
    def ahead(self) -> dict[Lane, Frontier]:
        """The frontiers that say more than the watermark does."""
        return {
            lane: frontier
            for lane, frontier in self.frontiers.items()
            if self.watermark is None or frontier[0] > self.watermark
        }
