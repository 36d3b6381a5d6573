"""What measuring gives: figures with their spread, and curves to look at."""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass, field


@dataclass(slots=True)
class Figure:
    """One quantity, as often as it was measured in a run."""

    unit: str
    taken: list[float] = field(default_factory=list)

    @property
    def median(self) -> float:
        """What is told and compared."""
        return statistics.median(self.taken)

    @property
    def least(self) -> float:
        """The spread's lower end."""
        return min(self.taken)

    @property
    def most(self) -> float:
        """The spread's upper end."""
        return max(self.taken)


@dataclass(slots=True)
class Curve:
    """Lines over one quantity, for a plot: `lines` maps a name to its (x, y) points."""

    title: str
    x: str
    y: str
    lines: dict[str, list[tuple[float, float]]]
    log: bool = True
    """Both axes by powers of ten."""


@dataclass(slots=True)
class Report:
    """A run's figures by name, its curves, and what was not measured, with the reason."""

    figures: dict[str, Figure] = field(default_factory=dict)
    curves: dict[str, Curve] = field(default_factory=dict)
    absent: dict[str, str] = field(default_factory=dict)
    """By a figure's name, or the beginning that several share."""

    def take(self, name: str, unit: str, value: float) -> None:
        """One more measurement of a figure."""
        self.figures.setdefault(name, Figure(unit)).taken.append(value)

    def ratio(self, figure: str, peer: str) -> Figure:
        """Ratios, repetition by repetition: what disturbs both of one repetition cancels out."""
        pairs = zip(self.figures[figure].taken, self.figures[peer].taken, strict=False)
        return Figure("ratio", [one / other for one, other in pairs])

    def why_absent(self, name: str) -> str:
        """Why a figure was not measured."""
        reasons = (why for beginning, why in self.absent.items() if name.startswith(beginning))
        return next(reasons, "not part of this run")


def exponent(points: Sequence[tuple[float, float]]) -> float:
    """How y grows with x, as the slope over logarithms: 1 is in proportion, 0 not at all."""
    return statistics.linear_regression(
        [math.log(x) for x, _ in points], [math.log(y) for _, y in points]
    ).slope
