"""A relay of a stream whose key ranges move between partitions that live on (MUTABLE_KEY_RANGE)."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from integration.relays import Listener, eventually, pushed
from integration.test_relay_simulator import reading, settings

from spanwire._core import Timestamp
from spanwire.config import Config
from spanwire.records import PartitionRecord, State
from spanwire.relay import Relay
from spanwire.simulator import Simulator, SimulatorConfig, WorkloadConfig, upsert
from spanwire.simulator.moves import Move
from spanwire.simulator.queries import ChangeQuery
from spanwire.store import SqliteStore


@pytest.fixture
def simulator() -> Iterator[Simulator]:
    """Three partitions that change only when they are told to."""
    with Simulator(SimulatorConfig(mode="mutable", partitions=3, seed=5)) as running:
        yield running


def held(config: Config) -> dict[str, PartitionRecord]:
    """What the store holds, once its relay has ended."""
    store = SqliteStore(config.store.path, config.source.identity)
    found = {one.token: one for one in store.load()}
    store.close()
    return found


def write(simulator: Simulator, rounds: int) -> None:
    """A version of each of twenty rows, so many times over."""
    for version in range(rounds):
        for row in range(20):
            simulator.commit([upsert("accounts", id=row, name=f"{version}")])


def in_order(simulator: Simulator, listener: Listener) -> None:
    """All that was committed has arrived, once, each key's changes in commit order."""
    listener.wait_for(simulator.changes)
    lines = [change.canonical() for change in listener.changes]
    assert sorted(lines) == sorted(simulator.committed())
    newest: dict[str, str] = {}
    for change in map(json.loads, lines):
        key = json.dumps([change["table"], change["keys"]])
        assert newest.get(key, "") < change["version"], f"out of order: {key}"
        newest[key] = change["version"]


def test_keys_stay_in_order_when_two_partitions_swap(simulator: Simulator, tmp_path: Path) -> None:
    """Each waits for the other at one timestamp: they would for ever, if neither could have passed it."""
    with Relay(settings(simulator, tmp_path)) as relay, Listener(relay.endpoints[0][0]) as listener:
        reading(relay, 3)
        one, other, _ = simulator.partitions
        for _ in range(8):
            write(simulator, 2)
            simulator.move(Move(one, other), Move(other, one))
        write(simulator, 1)
        in_order(simulator, listener)
        assert relay.problems() == []


def test_a_partition_waits_for_every_source(simulator: Simulator, tmp_path: Path) -> None:
    """Keys come together from two, part again, and the partitions that lost theirs end."""
    config = settings(simulator, tmp_path)
    with Relay(config) as relay, Listener(relay.endpoints[0][0]) as listener:
        reading(relay, 3)
        for _ in range(5):
            target, *sources = simulator.partitions
            write(simulator, 2)
            simulator.move(*(Move(source, target) for source in sources), ends=sources)
            write(simulator, 2)
            simulator.split(target, 3)
        write(simulator, 1)
        in_order(simulator, listener)
        live = set(simulator.partitions)
        eventually(lambda: {one["token"] for one in relay.status()["partitions"]} == live)
    assert {token for token, one in held(config).items() if one.state is State.RUNNING} == live


class Holding(Simulator):
    """A simulator that keeps back what one partition has to say."""

    held = ""

    def read(self, query: ChangeQuery, resume: bytes, active: Callable[[], bool]) -> Iterator[bytes]:
        """The query's messages, as long as its partition is not held."""
        for message in super().read(query, resume, active):
            while self.held and self.held == query.token and active():
                time.sleep(0.01)
            yield message


def test_a_source_that_is_behind_holds_up_who_took_its_keys(tmp_path: Path) -> None:
    """Nothing of the keys that moved overtakes what their old partition has not handed over yet."""
    with (
        Holding(SimulatorConfig(mode="mutable", partitions=2, seed=5)) as simulator,
        Relay(settings(simulator, tmp_path)) as relay,
        Listener(relay.endpoints[0][0]) as listener,
    ):
        reading(relay, 2)
        simulator.held, target = simulator.partitions
        write(simulator, 1)
        simulator.move(Move(simulator.held, target))
        write(simulator, 3)
        eventually(lambda: bool(listener.changes))
        time.sleep(0.5)
        assert len(listener.changes) < 20, "only what the target had before the move"
        simulator.held = ""
        in_order(simulator, listener)


def test_windows_join_without_loss_or_repetition(
    simulator: Simulator, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A query must end; the next goes on from what was seen last, not from an end nobody spoke of."""
    monkeypatch.setattr("spanwire.source.query.WINDOW_S", 1)
    with Relay(settings(simulator, tmp_path)) as relay, Listener(relay.endpoints[0][0]) as listener:
        reading(relay, 3)
        began = time.monotonic()
        while time.monotonic() - began < 4:
            write(simulator, 1)
            time.sleep(0.02)
        in_order(simulator, listener)
        assert relay.problems() == []


def test_a_bounded_run_goes_on_where_it_stopped(simulator: Simulator, tmp_path: Path) -> None:
    """At the requested end no partition is finished for it, and moves behind it are read later."""
    first, second, third = simulator.partitions
    start = str(Timestamp(*divmod(simulator.created, 10**9)))
    write(simulator, 2)
    simulator.move(Move(first, second), ends=[first])
    write(simulator, 1)
    end = Timestamp.now()
    time.sleep(0.01)
    write(simulator, 1)
    simulator.move(Move(second, third))
    write(simulator, 1)
    heard = []
    for until in (str(end), ""):
        config = settings(simulator, tmp_path, start=start, **({"end": until} if until else {}))
        config = pushed(config, tmp_path)
        with Listener(config.output[0].bind[0], pull=True) as listener, Relay(config) as relay:
            if until:
                assert relay.wait(60)
                listener.wait_for(60)
            else:
                all_heard(listener, set(simulator.committed()).difference(heard))
            heard += [change.canonical() for change in listener.changes]
    # What was committed at the very last timestamp may come again: nothing says that it was all of it.
    assert sorted(set(heard)) == sorted(simulator.committed())
    assert len(heard) <= simulator.changes + 2


def all_heard(listener: Listener, wanted: set[str]) -> None:
    """Wait until all of these have come."""
    eventually(lambda: wanted <= {one.canonical() for one in listener.changes})


def test_a_stream_that_grew_is_followed_from_its_past(tmp_path: Path) -> None:
    """Partitions that have ended since, also those that nobody alive names, are read from the start on."""
    config = SimulatorConfig(mode="mutable", dialect="postgresql", partitions=2, churn=20, seed=9)
    with Simulator(config) as simulator:
        start = str(Timestamp(*divmod(simulator.created, 10**9)))
        simulator.workload(WorkloadConfig(changes=600))
        settled = pushed(settings(simulator, tmp_path, start=start), tmp_path)
        with Listener(settled.output[0].bind[0], pull=True) as listener, Relay(settled):
            in_order(simulator, listener)
