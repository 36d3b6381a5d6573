"""One run: real processes, the plan's faults, and the verdict over the histories they leave.

One thread looks after everything, a few dozen times a second: what is due is done, what has died is
started again.
"""

from __future__ import annotations

import heapq
import itertools
import json
import os
import shutil
import sys
import time
from collections import Counter
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import asdict, dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from chaos.consumer import Asked, export
from chaos.plan import Blow, ConsumerPlan, Plan
from chaos.planted import VARIABLE
from chaos.processes import Process
from chaos.proxy import Network, Way
from chaos.tap import Tap

from spanwire._core import Timestamp
from spanwire.consumer.replaying import replay
from spanwire.errors import SpanwireError
from spanwire.history import FAULTS, Comparison, compare, compare_sent
from spanwire.history.lines import Consumer as HistoryConsumer

SETTLE_S = 60.0
"""Once nothing goes wrong any more, everything has arrived after this."""
_LOOK_S = 0.02
_RESTART_S = 0.1
_START_S = 60.0
RELAY = "relay-1"
OUTPUTS = ("pub", "feed", "replay")
"""The relay's, in the order of its configuration."""


@dataclass
class _Relay:
    """One relay, process after process."""

    config: Path
    ways: dict[str, list[Way]] = field(default_factory=lambda: {kind: [] for kind in OUTPUTS})
    """By output, those that lead to it."""
    endpoints: dict[str, str] = field(default_factory=dict)
    """Of the living process, once it sends."""
    process: Process | None = None
    lives: int = 0

    def lead(self, endpoints: dict[str, str]) -> None:
        """All ways lead there from now on; without endpoints nowhere."""
        self.endpoints = endpoints
        for output, ways in self.ways.items():
            for way in ways:
                way.lead_to(endpoints.get(output))


@dataclass
class _Consumer:
    """One consumer, process after process."""

    plan: ConsumerPlan
    file: Path
    live: Way
    replay: Way
    process: Process | None = None
    lives: int = 0
    ready: bool = False
    done: bool = False
    watermark: str = ""
    blocked_by: str | None = None


