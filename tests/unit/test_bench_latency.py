"""The bench of latency counts what it says: each change once, by its time, and no load that was not kept."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from spanwire.bench import histograms, latency
from spanwire.bench.figures import Report
from spanwire.bench.listener import STAGES, WHOLE, Arrived, Heard, Wanted, heard, summed
from spanwire.bench.plan import Plan
from spanwire.errors import ConfigError

MS = 1_000_000
SECOND = 1000 * MS


def message(arrived: int, *due: int, partition: bytes = b"a") -> Arrived:
    """One that took 4 ms from the relay to its socket, 2 ms from there, 1 ms to decode."""
    return Arrived(partition, arrived - 6 * MS, arrived - 2 * MS, arrived, arrived + MS, list(due))


def given_in_turn(*messages: Arrived) -> Callable[[int], Arrived | None]:
    """As the listener's socket gives them, then nothing more."""
    left: Iterator[Arrived] = iter(messages)
    return lambda _deadline: next(left, None)


def decoded(found: Heard, name: str) -> dict[str, float]:
    """A stage's figures."""
    histogram = histograms.empty()
    histograms.add(histogram, found.histograms[name])
    assert histogram.get_total_count() == found.changes
    return histograms.milliseconds(histogram)


def test_each_change_counts_once_by_its_own_time() -> None:
    """Its message's time in the relay, its own time from commit; only those due within what is measured."""
    begin, end = 10 * SECOND, 11 * SECOND
    messages = [
        message(begin + 20 * MS, begin - 1, begin, begin + 10 * MS),
        message(end + 90 * MS, end - 10 * MS, end),
    ]
    found = summed(messages, begin, end)
    assert (found.changes, found.seconds) == (3, 1.09)
    assert {name: decoded(found, name)["max"] for name in ("relay", "network", "decode")} == {
        "relay": pytest.approx(4, rel=0.002),
        "network": pytest.approx(2, rel=0.002),
        "decode": pytest.approx(1, rel=0.002),
    }
    whole = decoded(found, WHOLE)
    assert [whole["p50"], whole["max"]] == [pytest.approx(20, rel=0.002), pytest.approx(100, rel=0.002)]
    # The second change came to the relay after the first of its message: its source's time is 14 - 10 ms.
    assert decoded(found, "source")["p50"] == pytest.approx(14, rel=0.002)


def test_a_change_that_joined_its_message_later_waited_for_nothing() -> None:
    """The header tells when the relay got the first one: a later one's time is not less than nothing."""
    found = summed([message(10 * MS, 0, 9 * MS)], 0, SECOND)
    assert decoded(found, "source")["p50"] == 0


def test_the_listener_goes_on_until_every_partition_is_past_the_end() -> None:
    """From a while after the first change on; what is late counts, what comes too late does not."""
    wanted = Wanted("", 2, 1.0, 1.0)
    messages = [
        message(SECOND, SECOND - MS),
        message(2 * SECOND - MS, 2 * SECOND - 2 * MS),
        message(2 * SECOND + MS, 2 * SECOND),
        message(3 * SECOND + MS, 3 * SECOND),
        message(3 * SECOND + 500 * MS, 3 * SECOND - MS, partition=b"b"),
        message(3 * SECOND + 600 * MS, 3 * SECOND, partition=b"b"),
        message(4 * SECOND, 2 * SECOND, partition=b"b"),
    ]
    found = heard(given_in_turn(*messages), wanted)
    assert (found.changes, found.seconds) == (2, 1.5)
    assert heard(given_in_turn(*messages[:3]), wanted).changes == 1
    with pytest.raises(RuntimeError, match="no change arrived"):
        heard(given_in_turn(), wanted)


@settings(max_examples=20)  # a histogram in plain Python takes its time
@given(st.lists(st.integers(0, 10**10), min_size=1))
def test_histograms_are_as_exact_as_they_say(times: list[int]) -> None:
    """Three digits of microseconds, also after they went from process to process as text."""
    made = histograms.empty()
    histograms.add(made, histograms.text(histograms.of(times)))
    found = histograms.milliseconds(made)
    exact = sorted(times)
    assert found["max"] == pytest.approx(exact[-1] / MS, rel=0.002, abs=0.001)
    assert found["p50"] == pytest.approx(exact[(len(exact) - 1) // 2] / MS, rel=0.002, abs=0.001)
    points = histograms.tail(made)
    assert [part for part, _ in points] == [one for one in (2, 5, 10, 20, 50) if one <= len(times)]
    assert [value for _, value in points] == sorted(value for _, value in points)


def test_times_of_a_load_that_was_not_kept_are_not_told(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """They would grow with the time measured: the report says how much arrived, and why no more is told."""
    report = Report()
    kept, lost = _heard(1000, 1.0), _heard(900, 1.0)
    answers = iter([kept, lost])
    monkeypatch.setattr(latency.Load, "_hear", lambda _self: next(answers))
    with ExitStack() as stack:
        load = latency.Load(1000, 1.0, stack, tmp_path)
        load.measure(report)
        load.measure(report)
    assert report.figures["latency_1000_arrived"].taken == [1000, 900]
    assert len(report.figures["latency_1000_relay_p99"].taken) == 1
    assert "not kept in 1 of 2 repetitions" in report.why_absent("latency_1000_relay_p50")
    assert report.why_absent("latency_10000_relay_p50") == "not part of this run"
    assert [len(curve.lines) for curve in report.curves.values()] == [1, 1]
    latency.conclude(report)
    shares = report.curves["latency_stages"].lines
    assert shares.keys() == set(STAGES)
    assert sum(y for [(_, y)] in shares.values()) == pytest.approx(100)


def test_a_run_without_any_load_kept_has_no_shares() -> None:
    """Nothing to divide."""
    report = Report()
    latency.conclude(report)
    assert report.curves == {}


def test_a_quick_run_is_about_the_budgets_only() -> None:
    """One load, the first; else all of them."""
    with ExitStack() as stack:
        assert [step.name for step in latency.steps(Plan(quick=True), stack)] == ["latency: 1,000 changes/s"]
        assert len(latency.steps(Plan(), stack)) == 3


def test_a_missing_hdrhistogram_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is an extra: say how to get it, before anything is measured."""
    monkeypatch.setitem(sys.modules, "hdrh.histogram", None)
    with ExitStack() as stack, pytest.raises(ConfigError, match=r"pip install 'spanwire\[bench\]'"):
        latency.steps(Plan(), stack)


def _heard(changes: int, seconds: float) -> Heard:
    times = histograms.text(histograms.of([MS] * changes))
    return Heard(changes, seconds, dict.fromkeys((*STAGES, WHOLE), times))
