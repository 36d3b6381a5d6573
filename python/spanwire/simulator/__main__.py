"""`python -m spanwire.simulator`: a simulator in a process of its own, told what to do on stdin.

Prints one line of JSON when it serves: {"address": "127.0.0.1:40123", "database": "projects/…"}. Then
reads commands, one JSON object a line, and answers each with one line of JSON on stdout:

  {"run": {"changes": 50000, "rate": 0}}  -> {"committed": 50000, "last": "<timestamp>", …}
      while it runs, {"progress": <changes so far>} about ten times a second
  {"split": 0}, {"merge": [0, 1]}         -> {"partitions": ["<token>", …]}    by place among the live ones
  {"move": [0, 1]}                        -> the same    half of what the first owns; --mode mutable only
  {"partitions": null}                    -> the same
  {"history": "<file>"}                   -> {"lines": 50000}    writes the ground truth so far;
      null: what --history names is complete so far
  {"struck": null}                        -> {"struck": [["unavailable", 0, 1, 3], …]}    faults so far:
      kind, partition's number, its query's and that one's message's
  {"hold": 50000}                         -> {"held": 0}    ready-made messages of queries to come wait;
      so many changes in each partition
  {"held": null}                          -> {"held": 4}    queries whose messages wait by now
  {"release": null}                       -> {"released": true}    they go out

Ends at end of file or {"stop": null} on stdin, SIGTERM or SIGINT. Logs go to stderr.
"""

from __future__ import annotations

import argparse
import gc
import json
import os
import signal
import sys
import threading
import time
from dataclasses import astuple
from pathlib import Path
from typing import Any

from spanwire.errors import SpanwireError
from spanwire.simulator import (
    FaultScript,
    Move,
    ReadyMade,
    Simulator,
    SimulatorConfig,
    WorkloadConfig,
    all_tables,
)


def main(arguments: list[str] | None = None) -> int:
    """Run; the exit code: 0 fine, 1 failed at work, 2 wrong use."""
    options = _parser().parse_args(arguments)
    try:
        simulator = Simulator(_config(options)).start()
    except SpanwireError as error:
        print(f"simulator: {error}", file=sys.stderr)
        return 2
    # Rows and records are many and live long: looking through them for garbage takes a quarter of the time.
    gc.freeze()
    gc.set_threshold(50_000, 50, 50)
    try:
        # A parent that dies closes our stdin.
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, _stop)
        _serve(simulator, options)
    except (KeyboardInterrupt, BrokenPipeError):
        pass
    finally:
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, signal.SIG_IGN)  # it is ending already
        simulator.close()
    return 0


def _serve(simulator: Simulator, options: argparse.Namespace) -> None:
    print(
        f"spanwire simulator on {simulator.address}: this is not Cloud Spanner, its changes are made up",
        file=sys.stderr,
    )
    _say({"address": simulator.address, "database": simulator.config.database_path})
    if options.autorun:
        _say(_run(simulator, options, {}))
    _commands(simulator, options)


