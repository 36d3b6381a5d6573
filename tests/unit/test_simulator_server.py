"""The simulator's server, as google-cloud-spanner's own client meets it."""

from __future__ import annotations

import json
import threading
import time
from collections import defaultdict
from collections.abc import Iterator
from typing import Any

import grpc
import pytest
from google.api_core import exceptions
from google.cloud.spanner_admin_database_v1.types import DatabaseDialect
from google.cloud.spanner_v1 import ExecuteSqlRequest, KeySet, PartialResultSet, param_types
from integration.emulator import DIALECTS, Dialect, now
from integration.oracle import Query, data_records, follow, merged, normal, official, raw, streamed
from support.simulated import simulated
from support.waiting import soon

from spanwire.errors import ClosedError, SocketError
from spanwire.simulator import Simulator, SimulatorConfig, WorkloadConfig, delete, insert, update
from spanwire.simulator.values import timestamp_text

pytestmark = pytest.mark.timeout(180)


@pytest.fixture(params=DIALECTS)
def dialect(request: pytest.FixtureRequest) -> Dialect:
    """Each in turn."""
    return request.param


@pytest.fixture
def simulator(dialect: Dialect) -> Iterator[Simulator]:
    """Two partitions, small chunks, no churn but what a test does."""
    with Simulator(SimulatorConfig(dialect=dialect, partitions=2, chunk_bytes=700, chop=3)) as running:
        yield running


def start_of(simulator: Simulator) -> str:
    """The earliest timestamp."""
    return timestamp_text(simulator.created)


def identities(records: list[dict[str, Any]]) -> list[str]:
    """Record versions as the ground truth writes them, in order."""
    return [
        f"{record['commit_timestamp']}/{record['server_transaction_id']}/{record['record_sequence']}/{number}"
        for record in records
        for number, _ in enumerate(record["mods"])
    ]


def test_everything_committed_is_read_once_in_key_order(dialect: Dialect) -> None:
    """Over splits, merges and chunks the official client reads the ground truth: all, once, keys in order."""
    config = SimulatorConfig(dialect=dialect, partitions=3, churn=150, chunk_bytes=1500, chop=5, seed=4)
    with Simulator(config) as simulator:
        simulator.workload(WorkloadConfig(changes=1500, large_every=200, large_bytes=5000))
        reads = follow(simulated(simulator), "changes", start_of(simulator), now(0.01))
        committed = [json.loads(line) for line in simulator.committed()]
    records = data_records(reads)
    assert sorted(identities(records)) == sorted(change["version"] for change in committed)
    assert len(reads) > 8
    assert any(len(read.parents) > 1 for read in reads)
    by_version = {change["version"]: change for change in committed}
    keys: dict[str, list[str]] = defaultdict(list)
    for record in records:
        for number, mod in enumerate(record["mods"]):
            [version] = identities([{**record, "mods": [mod]}])
            change = by_version[f"{version.rpartition('/')[0]}/{number}"]
            assert (record["table_name"], record["mod_type"]) == (change["table"], change["mod_type"])
            assert mod["new_values"].keys() == change["new"].keys()
            assert mod["old_values"].keys() == change["old"].keys()
            keys[json.dumps([record["table_name"], mod["keys"]])].append(record["commit_timestamp"])
    assert all(stamps == sorted(stamps) for stamps in keys.values())
    assert max(map(len, keys.values())) > 2


def test_a_window_takes_in_both_its_ends(simulator: Simulator) -> None:
    """Start and end timestamps are inclusive; what lies outside does not come; the stream ends cleanly."""
    stamps = [timestamp_text(simulator.commit([insert("accounts", id=n)]).timestamp) for n in range(5)]
    reads = follow(simulated(simulator), "changes", stamps[1], stamps[3])
    got = sorted(record["commit_timestamp"] for record in data_records(reads))
    assert got == [normal(stamp) for stamp in stamps[1:4]]


