"""One ROUTER socket and the thread that owns it: carries requests in and answers out."""

from __future__ import annotations

import contextlib
import errno
import socket
import threading
import time
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any, Self

import structlog
import zmq

from spanwire._core import encode_reply
from spanwire.errors import SocketError
from spanwire.router.binding import bound
from spanwire.router.exchanges import Answer, Begun, Event, Exchange, Exchanges, Limits
from spanwire.router.sending import Handler, Sending, end_with, guarded

_log = structlog.get_logger("spanwire.router")

_HIGH_WATER_MARK = 32
"""Messages that ZeroMQ keeps for one peer; what comes beyond waits here, where it is counted."""
_MAX_FRAME_BYTES = 16 << 20
"""ZeroMQ breaks the connection of who sends more."""
_MOST_ANSWERS = 1000
"""Answers that are no messages and wait for a peer: what one that asks and does not read is owed is dropped.
Messages are bounded by their bytes, however small they are."""
_AT_ONCE = 64
_LOOK_S, _STALLED_S = 0.5, 0.01
_LINGER_MS = 500


@dataclass
class _Outbox:
    """What waits for the socket of one peer."""

    queue: deque[tuple[Exchange | None, list[bytes], int]] = field(default_factory=deque)
    answers: int = 0
    """Of what waits, those that are no messages."""
    stalled: bool = False


