"""The change stream query in both dialects. Arguments are parameters; only the stream's name is text.

https://cloud.google.com/spanner/docs/change-streams/details#change_stream_query_syntax
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from google.cloud.spanner_v1 import (
    ExecuteSqlRequest,
    RequestOptions,
    TransactionOptions,
    TransactionSelector,
    Type,
    TypeCode,
)

from spanwire._core import Timestamp
from spanwire.config import SourceConfig

Dialect = Literal["googlesql", "postgresql"]
Mode = Literal["immutable", "mutable"]
"""A stream's partition_mode: IMMUTABLE_KEY_RANGE or MUTABLE_KEY_RANGE."""

_HEARTBEAT_MS = 1000
_HEARTBEATS_A_SECOND = 100
_LONGEST_MS = 10_000
"""Many partitions say less often each that they are idle: a heartbeat costs a reader like any message."""

WINDOW_S = 20 * 60
"""How far ahead one query of a mutable stream reads. Spanner wants an end for it, and takes 30 minutes past
the later of now and the start, by its own clock."""

_GOOGLESQL = (
    "SELECT ChangeRecord FROM {function}(start_timestamp => @start, end_timestamp => @end, "
    "partition_token => @token, heartbeat_milliseconds => @heartbeat)"
)
_POSTGRESQL = 'SELECT * FROM "spanner".{function}($1, $2, $3, $4, null)'
_STRONG_SINGLE_USE = TransactionSelector(
    single_use=TransactionOptions(read_only=TransactionOptions.ReadOnly(strong=True))
)
_TIMESTAMP, _STRING, _INT64 = (
    Type(code=code) for code in (TypeCode.TIMESTAMP, TypeCode.STRING, TypeCode.INT64)
)


@dataclass(frozen=True)
class StreamQuery:
    """How one stream is read, whatever the partition."""

    dialect: Dialect
    stream: str
    heartbeat_ms: int = 0
    """How often an idle partition is to say so; 0: as `heartbeat_of` has it."""
    priority: str = "medium"
    request_tag: str = ""
    mode: Mode = "immutable"

    @classmethod
    def of(cls, source: SourceConfig, dialect: Dialect, mode: Mode = "immutable") -> StreamQuery:
        """The query of a configured source, once the database's dialect and the stream's mode are known."""
        return cls(dialect, source.stream, source.heartbeat_ms, source.priority, source.request_tag, mode)

    @property
    def sql(self) -> str:
        """The statement, with the stream's name quoted as an identifier."""
        if self.dialect == "googlesql":
            return _GOOGLESQL.replace("{function}", _googlesql_name(f"READ_{self.stream}"))
        shape = "json" if self.mode == "immutable" else "proto_bytes"
        return _POSTGRESQL.replace("{function}", _postgresql_name(f"read_{shape}_{self.stream}"))

    def until(self, start: Timestamp, end: Timestamp | None, now: Timestamp) -> Timestamp | None:
        """Where a query from `start` must end, for a partition that is wanted up to `end`; None: nowhere.

        A mutable stream is read window by window. A window's end says nothing about the partition.
        """
        if self.mode == "immutable":
            return end
        latest = max(now, start)
        window = Timestamp(latest.seconds + WINDOW_S, latest.nanos)
        return window if end is None else min(end, window)

    def heartbeat_of(self, partitions: int) -> int:
        """How often, in ms, one of so many idle partitions says how far it is complete."""
        if self.heartbeat_ms:
            return self.heartbeat_ms
        if self.mode == "mutable":  # a move waits for what its source says
            return _HEARTBEAT_MS
        return min(max(_HEARTBEAT_MS, partitions * 1000 // _HEARTBEATS_A_SECOND), _LONGEST_MS)

    def request(
        self,
        token: str | None,
        start: Timestamp,
        end: Timestamp | None = None,
        *,
        heartbeat_ms: int | None = None,
    ) -> ExecuteSqlRequest:
        """The request for one partition, or with token None for the first partitions.

        `start` and `end` are inclusive. `heartbeat_ms`: as `heartbeat_of` gave it; None: of one partition.
        The session is filled in when it is sent.
        """
        names = ("start", "end", "token", "heartbeat")
        if self.dialect == "postgresql":
            names = ("p1", "p2", "p3", "p4")
        # An INT64 travels as a string, an absent argument as null.
        values = (
            str(start),
            None if end is None else str(end),
            token,
            str(heartbeat_ms or self.heartbeat_of(1)),
        )
        types = (_TIMESTAMP, _TIMESTAMP, _STRING, _INT64)
        return ExecuteSqlRequest(
            sql=self.sql,
            params=dict(zip(names, values, strict=True)),
            param_types=dict(zip(names, types, strict=True)),
            transaction=_STRONG_SINGLE_USE,
            request_options=request_options(self.priority, self.request_tag),
        )


def request_options(priority: str, tag: str) -> RequestOptions:
    """Priority ("low", "medium", "high") and tag, as Spanner's query statistics show them."""
    return RequestOptions(priority=RequestOptions.Priority[f"PRIORITY_{priority.upper()}"], request_tag=tag)


def quoted(name: str, dialect: Dialect) -> str:
    """A name as an identifier, whatever is in it."""
    return _googlesql_name(name) if dialect == "googlesql" else _postgresql_name(name)


def _googlesql_name(name: str) -> str:
    r"""An identifier in backquotes; inside them a backslash escapes."""
    return "`" + name.replace("\\", "\\\\").replace("`", "\\`") + "`"


def _postgresql_name(name: str) -> str:
    """An identifier in double quotes; a doubled one stands for itself."""
    return '"' + name.replace('"', '""') + '"'
