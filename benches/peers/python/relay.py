"""The relay end to end in plain Python: google-cloud-spanner reads, pycapnp encodes, pyzmq sends.

What one would write without this project, and tuned as one would: a thread a partition, all reading through
the client's snapshots; messages of 64 KiB, and what is open goes out after 10 ms. It does as much of the work
as a plain program does: children begin once their parents have ended, records that were handed over before
are left out. It stores no progress, tells no ticks but empty ones, and repairs nothing.

    python relay.py --address 127.0.0.1:9010 --database projects/…/instances/…/databases/… --stream changes

Says {"endpoints": ["tcp://127.0.0.1:…"]} once it is bound and goes on until SIGTERM. GoogleSQL only.
"""

from __future__ import annotations

import argparse
import json
import logging
import os
import signal
import sys
import threading
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

import zmq
from google.auth.credentials import AnonymousCredentials
from google.cloud import spanner
from google.cloud.spanner_v1 import param_types
from plain_python import PlainRelay
from rows import PlainChild

LINGER_S = 0.01
"""What is open longer goes out. The client does not say when nothing more has come."""
TICK_S = 0.1
_HEARTBEAT_MS = 1000
_PARAMETERS = {
    "start": param_types.TIMESTAMP,
    "end": param_types.TIMESTAMP,
    "token": param_types.STRING,
    "heartbeat": param_types.INT64,
}


class Relay:
    """All partitions of a stream, each on a thread of its own, to one PUB socket."""

    def __init__(self, database: Any, stream: str, socket: Socket, decode: Any, values: Any) -> None:
        self._database = database
        self._socket = socket
        self._sql = (
            f"SELECT ChangeRecord FROM READ_{stream}(start_timestamp => @start, end_timestamp => @end, "
            "partition_token => @token, heartbeat_milliseconds => @heartbeat)"
        )
        self._name = f"{database.database_id}/{stream}"
        self._decode, self._values = decode, values
        self._lock = threading.Lock()
        self._begun: set[str] = set()
        self._ended: set[str] = set()
        self._waiting: list[PlainChild] = []
        self._partitions: dict[str, tuple[PlainRelay, threading.Lock]] = {}

    def start(self) -> None:
        """Read from now on."""
        threading.Thread(target=self._read, args=(None, datetime.now(UTC)), daemon=True).start()

    def flush(self) -> None:
        """Send what is open."""
        for relay, lock in list(self._partitions.values()):
            with lock:
                relay.flush()

    def tick(self) -> None:
        """Say that it is there."""
        self._socket.send_multipart([f"{self._name}/_tick/".encode(), b"", b"", b""])

    def _read(self, token: str | None, start: Any) -> None:
        try:
            self._follow(token, start)
        except Exception:
            logging.exception("a partition cannot be read")
            os._exit(1)  # nobody else would say so

    def _follow(self, token: str | None, start: Any) -> None:
        relay = PlainRelay(
            self._socket,
            decode=self._decode,
            values=self._values,
            topic=f"{self._name}/{{table}}/",
            partition=token or "",
        )
        lock = threading.Lock()
        if token is not None:
            self._partitions[token] = relay, lock
        values = {"start": start, "end": None, "token": token, "heartbeat": _HEARTBEAT_MS}
        with self._database.snapshot() as snapshot:
            rows = snapshot.execute_sql(
                self._sql, params=values, param_types=_PARAMETERS, lazy_decode=self._decode == "lazy"
            )
            for row in rows:
                with lock:
                    relay.push_row(row)
                if children := relay.children(row):
                    self._meet(children)
        with lock:
            relay.flush()
        self._end(token)

    def _meet(self, children: list[PlainChild]) -> None:
        with self._lock:
            self._waiting += children

    def _end(self, token: str | None) -> None:
        """Begin whose parents have all ended by now."""
        with self._lock:
            if token is not None:
                self._ended.add(token)
                self._partitions.pop(token, None)
            ready = [child for child in self._waiting if self._ended.issuperset(child.parents)]
            self._waiting = [child for child in self._waiting if child not in ready]
            ready = [child for child in ready if child.token not in self._begun]
            self._begun.update(child.token for child in ready)
        for child in {child.token: child for child in ready}.values():
            threading.Thread(target=self._read, args=(child.token, child.start), daemon=True).start()


class Socket:
    """A PUB socket that many threads send on. It drops nothing, however slow the subscriber."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._socket = zmq.Context.instance().socket(zmq.PUB)
        self._socket.set(zmq.SNDHWM, 0)
        self._socket.set(zmq.LINGER, 0)
        port = self._socket.bind_to_random_port("tcp://127.0.0.1")
        self.endpoint = f"tcp://127.0.0.1:{port}"

    def send_multipart(self, frames: Sequence[bytes], *, copy: bool = True) -> None:
        """Send a message."""
        with self._lock:
            self._socket.send_multipart(frames, copy=copy)


def main() -> None:
    """Run until stopped."""
    options = _options()
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    socket = Socket()
    relay = Relay(_database(options), options.stream, socket, options.decode, options.values)
    relay.start()
    print(json.dumps({"endpoints": [socket.endpoint]}), flush=True)
    turns = 0
    while not stop.wait(LINGER_S):
        relay.flush()
        turns += 1
        if turns % round(TICK_S / LINGER_S) == 0:
            relay.tick()
    sys.stdout.flush()
    os._exit(0)  # threads wait in gRPC


def _database(options: argparse.Namespace) -> Any:
    _, project, _, instance, _, database = options.database.split("/")
    os.environ["SPANNER_EMULATOR_HOST"] = options.address
    client = spanner.Client(project=project, credentials=AnonymousCredentials(), disable_builtin_metrics=True)
    return client.instance(instance).database(database)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="A relay in plain Python.")
    parser.add_argument("--address", required=True, help="host:port of the emulator or simulator")
    parser.add_argument("--database", required=True, help="projects/…/instances/…/databases/…")
    parser.add_argument("--stream", default="changes")
    parser.add_argument("--values", choices=["json", "typed"], default="json")
    parser.add_argument(
        "--decode",
        choices=["values", "lazy"],
        default="values",
        help="rows as the client hands them to everyone, or undecoded, walked by hand",
    )
    return parser.parse_args()


if __name__ == "__main__":
    main()
