"""Memory and processor time of a relay: over a long backlog, under consumers that stall, and while idle."""

from __future__ import annotations

import statistics
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path

import zmq

from spanwire import Subscriber
from spanwire._core import Message
from spanwire.bench import running
from spanwire.bench.figures import Curve, Report, exponent
from spanwire.bench.plan import Plan, Step
from spanwire.bench.receiver import Receiver
from spanwire.bench.running import Running
from spanwire.source.query import StreamQuery

_BACKLOG = 10_000_000
_QUICK_BACKLOG = 200_000
_PARTITIONS = 4
_IDLE = (1, 10, 100, 1000)
_IDLE_S = 4.0
_OPEN_S = 1.2
"""Until the streams of partitions that ticks tell are open as well."""
_PATIENCE_S = 120.0
_LOOK_S = 0.05
_OUTPUTS = """
[[output]]
kind = "push"
bind = "tcp://127.0.0.1:*"
[[output]]
kind = "pub"
bind = "tcp://127.0.0.1:*"
ring_bytes = 16777216
high_water_mark = 100
[[output]]
kind = "feed"
bind = "tcp://127.0.0.1:*"
ring_bytes = 16777216
"""
"""A push, which waits for its peer: all arrives there. The rings are full within the first third."""
_PUB, _FEED = 1, 2


def steps(plan: Plan, stack: ExitStack) -> Sequence[Step]:
    """Each once, as they take seconds and look at how something grows, but for what has a budget alone."""
    backlog, stalled = (_QUICK_BACKLOG, _QUICK_BACKLOG) if plan.quick else (_BACKLOG, _BACKLOG // 2)
    folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="spanwire-bench-")))
    simulator = running.simulator(stack, folder, "--ready-made", "--partitions", str(_PARTITIONS))
    counts = (_IDLE[-1],) if plan.quick else _IDLE
    return [
        Step(f"a backlog of {backlog:,} changes", partial(_backlog, simulator, backlog), once=True),
        Step("consumers that stall", partial(_stalled, simulator, stalled), once=True),
        *(
            Step(f"{count:,} idle partitions", partial(_idle, count), once=count != _IDLE[-1])
            for count in counts
        ),
    ]


def conclude(report: Report) -> None:
    """How time and memory grow."""
    curves, figures = report.curves, report.figures
    if "idle_memory_by_partitions" in curves:
        for name, curve in (("memory", "idle_memory_by_partitions"), ("cpu", "idle_cpu_by_partitions")):
            [points] = curves[curve].lines.values()
            if len(points) > 1:
                report.take(f"idle_{name}_exponent", "exponent", exponent(points))
    if "backlog_time" in curves:
        [points] = curves["backlog_time"].lines.values()
        report.take("backlog_time_exponent", "exponent", exponent(points))
        figures["backlog_time_exponent"].taken = figures["backlog_time_exponent"].taken[-1:]


def _backlog(simulator: running.Served, changes: int, report: Report) -> None:
    """Memory and time while a backlog goes through to a consumer that takes all."""
    with _loaded(simulator, changes) as (relay, receiver, release):
        release()
        began, points = time.monotonic(), []
        for arrived in _arrivals(receiver, changes):
            points.append((arrived, time.monotonic() - began, running.resident_mib(relay.child.pid)))
    tenths = [next(point for point in points if point[0] >= changes * part / 10) for part in range(1, 11)]
    memory: list[tuple[float, float]] = [(arrived, mib) for arrived, _, mib in points]
    _take_thirds("backlog_middle", report, memory, changes * 0.4, changes * 0.6)
    _take_thirds("backlog_end", report, memory, changes * 0.9, changes)
    report.take("backlog_changes_per_second", "changes/s", changes / points[-1][1])
    report.curves["backlog_time"] = Curve(
        f"A backlog of {changes:,} changes: time",
        "changes",
        "s",
        {"until they have arrived": [(arrived, seconds) for arrived, seconds, _ in tenths]},
    )
    report.curves["backlog_memory"] = Curve(
        f"A backlog of {changes:,} changes: the relay's memory",
        "changes that have arrived",
        "MiB",
        {"resident": memory},
        log=False,
    )


