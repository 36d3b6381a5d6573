"""Ticks as the consumer's plain facts."""

from __future__ import annotations

from typing import TYPE_CHECKING

from simulation.changes import stamp
from spanwire.consumer.facts import Head, Tick, Told

if TYPE_CHECKING:
    from simulation import sender as senders
    from spanwire._core import Timestamp


def make_head(topic: str, partition: bytes, epoch: int, head: senders.Head) -> Head:
    """What a tick says of one flow."""
    return Head(topic, partition, epoch, head.told, head.sent, head.last)  # type: ignore[arg-type]


def make_told(id: bytes, progress: senders.Progress, early: int) -> Told:
    """What a tick says of one partition. `early`: how far too far, where that is a planted bug."""
    position = progress.position
    return Told(
        id=id,
        epoch=progress.partition.epoch,
        starts_at=stamp(progress.partition.start),
        position=None if position is None else stamp(position + early),
        state=progress.state,  # type: ignore[arg-type]
        parents=progress.partition.parents,
        children=progress.children,
        stage=progress.stage,
        moves=tuple(progress.moves),
    )


def make_tick(
    sender: senders.Sender,
    told: tuple[Told, ...],
    heads: tuple[Head, ...],
    *,
    complete: bool,
    newest: Timestamp | None,
) -> Tick:
    """One tick."""
    core = sender.lane.core
    generation, relays = core.members()
    return Tick(
        incarnation=core.incarnation,
        sender=sender.name,
        sequence=sender.sequence,
        senders=len(sender.lane.senders),
        interval_ms=core.rules.tick_ms,
        partitions=told,
        heads=heads,
        complete=complete,
        newest=newest,
        generation=generation,
        relays=relays,
    )
