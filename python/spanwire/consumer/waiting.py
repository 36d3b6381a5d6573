"""Waiting for a ZeroMQ socket in whatever event loop runs."""

from __future__ import annotations

import asyncio
import time

import zmq


async def readable(socket: zmq.Socket[bytes], timeout: float) -> bool:
    """Whether there is something to read, now or within `timeout` seconds. ZMQError once it is closed."""
    loop = asyncio.get_running_loop()
    descriptor = int(socket.getsockopt(zmq.FD))
    end = time.monotonic() + timeout
    # The descriptor says that something has happened; only the socket knows what.
    while not int(socket.getsockopt(zmq.EVENTS)) & zmq.POLLIN:
        happened = asyncio.Event()
        loop.add_reader(descriptor, happened.set)
        try:
            await asyncio.wait_for(happened.wait(), max(0.0, end - time.monotonic()))
        except TimeoutError:
            return False
        finally:
            loop.remove_reader(descriptor)
    return True
