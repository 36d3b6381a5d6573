"""Faults that other readers of change streams have shipped, one test each: none of them is ours.

They are driven through the simulator, by scripts of faults where Spanner is the one that misbehaves.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from integration.relays import Listener, eventually, pushed
from integration.test_relay_simulator import reading, settings

from spanwire._core import Timestamp
from spanwire.config import Config
from spanwire.errors import FencedError, RetentionExpired
from spanwire.records import Progress, State
from spanwire.relay import Relay
from spanwire.simulator import Simulator, SimulatorConfig, WorkloadConfig, upsert
from spanwire.simulator.faults import Fault, FaultScript
from spanwire.simulator.tables import all_tables
from spanwire.source.retry import Backoff
from spanwire.store import SqliteStore

MODES = ["immutable", "mutable"]
NEVER_A_HEARTBEAT = Fault("late_heartbeat", queries=0, probability=1.0)


def simulated(mode: str = "immutable", *faults: Fault, **config: Any) -> Simulator:
    """Two partitions at the start, a message for each row, so that a script finds its places."""
    known: dict[str, Any] = {"partitions": 2, "message_bytes": 0, "resume_every": 3, "seed": 3, **config}
    return Simulator(SimulatorConfig(mode=mode, faults=FaultScript(faults, seed=1), **known))


def store_of(config: Config) -> SqliteStore:
    """The store, once its relay has ended."""
    return SqliteStore(config.store.path, config.source.identity)


def created(simulator: Simulator) -> str:
    """The earliest timestamp that can be read."""
    return str(Timestamp(*divmod(simulator.created, 10**9)))


def arrived(simulator: Simulator, listener: Listener) -> None:
    """All that was committed has arrived, once."""
    listener.wait_for(simulator.changes)
    time.sleep(0.1)
    assert sorted(change.canonical() for change in listener.changes) == sorted(simulator.committed())


@pytest.fixture(autouse=True)
def _impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is waited for between two attempts says nothing here."""
    quick: Callable[[], Backoff] = lambda: Backoff(first_s=0.005, most_s=0.05)  # noqa: E731
    monkeypatch.setattr("spanwire.source.reader.Backoff", quick)


@pytest.mark.parametrize("mode", MODES)
def test_1_a_stream_that_ends_early_finishes_no_partition(mode: str, tmp_path: Path) -> None:
    """However it ends, cleanly or broken, wherever: the partitions that follow are found and read."""
    faults = [
        Fault(kind, queries=0, probability=0.04, in_value=in_value)
        for kind in ("early_end", "unavailable", "reset")
        for in_value in (False, True)
    ]
    with (
        simulated(mode, *faults, churn=40) as simulator,
        Relay(settings(simulator, tmp_path)) as relay,
        Listener(relay.endpoints[0][0]) as listener,
    ):
        reading(relay, 2)
        simulator.workload(WorkloadConfig(changes=400))
        arrived(simulator, listener)
        assert len(simulator.struck) > 5
        live = set(simulator.partitions)
        eventually(lambda: live <= {one["token"] for one in relay.status()["partitions"]})


@pytest.mark.parametrize("mode", MODES)
def test_2_a_bounded_read_without_a_record_at_its_end_ends(mode: str, tmp_path: Path) -> None:
    """Nothing was committed there, and no heartbeat says so."""
    with simulated(mode, NEVER_A_HEARTBEAT) as simulator:
        simulator.commit([upsert("accounts", id=1, name="Ada")])
        time.sleep(0.2)
        config = settings(simulator, tmp_path, start=created(simulator), end=str(Timestamp.now()))
        config = pushed(config, tmp_path)
        with Listener(config.output[0].bind[0], pull=True) as listener, Relay(config) as relay:
            assert relay.wait(60)
            listener.wait_for(1)


