"""What the relays that spanwire is measured against are held to."""

from __future__ import annotations

import time
from collections import defaultdict
from contextlib import ExitStack
from pathlib import Path

import zmq

from spanwire._core import Message
from spanwire.bench import running

CHANGES = 800
PATIENCE_S = 90


def sends_what_was_committed(program: list[str], values: str, folder: Path) -> None:
    """Partitions split and merge, rows come in pieces: every change once and equal, flows without holes."""
    history = folder / "committed.jsonl"
    options = ("--splits", "200", "--chop", "5", "--chunk-bytes", "500", "--history", str(history))
    with ExitStack() as stack:
        served = running.simulator(stack, folder, "--partitions", "4", "--seed", "7", *options)
        relay = running.peer(stack, folder, served, program, values)
        context = stack.enter_context(zmq.Context())
        socket = stack.enter_context(context.socket(zmq.SUB))
        socket.linger = 0
        socket.rcvhwm = 0
        socket.subscribe(b"")
        socket.connect(relay.endpoint)
        assert _next(socket) is None
        served.child.tell({"run": {"changes": CHANGES}})
        messages: list[Message] = []
        while sum(message.count for message in messages) < CHANGES:
            relay.child.check()
            if (message := _next(socket)) is not None:
                messages.append(message)
        while "committed" not in served.child.expect(PATIENCE_S):
            pass
    changes = [change for message in messages for change in message.changes()]
    # Not splitlines(): U+2028 stands within lines.
    committed = history.read_text("utf-8").removesuffix("\n").split("\n")
    assert sorted(change.canonical() for change in changes) == sorted(committed)
    assert {message.values for message in messages} == {values}
    flows = defaultdict(list)
    for message in messages:
        flows[message.topic, message.partition].append(message.sequence)
        held = message.changes()
        assert (message.first, message.last) == (held[0].version, held[-1].version)
        assert message.count == len(held)
        assert message.received_at <= message.sent_at <= time.time_ns()
        assert message.topic == f"demo/changes/{message.table}/"
    assert all(numbers == list(range(len(numbers))) for numbers in flows.values())
    assert len({message.partition for message in messages}) > 4, "partitions have split or merged"


def _next(socket: zmq.Socket[bytes]) -> Message | None:
    """None for a peer's tick, of which only the topic is something."""
    assert socket.poll(PATIENCE_S * 1000), "nothing is heard any more"
    frames = socket.recv_multipart()
    return None if frames[0].endswith(b"/_tick/") else Message.decode(frames)
