"""A relay on a real emulator: everything arrives, over churn, restarts and broken connections."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from integration.emulator import DIALECTS, Emulator, EmulatorDatabase, now
from integration.relays import STREAM, TABLE, Listener, Network, eventually, pushed, settings, writing

from spanwire._core import Timestamp
from spanwire.config import Config
from spanwire.errors import RetentionExpired, SocketError, StoreError
from spanwire.records import PartitionRecord, State
from spanwire.relay import Relay, run
from spanwire.source import reader as source_reader
from spanwire.store import SqliteStore


@pytest.fixture(params=DIALECTS)
def database(request: pytest.FixtureRequest, churning_emulator: Emulator) -> Iterator[EmulatorDatabase]:
    """A database of either dialect whose partitions live 2 to 4 s."""
    made = churning_emulator.database(request.param, [TABLE[request.param], STREAM])
    yield made
    made.drop()


@pytest.fixture
def googlesql(churning_emulator: Emulator) -> Iterator[EmulatorDatabase]:
    """One dialect is enough where the other adds nothing."""
    made = churning_emulator.database("googlesql", [TABLE["googlesql"], STREAM])
    yield made
    made.drop()


def stored(config: Config) -> list[PartitionRecord]:
    """What the store holds, once its relay has ended."""
    store = SqliteStore(config.store.path, config.source.identity)
    partitions = store.load()
    store.close()
    return partitions


def test_everything_arrives_once_over_splits_merges_and_moves(
    database: EmulatorDatabase, tmp_path: Path
) -> None:
    """In commit order of the one partition that takes writes, and the tree is followed without loss."""
    config = settings(database, tmp_path)
    with Relay(config) as relay, Listener(relay.endpoints[0][0]) as listener:
        with writing(database, 0) as committed:
            time.sleep(8)
            # Partitions have ended, and others were begun.
            eventually(lambda: max(one["epoch"] for one in relay.status()["partitions"]) > 4)
        listener.wait_for(len(committed))
        assert listener.rows() == committed
        assert [str(one.version) for one in listener.changes] == sorted(
            str(one.version) for one in listener.changes
        )
        assert relay.problems() == []
    assert all(one.state in (State.RUNNING, State.CREATED, State.SCHEDULED) for one in stored(config))


def test_a_relay_goes_on_where_it_stopped(database: EmulatorDatabase, tmp_path: Path) -> None:
    """What was committed while it was away arrives, though its partitions have ended meanwhile."""
    config = settings(database, tmp_path)
    with Relay(config) as relay, Listener(relay.endpoints[0][0]) as listener:
        database.insert("items", ["k"], [[1]])
        listener.wait_for(1)
        assert relay.stop()
    held = {one.token: one for one in stored(config)}
    before = held.keys()
    database.insert("items", ["k"], [[2]])
    time.sleep(5)  # every partition known to the store has ended by now
    database.insert("items", ["k"], [[3]])
    # Nothing is read before the listener listens: PUB forgets who is not there.
    config = settings(database, tmp_path, start=now(-3600))
    with Relay(config) as relay, Listener(relay.endpoints[0][0]) as listener:
        database.insert("items", ["k"], [[4]])
        eventually(lambda: 4 in listener.rows())
        eventually(lambda: before.isdisjoint(one["token"] for one in relay.status()["partitions"]))
    after = {one.token: one for one in stored(config)}
    assert before.isdisjoint(after), "finished partitions are not kept"
    owned = [one.epoch for one in after.values() if one.state is State.RUNNING]
    assert min(owned) > max(one.epoch for one in held.values())


RELAY = textwrap.dedent(
    """
    import sys
    from spanwire.config import load
    from spanwire.relay import Relay

    with Relay(load(sys.argv[1])) as relay:
        relay.wait()
    """
)


def as_toml(config: Config, bind: str) -> str:
    """The config as a file for a relay in a process of its own."""
    source = config.source
    lines = ["[source]"]
    for name in ("project", "instance", "database", "stream", "emulator_host"):
        lines.append(f'{name} = "{getattr(source, name)}"')
    lines += [f"heartbeat_ms = {source.heartbeat_ms}", "[store]", f'path = "{config.store.path}"']
    lines += [f"interval_ms = {config.store.interval_ms}", "[[output]]", 'kind = "push"', f'bind = "{bind}"']
    return "\n".join(lines)


def test_killed_relays_lose_nothing(googlesql: EmulatorDatabase, tmp_path: Path) -> None:
    """By kill -9 at any moment, over churn: every change arrives at least once, and in order."""
    config = settings(googlesql, tmp_path)
    endpoint = f"ipc://{tmp_path}/relay.sock"
    (tmp_path / "relay.toml").write_text(as_toml(config, endpoint))
    command = [sys.executable, "-c", RELAY, str(tmp_path / "relay.toml")]
    relay = subprocess.Popen(command, env=os.environ)
    # PUSH waits for its peer, where a SUB that reconnects would miss what is sent meanwhile.
    with Listener(endpoint, pull=True) as listener:
        eventually((tmp_path / "relay.sock").exists)
        database_is_read(listener, googlesql)
        with writing(googlesql, 0, 0.02) as committed:
            for alive in (2.0, 0.7, 3.1, 1.3):
                time.sleep(alive)
                relay.send_signal(signal.SIGKILL)
                relay.wait()
                relay = subprocess.Popen(command, env=os.environ)
            time.sleep(1)
        eventually(lambda: committed[-1] in listener.rows())
        relay.send_signal(signal.SIGKILL)
        relay.wait()
        heard = [key for key in listener.rows() if key >= 0]
    assert set(heard) == set(committed)
    first_time = list(dict.fromkeys(heard))
    assert first_time == sorted(first_time), "a change came before an older one"


def database_is_read(listener: Listener, database: EmulatorDatabase) -> None:
    """Wait until a relay that starts from now has begun."""
    for key in range(-1, -200, -1):
        database.insert("items", ["k"], [[key]])
        time.sleep(0.1)
        if listener.changes:
            return
    raise AssertionError("the relay reads nothing")


def test_a_run_to_an_end_ends_and_a_later_one_goes_on(googlesql: EmulatorDatabase, tmp_path: Path) -> None:
    """At the end nothing is finished without children; the next run finds every partition's children."""
    start = now()
    googlesql.insert("items", ["k"], [[1]])
    first = pushed(settings(googlesql, tmp_path, start=start, end=now(4)), tmp_path)
    bind = first.output[0].bind[0]
    with Listener(bind, pull=True) as listener, Relay(first) as relay:
        assert relay.wait(60)
        listener.wait_for(1)
        assert listener.rows() == [1]
        assert relay.problems() == ["the relay does not run"]
    held = stored(first)
    assert held
    assert all(one.resume_at <= Timestamp.parse(first.source.end) for one in held)
    time.sleep(5)
    googlesql.insert("items", ["k"], [[2]])
    second = pushed(settings(googlesql, tmp_path, end=now(1)), tmp_path)
    with Listener(bind, pull=True) as listener, Relay(second) as relay:
        assert relay.wait(60)
        eventually(lambda: 2 in listener.rows())