def test_a_silent_partition_beats(simulator: Simulator) -> None:
    """Heartbeats come at the wanted interval, rise, and stay below what is committed later."""
    database, token = simulated(simulator), simulator.partitions[0]
    query = Query(database, "changes", now(), None, token, heartbeat_ms=200)
    messages: list[bytes] = []
    beats: list[str] = []
    began = time.monotonic()
    for message in streamed(query):
        messages.append(message)
        beats = [record["heartbeat_record"]["timestamp"] for record in merged(messages)]
        if len(beats) == 4:
            break
    assert time.monotonic() - began > 0.6, "they came too often"
    assert beats == sorted(set(beats))
    [last] = official(Query(database, "changes", now(), end := now(0.05), token, heartbeat_ms=200))
    assert last["heartbeat_record"]["timestamp"] == normal(end), "it closes a window without records"
    assert normal(timestamp_text(simulator.commit([insert("accounts", id=1)]).timestamp)) > beats[-1]


def test_a_commit_wakes_its_reader(simulator: Simulator) -> None:
    """A change goes out at once, long before the next heartbeat."""
    database = simulated(simulator)
    waits: list[float] = []
    stop = now(120)

    def read(token: str) -> None:
        query = Query(database, "changes", start_of(simulator), stop, token, heartbeat_ms=300_000)
        with database.client.snapshot() as snapshot:
            results = snapshot.execute_sql(query.sql, params=query.params, param_types=query.param_types)
            for _ in results:
                waits.append(time.monotonic())
                return

    threads = [threading.Thread(target=read, args=(token,)) for token in simulator.partitions]
    for thread in threads:
        thread.start()
    time.sleep(0.5)
    began = time.monotonic()
    simulator.commit([insert("accounts", id=number) for number in range(50)])
    for thread in threads:
        thread.join()
    assert len(waits) == 2
    assert max(waits) - began < 60


def test_a_merged_partition_is_named_by_each_parent(simulator: Simulator) -> None:
    """Both parents end with the same child, which starts where they end and goes on with their keys."""
    simulator.commit([insert("accounts", id=number) for number in range(20)])
    left, right = simulator.partitions
    child = simulator.merge([left, right])
    simulator.commit([update("accounts", id=number, name="x") for number in range(20)])
    reads = {
        read.token: read for read in follow(simulated(simulator), "changes", start_of(simulator), now(0.01))
    }
    named = [reads[token].records[-1]["child_partitions_record"] for token in (left, right)]
    assert named[0] == named[1]
    [only] = named[0]["child_partitions"]
    assert only["token"] == child
    assert sorted(only["parent_partition_tokens"]) == sorted([left, right])
    assert sum(len(record["mods"]) for record in data_records([reads[child]])) == 20
    assert all(
        record["data_change_record"]["commit_timestamp"] > named[0]["start_timestamp"]
        for record in reads[child].records
        if "data_change_record" in record
    )


def test_an_end_before_the_split_ends_without_children(simulator: Simulator) -> None:
    """A partition read up to a moment before its end says nothing of children."""
    token = simulator.partitions[0]
    before = now()
    time.sleep(0.002)
    simulator.split(token)
    read = official(Query(simulated(simulator), "changes", start_of(simulator), before, token))
    assert "child_partitions_record" not in json.dumps(read)
    after = official(Query(simulated(simulator), "changes", start_of(simulator), now(), token))
    assert "child_partitions_record" in json.dumps(after)


def test_resuming_goes_on_where_the_token_stood(dialect: Dialect) -> None:
    """From any resume token, also within a value: what came before it and what comes now is the whole."""
    config = SimulatorConfig(
        dialect=dialect, partitions=1, chunk_bytes=300, chop=2, resume_every=1, message_bytes=2000
    )
    with Simulator(config) as simulator:
        simulator.workload(WorkloadConfig(changes=60, large_every=0))
        database = simulated(simulator)
        query = Query(database, "changes", start_of(simulator), now(), simulator.partitions[0])
        whole = raw(query)
        expected = merged(whole)
        assert len(whole) > 20
        within = 0
        for place in range(0, len(whole) - 1, 3):
            first = PartialResultSet.deserialize(whole[place])
            within += first.chunked_value
            rest = _resumed(query, first.resume_token)
            assert PartialResultSet.deserialize(rest[0]).metadata.row_type.fields
            assert merged([*whole[: place + 1], *rest]) == expected
        assert within


