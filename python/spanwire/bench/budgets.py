"""What spanwire promises of its speed, and whether a run kept it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from spanwire.bench.figures import Report


@dataclass(frozen=True, slots=True)
class Budget:
    """A bound on a figure, or on its ratio to a peer's. Just one of `least` and `most` is given."""

    what: str
    figure: str
    peer: str | None = None
    """The ratio is bounded, not the figure."""
    least: float | None = None
    most: float | None = None


BUDGETS = (
    Budget("core, JSON", "changes_per_second_json", least=5e6),
    Budget("core, typed", "changes_per_second_typed", least=2.5e6),
    Budget("core beside plain Python, JSON", "changes_per_second_json", "plain_python_json", least=250),
    Budget("core and PUB beside taking turns, JSON", "core_and_pub_json", "taking_turns_json", least=0.8),
    Budget("core and PUB beside taking turns, typed", "core_and_pub_typed", "taking_turns_typed", least=0.8),
    Budget("relay beside plain Python, JSON", "relay_json", "relay_python_json", least=40),
    Budget("relay beside Go, JSON", "relay_json", "relay_go_json", least=8),
    Budget("relay beside plain Python, typed", "relay_typed", "relay_python_typed", least=25),
    Budget("relay beside Go, typed", "relay_typed", "relay_go_typed", least=5),
    Budget(
        "relay beside a bare gRPC read, one change a message", "relay_small", "grpc_read_small", least=0.8
    ),
    Budget("relay beside Go, one change a message", "relay_small", "relay_go_small", least=1.0),
    Budget("time in the relay at 1,000 changes/s, p50", "latency_1000_relay_p50", most=0.2),
    Budget("time in the relay at 1,000 changes/s, p99", "latency_1000_relay_p99", most=1.0),
    Budget("dedup of a version", "dedup", most=50),
    Budget("dedup of a version, 100 at one commit timestamp", "dedup_100_at_once", most=50),
    Budget("memory at the end of a backlog beside its middle", "backlog_end", "backlog_middle", most=1.1),
    Budget(
        "memory under stalled consumers, at the end beside early", "stalled_end", "stalled_early", most=1.1
    ),
    Budget("1,000 idle partitions, memory", "idle_memory", most=300),
    Budget("1,000 idle partitions, processor", "idle_cpu", most=10),
    Budget("consumer, changes handed over", "consumer_untouched", least=1e6),
    Budget("consumer beside json.loads, untouched", "consumer_untouched", "json_loads", least=5),
    Budget("consumer beside json.loads, every value read", "consumer_all", "json_loads", least=2),
)

JUDGED = {name for budget in BUDGETS for name in (budget.figure, budget.peer)}
"""The figures that budgets are about: all that a quick run measures."""


def judge(report: Report) -> list[dict[str, Any]]:
    """Each budget beside what was measured: plain values for JSON.

    `met` is null where the run did not measure it, and `why` says why.
    """
    return [_judged(report, budget) for budget in BUDGETS]


def _judged(report: Report, budget: Budget) -> dict[str, Any]:
    found: dict[str, Any] = {
        "budget": budget.what,
        "wanted": _wanted(budget),
        "name": budget.figure,
        "figure": None,
        "unit": None,
        "peer_name": budget.peer,
        "peer": None,
        "ratio": None,
        "spread": None,
        "met": None,
    }
    for name in filter(None, (budget.figure, budget.peer)):
        if name not in report.figures:
            return {**found, "why": f"{name}: {report.why_absent(name)}"}
    figure = judged = report.figures[budget.figure]
    if budget.peer is not None:
        judged = report.ratio(budget.figure, budget.peer)
        found |= {"peer": rounded(report.figures[budget.peer].median), "ratio": rounded(judged.median)}
    kept = (budget.least is None or judged.median >= budget.least) and (
        budget.most is None or judged.median <= budget.most
    )
    return {
        **found,
        "figure": rounded(figure.median),
        "unit": figure.unit,
        "spread": [rounded(judged.least), rounded(judged.most)],
        "met": kept,
    }


def _wanted(budget: Budget) -> str:
    sign, bound = (">=", budget.least) if budget.least is not None else ("<=", budget.most)
    assert bound is not None
    return f"{sign} {bound:,.10g}{' x' if budget.peer else ''}"


def rounded(value: float) -> float | int:
    """As exact as a measurement is: four digits at least."""
    return round(value) if abs(value) >= 1000 else float(f"{value:.4g}")
