"""A consumer that stands still: the relay does not grow for it, the others notice nothing, it gets all."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

BENCH = Path(__file__).parents[2] / "benches" / "slow_consumer.py"
OWED_MIB = 80
"""What the others have got by the time that it is let go."""


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="memory is read from /proc")
def test_a_consumer_that_stands_still_costs_no_memory_and_gets_everything() -> None:
    """The short form of the bench: stopped under load for far longer than the ring holds, then let go."""
    ask = ["--before", "3", "--hold", "5", "--hold-mib", str(OWED_MIB), "--after", "1", "--ring-mib", "1"]
    ask += ["--large-every", "10"]
    done = subprocess.run([sys.executable, str(BENCH), *ask], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    found = json.loads(done.stdout)
    assert found["missing"] == {"pub": 0, "feed": 0, "slow": 0}
    # In its first seconds a relay grows by itself, by up to thirty MiB for rows as large as these.
    assert found["relay_mib_most_while_held"] - found["relay_mib_most_before"] < OWED_MIB / 2
    assert found["replays_from_spanner"]
