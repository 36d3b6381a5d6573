"""A subscriber in a process of its own, and the window that keeps PUB from dropping.

PUB drops what a subscriber is too slow for. To measure what goes through, not what is dropped, whoever
sends keeps at most a window of changes unreceived; the subscriber tells how far it is in shared memory.
The same for spanwire and for raw libzmq.
"""

from __future__ import annotations

import ctypes
import multiprocessing
import time
from collections.abc import Callable, Iterator, Sequence
from types import TracebackType
from typing import Any, Literal, Self

import zmq

from spanwire._core import Message
from spanwire.consumer.link import Link

CurveKeys = tuple[bytes, bytes, bytes]
"""A server's public key, and a client's public and secret one."""

WINDOW = 40_000
"""Changes on their way at the most: about 16 MB."""
_READY, _CHANGES, _AT = range(3)
_PATIENCE_S = 60.0

Kind = Literal["pub", "push", "feed"]
"""As an output's: heard by SUB, by PULL, by a DEALER that gives credit."""


def _receive(endpoints: Sequence[str], kind: Kind, curve: CurveKeys | None, shared: Any) -> None:
    """Receive for ever, and count the changes that the headers tell of."""
    unheard = (
        set(range(len(endpoints))) if kind != "push" else set()
    )  # PUSH waits for its peers, and ticks not
    shared[_READY] = not unheard
    heard = _fed(endpoints[0]) if kind == "feed" else _heard(endpoints, kind, curve)
    for place, topic, header in heard:
        if topic.endswith(b"/_tick/"):
            unheard.discard(place)
            shared[_READY] = not unheard
        else:
            changes = Message.decode([topic, header, b"", b""]).count
            shared[_AT] = time.monotonic_ns()
            shared[_CHANGES] += changes


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

    The same endpoint several times is as many subscribers. The first tick shows that a socket is connected.
    """

    def __init__(
        self, endpoint: str | Sequence[str], kind: Kind = "pub", curve: CurveKeys | None = None
    ) -> None:
        # Not forked: a copy of a process with ZeroMQ threads would have sockets but no threads.
        spawn = multiprocessing.get_context("spawn")
        self._shared = spawn.RawArray(ctypes.c_uint64, 3)
        endpoints = [endpoint] if isinstance(endpoint, str) else list(endpoint)
        self._process = spawn.Process(
            target=_receive, args=(endpoints, kind, curve, self._shared), daemon=True
        )

    def __enter__(self) -> Self:
        self._process.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._process.kill()
        self._process.join()
        self._process.close()

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
        if not self._process.is_alive():
            raise RuntimeError("the bench's subscriber has ended: was it killed?")
        if time.monotonic() > deadline:
            raise RuntimeError(f"the bench's subscriber has received nothing more for {_PATIENCE_S:.0f} s")
