"""`make chaos-mutants`: bugs planted one at a time, each of which the simulation or the processes find.

python -m chaos.mutants [<name> …]      exit 1 when one survives
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from chaos import planted_consumer, planted_relay
from chaos.__main__ import violations
from chaos.plan import plan
from chaos.planted import Mutant
from chaos.run import Run

MUTANTS = planted_relay.MUTANTS | planted_consumer.MUTANTS

SECONDS = 5.0
_SETTLE_S = 15.0
"""What has not arrived by then is lost, or late enough to be a bug."""
_SIMULATION = Path(__file__).parents[1] / "simulation" / "mutants.py"


@dataclass(frozen=True)
class Verdict:
    """What became of one bug."""

    name: str
    what: str
    by: str
    found: str | None
    """What gave it away; None: it survived."""

    def line(self) -> str:
        """For the table."""
        how = "SURVIVED" if self.found is None else self.found
        return f"{self.name:<28} {self.by:<14} {how:<44.44} {self.what}"


def by_processes(mutant: Mutant) -> Verdict:
    """Plant it in real processes, run after run until one finds it."""
    for seed in mutant.seeds:
        with tempfile.TemporaryDirectory(prefix="spanwire-mutant-") as folder:
            run = Run(plan(seed, SECONDS), Path(folder), mutant.name, _SETTLE_S)
            if found := violations(run.verdict()):
                return Verdict(mutant.name, mutant.what, f"processes, {seed}", "; ".join(found))
    return Verdict(mutant.name, mutant.what, "processes", None)


def by_simulation() -> Iterator[Verdict]:
    """Those of the simulation in one process: `python tests/simulation/mutants.py --json`."""
    if not _SIMULATION.exists():
        return
    command = [sys.executable, str(_SIMULATION), "--json"]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=False)
    for line in done.stdout.splitlines():
        one = json.loads(line)
        yield Verdict(one["name"], one.get("what", ""), "simulation", one.get("found"))


def main() -> int:
    """Plant each; print the table."""
    parser = argparse.ArgumentParser(prog="python -m chaos.mutants", description=__doc__)
    parser.add_argument("names", nargs="*", help=f"only these, of {', '.join(MUTANTS)}")
    names = parser.parse_args().names
    if unknown := set(names) - set(MUTANTS):
        parser.error(f"no such bug: {', '.join(sorted(unknown))}")
    survived = 0
    print(f"{'bug':<28} {'found by':<14} {'as':<44} what it is")
    verdicts = [] if names else [by_simulation()]
    verdicts.append(by_processes(MUTANTS[name]) for name in names or MUTANTS)
    for verdict in (one for each in verdicts for one in each):
        survived += verdict.found is None
        print(verdict.line(), flush=True)
    print(f"{survived} survived")
    return 1 if survived else 0


if __name__ == "__main__":
    sys.exit(main())