class Router:
    """Serves requests at `bind` from `start` to `close`; a context manager that is both.

    Everything that happens to an exchange happens on the router's thread, or under `changed`.
    """

    def __init__(
        self,
        bind: Sequence[str],
        stream: bytes,
        handlers: Mapping[str, Handler],
        limits: Limits | None = None,
    ) -> None:
        """Bind. SocketError when a port is in use. `handlers`: by kind of request; `handle` adds more."""
        self.changed = threading.Condition()
        self._stream, self._limits = stream, limits
        self._handlers = dict(handlers)
        self._exchanges = Exchanges((), stream, limits)
        self.failure: str | None = None
        """What ended its thread early."""
        self._outboxes: dict[bytes, _Outbox] = {}
        self._waiting: dict[Exchange, int] = {}
        self._supplies: dict[Exchange, tuple[Sending, Iterator[Sequence[bytes]], Sequence[bytes] | None]] = {}
        self._closing = False
        self._wake_in, self._wake_out = socket.socketpair()
        self._wake_in.setblocking(False)
        self._wake_out.setblocking(False)
        self._socket: zmq.Socket[bytes] = zmq.Context.instance().socket(zmq.ROUTER)
        for option, value in (
            (zmq.LINGER, _LINGER_MS),
            (zmq.SNDHWM, _HIGH_WATER_MARK),
            (zmq.MAXMSGSIZE, _MAX_FRAME_BYTES),
            (zmq.ROUTER_MANDATORY, 1),  # a peer that is full or gone is told of, not silently skipped
            (zmq.TCP_KEEPALIVE, 1),
            (zmq.TCP_KEEPALIVE_IDLE, 30),
            (zmq.HEARTBEAT_IVL, 10_000),
            (zmq.HEARTBEAT_TIMEOUT, 30_000),
        ):
            self._socket.setsockopt(option, value)
        self.endpoints = [self._bind(endpoint) for endpoint in bind]
        """Where it is bound, wildcard ports resolved."""
        self._thread = threading.Thread(target=self._run, name="router", daemon=True)

    def handle(self, kind: str, handler: Handler) -> None:
        """Serve a kind of request; before `start`."""
        self._handlers[kind] = handler

    def start(self) -> None:
        """Begin to serve."""
        self._exchanges = Exchanges(self._handlers, self._stream, self._limits)
        self._thread.start()

    def close(self) -> None:
        """End all exchanges with a word, and close."""
        self._closing = True
        self._wake()
        if self._thread.is_alive():
            self._thread.join()
        elif not self._socket.closed:
            self._shut()

    def stats(self) -> dict[str, Any]:
        """Peers, exchanges that are open, begun by kind, refused by reason."""
        with self.changed:
            one = self._exchanges
            return {
                "endpoints": list(self.endpoints),
                "peers": one.peers,
                "open": len(one.open()),
                "begun": dict(one.begun),
                "refused": dict(one.refused),
                "waiting_bytes": sum(self._waiting.values()),
            }

    def __enter__(self) -> Self:
        """Start it."""
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close it."""
        self.close()

    # What a Sending calls, from any thread.

    def queue(self, exchange: Exchange, frames: list[bytes], size: int) -> None:
        """See `Desk`."""
        if size:
            self._waiting[exchange] = self._waiting.get(exchange, 0) + size
        self._post(exchange.peer, exchange, frames, size)
        self._wake()

    def block(self, exchange: Exchange) -> None:
        """See `Desk`."""
        if exchange.blocked_since is None:
            exchange.blocked_since = time.monotonic()

    def waiting(self, exchange: Exchange) -> int:
        """See `Desk`."""
        return self._waiting.get(exchange, 0)

    def end(self, exchange: Exchange, reason: str | None) -> None:
        """See `Desk`."""
        self._exchanges.end(exchange, reason)
        self._supplies.pop(exchange, None)
        self.changed.notify_all()

    def supply(self, exchange: Exchange, messages: Iterator[Sequence[bytes]]) -> None:
        """See `Desk`."""
        with self.changed:
            if not exchange.over:
                self._supplies[exchange] = (Sending(exchange, self), messages, None)
        self._wake()

    # The router's thread.

    def _run(self) -> None:
        poller = zmq.Poller()
        poller.register(self._socket, zmq.POLLIN)
        poller.register(self._wake_out.fileno(), zmq.POLLIN)
        look_at = time.monotonic() + _LOOK_S
        try:
            while not self._closing:
                stalled = any(one.stalled for one in self._outboxes.values())
                poller.poll(round((_STALLED_S if stalled else _LOOK_S) * 1000))
                with contextlib.suppress(BlockingIOError):
                    while self._wake_out.recv(4096):
                        pass
                self._receive()
                self._supply()
                self._flush()
                if (now := time.monotonic()) >= look_at:
                    look_at = now + _LOOK_S
                    with self.changed:
                        begun = self._obey(self._exchanges.expire(now))
                    assert not begun
        except Exception as error:
            self.failure = f"{type(error).__name__}: {error}"
            _log.error("a router ends", endpoints=self.endpoints, why=self.failure)
        finally:
            self._shut()

    def _receive(self) -> None:
        for _ in range(_AT_ONCE):
            try:
                peer, *frames = self._socket.recv_multipart(zmq.NOBLOCK)
            except zmq.Again:
                return
            with self.changed:
                begun = self._obey(self._exchanges.take(peer, frames, time.monotonic()))
            for exchange in begun:
                request = exchange.request
                guarded(self._handlers[request["kind"]])(request, Sending(exchange, self))

    def _obey(self, events: list[Event]) -> list[Exchange]:
        """What came of a request; the exchanges that somebody has to serve. `changed` is held."""
        begun = []
        for event in events:
            if isinstance(event, Answer):
                self._post(event.peer, None, [encode_reply(event.kind, event.id, **event.fields)], 0)
            elif isinstance(event, Begun):
                begun.append(event.exchange)
            else:
                self._supplies.pop(event.exchange, None)
        self.changed.notify_all()  # credit may have risen, exchanges may be over
        return begun

    def _supply(self) -> None:
        """Send what the suppliers have, as far as there is credit, each a message in turn."""
        with self.changed:
            supplies = list(self._supplies.items())
        for exchange, (sending, messages, left) in supplies:
            held = left
            try:
                for _ in range(_AT_ONCE):
                    message = next(messages, None) if held is None else held
                    if message is None:
                        sending.done()
                        break
                    held = None if sending.offer(message) else message
                    if held is not None:
                        break
            except Exception as error:
                end_with(sending, error, exchange.request["kind"])
            with self.changed:
                if exchange in self._supplies:
                    self._supplies[exchange] = (sending, messages, held)
                    if held is None:
                        self._wake()

    def _post(self, peer: bytes, exchange: Exchange | None, frames: list[bytes], size: int) -> None:
        outbox = self._outboxes.setdefault(peer, _Outbox())
        outbox.queue.append((exchange, frames, size))
        outbox.answers += not size

    def _flush(self) -> None:
        """Hand to the socket what it takes."""
        with self.changed:
            for peer, outbox in list(self._outboxes.items()):
                outbox.stalled = False
                if not self._flush_one(peer, outbox):
                    self._drop(peer)
                    self._obey(self._exchanges.forget(peer))
                elif outbox.answers > _MOST_ANSWERS:
                    self._drop(peer)
                    text = f"{_MOST_ANSWERS} answers wait for you to read them; read, and ask again"
                    self._obey(self._exchanges.give_up(peer, text))
                elif not outbox.queue:
                    del self._outboxes[peer]
            self.changed.notify_all()

    def _flush_one(self, peer: bytes, outbox: _Outbox) -> bool:
        """False when the peer is gone."""
        while outbox.queue:
            exchange, frames, size = outbox.queue[0]
            try:
                self._socket.send_multipart([peer, *frames], zmq.NOBLOCK, copy=False)
            except zmq.Again:
                outbox.stalled = True
                return True
            except zmq.ZMQError as error:
                if error.errno == errno.EHOSTUNREACH:
                    return False
                raise
            outbox.queue.popleft()
            outbox.answers -= not size
            if exchange is not None and size:
                self._sent(exchange, size)
        return True

    def _sent(self, exchange: Exchange, size: int) -> None:
        left = self._waiting.get(exchange, 0) - size
        if left > 0:
            self._waiting[exchange] = left
        else:
            self._waiting.pop(exchange, None)

    def _drop(self, peer: bytes) -> None:
        """Drop what waits for a peer."""
        outbox = self._outboxes.pop(peer)
        for exchange, _, size in outbox.queue:
            if exchange is not None and size:
                self._sent(exchange, size)

    def _wake(self) -> None:
        with contextlib.suppress(BlockingIOError, OSError):
            self._wake_in.send(b"!")

    def _bind(self, endpoint: str) -> str:
        try:
            return bound(self._socket, endpoint)
        except SocketError:
            self._shut()
            raise

    def _shut(self) -> None:
        with self.changed:
            for exchange in self._exchanges.open():
                Sending(exchange, self).refused("stopping", "the relay stops; ask again, or another one")
            for peer, outbox in self._outboxes.items():
                self._flush_one(peer, outbox)
            self.changed.notify_all()
        self._socket.close()
        self._wake_in.close()
        self._wake_out.close()