class Run:
    """A plan carried out in a folder. `mutant`: the bug that is planted."""

    def __init__(self, plan: Plan, folder: Path, mutant: str = "", settle_s: float = SETTLE_S) -> None:
        self._plan = plan
        self._folder = folder
        self._work_folder = folder / "work"
        """Logs, stores, ledgers."""
        self._settle_s = settle_s
        self._environment = {"PYTHONPATH": _python_path(), VARIABLE: mutant}
        self._due: list[tuple[float, int, Callable[[], None]]] = []
        self._count = itertools.count()
        self._consumers: dict[str, _Consumer] = {}
        self._struck: Counter[str] = Counter()
        self._problems: list[str] = []
        self._last: str | None = None
        """The last commit, once all has been committed."""

    def verdict(self) -> dict[str, Any]:
        """Carry it out; the counts of `make chaos`."""
        for left in (*self._folder.glob("delivered-*.jsonl"), *self._folder.glob("sent-*.jsonl")):
            left.unlink()
        shutil.rmtree(self._work_folder, ignore_errors=True)
        self._work_folder.mkdir(parents=True)
        with ExitStack() as stack:
            try:
                self._carry_out(stack)
            except SpanwireError as error:
                self._problems.append(str(error))
        return self._judge()

    # -------------------------------------------------------------- what is started

    def _carry_out(self, stack: ExitStack) -> None:
        self._stack = stack
        self._network = stack.enter_context(Network())
        self._simulator = stack.enter_context(self._start_simulator())
        served = self._simulator.expect(_START_S)
        self._begin = str(Timestamp.now())
        self._relay = _Relay(self._configure(served["address"], served["database"]))
        tapped = self._way("pub")
        stack.enter_context(Tap(tapped.endpoint, self._folder / f"sent-{RELAY}.jsonl"))
        self._start_relay()
        self._until(lambda: bool(self._relay.endpoints), _START_S, "the relay starts")
        for asked in self._plan.consumers:
            file = self._work_folder / f"{asked.name}.db"
            consumer = _Consumer(asked, file, self._way(asked.kind), self._way("replay"))
            self._consumers[asked.name] = consumer
            if not asked.begins_s:
                self._start_consumer(consumer)
        first = [one for one in self._consumers.values() if not one.plan.begins_s]
        self._until(lambda: all(one.ready for one in first), _START_S, "the consumers join")
        self._work()
        for one in self._consumers.values():
            if one.process is not None:
                one.process.stop()
        self._replay()
        self._simulator.tell({"struck": None})
        while "struck" not in (answer := self._simulator.expect(_START_S)):
            pass
        self._struck.update(f"source_{kind}" for kind, *_ in answer["struck"])

    def _replay(self) -> None:
        """Read everything once more: it equals the original."""
        with (self._folder / "delivered-replay.jsonl").open("w", encoding="utf-8", newline="\n") as out:
            out.write(f"{HistoryConsumer(after=self._begin).line()}\n")
            endpoint = self._way("replay").endpoint
            for change in replay(endpoint, after=self._begin, until=self._last, patience=self._settle_s):
                out.write(f"{change.canonical()}\n")

    def _start_simulator(self) -> Process:
        plan = self._plan
        script = self._work_folder / "faults.json"
        # A stream that is reset breaks off in the middle of a value.
        faults = [
            {"kind": kind, "probability": probability, "in_value": kind == "reset"}
            for kind, probability in sorted(plan.source_faults.items())
        ]
        script.write_text(json.dumps({"seed": plan.seed, "fault": faults}), encoding="utf-8")
        arguments = ["-m", "spanwire.simulator", "--mode", plan.mode, "--dialect", plan.dialect]
        arguments += ["--seed", str(plan.seed), "--partitions", str(plan.partitions)]
        arguments += ["--splits", str(plan.churn), "--chop", "20", "--message-bytes", str(8 << 10)]
        arguments += ["--faults", str(script), "--history", str(self._folder / "committed.jsonl")]
        return Process("simulator", arguments, self._work_folder / "simulator.log")

    def _configure(self, address: str, database: str) -> Path:
        plan = self._plan
        _, project, _, instance, _, name = database.split("/")
        config = self._work_folder / f"{RELAY}.toml"
        config.write_text(
            f'[source]\nproject = "{project}"\ninstance = "{instance}"\ndatabase = "{name}"\n'
            f'stream = "changes"\nemulator_host = "{address}"\nstart = "{self._begin}"\n'
            "heartbeat_ms = 100\ntick_ms = 100\n\n"
            f'[store]\npath = "{self._work_folder / f"{RELAY}.db"}"\ninterval_ms = {plan.interval_ms}\n\n'
            + "\n".join(_output(plan, kind) for kind in OUTPUTS)
            + '\n[security]\nmode = "none"\n',
            encoding="utf-8",
        )
        return config

    def _way(self, output: str) -> Way:
        way = self._network.way()
        way.lead_to(self._relay.endpoints.get(output))
        self._relay.ways[output].append(way)
        return way

    def _start_relay(self) -> None:
        relay = self._relay
        arguments = ["-m", "chaos.relay", str(relay.config)]
        point = self._plan.points[relay.lives] if relay.lives < len(self._plan.points) else None
        if point is not None:
            arguments += [point[0], str(point[1])]
        relay.lives += 1
        relay.process = self._process(f"{RELAY}.{relay.lives}", arguments)

    def _start_consumer(self, consumer: _Consumer) -> None:
        plan = consumer.plan
        asked = Asked(
            file=str(consumer.file),
            kind=plan.kind,
            order=plan.order,
            endpoint=consumer.live.endpoint,
            replay=consumer.replay.endpoint,
            topics=[""],
            tables=None,
            start=self._begin,
            high_water_mark=plan.high_water_mark,
        )
        consumer.lives += 1
        arguments = ["-m", "chaos.consumer", json.dumps(asdict(asked))]
        consumer.process = self._process(f"{plan.name}.{consumer.lives}", arguments)
        if self._last is not None:
            consumer.process.tell({"until": self._last})

    def _process(self, name: str, arguments: list[str]) -> Process:
        process = Process(name, arguments, self._work_folder / f"{name}.log", self._environment)
        return self._stack.enter_context(process)

    # -------------------------------------------------------------- what happens

    def _work(self) -> None:
        """Commit, strike, heal, and wait until everything has arrived."""
        plan = self._plan
        wanted = {"changes": plan.changes, "rate": plan.rate, "max_mods": plan.max_mods}
        self._simulator.tell({"run": wanted})
        for blow in plan.blows:
            self._after(blow.at_s, partial(self._strike, blow))
        for one in self._consumers.values():
            if one.plan.begins_s:
                self._after(one.plan.begins_s, partial(self._start_consumer, one))
        committed: list[str] = []

        def committing() -> bool:
            committed.extend(a["last"] for a in self._simulator.answers() if "last" in a)
            return bool(committed) and not self._due

        self._until(committing, plan.seconds * 5 + _START_S, "the workload ends")
        self._last = committed[0]
        for one in self._consumers.values():
            if one.process is not None and one.process.runs:
                one.process.tell({"until": self._last})
        waiting = self._consumers.values()
        self._until(
            lambda: all(one.done for one in waiting),
            self._settle_s,
            "everything arrives",
            lambda: ", ".join(
                f"{one.plan.name} is at {one.watermark}: {one.blocked_by or 'nothing blocks it'}"
                for one in waiting
                if not one.done
            ),
        )

    def _until(
        self, holds: Callable[[], bool], timeout: float, what: str, detail: Callable[[], str] = str
    ) -> None:
        deadline = time.monotonic() + timeout
        while not holds():
            if time.monotonic() > deadline:
                raise SpanwireError(f"{what}: not within {timeout:.0f} s; {detail()}".strip("; "))
            while self._due and self._due[0][0] <= time.monotonic():
                heapq.heappop(self._due)[2]()
            self._look_at_relay()
            for one in self._consumers.values():
                self._look_at_consumer(one)
            time.sleep(_LOOK_S)

    def _after(self, seconds: float, action: Callable[[], None]) -> None:
        heapq.heappush(self._due, (time.monotonic() + seconds, next(self._count), action))

    def _look_at_relay(self) -> None:
        relay, process = self._relay, self._relay.process
        if process is None:
            return
        alive = process.runs
        for answer in process.answers():
            if answer.get("event") == "started":
                first = [endpoints[0] for endpoints in answer["endpoints"]]
                relay.lead(dict(zip(OUTPUTS, first, strict=True)))
            elif answer.get("event") == "point":
                self._struck[f"relay_died_{answer['point']}"] += 1
        if not alive:
            self._lost(process)
            relay.process = None
            relay.lead({})
            self._after(_RESTART_S, self._start_relay)

    def _look_at_consumer(self, one: _Consumer) -> None:
        process = one.process
        if process is None or one.done:
            return
        alive = process.runs
        for answer in process.answers():
            one.ready |= "ready" in answer
            one.done |= "done" in answer
            one.watermark = answer.get("watermark", one.watermark)
            one.blocked_by = answer.get("blocked_by", one.blocked_by)
        if not alive and not one.done:
            self._lost(process)
            one.process = None
            self._after(_RESTART_S, lambda: self._start_consumer(one))

    def _lost(self, process: Process) -> None:
        if process.failed:
            raise SpanwireError(process.obituary())

    def _strike(self, blow: Blow) -> None:
        """What it hits must be there; else nothing happens."""
        if blow.target == RELAY:
            process, ways = self._relay.process, []
        else:
            consumer = self._consumers[blow.target]
            process, ways = consumer.process, [consumer.live, consumer.replay]
            if not consumer.ready or consumer.done:
                return
        if process is None or not process.runs or process.stands:
            return
        self._struck[blow.kind] += 1
        heal = _blow(blow, process, ways)
        if heal is not None:
            self._after(blow.for_s, heal)

    # -------------------------------------------------------------- the verdict

    def _judge(self) -> dict[str, Any]:
        committed = self._folder / "committed.jsonl"
        for name, one in self._consumers.items():
            if one.file.exists():
                export(str(one.file), self._folder / f"delivered-{name}.jsonl")
        found: dict[str, Comparison] = {}
        for history in sorted(self._folder.glob("delivered-*.jsonl")):
            found[history.stem.removeprefix("delivered-")] = compare(committed, history)
        total = {fault: sum(getattr(one, fault) for one in found.values()) for fault in FAULTS}
        sent = self._folder / f"sent-{RELAY}.jsonl"
        wrong = compare_sent(committed, sent).as_dict() if sent.exists() else {}
        return {
            "seed": self._plan.seed,
            "committed": max((one.committed for one in found.values()), default=0),
            "delivered": {name: one.delivered for name, one in found.items()},
            **total,
            "announced_gaps": sum(one.announced_gaps for one in found.values()),
            "faults": dict(sorted(self._struck.items())),
            "sent": wrong,
            "examples": {name: one.examples for name, one in found.items() if one.examples},
            "problems": self._problems,
        }


