"""What a consumer asks its relays for."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from spanwire._core import Timestamp
    from spanwire.consumer.facts import PartitionId


@dataclass(frozen=True, slots=True)
class AskHeads:
    """Have the relays tell the heads of all their flows."""

    id: int


@dataclass(frozen=True, slots=True)
class AskRepair:
    """Messages `first` to `last` of one flow, from the ring of the process that sent them."""

    id: int
    incarnation: int
    partition: PartitionId
    epoch: int
    topic: str
    first: int
    last: int


@dataclass(frozen=True, slots=True)
class AskReplay:
    """All changes after one timestamp up to another, both of the whole stream, read again from Spanner."""

    id: int
    after: Timestamp
    until: Timestamp


Ask = AskHeads | AskRepair | AskReplay
