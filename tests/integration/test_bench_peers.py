"""The relays that spanwire is measured against do the work that they are measured at."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

import pytest
import zmq

from spanwire._core import Message
from spanwire.bench import running
from spanwire.errors import ConfigError

pytestmark = pytest.mark.timeout(120)

CHANGES = 800
PEERS: dict[str, Callable[[], list[str]]] = {
    "python": running.python_peer,
    "python, undecoded rows": lambda: [*running.python_peer(), "--decode", "lazy"],
}


@pytest.mark.parametrize("values", ["json", "typed"])
@pytest.mark.parametrize("peer", PEERS)
def test_a_peer_sends_every_change_once_over_splits_and_merges(
    peer: str, values: str, tmp_path: Path
) -> None:
    """What arrives is what the simulator committed, value by value, through partitions that end."""
    try:
        program = PEERS[peer]()
    except ConfigError as error:
        pytest.skip(str(error))
    history = tmp_path / "history"
    with ExitStack() as stack:
        served = running.simulator(
            stack, tmp_path, "--partitions", "3", "--splits", "200", "--history", str(history)
        )
        relay = running.peer(stack, tmp_path, served, program, values)
        context = stack.enter_context(zmq.Context())
        socket = stack.enter_context(context.socket(zmq.SUB))
        socket.set(zmq.RCVHWM, 0)
        socket.set(zmq.RCVTIMEO, 30_000)
        socket.connect(relay.endpoint)
        socket.subscribe(b"")
        assert socket.recv_multipart()[0] == b"demo/changes/_tick/"
        served.child.tell({"run": {"changes": CHANGES}})
        while "committed" not in served.child.expect(running.START_S):
            pass
        lines = _received(socket, CHANGES)
    assert sorted(lines) == sorted(history.read_bytes().decode().split("\n")[:-1])


def _received(socket: zmq.Socket[bytes], changes: int) -> list[str]:
    """Lines until there are so many, and what comes within a second beyond."""
    lines: list[str] = []
    until = time.monotonic() + 60
    while time.monotonic() < until:
        frames = socket.recv_multipart()
        if not frames[0].endswith(b"/_tick/"):
            lines += [change.canonical() for change in Message.decode(frames).changes()]
            if len(lines) >= changes:
                until = min(until, time.monotonic() + 1)
    return lines
