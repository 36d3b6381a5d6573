"""The gRPC server: google.spanner.v1, and what of the admin services a reader of streams needs.

Written as generic handlers: the query's messages are encoded already and go out as they are.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from concurrent import futures
from typing import Any, Protocol, TypeAlias

import grpc
from google.cloud.spanner_v1.types import (
    BatchCreateSessionsRequest,
    BatchCreateSessionsResponse,
    BeginTransactionRequest,
    CreateSessionRequest,
    DeleteSessionRequest,
    ExecuteSqlRequest,
    GetSessionRequest,
    ListSessionsRequest,
    ListSessionsResponse,
    Partition,
    PartitionQueryRequest,
    PartitionResponse,
    ResultSet,
    Session,
    Transaction,
)
from google.protobuf import empty_pb2, struct_pb2

from spanwire.errors import SocketError
from spanwire.simulator import protobuf
from spanwire.simulator.admin import admin_methods
from spanwire.simulator.catalogue import Answer, Catalogue, unsupported
from spanwire.simulator.config import SimulatorConfig
from spanwire.simulator.queries import ChangeQuery, change_query, tokens
from spanwire.simulator.schema import Table
from spanwire.simulator.sessions import Sessions
from spanwire.simulator.status import Refused, SessionLost, invalid
from spanwire.simulator.table_reading import TableReader

_MAX_STREAMS = 10_000
Handler: TypeAlias = "grpc.RpcMethodHandler[Any, Any]"


class Reads(Protocol):
    """What answers change-stream queries."""

    def read(self, query: ChangeQuery, resume: bytes, active: Callable[[], bool]) -> Iterator[bytes]:
        """The query's messages."""

    @property
    def watched(self) -> list[Table]:
        """The tables that there are now."""

    @property
    def tables(self) -> TableReader:
        """What answers queries of tables."""

    def wake(self) -> None:
        """Let whoever sleeps look whether its client is still there."""