def _parser() -> argparse.ArgumentParser:
    default = SimulatorConfig()
    parser = argparse.ArgumentParser(
        prog="python -m spanwire.simulator",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    add("--host", default=default.host)
    add("--port", type=int, default=0, help="0 (default): one that is free")
    add("--mode", choices=["immutable", "mutable"], default=default.mode, help="of key ranges")
    add("--dialect", choices=["googlesql", "postgresql"], default=default.dialect)
    for name in ("project", "instance", "database", "stream", "capture"):
        add(f"--{name}", default=getattr(default, name), help="default: %(default)s")
    add("--all-tables", action="store_true", help="every type, NULL keys, reserved words, other scripts")
    add("--seed", type=int, default=0, help="decides partitions, workload, chunk places; default: 0")
    add("--partitions", type=int, default=default.partitions, help="default: %(default)s")
    add(
        "--splits",
        type=int,
        default=0,
        metavar="N",
        help="split, merge or (mutable) move key ranges every N changes, on average; default: never",
    )
    add("--chunk-bytes", type=int, default=default.chunk_bytes, help="longer rows are cut; default: 1 MiB")
    add("--chop", type=int, default=0, metavar="N", help="cut one in N smaller rows too; default: none")
    add("--message-bytes", type=int, default=default.message_bytes, help="default: 64 KiB")
    add("--history", type=Path, help="write the ground truth there, one canonical line a change")
    add(
        "--faults",
        type=Path,
        metavar="FILE",
        help="a script of faults: see simulator/faults.py",
    )
    add("--changes", type=int, default=1000, help="what a run commits, unless it says; default: 1000")
    add(
        "--rate",
        type=float,
        default=0.0,
        help="changes a second, over all partitions; default: as fast as possible",
    )
    add("--max-mods", type=int, default=40, help="changes in a transaction, at most; default: 40")
    add("--autorun", action="store_true", help="run once at the start, unasked")
    ready = parser.add_argument_group("ready-made messages, for speed")
    add = ready.add_argument
    add("--ready-made", action="store_true", help="serve --changes in each partition without committing")
    add("--changes-per-record", type=int, default=20, help="default: 20")
    add("--change-bytes", type=int, default=400, help="default: 400")
    add("--one-per-message", action="store_true", help="one record a message, not 64 KiB")
    add("--hold", action="store_true", help="heartbeats only, until told to release")
    return parser


def _config(options: argparse.Namespace) -> SimulatorConfig:
    default = SimulatorConfig()
    ready = ReadyMade(
        changes=options.changes,
        changes_per_record=options.changes_per_record,
        change_bytes=options.change_bytes,
        message_bytes=0 if options.one_per_message else max(options.message_bytes, 1),
        hold=options.hold,
        rate=options.rate,
    )
    return SimulatorConfig(
        project=options.project,
        instance=options.instance,
        database=options.database,
        stream=options.stream,
        dialect=options.dialect,
        mode=options.mode,
        capture=options.capture,
        tables=all_tables(options.dialect) if options.all_tables else default.tables,
        seed=options.seed,
        host=options.host,
        port=options.port,
        partitions=options.partitions,
        churn=options.splits,
        chunk_bytes=options.chunk_bytes,
        chop=options.chop,
        message_bytes=options.message_bytes,
        history=options.history,
        faults=FaultScript.load(options.faults) if options.faults else FaultScript(),
        ready_made=ready if options.ready_made else None,
    )


def _commands(simulator: Simulator, options: argparse.Namespace) -> None:
    for line in sys.stdin:
        if not line.strip():
            continue
        try:
            command = json.loads(line)
            [(name, value)] = command.items()
        except (ValueError, AttributeError):
            _say({"error": "a command is one JSON object with one member"})
            continue
        if name == "stop":
            return
        try:
            _say(_answer(simulator, options, name, value))
        except (SpanwireError, ValueError, TypeError, IndexError, OSError) as error:
            _say({"error": f"{name}: {error}"})


def _answer(simulator: Simulator, options: argparse.Namespace, name: str, value: Any) -> dict[str, Any]:
    match name:
        case "run":
            return _run(simulator, options, value or {})
        case "split":
            simulator.split(simulator.partitions[value])
        case "merge":
            simulator.merge([simulator.partitions[place] for place in value])
        case "move":
            source, destination = (simulator.partitions[place] for place in value)
            simulator.move(Move(source, destination, 0.5))
        case "struck":
            return {"struck": [list(astuple(strike)) for strike in simulator.struck]}
        case "hold":
            simulator.hold(int(value))
            return {"held": simulator.held}
        case "held":
            return {"held": simulator.held}
        case "release":
            simulator.release()
            return {"released": True}
        case "history" if value is None:
            simulator.flush_history()
            return {"lines": simulator.changes}
        case "history":
            return {"lines": simulator.write_history(Path(value))}
        case "partitions":
            pass
        case _:
            raise ValueError("no such command; see --help")
    return {"partitions": simulator.partitions}


def _run(simulator: Simulator, options: argparse.Namespace, wanted: dict[str, Any]) -> dict[str, Any]:
    settings = {"changes": options.changes, "rate": options.rate, "max_mods": options.max_mods}
    done = simulator.workload(WorkloadConfig(**settings | wanted), progress=_Progress().add)
    simulator.flush_history()
    return done.as_json()


class _Progress:
    """Says how far a run is, about ten times a second."""

    def __init__(self) -> None:
        self._changes = 0
        self._said = time.monotonic()

    def add(self, changes: int) -> None:
        """So many more."""
        self._changes += changes
        now = time.monotonic()
        if now - self._said > 0.1:
            self._said = now
            _say({"progress": self._changes})


_stdout = threading.Lock()


def _say(answer: dict[str, Any]) -> None:
    with _stdout:
        print(json.dumps(answer), flush=True)


def _stop(_number: int, _frame: object) -> None:
    raise KeyboardInterrupt


if __name__ == "__main__":
    code = main()
    sys.stdout.flush()
    # Threads of gRPC's that outlive the server must not keep the process.
    os._exit(code)
