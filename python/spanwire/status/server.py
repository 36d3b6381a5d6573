"""A small HTTP server: /healthz for whoever keeps the relay alive, /metrics for Prometheus."""

from __future__ import annotations

import json
import threading
from contextlib import AbstractContextManager, nullcontext
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Self

from prometheus_client import CollectorRegistry
from prometheus_client.exposition import CONTENT_TYPE_LATEST, generate_latest

from spanwire.config.endpoints import split_listen
from spanwire.errors import SocketError
from spanwire.relay import Relay
from spanwire.status.metrics import RelayCollector


def serve(relay: Relay, listen: str) -> AbstractContextManager[object]:
    """The status server at `listen` (host:port) as a context manager; nothing where `listen` is empty."""
    return StatusServer(relay, listen) if listen else nullcontext()


def cannot_listen(listen: str, error: OSError) -> SocketError:
    """The error for an address that cannot be had."""
    why = str(error.strerror or error).split(" (while")[0]  # the address is named already
    return SocketError(
        f"status.listen: cannot listen on {listen}: {why}; use another port or address",
        endpoint=listen,
        errno=error.errno,
    )


class StatusServer:
    """Answers from construction on until `close`. SocketError where the address cannot be had.

    /healthz: 200 {"status": "ok"}, or 503 with the problems, one line each.
    """

    def __init__(self, relay: Relay, listen: str) -> None:
        registry = CollectorRegistry()
        registry.register(RelayCollector(relay))
        handler = type("Handler", (_Handler,), {"relay": relay, "registry": registry})
        try:
            self._server = ThreadingHTTPServer(split_listen(listen), handler)
        except OSError as error:
            raise cannot_listen(listen, error) from None
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, name="status", daemon=True)
        self._thread.start()

    @property
    def address(self) -> str:
        """host:port, with the port that was bound."""
        host, port = self._server.server_address[:2]
        return f"{host!s}:{port}"

    def close(self) -> None:
        """Stop answering."""
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()

    def __enter__(self) -> Self:
        """The server itself."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close it."""
        self.close()


class _Handler(BaseHTTPRequestHandler):
    relay: Relay
    registry: CollectorRegistry
    timeout = 10

    def do_GET(self) -> None:
        path = self.path.partition("?")[0]
        if path == "/healthz":
            problems = self.relay.problems()
            body = {"status": "failing", "problems": problems} if problems else {"status": "ok"}
            self._answer(503 if problems else 200, "application/json", json.dumps(body).encode() + b"\n")
        elif path == "/metrics":
            self._answer(200, CONTENT_TYPE_LATEST, generate_latest(self.registry))
        else:
            self._answer(404, "text/plain", b"there are /healthz and /metrics\n")

    def _answer(self, code: int, kind: str, body: bytes) -> None:
        self.send_response(code)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        """Scrapes are not worth a log line."""
