"""The peers that spanwire is measured against do the same work: what they send is what was committed."""

from __future__ import annotations

import shutil
import subprocess
import time
from collections import defaultdict
from contextlib import ExitStack
from pathlib import Path

import pytest
import zmq

from spanwire._core import Message
from spanwire.bench import running

CHANGES = 3000
PATIENCE_S = 90


@pytest.fixture(scope="module")
def go_peer() -> list[str]:
    """The relay in Go. Skipped where it cannot be built; where it can be, it must."""
    for tool in ("go", "cc", "pkg-config", "capnp"):
        if shutil.which(tool) is None:
            pytest.skip(f"the Go peer needs {tool}, which is not here")
    if subprocess.run(["pkg-config", "--exists", "libzmq"], check=False).returncode:
        pytest.skip("the Go peer needs libzmq and its headers, which are not here")
    return running.go_peer()


# The first build compiles the client, gRPC and all: minutes on a small machine.
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("values", ["json", "typed"])
def test_the_go_peer_sends_what_was_committed(
    go_peer: list[str], values: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Partitions split and merge, rows come in pieces: every change once and equal, flows without holes."""
    # Its client lends strings until the next row: what is kept for longer becomes garbage.
    monkeypatch.setenv("SPANNER_VTPROTO_POISON_RELEASED_BUFFERS", "true")
    _sends_what_was_committed(go_peer, values, tmp_path)


def _sends_what_was_committed(program: list[str], values: str, folder: Path) -> None:
    history = folder / "committed.jsonl"
    options = ("--splits", "200", "--chop", "5", "--chunk-bytes", "500", "--history", str(history))
    with ExitStack() as stack:
        served = running.simulator(stack, folder, "--partitions", "4", "--seed", "7", *options)
        relay = running.peer(stack, folder, served, program, values)
        socket = stack.enter_context(zmq.Context().socket(zmq.SUB))
        socket.linger = 0
        socket.rcvhwm = 0
        socket.subscribe(b"")
        socket.connect(relay.endpoint)
        assert _next(socket).kind == "tick"
        served.child.tell({"run": {"changes": CHANGES}})
        messages: list[Message] = []
        while sum(message.count for message in messages) < CHANGES:
            relay.child.check()
            message = _next(socket)
            if message.kind == "changes":
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


def _next(socket: zmq.Socket[bytes]) -> Message:
    assert socket.poll(PATIENCE_S * 1000), "nothing is heard any more"
    return Message.decode(socket.recv_multipart())
