"""How cost grows: with partitions, subscribers, sender threads, I/O threads, and the length of a backlog."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Sequence
from contextlib import ExitStack
from functools import partial
from pathlib import Path

from spanwire.bench import resident, running
from spanwire.bench.figures import Curve, Report, exponent
from spanwire.bench.plan import Plan, Step
from spanwire.bench.receiver import Receiver

_CHANGES = 400_000
_PARTITIONS = (1, 8, 64, 256, 1000)
_SUBSCRIBERS = (1, 4, 16, 64)
_THREADS = (1, 2, 4)
_PATIENCE_S = 120.0
_GLANCE_S = 0.01
_SOCKETS = 16
"""Subscribers' sockets that share a process: what they cost is no part of what is measured."""

_OUTPUT = """
[[output]]
kind = "pub"
bind = [{binds}]
high_water_mark = 1000000
{topics}
"""
_BUCKETS = 'topic = "{database}/{stream}/{table}/{bucket}/"\nbuckets = 16'
"""So that several senders have something to send."""


def steps(plan: Plan, stack: ExitStack) -> Sequence[Step]:
    """Each once. Of a quick run only what has a budget."""
    found = list(resident.steps(plan, stack))
    if plan.quick:
        return found
    curves = (
        ("partitions", "partitions", ((count, _Load(partitions=count)) for count in _PARTITIONS)),
        ("subscribers", "subscribers", ((count, _Load(subscribers=count)) for count in _SUBSCRIBERS)),
        ("senders", "sender threads", ((count, _Load(senders=count, spread=True)) for count in _THREADS)),
        (
            "io_threads",
            "ZeroMQ I/O threads",
            ((count, _Load(io_threads=count, subscribers=4)) for count in _THREADS),
        ),
    )
    for name, label, cases in curves:
        found += [
            Step(f"scale: {count:,} {label}", partial(_point, name, label, count, load), once=True)
            for count, load in cases
        ]
    return found


def conclude(report: Report) -> None:
    """The exponents: 1 is in proportion, 0 not at all."""
    resident.conclude(report)
    for name in ("partitions", "subscribers", "senders", "io_threads"):
        if (curve := report.curves.get(f"scale_{name}")) is not None:
            for line, points in curve.lines.items():
                figure = f"scale_{name}_{line.replace(' ', '_')}_exponent"
                report.take(figure, "exponent", exponent(points))


class _Load:
    """What goes through a relay, and how that is made."""

    def __init__(
        self,
        partitions: int = 8,
        subscribers: int = 1,
        io_threads: int = 1,
        senders: int = 1,
        *,
        spread: bool = False,
    ) -> None:
        self.partitions, self.subscribers = partitions, subscribers
        self.io_threads, self.senders, self.spread = io_threads, senders, spread
        # What many subscribers take is many times as much.
        records = max(_CHANGES // 20 // max(1, subscribers // 8), partitions)
        self.records = records // partitions
        self.changes = self.records * partitions * 20


def _point(name: str, label: str, count: int, load: _Load, report: Report) -> None:
    """One point of the curves: seconds, processor seconds and memory of the relay, a million changes."""
    seconds, processor, mib = _through(load)
    millions = load.changes / 1e6
    report.take(f"scale_{name}_{count}", "changes/s", load.changes / seconds)
    curve = report.curves.setdefault(
        f"scale_{name}",
        Curve(f"A million changes, by {label}", label, "s", {"time": [], "processor time": []}),
    )
    curve.lines["time"].append((count, seconds / millions))
    curve.lines["processor time"].append((count, processor / millions))
    memory = report.curves.setdefault(
        f"scale_{name}_memory", Curve(f"The relay's memory, by {label}", label, "MiB", {"at most": []})
    )
    memory.lines["at most"].append((count, mib))


def _through(load: _Load) -> tuple[float, float, float]:
    """Seconds, the relay's processor seconds, its most MiB: from the release to the last change's arrival."""
    with tempfile.TemporaryDirectory(prefix="spanwire-bench-") as name, ExitStack() as stack:
        folder = Path(name)
        options = ("--partitions", str(load.partitions), "--changes", str(load.records * 20))
        served = running.simulator(stack, folder, "--ready-made", "--hold", *options)
        binds = ", ".join(['"tcp://127.0.0.1:*"'] * load.senders)
        io_threads = f"io_threads = {load.io_threads}"
        output = _OUTPUT.format(binds=binds, topics=_BUCKETS if load.spread else "")
        sockets = load.senders * load.subscribers
        receivers = [stack.enter_context(Receiver()) for _ in range(0, sockets, _SOCKETS)]
        relay = running.spanwire(stack, folder, served, output, io_threads)
        endpoints = relay.endpoints[0] * load.subscribers
        for place, receiver in enumerate(receivers):
            receiver.connect(endpoints[place * _SOCKETS : (place + 1) * _SOCKETS])
        for receiver in receivers:
            receiver.wait_ready()
        served.wait_for_readers(load.partitions)
        pid, most = relay.child.pid, 0.0
        before, began = running.processor_seconds(pid), time.monotonic_ns()
        served.release()
        wanted = load.changes * load.subscribers
        while sum(receiver.changes for receiver in receivers) < wanted:
            if time.monotonic_ns() - began > _PATIENCE_S * 1e9:
                raise RuntimeError(f"not all of {load.changes} changes have arrived in {_PATIENCE_S:.0f} s")
            most = max(most, running.resident_mib(pid))
            time.sleep(_GLANCE_S)
        ended = max(receiver.last_at for receiver in receivers)
        return (ended - began) / 1e9, running.processor_seconds(pid) - before, most
