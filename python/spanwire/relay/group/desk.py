"""The ROUTER socket that a group's members talk to. What cannot be read is refused, and counted."""

from __future__ import annotations

import errno
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Any

import zmq

from spanwire._core import decode_request, encode_reply
from spanwire.errors import FormatError, SocketError
from spanwire.router.binding import bound
from spanwire.router.exchanges import MAX_REQUEST_BYTES

_AT_ONCE = 256
_LINGER_MS = 500


class Desk:
    """Requests in, replies out; used by one thread, after it was bound."""

    def __init__(self, endpoint: str) -> None:
        """Bind. SocketError when the port is in use."""
        self.refused: Counter[str] = Counter()
        """Refusals, by reason."""
        self.heard_all = False
        """The last `requests` left nothing to read."""
        self.socket: zmq.Socket[bytes] = zmq.Context.instance().socket(zmq.ROUTER)
        for option, value in (
            (zmq.LINGER, _LINGER_MS),
            (zmq.SNDHWM, 0),  # what a member may hold is bounded by its credit
            (zmq.RCVHWM, 1000),
            (zmq.MAXMSGSIZE, 1 << 20),
            (zmq.ROUTER_MANDATORY, 1),  # a member that is gone is told of, not silently skipped
            (zmq.TCP_KEEPALIVE, 1),
            (zmq.TCP_KEEPALIVE_IDLE, 30),
            (zmq.HEARTBEAT_IVL, 10_000),
            (zmq.HEARTBEAT_TIMEOUT, 30_000),
        ):
            self.socket.setsockopt(option, value)
        try:
            self.endpoint = bound(self.socket, endpoint)
            """Where it is bound, a wildcard port resolved."""
        except SocketError:
            self.socket.close()
            raise

    def requests(self) -> Iterator[tuple[bytes, dict[str, Any]]]:
        """Who asks, and the fields of the request; what is there now, a bounded number."""
        self.heard_all = False
        for _ in range(_AT_ONCE):
            try:
                peer, *frames = self.socket.recv_multipart(zmq.NOBLOCK)
            except zmq.Again:
                self.heard_all = True
                return
            size = sum(map(len, frames))
            if size > MAX_REQUEST_BYTES:
                text = f"a request has {MAX_REQUEST_BYTES} bytes at the most, this one has {size}"
                self.refuse(peer, 0, "tooLarge", text)
            elif len(frames) != 1:
                self.refuse(peer, 0, "malformed", f"a request is one frame, this one has {len(frames)}")
            else:
                try:
                    request = decode_request(frames[0])
                except (FormatError, ValueError) as error:
                    self.refuse(peer, 0, "malformed", str(error))
                    continue
                yield peer, request

    def reply(self, peer: bytes, kind: str, id: int, message: Sequence[bytes] = (), **fields: Any) -> bool:
        """Send a reply; False where the peer is gone. What it said before may still be there to read."""
        try:
            frames = [peer, encode_reply(kind, id, **fields), *message]
            self.socket.send_multipart(frames, zmq.NOBLOCK, copy=not message)
        except zmq.Again:
            return False
        except zmq.ZMQError as error:
            if error.errno != errno.EHOSTUNREACH:
                raise
            return False
        return True

    def refuse(self, peer: bytes, id: int, reason: str, text: str) -> None:
        """Say no, and count it."""
        self.refused[reason] += 1
        self.reply(peer, "refused", id, reason=reason, text=text)

    def close(self) -> None:
        """Close the socket. Calling it again does nothing."""
        self.socket.close()
