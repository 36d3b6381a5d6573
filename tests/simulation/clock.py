"""Virtual time: a heap of events, and processes that can be killed or stand still between any two of them."""

from __future__ import annotations

import heapq
import random
from collections.abc import Callable

MS = 1_000
"""The clock counts microseconds."""
SECOND = 1_000 * MS

Call = Callable[[], object]


def between(rng: random.Random, low: int, high: int) -> int:
    """A number from `low` to `high`, drawn faster than by `randint`."""
    return low + int(rng.random() * (high - low + 1))


class Clock:
    """Runs events in the order of their time; those of one time in the order they were planned."""

    def __init__(self) -> None:
        self.now = 0
        self.steps = 0
        self._heap: list[tuple[int, int, Process | None, Call]] = []
        self._planned = 0

    def after(self, delay: int, call: Call, process: Process | None = None) -> None:
        """Plan a call, as a step of that process where one is given."""
        self._planned += 1
        heapq.heappush(self._heap, (self.now + delay, self._planned, process, call))

    def run(self, until: int) -> None:
        """Let time pass."""
        heap = self._heap
        while heap and heap[0][0] <= until:
            self.now, _, process, call = heapq.heappop(heap)
            if process is None:
                call()
            elif process.alive:
                if process.paused:
                    process.missed.append(call)
                    continue
                call()
            self.steps += 1
        self.now = until


class Process:
    """Something that dies at once, with all that it had planned, or stands still and goes on."""

    def __init__(self, clock: Clock) -> None:
        self.clock = clock
        self.alive = True
        self.paused = False
        self.missed: list[Call] = []

    def later(self, delay: int, call: Call) -> None:
        """Plan a step of this process."""
        self.clock.after(delay, call, self)

    def kill(self) -> None:
        """As kill -9."""
        self.alive = False

    def pause(self) -> None:
        """As SIGSTOP: nothing is lost, and nothing happens."""
        self.paused = True

    def go_on(self) -> None:
        """As SIGCONT: what was due happens now, in the order it was due."""
        self.paused = False
        missed, self.missed = self.missed, []
        for call in missed:
            self.later(0, call)
