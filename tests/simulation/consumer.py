"""A consumer as a model: its sockets, its own data with the cursor in it, and the real state machine.

What it was given is stored together with the cursor, so a kill takes both back to the last time that they
were stored: the effect is to be exactly once.
"""

from __future__ import annotations

import random
from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

from simulation.changes import Change, Message
from simulation.clock import MS, SECOND, Clock, Process, between
from simulation.gaps import covers
from simulation.ring import size_of
from simulation.service import Reply, Request
from simulation.spanner import Spanner
from simulation.window import Window
from spanwire._core import Timestamp
from spanwire.consumer.asks import AskHeads, AskRepair, AskReplay
from spanwire.consumer.facts import Tick
from spanwire.consumer.reached import Reached
from spanwire.consumer.transactions import TransactionOrder
from spanwire.errors import Gap

WINDOW_BYTES = 4_000
SILENCE = 2 * SECOND
"""An exchange without a word for so long is taken for lost."""


@dataclass
class Habits:
    """How one consumer behaves."""

    topics: tuple[str, ...]
    kind: str = "pub"
    output: int = 0
    order: str = "key"
    pace: int = 1 * MS
    high_water_mark: int = 200
    store_every: int = 100 * MS
    can_ask: bool = True
    start: int | None = None
    """The instant to start from; None: now."""


@dataclass
class Kept:
    """What a consumer has stored: all of it in one transaction."""

    changes: list[Change] = field(default_factory=list)
    gaps: list[tuple[Gap, int]] = field(default_factory=list)
    """Each with the oldest instant that could be read when it was announced."""
    cursor: Reached | None = None
    since: Timestamp | None = None
    """Everything later is owed; None until it has joined, where it starts from now."""

    def copy(self) -> Kept:
        """As it stands."""
        return Kept(list(self.changes), list(self.gaps), self.cursor, self.since)


@dataclass
class Asked:
    """An exchange that is open."""

    host: int
    request: Request
    ask: Any
    heard_at: int
    credit: int
    taken: int = 0


class Consumer:
    """One consumer, over all its lives."""

    def __init__(
        self,
        clock: Clock,
        seed: int,
        name: str,
        habits: Habits,
        make: Callable[..., Any],
        spanner: Spanner,
    ) -> None:
        self.clock, self.name, self.habits, self.make, self.spanner = clock, name, habits, make, spanner
        self.rng = random.Random(seed)
        self.kept = Kept()
        if habits.start is not None:
            start = Timestamp(habits.start)
            self.kept.cursor, self.kept.since = Reached(start), start
        self.life: Life | None = None
        self.most_held = 0
        self.problems: list[str] = []
        self.asks: dict[str, int] = {}
        self.find_host: Callable[[Any], int | None] = lambda ask: None
        self.send: Callable[[int, Request], bool] = lambda host, request: False
        """To a host's request socket; whether it is connected."""
        self.hosts: Callable[[], Iterable[int]] = lambda: ()

    def begin(self) -> None:
        """Start, from what is kept."""
        self.life = Life(self)

    def kill(self) -> None:
        """As kill -9: what was not stored is gone."""
        if self.life is not None:
            self.life.kill()
            self.life = None
            if not self.habits.can_ask:
                self.kept = Kept()  # a cursor is worth nothing where nobody answers

    def room(self) -> int:
        """How much its sockets still take."""
        return 0 if self.life is None else self.habits.high_water_mark - len(self.life.inbox)

    def deliver(self, item: Any) -> None:
        """Something has arrived from the network."""
        if self.life is not None:
            self.life.arrive(item)

    def lose(self, host: int) -> None:
        """The connection to a host has broken."""
        if self.life is not None:
            self.life.lose(host)

    @property
    def watermark(self) -> Timestamp | None:
        """How far it is."""
        return None if self.life is None else self.life.follower.watermark


