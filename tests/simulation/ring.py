"""The core's byte-bounded ring as a model: what one output sent last, by flow and in order."""

from __future__ import annotations

from collections import deque

from simulation.changes import Message
from spanwire.consumer.facts import Tick

Item = Message | Tick
FlowName = tuple[bytes, int, str]
TICK_BYTES = 200


class Ring:
    """Messages and ticks of one output, the oldest overwritten where `limit` bytes are full."""

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.bytes = 0
        self.first = 0
        """The number of the oldest item that is still there."""
        self.items: deque[Item] = deque()
        self._flows: dict[FlowName, dict[int, Message]] = {}

    @property
    def end(self) -> int:
        """The number that the next item gets."""
        return self.first + len(self.items)

    def append(self, item: Item) -> None:
        """Hand over one item."""
        self.items.append(item)
        self.bytes += size_of(item)
        if isinstance(item, Message):
            self._flows.setdefault((item.partition, item.epoch, item.topic), {})[item.sequence] = item
        while self.bytes > self.limit and len(self.items) > 1:
            self._drop()

    def find(self, flow: FlowName, first: int, last: int) -> list[Message] | None:
        """Messages of one flow by sequence; None where any is gone."""
        known = self._flows.get(flow, {})
        found = [known.get(number) for number in range(first, last + 1)]
        return None if None in found else found  # type: ignore[return-value]

    def _drop(self) -> None:
        gone = self.items.popleft()
        self.first += 1
        self.bytes -= size_of(gone)
        if isinstance(gone, Message):
            flow = (gone.partition, gone.epoch, gone.topic)
            known = self._flows[flow]
            del known[gone.sequence]
            if not known:
                del self._flows[flow]


def size_of(item: Item) -> int:
    """Its bytes on the wire."""
    return item.size if isinstance(item, Message) else TICK_BYTES
