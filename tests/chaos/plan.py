"""One seed decides what a run does: the workload, who consumes it, and what goes wrong when."""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Literal

from chaos.points import POINTS

Kind = Literal["pub", "feed"]
Order = Literal["key", "transaction"]

PROCESS_BLOWS = ("relay_killed", "relay_stopped", "relay_paused", "consumer_killed", "consumer_paused")
LINK_BLOWS = ("link_cut", "link_slow", "link_silent", "link_silent_one_way")
SOURCE_FAULTS = (
    *("unavailable", "aborted", "resource_exhausted", "deadline_exceeded", "reset", "early_end"),
    *("session_lost", "late_heartbeat", "stale_heartbeat", "duplicate_children"),
)


@dataclass(frozen=True)
class ConsumerPlan:
    """One consumer, from its start to the end of the run; when it is killed it goes on from its cursor."""

    name: str
    kind: Kind
    order: Order = "key"
    tables: tuple[str, ...] | None = None
    begins_s: float = 0.0
    """It starts so late, and is owed everything all the same; 0: before anything is committed."""
    high_water_mark: int = 1000
    """Of its socket, in messages: what comes beyond is lost, and has to be repaired."""


@dataclass(frozen=True, order=True)
class Blow:
    """Something that goes wrong at one time, or from it on for a while."""

    at_s: float
    kind: str
    target: str
    """A relay's or a consumer's name."""
    for_s: float
    """How long until it is made good: a process started again, a link whole."""


@dataclass(frozen=True)
class Plan:
    """Everything about a run that is not left to the machine."""

    seed: int
    seconds: float
    dialect: str
    mode: str
    partitions: int
    churn: int
    """Changes between two splits, merges or moves, on average."""
    rate: float
    """Changes a second."""
    max_mods: int
    values: str
    high_water_mark: int
    batch_changes: int
    ring_bytes: int
    interval_ms: int
    consumers: tuple[ConsumerPlan, ...]
    blows: tuple[Blow, ...]
    points: tuple[tuple[str, int] | None, ...]
    """Where the relay's first, second, … process dies by itself, and at which passing; else None."""
    source_faults: dict[str, float] = field(default_factory=dict)
    """Kinds of the simulator's faults, and their probability before each message."""

    @property
    def changes(self) -> int:
        """So many are committed."""
        return max(1, round(self.rate * self.seconds))


def plan(seed: int, seconds: float) -> Plan:
    """What this seed does in so many seconds."""
    rng = random.Random(f"chaos/{seed}")
    consumers = tuple(_consumers(rng, seconds))
    return Plan(
        seed=seed,
        seconds=seconds,
        dialect=("googlesql", "postgresql")[seed % 2],
        mode=("immutable", "mutable")[seed // 2 % 2],
        partitions=rng.randint(2, 6),
        churn=rng.choice((100, 300, 800)),
        rate=rng.choice((200.0, 400.0, 800.0)),
        max_mods=rng.choice((3, 12, 40)),
        values=rng.choice(("typed", "json")),
        high_water_mark=rng.choice((5, 50, 100_000)),
        batch_changes=rng.choice((1, 20, 10_000)),
        ring_bytes=rng.choice((32 << 10, 256 << 10, 64 << 20)),
        interval_ms=rng.choice((50, 200, 1000)),
        consumers=consumers,
        blows=tuple(sorted(_blows(rng, seconds, consumers))),
        points=tuple(_point(rng) for _ in range(rng.randint(1, 4))),
        source_faults={
            kind: rng.choice((0.002, 0.01, 0.03)) for kind in rng.sample(SOURCE_FAULTS, rng.randint(2, 5))
        },
    )


def _point(rng: random.Random) -> tuple[str, int] | None:
    return None if rng.random() < 0.2 else (rng.choice(POINTS), rng.choice((1, 1, 2, 3, 5)))


def _consumers(rng: random.Random, seconds: float) -> Iterator[ConsumerPlan]:
    asked: list[tuple[Kind, Order]] = [("pub", "key"), ("pub", "transaction"), ("feed", "key")]
    for kind, order in asked:
        yield ConsumerPlan(f"{kind}-{order}", kind, order, high_water_mark=rng.choice((2, 20, 1000)))
    late = rng.choice(asked)
    # It joins while much goes on, and all of a topic lies behind it.
    yield ConsumerPlan("late", *late, begins_s=seconds * rng.uniform(0.3, 0.8))


def _blows(rng: random.Random, seconds: float, consumers: tuple[ConsumerPlan, ...]) -> Iterator[Blow]:
    at = rng.uniform(0.3, 1.0)
    while at < seconds:
        kind = rng.choice(PROCESS_BLOWS + LINK_BLOWS)
        consumer = rng.choice(consumers)
        target = "relay-1" if kind.startswith("relay") else consumer.name
        if target == "relay-1" or at > consumer.begins_s:
            yield Blow(
                round(at, 3), kind, target, round(rng.choice((0.05, 0.4, 1.5)) * rng.uniform(0.5, 1.5), 3)
            )
        at += rng.expovariate(1 / 0.7)