class Life(Process):
    """One process of a consumer."""

    def __init__(self, owner: Consumer) -> None:
        super().__init__(owner.clock)
        self.owner, self.habits, self.rng = owner, owner.habits, owner.rng
        self.kept = owner.kept.copy()
        self.inbox: deque[Any] = deque()
        start = self.kept.cursor
        self.follower = owner.make(
            self.habits.topics,
            start=start,
            can_ask=self.habits.can_ask,
            window=Window,
            restore=Window.restore,
        )
        self.order: TransactionOrder | None = None
        if self.habits.order == "transaction":
            whole = self.habits.topics == ("",)
            self.order = TransactionOrder(
                watermark=None if start is None else start.watermark,
                last=None if start is None else start.last,
                whole=whole and self.kept.since is not None,
            )
        self.seen = self.follower.watermark
        self.ids = 0
        self.asked: dict[int, Asked] = {}
        self._working = False
        self.later(between(self.rng, 1, 50 * MS), self._timer)
        self.later(between(self.rng, 1, self.habits.store_every), self._store_regularly)

    @property
    def now(self) -> float:
        """Seconds."""
        return self.clock.now / SECOND

    def arrive(self, item: Any) -> None:
        """Into the inbox, to be looked at."""
        self.inbox.append(item)
        if not self._working:
            self._working = True
            self.later(between(self.rng, 10, self.habits.pace), self._work)

    def lose(self, host: int) -> None:
        """What was asked there is not answered any more."""
        for id, asked in list(self.asked.items()):
            if asked.host == host:
                self._lose(id)

    def _work(self) -> None:
        self._working = False
        for _ in range(self.rng.choice((1, 5, 50))):
            if not self.inbox:
                break
            self._take(self.inbox.popleft())
        self._hand_on()
        if self.inbox:
            self._working = True
            self.later(between(self.rng, 10, self.habits.pace), self._work)

    def _timer(self) -> None:
        for id, asked in list(self.asked.items()):
            if self.clock.now - asked.heard_at > SILENCE and asked.request.kind != "feed":
                self._lose(id)
        self.follower.time(self.now)
        if self.habits.kind == "feed":
            self._ask_feeds()
        self._hand_on()
        self.later(200 * MS, self._timer)

    def _take(self, item: Any) -> None:
        if isinstance(item, Tick):
            self.follower.tick(item, self.now)
        elif isinstance(item, Message):
            self.follower.message(item, self.now, item.size)
        else:
            self._answer(item)
        held = self.follower.bytes_held
        self.owner.most_held = max(self.owner.most_held, held)
        if held < 0:
            self.owner.problems.append(f"bytes_held is {held}")

    # -------------------------------------------------------------- asking

    def _ask_feeds(self) -> None:
        fed = {asked.host for asked in self.asked.values() if asked.request.kind == "feed"}
        for host in self.owner.hosts():
            if host not in fed:
                self._send(host, None, kind="feed", topics=self.habits.topics)

    def _ask(self) -> None:
        for ask in self.follower.requests(self.now):
            kind = type(ask).__name__
            self.owner.asks[kind] = self.owner.asks.get(kind, 0) + 1
            if isinstance(ask, AskHeads):
                for host in self.owner.hosts():
                    self._send(host, None, kind="heads")
                continue
            host = self.owner.find_host(ask)
            if host is None:
                # A dealer would queue it until it finds out that nobody is there.
                self.later(300 * MS, lambda ask=ask: self.follower.lost(ask.id, self.now))  # type: ignore[misc]
            elif isinstance(ask, AskRepair):
                self._send(
                    host, ask, kind="repair", topics=(ask.topic,), incarnation=ask.incarnation,
                    partition=ask.partition, epoch=ask.epoch, first=ask.first, last=ask.last,
                )  # fmt: skip
            elif isinstance(ask, AskReplay):
                self._send(
                    host, ask, kind="replay", topics=self.habits.topics, after=ask.after, until=ask.until
                )

    def _send(self, host: int, ask: Any, **fields: Any) -> None:
        self.ids += 1
        request = Request(id=self.ids, credit=WINDOW_BYTES, output=self.habits.output, **fields)
        if self.owner.send(host, request):
            self.asked[self.ids] = Asked(host, request, ask, self.clock.now, WINDOW_BYTES)
        elif ask is not None:
            self.later(300 * MS, lambda: self.follower.lost(ask.id, self.now))

    def _answer(self, reply: Reply) -> None:
        asked = self.asked.get(reply.id)
        if asked is None:
            return
        asked.heard_at = self.clock.now
        if reply.message is not None:
            self._grant(asked, size_of(reply.message))
        if asked.request.kind == "feed":
            if reply.message is not None:
                self._take(reply.message)
            return
        if reply.kind in ("done", "refused"):
            del self.asked[reply.id]
        if asked.ask is None:
            return
        id = asked.ask.id
        if isinstance(reply.message, Message):
            self.follower.repaired(id, reply.message, reply.message.size)
        elif reply.kind == "progress":
            self.follower.progress(id, reply.position)
        elif reply.kind == "done":
            self.follower.done(id, self.now)
        elif reply.kind == "refused":
            self.follower.refused(id, reply.reason, reply.oldest, "", self.now)

    def _grant(self, asked: Asked, size: int) -> None:
        asked.taken += size
        if asked.taken + WINDOW_BYTES > asked.credit + WINDOW_BYTES // 2:
            asked.credit = asked.taken + WINDOW_BYTES
            self.owner.send(asked.host, Request("credit", asked.request.id, credit=asked.credit))

    def _lose(self, id: int) -> None:
        asked = self.asked.pop(id)
        self.owner.send(asked.host, Request("cancel", id))
        if asked.ask is not None:
            self.follower.lost(asked.ask.id, self.now)

    # -------------------------------------------------------------- what is handed on

    def _hand_on(self) -> None:
        follower, order = self.follower, self.order
        while (item := follower.next()) is not None:
            if isinstance(item, Gap):
                self.kept.gaps.append((item, self.owner.spanner.oldest))
                continue
            fresh = follower.fresh(item)
            if order is None:
                self._check_new(fresh)
                self.kept.changes += fresh
            else:
                order.push(fresh, self.now, item.size)
        before = follower.watermark
        follower.settle()
        self._check_watermark(before)
        if order is not None:
            for transaction in order.advance(follower.watermark, self.now):
                self.kept.changes += transaction.changes
                if transaction.torn and not self.kept.gaps:
                    self.owner.problems.append(f"transaction {transaction.id} is torn")
        self._ask()

    def _check_new(self, fresh: list[Change]) -> None:
        mark = self.follower.watermark
        if mark is not None and any(change.commit_timestamp <= mark for change in fresh):
            since = self.kept.since
            late = [one for one in fresh if since is not None and since < one.commit_timestamp <= mark]
            late = [one for one in late if not any(covers(gap, one) for gap, _ in self.kept.gaps)]
            if late:
                self.owner.problems.append(f"new at or below the watermark {mark.seconds}: {late}")

    def _check_watermark(self, before: Timestamp | None) -> None:
        after = self.follower.watermark
        if before is not None and (after is None or after < before):
            self.owner.problems.append(f"the watermark went back from {before} to {after}")
        if self.kept.since is None and self.follower.joined:
            self.kept.since = after or Timestamp(self.owner.spanner.instant)

    def _store_regularly(self) -> None:
        self.store()
        self.later(self.habits.store_every, self._store_regularly)

    def store(self) -> None:
        """Data and cursor, in one transaction."""
        if self.follower.watermark is not None:
            if self.order is None:
                self.kept.cursor = self.follower.reached()
            else:
                self.kept.cursor = Reached(self.follower.watermark)
            self.owner.kept = self.kept.copy()
