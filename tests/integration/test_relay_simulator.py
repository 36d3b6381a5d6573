"""What the emulator cannot do: many parallel partitions, resume tokens inside of values, a known truth."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from integration.relays import Listener, Network, eventually

from spanwire.config import Config, parse
from spanwire.relay import Relay
from spanwire.simulator import Simulator, SimulatorConfig, WorkloadConfig


def settings(simulator: Simulator, folder: Path, host: str = "", **source: Any) -> Config:
    """A relay of the simulator's stream, with its progress in `folder` and one PUB on a free port."""
    config = simulator.config
    return parse(
        {
            "source": {
                "project": config.project,
                "instance": config.instance,
                "database": config.database,
                "stream": config.stream,
                "emulator_host": host or simulator.address,
                "heartbeat_ms": 1000,
                "connect_timeout_s": 30,
                **source,
            },
            "store": {"path": str(folder / "progress.db"), "interval_ms": 100},
            "output": [{"kind": "pub", "bind": "tcp://127.0.0.1:*"}],
        }
    )


def reading(relay: Relay, partitions: int) -> None:
    """Wait until so many partitions are read, and have said as much."""

    def all_are() -> bool:
        running = sum(one["state"] == "running" for one in relay.status()["partitions"])
        return running >= partitions and relay.stats()["pushes"] >= partitions and not relay.problems()

    eventually(all_are, 45)


FORMS = [(dialect, mode) for dialect in ("googlesql", "postgresql") for mode in ("immutable", "mutable")]
"""Every form of change stream there is."""


@pytest.fixture(params=FORMS, ids="-".join)
def churning(request: pytest.FixtureRequest) -> Iterator[Simulator]:
    """Splits, merges, moves, values cut at arbitrary places, and few resume tokens."""
    dialect, mode = request.param
    config = SimulatorConfig(
        dialect=dialect, mode=mode, partitions=6, churn=60, chop=3, chunk_bytes=500, seed=7
    )
    with Simulator(config) as simulator:
        yield simulator


def test_what_arrives_is_what_was_committed(churning: Simulator, tmp_path: Path) -> None:
    """Every change once, its values equal, over parallel partitions that split and merge."""
    with Relay(settings(churning, tmp_path)) as relay, Listener(relay.endpoints[0][0]) as listener:
        reading(relay, 6)
        churning.workload(WorkloadConfig(changes=1500))
        listener.wait_for(churning.changes)
        time.sleep(0.2)
        assert sorted(change.canonical() for change in listener.changes) == sorted(churning.committed())


def test_breaks_inside_of_values_are_mended(churning: Simulator, tmp_path: Path) -> None:
    """The connection breaks again and again: resume tokens and fresh queries lose and repeat nothing."""
    network = Network(churning.address)
    config = settings(churning, tmp_path, network.host)
    with Relay(config) as relay, Listener(relay.endpoints[0][0]) as listener:
        reading(relay, 6)
        for _ in range(10):
            churning.workload(WorkloadConfig(changes=150))
            network.cut()
            time.sleep(0.05)
        listener.wait_for(churning.changes)
        time.sleep(0.2)
        assert sorted(change.canonical() for change in listener.changes) == sorted(churning.committed())
    network.close()


def test_more_partitions_than_a_connection_carries_are_all_read(tmp_path: Path) -> None:
    """A connection takes 100 streams; the 101st gets another one instead of waiting for ever."""
    with Simulator(SimulatorConfig(partitions=130)) as simulator:
        config = settings(simulator, tmp_path)
        with Relay(config) as relay, Listener(relay.endpoints[0][0]) as listener:
            eventually(lambda: len(relay.status()["partitions"]) == 130)
            reading(relay, 130)
            simulator.workload(WorkloadConfig(changes=600))
            listener.wait_for(simulator.changes)
            eventually(lambda: relay.status()["lag_seconds"] < 5)
            # Each takes a moment to stop: one after the other they would not be done by then.
            assert relay.stop(20), "stopping takes no longer for many partitions"
        assert sorted(change.canonical() for change in listener.changes) == sorted(simulator.committed())


@pytest.mark.parametrize("streams", [1, 7])
def test_connections_are_shared_as_configured(tmp_path: Path, streams: int) -> None:
    """Fewer streams a connection than Spanner allows are possible, for what stands between."""
    with (
        Simulator(SimulatorConfig(partitions=12, streams_per_connection=streams)) as simulator,
        Relay(settings(simulator, tmp_path, streams_per_channel=streams)) as relay,
    ):
        reading(relay, 12)
        eventually(lambda: relay.stats()["heartbeats"] >= 12)
