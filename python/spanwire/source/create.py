"""Creates a change stream, with the admin API of google-cloud-spanner."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from google.cloud.spanner_admin_database_v1 import DatabaseAdminClient
from google.cloud.spanner_admin_database_v1.types import UpdateDatabaseDdlRequest

from spanwire.config import SourceConfig
from spanwire.errors import ConnectError, SpanwireError
from spanwire.source.connect import Connection, official_client
from spanwire.source.retry import Doing, judge

_PATIENCE_S = 120.0
"""Spanner takes a while to change a schema."""


def create_stream(source: SourceConfig, tables: Sequence[str]) -> str:
    """Create the stream over these tables, or over all. Returns the statement.

    Raises ConnectError, or SourceError with what Spanner says of the statement.
    """
    doing = Doing(f"creating change stream {source.identity}")
    try:
        api: DatabaseAdminClient = official_client(source).database_admin_api
        name = f"projects/{source.project}/instances/{source.instance}/databases/{source.database}"
        patience: dict[str, Any] = {"timeout": float(source.connect_timeout_s)}
        with Connection(source) as connection:
            quote = '"' if connection.read_dialect() == "postgresql" else "`"
        statement = statement_of(source.stream, tables, quote)
        request = UpdateDatabaseDdlRequest(database=name, statements=[statement])
        api.update_database_ddl(request=request, **patience).result(timeout=_PATIENCE_S)
    except SpanwireError:
        raise
    except Exception as error:
        if "uplicate name" in str(error):
            raise ConnectError(
                f'source.stream: database "{source.database}" has a "{source.stream}" already; '
                "leave out --create-stream, or give another --stream",
                setting="source.stream",
            ) from error
        raise judge(error, doing) from error
    return statement


def statement_of(stream: str, tables: Sequence[str], quote: str) -> str:
    """The DDL statement; every part of a name is quoted, so that no word in it is taken for SQL."""
    watched = ", ".join(".".join(_quoted(part, quote) for part in table.split(".")) for table in tables)
    return f"CREATE CHANGE STREAM {_quoted(stream, quote)} FOR {watched or 'ALL'}"


def _quoted(name: str, quote: str) -> str:
    escaped = name.replace("\\", "\\\\").replace("`", "\\`") if quote == "`" else name.replace('"', '""')
    return f"{quote}{escaped}{quote}"