def test_metadata_comes_once_and_chunks_end(dialect: Dialect) -> None:
    """Only the first message describes the columns; the last one is not cut."""
    with Simulator(SimulatorConfig(dialect=dialect, partitions=1, chunk_bytes=64)) as simulator:
        simulator.workload(WorkloadConfig(changes=20))
        query = Query(simulated(simulator), "changes", start_of(simulator), now(), simulator.partitions[0])
        messages = [PartialResultSet.deserialize(message) for message in raw(query)]
    assert [bool(message.metadata.row_type.fields) for message in messages] == [True] + [False] * (
        len(messages) - 1
    )
    assert not messages[-1].chunked_value
    assert sum(message.chunked_value for message in messages) > 20
    assert all(message.values for message in messages)


def test_the_101st_stream_waits(dialect: Dialect) -> None:
    """A connection carries a hundred streams; one more is not answered until one ends."""
    with Simulator(SimulatorConfig(partitions=10, dialect=dialect)) as simulator:
        # A connection of its own: sessions are made on another.
        channel = grpc.insecure_channel(simulator.address, [("grpc.use_local_subchannel_pool", 1)])
        tokens = simulator.partitions
        streams = [_open(simulator, tokens[number % 10], channel) for number in range(100)]
        for stream in streams:
            next(stream)
        late = _open(simulator, tokens[0], channel)
        came = threading.Event()
        waiting = threading.Thread(target=lambda: (next(late), came.set()))
        waiting.start()
        assert not came.wait(0.6)
        streams[0].cancel()
        assert came.wait(60)
        waiting.join()
        channel.close()


def test_a_partition_takes_so_many_readers(dialect: Dialect) -> None:
    """One reader too many is refused; when one leaves, another may come."""
    with Simulator(SimulatorConfig(dialect=dialect, partitions=1, readers_per_partition=1)) as simulator:
        database, token = simulated(simulator), simulator.partitions[0]
        first = _open(simulator, token)
        next(first)

        def is_refused() -> bool:
            try:
                official(Query(database, "changes", start_of(simulator), now(), token))
            except exceptions.ResourceExhausted:
                return True
            return False

        assert is_refused()
        first.cancel()
        assert soon(lambda: not is_refused())


def test_the_client_finds_its_way(simulator: Simulator) -> None:
    """Database, DDL, dialect, instance, sessions of both kinds, and a simple query."""
    database = simulated(simulator).client
    assert database.exists()
    database.reload()
    google = simulator.config.dialect == "googlesql"
    expected = DatabaseDialect.GOOGLE_STANDARD_SQL if google else DatabaseDialect.POSTGRESQL
    assert database.database_dialect == expected
    assert "CREATE CHANGE STREAM" in database.ddl_statements[-1]
    api = database.spanner_api
    sessions = api.batch_create_sessions(database=database.name, session_count=3).session
    assert len({session.name for session in sessions}) == 3
    assert api.get_session(name=sessions[0].name).name == sessions[0].name
    api.delete_session(name=sessions[0].name)
    with pytest.raises(exceptions.NotFound, match="Session not found"):
        api.execute_sql(request={"session": sessions[0].name, "sql": "SELECT 1"})
    assert [list(row) for row in api.execute_sql(session_sql(sessions[1].name, "SELECT 1")).rows] == [["1"]]
    with database.snapshot() as snapshot:
        assert list(snapshot.execute_sql("SELECT 1")) == [[1]]


def session_sql(session: str, sql: str) -> ExecuteSqlRequest:
    """A request."""
    return ExecuteSqlRequest(session=session, sql=sql)


