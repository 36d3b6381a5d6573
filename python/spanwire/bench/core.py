"""The core alone, and with PUB to a subscriber, beside plain Python and raw libzmq over the same bytes.

Changes per second by the wall clock, of the quickest of some passes: whatever else a machine does can only
slow a pass down. The same for all.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from functools import partial
from typing import Literal

import zmq

from spanwire._core import Message, Output, Partition, Pipeline, Timestamp, _dedup_nanoseconds
from spanwire.bench import peers
from spanwire.bench.budgets import JUDGED
from spanwire.bench.figures import Figure, Report
from spanwire.bench.plan import Plan, Step
from spanwire.bench.receiver import WINDOW, Receiver
from spanwire.bench.workload import START, Workload, build

Values = Literal["json", "typed"]

_ANY = "tcp://127.0.0.1:*"
_TICK = b"d/s/_tick/"
# The window bounds what is under way: no other bound may drop anything.
_UNBOUNDED = {"high_water_mark": 1_000_000, "linger_ms": 0}
_PATIENCE_S = 60.0
_VALUES: tuple[Values, ...] = ("json", "typed")
_CHANGES = 200_000
_PASSES = 3


def steps(plan: Plan, stack: ExitStack) -> Sequence[Step]:
    """The measurements, from one workload that lies in memory."""
    changes = _CHANGES // 4 if plan.quick else _CHANGES
    passes = 2 if plan.quick else _PASSES
    peers.plain_python()  # where it is missing, that is said before anything is measured
    full = build(changes)
    small = build(changes // 10, message_bytes=0, changes_per_record=1)
    # The peer in plain Python is some hundred times slower: a part of the same messages is enough.
    part = build(max(changes // 50, 4000))
    found = [Step("core: dedup", _dedup)]
    for values in _VALUES:
        captured = Captured(full, values)
        measurements: dict[str, Callable[[], float]] = {
            "changes_per_second": partial(core_alone, full, values, passes),
            "one_change_a_message": partial(core_alone, small, values, passes),
            "core_and_pub": partial(core_and_pub, full, values, passes),
            "libzmq": partial(libzmq_alone, captured, passes),
            "plain_python": partial(plain_python, part, values, "values", passes),
            "plain_python_lazy": partial(plain_python, part, values, "lazy", passes),
        }
        found += [
            Step(f"core: {name}, {values}", partial(_take, f"{name}_{values}", measurement))
            for name, measurement in measurements.items()
            # What taking turns would reach follows from libzmq.
            if not plan.quick or name == "libzmq" or f"{name}_{values}" in JUDGED
        ]
    return found


def _dedup(report: Report) -> None:
    """Versions of a transaction each, and a hundred at one commit timestamp; the quickest of ten passes."""
    for name, timestamps, records in (("dedup", 100_000, 1), ("dedup_100_at_once", 1_000, 100)):
        report.take(name, "ns", min(_dedup_nanoseconds(timestamps, records) for _ in range(10)))


def _take(name: str, measurement: Callable[[], float], report: Report) -> None:
    report.take(name, "changes/s", measurement())


def conclude(report: Report) -> None:
    """The ratios."""
    for values in _VALUES:
        core, suffix = f"changes_per_second_{values}", "" if values == "json" else "_typed"
        libzmq = report.figures[f"libzmq_{values}"].taken
        turns = [1 / (1 / a + 1 / b) for a, b in zip(report.figures[core].taken, libzmq, strict=False)]
        report.figures[f"taking_turns_{values}"] = Figure("changes/s", turns)
        for name, figure, peer in (
            ("vs_plain_python", core, f"plain_python_{values}"),
            ("vs_plain_python_lazy", core, f"plain_python_lazy_{values}"),
            ("vs_libzmq_and_core", f"core_and_pub_{values}", f"taking_turns_{values}"),
        ):
            if peer in report.figures:
                report.figures[f"{name}{suffix}"] = report.ratio(figure, peer)


def core_alone(workload: Workload, values: Values, passes: int = 1) -> float:
    """The core: bytes to messages that are ready to send, in one thread.

    The messages go to a PUB socket that nobody is subscribed to: it drops them at once. Each pass is a
    partition of its own, because the core leaves out what it has handed over before.
    """
    batches = workload.batches()
    with Pipeline("d", "s", [Output("pub", [_ANY], values=values)]) as pipeline:
        seconds = []
        for number in range(passes):
            partition = _partition(pipeline, number)
            began = time.perf_counter()
            for batch in batches:
                partition.push(batch)
            _finish(pipeline, partition)
            seconds.append(time.perf_counter() - began)
        _check(pipeline, workload.changes * passes)
    return workload.changes / min(seconds)


def core_and_pub(workload: Workload, values: Values, passes: int = 1) -> float:
    """The core and PUB to one subscriber over TCP, until everything has arrived there."""
    batches = workload.batches()
    output = Output("pub", [_ANY], values=values, options=_UNBOUNDED)
    with (
        Pipeline("d", "s", [output], options={"tick_ms": 10}) as pipeline,
        Receiver() as receiver,
    ):
        receiver.connect(pipeline.endpoints[0][0])
        receiver.wait_ready()
        pushed, seconds = 0, []
        for number in range(passes):
            partition = _partition(pipeline, number)
            began = time.perf_counter()
            for batch in batches:
                pushed += partition.push(batch).changes
                receiver.wait_for(pushed - WINDOW)
            partition.finish()
            receiver.wait_for(pushed)
            seconds.append(time.perf_counter() - began)
        _check(pipeline, workload.changes * passes)
    return workload.changes / min(seconds)


class Captured:
    """The messages that the core makes of a workload, to send them again without it."""

    def __init__(self, workload: Workload, values: Values) -> None:
        self.changes = workload.changes
        self.messages: list[tuple[list[bytes], int]] = []
        """Frames, and the number of changes in them."""
        output = Output("pub", [_ANY], values=values, options=_UNBOUNDED)
        with (
            Pipeline("d", "s", [output], options={"tick_ms": 10}) as pipeline,
            zmq.Context() as context,
            context.socket(zmq.SUB) as socket,
        ):
            socket.set(zmq.RCVHWM, 0)
            socket.set(zmq.RCVTIMEO, int(_PATIENCE_S * 1000))
            socket.connect(pipeline.endpoints[0][0])
            socket.subscribe(b"")
            socket.recv_multipart()  # a tick: connected
            partition = _partition(pipeline, 0)
            for batch in workload.batches():
                partition.push(batch)
            _finish(pipeline, partition)
            left = workload.changes
            while left > 0:
                frames = socket.recv_multipart()
                message = Message.decode(frames)
                if message.kind == "changes":
                    self.messages.append((frames, message.count))
                    left -= message.count


def libzmq_alone(captured: Captured, passes: int = 1, *, curve: bool = False) -> float:
    """Raw libzmq by pyzmq: the same bytes in the same messages to the same subscriber.

    As pyzmq does it best: bodies without a copy, the small frames copied, which is cheaper. `curve`:
    encrypted.
    """
    context = zmq.Context()
    try:
        socket = context.socket(zmq.PUB)
        socket.set(zmq.SNDHWM, 0)
        socket.set(zmq.LINGER, 0)
        keys = None
        if curve:
            public, secret = zmq.curve_keypair()
            socket.curve_publickey, socket.curve_secretkey, socket.curve_server = public, secret, True
            keys = (public, *zmq.curve_keypair())
        port = socket.bind_to_random_port("tcp://127.0.0.1")
        with Receiver(curve=keys) as receiver:
            receiver.connect(f"tcp://127.0.0.1:{port}")
            receiver.wait_ready(lambda: socket.send_multipart([_TICK, b"", b"", b""]))
            sent, seconds = 0, []
            for _ in range(passes):
                began = time.perf_counter()
                for (topic, header, columns, body), changes in captured.messages:
                    socket.send(topic, zmq.SNDMORE)
                    socket.send(header, zmq.SNDMORE)
                    socket.send(columns, zmq.SNDMORE)
                    socket.send(body, copy=False)
                    sent += changes
                    receiver.wait_for(sent - WINDOW)
                receiver.wait_for(sent)
                seconds.append(time.perf_counter() - began)
            return captured.changes / min(seconds)
    finally:
        context.destroy(linger=0)


def plain_python(
    workload: Workload, values: Values, decode: Literal["values", "lazy"], passes: int = 1
) -> float:
    """The peer in plain Python, from the same bytes to a PUB socket that nobody is subscribed to."""
    make = peers.plain_python().PlainRelay
    batches = workload.batches()
    seconds = []
    with zmq.Context() as context, context.socket(zmq.PUB) as socket:
        socket.bind(_ANY)
        for _ in range(passes):
            relay = make(socket, decode=decode, values=values)
            began = time.perf_counter()
            for batch in batches:
                relay.push(batch)
            relay.flush()
            seconds.append(time.perf_counter() - began)
            if relay.changes != workload.changes:
                raise RuntimeError(f"the peer sent {relay.changes} of {workload.changes} changes")
    return workload.changes / min(seconds)


def _partition(pipeline: Pipeline, number: int) -> Partition:
    start = Timestamp.parse(START)
    return pipeline.partition(f"token-{number}", dialect="googlesql", epoch=number + 1, start=start)


def _finish(pipeline: Pipeline, partition: Partition) -> None:
    partition.finish()
    if not pipeline.drain(_PATIENCE_S):
        raise RuntimeError("the core's messages were not taken by the socket")


def _check(pipeline: Pipeline, changes: int) -> None:
    """A figure counts only if everything was sent, and every value in its column's type."""
    stats = pipeline.stats()
    sent = stats["outputs"][0][0]["changes"]
    if sent != changes or stats["misfits"]:
        raise RuntimeError(f"{sent} of {changes} changes sent, {stats['misfits']} values not typed")
