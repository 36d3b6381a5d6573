"""A subscriber put together from the parts of the library: stands in until it has one of its own."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable
from typing import Any

import zmq

from spanwire._core import Change, Message, Timestamp
from spanwire.consumer.cursor import Cursor, Reached
from spanwire.consumer.facts import Tick
from spanwire.consumer.follower import AskHeads, AskRepair, Follower
from spanwire.consumer.link import Answer, Link
from spanwire.errors import Gap, RefusedError

OUTPUTS = {"pub": 0, "feed": 1}


class Subscriber:
    def __init__(
        self,
        endpoint: str,
        topics: list[str],
        *,
        kind: str,
        replay: str,
        start: str,
        order: str,
        on_gap: Callable[[Gap], None],
        receive_high_water_mark: int,
    ) -> None:
        self._kind, self._topics, self._on_gap = kind, topics, on_gap
        self._output = OUTPUTS[kind]
        try:
            reached = Reached(Timestamp.parse(start))
        except ValueError:
            reached = Cursor.decode(start).of(self._output)
        self._follower = Follower(topics, start=reached)
        self._order = None
        if order == "transaction":
            from spanwire.consumer.transactions import TransactionOrder

            self._order = TransactionOrder(
                watermark=reached.watermark, last=reached.last, whole=topics == [""]
            )
        self._link = Link(replay)
        self._asked: dict[int, Any] = {}
        self._feed: Link | None = None
        self._fed: int | None = None
        self._socket: Any = None
        if kind == "feed":
            self._feed = Link(endpoint)
        else:
            self._socket = zmq.Context.instance().socket(zmq.SUB)
            self._socket.linger = 0
            self._socket.rcvhwm = receive_high_water_mark
            self._socket.reconnect_ivl = 100
            self._socket.connect(endpoint)
            for topic in topics:
                self._socket.subscribe(topic)

    def __enter__(self) -> Subscriber:
        return self

    def __exit__(self, *_: object) -> None:
        self._link.close()
        if self._feed is not None:
            self._feed.close()
        if self._socket is not None:
            self._socket.close()

    @property
    def watermark(self) -> Timestamp | None:
        if self._order is not None:
            return self._order.watermark
        return self._follower.watermark

    @property
    def cursor(self) -> Cursor:
        reached = self._follower.reached()
        if self._order is not None:
            reached = Reached(self._order.watermark)
        return Cursor({self._output: reached})

    def wait_joined(self, timeout: float) -> bool:
        deadline = time.monotonic() + timeout
        while not self._follower.joined and time.monotonic() < deadline:
            self._turn(0.1)
        return self._follower.joined

    def receive(self, timeout: float) -> list[Change]:
        deadline = time.monotonic() + timeout
        while True:
            if found := self._next():
                return found
            left = deadline - time.monotonic()
            if left <= 0:
                return []
            self._turn(left)

    def _next(self) -> list[Change]:
        now = time.monotonic()
        follower = self._follower
        follower.settle()
        if self._order is not None:
            found: list[Change] = []
            for transaction in self._order.advance(follower.watermark, now):
                assert not transaction.torn, f"{transaction.commit_timestamp}/{transaction.id} is torn"
                found += transaction.changes
            if found:
                return found
        while (item := follower.next()) is not None:
            if isinstance(item, Gap):
                self._on_gap(item)
                continue
            fresh = follower.fresh(item)
            if self._order is not None:
                self._order.push(fresh, now, 0)
            elif fresh:
                return fresh
        return []

    def _turn(self, timeout: float) -> None:
        now = time.monotonic()
        poller = zmq.Poller()
        poller.register(self._link.socket, zmq.POLLIN)
        if self._feed is not None:
            poller.register(self._feed.socket, zmq.POLLIN)
        elif not self._follower.waits_for_answer:
            poller.register(self._socket, zmq.POLLIN)
        for id in self._link.look_around(now):
            if (ask := self._asked.pop(id, None)) is not None:
                self._follower.lost(ask.id, now)
        if self._feed is not None:
            if self._fed in self._feed.look_around(now):
                self._fed = None
            if self._fed is None:
                self._fed = self._feed.ask("feed", output=self._output, topics=self._topics)
        self._follower.time(now)
        for ask in self._follower.requests(now):
            self._ask(ask)
        poller.poll(min(timeout, 0.2) * 1000)
        if self._socket is not None and not self._follower.waits_for_answer:
            with contextlib.suppress(zmq.Again):
                for _ in range(64):
                    self._take(self._socket.recv_multipart(zmq.NOBLOCK), now)
        if self._feed is not None:
            for answer in self._feed.take():
                if answer.frames is not None:
                    self._take(answer.frames, now)
                    self._feed.grant(answer.id, answer.size)
                elif answer.kind in ("done", "refused"):
                    self._fed = None
        for answer in self._link.take():
            self._answer(answer, now)

    def _ask(self, ask: Any) -> None:
        if isinstance(ask, AskHeads):
            self._link.ask("heads", output=self._output)
        elif isinstance(ask, AskRepair):
            id = self._link.ask(
                "repair", output=self._output, topics=[ask.topic], incarnation=ask.incarnation,
                partition=ask.partition, epoch=ask.epoch, first=ask.first, last=ask.last,
            )  # fmt: skip
            self._asked[id] = ask
        else:
            id = self._link.ask(
                "replay", output=self._output, topics=self._topics, after=ask.after, until=ask.until
            )
            self._asked[id] = ask

    def _answer(self, answer: Answer, now: float) -> None:
        ask = self._asked.get(answer.id)
        if answer.kind in ("done", "refused"):
            self._asked.pop(answer.id, None)
        if ask is None:
            return
        if answer.frames is not None:
            message = Message.decode(answer.frames)
            self._follower.repaired(ask.id, message, answer.size)
            self._link.grant(answer.id, answer.size)
        elif answer.kind == "progress":
            self._follower.progress(ask.id, answer.fields["position"])
        elif answer.kind == "done":
            self._follower.done(ask.id, now)
        elif answer.kind == "refused":
            self._follower.refused(
                ask.id, answer.fields["reason"], answer.fields["oldest"], answer.fields["text"], now
            )

    def _take(self, frames: list[bytes], now: float) -> None:
        message = Message.decode(frames)
        if message.kind == "tick":
            self._follower.tick(Tick.of(message, message.tick()), now)
        elif message.kind in ("changes", "deadLetter"):
            self._follower.message(message, now, sum(map(len, frames)))


__all__ = ["RefusedError", "Subscriber"]
