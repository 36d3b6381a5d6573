"""What a partition's readers are served: its encoded rows by timestamp, and waiting for more."""

from __future__ import annotations

import threading
from bisect import bisect_left, bisect_right


class PartitionLog:
    """Rows of one partition in the order of their timestamps; the last ones are its child records.

    One writer, any number of readers. A row is found by its place, which never changes.
    """

    def __init__(self) -> None:
        self._times: list[int] = []
        self._rows: list[bytes] = []
        self._changed = threading.Condition()
        self._waiting = 0
        self.ended = False

    def append(self, at: int, rows: list[bytes]) -> None:
        """Add rows (encoded Values) of one timestamp, later than all before."""
        # Rows first: whoever sees a time finds its row.
        self._rows += rows
        self._times += [at] * len(rows)
        self._wake()

    def end(self, at: int, rows: list[bytes]) -> None:
        """Add the child records: nothing follows them."""
        self.append(at, rows)
        self.ended = True
        self._wake()

    def find(self, at: int) -> int:
        """The place of the first row at that time or later."""
        return bisect_left(self._times, at)

    def until(self, at: int | None) -> int:
        """The place after the last row at that time or earlier; None: after the last of all."""
        return len(self._times) if at is None else bisect_right(self._times, at)

    def rows(self, first: int, after: int) -> list[bytes]:
        """The rows at those places."""
        return self._rows[first:after]

    def wait(self, place: int, timeout: float) -> None:
        """Sleep until there is a row at that place, the partition ends, `wake` is called, or time is up."""
        with self._changed:
            self._waiting += 1  # before looking: a writer looks at this after adding its rows
            try:
                if len(self._times) <= place and not self.ended:
                    self._changed.wait(timeout)
            finally:
                self._waiting -= 1

    def wake(self) -> None:
        """Let the readers look around: theirs was cancelled, or everything closes."""
        with self._changed:
            self._changed.notify_all()

    def _wake(self) -> None:
        if self._waiting:
            self.wake()