class Server:
    """A gRPC server on a port of its own. SocketError where the port is taken."""

    def __init__(self, config: SimulatorConfig, reads: Reads) -> None:
        self._config = config
        self._reads = reads
        self._catalogue = Catalogue(config)
        self._sessions = Sessions(config.database_path)
        # A thread serves each stream; they are made when needed.
        self._pool = futures.ThreadPoolExecutor(_MAX_STREAMS, thread_name_prefix="simulator")
        self._server = grpc.server(
            self._pool,
            handlers=[_Handlers(self._methods())],
            options=[
                ("grpc.max_concurrent_streams", config.streams_per_connection),
                ("grpc.max_send_message_length", -1),
                ("grpc.max_receive_message_length", -1),
                ("grpc.so_reuseport", 0),
            ],
        )
        try:
            self._port = self._server.add_insecure_port(f"{config.host}:{config.port}")
        except RuntimeError as error:
            raise SocketError(
                f"{config.host}:{config.port}: the port is in use; choose another, or 0 for any",
                endpoint=f"{config.host}:{config.port}",
            ) from error

    @property
    def address(self) -> str:
        """host:port, as SPANNER_EMULATOR_HOST wants it."""
        return f"{self._config.host}:{self._port}"

    def start(self) -> None:
        """Serve."""
        self._server.start()

    def stop(self) -> None:
        """End all streams and close the port; returns when all is quiet."""
        stopped = self._server.stop(0)
        self._reads.wake()
        stopped.wait(10)
        self._pool.shutdown(wait=True, cancel_futures=True)

    # -------------------------------------------------------------- methods

    def _methods(self) -> dict[str, Handler]:
        spanner = "/google.spanner.v1.Spanner/"
        sql = ExecuteSqlRequest.pb(ExecuteSqlRequest()).FromString
        methods = {
            f"{spanner}ExecuteStreamingSql": grpc.unary_stream_rpc_method_handler(
                self._execute_streaming, request_deserializer=sql
            ),
            f"{spanner}ExecuteSql": _unary(self._execute, sql),
            f"{spanner}BeginTransaction": _unary(
                self._begin, BeginTransactionRequest.pb(BeginTransactionRequest()).FromString
            ),
            f"{spanner}PartitionQuery": _unary(
                self._partition, PartitionQueryRequest.pb(PartitionQueryRequest()).FromString
            ),
            f"{spanner}CreateSession": _unary(self._create, CreateSessionRequest.deserialize),
            f"{spanner}BatchCreateSessions": _unary(self._batch, BatchCreateSessionsRequest.deserialize),
            f"{spanner}GetSession": _unary(self._get, GetSessionRequest.deserialize),
            f"{spanner}ListSessions": _unary(self._list, ListSessionsRequest.deserialize),
            f"{spanner}DeleteSession": _unary(self._delete, DeleteSessionRequest.deserialize),
        }
        for name, (call, read) in admin_methods(self._config).items():
            methods[name] = _unary(call, read)
        return methods

    def _create(self, request: CreateSessionRequest) -> bytes:
        return _bytes(Session, self._sessions.create(request.database, request.session))

    def _batch(self, request: BatchCreateSessionsRequest) -> bytes:
        made = [
            self._sessions.create(request.database, request.session_template)
            for _ in range(request.session_count)
        ]
        return _bytes(BatchCreateSessionsResponse, BatchCreateSessionsResponse(session=made))

    def _get(self, request: GetSessionRequest) -> bytes:
        return _bytes(Session, self._sessions.get(request.name))

    def _list(self, request: ListSessionsRequest) -> bytes:
        self._sessions.check_database(request.database)
        return _bytes(ListSessionsResponse, ListSessionsResponse(sessions=self._sessions.all()))

    def _delete(self, request: DeleteSessionRequest) -> bytes:
        self._sessions.delete(request.name)
        return bytes(empty_pb2.Empty().SerializeToString())

    def _begin(self, request: Any) -> bytes:
        self._sessions.get(request.session)
        name, at = self._reads.tables.begin(request.options)
        seconds, nanos = divmod(at, 1_000_000_000)
        return _bytes(Transaction, Transaction(id=name, read_timestamp={"seconds": seconds, "nanos": nanos}))

    def _partition(self, request: Any) -> bytes:
        self._sessions.get(request.session)
        at = self._reads.tables.timestamp(request.transaction)
        if at is None:
            raise invalid("Partitioned queries need a read-only transaction.")
        found = self._reads.tables.partition(tokens(request.sql), at)
        answer = PartitionResponse(partitions=[Partition(partition_token=token) for token in found])
        return _bytes(PartitionResponse, answer)

    def _execute(self, request: Any) -> bytes:
        """ExecuteSql: look-ups only; a stream cannot be read in one piece."""
        query = self._parsed(request)
        if query is None:
            raise unsupported()
        if isinstance(query, ChangeQuery):
            raise Refused(
                grpc.StatusCode.INVALID_ARGUMENT,
                "Change stream queries must be executed with ExecuteStreamingSql.",
            )
        rows = b"".join(_field(2, protobuf.list_value(map(protobuf.encode, row))[1:]) for row in query.rows)
        # ResultSet: metadata 1, rows 2 (ListValue: what stands in a list Value after its tag).
        encoded = _field(1, protobuf.varint(len(query.metadata)) + query.metadata) + rows
        return bytes(ResultSet.serialize(ResultSet.deserialize(encoded)))

    def _execute_streaming(self, request: Any, context: grpc.ServicerContext) -> Iterator[bytes]:
        try:
            query = self._parsed(request)
            if isinstance(query, ChangeQuery):
                context.add_callback(self._reads.wake)
                yield from self._reads.read(query, request.resume_token, context.is_active)
                return
            if query is None:
                reads = self._reads.tables
                at = reads.timestamp(request.transaction)
                if at is None:
                    _, at = reads.begin(request.transaction.single_use)
                part, resume = request.partition_token, request.resume_token
                yield from reads.read(tokens(request.sql), at, part, resume, context.is_active)
                return
            rows = [protobuf.framed(protobuf.encode(value)) for row in query.rows for value in row]
            yield protobuf.message(rows, metadata=query.metadata)
        except SessionLost:
            self._sessions.delete(request.session)
            context.abort(grpc.StatusCode.NOT_FOUND, f"Session not found: {request.session}")
        except Refused as refused:
            context.abort(refused.code, refused.message)
        except Exception:
            logging.getLogger(__name__).exception("the simulator failed")
            raise

    def _parsed(self, request: Any) -> ChangeQuery | Answer | None:
        """What is asked; None: rows of a table."""
        self._sessions.get(request.session)
        words = tokens(request.sql)
        parameters: dict[str, struct_pb2.Value] = dict(request.params.fields)
        query = change_query(words, parameters, self._config.dialect)
        if query is not None:
            return query
        names = [text.lower() for kind, text in words if kind in ("name", "quoted")]
        if names[:1] == ["select"] and "from" in names and "information_schema" not in names:
            return None
        at = self._reads.tables.timestamp(request.transaction)
        if at is None:
            return self._catalogue.answer(words, parameters, self._reads.watched)
        state = self._reads.tables.state(at)
        return self._catalogue.answer(words, parameters, [table for table, _ in state.values()])


class _Handlers(grpc.GenericRpcHandler):  # type: ignore[type-arg]
    """Every method by its full name; what is not there is UNIMPLEMENTED in words."""

    def __init__(self, methods: dict[str, Handler]) -> None:
        self._methods = methods

    def service(self, handler_call_details: grpc.HandlerCallDetails) -> Handler | None:
        """The method's handler."""
        found: Handler = self._methods.get(handler_call_details.method, _UNKNOWN)
        return found


def _refuse(_request: bytes, context: grpc.ServicerContext) -> bytes:
    context.abort(
        grpc.StatusCode.UNIMPLEMENTED,
        "this is a simulator: it serves change-stream reads and takes no writes; commit through its own API",
    )
    raise AssertionError("abort raises")


_UNKNOWN = grpc.unary_unary_rpc_method_handler(_refuse)


def _unary(call: Callable[[Any], bytes], read: Callable[[bytes], Any]) -> Handler:
    def answer(request: Any, context: grpc.ServicerContext) -> bytes:
        try:
            return call(request)
        except Refused as refused:
            context.abort(refused.code, refused.message)
            raise

    return grpc.unary_unary_rpc_method_handler(answer, request_deserializer=read)


def _bytes(kind: Any, message: Any) -> bytes:
    return bytes(kind.serialize(message))


def _field(number: int, content: bytes) -> bytes:
    """A length-delimited field; `content` starts with its length."""
    return protobuf.varint(number << 3 | 2) + content
