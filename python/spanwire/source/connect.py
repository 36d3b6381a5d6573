"""From a configured source to an open way to its change stream, or to one line that says why not."""

from __future__ import annotations

import difflib
import functools
import itertools
from collections.abc import Sequence
from types import TracebackType
from typing import Any, Self

import google.auth.credentials
import grpc
from google.api_core import exceptions as api_errors
from google.api_core.gapic_v1 import routing_header
from google.api_core.retry import Retry, if_exception_type
from google.auth.credentials import AnonymousCredentials
from google.cloud.spanner_v1 import (
    Client,
    CreateSessionRequest,
    ExecuteSqlRequest,
    Session,
    SpannerClient,
    TransactionOptions,
    TransactionSelector,
)
from google.cloud.spanner_v1._helpers import _metadata_with_prefix
from google.cloud.spanner_v1.request_id_header import with_request_id
from google.cloud.spanner_v1.services.spanner.transports import SpannerGrpcTransport

from spanwire._core import Timestamp
from spanwire.config import SourceConfig
from spanwire.errors import ConnectError, SpanwireError
from spanwire.source.channels import OPTIONS, ChannelPool, MakeChannel, Options
from spanwire.source.query import Dialect, Mode, StreamQuery, request_options
from spanwire.source.retry import Doing, judge
from spanwire.source.session import SharedSession

Metadata = list[tuple[str, str]]

_DATA_SCOPE = "https://www.googleapis.com/auth/spanner.data"
_DIALECTS: dict[str, Dialect] = {"GOOGLE_STANDARD_SQL": "googlesql", "POSTGRESQL": "postgresql"}
_MODES: dict[str, Mode] = {"IMMUTABLE_KEY_RANGE": "immutable", "MUTABLE_KEY_RANGE": "mutable"}
_STRONG_WITH_TIMESTAMP = TransactionSelector(
    single_use=TransactionOptions(
        read_only=TransactionOptions.ReadOnly(strong=True, return_read_timestamp=True)
    )
)
_DIALECT_SQL = (
    "SELECT option_value FROM information_schema.database_options WHERE option_name = 'database_dialect'"
)
_STREAMS_SQL = "SELECT change_stream_name FROM information_schema.change_streams"
_OPTIONS_SQL = (
    "SELECT change_stream_name, option_name, option_value FROM information_schema.change_stream_options"
)


def connect(source: SourceConfig) -> Connection:
    """Reach Spanner, and make sure that the stream is there and of a kind that can be read.

    ConnectError says in one line what is missing and which setting to change.
    """
    connection = Connection(source)
    try:
        connection.look_up()
    except BaseException:
        connection.close()
        raise
    return connection


