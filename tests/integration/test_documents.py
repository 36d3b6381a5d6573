"""The documents are true: their commands exist, their configs load, their programs run."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
import sys
import threading
import time
import tomllib
from collections.abc import Iterator
from itertools import islice
from pathlib import Path

import pytest
import typer
from support.ports import free_endpoint

from spanwire import config
from spanwire.cli import app
from spanwire.simulator import Simulator, SimulatorConfig, WorkloadConfig

ROOT = Path(__file__).parents[2]
DOCUMENTS = [ROOT / name for name in ("README.md", "ARCHITECTURE.md", "CONTRIBUTING.md", "CHANGELOG.md")]
DOCUMENTS += [*sorted((ROOT / "docs").rglob("*.md")), *sorted((ROOT / "benches").glob("*.md"))]
SPANWIRE = (sys.executable, "-c", "from spanwire.cli import main; main()")


def blocks(path: Path, language: str) -> list[str]:
    """The fenced blocks of one language in a document."""
    text = path.read_text(encoding="utf-8")
    return re.findall(rf"^```{language}\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)


def command_lines(program: str) -> Iterator[tuple[str, str]]:
    """Every line of a block, and every `code` span, that calls a program."""
    for path in DOCUMENTS:
        text = path.read_text(encoding="utf-8")
        found = re.findall(rf"^\$? ?({program} [a-z][^#\n|]*)", text, re.MULTILINE)
        found += re.findall(rf"`({program} [a-z][^`|]*)`", text)
        for line in found:
            yield path.name, line.strip()


def test_every_spanwire_command_in_the_documents_is_one() -> None:
    """Command and options are known to the program."""
    group = typer.main.get_command(app)
    checked = 0
    for name, line in command_lines("spanwire"):
        words = shlex.split(line)[1:]
        command = group
        while words and hasattr(command, "commands") and words[0] in command.commands:
            command = command.commands[words.pop(0)]
        assert command is not group, f"{name}: {line}: no such command"
        options = {flag for one in command.params for flag in one.opts} | {"--help"}
        for word in words:
            if word.startswith("--"):
                assert word.split("=")[0] in options, f"{name}: {line}: no option {word}"
        checked += 1
    assert checked >= 5, "no command was scanned"


def test_every_make_target_in_the_documents_is_one() -> None:
    """Targets are in the Makefile, and `make help` lists what people call."""
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE))
    found = [(name, line) for name, line in command_lines("make")]
    assert len(found) >= 2, "no target was scanned"
    for name, line in found:
        assert shlex.split(line)[1] in targets, f"{name}: {line}"


def test_every_file_that_the_documents_link_is_there() -> None:
    """A relative link leads somewhere."""
    checked = 0
    for path in DOCUMENTS:
        for target in re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", path.read_text(encoding="utf-8")):
            assert (path.parent / target).exists(), f"{path.name}: {target}"
            checked += 1
    assert checked >= 5, "no link was scanned"


def test_every_path_that_the_documents_name_is_there() -> None:
    """A `path/in/code` that begins like one of the repository is one."""
    top = {entry.name for entry in ROOT.iterdir() if entry.is_dir()} - {"dist", "site", "target"}
    checked = 0
    for path in DOCUMENTS:
        for named in re.findall(r"`([\w.-]+/[\w./-]*)`", path.read_text(encoding="utf-8")):
            if named.split("/")[0] in top:
                assert (ROOT / named).exists(), f"{path.name}: {named}"
                checked += 1
    assert checked >= 5, "no path was scanned"


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: path.name)
def test_configs_in_the_documents_load(path: Path) -> None:
    """A whole config is accepted as it stands."""
    for text in blocks(path, "toml"):
        if "[source]" in text:
            config.parse_text(text, path.name)


def test_a_port_means_one_kind_of_output_on_every_page() -> None:
    """So that what one page starts, another page's consumer finds; the example relay has them together."""
    texts = [text for path in DOCUMENTS for text in blocks(path, "toml") if "[[output]]" in text]
    example = (ROOT / "examples" / "workers" / "relay.toml").read_text(encoding="utf-8")
    config.parse_text(example, "relay.toml")
    kinds: dict[str, set[str]] = {}
    for text in [*texts, example]:
        for output in tomllib.loads(text)["output"]:
            kinds.setdefault(output["bind"], set()).add(output["kind"])
    assert all(len(named) == 1 for named in kinds.values()), kinds
    bound = {output["bind"] for output in tomllib.loads(example)["output"]}
    programs = (ROOT / "docs" / "workers.md").read_text(encoding="utf-8")
    assert set(re.findall(r"tcp://127\.0\.0\.1:\d+", programs)) == bound


