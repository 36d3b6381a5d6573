"""One query's stream of raw `PartialResultSet` bytes.

Nothing is decoded here: the bytes go to the core as gRPC delivered them. There is no deadline
unless one is given: a query lives as long as its partition, and ends by its end, a fault, or `cancel`.

A message costs gRPC's Python layer tens of microseconds and handing it on a few, so each is handed
on as it comes: collecting some first would add delay and save next to nothing.
"""

from __future__ import annotations

from collections.abc import Iterator
from types import TracebackType
from typing import Any, Self

from google.cloud.spanner_v1 import ExecuteSqlRequest

from spanwire.source.connect import Connection

METHOD = "/google.spanner.v1.Spanner/ExecuteStreamingSql"


class RawStream:
    """The answer to one request; iterate over it once. A context manager that cancels what is left.

    `session`: the one of the request's transaction; of one that is for single use, the one that all share.

    `cancel` may be called from another thread; iteration then raises `grpc.RpcError`, code CANCELLED.
    """

    def __init__(
        self,
        connection: Connection,
        request: ExecuteSqlRequest,
        attempt: int = 1,
        *,
        timeout_s: float | None = None,
        session: str = "",
    ) -> None:
        request.session = self.session = session or connection.session.name()
        self._pool = connection.pool
        self._lease = self._pool.acquire()
        try:
            # Asked of the bare channel: interceptors cost as much per message as the message.
            method = self._lease.channel.unary_stream(
                METHOD, request_serializer=ExecuteSqlRequest.serialize, response_deserializer=None
            )
            metadata = tuple(connection.metadata(self.session, self._lease.number, attempt))
            self._call: Any = method(request, metadata=metadata, timeout=timeout_s)
        except BaseException:
            self._pool.release(self._lease)
            raise

    def __iter__(self) -> Iterator[bytes]:
        """The messages, each as bytes. StopIteration is a clean end of stream; faults are `grpc.RpcError`."""
        messages: Iterator[bytes] = iter(self._call)
        return messages

    def cancel(self) -> None:
        """End it now, from any thread."""
        self._call.cancel()

    def __enter__(self) -> Self:
        """The stream itself."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Cancel what is left, and give its room on the channel back."""
        self._call.cancel()
        self._pool.release(self._lease)
