"""The measurements of `spanwire bench latency` one by one, as pytest-benchmark shows them.

Figures only: nothing here passes or fails on a time. Method: benches/README.md.
"""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from spanwire import bench
from spanwire.bench import latency
from spanwire.bench.figures import Report

SECONDS = 2.0


@pytest.mark.parametrize("rate", latency.RATES)
def test_latency(benchmark: Any, tmp_path: Path, rate: int) -> None:
    """One repetition at a load; its figures stand in the extra information."""
    bench.check_build()
    report = Report()
    with ExitStack() as stack:
        load = latency.Load(rate, SECONDS, stack, tmp_path)
        benchmark.pedantic(lambda: load.measure(report), rounds=1)
    benchmark.extra_info |= {name: figure.median for name, figure in report.figures.items()}
    benchmark.extra_info |= report.absent
    assert report.figures[f"latency_{rate}_arrived"].median > 0
