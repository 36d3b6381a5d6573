"""What relay tests share: settings for an emulator's database, a listener on a socket, a network to break."""

from __future__ import annotations

import contextlib
import socket
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Self

import zmq
from integration.emulator import INSTANCE, PROJECT, EmulatorDatabase

from spanwire._core import Change, Message
from spanwire.config import Config, parse

TABLE = {
    "googlesql": "CREATE TABLE items (k INT64, v STRING(MAX)) PRIMARY KEY (k)",
    "postgresql": "CREATE TABLE items (k bigint PRIMARY KEY, v text)",
}
STREAM = "CREATE CHANGE STREAM everything FOR ALL"


def settings(database: EmulatorDatabase, folder: Path, host: str = "", **source: Any) -> Config:
    """A relay of the stream `everything`, with its progress in `folder` and one PUB on a free port."""
    return parse(
        {
            "source": {
                "project": PROJECT,
                "instance": INSTANCE,
                "database": database.name,
                "stream": "everything",
                "emulator_host": host or database.host,
                "heartbeat_ms": 100,
                "connect_timeout_s": 30,
                **source,
            },
            "store": {"path": str(folder / "progress.db"), "interval_ms": 50},
            "output": [{"kind": "pub", "bind": "tcp://127.0.0.1:*"}],
        }
    )


def pushed(config: Config, folder: Path) -> Config:
    """The same relay with a PUSH, which waits for its peer: a PUB forgets who comes late."""
    output = config.output[0].model_copy(update={"kind": "push", "bind": [f"ipc://{folder}/sock"]})
    return config.model_copy(update={"output": [output]})


class Listener:
    """Hears all changes of one endpoint, from construction on; of a PUSH with `pull`."""

    def __init__(self, endpoint: str, *, pull: bool = False) -> None:
        self.changes: list[Change] = []
        self._socket = zmq.Context.instance().socket(zmq.PULL if pull else zmq.SUB)
        self._socket.linger = 0
        self._socket.rcvhwm = 0
        if not pull:
            self._socket.subscribe(b"")
        self._socket.connect(endpoint)
        self._heard = threading.Event()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._listen, daemon=True)
        self._thread.start()
        # Ticks come at least once a second: with the first, nothing more is missed. PUSH waits by itself.
        assert pull or self._heard.wait(60), f"nothing is heard from {endpoint}"

    def _listen(self) -> None:
        while not self._stop.is_set():
            if self._socket.poll(50):
                message = Message.decode(self._socket.recv_multipart())
                if message.kind == "changes":
                    self.changes.extend(message.changes())
                self._heard.set()

    def rows(self) -> list[int]:
        """The primary keys heard, in order."""
        return [change.keys["k"] for change in self.changes]

    def wait_for(self, number: int, timeout: float = 100) -> None:
        """Wait until so many changes were heard."""
        eventually(lambda: len(self.changes) >= number, timeout)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()
        self._socket.close()


def eventually(holds: Callable[[], bool], timeout: float = 100) -> None:
    """Wait until something holds; it must within the time."""
    deadline = time.monotonic() + timeout
    while not holds():
        assert time.monotonic() < deadline, "it did not come to hold in time"
        time.sleep(0.02)


class Network:
    """A TCP way to a server that a test can cut or silence. `host` is its entrance."""

    def __init__(self, server: str) -> None:
        address, _, port = server.rpartition(":")
        self._server = (address, int(port))
        self._listening = socket.create_server(("127.0.0.1", 0))
        self._sockets: list[socket.socket] = []
        self._lock = threading.Lock()
        self._flowing = threading.Event()
        self._flowing.set()
        self.host = f"127.0.0.1:{self._listening.getsockname()[1]}"
        self.connections = 0
        threading.Thread(target=self._accept, daemon=True).start()

    def cut(self) -> None:
        """Break all connections; new ones can be made."""
        with self._lock:
            sockets, self._sockets = self._sockets, []
        for one in sockets:
            with contextlib.suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)

    def silence(self) -> None:
        """Let nothing through any more, on connections that stay open."""
        self._flowing.clear()

    def flow(self) -> None:
        """Let everything through again."""
        self._flowing.set()

    def close(self) -> None:
        """End it."""
        # Closed alone, it would take one more connection: a thread waits in `accept`.
        with contextlib.suppress(OSError):
            self._listening.shutdown(socket.SHUT_RDWR)
        self._listening.close()
        self.flow()
        self.cut()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listening.accept()
                server = socket.create_connection(self._server)
            except OSError:
                return
            self.connections += 1
            with self._lock:
                self._sockets += [client, server]
            for source, target in ((client, server), (server, client)):
                threading.Thread(target=self._carry, args=(source, target), daemon=True).start()

    def _carry(self, source: socket.socket, target: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while data := source.recv(1 << 16):
                self._flowing.wait()
                target.sendall(data)
        for one in (source, target):
            with contextlib.suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)


@contextlib.contextmanager
def writing(database: EmulatorDatabase, first: int, pause: float = 0.05) -> Iterator[list[int]]:
    """Insert a row now and then, from key `first` on, while the block runs; the keys committed."""
    committed: list[int] = []
    stop = threading.Event()

    def write() -> None:
        key = first
        while not stop.is_set():
            database.insert("items", ["k", "v"], [(key, f"value {key}")])
            committed.append(key)
            key += 1
            stop.wait(pause)

    thread = threading.Thread(target=write, daemon=True)
    thread.start()
    try:
        yield committed
    finally:
        stop.set()
        thread.join()
