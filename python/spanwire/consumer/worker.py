"""`Worker`: one of those among whom a `push` output spreads its work."""

from __future__ import annotations

from collections.abc import Sequence

import zmq

from spanwire._core import Change, Message
from spanwire.consumer.receiver import Receiver


class Worker(Receiver):
    """Pulls from `push` outputs. A context manager; iterable, sync and asyncio.

    Work comes in no order, at least once, and is not repaired: what this worker had received and not
    handed over is lost with it.
    """

    def __init__(self, endpoints: str | Sequence[str], *, receive_high_water_mark: int = 100) -> None:
        """Connect. ConfigError for an endpoint that cannot be one.

        `receive_high_water_mark`: messages that wait in the socket; few, so that work goes to who is free.
        """
        super().__init__(zmq.PULL, endpoints, receive_high_water_mark)
        self._changes: list[Change] = []
        self._connect()

    def _take(self, frames: list[bytes]) -> None:
        message = Message.decode(frames)
        if message.kind == "changes":
            self._changes += message.changes()

    def _next(self) -> list[Change] | None:
        changes, self._changes = self._changes, []
        return changes or None
