"""`spanwire demo`: relay, simulator and two consumers in processes of their own, and the verdict."""

from __future__ import annotations

import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from spanwire.children import Child
from spanwire.cli.options import Json, print_json, stopped_by_signals
from spanwire.errors import SpanwireError
from spanwire.history import Comparison, compare

_CONSUMERS = ("consumer-1", "consumer-2")
_START_S = 60.0
"""How long a process may take to be ready, on a busy machine."""


@dataclass(frozen=True)
class Plan:
    """What the demo is to do."""

    changes: int
    mode: str
    dialect: str
    values: str
    partitions: int
    seed: int
    rate: float


def demo(
    changes: Annotated[int, typer.Option(min=1, help="How many changes to commit.")] = 100_000,
    history: Annotated[
        Path | None, typer.Option(help="Leave both histories and the logs in this folder.")
    ] = None,
    mode: Annotated[
        Literal["immutable", "mutable"],
        typer.Option(help="Of key ranges: they stay in their partition, or move between them."),
    ] = "immutable",
    dialect: Annotated[
        Literal["googlesql", "postgresql"], typer.Option(help="The database's dialect.")
    ] = "googlesql",
    values: Annotated[Literal["typed", "json"], typer.Option(help="How values are written.")] = "typed",
    partitions: Annotated[
        int, typer.Option(min=1, help="Partitions at the start; they split, merge, end.")
    ] = 4,
    seed: Annotated[int, typer.Option(help="Decides rows, transactions, splits, merges, moves.")] = 0,
    rate: Annotated[float, typer.Option(min=0, help="Changes a second; 0 is as fast as possible.")] = 0.0,
    as_json: Json = False,
) -> None:
    """Run the relay on a simulator of Spanner with two consumers; verify what arrived; say how fast.

    The simulator is not Cloud Spanner: it speaks its protocol on this machine, and knows what it
    committed. Exit 1 unless every consumer got every change once, unaltered and in order.
    """
    plan = Plan(changes, mode, dialect, values, partitions, seed, rate)
    with ExitStack() as stack:
        if history is None:
            folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="spanwire-demo-")))
        else:
            history.mkdir(parents=True, exist_ok=True)
            folder = history
        stop = stack.enter_context(stopped_by_signals())
        show = stack.enter_context(_progress(plan.changes, quiet=as_json))
        result = _Demo(plan, folder, stop, show).run()
    if as_json:
        print_json(result)
    else:
        _print(result, history)
    if any(result[fault] for fault in ("missing", "phantom", "duplicated", "out_of_order")):
        raise typer.Exit(1)


class _Show:
    """Progress: bars on a terminal, nothing elsewhere."""

    def __init__(self, bars: Progress | None, changes: int, quiet: bool) -> None:
        self._bars = bars
        self._quiet = quiet
        self._tasks = {} if bars is None else {name: bars.add_task(name, total=changes) for name in _rows()}

    def say(self, text: str) -> None:
        """What happens now."""
        if not self._quiet:
            Console(stderr=True).print(text) if self._bars is None else self._bars.console.print(text)

    def at(self, row: str, changes: int) -> None:
        """How far something is."""
        if self._bars is not None:
            self._bars.update(self._tasks[row], completed=changes)


def _rows() -> tuple[str, ...]:
    return ("committed", *_CONSUMERS)


