"""A subscriber in a process of its own, and the window that keeps PUB from dropping.

PUB drops what a subscriber is too slow for. To measure what goes through, not what is dropped, whoever
sends keeps at most a window of changes unreceived; the subscriber tells how far it is in shared memory.
The same for spanwire and for raw libzmq.
"""

from __future__ import annotations

import argparse
import json
import mmap
import os
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Literal, Self

import zmq

from spanwire._core import Message
from spanwire.children import Child
from spanwire.consumer.link import Link

CurveKeys = tuple[bytes, bytes, bytes]
"""A server's public key, and a client's public and secret one."""

WINDOW = 40_000
"""Changes on their way at the most: about 16 MB."""
_MEMORY = "/dev/shm" if Path("/dev/shm").is_dir() else None  # noqa: S108 a folder of our own within it
"""A file on a disk would be written there over and over, and hold up who counts in it."""
_READY, _CHANGES, _AT = range(3)
_SIZE = 3 * 8
"""Three numbers of 64 bits in shared memory."""
_PATIENCE_S = 60.0

Kind = Literal["pub", "push", "feed"]
"""As an output's: heard by SUB, by PULL, by a DEALER that gives credit."""


def main() -> None:
    """Receive for ever, as one line on stdin says, and count the changes that the headers tell of."""
    parser = argparse.ArgumentParser(description="A subscriber that counts.")
    parser.add_argument("shared", type=Path, help="the file where it tells how far it is")
    file = parser.parse_args().shared.open("r+b")
    shared = memoryview(mmap.mmap(file.fileno(), _SIZE)).cast("Q")
    if not (line := sys.stdin.readline()):
        return
    threading.Thread(target=_end_with_parent, daemon=True).start()
    wanted = json.loads(line)
    endpoints, kind = wanted["endpoints"], wanted["kind"]
    keys = wanted["curve"] and tuple(key.encode() for key in wanted["curve"])
    # PUSH waits for its peers, and ticks not.
    unheard = set() if kind == "push" else set(range(len(endpoints)))
    shared[_READY] = not unheard
    heard = _fed(endpoints[0]) if kind == "feed" else _heard(endpoints, kind, keys)
    for place, topic, header in heard:
        if topic.endswith(b"/_tick/"):
            unheard.discard(place)
            shared[_READY] = not unheard
        else:
            changes = Message.decode([topic, header, b"", b""]).count
            shared[_AT] = time.monotonic_ns()
            shared[_CHANGES] += changes


def _end_with_parent() -> None:
    sys.stdin.read()
    os._exit(0)


def _heard(
    endpoints: Sequence[str], kind: Kind, curve: CurveKeys | None
) -> Iterator[tuple[int, bytes, bytes]]:
    """Sockets' places, topics and headers.

    Bodies stay where ZeroMQ put them: what a consumer does with them is measured elsewhere.
    """
    context, poller = zmq.Context(), zmq.Poller()
    places: dict[zmq.Socket[bytes], int] = {}
    for place, endpoint in enumerate(endpoints):
        socket = context.socket(zmq.SUB if kind == "pub" else zmq.PULL)
        socket.set(zmq.RCVHWM, 0)
        if curve is not None:
            socket.curve_serverkey, socket.curve_publickey, socket.curve_secretkey = curve
        socket.connect(endpoint)
        if kind == "pub":
            socket.subscribe(b"")
        poller.register(socket, zmq.POLLIN)
        places[socket] = place
    while True:
        # A single one is not polled: that would cost as much again.
        for one in places if len(places) == 1 else dict(poller.poll()):
            topic, header, *_ = one.recv_multipart(copy=False)
            yield places[one], topic.bytes, header.bytes


def _fed(endpoint: str) -> Iterator[tuple[int, bytes, bytes]]:
    """The same from a feed, by the consumer library's own link."""
    with Link(endpoint) as link:
        id = link.ask("feed", topics=[""])
        while True:
            link.socket.poll(100)
            link.look_around(time.monotonic())
            for answer in link.take():
                if answer.frames is not None:
                    link.grant(id, answer.size)
                    yield 0, answer.frames[0], answer.frames[1]


class Receiver:
    """A running subscriber of everything, by a socket for each endpoint.

    It starts at once, and connects when it is told where to. The first tick shows that a socket is connected.
    """

    def __init__(self, kind: Kind = "pub", curve: CurveKeys | None = None) -> None:
        self._kind, self._curve = kind, curve
        self._stack = ExitStack()

    def __enter__(self) -> Self:
        with ExitStack() as stack:
            place = tempfile.TemporaryDirectory(prefix="spanwire-bench-", dir=_MEMORY)
            folder = Path(stack.enter_context(place))
            path = folder / "shared"
            path.write_bytes(bytes(_SIZE))
            with path.open("r+b") as file:
                self._shared = memoryview(mmap.mmap(file.fileno(), _SIZE)).cast("Q")
            arguments = ["-m", "spanwire.bench.receiver", str(path)]
            self._child = stack.enter_context(
                Child("receiver", arguments, folder / "receiver.log", kill=True)
            )
            self._stack = stack.pop_all()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stack.close()

    def connect(self, endpoint: str | Sequence[str]) -> None:
        """Connect it, once. The same endpoint several times is as many subscribers."""
        self._child.tell(
            {
                "endpoints": [endpoint] if isinstance(endpoint, str) else list(endpoint),
                "kind": self._kind,
                "curve": self._curve and [key.decode() for key in self._curve],
            }
        )

    @property
    def ready(self) -> bool:
        """All of it is connected and subscribed."""
        return bool(self._shared[_READY])

    @property
    def changes(self) -> int:
        """How many have arrived."""
        return int(self._shared[_CHANGES])

    @property
    def last_at(self) -> int:
        """When the last one did, nanoseconds of the system's monotonic clock: the same in all processes."""
        return int(self._shared[_AT])

    def wait_ready(self, prod: Callable[[], object] | None = None) -> None:
        """Until it is connected; `prod` is called over and over meanwhile."""
        deadline = time.monotonic() + _PATIENCE_S
        while not self.ready:
            if prod is not None:
                prod()
            self._check(deadline)
            time.sleep(0.01)

    def wait_for(self, changes: int, glance_s: float = 0.000_05) -> None:
        """Until so many changes have arrived, as seen by a look every so many seconds."""
        if self._shared[_CHANGES] >= changes:
            return
        deadline = time.monotonic() + _PATIENCE_S
        while self._shared[_CHANGES] < changes:
            time.sleep(glance_s)
            self._check(deadline)

    def _check(self, deadline: float) -> None:
        self._child.check()
        if time.monotonic() > deadline:
            raise RuntimeError(f"the bench's subscriber has received nothing more for {_PATIENCE_S:.0f} s")


if __name__ == "__main__":
    main()