@pytest.mark.parametrize(
    ("sql", "rows"),
    [
        ("SELECT change_stream_name FROM information_schema.change_streams", [["changes"]]),
        (
            "select c.change_stream_name from INFORMATION_SCHEMA.CHANGE_STREAMS as c where c.all != 'x'",
            [["changes"]],
        ),
        ("SELECT 1 FROM information_schema.change_streams WHERE change_stream_name = 'other'", []),
        (
            "SELECT option_value FROM information_schema.change_stream_options\n"
            "WHERE change_stream_name = 'changes' AND option_name IN ('partition_mode', 'none')",
            [["IMMUTABLE_KEY_RANGE"]],
        ),
        ("SELECT COUNT(*) FROM information_schema.change_stream_options;", [[3]]),
        (
            "SELECT table_schema, table_name FROM information_schema.tables WHERE table_schema = 'sales'",
            [["sales", "items"]],
        ),
    ],
)
def test_schema_tables_answer(simulator: Simulator, sql: str, rows: list[Any]) -> None:
    """Columns, aliases, comparisons, counts, in any case."""
    with simulated(simulator).client.snapshot() as snapshot:
        assert list(snapshot.execute_sql(sql)) == rows


def test_a_parameter_may_be_compared(simulator: Simulator) -> None:
    """A look-up by parameter, as careful clients write it."""
    sql = "SELECT change_stream_name FROM information_schema.change_streams WHERE change_stream_name = "
    sql += "@p1" if simulator.config.dialect == "googlesql" else "$1"
    with simulated(simulator).client.snapshot() as snapshot:
        found = snapshot.execute_sql(sql, params={"p1": "changes"}, param_types={"p1": param_types.STRING})
        assert list(found) == [["changes"]]


@pytest.mark.parametrize(
    "sql",
    [
        "SELECT ChangeRecord FROM READ_changes(@start, @end, @token, @beat)",
        "select ChangeRecord from `READ_changes` (@start, @end, @token, @beat);",
        "SELECT * FROM READ_changes(\n  start_timestamp => @start,\n  end_timestamp => @end,\n"
        "  partition_token => @token,\n  read_options => null,\n  heartbeat_milliseconds => @beat\n)",
        "SELECT ChangeRecord FROM READ_changes(heartbeat_milliseconds => 1000, partition_token => NULL,"
        " start_timestamp => @start, end_timestamp => @end) -- a comment",
    ],
)
def test_googlesql_reads_in_any_spelling(sql: str) -> None:
    """Positional or named arguments, quoted or not, any parameter names, literals."""
    with (
        Simulator(SimulatorConfig(partitions=2)) as simulator,
        simulated(simulator).client.snapshot() as snapshot,
    ):
        params = {"start": start_of(simulator), "end": now(), "token": None, "beat": 1000}
        kinds = {
            "start": param_types.TIMESTAMP,
            "end": param_types.TIMESTAMP,
            "token": param_types.STRING,
            "beat": param_types.INT64,
        }
        assert len(list(snapshot.execute_sql(sql, params=params, param_types=kinds))) == 2


@pytest.mark.parametrize(
    "sql",
    [
        'SELECT * FROM "spanner"."read_json_changes"($1, $2, $3, $4, null)',
        "select * from spanner.read_json_changes($1,$2,null,$4,null)",
        "SELECT * FROM spanner.read_json_changes($1, $2, $3, 1000, NULL);",
    ],
)
def test_postgresql_reads_in_any_spelling(sql: str) -> None:
    """Quoted or not, parameters or literals."""
    config = SimulatorConfig(partitions=2, dialect="postgresql")
    with Simulator(config) as simulator, simulated(simulator).client.snapshot() as snapshot:
        params = {"p1": start_of(simulator), "p2": now(), "p3": None, "p4": 1000}
        kinds = dict(
            zip(
                params,
                (param_types.TIMESTAMP, param_types.TIMESTAMP, param_types.STRING, param_types.INT64),
                strict=True,
            )
        )
        assert len(list(snapshot.execute_sql(sql, params=params, param_types=kinds))) == 2