class Connection:
    """An open way to one change stream: credentials, session, channels. Thread-safe."""

    def __init__(self, source: SourceConfig) -> None:
        self._source = source
        self._doing = Doing(f"connecting to {source.identity}")
        self._requests = itertools.count(1)
        identity = source.identity
        self.database = (
            f"projects/{identity.project}/instances/{identity.instance}/databases/{identity.database}"
        )
        try:
            self._client = official_client(source)
            self._api, make_channel = _api_and_channels(self._client)
        except Exception as error:
            raise judge(error, self._doing) from error
        self.pool = ChannelPool(make_channel, source.streams_per_channel)
        self.session = SharedSession(self._create_session, self.database, source.database_role)
        self.query = StreamQuery.of(source, "googlesql")
        self.retention = ""
        self.read_at = Timestamp.now()
        """When the database was last looked at, by Spanner's clock: "now" for whoever starts there."""

    @property
    def dialect(self) -> Dialect:
        """The database's dialect."""
        return self.query.dialect

    @property
    def mode(self) -> Mode:
        """The stream's partition mode."""
        return self.query.mode

    def look_up(self) -> None:
        """Read dialect, streams and their options from the database."""
        dialect = self.read_dialect()
        try:
            streams = [str(name) for [name] in self._rows(_STREAMS_SQL)]
            options = {
                name: value
                for stream, name, value in self._rows(_OPTIONS_SQL)
                if stream == self._source.stream
            }
        except Exception as error:
            raise self._unreachable(judge(error, self._doing)) from error
        self._check_stream(streams)
        partition_mode = options.get("partition_mode", "IMMUTABLE_KEY_RANGE")
        if partition_mode not in _MODES:
            raise ConnectError(
                f"{self._doing.what}: this version does not read partition_mode {partition_mode}; "
                f"create the stream with one of {', '.join(_MODES)}"
            )
        self.query = StreamQuery.of(self._source, dialect, _MODES[partition_mode])
        self.retention = str(options.get("retention_period", "1d"))

    def read_dialect(self) -> Dialect:
        """Ask the database for its dialect."""
        try:
            [[dialect]] = self._rows(_DIALECT_SQL)
        except Exception as error:
            raise self._unreachable(judge(error, self._doing)) from error
        if dialect not in _DIALECTS:
            raise ConnectError(
                f"{self._doing.what}: the database's dialect {dialect} is not known to this version"
            )
        return _DIALECTS[str(dialect)]

    def call(self, method: str, request: Any) -> Any:
        """One call of Spanner's API that only reads, over passing faults; others are raised as they are."""
        metadata = [*self._headers(), routing_header.to_grpc_metadata((("session", request.session),))]
        return getattr(self._api, method)(request=request, metadata=metadata, **self._patience())

    def look_into(self, sql: str) -> list[Sequence[Any]]:
        """The answer to a look-up in the database's schema, as it is now."""
        try:
            return self._rows(sql)
        except Exception as error:
            raise judge(error, self._doing) from error

    def metadata(self, session: str, channel: int, attempt: int = 1) -> Metadata:
        """The headers of a read, as the official client sends them for one."""
        sent = self._headers(channel, attempt)
        sent.append(routing_header.to_grpc_metadata((("session", session),)))
        sent.append(self._client._client_info.to_grpc_metadata())
        return sent

    def close(self) -> None:
        """Close all channels; streams on them end as cancelled."""
        self.pool.close()
        self._api.transport.close()

    def __enter__(self) -> Self:
        """The connection itself."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close it."""
        self.close()

    def _headers(self, channel: int = 0, attempt: int = 1) -> Metadata:
        prefix = _metadata_with_prefix(self.database)
        client_id = self._client._nth_client_id
        metadata, _ = with_request_id(client_id, channel, next(self._requests), attempt, prefix)
        return list(metadata)

    def _create_session(self, request: CreateSessionRequest) -> Session:
        # A session is written, so it is routed to the leader; a read is not.
        metadata = [*self._headers(), ("x-goog-spanner-route-to-leader", "true")]
        return self._api.create_session(request=request, metadata=metadata, **self._patience())

    def _rows(self, sql: str) -> list[Sequence[Any]]:
        options = request_options(self._source.priority, self._source.request_tag)
        request = ExecuteSqlRequest(
            session=self.session.name(), sql=sql, request_options=options, transaction=_STRONG_WITH_TIMESTAMP
        )
        answer = self._api.execute_sql(request=request, metadata=self._headers(), **self._patience())
        if read_at := answer.metadata.transaction.read_timestamp:
            self.read_at = Timestamp.parse(read_at.rfc3339())
        return [list(row) for row in answer.rows]

    def _patience(self) -> dict[str, Any]:
        seconds = float(self._source.connect_timeout_s)
        passing = if_exception_type(api_errors.ServiceUnavailable, api_errors.ResourceExhausted)
        return {"retry": Retry(predicate=passing, initial=0.25, timeout=seconds), "timeout": seconds}

    def _unreachable(self, error: SpanwireError) -> SpanwireError:
        """A start-up does not wait for ever: what passes, but has not, ends it."""
        if not error.retryable:
            return error
        emulator = self._source.emulator
        advice = f"is an emulator running at {emulator}?" if emulator else "check the network and DNS"
        return ConnectError(
            f"{error}; gave up after {self._source.connect_timeout_s} s: {advice}", **error.fields
        )

    def _check_stream(self, streams: list[str]) -> None:
        stream = self._source.stream
        if stream in streams:
            return
        close = difflib.get_close_matches(stream, streams, 1, 0.6)
        if close:
            advice = f'did you mean "{close[0]}"?'
        elif streams:
            advice = f"it has {', '.join(sorted(streams))}"
        else:
            advice = f'it has none; "CREATE CHANGE STREAM {stream} FOR ALL" makes one'
        raise ConnectError(
            f'source.stream: database "{self._source.database}" has no change stream "{stream}"; {advice}',
            setting="source.stream",
        )


def official_client(source: SourceConfig) -> Client:
    """google-cloud-spanner's own client: it finds credentials and endpoint as in any other program."""
    if source.emulator_host:
        return Client(
            project=source.project,
            credentials=AnonymousCredentials(),
            client_options={"api_endpoint": source.emulator_host},
            disable_builtin_metrics=True,
        )
    return Client(project=source.project, disable_builtin_metrics=True)


def _api_and_channels(client: Client) -> tuple[SpannerClient, MakeChannel]:
    """The client's API object, and a way to make more channels like its own."""
    emulator = client._emulator_host
    if emulator is not None:
        plain: MakeChannel = functools.partial(grpc.insecure_channel, emulator)
        transport = SpannerGrpcTransport(channel=plain(OPTIONS))
        return SpannerClient(client_info=client._client_info, transport=transport), plain

    made: list[MakeChannel] = []

    def channel(host: str, **settings: Any) -> grpc.Channel:
        # The client decides on endpoint, credentials and mTLS; the options are ours.
        settings.pop("options", None)

        def make(options: Options) -> grpc.Channel:
            opened: grpc.Channel = SpannerGrpcTransport.create_channel(host, options=options, **settings)
            return opened

        made.append(make)
        return make(OPTIONS)

    credentials = client.credentials
    if isinstance(credentials, google.auth.credentials.Scoped):
        credentials = credentials.with_scopes((_DATA_SCOPE,))
    api = SpannerClient(
        credentials=credentials,
        client_info=client._client_info,
        client_options=client._client_options,
        transport=functools.partial(SpannerGrpcTransport, channel=channel),
    )
    return api, made[0]
