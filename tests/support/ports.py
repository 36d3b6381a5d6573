"""Ports for what must be told where to listen, or must come back to where it was."""

from __future__ import annotations

import contextlib
import random
import socket

_RANGE = range(20_000, 32_000)
"""Below those that systems give to who asks for any: none of these is taken while nobody listens on it."""
_MARKS: list[socket.socket] = []
_RANDOM = random.SystemRandom()


def free_port() -> int:
    """A TCP port of 127.0.0.1 that is free, and stays so for this process and those that it starts.

    The UDP port of the same number is held as long as this process runs: it tells tests that run beside it.
    """
    for port in _RANDOM.sample(_RANGE, len(_RANGE)):
        mark = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        with contextlib.suppress(OSError):
            mark.bind(("127.0.0.1", port))
            socket.create_server(("127.0.0.1", port)).close()
            _MARKS.append(mark)
            return port
        mark.close()
    raise OSError("no port is free")


def free_endpoint() -> str:
    """An endpoint of such a port."""
    return f"tcp://127.0.0.1:{free_port()}"
