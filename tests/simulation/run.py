"""Runs seeds: `python tests/simulation/run.py --seeds 10000`, or one of them, `--seed N --trace`.

Prints one JSON line at the end; exits 1 with the first seed that fails, and how to run it again.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from simulation.checker import violations
from simulation.scenario import scenario_of
from simulation.world import World
from spanwire.consumer.follower import Follower


def run(
    seed: int, make: Callable[..., Any] = Follower, *, log: list[str] | None = None
) -> tuple[World, list[str]]:
    """Run one seed: the world as it ended, and what is wrong with it."""
    world = World(scenario_of(seed), make)
    world.log = log
    arrived = world.run()
    return world, violations(world, arrived)


def main(arguments: list[str] | None = None) -> int:
    """The command."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seeds", type=int, default=1000, help="how many seeds")
    parser.add_argument("--from", type=int, default=0, dest="first", help="the first one")
    parser.add_argument("--seed", type=int, help="this one alone")
    parser.add_argument("--trace", action="store_true", help="print every step of it")
    parser.add_argument("--keep-going", action="store_true", help="list all that fail")
    options = parser.parse_args(arguments)
    seeds = range(options.first, options.first + options.seeds) if options.seed is None else [options.seed]
    began, totals, failed = (
        time.monotonic(),
        {"committed": 0, "delivered": 0, "announced_gaps": 0, "steps": 0},
        [],
    )
    for done, seed in enumerate(seeds, 1):
        log: list[str] | None = [] if options.trace else None
        try:
            world, found = run(seed, log=log)
        except Exception as error:
            if options.seed is not None:
                raise
            found = [f"{type(error).__name__}: {error}"]
        else:
            totals["committed"] += len(world.spanner.committed)
            totals["steps"] += world.clock.steps
            for consumer in world.consumers:
                kept = consumer.kept if consumer.life is None else consumer.life.kept
                totals["delivered"] += len(kept.changes)
                totals["announced_gaps"] += len(kept.gaps)
        if log:
            print("\n".join(log))
        if found:
            failed.append(seed)
            print(f"seed {seed}: " + "\n    ".join(found[:8]), file=sys.stderr)
            if not options.keep_going:
                break
        if done % 500 == 0:
            print(f"{done} seeds, {done / (time.monotonic() - began) * 60:.0f} a minute", file=sys.stderr)
    took = time.monotonic() - began
    line = {"seeds": done, "failed": failed, **totals, "seconds": round(took, 1)}
    print(json.dumps(line))
    if failed:
        print(f"again: python tests/simulation/run.py --seed {failed[0]} --trace", file=sys.stderr)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
