"""What is told of memory and of how cost grows is measured; what it is, is no matter of tests."""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path

import pytest

from spanwire.bench import consumer, resident, scale
from spanwire.bench.figures import Curve, Report, exponent
from spanwire.bench.plan import Plan, run
from spanwire.bench.plot import draw

pytestmark = pytest.mark.timeout(180)


def test_memory_is_told_over_a_backlog_under_stalled_consumers_and_while_idle(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Each figure that a budget names, and the curves."""
    monkeypatch.setattr(resident, "_QUICK_BACKLOG", 100_000)
    monkeypatch.setattr(resident, "_IDLE", (2,))
    report = run([scale], Plan(1, quick=True), lambda done, total, what: None)
    for name in (
        "backlog_middle",
        "backlog_end",
        "stalled_early",
        "stalled_end",
        "idle_memory",
        "idle_cpu",
    ):
        assert report.figures[name].median > 0, name
    assert report.curves.keys() >= {"backlog_memory", "backlog_time", "stalled_memory"}
    [line] = report.curves["backlog_time"].lines.values()
    assert [changes for changes, _ in line] == sorted(changes for changes, _ in line)
    assert line[-1][0] == 100_000


def test_growth_is_told_by_points_and_an_exponent(monkeypatch: pytest.MonkeyPatch) -> None:
    """Subscribers: each point's throughput, and lines of time, processor time and memory."""
    monkeypatch.setattr(scale, "_CHANGES", 20_000)
    monkeypatch.setattr(scale, "_SUBSCRIBERS", (1, 3))
    monkeypatch.setattr(scale, "_SOCKETS", 2)
    report = Report()
    with ExitStack() as stack:
        for step in scale.steps(Plan(1), stack):
            if step.name.endswith(" subscribers"):
                step.measure(report)
    scale.conclude(report)
    assert report.figures["scale_subscribers_1"].median > 0
    assert report.figures["scale_subscribers_3"].median > 0
    assert report.figures["scale_subscribers_time_exponent"].unit == "exponent"
    lines = report.curves["scale_subscribers"].lines
    assert {name: [count for count, _ in points] for name, points in lines.items()} == {
        "time": [1, 3],
        "processor time": [1, 3],
    }


def test_the_consumer_is_told_beside_json_loads(monkeypatch: pytest.MonkeyPatch) -> None:
    """All three figures, of changes that have all been handed over."""
    monkeypatch.setattr(consumer, "_CHANGES", 8000)
    report = run([consumer], Plan(1), lambda done, total, what: None)
    assert {"consumer_untouched", "consumer_all", "json_loads"} <= report.figures.keys()


def test_an_exponent_is_the_slope_over_logarithms() -> None:
    """In proportion 1, not at all 0, with the square 2."""
    assert exponent([(1, 7), (10, 70), (100, 700)]) == pytest.approx(1)
    assert exponent([(1, 7), (10, 7)]) == pytest.approx(0)
    assert exponent([(2, 4), (3, 9), (10, 100)]) == pytest.approx(2)


def test_curves_are_drawn_as_svg_and_png(tmp_path: Path) -> None:
    """A picture each, of a kind that its name says, the same for the same points."""
    report = Report()
    report.curves["growth"] = Curve("Growth", "partitions", "MiB", {"relay": [(1, 2.0), (10, 3.0)]})
    svg, png = draw(report, tmp_path / "plots")
    again, _ = draw(report, tmp_path / "again")
    assert again.read_bytes() == svg.read_bytes()
    assert (svg.name, png.name) == ("growth.svg", "growth.png")
    assert png.read_bytes().startswith(b"\x89PNG")
    assert "Growth" in svg.read_text(encoding="utf-8")
