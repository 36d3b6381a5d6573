"""Relays that come and go over a churning stream: nothing is lost, each key's changes stay in order."""

from __future__ import annotations

import json
import pickle
import random
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from integration.relays import Listener, eventually, pushed
from integration.test_relay_simulator import FORMS, settings

from spanwire._core import Change
from spanwire.config import Config
from spanwire.relay import Relay
from spanwire.simulator import Simulator, SimulatorConfig, WorkloadConfig

CHANGES = 1200


@pytest.fixture(params=FORMS, ids="-".join)
def simulator(request: pytest.FixtureRequest) -> Iterator[Simulator]:
    """Partitions split, merge or move every 50 changes, on average."""
    dialect, mode = request.param
    config = SimulatorConfig(dialect=dialect, mode=mode, partitions=4, churn=50, seed=11)
    with Simulator(config) as running:
        yield running


def pushing(simulator: Simulator, folder: Path) -> Config:
    """PUSH waits for its peer: what a relay sends while it dies or starts is not lost for want of one."""
    return pushed(settings(simulator, folder, start=just_before(simulator)), folder)


def just_before(simulator: Simulator) -> str:
    """The earliest timestamp that can be read."""
    seconds, nanos = divmod(simulator.created, 10**9)
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(seconds)) + f".{nanos:09d}Z"


def judge(simulator: Simulator, heard: list[Change]) -> None:
    """Complete, no phantom, and in order by key; duplicates are the same."""
    lines = list(dict.fromkeys(change.canonical() for change in heard))
    assert sorted(lines) == sorted(simulator.committed())
    versions: dict[tuple[str, str], str] = {}
    for line in lines:
        change = json.loads(line)
        key = (change["table"], json.dumps(change["keys"], sort_keys=True))
        assert versions.get(key, "") < change["version"], f"out of order: {key}"
        versions[key] = change["version"]


def test_orderly_restarts(simulator: Simulator, tmp_path: Path) -> None:
    """Stopped and started again in the middle of everything; little comes twice."""
    config = pushing(simulator, tmp_path)
    working = threading.Thread(target=simulator.workload, args=(WorkloadConfig(changes=CHANGES, rate=400),))
    with Listener(config.output[0].bind[0], pull=True) as listener:
        working.start()
        while working.is_alive():
            with Relay(config):
                time.sleep(0.5)
        with Relay(config):
            eventually(lambda: len({str(one.version) for one in listener.changes}) >= simulator.changes)
        working.join()
        judge(simulator, listener.changes)


RELAY = """
import pickle, sys
from spanwire.config import parse
from spanwire.relay import Relay

with Relay(parse(pickle.load(open(sys.argv[1], "rb")))) as relay:
    relay.wait()
"""


@pytest.mark.parametrize("seed", [1, 2])
def test_killed_relays(simulator: Simulator, tmp_path: Path, seed: int) -> None:
    """By kill -9 at random moments: between children stored and parent finished, too."""
    chance = random.Random(seed)
    config = pushing(simulator, tmp_path)
    (tmp_path / "config.pickle").write_bytes(pickle.dumps(config.model_dump(exclude_none=True)))
    command = [sys.executable, "-c", RELAY, str(tmp_path / "config.pickle")]
    working = threading.Thread(target=simulator.workload, args=(WorkloadConfig(changes=CHANGES, rate=300),))
    kills = 0
    with Listener(config.output[0].bind[0], pull=True) as listener:
        working.start()
        relay = subprocess.Popen(command)
        while working.is_alive() or kills < 3:
            time.sleep(chance.uniform(0.6, 1.6))
            relay.send_signal(signal.SIGKILL)
            relay.wait()
            kills += 1
            relay = subprocess.Popen(command)
        eventually(lambda: len({str(one.version) for one in listener.changes}) >= simulator.changes)
        relay.send_signal(signal.SIGKILL)
        relay.wait()
        judge(simulator, listener.changes)
    working.join()
