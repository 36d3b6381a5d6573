"""The simulator's ready-made messages: quick, and still what Spanner would send."""

from __future__ import annotations

import time
from dataclasses import replace
from fractions import Fraction
from itertools import pairwise
from typing import Any

import grpc
import pytest
from google.api_core import exceptions
from google.cloud.spanner_v1 import PartialResultSet
from hypothesis import given
from hypothesis import strategies as st
from integration.emulator import DIALECTS, Dialect, EmulatorDatabase, now
from integration.oracle import Query, data_records, follow, merged, normal, official, raw, streamed
from support.simulated import simulated

from spanwire._core import RecordReader
from spanwire.errors import ConfigError
from spanwire.simulator import ReadyMade, Simulator, SimulatorConfig
from spanwire.simulator.schedule import Schedule
from spanwire.simulator.values import parse_timestamp, timestamp_text

pytestmark = pytest.mark.timeout(180)


@pytest.fixture(params=DIALECTS)
def dialect(request: pytest.FixtureRequest) -> Dialect:
    """Each in turn."""
    return request.param


def serve(dialect: Dialect, ready: ReadyMade) -> Simulator:
    """Two partitions of them."""
    return Simulator(SimulatorConfig(dialect=dialect, partitions=2, ready_made=ready)).start()


def start_of(simulator: Simulator) -> str:
    """The earliest timestamp."""
    return timestamp_text(simulator.created)


@pytest.mark.parametrize("changes", [20, 400, 5020])
def test_records_are_whole_distinct_and_rising(dialect: Dialect, changes: int) -> None:
    """All changes come; each record has a version of its own; timestamps rise within a partition."""
    with serve(dialect, ReadyMade(changes=changes)) as simulator:
        time.sleep(0.02)
        reads = follow(simulated(simulator), "changes", start_of(simulator), now(0.01))
    assert len(reads) == 3
    seen = set()
    for read in reads[1:]:
        records = data_records([read])
        assert sum(len(record["mods"]) for record in records) == changes
        stamps = [record["commit_timestamp"] for record in records]
        assert stamps == sorted(set(stamps))
        assert stamps[0] > normal(start_of(simulator))
        seen |= {(record["commit_timestamp"], record["server_transaction_id"]) for record in records}
        assert all(record["is_last_record_in_transaction_in_partition"] for record in records)
        [last] = read.records[-1].values()
        assert last["timestamp"] >= stamps[-1]
    assert len(seen) == 2 * changes // 20


def test_messages_are_as_large_as_wanted(dialect: Dialect) -> None:
    """Messages hold at least so many bytes, changes about so many, or one change is one message."""
    with serve(dialect, ReadyMade(changes=20_000)) as simulator:
        messages = _messages(simulator)
        full = messages[1:-2]
        assert len(full) > 50
        assert all(64 * 1024 <= len(message) < 80 * 1024 for message in full)
        changes = sum(len(record["mods"]) for record in _data(full))
        assert 300 < sum(map(len, full)) / changes < 500
    with serve(dialect, ReadyMade(changes=100, changes_per_record=1, message_bytes=0)) as simulator:
        single = [message for message in _messages(simulator)[1:] if len(message) > 400]
        assert len(single) == 100
        assert {len(PartialResultSet.deserialize(message).values) for message in single} == {1}


def test_a_range_read_again_is_the_same(dialect: Dialect) -> None:
    """The same query gives the same records; a later start gives those from there on."""
    with serve(dialect, ReadyMade(changes=1000)) as simulator:
        database, start = simulated(simulator), start_of(simulator)
        time.sleep(0.01)
        end = now()
        [first, *_] = official(Query(database, "changes", start, end))
        token = first["child_partitions_record"]["child_partitions"][0]["token"]
        whole = data_records(follow(database, "changes", start, end))[:50]
        middle = whole[20]["commit_timestamp"]
        until = whole[40]["commit_timestamp"]
        part = official(Query(database, "changes", middle, until, token))
        assert [record["data_change_record"] for record in part[:-1]] == whole[20:41]


