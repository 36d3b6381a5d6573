"""A relay on a real emulator database, in a process of its own: every consumer gets the oracle's changes."""

from __future__ import annotations

import json
import random
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib.resources import files
from pathlib import Path
from typing import Any

import pytest
from google.cloud.spanner import KeySet
from integration import expected, oracle
from integration.emulator import DIALECTS, INSTANCE, PROJECT, Dialect, Emulator, EmulatorDatabase, now
from integration.relays import eventually
from integration.values import ALL_COLUMNS, all_types_rows, all_types_table

from spanwire.consumer import Subscriber
from spanwire.errors import Gap

PLAIN_CONSUMER = Path(__file__).parent / "plain_consumer.py"
RUN = "from spanwire.cli import main; main()"


def ddl(dialect: Dialect) -> list[str]:
    """A table of all types, and one with a key of two columns in a named schema."""
    tail = "(a bigint, b text, v text, PRIMARY KEY (a, b))"
    if dialect == "googlesql":
        tail = "(a INT64, b STRING(MAX), v STRING(MAX)) PRIMARY KEY (a, b)"
    return [
        all_types_table(dialect),
        "CREATE SCHEMA shop",
        f"CREATE TABLE shop.orders {tail}",
        "CREATE CHANGE STREAM watch FOR ALL",
    ]


@pytest.fixture(params=DIALECTS)
def database(request: pytest.FixtureRequest, churning_emulator: Emulator) -> Iterator[EmulatorDatabase]:
    """A database of either dialect whose partitions live 2 to 4 s."""
    made = churning_emulator.database(request.param, ddl(request.param))
    yield made
    made.drop()


class Process:
    """`spanwire run` on a database, with one PUB output of each kind of values."""

    def __init__(self, database: EmulatorDatabase, folder: Path, binds: dict[str, str]) -> None:
        self._log = (folder / "relay.log").open("ab")
        config = folder / "relay.toml"
        config.write_text(
            f"""
            [source]
            project = "{PROJECT}"
            instance = "{INSTANCE}"
            database = "{database.name}"
            stream = "watch"
            emulator_host = "{database.host}"
            heartbeat_ms = 100
            [store]
            path = "{folder}/progress.db"
            interval_ms = 1000
            """
            + "".join(
                f'\n[[output]]\nkind = "pub"\nbind = "{bind}"\nvalues = "{values}"\n'
                for values, bind in binds.items()
            )
        )
        self._process = subprocess.Popen(
            [sys.executable, "-c", RUN, "run", str(config), "--json"],
            stdout=subprocess.PIPE,
            stderr=self._log,
        )
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        assert line, (folder / "relay.log").read_text()
        started = json.loads(line)
        self.endpoints = dict(zip(binds, (senders[0] for senders in started["endpoints"]), strict=True))

    def end(self, how: signal.Signals) -> int:
        """Send a signal, wait for the end; the exit status."""
        self._process.send_signal(how)
        self._process.communicate(timeout=60)
        self._log.close()
        return self._process.returncode


@contextmanager
def running(database: EmulatorDatabase, folder: Path) -> Iterator[Process]:
    """A relay with a PUB of typed and one of JSON values; killed at the end if need be."""
    process = Process(database, folder, {"typed": "tcp://127.0.0.1:*", "json": "tcp://127.0.0.1:*"})
    try:
        yield process
        assert process.end(signal.SIGTERM) == 0
    finally:
        process._process.kill()
        process._process.wait()


class Consuming:
    """Changes collected by a thread, until it is told to end; by version, each once."""

    def __init__(self, changes: Callable[[], Iterator[tuple[str, str, str, dict[str, Any]]]]) -> None:
        self.got: dict[str, tuple[str, str, dict[str, Any]]] = {}
        self.twice: list[str] = []
        self._changes = changes
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self) -> None:
        for version, table, mod_type, values in self._changes():
            if version in self.got:
                self.twice.append(version)
            self.got[version] = (table, mod_type, values)

    def join(self) -> None:
        """Wait for the end of what was told to end."""
        self._thread.join()

    def wait_for(self, versions: set[str], timeout: float = 60) -> None:
        """Until all of these have come."""
        deadline = time.monotonic() + timeout
        while not versions <= self.got.keys():
            assert time.monotonic() < deadline, f"{len(versions - self.got.keys())} changes did not come"
            time.sleep(0.05)


