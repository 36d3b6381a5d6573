"""A socket that hands over changes: iteration and receiving, sync and asyncio, written once."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Sequence
from types import TracebackType
from typing import Self, TypeVar

import zmq

from spanwire._core import Change
from spanwire.consumer.waiting import readable
from spanwire.errors import ConfigError

T = TypeVar("T")
_DAY_S = 86_400.0


class Receiver:
    """Base of `Subscriber` and `Worker`. One thread or task at a time receives."""

    def __init__(self) -> None:
        self._ready: deque[Change] = deque()

    def receive(self, timeout: float | None = None) -> list[Change]:
        """Changes that have come, in order; [] when none came within `timeout` seconds (None: for ever)."""
        return self._wait_for(self._take_ready, timeout) or []

    async def areceive(self, timeout: float | None = None) -> list[Change]:
        """As `receive`, for asyncio."""
        deadline = None if timeout is None else time.monotonic() + timeout
        while (changes := self._take_ready()) is None:
            left = left_until(deadline)
            if await readable(self._sockets(), min(left, self._patience())):
                self._take_messages()
            elif left <= 0:
                return []
            self._look_around()
        return changes

    def _wait_for(self, look: Callable[[], T | None], timeout: float | None) -> T | None:
        """What `look` finds, now or once more has come; None when `timeout` seconds have passed."""
        deadline = None if timeout is None else time.monotonic() + timeout
        while (found := look()) is None:
            left = left_until(deadline)
            if poll(self._sockets(), min(left, self._patience())):
                self._take_messages()
            elif left <= 0:
                return None
            self._look_around()
        return found

    def close(self) -> None:
        """Close the sockets. What has not been handed over is dropped."""
        self._ready.clear()

    def __iter__(self) -> Self:
        """Change by change, for ever."""
        return self

    def __next__(self) -> Change:
        """The next change; waits for it."""
        while not self._ready:
            self._ready.extend(self.receive())
        return self._ready.popleft()

    def __aiter__(self) -> Self:
        """Change by change, for ever."""
        return self

    async def __anext__(self) -> Change:
        """The next change; waits for it."""
        while not self._ready:
            self._ready.extend(await self.areceive())
        return self._ready.popleft()

    def __enter__(self) -> Self:
        """The open socket."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close it."""
        self.close()

    def _sockets(self) -> list[zmq.Socket[bytes]]:
        """Those to wait for. ClosedError once it is closed."""
        raise NotImplementedError

    def _take_messages(self) -> None:
        """Take what lies in the sockets, without waiting; not without bound."""
        raise NotImplementedError

    def _take_ready(self) -> list[Change] | None:
        """What is to be handed over next; None where there is nothing."""
        if self._ready:  # left over from an iteration
            changes = list(self._ready)
            self._ready.clear()
            return changes
        return self._next()

    def _patience(self) -> float:
        """Seconds of silence after which to look around."""
        return _DAY_S

    def _look_around(self) -> None:
        """Notice what silence tells."""

    def _next(self) -> list[Change] | None:
        raise NotImplementedError


def connected(kind: int, endpoints: Sequence[str], high_water_mark: int) -> zmq.Socket[bytes]:
    """A receiving socket. ConfigError for an endpoint that cannot be one."""
    socket = receiving(kind, high_water_mark)
    connect(socket, endpoints)
    return socket


def receiving(kind: int, high_water_mark: int) -> zmq.Socket[bytes]:
    """A receiving socket that is not connected yet."""
    socket: zmq.Socket[bytes] = zmq.Context.instance().socket(kind)
    socket.setsockopt(zmq.LINGER, 0)
    socket.setsockopt(zmq.RCVHWM, high_water_mark)
    # A link that died without a word is noticed, and connected anew.
    socket.setsockopt(zmq.TCP_KEEPALIVE, 1)
    socket.setsockopt(zmq.TCP_KEEPALIVE_IDLE, 30)
    socket.setsockopt(zmq.HEARTBEAT_IVL, 10_000)
    socket.setsockopt(zmq.HEARTBEAT_TIMEOUT, 30_000)
    socket.setsockopt(zmq.RECONNECT_IVL, 100)
    socket.setsockopt(zmq.RECONNECT_IVL_MAX, 500)
    return socket


def connect(socket: zmq.Socket[bytes], endpoints: Sequence[str]) -> None:
    """Connect. ConfigError for an endpoint that cannot be one, and the socket is closed."""
    for endpoint in endpoints:
        try:
            socket.connect(endpoint)
        except zmq.ZMQError as error:
            socket.close()
            raise ConfigError(
                f'endpoint "{endpoint}": {error.strerror}; it must look like tcp://127.0.0.1:5560 '
                "or ipc:///run/spanwire.sock",
                endpoint=endpoint,
            ) from None


def listed(endpoints: str | Sequence[str]) -> list[str]:
    """One endpoint or several, as a list. ConfigError where there is none."""
    found = [endpoints] if isinstance(endpoints, str) else list(endpoints)
    if not found:
        raise ConfigError("endpoints: needs at least one, such as tcp://127.0.0.1:5560")
    return found


def poll(sockets: Sequence[zmq.Socket[bytes]], timeout: float) -> bool:
    """Whether one has something to read, now or within `timeout` seconds."""
    if len(sockets) == 1:
        return bool(sockets[0].poll(round(timeout * 1000)))
    poller = zmq.Poller()
    for socket in sockets:
        poller.register(socket, zmq.POLLIN)
    return bool(poller.poll(round(timeout * 1000)))


def left_until(deadline: float | None) -> float:
    """Seconds until then; a day where there is no end, as every wait is taken up again."""
    return _DAY_S if deadline is None else max(0.0, deadline - time.monotonic())