def test_a_read_goes_on_behind_its_resume_token(dialect: Dialect) -> None:
    """Every message but the metadata's carries a token, and behind it come the records not yet sent."""
    with serve(dialect, ReadyMade(changes=1000, message_bytes=20_000)) as simulator:
        database, start = simulated(simulator), start_of(simulator)
        time.sleep(0.01)
        end = now()
        [first, *_] = official(Query(database, "changes", start, end))
        token = first["child_partitions_record"]["child_partitions"][0]["token"]
        query = Query(database, "changes", start, end, token)
        messages = raw(query)
        tokens = [PartialResultSet.deserialize(message).resume_token for message in messages]
        assert all(tokens[1:])
        for place in (1, 7, len(messages) - 1):
            again = raw(query, tokens[place])
            assert _data(again) == _data(messages[:1] + messages[place + 1 :])
        with pytest.raises(grpc.RpcError, match="resume_token does not belong"):
            raw(query, b"made up")


def test_held_back_until_released(dialect: Dialect) -> None:
    """With `hold` there are heartbeats only, promising nothing, until the release."""
    with serve(dialect, ReadyMade(changes=40, hold=True)) as simulator:
        held: list[int] = []
        messages: list[bytes] = []
        for message in streamed(_first_partition(simulator, heartbeat_ms=100)):
            messages.append(message)
            if len(messages) == 5:
                held.append(simulator.held)
                simulator.release()
    records = merged(messages)
    first = next(place for place, record in enumerate(records) if "data_change_record" in record)
    before = [record["heartbeat_record"]["timestamp"] for record in records[:first]]
    assert held == [1]
    assert len(before) >= 3
    assert max(before) < records[first]["data_change_record"]["commit_timestamp"]
    assert len(_data(messages)) == 2


def test_a_query_goes_on_behind_any_resume_token(dialect: Dialect) -> None:
    """Each message carries a token, and the query behind it brings what would have followed."""
    with serve(dialect, ReadyMade(changes=2000)) as simulator:
        messages = _messages(simulator)
        tokens = [PartialResultSet.deserialize(message).resume_token for message in messages]
        assert all(tokens)
        query = _first_partition(simulator)
        for place in (0, 1, len(messages) - 2):
            rest = _data(raw(query, resume_token=tokens[place]))
            assert rest == _data(messages[place + 1 :])
        with pytest.raises(grpc.RpcError, match="resume_token"):
            raw(query, resume_token=b"made up")


def test_wrong_arguments_are_refused_here_too(dialect: Dialect) -> None:
    """No stream but the one, no tokens but its own."""
    with serve(dialect, ReadyMade(changes=40)) as simulator:
        database = simulated(simulator)
        with pytest.raises(exceptions.GoogleAPICallError, match="none"):
            official(Query(database, "none", now(), now(1)))
        with pytest.raises(exceptions.InvalidArgument, match="partition_token is invalid"):
            official(Query(database, "changes", now(), now(1), "made-up"))


@st.composite
def schedules(draw: st.DrawFn) -> Schedule:
    """Of any rate that timestamps in microseconds allow."""
    turns = draw(st.integers(1, 20))
    step = draw(st.fractions(Fraction(1, turns), 10_000_000, max_denominator=10**9))
    return Schedule(draw(st.integers(0, 2 * 10**18)), step, turns, draw(st.integers(0, turns - 1)))


@given(schedules(), st.integers(1, 10**7), st.integers(0, 10**10))
def test_a_schedule_rises_and_knows_what_is_due(schedule: Schedule, record: int, after: int) -> None:
    """Whole microseconds, each later than the one before; `last_until` is the inverse, between them too."""
    at, following = schedule.at(record), schedule.at(record + 1)
    assert at % 1000 == 0
    assert at < following
    assert schedule.last_until(at) == record
    assert schedule.last_until(at - 1) == record - 1
    assert schedule.last_until(min(at + after, following - 1)) == record


def test_partitions_take_turns_at_the_rate() -> None:
    """So many a second in all, evenly, none of them at the start itself."""
    base = 1_700_000_000_000_000_500
    partitions = [Schedule(base, Fraction(1_000_000, 300), 3, turn) for turn in range(3)]
    found = sorted(schedule.at(record) for schedule in partitions for record in range(1, 101))
    assert found[0] > base
    assert {later - one for one, later in pairwise(found)} == {3_333_000, 3_334_000}
    assert 0.996e9 < found[-1] - found[0] < 1e9


@pytest.mark.parametrize("rate", [1000.0, 30_000.0])
def test_a_rate_sends_all_that_is_due_and_nothing_early(dialect: Dialect, rate: float) -> None:
    """By the query's end all of the schedule has come, each record once and not before its timestamp."""
    ready = ReadyMade(rate=rate, changes_per_record=1)
    with serve(dialect, ready) as simulator:
        start, end = start_of(simulator), now(0.2)
        database = simulated(simulator)
        for turn, token in enumerate(_tokens(database, start, end)):
            records = _read(dialect, Query(database, "changes", start, end, token))
            received = time.time_ns()
            stamps = [parse_timestamp(str(record["commit_timestamp"])) for record in records]
            schedule = Schedule(simulator.created, ready.step, 2, turn)
            wanted = schedule.last_until(parse_timestamp(end))
            assert stamps == [schedule.at(record) for record in range(1, wanted + 1)]
            assert stamps[-1] <= received


