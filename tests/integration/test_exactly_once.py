"""The cursor in the transaction of the consumer's own data makes each change's effect happen exactly once."""

from __future__ import annotations

import json
import sqlite3
from collections import Counter
from pathlib import Path

import pytest
from integration.killing import Writing, beginning, killed_amid_work, relaying

from spanwire.consumer.cursor import Version
from spanwire.simulator import Simulator, SimulatorConfig

LEDGER = Path(__file__).with_name("sqlite_ledger.py")


def entries(ledger: Path) -> list[str]:
    """What was written down so far."""
    if not ledger.exists():
        return []
    connection = sqlite3.connect(f"file:{ledger}?mode=ro", uri=True)
    try:
        return [line for (line,) in connection.execute("SELECT change FROM entries ORDER BY rowid")]
    except sqlite3.OperationalError:  # there is no table yet
        return []
    finally:
        connection.close()


@pytest.mark.parametrize("order", ["key", "transaction"])
def test_with_sqlite_each_change_takes_effect_once(order: str, tmp_path: Path) -> None:
    """However often the consumer is killed amid its work, while partitions split and merge; in order too."""
    config, ledger = SimulatorConfig(partitions=3, churn=150, seed=11), tmp_path / "ledger.db"
    with (
        Simulator(config) as simulator,
        relaying(simulator, tmp_path) as (changes, replays),
        Writing(simulator) as writing,
    ):
        killed_amid_work(
            [LEDGER, str(ledger), order, changes, replays, beginning(simulator)],
            writing,
            lambda: len(entries(ledger)),
            lambda: len(entries(ledger)) >= len(list(simulator.committed())),
        )
        committed = list(simulator.committed())
    written = entries(ledger)
    assert Counter(written) == Counter(committed)
    if order == "transaction":
        versions = [Version.parse(json.loads(line)["version"]) for line in written]
        assert versions == sorted(versions)
