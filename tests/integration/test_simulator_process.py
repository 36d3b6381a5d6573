"""The simulator as a process: what it says, what it takes, how it ends."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

import pytest
from google.api_core import exceptions
from google.auth.credentials import AnonymousCredentials
from google.cloud import spanner
from integration.emulator import EmulatorDatabase, now
from integration.oracle import data_records, follow

pytestmark = pytest.mark.timeout(180)


class Process:
    """A running simulator."""

    def __init__(self, *arguments: str) -> None:
        self.popen = subprocess.Popen(
            [sys.executable, "-m", "spanwire.simulator", *arguments],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        self.ready = json.loads(self.out.readline())

    @property
    def out(self) -> IO[str]:
        """Its answers."""
        assert self.popen.stdout
        return self.popen.stdout

    def ask(self, **command: Any) -> dict[str, Any]:
        """A command's answer, its progress left out."""
        assert self.popen.stdin
        self.popen.stdin.write(json.dumps(command) + "\n")
        self.popen.stdin.flush()
        while True:
            answer: dict[str, Any] = json.loads(self.out.readline())
            if "progress" not in answer:
                return answer

    def end(self) -> tuple[int, str]:
        """Exit code and stderr, when it has come to its end by itself."""
        _, errors = self.popen.communicate(timeout=60)
        return self.popen.returncode, errors


@pytest.fixture
def started() -> Iterator[list[Process]]:
    """Those that a test started; none outlives it."""
    made: list[Process] = []
    yield made
    for process in made:
        process.popen.kill()
        process.popen.wait()


def test_a_run_commits_what_is_asked_and_keeps_its_history(started: list[Process], tmp_path: Path) -> None:
    """Readers find the changes, the file holds a canonical line for each, EOF ends it with 0."""
    history = tmp_path / "committed.jsonl"
    options = ("--partitions", "3", "--seed", "5", "--splits", "100", "--history", str(history))
    process = Process(*options)
    started.append(process)
    start = now()
    answer = process.ask(run={"changes": 700})
    assert answer["committed"] == 700
    assert answer["last"] > start
    again = process.ask(run={"changes": 50, "rate": 500})
    assert again["committed"] == 50
    assert again["seconds"] > 0.05, "faster than its rate"
    # Not splitlines(): U+2028 stands within lines.
    lines = history.read_text("utf-8").removesuffix("\n").split("\n")
    versions = [json.loads(line)["version"] for line in lines]
    assert len(versions) == 750
    reads = follow(_database(process), "changes", start, now(0.01))
    read = [
        f"{record['commit_timestamp']}/{record['server_transaction_id']}/{record['record_sequence']}/{number}"
        for record in data_records(reads)
        for number, _ in enumerate(record["mods"])
    ]
    assert sorted(read) == sorted(versions)
    code, errors = process.end()
    assert code == 0
    assert "not Cloud Spanner" in errors


def test_the_tree_is_changed_by_command(started: list[Process]) -> None:
    """Splits and merges by place; wrong commands are answered, not fatal."""
    process = Process("--partitions", "2", "--dialect", "postgresql")
    started.append(process)
    assert len(process.ask(partitions=None)["partitions"]) == 2
    assert len(process.ask(split=0)["partitions"]) == 3
    assert len(process.ask(merge=[0, 1, 2])["partitions"]) == 1
    assert "neighbours" in process.ask(merge=[0])["error"]
    assert "no such command" in process.ask(dance=1)["error"]
    assert "error" in process.ask(run={"tempo": 3})
    assert "error" in process.ask(a=1, b=2)
    assert process.ask(run={"changes": 10})["committed"] == 10


def test_key_ranges_move_and_faults_strike_by_option(started: list[Process], tmp_path: Path) -> None:
    """Mutable mode takes moves, all tables take changes, and what the script did is told."""
    script = tmp_path / "faults.json"
    script.write_text('{"fault": [{"kind": "aborted", "partition": "initial"}]}', encoding="utf-8")
    options = ("--mode", "mutable", "--partitions", "2", "--all-tables", "--splits", "20")
    process = Process(*options, "--faults", str(script))
    started.append(process)
    before = process.ask(partitions=None)["partitions"]
    assert process.ask(move=[0, 1])["partitions"] == before
    assert process.ask(merge=[0, 1])["partitions"] == before[:1]
    assert process.ask(run={"changes": 200})["committed"] == 200
    assert process.ask(struck=None) == {"struck": []}
    moment = now()
    sql = f"SELECT ChangeRecord FROM READ_changes(TIMESTAMP '{moment}', TIMESTAMP '{moment}', NULL, 1000)"
    with pytest.raises(exceptions.Aborted), _database(process).client.snapshot() as snapshot:
        list(snapshot.execute_sql(sql))
    assert process.ask(struck=None) == {"struck": [["aborted", "initial", 1, 1]]}


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_it(started: list[Process], number: signal.Signals) -> None:
    """While it runs a workload or sleeps, quickly, with 0."""
    process = Process("--autorun", "--rate", "10", "--changes", "10000")
    started.append(process)
    os.kill(process.popen.pid, number)
    code, errors = process.end()
    assert (code, "Traceback" in errors) == (0, False)


def test_a_port_in_use_is_one_line(started: list[Process]) -> None:
    """Exit 2 and the port's name, no traceback."""
    process = Process()
    started.append(process)
    port = process.ready["address"].rpartition(":")[2]
    second = subprocess.run(
        [sys.executable, "-m", "spanwire.simulator", "--port", port],
        input="",
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert second.returncode == 2
    assert f"{port}: the port is in use" in second.stderr
    assert "Traceback" not in second.stderr
    assert second.stdout == ""


def test_ready_made_messages_wait_for_their_release(started: list[Process]) -> None:
    """Held back, then let go by command."""
    process = Process("--ready-made", "--hold", "--changes", "100", "--partitions", "1")
    started.append(process)
    start = now()
    assert process.ask(held=None) == {"held": 0}
    assert process.ask(release=None) == {"released": True}
    database = _database(process)
    reads = follow(database, "changes", start, now(0.1))
    assert sum(len(record["mods"]) for record in data_records(reads)) == 100
    # And again, other ones.
    assert process.ask(hold=40) == {"held": 0}
    assert process.ask(release=None) == {"released": True}
    reads = follow(database, "changes", start, now(0.1))
    assert sum(len(record["mods"]) for record in data_records(reads)) == 40


def _database(process: Process) -> EmulatorDatabase:
    address, path = process.ready["address"], process.ready["database"].split("/")
    client = spanner.Client(
        project=path[1],
        credentials=AnonymousCredentials(),
        client_options={"api_endpoint": address},
        disable_builtin_metrics=True,
    )
    return EmulatorDatabase(address, "googlesql", client.instance(path[3]).database(path[5]))