def test_what_it_does_not_do_is_refused_in_words(simulator: Simulator) -> None:
    """Writes, unknown tables, other SQL and other databases have a clear answer."""
    database = simulated(simulator).client
    with database.snapshot() as snapshot, pytest.raises(exceptions.MethodNotImplemented, match="simulator"):
        list(snapshot.execute_sql("DELETE FROM accounts WHERE true"))
    with database.snapshot() as snapshot, pytest.raises(exceptions.NotFound, match="Table not found"):
        list(snapshot.execute_sql("SELECT * FROM nothing"))
    with (
        database.snapshot() as snapshot,
        pytest.raises(exceptions.MethodNotImplemented, match="takes no writes"),
    ):
        list(snapshot.read("accounts", ["id"], KeySet(all_=True)))
    other = simulated(simulator).client._instance.database("other")
    assert not other.exists()
    with pytest.raises(exceptions.NotFound, match="Database not found"), other.snapshot() as snapshot:
        list(snapshot.execute_sql("SELECT 1"))


def test_a_start_before_the_partition_is_refused(simulator: Simulator) -> None:
    """A child cannot be read from before its parents ended."""
    [child, _] = simulator.split(simulator.partitions[0])
    with pytest.raises(exceptions.OutOfRange, match="invalid for the partition"):
        official(Query(simulated(simulator), "changes", start_of(simulator), now(), child))


def test_closing_ends_the_streams_at_once(dialect: Dialect) -> None:
    """Readers in their sleep are let go, the port is free again, and closing twice is fine."""
    with Simulator(SimulatorConfig(dialect=dialect)) as simulator:
        streams = [_open(simulator, token) for token in simulator.partitions]
        for stream in streams:
            next(stream)
        port = int(simulator.address.rpartition(":")[2])
        began = time.monotonic()
        simulator.close()
        assert time.monotonic() - began < 10
        for stream in streams:
            with pytest.raises(grpc.RpcError):
                for _ in stream:
                    pass
    simulator.close()
    with pytest.raises(ClosedError):
        simulator.start()
    with Simulator(SimulatorConfig(dialect=dialect, port=port)) as again:
        assert again.address.endswith(f":{port}")
        with pytest.raises(SocketError, match=f"{port}: the port is in use"):
            Simulator(SimulatorConfig(port=port)).start()


def test_deletes_carry_what_the_capture_type_says() -> None:
    """A NEW_VALUES stream says of a delete only which row it was."""
    with Simulator(SimulatorConfig(capture="NEW_VALUES", partitions=1)) as simulator:
        simulator.commit([insert("accounts", id=1, name="a")])
        simulator.commit([update("accounts", id=1, name="b")])
        simulator.commit([delete("accounts", id=1)])
        records = data_records(follow(simulated(simulator), "changes", start_of(simulator), now(0.01)))
    [update_mod] = records[1]["mods"]
    assert (update_mod["new_values"], update_mod["old_values"]) == ({"name": "b"}, {})
    assert [column["name"] for column in records[1]["column_types"]] == ["id", "name"]
    assert records[2]["mods"] == [{"keys": {"id": "1"}, "new_values": {}, "old_values": {}}]


def _open(simulator: Simulator, token: str, channel: grpc.Channel | None = None) -> Any:
    """A partition's stream without end, a heartbeat ten times a second."""
    database = simulated(simulator)
    query = Query(database, "changes", start_of(simulator), None, token, heartbeat_ms=100)
    return _call(query, channel or grpc.insecure_channel(simulator.address))


def _resumed(query: Query, token: bytes) -> list[bytes]:
    """The query again, from a resume token."""
    return list(_call(query, query.database.client.spanner_api.transport.grpc_channel, token))


def _call(query: Query, channel: grpc.Channel, resume_token: bytes = b"") -> Any:
    database = query.database.client
    request = ExecuteSqlRequest(
        session=database.spanner_api.create_session(database=database.name).name,
        sql=query.sql,
        params={name: value if value is None else str(value) for name, value in query.params.items()},
        resume_token=resume_token,
    )
    call = channel.unary_stream(
        "/google.spanner.v1.Spanner/ExecuteStreamingSql", request_serializer=ExecuteSqlRequest.serialize
    )
    return call(request, timeout=120)