@contextmanager
def subscribed(endpoint: str, gaps: list[Gap] | None = None) -> Iterator[Consuming]:
    """What a Subscriber hands over. Without `gaps` there may be none."""
    stop = threading.Event()
    with Subscriber(endpoint, on_gap=None if gaps is None else gaps.append) as subscriber:
        assert subscriber.wait_joined(60)

        def changes() -> Iterator[tuple[str, str, str, dict[str, Any]]]:
            while not stop.is_set():
                for change in subscriber.receive(0.1):
                    values = {"keys": change.keys, "new": change.new, "old": change.old}
                    yield str(change.version), change.table, change.mod_type, values

        consuming = Consuming(changes)
        try:
            yield consuming
        finally:
            stop.set()
            consuming.join()


@contextmanager
def plain(endpoint: str) -> Iterator[Consuming]:
    """What a consumer without spanwire prints, in a process of its own."""
    schema = str(files("spanwire") / "envelope.capnp")
    process = subprocess.Popen(
        [sys.executable, str(PLAIN_CONSUMER), schema, endpoint], stdout=subprocess.PIPE
    )
    lines = process.stdout
    assert lines is not None

    def changes() -> Iterator[tuple[str, str, str, dict[str, Any]]]:
        for line in lines:
            if not line.endswith(b"\n"):
                return  # killed while it wrote
            change = json.loads(line)
            values = {place: change[place] for place in ("keys", "new", "old")}
            yield change["version"], change["table"], change["mod_type"], values

    consuming = Consuming(changes)
    try:
        yield consuming
    finally:
        process.kill()
        process.wait()
        consuming.join()
        lines.close()


def write_for(database: EmulatorDatabase, seconds: float, seed: int) -> None:
    """Transactions of all types and kinds for so long; everything is gone again at the end."""
    rng = random.Random(seed)
    rows = all_types_rows(database.dialect)
    database.insert("everything", ALL_COLUMNS, rows)
    until, number = time.monotonic() + seconds, 0
    while time.monotonic() < until:
        number += 1
        shifted = all_types_rows(database.dialect, shift=number)
        some = rng.sample(shifted, rng.randint(1, len(shifted)))

        def work(transaction: Any, number: int = number, some: list[Any] = some) -> None:
            transaction.update("everything", columns=ALL_COLUMNS, values=some)
            orders = [(number, f"é{i}", f"v{number}") for i in range(rng.randint(1, 30))]
            transaction.insert_or_update("shop.orders", columns=("a", "b", "v"), values=orders)
            if number > 3:
                transaction.delete("shop.orders", KeySet(keys=[(number - 3, "é0")]))

        database.run(work)
        time.sleep(rng.random() * 0.2)
    database.run(lambda transaction: transaction.delete("everything", KeySet(all_=True)))


def in_plain_json(value: Any) -> Any:
    """An expected value as the plain consumer prints it: bytes as hex, timestamps as two numbers."""
    if isinstance(value, dict):
        return {name: in_plain_json(item) for name, item in value.items()}
    if isinstance(value, list):
        return [in_plain_json(item) for item in value]
    return value.hex() if isinstance(value, bytes) else value


def test_every_consumer_gets_what_the_official_client_returns(
    database: EmulatorDatabase, tmp_path: Path
) -> None:
    """Typed and JSON values, by Subscriber and by a consumer written from the schema alone, over churn."""
    with (
        running(database, tmp_path) as relay,
        subscribed(relay.endpoints["typed"]) as typed,
        subscribed(relay.endpoints["json"]) as untyped,
        plain(relay.endpoints["typed"]) as plain_typed,
        plain(relay.endpoints["json"]) as plain_json,
    ):
        consumers = [typed, untyped, plain_typed, plain_json]
        start = announce(database, consumers)
        write_for(database, 7, seed=1)
        reads = oracle.follow(database, "watch", start, now(1))
        wanted = expected.rows(oracle.data_records(reads))
        for consumer in consumers:
            consumer.wait_for(set(wanted))

    assert len(reads) > 4, "no partition ever ended"
    assert {row.mod_type for row in wanted.values()} == {"INSERT", "UPDATE", "DELETE"}
    assert typed.twice == untyped.twice == []
    compare(typed, wanted, lambda row: row.typed)
    compare(untyped, wanted, lambda row: row.typed)
    compare(plain_typed, wanted, lambda row: in_plain_json(row.typed))
    compare(plain_json, wanted, lambda row: row.sent)


