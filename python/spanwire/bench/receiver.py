"""A subscriber in a process of its own, and the window that keeps PUB from dropping.

PUB drops what a subscriber is too slow for. To measure what goes through, not what is dropped, whoever
sends keeps at most a window of changes unreceived; the subscriber tells how far it is in shared memory.
The same for spanwire and for raw libzmq.
"""

from __future__ import annotations

import ctypes
import multiprocessing
import time
from collections.abc import Callable
from types import TracebackType
from typing import Any, Self

import zmq

from spanwire._core import Message

WINDOW = 40_000
"""Changes on their way at the most: about 16 MB."""
_READY, _CHANGES = range(2)
_PATIENCE_S = 60.0


def _receive(endpoint: str, shared: Any) -> None:
    """Receive for ever, and count the changes that the headers tell of."""
    context = zmq.Context()
    socket = context.socket(zmq.SUB)
    socket.set(zmq.RCVHWM, 0)
    socket.connect(endpoint)
    socket.subscribe(b"")
    while True:
        topic, header, *_ = socket.recv_multipart(copy=False)
        if topic.bytes.endswith(b"/_tick/"):
            shared[_READY] = 1
        else:
            # The body stays where ZeroMQ put it: what a consumer does with it is measured elsewhere.
            shared[_CHANGES] += Message.decode([topic.bytes, header.bytes, b"", b""]).count


class Receiver:
    """A running subscriber of everything. The first tick that arrives shows that it is connected."""

    def __init__(self, endpoint: str) -> None:
        # Not forked: a copy of a process with ZeroMQ threads would have sockets but no threads.
        spawn = multiprocessing.get_context("spawn")
        self._shared = spawn.RawArray(ctypes.c_uint64, 2)
        self._process = spawn.Process(target=_receive, args=(endpoint, self._shared), daemon=True)

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
        """It is connected and subscribed."""
        return bool(self._shared[_READY])

    def wait_ready(self, prod: Callable[[], object] | None = None) -> None:
        """Until it is connected; `prod` is called over and over meanwhile."""
        deadline = time.monotonic() + _PATIENCE_S
        while not self.ready:
            if prod is not None:
                prod()
            self._check(deadline)
            time.sleep(0.01)

    def wait_for(self, changes: int) -> None:
        """Until so many changes have arrived."""
        if self._shared[_CHANGES] >= changes:
            return
        deadline = time.monotonic() + _PATIENCE_S
        while self._shared[_CHANGES] < changes:
            time.sleep(0.000_05)
            self._check(deadline)

    def _check(self, deadline: float) -> None:
        if not self._process.is_alive():
            raise RuntimeError("the bench's subscriber has ended: was it killed?")
        if time.monotonic() > deadline:
            raise RuntimeError(f"the bench's subscriber has received nothing more for {_PATIENCE_S:.0f} s")
