"""The rate of a replay, by a clock that the test moves."""

from __future__ import annotations

import random

import pytest

from spanwire.relay.pace import Pace


def sent(rate: int, counts: list[int], stalls: list[float]) -> list[tuple[float, int]]:
    """When messages of so many changes go out, where each is late by so many seconds."""
    pace, now, times = Pace(rate), 1000.0, []
    for count, stall in zip(counts, stalls, strict=True):
        now += stall
        times.append((now, count))
        now = max(now, pace.after(count, now))
    return times


@pytest.mark.parametrize("seed", range(20))
def test_no_stretch_of_time_has_more_than_its_rate(seed: int) -> None:
    """Whatever comes in bursts or late: between any two messages lie the seconds of those sent since."""
    chosen = random.Random(seed)
    rate = chosen.choice([1, 7, 300, 5000])
    counts = [chosen.randint(1, 1 + rate // 10) for _ in range(60)]
    stalls = [chosen.choice([0.0, 0.0, 0.001, 2.0]) for _ in counts]
    times = sent(rate, counts, stalls)
    for first in range(len(times)):
        changes = 0
        for last in range(first + 1, len(times)):
            changes += times[last - 1][1]
            assert times[last][0] - times[first][0] >= changes / rate - 1e-6


def test_a_source_that_never_waits_is_sent_at_the_rate() -> None:
    """Not below it either."""
    times = sent(100, [10] * 50, [0.0] * 50)
    assert times[-1][0] - times[0][0] == pytest.approx(49 * 10 / 100)


def test_no_rate_is_no_wait() -> None:
    """0 stands for as fast as they come."""
    assert sent(0, [10**6] * 3, [0.0] * 3) == [(1000.0, 10**6)] * 3
