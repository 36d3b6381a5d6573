"""What one consumer follows, by output: no output of a relay says anything of what another one sent."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from spanwire.consumer.facts import PartitionId
from spanwire.consumer.flows import Flows

if TYPE_CHECKING:
    from spanwire._core import Timestamp

Place = tuple[int, PartitionId]
"""A partition at an output."""


class Outputs:
    """The flows of each output.

    Outputs may choose different changes of one topic and partition, and number their messages by
    themselves: nothing is shared between them.
    """

    def __init__(self, topics: Sequence[str]) -> None:
        self._topics = tuple(topics)
        self._flows: dict[int, Flows] = {}
        self._watermark: Timestamp | None = None

    def of(self, output: int) -> Flows:
        """The flows of one output."""
        flows = self._flows.get(output)
        if flows is None:
            flows = self._flows[output] = Flows(self._topics)
        return flows

    @property
    def watermark(self) -> Timestamp | None:
        """All changes up to here have arrived through every output, or their loss was announced.

        It never goes back, also when an output joins that is behind.
        """
        least = [flows.watermark for flows in self._flows.values()]
        known = [one for one in least if one is not None]
        if known and len(known) == len(least) and (self._watermark is None or min(known) > self._watermark):
            self._watermark = min(known)
        return self._watermark

    @property
    def baselines(self) -> int:
        """Senders whose first tick has come."""
        return sum(flows.baselines for flows in self._flows.values())

    @property
    def clashes(self) -> dict[Place, int]:
        """Partitions that two relay processes own under the same epoch, and that epoch."""
        return {
            (output, partition): epoch
            for output, flows in self._flows.items()
            for partition, epoch in flows.clashes.items()
        }

    def forget(self) -> list[Place]:
        """Drop what is kept of partitions that ended long ago; which ones these were."""
        return [(output, partition) for output, flows in self._flows.items() for partition in flows.forget()]
