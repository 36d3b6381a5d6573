"""Snapshots over the relay: with the changes after them they are the tables, whatever happens on the way."""

from __future__ import annotations

import asyncio
import contextlib
import json
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from integration.relays import Network, eventually
from integration.test_relay_simulator import FORMS
from integration.test_replay import settings

from spanwire import replay, snapshot
from spanwire._core import Change, Timestamp
from spanwire.consumer.link import Link
from spanwire.errors import RefusedError, RetentionExpired
from spanwire.relay import Relay
from spanwire.simulator import Simulator, SimulatorConfig, WorkloadConfig, insert
from spanwire.simulator.catalogue import Catalogue
from spanwire.source.cut import Cut

Tables = dict[str, dict[str, dict[str, str]]]


def apply(tables: Tables, change: Change) -> None:
    """As any consumer would."""
    rows, key = tables.setdefault(change.table, {}), repr(change.keys)
    if change.mod_type == "DELETE":
        del rows[key]
    else:
        written = {
            name: repr(value) for name, value in {**change.keys, **change.new}.items()
        }  # NaN is no NaN
        rows[key] = {**rows.get(key, {}), **written}


@pytest.fixture(params=FORMS, ids="-".join)
def simulator(request: pytest.FixtureRequest) -> Iterator[Simulator]:
    """Splits, merges, moves, values cut at arbitrary places."""
    dialect, mode = request.param
    config = SimulatorConfig(
        dialect=dialect,
        mode=mode,
        churn=60,
        chop=3,
        chunk_bytes=300,
        message_bytes=4000,
        resume_every=2,
        seed=9,
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


@pytest.fixture
def plain() -> Iterator[Simulator]:
    """Tables in eight parts each, small messages: there is something to interrupt."""
    config = SimulatorConfig(partitions=2, table_parts=8, message_bytes=2000, resume_every=3, seed=4)
    with Simulator(config) as simulator:
        simulator.workload(WorkloadConfig(changes=2000))
        yield simulator


def whole(endpoint: str, **given: Any) -> list[str]:
    """All rows, as canonical lines."""
    with snapshot(endpoint, **given) as rows:
        return sorted(row.canonical() for row in rows)


def content(lines: list[str]) -> set[str]:
    """Rows without their numbers, which another reading may give them otherwise."""
    rows = (json.loads(line) for line in lines)
    return {
        json.dumps({name: row[name] for name in ("table", "keys", "new")}, sort_keys=True) for row in rows
    }


def test_one_timestamp_has_one_content_also_later(plain: Simulator, tmp_path: Path) -> None:
    """The same rows whenever they are read, whatever was committed since; tables and topics choose.

    Each comes once, with a version of its own.
    """
    with Relay(settings(plain, tmp_path)) as relay:
        endpoint = relay.endpoints[1][0]
        with snapshot(endpoint) as first:
            rows = list(first)
        assert len({str(row.version) for row in rows}) == len(rows) == first.rows
        assert all(row.mod_type == "INSERT" and not row.old for row in rows)
        plain.workload(WorkloadConfig(changes=500))
        before = sorted(row.canonical() for row in rows)
        assert content(whole(endpoint, at=first.at)) == content(before)
        assert content(whole(endpoint)) != content(before)
        orders = sorted(row.canonical() for row in rows if row.table == "orders")
        assert content(whole(endpoint, at=first.at, tables="orders")) == content(orders)
        assert content(whole(endpoint, at=first.at, topics="demo/changes/orders/")) == content(orders)


def test_in_asyncio_it_is_the_same(plain: Simulator, tmp_path: Path) -> None:
    """Two on one loop have the rows of one in a thread; one that is left early is over."""

    async def rows_of(endpoint: str, **given: Any) -> list[str]:
        async with snapshot(endpoint, **given) as rows:
            found = sorted([row.canonical() async for row in rows])
            assert rows.done and rows.rows == len(found)
            return found

    async def all_of(endpoint: str, at: Timestamp) -> list[list[str]]:
        async with snapshot(endpoint, at=at) as left:
            await anext(left)
        with pytest.raises(StopAsyncIteration):
            await anext(left)
        assert not left.done
        return await asyncio.gather(
            rows_of(endpoint, at=at, tables="orders"), rows_of(endpoint, at=at, topics="demo/changes/orders/")
        )

    with Relay(settings(plain, tmp_path, max_snapshots=3)) as relay:
        endpoint = relay.endpoints[1][0]
        with snapshot(endpoint, "orders") as rows:
            expected = content([row.canonical() for row in rows])
        assert rows.at is not None
        found = asyncio.run(all_of(endpoint, rows.at))
    assert [content(one) for one in found] == [expected] * 2 and expected


def test_a_snapshot_that_was_cut_off_goes_on(plain: Simulator, tmp_path: Path) -> None:
    """On another relay, at the same timestamp, without the parts that were finished."""
    taken: list[str] = []
    with Relay(settings(plain, tmp_path)) as relay:
        with snapshot(relay.endpoints[1][0]) as complete:
            expected = sorted(row.canonical() for row in complete)
        with snapshot(relay.endpoints[1][0], at=complete.at) as rows:
            for row in rows:
                taken.append(row.canonical())
                if rows.parts[0] >= 8 and rows.resume:
                    break
        resume, at = rows.resume, rows.at
    assert len(resume) < 10_000 and not rows.done
    plain.workload(WorkloadConfig(changes=300))
    with Relay(settings(plain, tmp_path)) as relay, snapshot(relay.endpoints[1][0], resume=resume) as rest:
        again = [row.canonical() for row in rest]
        assert rest.at == at and rest.done
    assert content(taken + again) == content(expected)
    assert 0 < len(again) < len(expected)


def test_parts_that_are_lost_are_read_anew(plain: Simulator, tmp_path: Path) -> None:
    """The transaction and its tokens are gone: the tables are parted again at the same timestamp."""
    with Relay(settings(plain, tmp_path)) as relay:
        endpoint = relay.endpoints[1][0]
        with snapshot(endpoint) as complete:
            expected = [row.canonical() for row in complete]
        with snapshot(endpoint, at=complete.at) as rows:
            taken = [next(rows).canonical()]
        plain.tables.lose_transactions()
        with snapshot(endpoint, resume=rows.resume) as rest:
            taken += [row.canonical() for row in rest]
            assert rest.at == complete.at
    assert content(taken) == content(expected)


def test_connections_that_break_lose_nothing(plain: Simulator, tmp_path: Path) -> None:
    """To Spanner: resume tokens go on, or the part is read again. What came is all that was there."""
    network = Network(plain.address)
    config = settings(plain, tmp_path)
    broken = config.model_copy(
        update={"source": config.source.model_copy(update={"emulator_host": network.host})}
    )
    (tmp_path / "other").mkdir()
    try:
        with Relay(broken) as relay, Relay(settings(plain, tmp_path / "other")) as other:
            expected: list[str] = []
            with snapshot(other.endpoints[1][0]) as complete:
                expected = [row.canonical() for row in complete]
            taken = []
            with snapshot(relay.endpoints[1][0], at=complete.at) as rows:
                for number, row in enumerate(rows):
                    taken.append(row.canonical())
                    if number % 200 == 50:
                        network.cut()
            assert rows.done
        assert content(taken) == content(expected)
    finally:
        network.close()


def test_past_retention_and_wrong_requests_are_refused(tmp_path: Path) -> None:
    """With a typed error that says what there is; the relay goes on."""
    with Simulator(SimulatorConfig()) as simulator, Relay(settings(simulator, tmp_path)) as relay:
        endpoint = relay.endpoints[1][0]
        simulator.commit([insert("accounts", id=1, name="Ada")])
        with snapshot(endpoint) as rows:
            assert [row.keys for row in rows] == [{"id": 1}]
            at, resume = rows.at, rows.resume
        assert at is not None
        keep_versions(simulator, 0)
        with pytest.raises(RetentionExpired) as gone:
            whole(endpoint, at=at)
        assert gone.value.fields["lost_to"] > at and "version_retention_period" in str(gone.value)
        assert f"as of {at}" in str(gone.value)
        with pytest.raises(RetentionExpired):
            whole(endpoint, resume=resume)
        keep_versions(simulator, 3600)
        for wrong, reason in (
            ({"at": "2199-01-01T00:00:00Z"}, "future"),
            ({"tables": "nothing"}, "failed"),
            ({"topics": "other/"}, "unknownTopic"),
            ({"output": 7}, "unknownOutput"),
            ({"resume": "garbage"}, "malformed"),
            ({"resume": Cut(at).encode(b"another stream..")}, "otherStream"),
        ):
            with pytest.raises(RefusedError) as refused:
                whole(endpoint, **wrong)  # type: ignore[arg-type]
            assert refused.value.fields["reason"] == reason
        assert len(whole(endpoint)) == 1


def keep_versions(simulator: Simulator, seconds: int) -> None:
    """From now on for so long: a short time from the beginning on could be over before a row is read."""
    object.__setattr__(simulator.config, "version_retention_s", seconds)
    simulator._server._catalogue = Catalogue(simulator.config)  # type: ignore[union-attr]


def test_masks_and_conditions_apply(plain: Simulator, tmp_path: Path) -> None:
    """What an output leaves out, or masks, is in none of its snapshots' messages."""
    plain.commit([insert("accounts", id=10**6, revision=1, name="Gertrude Secret", active=True)])
    outputs = [
        {
            "kind": "pub",
            "bind": "tcp://127.0.0.1:*",
            "values": "json",
            "tables": ["accounts"],
            "table": [{"name": "accounts", "exclude_columns": ["name"], "where": ["active = true"]}],
        }
    ]
    with Relay(settings(plain, tmp_path, outputs)) as relay:
        link = Link(relay.endpoints[1][0])
        exchange = link.ask("snapshot", output=0)
        frames: list[bytes] = []
        over = False
        while not over:
            assert link.socket.poll(60_000)
            for answer in link.take():
                frames += answer.frames or []
                link.grant(exchange, answer.size)
                over = over or answer.kind in ("done", "refused")
        link.close()
        assert frames and not any(b"Gertrude" in frame or b"name" in frame for frame in frames)
        with snapshot(relay.endpoints[1][0]) as rows:
            found = list(rows)
        assert {row.table for row in found} == {"accounts"}
        assert all(row.new["active"] and "name" not in row.new for row in found)
        assert 10**6 in {row.keys["id"] for row in found}


def handles(pid: int, number: signal.Signals) -> bool:
    """Whether a process has a handler of its own for a signal: Python itself has none for SIGTERM."""
    status = Path(f"/proc/{pid}/status").read_text()
    (caught,) = [line.split()[1] for line in status.splitlines() if line.startswith("SigCgt")]
    return bool(int(caught, 16) >> (number - 1) & 1)


@pytest.mark.parametrize("command", [["snapshot"], ["replay", "--from", "2026-11-23T10:00:00Z"]])
def test_a_command_that_waits_ends_at_the_first_signal(command: list[str]) -> None:
    """Where no relay answers, too; its patience is a minute."""
    name, *options = command
    code = "from spanwire.cli import main; main()"
    with socket.socket() as taken:  # bound and not listening: nobody is ever there
        taken.bind(("127.0.0.1", 0))
        where = f"tcp://127.0.0.1:{taken.getsockname()[1]}"
        process = subprocess.Popen(
            [sys.executable, "-c", code, name, where, *options, "--json"],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        with process:
            eventually(lambda: handles(process.pid, signal.SIGTERM))
            process.send_signal(signal.SIGINT)
            _, said = process.communicate(timeout=150)
    assert process.returncode == 1, said


def test_the_command(plain: Simulator, tmp_path: Path) -> None:
    """Lines on stdout, a summary on stderr; interrupted, it goes on from its file, which goes at the end."""
    kept = tmp_path / "progress"
    with Relay(settings(plain, tmp_path)) as relay:
        command = [
            sys.executable,
            "-c",
            "from spanwire.cli import main; main()",
            "snapshot",
            relay.endpoints[1][0],
            "--json",
        ]
        command += ["--resume", str(kept)]
        first = subprocess.Popen(command, stdout=subprocess.PIPE, bufsize=0)
        assert first.stdout is not None
        lines = [first.stdout.readline().decode().rstrip("\n")]
        eventually(kept.exists)
        first.send_signal(signal.SIGINT)
        rest, _ = first.communicate(timeout=150)
        lines += rest.decode().split("\n")[:-1]
        done = subprocess.run(command, capture_output=True, check=True, timeout=150)
        lines += done.stdout.decode().split("\n")[:-1]
        summary = json.loads(done.stderr.decode().splitlines()[-1])
        assert summary["done"] and not kept.exists()
        expected = whole(relay.endpoints[1][0], at=summary["at"])
    assert content(lines) == content(expected)
