"""What a consumer learns from messages and ticks, as plain data, and what it concludes is missing."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, Protocol

from spanwire._core import Timestamp
from spanwire.errors import Gap
from spanwire.timestamps import EARLIEST
from spanwire.words import counted

if TYPE_CHECKING:
    from spanwire._core import RecordVersion

PartitionId = bytes
"""The 16-byte hash that names a partition on the wire."""

TICK_LEVEL = "_tick/"
DEAD_LEVEL = "_dead/"


class Arrival(Protocol):
    """What the following of flows needs to know of a message; `_core.Message` has it."""

    @property
    def incarnation(self) -> int:
        """The relay process that sent it."""

    @property
    def topic(self) -> str:
        """Where it was published."""

    @property
    def partition(self) -> PartitionId:
        """The partition its changes come from."""

    @property
    def epoch(self) -> int:
        """The ownership it was read under."""

    @property
    def sequence(self) -> int:
        """Its place in its flow."""

    @property
    def stage(self) -> int:
        """How many moves its partition had passed under this ownership."""

    @property
    def first(self) -> RecordVersion | None:
        """The oldest change in it."""

    @property
    def last(self) -> RecordVersion | None:
        """The newest change in it."""

    def changes(self) -> list[Any]:
        """What it holds, decoded."""


@dataclass(frozen=True, slots=True)
class Head:
    """Of one flow: messages `since` to `next` - 1 were sent between two ticks."""

    topic: str
    partition: PartitionId
    epoch: int
    since: int
    next: int
    last: RecordVersion | None = None
    """The newest change in them."""


@dataclass(frozen=True, slots=True)
class Told:
    """What a tick says about one partition."""

    id: PartitionId
    epoch: int
    starts_at: Timestamp
    position: Timestamp | None
    state: Literal["live", "ended", "released"] = "live"
    parents: tuple[PartitionId, ...] = ()
    children: tuple[PartitionId, ...] = ()
    stage: int = 0
    """How many moves it has passed: messages of a later stage follow."""
    moves: tuple[Move, ...] = ()
    """Into it."""


@dataclass(frozen=True, slots=True)
class Move:
    """Key ranges came from `source`: its changes up to `at` come before what follows."""

    at: Timestamp
    source: PartitionId


@dataclass(frozen=True, slots=True)
class Relay:
    """A relay process that owns partitions of the stream."""

    incarnation: int
    replay: tuple[str, ...] = ()
    """Where it answers requests."""


@dataclass(frozen=True, slots=True)
class Tick:
    """One tick of one sender of one relay process."""

    incarnation: int
    sender: bytes
    sequence: int
    senders: int
    interval_ms: int
    partitions: tuple[Told, ...]
    heads: tuple[Head, ...]
    complete: bool = False
    """It tells the heads of all flows of its sender, not only of those that moved since the last one."""
    newest: Timestamp | None = None
    """No change that was sent before it is newer."""
    generation: int = 0
    """Of the membership."""
    relays: tuple[Relay, ...] = ()
    """Its members."""

    @classmethod
    def of(cls, header: Arrival, body: dict[str, Any]) -> Tick:
        """From a message of kind tick: its header and `_core.Message.tick()`."""
        return cls(
            incarnation=header.incarnation,
            sender=header.partition,
            sequence=header.sequence,
            senders=max(1, body["senders"]),
            interval_ms=body["interval_ms"],
            partitions=tuple(
                Told(
                    id=one["id"],
                    epoch=one["epoch"],
                    starts_at=one["starts_at"] or EARLIEST,
                    position=one["position"],
                    state=one["state"],
                    parents=tuple(one["parents"]),
                    children=tuple(one["children"]),
                    stage=one.get("stage", 0),
                    moves=tuple(Move(move["at"], move["source"]) for move in one["moves"]),
                )
                for one in body["partitions"]
            ),
            heads=tuple(
                Head(one["topic"], one["partition"], one["epoch"], one["since"], one["next"], one["last"])
                for one in body["flows"]
            ),
            complete=body.get("complete", False),
            newest=body.get("newest"),
            generation=body["membership_generation"],
            relays=tuple(
                Relay(relay["incarnation"], tuple(relay.get("replay", ()))) for relay in body["relays"]
            ),
        )


@dataclass(frozen=True, slots=True)
class Missing:
    """Something that was sent, or may have been, and did not arrive."""

    incarnation: int
    topic: str | None
    """None: any of the topics subscribed to."""
    partition: PartitionId
    epoch: int
    sequences: tuple[int, int] | None
    """First and last message that is missing; None where only versions bound the gap."""
    after: RecordVersion | Timestamp | None
    """Everything up to here has arrived; None where nothing has."""
    before: RecordVersion | Timestamp | None
    """Everything from here on is not part of the gap; None where nothing has come since."""
    last: RecordVersion | None = None
    """The newest change that is missing, where a tick told it."""
    certain: bool = True
    """False where ticks were lost too: then something may be missing, and cannot be told from nothing."""

    def error(self, output: int = 0) -> Gap:
        """As the error a consumer is given; `output`: the relay's output that it was sent through."""
        topic = "any subscribed topic" if self.topic is None else self.topic
        what = "messages" if self.certain else "messages may be missing:"
        if self.sequences is not None:
            first, last = self.sequences
            numbers = f"{first}" if first == last else f"{first} to {last}"
            missing = f"{counted(last - first + 1, 'message')} missing ({numbers})"
            what = missing if self.certain else f"{what} {numbers}"
        after = "the beginning" if self.after is None else self.after
        before = f"before {self.before}"
        if self.before is None:
            before = "up to now" if self.last is None else f"up to {self.last}"
        return Gap(
            f"{what} of {topic}, partition {self.partition.hex()}, epoch {self.epoch}: "
            f"after {after}, {before}; read the rows again from Spanner",
            topic=self.topic,
            partition=self.partition,
            epoch=self.epoch,
            incarnation=self.incarnation,
            output=output,
            sequences=self.sequences,
            after=self.after,
            before=self.before,
            last=self.last,
            certain=self.certain,
        )


def side_topics(topics: Sequence[str], level: str) -> list[str]:
    """Where the ticks or dead letters beside these are published; none where a subscription covers them.

    `level`: `TICK_LEVEL` for what is on "{database}/{stream}/_tick/", `DEAD_LEVEL` likewise. A
    subscription that ends before or with its second level is a beginning of that name already.
    """
    found: dict[str, None] = {}
    for topic in topics:
        database, stream, rest = ([*topic.split("/", 2), "", ""])[:3]
        own = f"{database}/{stream}/{level}"
        if topic.count("/") >= 2 and rest and not own.startswith(topic):
            found[own] = None
    return [one for one in found if not any(one.startswith(topic) for topic in topics)]
