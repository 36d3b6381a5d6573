"""`make chaos`: one run, and one line of JSON about it. Exit 1 on any violation, 2 on wrong use."""

from __future__ import annotations

import argparse
import json
import shutil
import sys
import tempfile
from pathlib import Path
from typing import Any

from chaos.plan import plan
from chaos.run import Run

from spanwire.history import FAULTS
from spanwire.history.sent import SENT_FAULTS


def violations(verdict: dict[str, Any]) -> list[str]:
    """What is wrong with a run, in words; nothing where all is well."""
    found = [f"{verdict[fault]} {fault}" for fault in FAULTS if verdict[fault]]
    found += [f"{verdict['sent'][fault]} sent {fault}" for fault in SENT_FAULTS if verdict["sent"].get(fault)]
    return [*found, *verdict["problems"]]


def main(arguments: list[str] | None = None) -> int:
    """Run as asked."""
    parser = argparse.ArgumentParser(prog="python -m chaos", description=__doc__)
    parser.add_argument("--seed", type=int, default=1, help="decides workload and faults")
    parser.add_argument("--seconds", type=float, default=30.0, help="of workload and faults")
    parser.add_argument("--relays", type=int, default=1)
    parser.add_argument("--history", type=Path, help="leave histories and logs there")
    options = parser.parse_args(arguments)
    if options.relays != 1:
        parser.error("--relays: one relay keeps a stream until a store can be shared; write 1")
    with tempfile.TemporaryDirectory(prefix="spanwire-chaos-") as folder:
        where = options.history or Path(folder)
        verdict = Run(plan(options.seed, options.seconds), where).verdict()
        found = violations(verdict)
        if found and options.history is None:
            where = Path(tempfile.gettempdir()) / f"spanwire-chaos-seed-{options.seed}"
            shutil.copytree(folder, where, dirs_exist_ok=True)
    print(json.dumps(verdict, ensure_ascii=False), flush=True)
    if found:
        print(f"seed {options.seed}: {'; '.join(found)}: histories and logs are in {where}", file=sys.stderr)
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