def test_a_bounded_read_of_the_past_comes_to_its_end(database: EmulatorDatabase, tmp_path: Path) -> None:
    """Nothing was committed in the range, so no record stands at its end."""
    start = now()
    time.sleep(0.6)
    end = now()
    time.sleep(0.6)
    database.insert("items", ["k"], [[1]])
    with Relay(settings(database, tmp_path, start=start, end=end)) as relay:
        assert relay.wait(60)
        assert relay.stats()["changes"] == 0


def test_a_connection_that_breaks_is_made_again(googlesql: EmulatorDatabase, tmp_path: Path) -> None:
    """Within one relay nothing is lost and nothing comes twice, however often it breaks."""
    network = Network(googlesql.host)
    config = settings(googlesql, tmp_path, network.host)
    with Relay(config) as relay, Listener(relay.endpoints[0][0]) as listener:
        with writing(googlesql, 0) as committed:
            for _ in range(8):
                time.sleep(0.3)
                before = network.connections
                network.cut()
                eventually(lambda before=before: network.connections > before)  # type: ignore[misc]
        listener.wait_for(len(committed))
        time.sleep(0.3)
        assert listener.rows() == committed
    network.close()


def test_a_connection_that_is_dead_but_open_is_noticed(
    googlesql: EmulatorDatabase, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Missing heartbeats tell; the stream is opened again and goes on where it was."""
    monkeypatch.setattr(source_reader, "_SILENT_S", 1.0)
    network = Network(googlesql.host)
    with (
        Relay(settings(googlesql, tmp_path, network.host)) as relay,
        Listener(relay.endpoints[0][0]) as listener,
    ):
        googlesql.insert("items", ["k"], [[1]])
        listener.wait_for(1)
        network.silence()
        googlesql.insert("items", ["k"], [[2]])
        eventually(lambda: any("interrupted" in problem for problem in relay.problems()))
        network.cut()
        network.flow()
        listener.wait_for(2)
        eventually(lambda: relay.problems() == [])
        assert listener.rows() == [1, 2]
    network.close()


def test_expired_retention_ends_the_relay_and_stores_nothing(
    googlesql: EmulatorDatabase, tmp_path: Path
) -> None:
    """The error names the range that is lost; a start-up that failed leaves no partitions behind."""
    config = settings(googlesql, tmp_path, start="2020-01-01T00:00:00Z")
    with (
        pytest.raises(
            RetentionExpired, match=r"from 2020-01-01T00:00:00.000000000Z to 20.* is lost"
        ) as caught,
        Relay(config) as relay,
    ):
        relay.wait(60)
    assert caught.value.fields["lost_from"] == Timestamp.parse("2020-01-01T00:00:00Z")
    assert caught.value.fields["lost_to"] > Timestamp.parse("2026-01-01T00:00:00Z")
    assert stored(config) == []


def test_a_stored_position_that_expired_ends_the_relay_too(
    googlesql: EmulatorDatabase, tmp_path: Path
) -> None:
    """Not retried for ever, not taken for the partition's end; the store keeps where it was."""
    config = settings(googlesql, tmp_path)
    with Relay(config) as relay:
        eventually(lambda: bool(relay.status()["partitions"]))
    store = SqliteStore(config.store.path, config.source.identity)
    [first, *_] = store.load()
    store.close()
    stale = PartitionRecord(first.token, Timestamp.parse("2020-01-01T00:00:00Z"))
    for leftover in tmp_path.glob("progress.db*"):
        leftover.unlink()
    store = SqliteStore(config.store.path, config.source.identity)
    store.initialise([stale])
    store.close()
    with pytest.raises(RetentionExpired, match="reading partition"), Relay(config) as relay:
        relay.wait(60)
    [kept] = stored(config)
    assert (kept.token, kept.state, kept.position) == (stale.token, State.RUNNING, None)


def test_a_port_in_use_is_told_before_anything_starts(googlesql: EmulatorDatabase, tmp_path: Path) -> None:
    """And the store is free for the next try."""
    with Relay(settings(googlesql, tmp_path)) as relay:
        taken = relay.endpoints[0][0]
        other = tmp_path / "other"
        other.mkdir()
        config = settings(googlesql, other).model_copy(
            update={"output": [settings(googlesql, other).output[0].model_copy(update={"bind": [taken]})]}
        )
        with pytest.raises(SocketError, match="in use"):
            Relay(config).start()
        assert stored(config) == []


def test_a_second_relay_on_the_same_store_is_refused(googlesql: EmulatorDatabase, tmp_path: Path) -> None:
    """One line, and the first goes on."""
    config = settings(googlesql, tmp_path)
    with Relay(config) as relay:
        with pytest.raises(StoreError, match="in use by another relay"):
            Relay(config).start()
        eventually(lambda: relay.problems() == [])


def test_a_relay_stops_promptly(googlesql: EmulatorDatabase, tmp_path: Path) -> None:
    """Idle streams do not hold it up; stopping again does nothing."""
    relay = Relay(settings(googlesql, tmp_path, heartbeat_ms=300_000))
    relay.start()
    eventually(lambda: len(relay.status()["partitions"]) == 2)
    assert relay.stop(60), "a reader waits for the next heartbeat"
    assert relay.stop()
    assert relay.wait(0)
    assert relay.problems() == ["the relay does not run"]


def test_run_ends_with_the_event_that_asks_for_it(googlesql: EmulatorDatabase, tmp_path: Path) -> None:
    """What a command line waits on; what runs beside ends with it."""
    stop, beside = threading.Event(), []

    def watch(relay: Relay) -> Network:
        beside.append(relay)
        threading.Timer(1.0, stop.set).start()
        return Watched()  # type: ignore[return-value]

    class Watched:
        def __enter__(self) -> None:
            beside.append("entered")

        def __exit__(self, *_: object) -> None:
            beside.append("left")

    run(settings(googlesql, tmp_path), stop, beside=watch)  # type: ignore[arg-type]
    assert beside[1:] == ["entered", "left"]


def test_a_relay_stops_although_an_output_is_full(googlesql: EmulatorDatabase, tmp_path: Path) -> None:
    """Readers that wait for room are let go; what they held is read again next time."""
    config = settings(googlesql, tmp_path)
    full = {"kind": "push", "queue_messages": 1, "batch_changes": 1, "high_water_mark": 1}
    pushing = config.model_copy(update={"output": [config.output[0].model_copy(update=full)]})
    relay = Relay(pushing)
    relay.start()
    eventually(lambda: len(relay.status()["partitions"]) == 2)
    googlesql.insert("items", ["k"], [[key] for key in range(50)])
    googlesql.insert("items", ["k"], [[key] for key in range(50, 100)])
    googlesql.insert("items", ["k"], [[key] for key in range(100, 150)])
    time.sleep(5)  # by now the partitions have ended, with something to send before
    assert not relay.stop(1)
    again = pushed(config, tmp_path)
    with Listener(again.output[0].bind[0], pull=True) as listener, Relay(again):
        eventually(lambda: set(listener.rows()) == set(range(150)))


def test_a_push_output_without_a_peer_holds_progress_back(
    googlesql: EmulatorDatabase, tmp_path: Path
) -> None:
    """Nothing that was not handed over is stored as done: the next relay sends it."""
    config = settings(googlesql, tmp_path)
    relay = Relay(pushed(config, tmp_path))
    relay.start()
    eventually(lambda: len(relay.status()["partitions"]) == 2)
    commit = googlesql.insert("items", ["k"], [[1]])
    eventually(lambda: relay.stats()["changes"] == 1)
    time.sleep(0.3)
    assert not relay.stop(0.5), "it cannot have been sent"
    assert min(one.resume_at for one in stored(config)) < Timestamp.parse(commit)
    again = pushed(config, tmp_path)
    with Listener(again.output[0].bind[0], pull=True) as listener, Relay(again):
        listener.wait_for(1)
        assert listener.rows() == [1]