def announce(database: EmulatorDatabase, consumers: list[Consuming]) -> str:
    """Commit a change now and then until every consumer has heard one of them; the time after that."""
    deadline, began = time.monotonic() + 60, now()
    while not all(any(version > began for version in list(consumer.got)) for consumer in consumers):
        assert time.monotonic() < deadline, "a consumer hears nothing"
        database.insert("shop.orders", ("a", "b", "v"), [(-1, now(), "x")])
        time.sleep(0.2)
    time.sleep(0.5)
    return now()


def compare(
    consumer: Consuming,
    wanted: dict[str, expected.Row],
    of: Callable[[expected.Row], dict[str, dict[str, Any]]],
) -> None:
    """Every expected change is there as expected, and from the first of them on nothing else."""
    first = min(wanted)
    assert {version for version in consumer.got if version >= first} == set(wanted)
    for version, row in wanted.items():
        table, mod_type, values = consumer.got[version]
        assert (table, mod_type) == (row.table, row.mod_type)
        for place, items in of(row).items():
            for name, item in items.items():
                got = values[place][name]
                assert expected.agrees(got, item), f"{version} {place}.{name}: {got!r}, wanted {item!r}"
            assert values[place].keys() == items.keys()


@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGKILL], ids=["stopped", "killed"])
def test_nothing_is_lost_in_silence_or_told_twice_over_restarts(
    churning_emulator: Emulator, tmp_path: Path, how: signal.Signals
) -> None:
    """A relay that is stopped or killed while it sends goes on from its store.

    What is sent again is dropped by the Subscriber. What was sent while it was away (PUB keeps nothing)
    is announced as a gap; once it is back nothing is missing.
    """
    database = churning_emulator.database("googlesql", ddl("googlesql"))
    binds = {"typed": f"ipc://{tmp_path}/relay.sock"}
    gaps: list[Gap] = []
    relay = Process(database, tmp_path, binds)
    try:
        with subscribed(binds["typed"], gaps) as consumer:
            start = announce(database, [consumer])
            spans = []
            for seed in range(2):
                began = now()
                writing = threading.Thread(target=write_for, args=(database, 3, seed))
                writing.start()
                time.sleep(1)
                eventually(lambda began=began: any(version > began for version in list(consumer.got)))
                relay.end(how)
                spans.append((began, now()))
                relay = Process(database, tmp_path, binds)
                writing.join()
                back = announce(database, [consumer])
            write_for(database, 1, 9)
            reads = oracle.follow(database, "watch", start, now(1))
            wanted = expected.rows(oracle.data_records(reads))
            consumer.wait_for({version for version in wanted if version > back})
    finally:
        relay.end(signal.SIGKILL)
    assert consumer.twice == []
    assert {version for version in consumer.got if version >= min(wanted)} <= set(wanted)
    missing = set(wanted) - consumer.got.keys()
    assert [version for version in missing if not in_a_gap(version, wanted, gaps)] == []
    # Each relay did send while it ran.
    for began, ended in spans:
        assert any(began < version < ended for version in consumer.got)


def in_a_gap(version: str, wanted: dict[str, expected.Row], gaps: list[Gap]) -> bool:
    """Whether a change's loss was announced: a gap of its topic, or of any, has it between its bounds."""
    for gap in gaps:
        topic, after, before = (gap.fields.get(name) for name in ("topic", "after", "before"))
        if (
            (topic is None or topic.endswith(f"/{wanted[version].table}/"))
            and (after is None or str(after) < version)
            and (before is None or version < str(before))
        ):
            return True
    return False
