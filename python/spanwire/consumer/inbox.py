"""From the frames of a socket to changes and gaps. No I/O: the sync and the asyncio way share it."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from typing import Any

from spanwire._core import Change, Message, Timestamp, Window
from spanwire.consumer.facts import Tick
from spanwire.consumer.flows import Flows
from spanwire.errors import Gap

Item = list[Change] | Gap


class Inbox:
    """What has arrived and has not been handed over yet, in order."""

    def __init__(self, topics: Sequence[str], on_dead_letter: Callable[[dict[str, Any]], None]) -> None:
        self._on_dead_letter = on_dead_letter
        self._flows = Flows(topics)
        self._windows: dict[bytes, dict[str, Window]] = {}
        self._items: deque[Item] = deque()
        self.interval_s = 1.0
        """Between two ticks, as the relay last said."""

    @property
    def watermark(self) -> Timestamp | None:
        """All changes up to here have arrived, or their loss was announced; it never goes back."""
        return self._flows.watermark

    @property
    def baselines(self) -> int:
        """Senders whose first tick has come."""
        return self._flows.baselines

    def take(self, frames: list[bytes]) -> bool:
        """Take one message; whether it was a tick. FormatError where it is not one of ours."""
        message = Message.decode(frames)
        if message.kind == "tick":
            self._tick(message)
            return True
        if message.kind in ("changes", "deadLetter"):
            self._message(message)
        return False

    def next(self) -> Item | None:
        """The next changes or gap; None where there is none."""
        return self._items.popleft() if self._items else None

    def _tick(self, message: Message) -> None:
        body = message.tick()
        self.interval_s = body["interval_ms"] / 1000
        self._items += [one.error() for one in self._flows.tick(Tick.of(message, body))]
        for partition in self._flows.forget():
            self._windows.pop(partition, None)

    def _message(self, message: Message) -> None:
        verdict = self._flows.message(message)
        self._items += [one.error() for one in verdict.missing]
        if not verdict.new:
            return
        if message.kind == "deadLetter":
            self._on_dead_letter(message.dead_letter())
            return
        windows = self._windows.setdefault(message.partition, {})
        window = windows.get(message.topic)
        if window is None:
            window = windows[message.topic] = Window()
        if fresh := window.admit(message.changes()):
            self._items.append(fresh)