def _stalled(simulator: running.Served, changes: int, report: Report) -> None:
    """Memory while one consumer of a `feed` and one of a `pub` take nothing, and another takes all."""
    with (
        _loaded(simulator, changes) as (relay, receiver, release),
        zmq.Context() as context,
        context.socket(zmq.SUB) as deaf,
        Subscriber(relay.endpoints[_FEED][0], kind="feed") as idler,
    ):
        deaf.set(zmq.RCVHWM, 1)
        deaf.set(zmq.LINGER, 0)
        deaf.connect(relay.endpoints[_PUB][0])
        deaf.subscribe(b"")
        if not idler.wait_joined(running.START_S):
            raise RuntimeError("the feed's consumer did not join")
        release()
        points: list[tuple[float, float]] = [
            (arrived, running.resident_mib(relay.child.pid)) for arrived in _arrivals(receiver, changes)
        ]
    _take_thirds("stalled_early", report, points, changes * 0.3, changes * 0.5)
    _take_thirds("stalled_end", report, points, changes * 0.9, changes)
    report.curves["stalled_memory"] = Curve(
        "Two consumers take nothing: the relay's memory",
        "changes that have arrived at a third",
        "MiB",
        {"resident": points},
        log=False,
    )


def _take_thirds(
    name: str, report: Report, points: Sequence[tuple[float, float]], begin: float, end: float
) -> None:
    """The medians of the memory in three parts of a stretch: how they differ is the figure's spread."""
    within = [mib for arrived, mib in points if begin <= arrived <= end] or [points[-1][1]]
    third = -(-len(within) // 3)
    for first in range(0, len(within), third):
        report.take(name, "MiB", statistics.median(within[first : first + third]))


def _idle(partitions: int, report: Report) -> None:
    """Memory and processor time of a relay whose partitions say nothing but heartbeats."""
    with tempfile.TemporaryDirectory(prefix="spanwire-bench-") as name, ExitStack() as stack:
        folder = Path(name)
        simulator = running.simulator(stack, folder, "--partitions", str(partitions))
        relay = running.spanwire(
            stack, folder, simulator, running.PUB.format(values="typed"), "", tick_ms=1000
        )
        _wait_for_partitions(relay.endpoint, partitions)
        time.sleep(_OPEN_S)
        pid, began = relay.child.pid, time.monotonic()
        before, peak = running.processor_seconds(pid), 0.0
        # A heartbeat of each, at least.
        seconds = max(_IDLE_S, StreamQuery("googlesql", "").heartbeat_of(partitions) / 1000 + 0.5)
        while (passed := time.monotonic() - began) < seconds:
            time.sleep(0.2)
            peak = max(peak, running.resident_mib(pid))
        percent = 100 * (running.processor_seconds(pid) - before) / passed
    for figure, unit, value in (("memory", "MiB", peak), ("cpu", "% of a core", percent)):
        if partitions == _IDLE[-1]:
            report.take(f"idle_{figure}", unit, value)
        curve = report.curves.setdefault(
            f"idle_{figure}_by_partitions",
            Curve(f"Idle partitions: {figure}", "partitions", unit, {"relay": []}),
        )
        if partitions not in dict(curve.lines["relay"]):
            curve.lines["relay"].append((partitions, value))


@contextmanager
def _loaded(
    simulator: running.Served, changes: int
) -> Iterator[tuple[Running, Receiver, Callable[[], None]]]:
    """A relay, a consumer that takes all, and what lets so many changes go."""
    with tempfile.TemporaryDirectory(prefix="spanwire-bench-") as name, ExitStack() as stack:
        receiver = stack.enter_context(Receiver("push"))
        simulator.hold(changes // _PARTITIONS)
        relay = running.spanwire(stack, Path(name), simulator, _OUTPUTS)
        receiver.connect(relay.endpoint)
        receiver.wait_ready()
        simulator.wait_for_readers(_PARTITIONS)
        yield relay, receiver, simulator.release


def _arrivals(receiver: Receiver, changes: int) -> Iterator[int]:
    """How many have arrived, at each look, until all have."""
    deadline = time.monotonic() + _PATIENCE_S
    while (arrived := receiver.changes) < changes:
        if time.monotonic() > deadline:
            raise RuntimeError(f"{arrived:,} of {changes:,} changes have arrived in {_PATIENCE_S:.0f} s")
        if arrived:
            yield arrived
        time.sleep(_LOOK_S)
    yield arrived


def _wait_for_partitions(endpoint: str, count: int) -> None:
    """Until ticks have told of so many."""
    told: set[bytes] = set()
    with zmq.Context() as context, context.socket(zmq.SUB) as socket:
        socket.set(zmq.RCVTIMEO, int(running.START_S * 1000))
        socket.set(zmq.LINGER, 0)
        socket.connect(endpoint)
        socket.subscribe(b"")
        while len(told) < count:
            message = Message.decode(socket.recv_multipart())
            if message.kind == "tick":
                told |= {one["id"] for one in message.tick()["partitions"]}
