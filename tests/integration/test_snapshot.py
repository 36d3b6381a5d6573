"""Snapshots over the relay: with the changes after them they are the tables, whatever happens on the way."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from integration.relays import Network, eventually
from integration.test_relay_simulator import FORMS, reading
from integration.test_replay import settings

from spanwire import Timestamp, replay, snapshot
from spanwire._core import Change
from spanwire.consumer.link import Link
from spanwire.errors import RefusedError, RetentionExpired
from spanwire.relay import Relay
from spanwire.simulator import Simulator, SimulatorConfig, WorkloadConfig, delete, insert, update

Tables = dict[str, dict[str, dict[str, str]]]


def apply(tables: Tables, change: Change) -> None:
    """As any consumer would."""
    rows, key = tables.setdefault(change.table, {}), repr(change.keys)
    if change.mod_type == "DELETE":
        del rows[key]
    else:
        written = {name: repr(value) for name, value in {**change.keys, **change.new}.items()}  # NaN is no NaN
        rows[key] = {**rows.get(key, {}), **written}


@pytest.fixture(params=FORMS, ids="-".join)
def simulator(request: pytest.FixtureRequest) -> Iterator[Simulator]:
    """Splits, merges, moves, values cut at arbitrary places."""
    dialect, mode = request.param
    config = SimulatorConfig(
        dialect=dialect, mode=mode, churn=60, chop=3, chunk_bytes=300, message_bytes=4000, resume_every=2, seed=9
    )
    with Simulator(config) as one:
        yield one


@contextlib.contextmanager
def busy(simulator: Simulator) -> Iterator[None]:
    """Random transactions go on meanwhile."""
    stop = threading.Event()

    def work() -> None:
        while not stop.is_set():
            simulator.workload(WorkloadConfig(changes=20))
            stop.wait(0.05)

    thread = threading.Thread(target=work)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()


def test_a_snapshot_and_the_changes_after_it_are_the_tables(simulator: Simulator, tmp_path: Path) -> None:
    """Random transactions meanwhile: what is applied in order equals another snapshot at the end."""
    simulator.workload(WorkloadConfig(changes=600))
    with Relay(settings(simulator, tmp_path)) as relay:
        endpoint = relay.endpoints[1][0]
        tables: Tables = {}
        with busy(simulator), snapshot(endpoint) as rows:
            for row in rows:
                assert row.commit_timestamp == rows.at
                apply(tables, row)
        assert rows.done and rows.at is not None
        assert rows.rows == sum(map(len, tables.values())) > 100
        then: Tables = {}
        with snapshot(endpoint) as later:
            for row in later:
                apply(then, row)
        assert later.at is not None
        for change in replay(endpoint, after=rows.at, until=later.at):
            apply(tables, change)
        assert tables == then
