"""The simulator's ready-made messages: quick, and still what Spanner would send."""

from __future__ import annotations

import threading
import time
from typing import Any

import grpc
import pytest
from google.api_core import exceptions
from google.cloud.spanner_v1 import PartialResultSet
from integration.emulator import DIALECTS, Dialect, now
from integration.oracle import Query, data_records, follow, merged, normal, official, raw
from support.simulated import simulated

from spanwire.simulator import ReadyMade, Simulator, SimulatorConfig
from spanwire.simulator.values import timestamp_text

pytestmark = pytest.mark.timeout(60)


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
        threading.Timer(0.6, simulator.release).start()
        messages = _messages(simulator, ahead=1.0, heartbeat_ms=100)
    records = merged(messages)
    first = next(place for place, record in enumerate(records) if "data_change_record" in record)
    before = [record["heartbeat_record"]["timestamp"] for record in records[:first]]
    assert len(before) >= 3
    assert max(before) < records[first]["data_change_record"]["commit_timestamp"]
    assert len(_data(messages)) == 2


def test_wrong_arguments_are_refused_here_too(dialect: Dialect) -> None:
    """No stream but the one, no tokens but its own."""
    with serve(dialect, ReadyMade(changes=40)) as simulator:
        database = simulated(simulator)
        with pytest.raises(exceptions.GoogleAPICallError, match="none"):
            official(Query(database, "none", now(), now(1)))
        with pytest.raises(exceptions.InvalidArgument, match="partition_token is invalid"):
            official(Query(database, "changes", now(), now(1), "made-up"))


def _messages(simulator: Simulator, ahead: float = 0.01, heartbeat_ms: int = 1000) -> list[bytes]:
    """The messages of the first partition."""
    database, start = simulated(simulator), start_of(simulator)
    time.sleep(0.02)
    [first, *_] = official(Query(database, "changes", start, now()))
    token = first["child_partitions_record"]["child_partitions"][0]["token"]
    return raw(Query(database, "changes", start, now(ahead), token, heartbeat_ms))


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
