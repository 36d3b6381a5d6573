"""Whole relays end to end, beside each other: a simulator, a relay of some make, subscribers, all processes.

Changes per second from the moment when the simulator lets its ready-made messages go, which all partitions'
queries are waiting for by then, to the arrival of the last change at the last subscriber. Start-up is no part
of it. A figure counts only if every change arrived just once, by number.
"""

from __future__ import annotations

import math
import tempfile
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass, replace
from functools import partial
from itertools import takewhile
from pathlib import Path
from typing import Any

from google.cloud.spanner_v1 import PartialResultSet

from spanwire.bench import running
from spanwire.bench.budgets import JUDGED
from spanwire.bench.core import Captured, Values, libzmq_alone
from spanwire.bench.figures import Report
from spanwire.bench.plan import Plan, Step
from spanwire.bench.receiver import Kind, Receiver
from spanwire.bench.workload import build
from spanwire.children import Child
from spanwire.errors import ConfigError
from spanwire.simulator import ReadyMade, Simulator, SimulatorConfig
from spanwire.simulator.queries import ChangeQuery

_PATIENCE_S = 120.0
_GLANCE_S = 0.01
_SECONDS = 1.2
"""What a measurement should take; one that took less than half of it is taken again, longer."""
_QUICK_SECONDS = 0.3


@dataclass(frozen=True, slots=True)
class Case:
    """What is sent, and to whom."""

    changes_per_record: int = 20
    change_bytes: int = 400
    partitions: int = 8
    one_per_message: bool = False
    values: Values = "json"
    kind: Kind = "pub"
    subscribers: int = 1


BASE = Case()
SMALL = Case(changes_per_record=1, one_per_message=True)
"""One change per gRPC message."""
AROUND = {
    "1_change": Case(changes_per_record=1),
    "10_changes": Case(changes_per_record=10),
    "500_changes": Case(changes_per_record=500),
    "100_bytes": Case(change_bytes=100),
    "4000_bytes": Case(change_bytes=4000),
    "1_partition": Case(partitions=1),
    "64_partitions": Case(partitions=64),
    "4_subscribers": Case(subscribers=4),
    "16_subscribers": Case(subscribers=16),
    "push": Case(kind="push"),
    "feed": Case(kind="feed"),
}
"""One factor at a time: changes in a transaction, a change's bytes, partitions, subscribers, the output."""
_ALSO_GO = ("1_change", "10_changes", "500_changes", "1_partition", "64_partitions")

Start = Callable[[ExitStack, Path, running.Served, Case], running.Running]


def steps(plan: Plan, stack: ExitStack) -> Sequence[Step]:
    """The measurements. Relays of a case take from one simulator, one after the other."""
    bench = Bench(stack, _QUICK_SECONDS if plan.quick else _SECONDS)
    found: list[Step] = []

    def add(name: str, measure: Callable[[], float], *, once: bool = False) -> None:
        if not plan.quick or name in JUDGED:
            found.append(Step(f"relay: {name}", partial(_take, name, measure), once))

    makes: dict[str, Start] = {}
    for make, start in starts().items():
        if isinstance(start, str):
            found.append(Step(f"relay: {make}", partial(_say_absent, make, start), once=True))
        else:
            makes[make] = start
    for name, case in (("json", BASE), ("typed", replace(BASE, values="typed")), ("small", SMALL)):
        for make, start in makes.items():
            add(f"{make}_{name}", partial(bench.relay, f"{make}_{name}", start, case))
    for name, case in (("grpc_read", BASE), ("grpc_read_small", SMALL)):
        add(name, partial(bench.bare_read, name, case))
    if plan.quick:
        return found
    sample = messages(BASE, 100_000)
    add("memcpy", partial(copied, sample, 100_000))
    add("upb", partial(parsed, sample, 100_000))
    captured = Captured(build(50_000), "json")
    for name, curve in (("libzmq_plain_json", False), ("libzmq_curve_json", True)):
        add(name, partial(libzmq_alone, captured, 1, curve=curve), once=True)
    for name, case in AROUND.items():
        for make in ("relay", "relay_go") if name in _ALSO_GO else ("relay",):
            if make in makes:
                own = f"{make}_workload_{name}"
                add(own, partial(bench.relay, own, makes[make], case, f"{make}_json"), once=True)
    return found


