"""Real processes under faults: what was committed is what was delivered, whatever happened."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from chaos.__main__ import violations
from chaos.plan import plan
from chaos.run import Run

SEEDS = range(1, 11)
SECONDS = 3.0


@pytest.mark.parametrize("seed", SEEDS)
def test_every_change_is_delivered_once_and_in_order(seed: int, tmp_path: Path) -> None:
    """One seed's workload and faults, for a few seconds; `make chaos` runs longer ones."""
    verdict = Run(plan(seed, SECONDS), tmp_path).verdict()
    assert verdict["committed"] > 0
    assert all(verdict["delivered"].values())
    assert not violations(verdict), json.dumps(verdict, ensure_ascii=False, indent=1)
