"""From the frames of a socket to messages and gaps. No I/O: the sync and the asyncio way share it."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence

from spanwire._core import Change, Message, Timestamp, Window
from spanwire.consumer.facts import Tick
from spanwire.consumer.flows import Flows
from spanwire.errors import Gap

Item = Message | Gap


class Inbox:
    """What has arrived and has not been handed over yet, in order."""

    def __init__(self, topics: Sequence[str]) -> None:
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
            verdict = self._flows.message(message)
            self._items += [one.error() for one in verdict.missing]
            if verdict.new:
                self._items.append(message)
        return False

    def next(self) -> Item | None:
        """The next message or gap; None where there is none."""
        return self._items.popleft() if self._items else None

    def fresh(self, message: Message) -> list[Change]:
        """Its changes that were not handed over before; they count as handed over now."""
        windows = self._windows.setdefault(message.partition, {})
        window = windows.get(message.topic)
        if window is None:
            window = windows[message.topic] = Window()
        return window.admit(message.changes())

    def _tick(self, message: Message) -> None:
        body = message.tick()
        self.interval_s = body["interval_ms"] / 1000
        self._items += [one.error() for one in self._flows.tick(Tick.of(message, body))]
        for partition in self._flows.forget():
            self._windows.pop(partition, None)
