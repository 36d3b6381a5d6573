"""Consumers in processes of their own that a test kills with -9, and the relay that they follow."""

from __future__ import annotations

import os
import random
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from integration.relays import eventually
from integration.test_relay_killed import free_endpoint, relay

from spanwire.simulator import Simulator, WorkloadConfig

_KILLS = 5
_CONFIG = """
[source]
project = "{source.project}"
instance = "{source.instance}"
database = "{source.database}"
stream = "{source.stream}"
emulator_host = "{host}"
tick_ms = 50
heartbeat_ms = 100
[store]
kind = "sqlite"
path = "{folder}/progress.db"
interval_ms = 50
[[output]]
kind = "pub"
bind = "{changes}"
[[output]]
kind = "replay"
bind = "{replays}"
"""


@contextmanager
def relaying(simulator: Simulator, folder: Path, more: str = "") -> Iterator[tuple[str, str]]:
    """A relay process of the simulator's stream; where it publishes, and where it replays."""
    changes, replays = free_endpoint(), free_endpoint()
    config = folder / "relay.toml"
    text = _CONFIG.format(
        source=simulator.config, host=simulator.address, folder=folder, changes=changes, replays=replays
    )
    config.write_text(text + more, encoding="utf-8")
    with relay(config):
        yield changes, replays


@contextmanager
def busy(simulator: Simulator, changes: int, rate: float) -> Iterator[Callable[[], bool]]:
    """Commits at a pace while the block runs; says whether all are made. They are by its end."""
    thread = threading.Thread(target=simulator.workload, args=(WorkloadConfig(changes=changes, rate=rate),))
    thread.start()
    try:
        yield lambda: not thread.is_alive()
    finally:
        thread.join()


@contextmanager
def running(script: Path, *arguments: str) -> Iterator[Callable[[], bool]]:
    """A Python program; says whether it still runs. Killed with -9 at the end, wherever it is then."""
    log = script.name
    command = [sys.executable, str(script), *arguments]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, env={**os.environ, "PYTHONUNBUFFERED": "1"})
    errors: list[bytes] = []
    assert process.stderr is not None
    reading = threading.Thread(target=errors.extend, args=(process.stderr,))
    reading.start()
    try:
        yield lambda: process.poll() is None
        assert process.poll() is None, f"{log} ended: {b''.join(errors).decode()}"
    finally:
        process.kill()
        process.wait()
        reading.join()
        process.stderr.close()


def killed_again_and_again(
    command: Sequence[Any],
    state: Callable[[], Any],
    done: Callable[[], bool],
    rng: random.Random,
    check: Callable[[], None] = lambda: None,
) -> None:
    """Run a consumer, kill it after a random number of changes of its state, and again; the last may finish.

    `check`: what must hold after each kill. Most kills must come before all is done.
    """
    amid = 0
    for _ in range(_KILLS):
        with running(*command) as runs:
            seen, left = state(), rng.randint(1, 40)

            def moved() -> bool:
                nonlocal seen, left
                before, seen = seen, state()
                left -= seen != before
                return left <= 0 or not runs() or done()

            eventually(moved)
            amid += not done()
        check()
    assert amid > _KILLS / 2, "it was hardly killed amid its work"
    with running(*command) as runs:
        eventually(lambda: done() or not runs())
    assert done()
    check()
