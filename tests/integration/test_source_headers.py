"""What a read tells Spanner besides its request: the same as the official client does.

The emulator does not look at these headers, the service does: so a server of our own writes them down.
"""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import grpc
import pytest
from google.auth.credentials import AnonymousCredentials
from google.cloud import spanner
from google.cloud.spanner_v1 import PartialResultSet, Session
from google.cloud.spanner_v1.testing import spanner_pb2_grpc

from spanwire._core import Timestamp
from spanwire.config import SourceConfig
from spanwire.source.connect import Connection
from spanwire.source.stream import RawStream

DATABASE = "projects/p/instances/in/databases/d"


class Recorder(spanner_pb2_grpc.SpannerServicer):  # type: ignore[misc]
    """Writes down the headers of each call."""

    def __init__(self) -> None:
        self.calls: dict[str, list[dict[str, str]]] = {}

    def _note(self, name: str, context: grpc.ServicerContext) -> None:
        self.calls.setdefault(name, []).append(
            {key: str(value) for key, value in context.invocation_metadata()}
        )

    def CreateSession(self, request: Any, context: grpc.ServicerContext) -> Any:
        """A session that answers to any database."""
        self._note("CreateSession", context)
        return Session.pb(Session(name=f"{request.database}/sessions/s1", multiplexed=True))

    def ExecuteStreamingSql(self, request: Any, context: grpc.ServicerContext) -> Iterator[Any]:
        """One message without content."""
        self._note("ExecuteStreamingSql", context)
        yield PartialResultSet.pb(PartialResultSet())


@pytest.fixture
def recorder() -> Iterator[tuple[Recorder, str]]:
    """A recording server and its address."""
    server = grpc.server(ThreadPoolExecutor(4))
    servicer = Recorder()
    spanner_pb2_grpc.add_SpannerServicer_to_server(servicer, server)
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    yield servicer, f"127.0.0.1:{port}"
    server.stop(None)


def ours(host: str) -> Connection:
    """A connection that has not looked anything up."""
    return Connection(SourceConfig(project="p", instance="in", database="d", stream="s", emulator_host=host))


def test_headers_are_those_of_the_official_client(recorder: tuple[Recorder, str]) -> None:
    """Name by name and value by value, but for the request's own number."""
    servicer, host = recorder
    client = spanner.Client(
        project="p",
        credentials=AnonymousCredentials(),
        client_options={"api_endpoint": host},
        disable_builtin_metrics=True,
    )
    with client.instance("in").database("d").snapshot() as snapshot:
        list(snapshot.execute_sql("SELECT 1"))
    official = {name: calls[-1] for name, calls in servicer.calls.items()}
    servicer.calls.clear()

    with (
        ours(host) as connection,
        RawStream(connection, connection.query.request("t", Timestamp(1))) as stream,
    ):
        assert len(list(stream)) == 1
    compared = 0
    for name in ("CreateSession", "ExecuteStreamingSql"):
        [sent] = servicer.calls[name]
        # Of tracing and of the one call; and where the client is given a channel, as with an emulator,
        # it leaves its own version out of x-goog-api-client.
        varying = {
            "x-goog-spanner-request-id",
            "user-agent",
            "x-goog-api-client",
            "traceparent",
            "x-goog-spanner-end-to-end-tracing",
        }
        for header in (set(official[name]) | set(sent)) - varying:
            assert sent.get(header) == official[name].get(header), f"{name}: {header}"
            compared += 1
    assert compared >= 6


def test_a_read_is_routed_by_its_session_and_database(recorder: tuple[Recorder, str]) -> None:
    """And is not sent to the leader, as a read-only transaction need not be; its session's creation is."""
    servicer, host = recorder
    with (
        ours(host) as connection,
        RawStream(connection, connection.query.request("t", Timestamp(1))) as stream,
    ):
        list(stream)
    [read] = servicer.calls["ExecuteStreamingSql"]
    assert read["google-cloud-resource-prefix"] == DATABASE
    assert read["x-goog-request-params"] == f"session={DATABASE}/sessions/s1"
    assert read["x-goog-api-client"].startswith("gl-python/")
    assert "x-goog-spanner-route-to-leader" not in read
    [created] = servicer.calls["CreateSession"]
    assert created["x-goog-spanner-route-to-leader"] == "true"


def test_each_request_has_a_number_of_its_own(recorder: tuple[Recorder, str]) -> None:
    """Version, process, client, channel, request, attempt: Spanner's support asks for it."""
    servicer, host = recorder
    with ours(host) as connection:
        for attempt in (1, 2, 3):
            with RawStream(connection, connection.query.request("t", Timestamp(1)), attempt) as stream:
                list(stream)
    ids = [call["x-goog-spanner-request-id"].split(".") for call in servicer.calls["ExecuteStreamingSql"]]
    assert [one[-1] for one in ids] == ["1", "2", "3"]
    assert len({tuple(one) for one in ids}) == 3
    assert all(len(one) == 6 and one[3] == "1" for one in ids)
    assert len(servicer.calls["CreateSession"]) == 1, "all reads share a session"
