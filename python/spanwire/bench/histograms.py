"""HDR histograms of times: microseconds, three digits, up to ten minutes."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from typing import Any

from spanwire.errors import ConfigError

_MOST_US = 600_000_000
PERCENTILES = {"p50": 50.0, "p90": 90.0, "p99": 99.0, "p999": 99.9}


def empty() -> Any:
    """One without times. ConfigError without hdrhistogram."""
    try:
        from hdrh.histogram import HdrHistogram  # noqa: PLC0415
    except ImportError:
        raise ConfigError("hdrhistogram is missing: install it with pip install 'spanwire[bench]'") from None
    return HdrHistogram(1, _MOST_US, 3)


def of(nanos: Iterable[int]) -> Any:
    """Of times in nanoseconds; what is less than nothing counts as nothing."""
    made = empty()
    for micros, count in Counter(max(0, time + 500) // 1000 for time in nanos).items():
        made.record_value(min(micros, _MOST_US), count)
    return made


def text(histogram: Any) -> str:
    """Encoded, for another process."""
    return str(histogram.encode(), "ascii")


def add(histogram: Any, encoded: str) -> None:
    """Add one that came as text."""
    histogram.decode_and_add(encoded.encode())


def milliseconds(histogram: Any) -> dict[str, float]:
    """By name: some percentiles, `max` and `mean`."""
    found = {name: histogram.get_value_at_percentile(part) for name, part in PERCENTILES.items()}
    found |= {"max": histogram.get_max_value(), "mean": histogram.get_mean_value()}
    return {name: value / 1000 for name, value in found.items()}


def tail(histogram: Any) -> list[tuple[float, float]]:
    """For a curve: 1 / (1 - p) from the median on, as far as there are times, and the percentile p in ms."""
    steps = (one * 10**power for power in range(9) for one in (1, 2, 5))
    return [
        (part, max(histogram.get_value_at_percentile(100 - 100 / part), 1) / 1000)
        for part in steps
        if 2 <= part <= histogram.get_total_count()
    ]