def conclude(report: Report) -> None:
    """The ratios."""
    for name, figure, peer in (
        ("relay_vs_python", "relay_json", "relay_python_json"),
        ("relay_vs_python_typed", "relay_typed", "relay_python_typed"),
        ("relay_vs_go", "relay_json", "relay_go_json"),
        ("relay_vs_go_typed", "relay_typed", "relay_go_typed"),
        ("relay_vs_go_small", "relay_small", "relay_go_small"),
        ("relay_vs_grpc_read", "relay_json", "grpc_read"),
        ("relay_vs_grpc_read_small", "relay_small", "grpc_read_small"),
    ):
        if figure in report.figures and peer in report.figures:
            report.figures[name] = report.ratio(figure, peer)


def _take(name: str, measure: Callable[[], float], report: Report) -> None:
    report.take(name, "changes/s", measure())


def _say_absent(name: str, why: str, report: Report) -> None:
    report.absent[name] = why


# ------------------------------------------------------------------ relays


def ours(stack: ExitStack, folder: Path, served: running.Served, case: Case) -> running.Running:
    """`spanwire run` with one output."""
    return running.spanwire(stack, folder, served, _OUTPUTS[case.kind].format(values=case.values))


_OUTPUTS: dict[Kind, str] = {
    "pub": running.PUB,
    "push": """
[[output]]
kind = "push"
bind = "tcp://127.0.0.1:*"
values = "{values}"
""",
    # A ring that holds it all: this is about what goes through, not about what is read again.
    "feed": """
[[output]]
kind = "feed"
bind = "tcp://127.0.0.1:*"
values = "{values}"
ring_bytes = 2147483648
""",
}


def _peer(
    program: Sequence[str], stack: ExitStack, folder: Path, served: running.Served, case: Case
) -> running.Running:
    return running.peer(stack, folder, served, program, case.values)


def starts() -> dict[str, Start | str]:
    """How each make of relay is started, by the name of its figures; where it is not there, why."""
    found: dict[str, Start | str] = {"relay": ours}
    for name, program in (("relay_python", running.python_peer), ("relay_go", running.go_peer)):
        try:
            found[name] = partial(_peer, program())
        except ConfigError as error:
            found[name] = str(error)
    return found


# ------------------------------------------------------------------ measuring


