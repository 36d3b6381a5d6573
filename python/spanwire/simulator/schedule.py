"""When each ready-made record is committed: by a rule, so that a range read again is the same."""

from __future__ import annotations

from fractions import Fraction

from spanwire.simulator.clock import MICROSECOND


class Schedule:
    """Commit timestamps of one partition's records, which are numbered from 1.

    `turns` partitions take turns, one record each `step` microseconds; this one is the `turn`th, from 0. Its
    timestamps are whole microseconds, later than `base` (nanoseconds since 1970), and rise from record to
    record as long as `step * turns` is 1 or more.
    """

    def __init__(self, base: int, step: Fraction = Fraction(1), turns: int = 1, turn: int = 0) -> None:
        self._base = base // MICROSECOND
        # Whole numbers: a fraction for each record would cost more than the record.
        self._micros, self._per = step.numerator, step.denominator
        self._turns, self._turn = turns, turn

    def at(self, record: int) -> int:
        """When it is committed, nanoseconds since 1970."""
        place = record * self._turns + self._turn
        return (self._base + place * self._micros // self._per) * MICROSECOND

    def last_until(self, timestamp: int) -> int:
        """The last record that is committed at or before `timestamp`; 0 where none is."""
        # floor(place * micros / per) <= elapsed just where place * micros < (elapsed + 1) * per.
        elapsed = timestamp // MICROSECOND - self._base
        place = ((elapsed + 1) * self._per - 1) // self._micros
        return max(0, (place - self._turn) // self._turns)
