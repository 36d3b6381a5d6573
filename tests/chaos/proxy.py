"""The network between relays and consumers: ways that can be cut, slowed down and silenced.

A way's entrance stays the same while the relay behind it comes and goes, so consumers find it again. It
holds little (small socket buffers on both sides): a consumer that does not read is felt by its relay.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import threading
from collections.abc import Callable, Coroutine
from types import TracebackType
from typing import Any, Literal, Self, TypeVar

T = TypeVar("T")
Direction = Literal["there", "back"]
"""From the consumer to the relay, and from the relay to the consumer."""

_BUFFER = 16 * 1024


class Network:
    """All ways of a run, on one thread. A context manager."""

    def __init__(self) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="network", daemon=True)
        self._ways: list[Way] = []

    def way(self) -> Way:
        """A new way, which leads nowhere yet."""
        way = Way(self)
        self.run(way.open())
        self._ways.append(way)
        return way

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        """Do it on the network's thread."""
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(60)

    def call(self, work: Callable[[], None]) -> None:
        """Have it done there, soon."""
        self._loop.call_soon_threadsafe(work)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.run(self._end())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    async def _end(self) -> None:
        for way in self._ways:
            way.close()
        rest = [task for task in asyncio.all_tasks() if task is not asyncio.current_task()]
        for task in rest:
            task.cancel()
        await asyncio.gather(*rest, return_exceptions=True)


class Way:
    """One entrance, and all connections through it."""

    def __init__(self, network: Network) -> None:
        self._network = network
        self._server: asyncio.Server | None = None
        self._target: tuple[str, int] | None = None
        self._delay_s = 0.0
        self._open: dict[Direction, asyncio.Event] = {}
        self._connections: set[asyncio.StreamWriter] = set()
        self.endpoint = ""

    async def open(self) -> None:
        """Listen."""
        self._open = {"there": asyncio.Event(), "back": asyncio.Event()}
        for one in self._open.values():
            one.set()
        listening = socket.create_server(("127.0.0.1", 0))
        _small(listening)
        self._server = await asyncio.start_server(self._accept, sock=listening, limit=_BUFFER)
        self.endpoint = f"tcp://127.0.0.1:{listening.getsockname()[1]}"

    def lead_to(self, endpoint: str | None) -> None:
        """To this endpoint from now on; None: nowhere. What is connected is cut."""
        target = None
        if endpoint is not None:
            host, _, port = endpoint.removeprefix("tcp://").rpartition(":")
            target = (host, int(port))

        def change() -> None:
            self._target = target
            self._cut()

        self._network.call(change)

    def cut(self) -> None:
        """Break what is connected; it may be made anew."""
        self._network.call(self._cut)

    def silence(self, *directions: Direction) -> None:
        """Let nothing through in these directions any more; connections stay open."""

        def change() -> None:
            for one in directions:
                self._open[one].clear()

        self._network.call(change)

    def slow(self, delay_s: float) -> None:
        """So long for each piece of data."""

        def change() -> None:
            self._delay_s = delay_s

        self._network.call(change)

    def heal(self) -> None:
        """Everything gets through, at once."""

        def change() -> None:
            self._delay_s = 0.0
            for one in self._open.values():
                one.set()

        self._network.call(change)

    def close(self) -> None:
        """On the network's thread."""
        if self._server is not None:
            self._server.close()
        self._cut()

    def _cut(self) -> None:
        for one in list(self._connections):
            one.transport.abort()

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        target = self._target
        beyond: asyncio.StreamWriter | None = None
        try:
            if target is None:
                return
            self._connections.add(writer)
            raw = socket.socket()
            raw.setblocking(False)
            _small(raw)
            try:
                await asyncio.get_running_loop().sock_connect(raw, target)
                answers, beyond = await asyncio.open_connection(sock=raw, limit=_BUFFER)
            except OSError:
                raw.close()
                return
            if target != self._target:
                return
            self._connections.add(beyond)
            pumps = [
                asyncio.ensure_future(self._pump("there", reader, beyond)),
                asyncio.ensure_future(self._pump("back", answers, writer)),
            ]
            try:
                await asyncio.wait(pumps, return_when=asyncio.FIRST_COMPLETED)
            finally:
                for pump in pumps:
                    pump.cancel()
                await asyncio.gather(*pumps, return_exceptions=True)
        finally:
            for one in (writer, beyond):
                if one is not None:
                    self._connections.discard(one)
                    one.transport.abort()

    async def _pump(
        self, direction: Direction, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        writer.transport.set_write_buffer_limits(high=_BUFFER)
        with contextlib.suppress(OSError):
            while data := await reader.read(_BUFFER):
                if self._delay_s:
                    await asyncio.sleep(self._delay_s)
                await self._open[direction].wait()
                writer.write(data)
                await writer.drain()


def _small(one: socket.socket) -> None:
    one.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _BUFFER)
    one.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _BUFFER)
