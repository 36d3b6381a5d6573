"""From the frames of a socket to messages and gaps. No I/O: the sync and the asyncio way share it."""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field

from spanwire._core import Change, Message, Timestamp, Window
from spanwire.consumer.facts import Tick
from spanwire.consumer.letters import concerns
from spanwire.consumer.outputs import Outputs, Place
from spanwire.errors import Gap

_log = logging.getLogger("spanwire.consumer")
Item = Message | Gap


@dataclass(slots=True)
class Mark:
    """What a tick tells, in the place where it came: it holds once all before it is handed over."""

    watermark: Timestamp | None
    forgotten: list[Place] = field(default_factory=list)
    """Partitions of which nothing comes any more."""


class Inbox:
    """What has arrived and has not been handed over yet, in order."""

    def __init__(self, topics: Sequence[str], dead: Sequence[str] = ()) -> None:
        """`topics`: those followed. `dead`: where the dead letters beside them are."""
        self._topics = tuple(topics)
        self._outputs = Outputs([*topics, *dead])
        self._windows: dict[Place, dict[str, Window]] = {}
        self._said_clashes: set[Place] = set()
        self._items: deque[Item | Mark] = deque()
        self._passed: Timestamp | None = None  # the watermark once all that `next` gave is handed over
        self.watermark: Timestamp | None = None
        """All changes up to here were handed over, or their loss was; it never goes back."""
        self.interval_s = 1.0
        """Between two ticks, as the relay last said."""

    @property
    def baselines(self) -> int:
        """Senders whose first tick has come."""
        return self._outputs.baselines

    def take(self, frames: list[bytes]) -> bool:
        """Take one message; whether it was a tick. FormatError where it is not one of ours."""
        message = Message.decode(frames)
        if message.kind == "tick":
            self._tick(message)
            return True
        if message.kind in ("changes", "deadLetter"):
            verdict = self._outputs.of(message.output).message(message)
            self._items += [one.error(message.output) for one in verdict.missing]
            if verdict.new and self._is_wanted(message):
                self._items.append(message)
        return False

    def next(self) -> Item | None:
        """The next message or gap; None where there is none."""
        self._pass_marks()
        item = self._items.popleft() if self._items else None
        return None if isinstance(item, Mark) else item

    def settle(self) -> None:
        """Raise the watermark: all that `next` gave was handed over."""
        self._pass_marks()
        self.watermark = self._passed

    def clear(self) -> None:
        """Drop what waits. The watermark stays where it is."""
        self._items.clear()
        self._passed = self.watermark

    def fresh(self, message: Message) -> list[Change]:
        """Its changes that were not handed over before; they count as handed over now."""
        windows = self._windows.setdefault((message.output, message.partition), {})
        window = windows.get(message.topic)
        if window is None:
            window = windows[message.topic] = Window()
        return window.admit(message.changes())

    def _is_wanted(self, message: Message) -> bool:
        """Dead letters of all tables share a topic: of other tables they concern nobody here."""
        return message.kind != "deadLetter" or concerns(
            message.topic, message.dead_letter()["table"], self._topics
        )

    def _tick(self, message: Message) -> None:
        body = message.tick()
        self.interval_s = body["interval_ms"] / 1000
        missing = self._outputs.of(message.output).tick(Tick.of(message, body))
        self._items += [one.error(message.output) for one in missing]
        self._tell_clashes()
        forgotten = self._outputs.forget()
        if self._items and isinstance(mark := self._items[-1], Mark):  # ticks alone must not pile up
            mark.watermark = self._outputs.watermark
            mark.forgotten += forgotten
        else:
            self._items.append(Mark(self._outputs.watermark, forgotten))

    def _tell_clashes(self) -> None:
        """Log once where epochs did not rise: such a process cannot be told from one out of date."""
        for place, epoch in self._outputs.clashes.items():
            if place not in self._said_clashes:
                self._said_clashes.add(place)
                _log.warning(
                    "two relay processes own partition %s under epoch %d: losses of the later one are not "
                    "told and the watermark stays behind; epochs must rise, across restarts too",
                    place[1].hex(),
                    epoch,
                )

    def _pass_marks(self) -> None:
        while self._items and isinstance(mark := self._items[0], Mark):
            self._items.popleft()
            self._passed = mark.watermark
            for place in mark.forgotten:
                self._windows.pop(place, None)
