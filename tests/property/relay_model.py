"""A relay and a lossy network as a model: what is sent, in which flows and ticks, and what arrives."""

from __future__ import annotations

import random
from dataclasses import dataclass, field

from spanwire._core import Timestamp
from spanwire.consumer.facts import Head, Tick, Told


def at(time: int) -> Timestamp:
    """A model time as a timestamp."""
    return Timestamp(time)


ROUND = 4  # ticks in which every head is told at least once; ended partitions stay for twice that


@dataclass(frozen=True)
class Sent:
    """One message. It carries one change, named by its time."""

    incarnation: int
    topic: str
    partition: bytes
    epoch: int
    sequence: int
    time: int

    @property
    def first(self) -> Timestamp:
        """The change's version, as far as the model needs it."""
        return at(self.time)

    last = first

    @property
    def flow(self) -> tuple[int, str, bytes, int]:
        """Which flow it belongs to."""
        return self.incarnation, self.topic, self.partition, self.epoch


@dataclass
class _Live:
    epoch: int
    starts_at: int
    parents: tuple[bytes, ...] = ()


@dataclass
class _Sender:
    """What one sender tells in its ticks, as the core's does."""

    ticks: int = 0
    sent: dict[tuple[str, bytes, int], int] = field(default_factory=dict)
    told: dict[tuple[str, bytes, int], int] = field(default_factory=dict)
    partitions: dict[bytes, Told] = field(default_factory=dict)
    over: dict[bytes, int] = field(default_factory=dict)


class RelayModel:
    """Partitions that split, restarts, several senders; `wire` is what went out, per sender in order."""

    def __init__(self, rng: random.Random, topics: list[str], senders: int) -> None:
        self.rng, self.topics = rng, topics
        self.clock, self.epoch, self.incarnation, self.names = 1, 0, 0, 0
        self.changes: list[tuple[int, str, bytes]] = []
        self.wire: list[Sent | Tick] = []
        self.senders = [_Sender() for _ in range(senders)]
        self.live: dict[bytes, _Live] = {}
        self.stored: dict[bytes, int] = {}
        self.ancestors: dict[bytes, frozenset[bytes]] = {}
        for _ in range(2):
            self._start(self._name(), 1)

    def _name(self) -> bytes:
        self.names += 1
        return b"p%d" % self.names

    def _start(self, partition: bytes, starts_at: int, parents: tuple[bytes, ...] = ()) -> None:
        self.epoch += 1
        self.live[partition] = _Live(self.epoch, starts_at, parents)
        self.stored.setdefault(partition, starts_at)
        above = (self.ancestors[parent] for parent in parents)
        self.ancestors[partition] = frozenset((partition,)).union(*above)
        for sender in self.senders:
            sender.partitions[partition] = Told(partition, self.epoch, at(starts_at), None, "live", parents)

    def sender_of(self, topic: str) -> int:
        """Which sender a topic goes through."""
        return self.topics.index(topic) % len(self.senders)

    def _send(self, topic: str, partition: bytes, time: int) -> None:
        sender = self.senders[self.sender_of(topic)]
        key = (topic, partition, self.live[partition].epoch)
        sequence = sender.sent.get(key, 0)
        sender.sent[key] = sequence + 1
        self.wire.append(Sent(self.incarnation, topic, partition, key[2], sequence, time))

    def change(self) -> None:
        """Commit a change and send it."""
        topic, partition = self.rng.choice(self.topics), self.rng.choice(sorted(self.live))
        self.clock += 1
        self.changes.append((self.clock, topic, partition))
        self._send(topic, partition, self.clock)

    def change_everywhere(self) -> None:
        """A change on each topic of each partition."""
        for partition in sorted(self.live):
            for topic in self.topics:
                self.clock += 1
                self.changes.append((self.clock, topic, partition))
                self._send(topic, partition, self.clock)

    def store(self) -> None:
        """Store all positions."""
        self.stored.update(dict.fromkeys(self.live, self.clock))

    def split(self) -> None:
        """End a partition in one child or two."""
        partition = self.rng.choice(sorted(self.live))
        gone = self.live.pop(partition)
        children = tuple(self._name() for _ in range(self.rng.choice((1, 2))))
        for sender in self.senders:
            sender.partitions[partition] = Told(
                partition, gone.epoch, at(gone.starts_at), at(self.clock), "ended", gone.parents, children
            )
        for child in children:
            self._start(child, self.clock, (partition,))

    def spawn(self) -> None:
        """A partition of a mutable stream names another one, and lives on."""
        self._start(self._name(), self.clock, (self.rng.choice(sorted(self.live)),))

    def retire(self) -> None:
        """A partition of a mutable stream ends: its key ranges have moved to others."""
        if len(self.live) < 2:
            return
        partition = self.rng.choice(sorted(self.live))
        gone = self.live.pop(partition)
        for sender in self.senders:
            sender.partitions[partition] = Told(
                partition, gone.epoch, at(gone.starts_at), at(self.clock), "ended", gone.parents
            )

    def own_again(self) -> None:
        """The reader failed: the same process opens the partition under a new epoch."""
        partition = self.rng.choice(sorted(self.live))
        self._reopen(partition, self.stored[partition])

    def restart(self) -> None:
        """Killed and started again: another incarnation goes on from the store."""
        self.incarnation += 1
        self.senders = [_Sender() for _ in self.senders]
        for partition in sorted(self.live):
            self._reopen(partition, self.stored[partition])

    def _reopen(self, partition: bytes, stored: int) -> None:
        self._start(partition, stored, self.live[partition].parents)
        for time, topic, where in self.changes:
            if where == partition and time > stored:
                self._send(topic, partition, time)

    def names_of(self, incarnation: int) -> list[bytes]:
        """The senders of an incarnation, as their ticks name them."""
        return [b"%d/%d" % (incarnation, number) for number in range(len(self.senders))]

    def tick_next(self) -> None:
        """The senders tick at the same pace, though not in the same order."""
        least = min(sender.ticks for sender in self.senders)
        self.tick(self.rng.choice([n for n, sender in enumerate(self.senders) if sender.ticks == least]))

    def tick(self, number: int) -> None:
        """Send a tick of one sender."""
        sender = self.senders[number]
        heads = tuple(
            Head(topic, partition, epoch, sender.told.get((topic, partition, epoch), 0), count)
            for (topic, partition, epoch), count in sender.sent.items()
            if count > sender.told.get((topic, partition, epoch), 0)
            or (sender.ticks + epoch + self.topics.index(topic)) % ROUND == 0
        )
        sender.told = dict(sender.sent)
        now = at(self.clock)
        partitions = tuple(
            Told(
                told.id,
                told.epoch,
                told.starts_at,
                told.position or now,
                told.state,
                told.parents,
                told.children,
            )
            for told in sender.partitions.values()
        )
        name = self.names_of(self.incarnation)[number]
        self.wire.append(
            Tick(self.incarnation, name, sender.ticks, len(self.senders), 1000, partitions, heads)
        )
        sender.ticks += 1
        for told in partitions:
            if told.state != "live":
                sender.over[told.id] = sender.over.get(told.id, 0) + 1
        gone = {one for one, times in sender.over.items() if times >= 2 * ROUND}
        sender.partitions = {one: told for one, told in sender.partitions.items() if one not in gone}
        sender.sent = {key: count for key, count in sender.sent.items() if key[1] not in gone}
        sender.told = {key: count for key, count in sender.told.items() if key[1] not in gone}
