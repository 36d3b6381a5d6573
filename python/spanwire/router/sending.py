"""What serves an exchange has of it: a way to send that keeps to the peer's credit."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import wraps
from typing import Any, Protocol

import structlog

from spanwire._core import Timestamp, encode_reply
from spanwire.errors import ClosedError, SpanwireError
from spanwire.router.exchanges import Exchange

_log = structlog.get_logger("spanwire.router")

MOST_WAITING_BYTES = 4 << 20
"""So much may wait for the socket of a peer that gave credit and does not read."""


class Desk(Protocol):
    """What a `Sending` needs of the router. Thread-safe."""

    changed: threading.Condition
    """Guards every exchange; told whenever one has more credit, less waiting, or is over."""

    def queue(self, exchange: Exchange, frames: list[bytes], size: int) -> None:
        """Send these frames, in order, behind all that was queued for this peer. `changed` is held."""

    def block(self, exchange: Exchange) -> None:
        """There is something to send, and it may not be. `changed` is held."""

    def waiting(self, exchange: Exchange) -> int:
        """Message bytes queued and not yet with the socket. `changed` is held."""

    def end(self, exchange: Exchange, reason: str | None) -> None:
        """The exchange is over. `changed` is held."""

    def supply(self, exchange: Exchange, messages: Iterator[Sequence[bytes]]) -> None:
        """Send these as credit comes, from the router's own thread."""


class Sending:
    """One exchange, for whoever serves it. Thread-safe.

    It ends with `done` or `refused`. When it is over for another reason (the peer cancelled it, went away
    or gave no credit for too long), `send` raises ClosedError, `over` is true, and all else does nothing.
    """

    def __init__(self, exchange: Exchange, desk: Desk) -> None:
        self._exchange = exchange
        self._desk = desk

    @property
    def over(self) -> bool:
        """Whether nothing can be sent any more."""
        return self._exchange.over

    @property
    def peer(self) -> bytes:
        """Whom it is for: the same for all exchanges over one connection."""
        return self._exchange.peer

    def send(self, frames: Sequence[bytes]) -> None:
        """Send one message: topic, header, columns, body. Waits for credit; not for the router's own thread.

        ClosedError when the exchange is over.
        """
        exchange, desk = self._exchange, self._desk
        with desk.changed:
            while not self._sends(frames):
                if exchange.over:
                    raise ClosedError("the exchange is over")
                desk.changed.wait()

    def offer(self, frames: Sequence[bytes]) -> bool:
        """Send one message if there is credit for it; whether it was sent. Never waits."""
        with self._desk.changed:
            return self._sends(frames)

    def supply(self, messages: Iterable[Sequence[bytes]]) -> None:
        """Have the router take messages as credit comes, then end the exchange with done.

        The iterator runs on the router's thread and must not wait. A `Refusal` that it raises ends the
        exchange.
        """
        self._desk.supply(self._exchange, iter(messages))

    def progress(self, position: Timestamp | None = None, *, rows_done: int = 0, text: str = "") -> None:
<<<<<<< HEAD
        """All changes up to `position` have been sent; of a snapshot, so many rows, and how it goes on."""
=======
        """All changes up to `position` were sent; of a snapshot at it, so many rows, and how it goes on."""
>>>>>>> wt-replay
        self._reply("progress", position=position, rows_done=rows_done, text=text)

    def done(self, position: Timestamp | None = None) -> None:
        """All has been sent, up to `position` where that means something."""
        self._reply("done", position=position)

    def refused(self, reason: str, text: str, oldest: Timestamp | None = None) -> None:
        """It cannot be had. `oldest`: with reason gone, the oldest timestamp that still can."""
        self._reply("refused", reason=reason, text=text, oldest=oldest)

    def _sends(self, frames: Sequence[bytes]) -> bool:
        exchange = self._exchange
        if exchange.over:
            return False
        if not exchange.has_credit or self._desk.waiting(exchange) >= MOST_WAITING_BYTES:
            self._desk.block(exchange)
            return False
        size = sum(map(len, frames))
        exchange.sent += size
        exchange.blocked_since = None
        self._desk.queue(exchange, [encode_reply("message", exchange.id), *frames], size)
        return True

    def _reply(self, kind: str, **fields: Any) -> None:
        exchange = self._exchange
        given = {name: value for name, value in fields.items() if value}
        with self._desk.changed:
            if exchange.over:
                return
            self._desk.queue(exchange, [encode_reply(kind, exchange.id, **given)], 0)
            if kind != "progress":
                self._desk.end(exchange, fields.get("reason"))


class Refusal(Exception):
    """What cannot be had, and why: ends an exchange as `Sending.refused` does."""

    def __init__(self, reason: str, text: str, oldest: Timestamp | None = None) -> None:
        super().__init__(text)
        self.reason = reason
        self.oldest = oldest


Handler = Callable[[dict[str, Any], Sending], None]
"""Serves an exchange: takes the fields of its Request and its `Sending`. Runs on the router's thread and must
not wait; a `Refusal` or SpanwireError that it raises ends the exchange."""


def guarded(handler: Handler) -> Handler:
    """The same handler; what it raises ends the exchange, and nothing else."""

    @wraps(handler)
    def serve(request: dict[str, Any], sending: Sending) -> None:
        try:
            handler(request, sending)
        except Exception as error:
            end_with(sending, error, request["kind"])

    return serve


def end_with(sending: Sending, error: Exception, kind: str) -> None:
    """End an exchange with what serving it raised."""
    if isinstance(error, Refusal):
        sending.refused(error.reason, str(error), error.oldest)
    elif isinstance(error, ClosedError):
        sending.refused("stopping", "the relay stops; ask again, or another one")
    elif isinstance(error, SpanwireError):
        sending.refused("failed", str(error))
        _log.warning("a request could not be served", kind=kind, why=str(error))
    else:
        sending.refused("failed", f"internal error: {type(error).__name__}")
        _log.error("a request could not be served", kind=kind, why=f"{type(error).__name__}: {error}")


def in_background(handler: Handler) -> Handler:
    """A handler that may wait: each exchange of it is served on a thread of its own."""

    def serve(request: dict[str, Any], sending: Sending) -> None:
        thread = threading.Thread(
            target=guarded(handler), args=(request, sending), name=f"serve-{request['kind']}", daemon=True
        )
        thread.start()

    return serve
