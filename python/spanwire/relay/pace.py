"""A rate of changes, kept by waiting behind each message. Pure: whoever uses it has the clock."""

from __future__ import annotations


class Pace:
    """So many changes a second, from one message to the next: time that was lost is not made up for."""

    def __init__(self, rate: int) -> None:
        """`rate`: changes a second; 0: no bound."""
        self._rate = rate
        self._due = 0.0

    def after(self, count: int, now: float) -> float:
        """A message of so many changes was sent at `now`, in seconds: when the next one may be."""
        if not self._rate:
            return now
        self._due = max(now, self._due) + count / self._rate
        return self._due
