"""`spanwire check` beyond the file: ports, keys, times that cannot be read, what the store holds."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from pathlib import Path

import pytest
from integration.processes import reads
from integration.relays import eventually
from structlog.testing import capture_logs
from support.ports import free_port
from typer.testing import CliRunner

from spanwire.cli import app
from spanwire.config import load
from spanwire.relay import Relay
from spanwire.simulator import Simulator, SimulatorConfig

LONG_AGO = 'start = "2020-01-01T00:00:00Z"\n'


@pytest.fixture
def simulator() -> Iterator[Simulator]:
    """A database with one partition."""
    with Simulator(SimulatorConfig(partitions=1)) as one:
        yield one


def check(config: Path, text: str) -> list[str]:
    """The lines that it says about a file with this text."""
    config.write_text(text, encoding="utf-8")
    done = CliRunner().invoke(app, ["check", str(config)])
    lines = done.stderr.splitlines()
    assert done.exit_code == any(not line.startswith("warning: ") for line in lines), done.output
    return lines


def test_each_output_is_tried(simulator: Simulator, tmp_path: Path) -> None:
    """Ports in use of every kind of output, a key that is too short: a line each, with the output's place."""
    (tmp_path / "key").write_text("short")
    with socket.create_server(("127.0.0.1", 0)) as taken, socket.create_server(("127.0.0.1", 0)) as too:
        bound, other = (f"tcp://127.0.0.1:{one.getsockname()[1]}" for one in (taken, too))
        localhost = bound.replace("127.0.0.1", "localhost")
        outputs = f"""
[[output]]
kind = "pub"
bind = "{bound}"
[[output]]
kind = "group"
name = "mail"
bind = "{localhost}"
[[output]]
kind = "replay"
bind = "{other}"
[[output]]
kind = "pub"
bind = "tcp://127.0.0.1:*"
hash_key_file = "{tmp_path}/key"
"""
        lines = check(tmp_path / "relay.toml", reads(simulator, tmp_path) + outputs)
    assert [line.split(": ")[0] for line in lines] == [
        *(f"output[{number}]" for number in range(3)),
        "output[3].hash_key_file",
    ]
    assert all("the port is in use: stop the program that has it" in line for line in lines[:-1])


def test_two_outputs_on_one_port_under_two_names_are_told(simulator: Simulator, tmp_path: Path) -> None:
    """What the text of the file does not show."""
    port = free_port()
    outputs = "".join(
        f'[[output]]\nkind = "pub"\nbind = "tcp://{host}:{port}"\n' for host in ("127.0.0.1", "localhost")
    )
    [line] = check(tmp_path / "relay.toml", reads(simulator, tmp_path) + outputs)
    assert line.startswith("output[1]: ")
    assert "in use" in line


def test_a_start_that_the_stream_no_longer_keeps_is_told_while_it_counts(
    simulator: Simulator, tmp_path: Path
) -> None:
    """Of source and group; once the store holds progress, that decides, and the old start does no harm."""
    group = '[[output]]\nkind = "group"\nname = "mail"\nbind = "tcp://127.0.0.1:*"\n'
    text = reads(simulator, tmp_path) + group
    old = text.replace("[source]\n", f"[source]\n{LONG_AGO}") + LONG_AGO
    lines = check(tmp_path / "relay.toml", old)
    assert [line.split(": ")[0] for line in lines] == ["source.start", "output[0].start"]
    assert all("older than the 1d that the stream keeps" in line for line in lines)
    assert check(tmp_path / "relay.toml", text) == []
    with Relay(load(tmp_path / "relay.toml")) as relay:
        eventually(lambda: bool(relay.status()["partitions"]))
    assert check(tmp_path / "relay.toml", old) == []


def test_names_that_nothing_has_are_warned_of(simulator: Simulator, tmp_path: Path) -> None:
    """Of tables and columns, each with its setting and a guess; by `check`, and in the log of a relay."""
    outputs = """
[[output]]
kind = "pub"
bind = "tcp://127.0.0.1:*"
tables = ["Orders", "acounts", "acc*", "nothing.*"]
[[output.table]]
name = "orders"
where = ["revisn > 3", "`note` is null"]
mask = ["Note"]
hash = ["customr"]
[[output.table]]
name = "*"
truncate = { name = 3, nmae = 4 }
"""
    (tmp_path / "key").write_text("x" * 16)
    keyed = outputs.replace("tables =", f'hash_key_file = "{tmp_path}/key"\ntables =')
    lines = check(tmp_path / "relay.toml", reads(simulator, tmp_path) + keyed)
    known = [
        'output[0].tables: the stream watches no table "acounts"; did you mean "accounts"?',
        'output[0].tables: the stream watches no table "nothing.*"',
        'output[0].table[0].hash: the stream watches no column "customr" of orders; did you mean "customer"?',
        'output[0].table[0].where: the stream watches no column "revisn" of orders; did you mean "revision"?',
        'output[0].table[1].truncate: the stream watches no column "nmae" of *; did you mean "name"?',
    ]
    assert lines == [f"warning: {line}" for line in known]
    with capture_logs() as logged, Relay(load(tmp_path / "relay.toml")):
        pass
    assert [line["where"] for line in logged if line["event"] == "a name that nothing has"] == known
