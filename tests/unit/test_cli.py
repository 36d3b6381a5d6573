"""The command line from outside: what it prints where, and how it exits."""

from __future__ import annotations

import functools
import json
import os
import re
import socket
import subprocess
import sys
import time
import tomllib
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from support.change_records import data_change, heartbeat, message

from spanwire import config
from spanwire._core import Output, Pipeline, Timestamp
from spanwire.cli.init import commented_config
from spanwire.config import Config

SPANWIRE = (sys.executable, "-c", "from spanwire.cli import main; main()")
COMMANDS = ("run", "check", "init", "tail", "replay", "demo", "bench", "schema")


def spanwire(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run the command in a process of its own."""
    command = [*SPANWIRE, *arguments]
    env = {**os.environ, "COLUMNS": "100", **environment}
    return subprocess.run(command, capture_output=True, text=True, timeout=150, env=env, check=False)


def fails(result: subprocess.CompletedProcess[str], code: int) -> list[str]:
    """The lines of an error: on stderr, without a traceback, nothing on stdout."""
    assert result.returncode == code, result.stderr
    assert result.stdout == ""
    assert "Traceback" not in result.stderr
    return result.stderr.strip().splitlines()


def write(path: Path, source: str = "", rest: str = "") -> Path:
    """A small config."""
    path.write_text(
        '[source]\nproject = "p"\ninstance = "in"\ndatabase = "db"\nstream = "s"\n' + source + "\n"
        '[store]\nkind = "memory"\n[[output]]\nkind = "pub"\nbind = "tcp://127.0.0.1:*"\n' + rest,
        encoding="utf-8",
    )
    return path


def test_help_names_every_command() -> None:
    """`spanwire --help` lists what there is."""
    result = spanwire("--help")
    assert result.returncode == 0
    for command in COMMANDS:
        assert f" {command} " in result.stdout


@pytest.mark.parametrize(
    "command",
    [
        *[("run",), ("check",), ("init",), ("tail",), ("replay",), ("demo",), ("schema",)],
        *[("bench", "core"), ("bench", "latency")],
    ],
)
def test_every_command_has_help_and_json(command: tuple[str, ...]) -> None:
    """Every command explains itself and takes --json."""
    result = spanwire(*command, "--help")
    assert result.returncode == 0
    assert "--json" in result.stdout


def test_version() -> None:
    """`spanwire --version` says which."""
    assert spanwire("--version").stdout.startswith("spanwire 0.")


def test_a_wrong_command_is_wrong_use() -> None:
    """Exit 2, and a guess at what was meant."""
    result = spanwire("chekc")
    assert result.returncode == 2
    assert "check" in result.stderr


def test_a_missing_config_is_one_line() -> None:
    """It says which file, and what writes one."""
    (line,) = fails(spanwire("run", "nowhere.toml"), 2)
    assert "nowhere.toml" in line
    assert "spanwire init" in line


def test_every_problem_of_a_config_is_told_at_once(tmp_path: Path) -> None:
    """One line a problem, each with the setting's path."""
    path = write(tmp_path / "relay.toml", source='priorty = "high"\nheartbeat_ms = 5\n')
    lines = fails(spanwire("run", str(path)), 2)
    assert any("source.priorty" in line and "priority" in line for line in lines)
    assert any("source.heartbeat_ms" in line for line in lines)


def test_check_tells_problems_as_json(tmp_path: Path) -> None:
    """`check --json` is one line, whatever it found."""
    path = write(tmp_path / "relay.toml", source="tick_ms = 0\n")
    result = spanwire("check", str(path), "--json")
    assert result.returncode == 2
    answer = json.loads(result.stdout)
    assert answer["ok"] is False
    assert "source.tick_ms" in answer["problems"][0]


def test_check_tells_all_that_stands_in_the_way(tmp_path: Path) -> None:
    """A port in use, a store that cannot be written and no Spanner: three lines, exit 1."""
    taken = socket.create_server(("127.0.0.1", 0))
    port = taken.getsockname()[1]
    path = tmp_path / "relay.toml"
    path.write_text(
        '[source]\nproject = "p"\ninstance = "in"\ndatabase = "db"\nstream = "s"\nconnect_timeout_s = 1\n'
        f'emulator_host = "127.0.0.1:1"\n[store]\nkind = "sqlite"\npath = "{tmp_path}/no/such/folder.db"\n'
        f'[[output]]\nkind = "pub"\nbind = "tcp://127.0.0.1:{port}"\n',
        encoding="utf-8",
    )
    lines = fails(spanwire("check", str(path)), 1)
    taken.close()
    assert len(lines) == 3
    assert any(str(port) in line and "in use" in line for line in lines)
    assert any("folder.db" in line for line in lines)
    assert any("127.0.0.1:1" in line for line in lines)


def test_no_credentials_is_one_line(tmp_path: Path) -> None:
    """Without credentials `run` says how to get some."""
    path = write(tmp_path / "relay.toml", source="connect_timeout_s = 2\n")
    nothing = {"HOME": str(tmp_path), "GOOGLE_APPLICATION_CREDENTIALS": "", "NO_GCE_CHECK": "true"}
    result = spanwire("run", str(path), **nothing, SPANNER_EMULATOR_HOST="")
    line = fails(result, 1)[-1]
    assert "credentials" in line
    assert "gcloud auth application-default login" in line


def test_init_writes_what_check_reads(tmp_path: Path) -> None:
    """The commented config is a config, and no file is overwritten unasked."""
    path = tmp_path / "relay.toml"
    assert spanwire("init", str(path), "--database", "shop").returncode == 0
    assert config.load(path).source.database == "shop"
    (line,) = fails(spanwire("init", str(path)), 2)
    assert "--force" in line
    assert spanwire("init", str(path), "--force", "--json").returncode == 0


def test_init_refuses_a_name_that_cannot_be_one(tmp_path: Path) -> None:
    """Before anything is written."""
    path = tmp_path / "relay.toml"
    (line,) = fails(spanwire("init", str(path), "--stream", "a b"), 2)
    assert "source.stream" in line
    assert not path.exists()


def test_the_commented_config_explains_every_setting() -> None:
    """With all comments taken away it still loads, and every setting is there with its default."""
    names = {"project": "p", "instance": "in", "database": "db", "stream": "s"}
    text = commented_config(names)
    assert config.parse(tomllib.loads(text)).source.stream == "s"
    for section in Config.model_fields.values():
        assert section.description
        assert section.description.split()[0] in text
    uncommented = "\n".join(
        line[1:] if line.startswith("#") and not line.startswith("# ") else line for line in text.splitlines()
    )
    everything = tomllib.loads(uncommented)
    assert set(everything["source"]) == set(config.SourceConfig.model_fields)
    assert set(everything["output"][0]) == set(config.OutputConfig.model_fields)


def test_every_default_that_is_shown_is_one(tmp_path: Path) -> None:
    """What `init` writes behind a # can be uncommented: it changes nothing."""
    text = commented_config({"project": "p", "instance": "in", "database": "db", "stream": "s"})
    lines = [line.removeprefix("#") if re.match(r"#\w+ = ", line) else line for line in text.splitlines()]
    everything = config.parse_text("\n".join(lines), "relay.toml")
    assert everything.source == config.parse_text(text, "relay.toml").source
    with Pipeline("d", "s", [Output("pub", ["tcp://127.0.0.1:*"], options=everything.output[0].options)]):
        pass


def test_a_file_that_cannot_be_written_is_one_line(tmp_path: Path) -> None:
    """It names the file; nothing is called internal."""
    (line,) = fails(spanwire("demo", "--changes", "1", "--history", "/proc/nowhere"), 1)
    assert "/proc/nowhere" in line
    assert "internal" not in line


def test_tail_says_that_nobody_is_there() -> None:
    """Silence of a relay and of nobody are told apart: by a word, and by the exit code."""
    with (
        Pipeline("d", "s", [Output("pub", ["tcp://127.0.0.1:*"])], options={"tick_ms": 50}) as pipeline,
        ThreadPoolExecutor() as pool,
    ):
        [[endpoint]] = pipeline.endpoints
        asked = (["tcp://127.0.0.1:1"], [endpoint], [endpoint, "--topic", "d/x/"])
        # Far longer than a tick takes on its way, and all at once.
        tail = functools.partial(spanwire, "tail", "--timeout", "6")
        nobody, heard, other = pool.map(lambda arguments: tail(*arguments), asked)
    lines = fails(nobody, 3)
    assert "nothing heard" in lines[0]
    assert lines[0].endswith('is an output of kind "pub" bound there?')
    assert lines[-1] == "spanwire: no relay was heard at tcp://127.0.0.1:1 in 6.0 s"
    assert (heard.returncode, heard.stdout) == (0, "")
    lines = fails(other, 3)
    assert lines[0].endswith('"pub" bound there, of the stream that d/x/ names?')


def test_tail_follows_a_feed() -> None:
    """As a `pub`, when told so; else it says after a while which kind of output it looks for."""
    with Pipeline("d", "s", [Output("feed", ["tcp://127.0.0.1:*"])], options={"tick_ms": 50}) as pipeline:
        [[endpoint]] = pipeline.endpoints
        with subprocess.Popen([*SPANWIRE, "tail", endpoint], stderr=subprocess.PIPE, text=True) as tail:
            assert tail.stderr is not None
            assert 'is an output of kind "pub" bound there?' in tail.stderr.readline()
            tail.kill()
        start = Timestamp.parse("2026-11-23T00:00:00Z")
        partition = pipeline.partition("p", dialect="googlesql", epoch=1, start=start)
        with subprocess.Popen(
            [*SPANWIRE, "tail", endpoint, "--kind", "feed", "--count", "2", "--timeout", "150", "--json"],
            stdout=subprocess.PIPE,
        ) as tail:
            for second in range(1, 1500):  # until it has joined: before that nothing is for it
                stamp = f"2026-11-23T00:{second // 60:02d}:{second % 60:02d}Z"
                change = data_change(stamp, [({"Id": str(second)}, {"Name": "n"}, {})], table="orders")
                partition.push([message(change, heartbeat(stamp))])
                if tail.poll() is not None:
                    break
                time.sleep(0.1)
            assert tail.stdout is not None
            shown = [json.loads(line) for line in tail.stdout]
    assert tail.returncode == 0
    assert [one["table"] for one in shown] == ["orders", "orders"]


def test_schema_prints_the_shipped_file() -> None:
    """Text by default, the same text in JSON; the config's schema on request."""
    text = spanwire("schema").stdout
    assert text.startswith("@0xd1c7a2f5b86e4093;")
    assert json.loads(spanwire("schema", "--json").stdout)["text"] == text
    assert "source" in json.loads(spanwire("schema", "--config").stdout)["properties"]


def test_tail_says_when_not_enough_came() -> None:
    """A count that is not reached in time is a failure."""
    result = spanwire("tail", "tcp://127.0.0.1:1", "--count", "3", "--timeout", "0.3")
    (line,) = fails(result, 1)
    assert "0 of 3" in line


def test_tail_refuses_a_wrong_endpoint() -> None:
    """One line that names it, exit 2."""
    (line,) = fails(spanwire("tail", "nonsense", "--timeout", "0.3"), 2)
    assert "nonsense" in line


def test_check_leaves_nothing_behind(tmp_path: Path) -> None:
    """A store that was not there before is not there after."""
    path = write(tmp_path / "relay.toml", source='connect_timeout_s = 1\nemulator_host = "127.0.0.1:1"\n')
    store = f'kind = "sqlite"\npath = "{tmp_path}/progress.db"'
    path.write_text(path.read_text().replace('kind = "memory"', store))
    assert len(fails(spanwire("check", str(path)), 1)) == 1
    assert list(tmp_path.iterdir()) == [path]


def test_replay_says_what_is_wrong_in_a_line(tmp_path: Path) -> None:
    """A config without such an output, a timestamp that is none, a relay that is not there."""
    config = str(write(tmp_path / "relay.toml"))
    [line] = fails(spanwire("replay", config, "--from", "2026-01-01T00:00:00Z"), 2)
    assert 'has no output to replay from; write [[output]] with kind = "replay"' in line
    [line] = fails(spanwire("replay", "tcp://127.0.0.1:9", "--from", "yesterday"), 2)
    assert line.startswith('spanwire: after: must be RFC 3339 in UTC, such as "')
    since = ("--from", "2026-01-01T00:00:00Z", "--patience", "0.2")
    [line] = fails(spanwire("replay", "tcp://127.0.0.1:9", *since), 1)
    assert 'is an output of kind "replay" bound there?' in line
