"""`Link`: what a consumer asks of one relay, and what comes back. One DEALER, no thread, no waiting."""

from __future__ import annotations

import itertools
import logging
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any, Self

import zmq
from zmq.utils.monitor import recv_monitor_message

from spanwire._core import decode_reply, encode_request
from spanwire.errors import ClosedError, ConfigError, FormatError

_log = logging.getLogger("spanwire.consumer")

WINDOW_BYTES = 8 << 20
PING_S = 5.0
SILENCE_S = 15.0
"""A relay that answers no ping for so long is gone, although its connection may not show it."""
_AT_ONCE = 64
"""Frames taken from the socket in one go."""
_ENDS = ("done", "refused")
"""After these an exchange is over; one that began with hello is by its welcome."""
_CARRY = ("message", "work")
"""Replies that four frames of a message follow."""


@dataclass(frozen=True, slots=True)
class Answer:
    """One reply of the relay in an exchange that is open here."""

    id: int
    kind: str
    """welcome, message, progress, done, refused or work. After done or refused the exchange is over."""
    fields: dict[str, Any]
    """The fields of the Reply, as `_core.decode_reply` has them."""
    frames: list[bytes] | None = None
    """Topic, header, columns and body, of a message or work."""

    @property
    def size(self) -> int:
        """Bytes that it takes of the exchange's credit."""
        return sum(map(len, self.frames or ()))


@dataclass(slots=True)
class _Exchange:
    kind: str
    handed_on: int = 0
    """Bytes of messages that were handed on."""
    told: int = 0
    """The credit that the relay knows."""


@dataclass
class LinkCounts:
    """What came and could not be used."""

    garbled: int = 0
    """Replies that are not in spanwire's format."""
    unasked: int = 0
    """Replies of exchanges that are not open, such as what was on its way when one was cancelled."""


@dataclass
class _Silence:
    """Whether the relay answers, by the clock of whoever looks."""

    next_ping: float | None = None
    waiting_since: float | None = None
    heard: bool = field(default=False)
    """Something has come since the last look."""

    def look(self, now: float) -> bool:
        """Whether a ping is due."""
        if self.heard or self.waiting_since is None:
            self.heard, self.waiting_since = False, None
        if self.next_ping is not None and now < self.next_ping:
            return False
        self.next_ping = now + PING_S
        if self.waiting_since is None:
            self.waiting_since = now
        return True

    def silent(self, now: float) -> bool:
        return self.waiting_since is not None and now - self.waiting_since >= SILENCE_S


