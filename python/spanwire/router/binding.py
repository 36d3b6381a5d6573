"""Binding an endpoint that the relay answers at. What a failure means is told in the core's words."""

from __future__ import annotations

import errno

import zmq

from spanwire.errors import SocketError

_MEANINGS = {
    errno.EADDRINUSE: (
        "the port is in use: stop the program that has it (perhaps another relay), or bind to another port"
    ),
    errno.EACCES: "not permitted: take a port above 1023, or a path that this user may write",
    errno.ENODEV: "this machine has no such address or interface",
    errno.EADDRNOTAVAIL: "this machine has no such address or interface",
}


def bound(socket: zmq.Socket[bytes], endpoint: str) -> str:
    """Bind; the address, a wildcard port resolved. SocketError where it cannot be had."""
    try:
        socket.bind(endpoint)
    except zmq.ZMQError as error:
        number = error.errno or 0
        what = _MEANINGS.get(number, zmq.strerror(number))
        raise SocketError(f"{endpoint}: {what} (errno {number})", endpoint=endpoint, errno=number) from None
    return str(socket.getsockopt_string(zmq.LAST_ENDPOINT))
