"""The consumer library, from a socket to changes in Python, beside json.loads of the same changes."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from functools import partial

from spanwire import Subscriber
from spanwire._core import Change, Output, Pipeline, RecordReader, Timestamp
from spanwire.bench.figures import Report
from spanwire.bench.plan import Plan, Step
from spanwire.bench.workload import START, Workload, build

_CHANGES = 200_000
_PASSES = 3
_JOIN_S = 30.0
_PATIENCE_S = 60.0
_ARRIVE_S = 0.3
"""From ZeroMQ's queue on one side of loopback to that on the other. More would only count against us."""


def steps(plan: Plan, stack: ExitStack) -> Sequence[Step]:
    """A subscriber that looks at nothing, one that reads every value, and json.loads."""
    changes, passes = (_CHANGES // 4, 2) if plan.quick else (_CHANGES, _PASSES)
    workload = build(changes)
    part = build(changes // 4)
    texts = _texts(part)
    measurements: dict[str, Callable[[], float]] = {
        "consumer_untouched": lambda: subscriber(workload, _leave, passes),
        "json_loads": lambda: json_loads(texts, passes),
        "consumer_all": lambda: subscriber(part, _read, passes),
    }
    return [
        Step(f"consumer: {name}", partial(_take, name, measurement))
        for name, measurement in measurements.items()
    ]


def conclude(report: Report) -> None:
    """The ratios are the budgets' own."""


def _take(name: str, measurement: Callable[[], float], report: Report) -> None:
    report.take(name, "changes/s", measurement())


def subscriber(workload: Workload, look: Callable[[list[Change]], None], passes: int = _PASSES) -> float:
    """Changes a second that a `Subscriber` hands over, all of it: socket, order, repetitions, decoding.

    All messages wait in its socket by then: on two cores, whoever sends would take a part of what is
    measured. Of the quickest pass.
    """
    return workload.changes / min(_seconds(workload, look) for _ in range(passes))


def _seconds(workload: Workload, look: Callable[[list[Change]], None]) -> float:
    output = Output("pub", ["tcp://127.0.0.1:*"], options={"high_water_mark": 1_000_000})
    with (
        Pipeline("d", "s", [output], options={"tick_ms": 500}) as pipeline,
        Subscriber(pipeline.endpoints[0][0], receive_high_water_mark=0) as consumer,
    ):
        start = Timestamp.parse(START)
        partition = pipeline.partition("token", dialect="googlesql", epoch=1, start=start)
        if not consumer.wait_joined(_JOIN_S):
            raise RuntimeError("the bench's consumer did not join")
        for batch in workload.batches():
            partition.push(batch)
        partition.finish()
        if not pipeline.drain(_PATIENCE_S):
            raise RuntimeError("the bench's messages were not taken by the socket")
        time.sleep(_ARRIVE_S)
        left = workload.changes
        began = time.perf_counter()
        while left > 0:
            changes = consumer.receive(_PATIENCE_S)
            if not changes:
                raise RuntimeError(f"{left} of {workload.changes} changes did not come")
            look(changes)
            left -= len(changes)
        return time.perf_counter() - began


def json_loads(texts: Sequence[tuple[str, str, str]], passes: int = _PASSES) -> float:
    """Changes a second whose keys, new and old values the standard library's parser takes as JSON texts."""
    loads, seconds = json.loads, []
    for _ in range(passes):
        began = time.perf_counter()
        for keys, new, old in texts:
            loads(keys)
            loads(new)
            loads(old)
        seconds.append(time.perf_counter() - began)
    return len(texts) / min(seconds)


def _texts(workload: Workload) -> list[tuple[str, str, str]]:
    records = RecordReader("googlesql").read(workload.messages)
    return [
        (mod["keys"], mod["new_values"], mod["old_values"])
        for record in records
        for mod in record["data_change_record"]["mods"]
    ]


def _leave(changes: list[Change]) -> None:
    """Look at nothing."""


def _read(changes: list[Change]) -> None:
    """Read every value, as Python objects."""
    for change in changes:
        change.keys  # noqa: B018 a property that decodes
        change.new  # noqa: B018
        change.old  # noqa: B018