class Link:
    """A DEALER to a relay's replay, feed or group endpoint. To be used by one thread.

    Several exchanges may be open at a time, each with a credit of its own: the relay sends no more
    message bytes in one than were handed on (`grant`) and `window_bytes` beyond. Whoever uses it polls
    `socket`, calls `take` when it is readable and `look_around` now and then (at least every few
    seconds). What comes garbled is counted, told once in the log, and changes nothing else.
    """

    def __init__(self, endpoint: str, *, window_bytes: int = WINDOW_BYTES) -> None:
        """Connect. ConfigError for an endpoint that cannot be one."""
        self.endpoint = endpoint
        self.counts = LinkCounts()
        self._window = window_bytes
        self._ids = itertools.count(1)
        self._open: dict[int, _Exchange] = {}
        self._lost: list[int] = []
        self._silence = _Silence()
        self._said_garbled = False
        self._said_silent = False
        self._refused = False
        """The socket took nothing when it was last given something."""
        self._refused_since: float | None = None
        self.socket: zmq.Socket[bytes] = zmq.Context.instance().socket(zmq.DEALER)
        """To be polled for reading; nothing else."""
        for option, value in (
            (zmq.LINGER, 0),
            (zmq.RCVHWM, 0),  # credit bounds what can be on its way
            (zmq.TCP_KEEPALIVE, 1),
            (zmq.TCP_KEEPALIVE_IDLE, 30),
            (zmq.HEARTBEAT_IVL, 10_000),
            (zmq.HEARTBEAT_TIMEOUT, 30_000),
            (zmq.RECONNECT_IVL, 100),
            (zmq.RECONNECT_IVL_MAX, 500),
        ):
            self.socket.setsockopt(option, value)
        # A new connection is a new peer to the relay: what was open on the one before is lost.
        self._monitor: zmq.Socket[bytes] = self.socket.get_monitor_socket(zmq.EVENT_DISCONNECTED)
        try:
            self.socket.connect(endpoint)
        except zmq.ZMQError as error:
            self.close()
            raise ConfigError(
                f'endpoint "{endpoint}": {error.strerror}; it must look like tcp://127.0.0.1:5560 '
                "or ipc:///run/spanwire.sock",
                endpoint=endpoint,
            ) from None

    @property
    def open(self) -> list[int]:
        """The exchanges that are not over."""
        return list(self._open)

    def ask(self, kind: str, **fields: Any) -> int:
        """Begin an exchange; its id. `fields`: those of a Request, as `_core.encode_request` takes them.

        A relay that is not there gets it once it is, or `look_around` tells it to be lost.
        """
        id = next(self._ids)
        self._open[id] = _Exchange(kind, told=self._window)
        if not self._send(kind, id, credit=self._window, **fields):
            self._lose(id)
        return id

    def tell(self, id: int, kind: str, **fields: Any) -> None:
        """Say something in an exchange that is open, such as an ack; nothing where it is over."""
        if id in self._open and not self._send(kind, id, **fields):
            self._lose(id)

    def grant(self, id: int, bytes: int) -> None:
        """So many message bytes of an exchange were handed on: the relay may send as many more."""
        exchange = self._open.get(id)
        if exchange is None:
            return
        exchange.handed_on += bytes
        credit = exchange.handed_on + self._window
        if credit - exchange.told >= max(1, self._window // 4):
            exchange.told = credit
            self.tell(id, "credit", credit=credit)

    def cancel(self, id: int) -> None:
        """End an exchange: nothing more is taken of it."""
        if self._open.pop(id, None) is not None:
            self._send("cancel", id)

    def take(self) -> list[Answer]:
        """What has come, in order; without waiting. Empty does not mean that nothing is left to read."""
        answers: list[Answer] = []
        for _ in range(_AT_ONCE):
            try:
                frames = self._socket().recv_multipart(zmq.NOBLOCK)
            except zmq.Again:
                break
            self._silence.heard = True
            self._say_silent(False)
            try:
                answer = _decode(frames)
            except (FormatError, ValueError) as error:
                self._garbled(str(error))
                continue
            if answer.kind == "pong":
                continue
            if answer.id not in self._open:
                if answer.kind == "refused" and answer.id == 0:
                    self._garbled(f"the relay could not read a request: {answer.fields.get('text')}")
                self.counts.unasked += 1
                continue
            if answer.kind in _ENDS or (answer.kind == "welcome" and self._open[answer.id].kind == "hello"):
                del self._open[answer.id]
            answers.append(answer)
        return answers

    def look_around(self, now: float) -> list[int]:
        """Ping, and notice silence; the exchanges that were lost, to be asked again as new ones.

        `now`: seconds of any monotonic clock, always the same one. A relay that fell silent is connected
        to anew, by itself.
        """
        self._watch_connection()
        if not self._open:
            # Nobody is owed anything: a relay may forget this peer, and need not answer.
            self._silence = _Silence()
        else:
            if self._silence.look(now):
                self._send("ping", 0)
            if self._silence.silent(now) and not int(self._socket().getsockopt(zmq.EVENTS)) & zmq.POLLIN:
                self._connect_anew()
        if self._is_dead(now):
            self._connect_anew()
        lost, self._lost = self._lost, []
        return lost

    def close(self) -> None:
        """Close the socket; the relay ends what is open."""
        if not self.socket.closed:
            self.socket.disable_monitor()
            self._monitor.close(0)
            self.socket.close()
        self._open.clear()

    def __enter__(self) -> Self:
        """The open link."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close it."""
        self.close()

    def _send(self, kind: str, id: int, **fields: Any) -> bool:
        try:
            self._socket().send(encode_request(kind, id, **fields), zmq.NOBLOCK)
        except zmq.Again:
            self._refused = True
            return False
        self._refused = False
        return True

    def _socket(self) -> zmq.Socket[bytes]:
        if self.socket.closed:
            raise ClosedError("the link is closed", endpoint=self.endpoint)
        return self.socket

    def _lose(self, id: int) -> None:
        del self._open[id]
        self._lost.append(id)

    def _watch_connection(self) -> None:
        broken = False
        while self._monitor.poll(0):
            broken = recv_monitor_message(self._monitor)["event"] == zmq.EVENT_DISCONNECTED or broken
        for id in self.open if broken else ():
            # It may have been asked on the new connection already: then the relay need not go on with it.
            self._send("cancel", id)
            self._lose(id)

    def _is_dead(self, now: float) -> bool:
        """Whether nothing can be sent: ZeroMQ gives a connection up for good to a socket of another kind."""
        if not self._refused:
            self._refused_since = None
        elif self._refused_since is None:
            self._refused_since = now
        return self._refused_since is not None and now - self._refused_since >= SILENCE_S

    def _connect_anew(self) -> None:
        """What waits to be sent goes with the old connection."""
        self._say_silent(True)
        for id in self.open:
            self._lose(id)
        self._silence, self._refused = _Silence(), False
        socket = self._socket()
        socket.disconnect(self.endpoint)
        socket.connect(self.endpoint)

    def _say_silent(self, silent: bool) -> None:
        """When it begins and when it ends, however often is connected meanwhile."""
        if silent == self._said_silent:
            return
        self._said_silent = silent
        if silent:
            _log.warning(
                "the relay at %s does not answer (is it an output of another kind?): it is connected to anew",
                self.endpoint,
            )
        else:
            _log.info("the relay at %s answers again", self.endpoint)

    def _garbled(self, why: str) -> None:
        self.counts.garbled += 1
        if not self._said_garbled:
            self._said_garbled = True
            _log.warning("a reply of %s cannot be used (more are only counted): %s", self.endpoint, why)


def _decode(frames: list[bytes]) -> Answer:
    fields = decode_reply(frames[0])
    kind, id = fields["kind"], fields["id"]
    wanted = 5 if kind in _CARRY else 1
    if kind == "unspecified" or len(frames) != wanted:
        raise FormatError(f"a reply of kind {kind} has {len(frames)} frames")
    return Answer(id, kind, fields, frames[1:] if wanted > 1 else None)