@contextmanager
def _progress(changes: int, *, quiet: bool) -> Iterator[_Show]:
    if quiet or not sys.stderr.isatty():
        yield _Show(None, changes, quiet)
        return
    columns = (TextColumn("{task.description:>12}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=Console(stderr=True)) as bars:
        yield _Show(bars, changes, quiet)


class _Demo:
    """One run. Every process is a `Child`, so none of them is left behind."""

    def __init__(self, plan: Plan, folder: Path, stop: threading.Event, show: _Show) -> None:
        self._plan = plan
        self._folder = folder
        self._stop = stop
        self._show = show
        self._committed = folder / "committed.jsonl"
        self._needed: list[Child] = []
        """Nothing can come of it once one of these has died."""

    def run(self) -> dict[str, Any]:
        with ExitStack() as stack:
            simulator = stack.enter_context(self._simulator())
            self._needed.append(simulator)
            where = self._next(simulator)
            self._show.say("simulator runs: this is not Cloud Spanner, its changes are made up")
            relay = stack.enter_context(self._relay(where["address"], where["database"]))
            self._needed.append(relay)
            endpoint = self._next(relay)["endpoints"][0][0]
            self._show.say(f"relay sends on {endpoint}")
            consumers = [stack.enter_context(self._consumer(name, endpoint)) for name in _CONSUMERS]
            for consumer in consumers:
                self._next(consumer)
            self._show.say(f"{len(consumers)} consumers listen")
            started = time.time()
            committed, done = self._work(simulator, consumers)
            seconds = max(answer["last_at"] for answer in done) - started
            self._show.say("everything arrived, or nothing more will; comparing")
        return self._verdict(committed, done, seconds)

    def _simulator(self) -> Child:
        plan = self._plan
        arguments = ["-m", "spanwire.simulator", "--mode", plan.mode, "--dialect", plan.dialect]
        # Of the six things that happen in mutable mode each comes several times.
        turns = 12 if plan.mode == "immutable" else 30
        arguments += ["--seed", str(plan.seed), "--all-tables"]
        arguments += ["--partitions", str(plan.partitions), "--splits", str(max(1, plan.changes // turns))]
        arguments += ["--changes", str(plan.changes), "--rate", str(plan.rate), "--chop", "50"]
        arguments += ["--history", str(self._committed)]
        return Child("simulator", arguments, self._folder / "simulator.log")

    def _relay(self, address: str, database: str) -> Child:
        _, project, _, instance, _, name = database.split("/")
        config = self._folder / "relay.toml"
        config.write_text(
            f'[source]\nproject = "{project}"\ninstance = "{instance}"\ndatabase = "{name}"\n'
            f'stream = "changes"\nemulator_host = "{address}"\nstart = "now"\ntick_ms = 100\n\n'
            '[store]\nkind = "memory"\n\n'
            # Both consumers must get everything, and PUB drops past its high-water mark.
            '[[output]]\nkind = "pub"\nbind = "tcp://127.0.0.1:*"\n'
            f'values = "{self._plan.values}"\nhigh_water_mark = 1_000_000\n\n[security]\nmode = "none"\n',
            encoding="utf-8",
        )
        main = "from spanwire.cli import main; main()"
        return Child("relay", ["-c", main, "run", str(config), "--json"], self._folder / "relay.log")

    def _consumer(self, name: str, endpoint: str) -> Child:
        path = self._folder / f"delivered-{name}.jsonl"
        arguments = ["-m", "spanwire.cli.demo_consumer", endpoint, str(path)]
        return Child(name, arguments, self._folder / f"{name}.log")

    def _work(self, simulator: Child, consumers: list[Child]) -> tuple[dict[str, Any], list[dict[str, Any]]]:
        """Let the simulator commit, and the consumers end."""
        simulator.tell({"run": {}})
        committed: dict[str, Any] | None = None
        done: dict[str, dict[str, Any]] = {}
        while len(done) < len(consumers):
            if committed is None and (answer := self._answer(simulator, 0.05)):
                self._show.at("committed", answer.get("progress", answer.get("committed", 0)))
                if "committed" in answer:
                    committed = answer
                    for consumer in consumers:
                        consumer.tell({"expect": answer["committed"]})
            for consumer in consumers:
                if consumer.name in done or not (answer := self._answer(consumer, 0.05)):
                    continue
                self._show.at(consumer.name, answer.get("delivered", answer.get("done", 0)))
                if "done" in answer:
                    done[consumer.name] = answer
        assert committed is not None
        return committed, [done[consumer.name] for consumer in consumers]

    def _verdict(
        self, committed: dict[str, Any], done: list[dict[str, Any]], seconds: float
    ) -> dict[str, Any]:
        paths = {name: self._folder / f"delivered-{name}.jsonl" for name in _CONSUMERS}
        found: dict[str, Comparison] = {name: compare(self._committed, path) for name, path in paths.items()}
        total = {
            fault: sum(getattr(one, fault) for one in found.values())
            for fault in ("missing", "phantom", "duplicated", "out_of_order")
        }
        return {
            "committed": committed["committed"],
            "delivered": {name: one.delivered for name, one in found.items()},
            **total,
            "changes_per_second": round(committed["committed"] / max(seconds, 1e-9)),
            "seconds": round(seconds, 3),
            "announced_gaps": sum(len(answer["gaps"]) for answer in done),
            "examples": {name: one.examples for name, one in found.items() if one.examples},
            "mode": self._plan.mode,
            "dialect": self._plan.dialect,
            "values": self._plan.values,
            "seed": self._plan.seed,
        }

    def _answer(self, child: Child, timeout: float) -> dict[str, Any] | None:
        if self._stop.is_set():
            raise SpanwireError("interrupted")
        for one in self._needed:
            one.check()
        return child.answer(timeout)

    def _next(self, child: Child) -> dict[str, Any]:
        deadline = time.monotonic() + _START_S
        while time.monotonic() < deadline:
            if answer := self._answer(child, 0.1):
                return answer
        raise SpanwireError(f"{child.name}: is not ready after {_START_S:.0f} s")


def _print(result: dict[str, Any], history: Path | None) -> None:
    console = Console(highlight=False)
    console.print(f"committed    {result['committed']:>10,}")
    for name, delivered in result["delivered"].items():
        console.print(f"{name:<12} {delivered:>10,}")
    for fault in ("missing", "phantom", "duplicated", "out_of_order"):
        style = "red" if result[fault] else "green"
        console.print(f"{fault:<12} [{style}]{result[fault]:>10,}[/{style}]")
    console.print(
        f"{result['changes_per_second']:,} changes/s from commit in the simulator to both consumers "
        f"({result['seconds']:.1f} s); the simulator and the consumers' file writing, in Python, set the pace"
    )
    if history is not None:
        console.print(f"histories and logs are in {history}")
