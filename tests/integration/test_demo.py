"""`spanwire demo` as a user runs it."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from spanwire.history import compare

DEMO = (sys.executable, "-c", "from spanwire.cli import main; main()", "demo")


def children_of(pid: int) -> set[int]:
    """The processes that a process has started and that still run."""
    found = set()
    for status in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = status.read_text(encoding="utf-8").rsplit(")", 1)[1].split()
        except OSError:
            continue
        if int(fields[1]) == pid and fields[0] != "Z":
            found.add(int(status.parent.name))
    return found


def name_of(pid: int) -> str:
    """The command line of a process."""
    return Path(f"/proc/{pid}/cmdline").read_text(encoding="utf-8").replace("\0", " ")


def are_gone(pids: set[int]) -> bool:
    """Whether none of these processes is left, soon."""
    deadline = time.monotonic() + 150
    while time.monotonic() < deadline:
        if not any(Path(f"/proc/{pid}").exists() for pid in pids):
            return True
        time.sleep(0.05)
    return False


def started(*arguments: str) -> tuple[subprocess.Popen[str], set[int]]:
    """A running demo with its four processes."""
    pipe = subprocess.PIPE
    demo = subprocess.Popen([*DEMO, *arguments], stdout=pipe, stderr=pipe, text=True)
    deadline = time.monotonic() + 150
    while len(children := children_of(demo.pid)) < 4:
        assert demo.poll() is None, demo.communicate()
        assert time.monotonic() < deadline
        time.sleep(0.05)
    return demo, children


@pytest.mark.parametrize(
    ("mode", "dialect", "values"),
    [
        ("immutable", "googlesql", "json"),
        ("immutable", "postgresql", "typed"),
        ("mutable", "googlesql", "typed"),
        ("mutable", "postgresql", "json"),
    ],
)
def test_every_change_arrives_once_unaltered_and_in_order(
    mode: str, dialect: str, values: str, tmp_path: Path
) -> None:
    """One line of JSON with four zeros; both histories are left, and say the same."""
    arguments = ["--changes", "5000", "--history", str(tmp_path), "--json", "--seed", "7"]
    arguments += ["--mode", mode, "--dialect", dialect, "--values", values]
    done = subprocess.run([*DEMO, *arguments], capture_output=True, text=True, timeout=180, check=False)
    assert done.returncode == 0, done.stderr
    result = json.loads(done.stdout)
    assert result["committed"] >= 5000
    assert result["delivered"] == dict.fromkeys(("consumer-1", "consumer-2"), result["committed"])
    assert [result[name] for name in ("missing", "phantom", "duplicated", "out_of_order")] == [0, 0, 0, 0]
    assert result["changes_per_second"] > 0
    for consumer in result["delivered"]:
        assert compare(tmp_path / "committed.jsonl", tmp_path / f"delivered-{consumer}.jsonl").clean
    # What is missing from a history is noticed.
    lines = (tmp_path / "delivered-consumer-1.jsonl").read_text(encoding="utf-8").split("\n")
    (tmp_path / "short.jsonl").write_text("\n".join(lines[1:]), encoding="utf-8")
    assert compare(tmp_path / "committed.jsonl", tmp_path / "short.jsonl").missing == 1


def test_an_interrupted_demo_leaves_no_process() -> None:
    """Ctrl-C ends it with one line, and with all that it has started."""
    demo, children = started("--changes", "2000000")
    demo.send_signal(signal.SIGINT)
    out, err = demo.communicate(timeout=150)
    assert demo.returncode == 1
    assert "interrupted" in err
    assert "Traceback" not in err
    assert out == ""
    assert are_gone(children)


def test_a_relay_that_dies_is_named() -> None:
    """The demo says which process died, ends with 1, and leaves none behind."""
    demo, children = started("--changes", "2000000")
    [relay] = [pid for pid in children if " run " in name_of(pid)]
    os.kill(relay, signal.SIGKILL)
    _, err = demo.communicate(timeout=120)
    assert demo.returncode == 1
    assert "spanwire: relay: ended with exit code -9" in err
    assert "Traceback" not in err
    assert are_gone(children)
