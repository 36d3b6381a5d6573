"""Benches: spanwire beside its peers and its limits, in one run. What the figures mean: benches/README.md.

A part is a subject: `core`, `consumer`, `relay`, `latency`, `scale`. Each gives steps, which `run`
takes in turn.
"""

from __future__ import annotations

from collections.abc import Sequence
from importlib import import_module
from typing import Any, cast

from spanwire import _core
from spanwire.bench.budgets import judge, rounded
from spanwire.bench.figures import Report
from spanwire.bench.plan import Part, Plan, Tell
from spanwire.bench.plan import run as run_parts
from spanwire.errors import ConfigError

__all__ = ["PARTS", "Plan", "Report", "as_json", "check_build", "judge", "run"]

PARTS = ("core", "relay", "latency", "consumer", "scale")
"""Modules of that name, brought in when they are run: a bench's own processes do without most of them."""


def check_build() -> None:
    """ConfigError on a debug build: its figures would say nothing."""
    if getattr(_core, "_debug_build", True):
        raise ConfigError("a debug build, its figures say nothing: run make build, or install the wheel")


def run(parts: Sequence[str], plan: Plan, tell: Tell = lambda done, total, what: None) -> Report:
    """Measure parts by name, in turn."""
    check_build()
    modules = [cast(Part, import_module(f"{__name__}.{name}")) for name in parts]
    return run_parts(modules, plan, tell)


def as_json(report: Report) -> dict[str, Any]:
    """A run as plain values: budgets first, then each figure's median, least and most by name."""
    figures: dict[str, Any] = {}
    for name, figure in report.figures.items():
        figures[name] = rounded(figure.median)
        figures[f"{name}_least"], figures[f"{name}_most"] = rounded(figure.least), rounded(figure.most)
    return {"budgets": judge(report), **figures, "absent": report.absent}
