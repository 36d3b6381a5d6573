"""A consumer of a feed stands still at full load: what that costs the relay, and what the others notice.

python benches/slow_consumer.py [--before 30] [--hold 60] [--after 15] [--ring-mib 64] [--rate 0] [--control]

A simulator commits as fast as it can to a relay with a `pub`, a `feed` and a `replay` output. One consumer
of the feed is stopped by a signal for `--hold` seconds while another one and a consumer of the pub read on.
Prints one line of JSON: changes a second, the relay's memory, what each consumer has got. Exit 1 where one
has not got everything once.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import signal
import sys
import tempfile
import threading
import time
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from spanwire import Change, Subscriber, Timestamp
from spanwire.children import Child

_START_S = 60.0
_PATIENCE_S = 600.0
_MIB = 1 << 20
_SAMPLE = 50
_CHANGES = 10_000
"""Committed in one go."""
_REPLAYS = '"a replay ended"'
_CONFIG = """
[source]
project = "{project}"
instance = "{instance}"
database = "{database}"
stream = "changes"
emulator_host = "{address}"
tick_ms = 100
heartbeat_ms = 100
[store]
path = "{folder}/progress.db"
[[output]]
kind = "pub"
bind = "tcp://127.0.0.1:*"
ring_bytes = {ring_bytes}
[[output]]
kind = "feed"
bind = "tcp://127.0.0.1:*"
ring_bytes = {ring_bytes}
[[output]]
kind = "replay"
bind = "tcp://127.0.0.1:*"
[security]
mode = "none"
"""


class Taken:
    """What a consumer has got, as a count and a sum over all changes, which no order changes."""

    def __init__(self) -> None:
        self.changes = 0
        self.bytes = 0
        """As canonical text, by a sample."""
        self.sum = 0

    def take(self, change: Change) -> None:
        """One more."""
        self.changes += 1
        if not self.changes % _SAMPLE:
            self.bytes += _SAMPLE * len(change.canonical())
        digest = hashlib.blake2b(f"{change.table}/{change.version}".encode(), digest_size=8).digest()
        self.sum = (self.sum + int.from_bytes(digest)) % (1 << 64)


def consume(kind: str, endpoint: str, replay: str, start: str) -> None:
    """In a process of its own: take changes until the watermark has passed what stdin says is the last."""
    until: list[Timestamp] = []

    def listen() -> None:
        for line in sys.stdin:
            until.append(Timestamp.parse(json.loads(line)["until"]))

    threading.Thread(target=listen, daemon=True).start()
    taken, told = Taken(), 0.0
    with Subscriber(endpoint, kind=kind, replay=replay, start=start) as subscriber:  # type: ignore[arg-type]
        if not subscriber.wait_joined(_START_S):
            raise SystemExit("it did not join")
        while not until or subscriber.watermark is None or subscriber.watermark < until[0]:
            for change in subscriber.receive(0.1):
                taken.take(change)
            if time.monotonic() - told > 0.5:
                told = time.monotonic()
                _say({"changes": taken.changes, "bytes": taken.bytes})
        for change in subscriber.receive(0.5):
            taken.take(change)  # one too many
    _say({"changes": taken.changes, "bytes": taken.bytes, "sum": taken.sum, "done": True})


class Peer(Child):
    """A consumer, and how far it has told to be."""

    changes, bytes, sum, done = 0, 0, 0, False

    def signal(self, number: signal.Signals) -> None:
        """Send it a signal."""
        os.kill(self.pid, number)

    def look(self) -> None:
        """Take what it has said."""
        while not self.done and (answer := self.answer(0.001)) is not None:
            self.changes, self.bytes = answer["changes"], answer["bytes"]
            self.sum = answer.get("sum", 0)
            self.done = "done" in answer


class Memory:
    """The resident memory of a process, at each look."""

    def __init__(self, pid: int) -> None:
        self._status = Path(f"/proc/{pid}/status")
        self.mib: list[float] = []

    def look(self) -> None:
        """Once more."""
        lines = self._status.read_text(encoding="utf-8").splitlines()
        line = next(one for one in lines if one.startswith("VmRSS:"))
        self.mib.append(round(int(line.split()[1]) / 1024, 1))


def measure(options: argparse.Namespace, folder: Path, stack: ExitStack) -> dict[str, Any]:
    """Carry it out."""
    arguments = ["-m", "spanwire.simulator", "--partitions", "4"]
    simulator = stack.enter_context(Child("simulator", arguments, folder / "simulator.log"))
    served = simulator.expect(_START_S)
    _, project, _, instance, _, database = served["database"].split("/")
    config = folder / "relay.toml"
    begin = str(Timestamp.now())
    config.write_text(
        _CONFIG.format(
            project=project,
            instance=instance,
            database=database,
            address=served["address"],
            folder=folder,
            ring_bytes=round(options.ring_mib * _MIB),
        )
    )
    command = ["-c", "from spanwire.cli import main; main()", "run", str(config), "--json"]
    relay = stack.enter_context(Child("relay", command, folder / "relay.log"))
    while "endpoints" not in (started := relay.expect(_START_S)):
        pass
    pub, feed, replay = (endpoints[0] for endpoints in started["endpoints"])
    peers = {}
    for name, kind, endpoint in (("pub", "pub", pub), ("feed", "feed", feed), ("slow", "feed", feed)):
        ask = [__file__, "--consume", kind, endpoint, replay, begin]
        peers[name] = stack.enter_context(Peer(name, ask, folder / f"{name}.log"))
    for one in peers.values():
        one.expect(_START_S)

    load = Load(simulator, options)
    memory = Memory(relay.pid)

    def go_on(seconds: float) -> None:
        """Under load, with a look around each second."""
        end = time.monotonic() + seconds
        while (left := end - time.monotonic()) > 0:
            time.sleep(min(left, 1.0))
            memory.look()
            load.look()
            for one in peers.values():
                one.look()

    # Canonical text is smaller than a message's buffer: by then rings have gone round more than twice.
    full, begun = 2 * options.ring_mib * _MIB, time.monotonic()
    while time.monotonic() - begun < options.before or peers["feed"].bytes < full:
        go_on(1.0)
    slow, began, before = peers["slow"], time.monotonic(), load.changes
    taken = peers["feed"].bytes
    log = folder / "relay.log"
    replays = log.read_text(encoding="utf-8").count(_REPLAYS)
    settled = len(memory.mib)
    if not options.control:
        slow.signal(signal.SIGSTOP)
    while time.monotonic() - began < options.hold or peers["feed"].bytes - taken < options.hold_mib * _MIB:
        go_on(1.0)
    held_s, while_held = time.monotonic() - began, load.changes - before
    slow_at, taken = slow.changes, peers["feed"].bytes - taken
    held = memory.mib[settled:]
    if not options.control:
        slow.signal(signal.SIGCONT)
    go_on(options.after)
    committed, last = load.end()
    ended = time.monotonic()
    for one in peers.values():
        one.tell({"until": last})
    while not all(one.done for one in peers.values()) and time.monotonic() - ended < _PATIENCE_S:
        go_on(0.2)
    return {
        "changes_per_second": round(while_held / held_s),
        "changes_while_held": while_held,
        "mib_while_held": round(taken / _MIB, 1),
        "committed": committed,
        "relay_mib_most_before": max(memory.mib[:settled]),
        "relay_mib_before": memory.mib[settled - 1],
        "relay_kib_per_1000_changes_while_held": round(
            1024 * (held[-1] - memory.mib[settled - 1]) / (while_held / 1000), 1
        ),
        "relay_mib_while_held": {f"{at} s": held[at - 1] for at in _looks(len(held))},
        "relay_mib": memory.mib,
        "relay_mib_most_while_held": max(held),
        "relay_mib_most": max(memory.mib),
        "relay_mib_at_the_end": memory.mib[-1],
        "slow_had_when_held": slow_at,
        "missing": {name: committed - one.changes for name, one in peers.items()},
        "equal": len({(one.changes, one.sum) for one in peers.values()}) == 1,
        "replays_from_spanner": log.read_text(encoding="utf-8").count(_REPLAYS) - replays,
        "caught_up_s_after_load": round(time.monotonic() - ended, 1),
    }


class Load:
    """What is committed: as much as there is time for."""

    def __init__(self, simulator: Child, options: argparse.Namespace) -> None:
        self._simulator = simulator
        wanted = {"changes": _CHANGES, "rate": options.rate, "max_mods": 40}
        self._wanted = {"run": wanted | {"large_every": options.large_every}}
        self._done = self._running = 0
        self._last = ""
        self._begin()

    @property
    def changes(self) -> int:
        """Committed by now."""
        return self._done + self._running

    def look(self) -> None:
        """Take what the simulator has said; have it go on."""
        while (answer := self._simulator.answer(0.001)) is not None:
            if self._take(answer):
                self._begin()

    def end(self) -> tuple[int, str]:
        """How many changes were committed, and when the last."""
        while not self._take(self._simulator.expect(_START_S)):
            pass
        return self._done, self._last

    def _begin(self) -> None:
        self._simulator.tell(self._wanted)

    def _take(self, answer: dict[str, Any]) -> bool:
        """Whether it has come to the end of a run."""
        if "progress" in answer:
            self._running = answer["progress"]
            return False
        self._done += answer["committed"]
        self._last, self._running = answer["last"], 0
        return True


def _looks(seconds: int) -> list[int]:
    """When memory is told."""
    return sorted({at for at in (1, 5, 30, seconds) if at <= seconds})


def _say(answer: dict[str, Any]) -> None:
    print(json.dumps(answer), flush=True)


def main() -> int:
    """Measure, or consume."""
    if sys.argv[1:2] == ["--consume"]:
        consume(*sys.argv[2:])
        return 0
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--before",
        type=float,
        default=30.0,
        help="seconds of load, and more until the rings have filled; default: 30",
    )
    parser.add_argument("--hold", type=float, default=60.0, help="seconds; default: 60")
    parser.add_argument("--hold-mib", type=float, default=0.0, help="and until so much has come since")
    parser.add_argument("--after", type=float, default=15.0, help="seconds of load behind it; default: 15")
    parser.add_argument("--ring-mib", type=float, default=64.0, help="of each output; default: 64")
    parser.add_argument(
        "--rate", type=float, default=0.0, help="changes a second; default: as many as can be"
    )
    parser.add_argument(
        "--large-every", type=int, default=5000, help="one change in so many is of 100 kB; default: 5000"
    )
    parser.add_argument("--control", action="store_true", help="stop nobody, to compare with")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="spanwire-slow-") as folder, ExitStack() as stack:
        found = measure(options, Path(folder), stack)
    _say(found)
    return 0 if found["equal"] and not any(found["missing"].values()) else 1


if __name__ == "__main__":
    sys.exit(main())
