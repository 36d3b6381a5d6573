"""Consumers in processes of their own that a test kills with -9, and the relay that they follow."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Self

from integration.processes import reads, relay
from integration.relays import eventually
from support.ports import free_endpoint

from spanwire import Timestamp
from spanwire.simulator import Simulator, WorkloadConfig

_KILLS = 3
_OUTPUTS = """
[[output]]
kind = "pub"
bind = "{changes}"
[[output]]
kind = "replay"
bind = "{replays}"
"""


@contextmanager
def relaying(simulator: Simulator, folder: Path) -> Iterator[tuple[str, str]]:
    """A relay process of the simulator's stream; where it publishes, and where it replays."""
    changes, replays = free_endpoint(), free_endpoint()
    config = folder / "relay.toml"
    text = reads(simulator, folder) + _OUTPUTS.format(changes=changes, replays=replays)
    config.write_text(text, encoding="utf-8")
    with relay(config):
        yield changes, replays


def beginning(simulator: Simulator) -> str:
    """When the change stream was created: before that there is nothing to be had."""
    return str(Timestamp(simulator.created // 10**9, simulator.created % 10**9))


class Writing:
    """Commits at a pace while the block runs, or until it is stopped."""

    def __init__(self, simulator: Simulator, rate: float = 200) -> None:
        self._simulator = simulator
        self._step = WorkloadConfig(changes=30, rate=rate)
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._write)

    def stop(self) -> None:
        """From now on nothing more is committed."""
        self._stop.set()
        self._thread.join()

    def _write(self) -> None:
        while not self._stop.is_set():
            self._simulator.workload(self._step)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()


@contextmanager
def running(script: Path, *arguments: str) -> Iterator[Callable[[], bool]]:
    """A Python program; says whether it still runs. Killed with -9 at the end, wherever it is then.

    Where the test fails meanwhile, it is told where the program stood.
    """
    command = [sys.executable, "-X", "faulthandler", str(script), *arguments]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, env={**os.environ, "PYTHONUNBUFFERED": "1"})
    last = signal.SIGABRT  # has it print the stacks of its threads
    errors: list[bytes] = []
    assert process.stderr is not None
    reading = threading.Thread(target=errors.extend, args=(process.stderr,))
    reading.start()
    try:
        yield lambda: process.poll() is None
        assert process.poll() is None, f"{script.name} ended"
        last = signal.SIGKILL
    finally:
        process.send_signal(last)
        process.wait()
        reading.join()
        process.stderr.close()
        if last is signal.SIGABRT:
            sys.stderr.write(b"".join(errors).decode())


def killed_amid_work(
    command: Sequence[Any],
    writing: Writing,
    state: Callable[[], Any],
    done: Callable[[], bool],
    check: Callable[[], None] = lambda: None,
    *,
    most: int = 20,
) -> None:
    """Run a consumer while much is written, kill it, and again; the last one may finish all that was.

    It is killed after its `state` has changed a random number of times, `most` at the most; `check` must
    hold after each kill.
    """
    rng = random.Random(1)
    for _ in range(_KILLS):
        with running(*command) as runs:
            seen, left = state(), rng.randint(1, most)

            def has_moved() -> bool:
                nonlocal seen, left
                before, seen = seen, state()
                left -= seen != before
                return left <= 0 or not runs()

            eventually(has_moved)
        check()
    with running(*command) as runs:
        writing.stop()
        eventually(lambda: done() or not runs())
        assert done()
    check()
