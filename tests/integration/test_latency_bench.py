"""`spanwire bench latency` with its processes; what it measures is no matter of tests."""

from __future__ import annotations

import json

import pytest

from spanwire.bench import as_json, latency
from spanwire.bench.plan import Plan, run

pytestmark = pytest.mark.timeout(120)


def test_the_figures_and_curves_are_there(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each stage's, at each load, and the budgets' rows among them."""
    monkeypatch.setattr(latency, "RATES", (200, 1000))
    monkeypatch.setattr(latency, "_SECONDS", 0.3)
    monkeypatch.setattr(latency, "_WARM_S", 0.1)
    monkeypatch.setattr(latency, "_KEPT", 0.0)  # a machine that does much else may be late
    report = run([latency], Plan(repeat=1), lambda *_: None)
    told = as_json(report)
    json.dumps(told)
    stages = ("source", "relay", "network", "decode", "commit_to_consumer")
    for rate in (200, 1000):
        assert told[f"latency_{rate}_arrived"] > 0
        for stage in stages:
            figures = [
                told[f"latency_{rate}_{stage}_{which}"] for which in ("p50", "p90", "p99", "p999", "max")
            ]
            assert figures == sorted(figures)
            assert figures[-1] > 0
    rows = [row for row in told["budgets"] if row["name"].startswith("latency_")]
    assert [row["unit"] for row in rows] == ["ms", "ms"]
    assert all(isinstance(row["met"], bool) for row in rows)
    for name in ("latency_commit_to_consumer", "latency_relay"):
        assert report.curves[name].lines.keys() == {"200 changes/s", "1,000 changes/s"}
    assert report.curves["latency_stages"].lines.keys() == set(stages[:-1])
