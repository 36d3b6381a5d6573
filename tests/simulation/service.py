"""What a relay answers: heads, repair, replay, and the live feed; each peer under its own credit."""

from __future__ import annotations

import random
from dataclasses import dataclass, field
from typing import Any

from simulation.changes import Message, stamp
from simulation.clock import MS, SECOND, between
from simulation.network import Channel
from simulation.relay import Relay
from simulation.reread import Reread
from simulation.ring import Item, size_of
from simulation.spanner import Expired
from spanwire._core import Timestamp

MOST_REPLAYS = 4


@dataclass(frozen=True)
class Request:
    """What a peer asks; the fields that its kind has."""

    kind: str
    id: int
    credit: int = 0
    output: int = 0
    topics: tuple[str, ...] = ()
    incarnation: int = 0
    partition: bytes = b""
    epoch: int = 0
    first: int = 0
    last: int = 0
    after: Timestamp | None = None
    until: Timestamp | None = None


@dataclass(frozen=True)
class Reply:
    """What a relay answers."""

    kind: str
    """message, progress, done, refused."""
    id: int
    message: Item | None = None
    position: Timestamp | None = None
    reason: str = ""
    oldest: Timestamp | None = None


@dataclass
class Exchange:
    """One request that is being answered."""

    channel: Channel
    request: Request
    credit: int
    sent: int = 0
    over: bool = False

    def answer(self, kind: str, **fields: Any) -> None:
        """Say something."""
        if not self.over:
            self.channel.replies.send(Reply(kind, self.request.id, **fields))
            self.over = kind in ("done", "refused")

    def give(self, item: Item) -> None:
        """Send a message."""
        self.sent += size_of(item)
        self.answer("message", message=item)

    @property
    def may_send(self) -> bool:
        """Whether the peer takes more now."""
        return self.sent < self.credit


@dataclass
class Service:
    """The sockets of one relay process that requests come to."""

    relay: Relay
    exchanges: dict[tuple[int, int], Exchange] = field(default_factory=dict)
    replays: int = 0

    @property
    def rng(self) -> random.Random:
        """The relay's."""
        return self.relay.rng

    def take(self, channel: Channel, request: Request) -> None:
        """A request has come in."""
        self.relay.later(between(self.rng, 10, MS), lambda: self._deal(channel, request))

    def drop(self, channel: Channel) -> None:
        """A peer has gone."""
        for key, exchange in list(self.exchanges.items()):
            if exchange.channel is channel:
                exchange.over = True
                del self.exchanges[key]

    def _deal(self, channel: Channel, request: Request) -> None:
        key = (id(channel), request.id)
        if request.kind == "credit":
            if (known := self.exchanges.get(key)) is not None:
                known.credit = max(known.credit, request.credit)
            return
        if request.kind == "cancel":
            if (known := self.exchanges.pop(key, None)) is not None:
                known.over = True
            return
        exchange = self.exchanges[key] = Exchange(channel, request, request.credit)
        getattr(self, f"_{request.kind}")(exchange)

    def _heads(self, exchange: Exchange) -> None:
        self.relay.core.tell(exchange.request.output)
        exchange.answer("done")

    def _repair(self, exchange: Exchange) -> None:
        asked = exchange.request
        found = None
        if asked.incarnation in (0, self.relay.core.incarnation):
            ring = self.relay.core.lanes[asked.output].ring
            found = ring.find((asked.partition, asked.epoch, asked.topics[0]), asked.first, asked.last)
        if found is None:
            exchange.answer("refused", reason="gone", oldest=stamp(self.relay.spanner.oldest))
            return
        self._give_some(exchange, found)

    def _give_some(self, exchange: Exchange, left: list[Message]) -> None:
        while left and exchange.may_send:
            exchange.give(left.pop(0))
        if not left:
            exchange.answer("done")
        elif not exchange.over:
            self.relay.later(5 * MS, lambda: self._give_some(exchange, left))

    def _replay(self, exchange: Exchange) -> None:
        asked, spanner = exchange.request, self.relay.spanner
        assert asked.after is not None and asked.until is not None
        if asked.until.seconds >= spanner.instant + 2 * SECOND:
            exchange.answer("refused", reason="future")
        elif asked.until.seconds >= spanner.instant:
            self.relay.later(MS, lambda: self._replay(exchange))
        elif self.replays >= MOST_REPLAYS:
            exchange.answer("refused", reason="busy")
        else:
            try:
                # Everything happens at whole seconds of the model: a fraction is just before the next one.
                after, until = asked.after.seconds, asked.until.seconds
                reread = Reread(spanner, self.rng, after, until, asked.topics)
            except Expired:
                exchange.answer("refused", reason="gone", oldest=stamp(spanner.oldest))
                return
            self.replays += 1
            self._replay_some(exchange, reread)

    def _replay_some(self, exchange: Exchange, reread: Reread) -> None:
        if exchange.over:
            self.replays -= 1
            return
        try:
            while exchange.may_send and not reread.over:
                messages = reread.step()
                for message in messages:
                    exchange.give(message)
                if self.rng.random() < 0.2:
                    exchange.answer("progress", position=stamp(reread.progress()))
                if self.rng.random() < 0.3:
                    break
        except Expired:
            exchange.answer("refused", reason="gone", oldest=stamp(reread.spanner.oldest))
        if reread.over:
            exchange.answer("progress", position=exchange.request.until)
            exchange.answer("done")
        self.relay.later(between(self.rng, 100, 5 * MS), lambda: self._replay_some(exchange, reread))

    def _feed(self, exchange: Exchange) -> None:
        lane = self.relay.core.lanes[exchange.request.output]
        place = lane.ring.end
        topics = exchange.request.topics
        planned = False

        def pump() -> None:
            nonlocal place, planned
            planned = False
            place = max(place, lane.ring.first)  # what fell off before it was read is missed
            while not exchange.over and exchange.may_send and place < lane.ring.end:
                item = lane.ring.items[place - lane.ring.first]
                place += 1
                if not isinstance(item, Message) or item.topic.startswith(topics):
                    exchange.give(item)
            if exchange.over:
                lane.followers.remove(plan)
            elif place < lane.ring.end:
                plan(5 * MS)

        def plan(delay: int = 0) -> None:
            nonlocal planned
            if not planned:
                planned = True
                self.relay.later(delay or between(self.rng, 10, MS), pump)

        lane.followers.append(plan)
        plan()
