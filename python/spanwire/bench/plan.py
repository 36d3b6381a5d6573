"""How a run goes: steps in turn, over and over, so that what else the machine does falls on all of them."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Protocol

from spanwire.bench.figures import Report


@dataclass(frozen=True, slots=True)
class Plan:
    """How much is measured."""

    repeat: int = 3
    """Repetitions of what is repeated; medians are told."""
    quick: bool = False
    """A first look: less data, and only what budgets are about."""
    limit_s: float = 520.0
    """No repetition of a step begins later than that: all is measured once, however slow the machine is."""


@dataclass(frozen=True, slots=True)
class Step:
    """One measurement, which adds its figures to the report."""

    name: str
    measure: Callable[[Report], None]
    once: bool = False
    """Not repeated: it takes long, or looks at how something grows."""


class Part(Protocol):
    """A subject that is measured: a module with these two functions."""

    def steps(self, plan: Plan, stack: ExitStack) -> Sequence[Step]:
        """What is to be measured. What it needs stays open until the stack closes."""

    def conclude(self, report: Report) -> None:
        """Figures and curves that follow from what was measured."""


Tell = Callable[[int, int, str], object]
"""Told of progress: steps done, steps in all, what is being measured."""


def run(parts: Sequence[Part], plan: Plan, tell: Tell) -> Report:
    """Measure; SpanwireError, RuntimeError where something did not do what is measured."""
    report, began = Report(), time.monotonic()
    with ExitStack() as stack:
        tell(0, 1, "making ready")
        steps = [step for part in parts for step in part.steps(plan, stack)]
        turns = [
            (number, step) for number in range(plan.repeat) for step in steps if not (step.once and number)
        ]
        for done, (number, step) in enumerate(turns):
            if number and time.monotonic() - began > plan.limit_s:
                report.absent["repetitions"] = f"{number} of {plan.repeat} were whole when the time was up"
                break
            tell(done, len(turns), f"{step.name} ({number + 1} of {1 if step.once else plan.repeat})")
            step.measure(report)
        for part in parts:
            part.conclude(report)
    tell(1, 1, "done")
    return report
