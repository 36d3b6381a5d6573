"""A consumer that trusts a perfect network: what the model is tested with before the real one is judged."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from typing import Any

from simulation.changes import Change, Message
from simulation.window import Window
from spanwire._core import Timestamp
from spanwire.consumer.facts import Tick, Told
from spanwire.consumer.reached import Reached
from spanwire.timestamps import just_before


class StandIn:
    """Hands over what comes, once; its watermark is the least position of all partitions that live."""

    def __init__(self, topics: Sequence[str], **ignored: Any) -> None:
        del ignored
        self.topics = tuple(topics)
        self.watermark: Timestamp | None = None
        self.bytes_held = 0
        self._waiting: deque[Message | Timestamp] = deque()
        self._windows: dict[tuple[bytes, str], Window] = {}
        self._told: dict[bytes, dict[bytes, Told]] = {}
        self._senders: set[bytes] = set()

    def message(self, message: Message, now: float, size: int = 0) -> None:
        """Take a message."""
        del now, size
        self._waiting.append(message)

    def tick(self, tick: Tick, now: float) -> None:
        """Take a tick."""
        del now
        self._senders.add(tick.sender)
        for told in tick.partitions:
            self._told.setdefault(told.id, {})[tick.sender] = told
        if len(self._senders) < tick.senders:
            return
        least: Timestamp | None = None
        for by_sender in self._told.values():
            if len(by_sender) < tick.senders:
                return
            for told in by_sender.values():
                if told.state == "ended" and all(child in self._told for child in told.children):
                    continue
                if told.position is None:
                    return
                # A child may have changes at its parent's very end.
                position = just_before(told.position) if told.state == "ended" else told.position
                least = position if least is None else min(least, position)
        if least is not None:
            self._waiting.append(least)

    def time(self, now: float) -> None:
        """It waits for nothing."""

    def settle(self) -> None:
        """Its watermark is right already."""

    def reached(self) -> Reached:
        """It is never asked to go on from there."""
        return Reached(self.watermark)

    def requests(self, now: float) -> list[Any]:
        """It asks for nothing."""
        del now
        return []

    def next(self) -> Message | None:
        """The next message."""
        while self._waiting:
            item = self._waiting.popleft()
            if isinstance(item, Message):
                return item
            if self.watermark is None or item > self.watermark:
                self.watermark = item
        return None

    def fresh(self, message: Message) -> list[Change]:
        """What was not handed over before."""
        window = self._windows.setdefault((message.partition, message.topic), Window())
        return window.admit(message.changes())
