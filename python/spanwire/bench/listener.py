"""A subscriber that takes times: when each message arrived, and how long each of its changes was on its way.

A process of its own, `python -m spanwire.bench.listener`: reads one JSON object from stdin, a `Wanted`, and
answers with one, a `Heard`. All times are of the machine's clock, CLOCK_REALTIME, which all processes share.
"""

from __future__ import annotations

import gc
import json
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass

import zmq

from spanwire._core import Message
from spanwire.bench import histograms
from spanwire.timestamps import nanoseconds

STAGES = ("source", "relay", "network", "decode")
"""The way of a change, in turn."""
WHOLE = "commit_to_consumer"
"""The first three of them."""
_NANOS = 1_000_000_000
_PATIENCE_S = 2.0
"""A change that is later than that counts as one that did not arrive."""
_START_S = 30.0


@dataclass(frozen=True, slots=True)
class Wanted:
    """What is to be measured."""

    endpoint: str
    partitions: int
    warm_s: float
    """Not counted, from the first change on."""
    seconds: float
    """Changes that are due within so long then are counted, whenever they come."""


@dataclass(frozen=True, slots=True)
class Heard:
    """What was."""

    changes: int
    """How many arrived of those due."""
    seconds: float
    """Until the last of them did: `Wanted.seconds` and how late that one was."""
    histograms: dict[str, str]
    """By stage, and `WHOLE`, encoded; each change counts once."""


@dataclass(frozen=True, slots=True)
class Arrived:
    """A message. Times in nanoseconds since 1970."""

    partition: bytes
    received: int
    """By the relay: the first of its changes."""
    sent: int
    arrived: int
    """The socket gave it."""
    decoded: int
    """Its changes are Python objects."""
    due: list[int]
    """Commit timestamps of its changes."""


def listen(wanted: Wanted) -> Heard:
    """Measure. SpanwireError, RuntimeError where no change comes at all."""
    with zmq.Context() as context, context.socket(zmq.SUB) as socket:
        socket.set(zmq.RCVHWM, 0)
        socket.set(zmq.LINGER, 0)
        socket.connect(wanted.endpoint)
        socket.subscribe(b"")
        poll, receive = socket.poll, socket.recv_multipart

        def next_message(deadline: int) -> Arrived | None:
            while (left := deadline - time.time_ns()) > 0 and poll(left // 1_000_000 + 1):
                frames = receive()
                arrived = time.time_ns()
                if frames[0].endswith(b"/_tick/"):
                    continue
                message = Message.decode(frames)
                changes = message.changes()
                decoded = time.time_ns()
                due = [nanoseconds(change.commit_timestamp) for change in changes]
                return Arrived(message.partition, message.received_at, message.sent_at, arrived, decoded, due)
            return None

        return heard(next_message, wanted)


def heard(next_message: Callable[[int], Arrived | None], wanted: Wanted) -> Heard:
    """What comes of what is due within the time. `next_message` gives None once its deadline has passed."""
    first = next_message(time.time_ns() + int(_START_S * _NANOS))
    if first is None:
        raise RuntimeError(f"no change arrived within {_START_S:.0f} s")
    begin = first.arrived + int(wanted.warm_s * _NANOS)
    end = begin + int(wanted.seconds * _NANOS)
    past: set[bytes] = set()
    counted = []
    while (message := next_message(end + int(_PATIENCE_S * _NANOS))) is not None:
        if message.due[-1] >= begin:
            counted.append(message)
        if message.due[0] >= end:
            past.add(message.partition)
            if len(past) == wanted.partitions:
                break
    return summed(counted, begin, end)


def summed(messages: Sequence[Arrived], begin: int, end: int) -> Heard:
    """Of the changes that were due from `begin` on and before `end`."""
    times: dict[str, list[int]] = {name: [] for name in (*STAGES, WHOLE)}
    last = end
    for one in messages:
        due = [moment for moment in one.due if begin <= moment < end]
        if not due:
            continue
        last = max(last, one.arrived)
        times["source"] += [one.received - moment for moment in due]
        times["relay"] += [one.sent - one.received] * len(due)
        times["network"] += [one.arrived - one.sent] * len(due)
        times["decode"] += [one.decoded - one.arrived] * len(due)
        times[WHOLE] += [one.arrived - moment for moment in due]
    return Heard(
        len(times[WHOLE]),
        (last - begin) / _NANOS,
        {name: histograms.text(histograms.of(taken)) for name, taken in times.items()},
    )


def main() -> None:
    """Measure what stdin asks for."""
    wanted = Wanted(**json.loads(sys.stdin.readline()))
    # What is measured is not this process's looking for garbage: nothing here is in cycles.
    gc.disable()
    print(json.dumps(asdict(listen(wanted))), flush=True)


if __name__ == "__main__":
    main()
