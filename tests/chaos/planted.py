"""Bugs that the processes of a run can be given: each is a line or two of the product, wrong.

The shipped package knows nothing of this: `chaos.relay` and `chaos.consumer` replace what a bug names when
`VARIABLE` asks for it. The bugs are in `chaos.planted_relay` and `chaos.planted_consumer`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

VARIABLE = "SPANWIRE_CHAOS_MUTANT"
"""The environment variable that names the bug to plant in the processes of a run."""


@dataclass(frozen=True)
class Mutant:
    """One bug."""

    plant: Callable[[], None]
    """Its docstring says what is wrong."""
    seeds: tuple[int, ...] = (1, 2, 3, 4, 5)
    """Runs that may find it, tried in this order."""

    @property
    def name(self) -> str:
        """As the command names it."""
        return self.plant.__name__.strip("_").replace("_", "-")

    @property
    def what(self) -> str:
        """In a few words."""
        return (self.plant.__doc__ or "").strip().rstrip(".")


def named(*mutants: Mutant) -> dict[str, Mutant]:
    """By name."""
    return {one.name: one for one in mutants}


def wrong(owner: Any, name: str, make: Callable[[Callable[..., Any]], Callable[..., Any]]) -> None:
    """Replace a function or method by what `make` makes of it. AttributeError where there is none."""
    setattr(owner, name, make(getattr(owner, name)))