def _blow(blow: Blow, process: Process, ways: list[Way]) -> Callable[[], None] | None:
    """Do it; what makes it good again, where that does not come by itself."""
    match blow.kind.split("_", 1)[1]:
        case "killed":
            process.kill()
            return None
        case "stopped":
            process.ask_to_end()
            return None
        case "paused":
            process.pause()
            return process.go_on
        case "cut":
            _each(ways, Way.cut)
        case "slow":
            _each(ways, lambda way: way.slow(0.02))
        case "silent":
            _each(ways, lambda way: way.silence("there", "back"))
        case "silent_one_way":
            _each(ways, lambda way: way.silence("back"))
    return lambda: _each(ways, Way.heal)


def _each(ways: list[Way], action: Callable[[Way], None]) -> None:
    for way in ways:
        action(way)


def _output(plan: Plan, kind: str) -> str:
    """One output's settings."""
    lines = [f'[[output]]\nkind = "{kind}"\nbind = "tcp://127.0.0.1:*"\n']
    if kind != "replay":
        lines += [f'values = "{plan.values}"\nhigh_water_mark = {plan.high_water_mark}\n']
        lines += [f"batch_changes = {plan.batch_changes}\nring_bytes = {plan.ring_bytes}\n"]
    return "".join(lines)


def _python_path() -> str:
    return os.pathsep.join([str(Path(__file__).parents[1]), *filter(None, sys.path)])
