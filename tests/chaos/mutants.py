"""Bugs to plant, one at a time, each of which must be found."""

from __future__ import annotations

VARIABLE = "SPANWIRE_CHAOS_MUTANT"
"""The environment variable that names the bug to plant in the processes of a run."""


def plant(name: str) -> None:
    """Have this process be wrong in one way; "" leaves it as it is."""
