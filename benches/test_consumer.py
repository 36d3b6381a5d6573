"""The measurements of `spanwire bench consumer` one by one, as pytest-benchmark shows them.

Figures only: nothing here passes or fails on a time. Method: benches/README.md.
"""

from __future__ import annotations

from contextlib import ExitStack
from typing import Any

import pytest

from spanwire import bench
from spanwire.bench import consumer
from spanwire.bench.figures import Report


@pytest.mark.parametrize("name", ["consumer_untouched", "json_loads", "consumer_all"])
def test_consumer(benchmark: Any, name: str) -> None:
    """The quickest of some passes; changes a second stand in the extra information."""
    bench.check_build()
    report = Report()
    with ExitStack() as stack:
        [step] = [one for one in consumer.steps(bench.Plan(), stack) if one.name == f"consumer: {name}"]
        benchmark.pedantic(lambda: step.measure(report), rounds=1)
    benchmark.extra_info["changes_per_second"] = report.figures[name].median
    assert report.figures[name].median > 0
