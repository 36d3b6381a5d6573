"""A relay that a run may have die at a named point, or that has a bug planted: `spanwire run` otherwise.

python -m chaos.relay <config> [<point> <hit>]
"""

from __future__ import annotations

import os
import sys

from chaos import points
from chaos.planted import VARIABLE
from chaos.planted_relay import MUTANTS

from spanwire.cli import main as spanwire


def main(config: str, point: str = "", hit: str = "1") -> None:
    """Run it until it is stopped, or dies."""
    if mutant := MUTANTS.get(os.environ.get(VARIABLE, "")):
        mutant.plant()
    if point:
        points.arm(point, int(hit))
    sys.argv = ["spanwire", "run", config, "--json"]
    spanwire()


if __name__ == "__main__":
    main(*sys.argv[1:])
