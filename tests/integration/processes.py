"""Relays in processes of their own, for tests that start, kill and start them again."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from spanwire.simulator import Simulator

COMMAND = (sys.executable, "-c", "from spanwire.cli import main; main()", "run")
_READS = """
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
"""


def reads(simulator: Simulator, folder: Path) -> str:
    """The settings of a relay that reads a simulator's stream and keeps its progress in a folder."""
    return _READS.format(source=simulator.config, host=simulator.address, folder=folder)


@contextmanager
def relay(config: Path) -> Iterator[subprocess.Popen[bytes]]:
    """`spanwire run` in a process of its own, from when it sends; killed at the end if it still runs."""
    path = config.parent / "relay.log"
    path.touch()
    sending = path.read_bytes().count(b'"sending"')
    with path.open("ab") as log:
        process = subprocess.Popen([*COMMAND, str(config)], stderr=log, stdout=log, env={**os.environ})
    try:
        deadline = time.monotonic() + 150
        while path.read_bytes().count(b'"sending"') == sending:
            assert process.poll() is None, path.read_text()
            assert time.monotonic() < deadline
            time.sleep(0.02)
        yield process
    finally:
        process.kill()
        process.wait()
