"""What a bench of whole processes runs: a simulator, a relay of some make, a subscriber. All gone on exit.

All relays take the same from the same simulator and are heard by the same subscriber. A peer is a program
that takes the options that `peer` gives it, says {"endpoints": ["tcp://…"]} on stdout once it is bound, sends
something on a topic that ends in `/_tick/` ten times a second, and goes on until it is stopped.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from spanwire.bench import peers
from spanwire.children import Child
from spanwire.errors import SpanwireError

START_S = 60.0
"""How long a process may take to say that it is there."""
STREAM = "changes"

_CONFIG = """
[source]
project = "{project}"
instance = "{instance}"
database = "{database}"
stream = "{stream}"
emulator_host = "{address}"
tick_ms = {tick_ms}
{source}
[store]
path = "{folder}/progress.db"
{outputs}
[security]
mode = "none"
"""
PUB = """
[[output]]
kind = "pub"
bind = "tcp://127.0.0.1:*"
values = "{values}"
high_water_mark = 1000000
"""
"""An output that drops nothing while its subscriber is a million messages behind."""


@dataclass(frozen=True, slots=True)
class Served:
    """A simulator's whereabouts."""

    child: Child
    address: str
    database: str
    """projects/…/instances/…/databases/…"""

    def hold(self, changes: int) -> None:
        """Ready-made messages of whoever asks from now on are held back: so many changes in a partition."""
        self.child.tell({"hold": changes})
        self.child.expect(START_S)

    def wait_for_readers(self, readers: int) -> None:
        """Until so many queries stand where their messages are held back. SpanwireError."""
        deadline = time.monotonic() + START_S
        while True:
            self.child.tell({"held": None})
            if self.child.expect(START_S)["held"] >= readers:
                return
            if time.monotonic() > deadline:
                raise SpanwireError(f"the simulator's partitions are not all read after {START_S:.0f} s")
            time.sleep(0.01)

    def release(self) -> None:
        """Let its held messages go. It answers at once."""
        self.child.tell({"release": None})
        self.child.expect(START_S)


@dataclass(frozen=True, slots=True)
class Running:
    """A relay that runs, of whatever make."""

    child: Child
    endpoints: list[list[str]]
    """Per output, per sender."""

    @property
    def endpoint(self) -> str:
        """Of the first output."""
        return self.endpoints[0][0]


def simulator(stack: ExitStack, folder: Path, *arguments: str) -> Served:
    """A simulator in a process of its own; `arguments` as `python -m spanwire.simulator --help` tells."""
    child = Child("simulator", ["-m", "spanwire.simulator", *arguments], folder / "simulator.log", kill=True)
    served = stack.enter_context(child).expect(START_S)
    return Served(child, served["address"], served["database"])


def spanwire(
    stack: ExitStack, folder: Path, served: Served, outputs: str, source: str = "", *, tick_ms: int = 100
) -> Running:
    """`spanwire run`; `outputs` and `source` are TOML: tables of outputs, more settings of the source."""
    _, project, _, instance, _, database = served.database.split("/")
    config = folder / "relay.toml"
    config.write_text(
        _CONFIG.format(
            project=project,
            instance=instance,
            database=database,
            stream=STREAM,
            address=served.address,
            source=source,
            tick_ms=tick_ms,
            folder=folder,
            outputs=outputs,
        ),
        encoding="utf-8",
    )
    command = ["-c", "from spanwire.cli import main; main()", "run", str(config), "--json"]
    child = stack.enter_context(Child("relay", command, folder / "relay.log", kill=True))
    while "endpoints" not in (started := child.expect(START_S)):
        pass
    return Running(child, started["endpoints"])


def peer(
    stack: ExitStack, folder: Path, served: Served, program: Sequence[str], values: str = "json"
) -> Running:
    """A peer's relay: `program` is its command, to which its options are added."""
    options = {
        "--address": served.address,
        "--database": served.database,
        "--stream": STREAM,
        "--values": values,
    }
    command = [*program, *(word for option in options.items() for word in option)]
    child = stack.enter_context(Child("peer", command, folder / "peer.log", program=True, kill=True))
    said: dict[str, Any] = child.expect(START_S)
    return Running(child, [said["endpoints"]])


def python_peer() -> list[str]:
    """The relay in plain Python. ConfigError where it is not there."""
    return [sys.executable, str(peers.folder() / "python" / "relay.py")]


def go_peer() -> list[str]:
    """The relay in Go, built where it is not yet. ConfigError where that cannot be, with the reason."""
    return [str(peers.build_go())]


def resident_mib(pid: int) -> float:
    """Resident memory of a process, in MiB."""
    lines = Path(f"/proc/{pid}/status").read_text(encoding="ascii").splitlines()
    return int(next(line for line in lines if line.startswith("VmRSS:")).split()[1]) / 1024


def processor_seconds(pid: int) -> float:
    """Processor time a process has taken, in seconds: of all its threads, user and system."""
    fields = Path(f"/proc/{pid}/stat").read_text(encoding="ascii").rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
