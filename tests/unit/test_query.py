"""The change stream query, as it goes to Spanner."""

from types import SimpleNamespace
from typing import Any

import pytest
from google.cloud.spanner_v1 import ExecuteSqlRequest, RequestOptions, TypeCode

from spanwire._core import Timestamp
from spanwire.errors import UnavailableError
from spanwire.records import PartitionRecord
from spanwire.source.query import Dialect, StreamQuery
from spanwire.source.reader import Job, Reader

START = Timestamp(1_700_000_000, 1)
NAMES = {"googlesql": ("start", "end", "token", "heartbeat"), "postgresql": ("p1", "p2", "p3", "p4")}
END = Timestamp(1_700_000_009, 999_999_999)


def request(dialect: Dialect, token: str | None = "t", end: Timestamp | None = END) -> ExecuteSqlRequest:
    """One partition's request."""
    return StreamQuery(dialect, "orders", 1500, "high", "tag").request(token, START, end)


def test_googlesql_calls_the_streams_function_with_named_arguments() -> None:
    """The function's name is quoted, the arguments are parameters."""
    assert request("googlesql").sql == (
        "SELECT ChangeRecord FROM `READ_orders`(start_timestamp => @start, end_timestamp => @end, "
        "partition_token => @token, heartbeat_milliseconds => @heartbeat)"
    )


def test_postgresql_calls_the_json_function_by_place() -> None:
    """In the schema spanner, its name quoted, the fifth argument null."""
    assert request("postgresql").sql == 'SELECT * FROM "spanner"."read_json_orders"($1, $2, $3, $4, null)'


@pytest.mark.parametrize("dialect", ["googlesql", "postgresql"])
def test_arguments_are_typed_parameters(dialect: Dialect) -> None:
    """Timestamps keep their nanoseconds, an INT64 travels as text."""
    sent = request(dialect)
    assert [sent.params[name] for name in NAMES[dialect]] == [
        "2023-11-14T22:13:20.000000001Z",
        "2023-11-14T22:13:29.999999999Z",
        "t",
        "1500",
    ]
    types = [sent.param_types[name].code for name in NAMES[dialect]]
    assert types == [TypeCode.TIMESTAMP, TypeCode.TIMESTAMP, TypeCode.STRING, TypeCode.INT64]


@pytest.mark.parametrize("dialect", ["googlesql", "postgresql"])
def test_absent_arguments_are_null(dialect: Dialect) -> None:
    """No token asks for the first partitions, no end reads on for ever; both keep their type."""
    sent = request(dialect, None, None)
    assert [sent.params[name] for name in NAMES[dialect][1:3]] == [None, None]
    assert len(sent.param_types) == 4


def test_the_read_is_strong_single_use_with_priority_and_tag() -> None:
    """What Spanner asks of change stream queries, and what its statistics show."""
    sent = request("googlesql")
    assert sent.transaction.single_use.read_only.strong
    assert sent.request_options.priority is RequestOptions.Priority.PRIORITY_HIGH
    assert sent.request_options.request_tag == "tag"


@pytest.mark.parametrize(
    ("dialect", "quoted"),
    [
        ("googlesql", r"`READ_a\`; DROP TABLE t -- \\`("),
        ("postgresql", '"read_json_a`; DROP TABLE t -- \\"('),
    ],
)
def test_a_name_never_leaves_its_quotes(dialect: Dialect, quoted: str) -> None:
    """Whatever stands in it, it stays one identifier."""
    assert quoted in StreamQuery(dialect, "a`; DROP TABLE t -- \\", 1000).sql
    assert '"read_json_a""b"(' in StreamQuery("postgresql", 'a"b', 1000).sql


def test_a_mutable_stream_has_a_function_of_its_own_in_postgresql_only() -> None:
    """GoogleSQL gives the function's column another type; PostgreSQL has a function for bytes."""
    assert "`READ_orders`(" in StreamQuery("googlesql", "orders", 1000, mode="mutable").sql
    assert '"read_proto_bytes_orders"(' in StreamQuery("postgresql", "orders", 1000, mode="mutable").sql


def test_a_mutable_stream_is_read_in_windows() -> None:
    """Spanner wants an end, at most 30 minutes past the later of now and the start: ours keeps clear."""
    immutable, mutable = (StreamQuery("googlesql", "orders", 1000, mode=m) for m in ("immutable", "mutable"))
    now, later = Timestamp(1000, 7), Timestamp(9000)
    assert (immutable.until(now, None, now), immutable.until(now, later, now)) == (None, later)
    assert mutable.until(Timestamp(5), None, now) == Timestamp(1000 + 1200, 7)
    assert mutable.until(later, None, now) == Timestamp(9000 + 1200)
    assert mutable.until(Timestamp(5), later, now) == Timestamp(1000 + 1200, 7)
    assert mutable.until(Timestamp(5), Timestamp(1001), now) == Timestamp(1001)


@pytest.mark.parametrize(
    ("partitions", "heartbeat_ms"), [(1, 1000), (100, 1000), (600, 6000), (9000, 10_000)]
)
def test_many_partitions_say_less_often_that_they_are_idle(partitions: int, heartbeat_ms: int) -> None:
    """100 times a second all together, but each every ten seconds."""
    query = StreamQuery("googlesql", "watch")
    assert query.heartbeat_of(partitions) == heartbeat_ms
    request = query.request("token", Timestamp(5, 0), heartbeat_ms=query.heartbeat_of(partitions))
    assert request.params["heartbeat"] == str(heartbeat_ms)
    assert StreamQuery("googlesql", "watch", mode="mutable").heartbeat_of(partitions) == 1000


def test_a_heartbeat_that_was_set_holds_for_any_number() -> None:
    """Whoever waits for whole transactions may want it."""
    assert StreamQuery("googlesql", "watch", 1000).heartbeat_of(9000) == 1000


def test_a_query_that_is_resumed_stays_as_it_was() -> None:
    """A resume token belongs to a query with all its parameters; a fresh query is as things are now."""
    counts = iter([600, 50])
    partition: Any = SimpleNamespace(resume=lambda: SimpleNamespace(token=b"token"))
    connection: Any = SimpleNamespace(query=StreamQuery("googlesql", "watch"))
    record = PartitionRecord("token", START)
    job = Job(connection, record, partition, None, count_partitions=lambda: next(counts))
    reader = Reader(job, lambda report: None)
    query = reader._query(START)
    again = reader._after(UnavailableError("broken off"), query)
    assert (query.heartbeat_ms, again.heartbeat_ms) == (6000, 6000)
    assert (query.resume_token, again.resume_token) == (b"", b"token")
    assert reader._query(START).heartbeat_ms == 1000
