"""Commit timestamps: rising, never twice the same, in microseconds as Spanner gives them."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

MICROSECOND = 1_000


class Clock:
    """Strictly rising time in nanoseconds since 1970. Thread-safe.

    What `tick` gave is in the past for every later `tick`: a heartbeat may promise it.
    """

    def __init__(self, now: Callable[[], int] = time.time_ns) -> None:
        self._now = now
        self._last = 0
        self._lock = threading.Lock()

    def tick(self) -> int:
        """The next timestamp: the time of day, or a microsecond after the last one."""
        with self._lock:
            self._last = max(self._now() // MICROSECOND * MICROSECOND, self._last + MICROSECOND)
            return self._last

    def peek(self) -> int:
        """The time of day, for waiting; promises nothing."""
        return self._now()
