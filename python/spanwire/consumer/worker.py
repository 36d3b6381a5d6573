"""`Worker`: one of those among whom a `push` output spreads its work."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from typing import Any

import zmq

from spanwire._core import Change, Message
from spanwire.consumer import letters
from spanwire.consumer.receiver import Receiver, connected, listed
from spanwire.errors import ClosedError

_AT_ONCE = 64
"""Messages taken from the socket before what they hold is handed over."""


class Worker(Receiver):
    """Pulls from `push` outputs. A context manager; iterable, sync and asyncio.

    Work comes in no order, at least once, and is not repaired: what this worker had received and not
    handed over is lost with it.
    """

    def __init__(
        self,
        endpoints: str | Sequence[str],
        *,
        on_dead_letter: Callable[[dict[str, Any]], None] | None = None,
        receive_high_water_mark: int = 100,
    ) -> None:
        """Connect. ConfigError for an endpoint that cannot be one.

        `on_dead_letter`: called with each change that the relay could not decode, a dict of `version`,
        `table`, `reason` and `raw`; without it, a warning is logged.
        `receive_high_water_mark`: messages that wait in the socket; few, so that work goes to who is free.
        """
        super().__init__()
        self._socket = connected(zmq.PULL, listed(endpoints), receive_high_water_mark)
        self._on_dead_letter = on_dead_letter or letters.warn
        self._letters: deque[Message] = deque()
        self._changes: list[Change] = []

    def close(self) -> None:
        """Close the socket. What has not been handed over is dropped."""
        self._socket.close()
        super().close()

    def _sockets(self) -> list[zmq.Socket[bytes]]:
        if self._socket.closed:
            raise ClosedError("the worker is closed")
        return [self._socket]

    def _take_messages(self) -> None:
        for _ in range(_AT_ONCE):
            try:
                message = Message.decode(self._socket.recv_multipart(zmq.NOBLOCK))
            except zmq.Again:
                return
            if message.kind == "changes":
                self._changes += message.changes()
            elif message.kind == "deadLetter":
                self._letters.append(message)

    def _next(self) -> list[Change] | None:
        while self._letters:  # a call may raise: the changes stay
            self._on_dead_letter(self._letters.popleft().dead_letter())
        changes, self._changes = self._changes, []
        return changes or None