def test_a_range_at_a_rate_read_again_is_the_same(dialect: Dialect) -> None:
    """Live or afterwards, from the start or from the middle."""
    with serve(dialect, ReadyMade(rate=2000.0, changes_per_record=2)) as simulator:
        database, start, end = simulated(simulator), start_of(simulator), now(0.1)
        [token, _] = _tokens(database, start, end)
        live, again = (_read(dialect, Query(database, "changes", start, end, token)) for _ in range(2))
        middle, until = (str(live[place]["commit_timestamp"]) for place in (20, 40))
        part = _read(dialect, Query(database, "changes", middle, until, token))
    assert len(live) > 40
    assert again == live
    assert part == live[20:41]


def test_between_rare_records_heartbeats_promise_nothing_that_is_to_come(dialect: Dialect) -> None:
    """They come as asked, rising, and a record is later than those before it."""
    stamps: list[tuple[str, bool]] = []
    with serve(dialect, ReadyMade(rate=4.0, changes_per_record=1)) as simulator:
        query = replace(_first_partition(simulator, heartbeat_ms=100), end=None)
        for message in streamed(query):
            stamps += [
                (one["data_change_record"]["commit_timestamp"], True)
                if "data_change_record" in one
                else (one["heartbeat_record"]["timestamp"], False)
                for one in merged([_METADATA[dialect], message])
            ]
            places = [place for place, (_, data) in enumerate(stamps) if data]
            # What was due when the query came is sent at once: at some time there are beats between.
            if any(later - one > 1 for one, later in pairwise(places)):
                break
    assert stamps == sorted(stamps)


@pytest.mark.parametrize("rate", [-1.0, 40_000_001.0, float("inf"), float("nan")])
def test_a_rate_that_timestamps_cannot_tell_is_refused(rate: float) -> None:
    """Two records of a partition never share a microsecond."""
    with pytest.raises(ConfigError, match="rate must be 0 or more, here up to 40,000,000"):
        SimulatorConfig(partitions=2, ready_made=ReadyMade(rate=rate))


def _messages(simulator: Simulator) -> list[bytes]:
    """The messages of the first partition."""
    return raw(_first_partition(simulator))


def _first_partition(simulator: Simulator, heartbeat_ms: int = 1000) -> Query:
    """A query of the first partition, from the beginning."""
    database, start = simulated(simulator), start_of(simulator)
    time.sleep(0.02)
    [first, *_] = official(Query(database, "changes", start, now()))
    token = first["child_partitions_record"]["child_partitions"][0]["token"]
    return Query(database, "changes", start, now(0.01), token, heartbeat_ms)


def _tokens(database: EmulatorDatabase, start: str, end: str) -> list[str]:
    """The partitions."""
    named = [record["child_partitions_record"] for record in official(Query(database, "changes", start, end))]
    return [child["token"] for one in named for child in one["child_partitions"]]


def _read(dialect: Dialect, query: Query) -> list[dict[str, Any]]:
    """A query's data change records, quickly, each message being of a bounded size."""
    messages = raw(query)
    assert max(map(len, messages)) < 80 * 1024
    read = RecordReader(dialect).read(messages)
    return [one["data_change_record"] for one in read if "data_change_record" in one]


def _data(messages: list[bytes]) -> list[dict[str, Any]]:
    """Their data change records; the first message's metadata may be missing."""
    return [
        record["data_change_record"]
        for record in merged([_METADATA[_dialect(messages)], *messages])
        if "data_change_record" in record
    ]


def _dialect(messages: list[bytes]) -> Dialect:
    return "postgresql" if any(b'"mods":[' in message for message in messages) else "googlesql"


def _metadata(dialect: Dialect) -> bytes:
    with serve(dialect, ReadyMade(changes=20)) as simulator:
        return _messages(simulator)[0]


_METADATA: dict[Dialect, bytes] = {}


@pytest.fixture(autouse=True, scope="module")
def _known_metadata() -> None:
    for dialect in DIALECTS:
        _METADATA[dialect] = _metadata(dialect)