class Bench:
    """Simulators that stay for the run, and how many changes each measurement takes."""

    def __init__(self, stack: ExitStack, seconds: float) -> None:
        self._stack = stack
        self._seconds = seconds
        self._folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="spanwire-bench-")))
        self._served: dict[Case, running.Served] = {}
        self._rates: dict[str, float] = {}

    def relay(self, name: str, start: Start, case: Case, like: str = "") -> float:
        """Changes per second through a relay. `like`: a figure whose rate is a guess at this one's."""
        return self._long_enough(name, like, case, lambda changes: self._through(start, case, changes))

    def bare_read(self, name: str, case: Case) -> float:
        """Changes per second that a process reads over gRPC and drops."""
        return self._long_enough(name, "", case, lambda changes: self._read(case, changes))

    def _long_enough(self, name: str, like: str, case: Case, measure: Callable[[int], float]) -> float:
        """Measured over as many changes as take long enough, by what was measured before."""
        known = self._rates.get(name)
        guess = known or (
            _GUESSES[name] if not like else self._rates.get(like, _GUESSES[like]) * _share(case)
        )
        rate = measure(changes := changes_for(case, guess * self._seconds))
        if not known and changes / rate < self._seconds / 2:
            rate = measure(changes_for(case, rate * self._seconds))
        self._rates[name] = rate
        return rate

    def _through(self, start: Start, case: Case, whole: int) -> float:
        with ExitStack() as stack:
            served = self._serve(stack, case)
            served.hold(whole // case.partitions)
            folder = Path(stack.enter_context(tempfile.TemporaryDirectory(dir=self._folder)))
            receivers = [stack.enter_context(Receiver(case.kind)) for _ in range(case.subscribers)]
            relay = start(stack, folder, served, case)
            for receiver in receivers:
                receiver.connect(relay.endpoint)
            for receiver in receivers:
                receiver.wait_ready()
            served.wait_for_readers(case.partitions)
            began = time.monotonic_ns()
            served.release()
            for receiver in receivers:
                receiver.wait_for(whole, _GLANCE_S)
            arrived = [receiver.changes for receiver in receivers]
            if set(arrived) != {whole}:
                raise RuntimeError(f"{arrived} changes arrived of {whole}")
            last = max(receiver.last_at for receiver in receivers)
            return whole / ((last - began) / 1e9)

    def _read(self, case: Case, whole: int) -> float:
        with ExitStack() as stack:
            served = self._serve(stack, case)
            served.hold(changes := whole // case.partitions)
            command = ["-m", "spanwire.bench.bare_read", "--address", served.address]
            command += ["--database", served.database, "--stream", running.STREAM, "--changes", str(changes)]
            reader = stack.enter_context(
                Child("bare read", command, self._folder / "bare_read.log", kill=True)
            )
            reader.expect(running.START_S)
            served.wait_for_readers(case.partitions)
            began = time.monotonic_ns()
            served.release()
            last: int = reader.expect(_PATIENCE_S)["last_at"]
            return whole / ((last - began) / 1e9)

    def _serve(self, stack: ExitStack, case: Case) -> running.Served:
        """The simulator of a case: those of the base stay, others are for one measurement."""
        source = replace(case, values="json", kind="pub", subscribers=1)
        if source not in (BASE, SMALL):
            return running.simulator(stack, self._folder, *arguments(source))
        if source not in self._served:
            self._served[source] = running.simulator(self._stack, self._folder, *arguments(source))
        return self._served[source]


_GUESSES = {
    "relay_json": 500_000.0,
    "relay_typed": 400_000.0,
    "relay_small": 10_000.0,
    "relay_python_json": 15_000.0,
    "relay_python_typed": 15_000.0,
    "relay_python_small": 3_000.0,
    "relay_go_json": 60_000.0,
    "relay_go_typed": 60_000.0,
    "relay_go_small": 10_000.0,
    "grpc_read": 1_000_000.0,
    "grpc_read_small": 10_000.0,
}
"""Changes per second, before anything was measured."""


def _share(case: Case) -> float:
    """What a case may reach of the base's rate, roughly."""
    return min(1.0, BASE.change_bytes / case.change_bytes) / math.sqrt(case.subscribers)


def changes_for(case: Case, wanted: float) -> int:
    """About so many changes that fill the partitions evenly with whole records, some at least."""
    step = case.changes_per_record * case.partitions
    return max(round(wanted / step), 10) * step


def arguments(case: Case) -> list[str]:
    """Of a simulator that serves the case."""
    options = {
        "--partitions": case.partitions,
        "--changes-per-record": case.changes_per_record,
        "--change-bytes": case.change_bytes,
    }
    words = ["--ready-made", *(str(word) for option in options.items() for word in option)]
    return [*words, "--one-per-message"] if case.one_per_message else words


# ------------------------------------------------------------------ limits


def messages(case: Case, changes: int) -> list[bytes]:
    """The messages of one partition of a case."""
    ready = ReadyMade(changes, case.changes_per_record, case.change_bytes)
    simulator = Simulator(SimulatorConfig(ready_made=ready))
    start = simulator.created
    query = ChangeQuery(f"READ_{running.STREAM}", start, None, f"ready-made-0-{start}", 1000)
    with closing(simulator):
        all_of_them = simulator.read(query, b"", lambda: True)
        next(all_of_them)  # metadata
        return list(takewhile(lambda message: len(message) > _HEARTBEAT_BYTES, all_of_them))


_HEARTBEAT_BYTES = 500
"""No heartbeat is as large, and no data change record as small."""


def copied(sample: Sequence[bytes], changes: int) -> float:
    """Changes per second that memory lets be copied, all to places of their own."""
    target = memoryview(bytearray(sum(map(len, sample))))
    target[:] = bytes(len(target))  # the system gives pages when they are first written
    place = 0
    began = time.perf_counter()
    for message in sample:
        target[place : place + len(message)] = message
        place += len(message)
    return changes / (time.perf_counter() - began)


def parsed(sample: Sequence[bytes], changes: int) -> float:
    """Changes per second that protobuf's own parser in C (upb) parses, without looking at a value."""
    kind: Any = PartialResultSet.pb(PartialResultSet())
    parse = type(kind).FromString
    began = time.perf_counter()
    for message in sample:
        parse(message)
    return changes / (time.perf_counter() - began)
