"""Waiting for ZeroMQ sockets in whatever event loop runs."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence

import zmq


async def readable(sockets: zmq.Socket[bytes] | Sequence[zmq.Socket[bytes]], timeout: float) -> bool:
    """Whether one has something to read, now or within `timeout` seconds. ZMQError once it is closed."""
    watched = [sockets] if isinstance(sockets, zmq.Socket) else list(sockets)
    loop = asyncio.get_running_loop()
    descriptors = [int(socket.getsockopt(zmq.FD)) for socket in watched]
    end = time.monotonic() + timeout
    # The descriptor says that something has happened; only the socket knows what.
    while not any(int(socket.getsockopt(zmq.EVENTS)) & zmq.POLLIN for socket in watched):
        happened = asyncio.Event()
        for descriptor in descriptors:
            loop.add_reader(descriptor, happened.set)
        try:
            await asyncio.wait_for(happened.wait(), max(0.0, end - time.monotonic()))
        except TimeoutError:
            return False
        finally:
            for descriptor in descriptors:
                loop.remove_reader(descriptor)
    return True