def test_3_the_end_of_a_window_is_no_progress(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Windows end where nothing is said: reading goes on from what was, never from a step behind the end."""
    monkeypatch.setattr("spanwire.source.query.WINDOW_S", 1)
    with (
        simulated("mutable", NEVER_A_HEARTBEAT) as simulator,
        Relay(settings(simulator, tmp_path)) as relay,
        Listener(relay.endpoints[0][0]) as listener,
    ):
        for version in range(4):
            simulator.commit([upsert("accounts", id=row, name=f"{version}") for row in range(10)])
            time.sleep(0.7)  # an end of a window lies in between, and some partition has ended there
            simulator.split(simulator.partitions[0])
        arrived(simulator, listener)


def test_4_a_late_write_changes_nothing_that_is_finished(tmp_path: Path) -> None:
    """A position or an owner that comes after the end is refused, and the end stays."""
    with simulated() as simulator:
        config = settings(simulator, tmp_path)
        with Relay(config) as relay:
            reading(relay, 2)
            parent = simulator.partitions[0]
            epoch = {one["token"]: one["epoch"] for one in relay.status()["partitions"]}[parent]
            store = relay._parts.store  # type: ignore[union-attr]
            kept: list[Any] = []
            store.forget = kept.extend  # type: ignore[method-assign]
            simulator.split(parent)
            eventually(lambda: parent in kept)
            for late in (
                lambda: store.advance([Progress(parent, epoch, Timestamp.now())]),
                lambda: store.acquire(parent, State.RUNNING, epoch),
                lambda: store.finish(parent, epoch),
            ):
                with pytest.raises(FencedError):
                    late()
            assert {one.token: one.state for one in store.load()}[parent] is State.FINISHED


@pytest.mark.parametrize("mode", MODES)
def test_5_a_start_that_died_half_way_is_made_again(mode: str, tmp_path: Path) -> None:
    """The store is laid out and holds no partition yet; and the initial query fails more than once."""
    with simulated(mode, Fault("unavailable", "initial", queries=3)) as simulator:
        config = settings(simulator, tmp_path)
        store_of(config).close()
        with Relay(config) as relay, Listener(relay.endpoints[0][0]) as listener:
            reading(relay, 2)
            simulator.workload(WorkloadConfig(changes=20))
            arrived(simulator, listener)


def test_6_a_second_owner_stops_the_first(tmp_path: Path) -> None:
    """Whoever has the newer epoch goes on; the other stores nothing any more."""
    with simulated() as simulator:
        config = settings(simulator, tmp_path)
        with pytest.raises(FencedError, match="another owner goes on"), Relay(config) as relay:
            reading(relay, 2)
            store = relay._parts.store  # type: ignore[union-attr]
            known = next(one for one in store.load() if one.state is State.RUNNING)
            newer = store.acquire(known.token, State.RUNNING, known.epoch)
            relay.wait(60)
        store = store_of(config)
        held = {one.token: one for one in store.load()}[known.token]
        store.close()
        assert (held.epoch, held.position) == (newer.epoch, newer.position)


@pytest.mark.parametrize("mode", MODES)
def test_7_an_idle_partition_advances_by_heartbeats(mode: str, tmp_path: Path) -> None:
    """Nothing is committed, and yet its stored position never falls out of the retention period."""
    with simulated(mode) as simulator, Relay(settings(simulator, tmp_path)) as relay:
        reading(relay, 2)
        store = relay._parts.store  # type: ignore[union-attr]
        began = Timestamp.now()
        eventually(lambda: all(one.position and one.position > began for one in store.load()))


@pytest.mark.parametrize("mode", MODES)
def test_8_no_position_lies_between_records_of_one_timestamp(mode: str, tmp_path: Path) -> None:
    """Two transactions share it, and the stream breaks between them: what was not read is not done."""
    lasting = Fault("unavailable", 0, queries=0, message=2)  # each query brings one record, never another
    with simulated(mode, lasting, NEVER_A_HEARTBEAT, partitions=1, resume_every=0) as simulator:
        config = pushed(settings(simulator, tmp_path, start=created(simulator)), tmp_path)
        rows = [[upsert("accounts", id=number, name="x")] for number in range(3)]
        first, *_ = simulator.commit_together(rows)
        with Listener(config.output[0].bind[0], pull=True) as listener:
            with Relay(config) as relay:
                listener.wait_for(1)
                eventually(lambda: relay.stats()["duplicates"] > 2)
            store = store_of(config)
            [held] = store.load()
            store.close()
            assert held.resume_at < Timestamp(*divmod(first.timestamp, 10**9))
            assert len(listener.changes) == 1


@pytest.mark.parametrize("mode", MODES)
def test_9_patience_begins_again_with_every_progress(mode: str, tmp_path: Path) -> None:
    """Far more unclear faults than are borne in a row, with something new between each two of them."""
    with (
        simulated(mode, Fault("reset", queries=0, message=3), partitions=1, resume_every=1) as simulator,
        Relay(settings(simulator, tmp_path)) as relay,
        Listener(relay.endpoints[0][0]) as listener,
    ):
        for row in range(80):
            simulator.commit([upsert("accounts", id=row, name="x")])
        arrived(simulator, listener)
        assert len(simulator.struck) > 2 * Backoff().patience


@pytest.mark.parametrize("mode", MODES)
def test_10_a_range_that_is_gone_is_named(mode: str, tmp_path: Path) -> None:
    """Neither tried for ever nor taken for the partition's end: the relay ends, the position stays."""
    with simulated(mode, Fault("expired", 0, query=2, queries=0)) as simulator:
        config = settings(simulator, tmp_path)
        with pytest.raises(RetentionExpired, match="is lost to this relay") as caught, Relay(config) as relay:
            reading(relay, 2)
            for one in relay._keeper._running.values():  # type: ignore[union-attr]
                one.reader.interrupt()
            relay.wait(60)
        assert caught.value.fields["lost_from"] is not None
        store = store_of(config)
        assert [one.state for one in store.load()] == [State.RUNNING] * 2
        store.close()


@pytest.mark.parametrize("mode", MODES)
def test_10_a_resumed_query_that_is_too_old_is_asked_afresh(mode: str, tmp_path: Path) -> None:
    """It began before the retention period, as one that lives long does; what was seen last did not."""
    with (
        simulated(mode, Fault("expired", 0, query=2), partitions=1, resume_every=1) as simulator,
        Relay(settings(simulator, tmp_path)) as relay,
        Listener(relay.endpoints[0][0]) as listener,
    ):
        reading(relay, 1)
        simulator.workload(WorkloadConfig(changes=20))
        listener.wait_for(20)
        for one in relay._keeper._running.values():  # type: ignore[union-attr]
            one.reader.interrupt()
        eventually(lambda: len(simulator.struck) == 1)
        simulator.workload(WorkloadConfig(changes=20))
        arrived(simulator, listener)
        assert relay.problems() == []


@pytest.mark.parametrize("dialect", ["googlesql", "postgresql"])
@pytest.mark.parametrize("mode", MODES)
def test_12_tables_of_every_kind_are_carried(mode: str, dialect: Any, tmp_path: Path) -> None:
    """NULL in primary keys, named schemas, reserved words, every type: what arrives is what was committed."""
    with (
        simulated(mode, dialect=dialect, tables=all_tables(dialect), churn=60, chunk_bytes=700) as simulator,
        Relay(settings(simulator, tmp_path)) as relay,
        Listener(relay.endpoints[0][0]) as listener,
    ):
        reading(relay, 2)
        simulator.workload(WorkloadConfig(changes=400))
        arrived(simulator, listener)
        assert any("." in change.table for change in listener.changes)
        assert any(None in change.keys.values() for change in listener.changes)
