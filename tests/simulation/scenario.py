"""What one seed decides before anything runs: the stream, the relays, the consumers, the faults."""

from __future__ import annotations

import random
from dataclasses import dataclass, field

from simulation import consumer, relay
from simulation.changes import TOPICS
from simulation.clock import MS, SECOND
from simulation.core import Rules

FAULTS = (
    "kill", "kill", "kill", "stop", "pause", "take over", "hand over", "cut", "cut", "weather", "weather",
    "kill consumer", "slow consumer",
)  # fmt: skip


@dataclass
class Scenario:
    """One run."""

    seed: int
    mutable: bool = False
    partitions: int = 2
    retention: int | None = None
    hosts: int = 1
    shares: bool = False
    """Two relays own partitions side by side; else a second host is only there to take over."""
    senders: int = 1
    commits_every: int = 20 * MS
    churn_every: int = 400 * MS
    lasts: int = 4 * SECOND
    rules: Rules = field(default_factory=Rules)
    habits: relay.Habits = field(default_factory=relay.Habits)
    consumers: list[tuple[int, consumer.Habits]] = field(default_factory=list)
    """When each begins, and how it behaves."""
    faults: list[tuple[int, str]] = field(default_factory=list)


def scenario_of(seed: int) -> Scenario:
    """The scenario of a seed."""
    rng = random.Random(seed)
    made = Scenario(seed)
    made.mutable = rng.random() < 0.45
    made.partitions = rng.choice((1, 2, 3))
    made.retention = rng.choice((500, 1000, 2000)) * MS if rng.random() < 0.15 else None
    made.shares = rng.random() < 0.35
    made.hosts = 2 if made.shares or rng.random() < 0.5 else 1
    made.senders = rng.choice((1, 1, 2))
    made.commits_every = rng.choice((10, 25, 60)) * MS
    made.churn_every = rng.choice((80, 200, 500, 10_000)) * MS
    made.lasts = rng.randint(500, 2000) * MS
    made.rules = Rules(
        tick_ms=rng.choice((100, 250, 500)),
        batch=rng.choice((1, 3, 8)),
        busy=rng.choice((0.0, 0.05, 0.4)),
        complete_up_to=rng.choice((256, 256, 2)),
        ring_bytes=rng.choice((600, 3_000, 60_000)),
    )
    made.habits = relay.Habits(
        store_every=rng.choice((50, 200, 700)) * MS,
        heartbeat_every=rng.choice((50, 100, 300)) * MS,
        breaks=rng.choice((0.0, 0.02, 0.1)),
        stalls=rng.choice((0.0, 0.01, 0.04)),
    )
    feeds = rng.random() < 0.4
    for _ in range(rng.choice((1, 1, 2))):
        made.consumers.append(_consumer(rng, made, feeds))
    quiet = rng.random() < 0.05
    for _ in range(0 if quiet else rng.choice((1, 2, 4, 6))):
        made.faults.append((rng.randint(100 * MS, made.lasts), rng.choice(FAULTS)))
    return made


def _consumer(rng: random.Random, made: Scenario, feeds: bool) -> tuple[int, consumer.Habits]:
    fed = feeds and rng.random() < 0.5
    begins = rng.choice((0, 0, rng.randint(0, made.lasts)))
    habits = consumer.Habits(
        topics=rng.choice((("",), ("",), TOPICS[:1], TOPICS[1:], ("db/s/c/",))),
        kind="feed" if fed else "pub",
        output=1 if fed else 0,
        order=rng.choice(("key", "key", "transaction")),
        pace=rng.choice((MS, MS, 20 * MS, 100 * MS)),
        high_water_mark=rng.choice((10, 50, 1000)),
        store_every=rng.choice((50, 300)) * MS,
        can_ask=fed or rng.random() < 0.9,
    )
    if habits.can_ask and rng.random() < 0.3:
        habits.start = rng.randint(0, 2 * begins)
    return begins, habits