def test_the_readme_from_config_to_consumer(tmp_path: Path) -> None:
    """Its config is checked and run, its consumer gets what is committed, tail shows it."""
    readme = ROOT / "README.md"
    endpoint, replays = free_endpoint(), free_endpoint()
    relay_toml, replay_output = blocks(readme, "toml")
    settings = f"{relay_toml}\n{replay_output}".replace("tcp://127.0.0.1:5560", endpoint)
    settings = settings.replace("tcp://127.0.0.1:5570", replays)
    (tmp_path / "relay.toml").write_text(settings, encoding="utf-8")
    consumer = next(text for text in blocks(readme, "python") if "Subscriber" in text)
    assert "tcp://127.0.0.1:5560" in consumer
    database = SimulatorConfig(
        project="my-project", instance="my-instance", database="shop", stream="all_tables"
    )
    with Simulator(database) as simulator:
        env = {**os.environ, "SPANNER_EMULATOR_HOST": simulator.address, "PYTHONUNBUFFERED": "1"}

        def start(*command: str) -> subprocess.Popen[str]:
            pipe = subprocess.PIPE
            return subprocess.Popen(command, cwd=tmp_path, env=env, stdout=pipe, stderr=pipe, text=True)

        checked = start(*SPANWIRE, "check", "relay.toml")
        out, err = checked.communicate(timeout=150)
        assert checked.returncode == 0, err
        assert "fine" in out
        relay = start(*SPANWIRE, "run", "relay.toml")
        reader = start(sys.executable, "-c", consumer.replace("tcp://127.0.0.1:5560", endpoint))
        tail = start(*SPANWIRE, "tail", endpoint, "--count", "5", "--timeout", "150")
        try:
            assert reader.stdout is not None
            lines: list[str] = []
            first = islice(reader.stdout, 4)
            reading = threading.Thread(target=lambda: lines.extend(first), daemon=True)
            reading.start()
            deadline = time.monotonic() + 150
            # PUB gives a late joiner nothing from before: commit until both consumers have come.
            while (tail.poll() is None or reading.is_alive()) and time.monotonic() < deadline:
                simulator.workload(WorkloadConfig(changes=20))
                time.sleep(0.5)
            shown, err = tail.communicate(timeout=150)
            assert tail.returncode == 0, err
            relay.terminate()
            relay.communicate(timeout=150)
            assert relay.returncode == 0
        finally:
            for process in (relay, reader, tail):
                if process.poll() is None:
                    process.kill()
                process.communicate()
    assert shown.count("\n") == 5
    assert len(lines) == 4, "the consumer printed too little"
    assert re.match(r"\d{4}-\d\d-\d\dT[\d:.]+Z/", lines[0])
    assert lines[1].startswith("  keys {")


@pytest.mark.parametrize(
    ("path", "text"),
    [
        pytest.param(path, text, id=f"{path.name}-{number}")
        for path in DOCUMENTS
        if path.exists()
        for number, text in enumerate(blocks(path, "python"))
        if "Subscriber(" not in text
    ],
)
def test_programs_in_the_documents_run(path: Path, text: str, tmp_path: Path) -> None:
    """As they stand, in a process of their own, with the published schema beside them."""
    shutil.copy(ROOT / "python" / "spanwire" / "envelope.capnp", tmp_path)
    done = subprocess.run(
        [sys.executable, "-c", text], cwd=tmp_path, capture_output=True, text=True, timeout=150, check=False
    )
    assert done.returncode == 0, f"{path.name}: {done.stderr}"
