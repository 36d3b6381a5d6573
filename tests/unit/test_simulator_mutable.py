"""MUTABLE_KEY_RANGE in the simulator: what it serves, by the official types and Spanner's rules."""

from __future__ import annotations

import json
import random
import re
from collections import Counter, defaultdict
from collections.abc import Iterator
from itertools import pairwise
from typing import Any

import pytest
from google.api_core import exceptions
from google.cloud.spanner_v1 import PartialResultSet, TypeCode, param_types
from hypothesis import example, given, settings
from hypothesis import strategies as st
from integration.emulator import DIALECTS, Dialect
from support import replay
from support.replay import Replay, destinations, kind, sequence, sources, stamp
from support.simulated import simulated
from support.stream_records import lines, read, records

from spanwire.errors import ConfigError
from spanwire.simulator import Move, ReadyMade, Simulator, SimulatorConfig, WorkloadConfig, insert, update
from spanwire.simulator.moves import KeyRanges
from spanwire.simulator.partitions import SPACE
from spanwire.simulator.queries import ChangeQuery
from spanwire.simulator.status import Refused
from spanwire.simulator.values import timestamp_text

pytestmark = pytest.mark.timeout(180)
MINUTE = 60_000_000_000


@pytest.fixture(params=DIALECTS)
def dialect(request: pytest.FixtureRequest) -> Dialect:
    """Each in turn."""
    return request.param


@pytest.fixture
def simulator(dialect: Dialect) -> Iterator[Simulator]:
    """Three partitions, not started: no churn but what a test does."""
    made = Simulator(SimulatorConfig(mode="mutable", dialect=dialect, partitions=3))
    yield made
    made.close()


def churned(seed: int, dialect: Dialect = "googlesql", changes: int = 400, churn: int = 12) -> Simulator:
    """A simulator that has run a workload with much churn."""
    config = SimulatorConfig(
        mode="mutable", dialect=dialect, partitions=3, churn=churn, seed=seed, chop=9, mods_per_record=5
    )
    made = Simulator(config)
    made.workload(WorkloadConfig(changes=changes, max_mods=12, large_every=0))
    return made


def replayed(simulator: Simulator, schedule: int = 0, *, gated: bool = True) -> Replay:
    """The whole stream, replayed."""
    end = simulator._commits.now()
    made = Replay(
        lambda token, start: read(simulator, token, start, end), random.Random(schedule), gated=gated
    )
    made.run(simulator.created)
    return made


def out_of_order(run: Replay) -> int:
    """How often a change of a row was processed behind a later one."""
    newest: dict[str, str] = {}
    found = 0
    for line in (json.loads(line) for _, record in replay.data(run.processed) for line in lines(record)):
        row = json.dumps([line["table"], line["keys"]], sort_keys=True)
        version = line["version"].partition("/")[0]
        found += version < newest.get(row, "")
        newest[row] = max(version, newest.get(row, ""))
    return found


# ------------------------------------------------------------------ the whole


@settings(max_examples=8, deadline=None)
@given(st.integers(0, 2**32), st.sampled_from(DIALECTS), st.integers(0, 2**32))
@example(112, "googlesql", 0)  # rows that move twice, and a source that stands at the first of the moves
def test_a_replay_by_the_rules_gives_each_change_once_in_order(
    seed: int, dialect: Dialect, schedule: int
) -> None:
    """Over moves, splits, ends and swaps: all that was committed, unaltered, once, each row's in order."""
    simulator = churned(seed, dialect)
    run = replayed(simulator, schedule)
    got = [line for _, record in replay.data(run.processed) for line in lines(record)]
    assert sorted(got) == sorted(simulator.committed())
    assert not out_of_order(run)
    assert all(one.next is None for one in run.partitions.values())


def test_without_waiting_at_moves_the_order_breaks() -> None:
    """The check above has something to find: a reader that ignores events gets rows out of order."""
    simulator = churned(3, changes=700)
    assert sum(out_of_order(replayed(simulator, schedule, gated=False)) for schedule in range(3))


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 2**32), st.integers(1, 8))
def test_every_place_has_one_owner_at_any_time(seed: int, count: int) -> None:
    """After each turn the living partitions' ranges cover the key space without overlap."""
    ranges = KeyRanges(count, 0, random.Random(seed))
    rng = random.Random(seed)
    for at in range(1, 40):
        turn = ranges.churn(at, max(1, count // 2), count * 2, swaps=rng.random() < 0.5)
        owned = sorted((low, high, token) for token in ranges.live for low, high in ranges.ranges(token))
        assert (owned[0][0], owned[-1][1]) == (0, SPACE)
        assert all(left[1] == right[0] for left, right in pairwise(owned))
        assert all(ranges.owner(low) == ranges.owner(high - 1) == token for low, high, token in owned)
        assert max(1, count // 2) <= len(ranges.live) <= count * 2
        assert turn is None or set(turn.ended).isdisjoint(ranges.live)


def test_the_churn_has_everything() -> None:
    """Splits, moves of a part and of all, swaps, several sources, ends: each comes within a few turns."""
    simulator = churned(5, changes=900)
    events: Counter[str] = Counter()
    shared = 0
    for token, record in replayed(simulator).processed:
        events[kind(record)] += 1
        if kind(record) == "partition_event_record":
            events["several"] += len(sources(record)) > 1
            events["swap"] += bool(set(sources(record)) & set(destinations(record)))
        if kind(record) == "partition_end_record":
            assert record.partition_end_record.partition_token == token
    at = defaultdict(set)
    for token, record in replayed(simulator).processed:
        at[token, stamp(record)].add(kind(record))
    shared = sum("data_change_record" in kinds and len(kinds) > 1 for kinds in at.values())
    assert shared > 3
    assert all(events[name] > 2 for name in ("several", "swap", "partition_end_record"))
    assert events["partition_start_record"] > 3


def test_one_seed_gives_one_stream() -> None:
    """Tokens, moves and record sequences come from the seed; only the time of day differs."""

    def told(seed: int) -> list[Any]:
        return [
            (token, kind(record), sequence(record))
            for token, record in replayed(churned(seed, changes=200)).processed
        ]

    assert told(1) == told(1)
    assert told(1) != told(2)


# ------------------------------------------------------------------ records


def test_sequences_rise_within_a_timestamp() -> None:
    """Hexadecimal, unique and rising over all kinds of records of a partition's timestamp."""
    simulator = churned(9)
    seen: dict[tuple[str, int], list[str]] = defaultdict(list)
    of_transaction: dict[str, list[str]] = defaultdict(list)
    for token, record in replayed(simulator).processed:
        assert re.fullmatch("[0-9a-f]{16}-[0-9a-f]{8}", sequence(record))
        seen[token, stamp(record)].append(sequence(record))
        if kind(record) == "data_change_record":
            of_transaction[record.data_change_record.server_transaction_id].append(sequence(record))
    assert all(names == sorted(set(names)) for names in seen.values())
    assert max(map(len, seen.values())) > 3
    assert all(len(set(names)) == len(names) for names in of_transaction.values())


def test_the_initial_query_names_who_lives(simulator: Simulator) -> None:
    """Start records from the query's start on; who ended before is not among them, who ended then is."""
    tokens = simulator.partitions
    first, second, _ = tokens
    named = [
        (record.partition_start_record.partition_tokens, stamp(record))
        for record in read(simulator, None, simulator.created, simulator.created)
    ]
    assert sorted(token for tokens, _ in named for token in tokens) == sorted(tokens)
    assert {at for _, at in named} == {simulator.created}
    ended = simulator.move(Move(first, second), ends=[first])

    def living(at: int) -> set[str]:
        found = read(simulator, None, at, at)
        return {token for record in found for token in record.partition_start_record.partition_tokens}

    assert living(ended) == set(tokens)
    assert living(ended + 1) == set(tokens) - {first}


def test_a_split_is_told_in_parent_and_child(simulator: Simulator) -> None:
    """The parent: start record, then what moved out; the child: what moved in, at its start; parent lives."""
    parent = simulator.partitions[0]
    [first, second] = simulator.split(parent, 3)
    end = simulator._commits.now()
    start, *moved_out = read(simulator, parent, simulator.created, end)
    assert list(start.partition_start_record.partition_tokens) == [first, second]
    assert [token for record in moved_out for token in destinations(record)] == [first, second]
    for child in (first, second):
        [event] = read(simulator, child, stamp(start), end)
        assert sources(event) == [parent]
        assert stamp(event) == stamp(start) == stamp(moved_out[-1])
        assert event.partition_event_record.partition_token == child
    assert len(simulator.partitions) == 5
    simulator.commit([insert("accounts", id=number) for number in range(400)])
    later = simulator._commits.now()
    assert all(read(simulator, token, end, later)[0].data_change_record.table for token in (parent, first))


def test_partitions_swap_at_one_moment(simulator: Simulator) -> None:
    """Two partitions that each take from the other: both events have one timestamp, keys change sides."""
    one, other, third = simulator.partitions
    simulator.commit([insert("accounts", id=number) for number in range(90)])
    before = {token: keys_of(simulator, token, simulator.created) for token in (one, other, third)}
    at = simulator.move(Move(one, other), Move(other, one))
    simulator.commit([update("accounts", id=number, name="x") for number in range(90)])
    after = {token: keys_of(simulator, token, at) for token in (one, other, third)}
    assert after == {one: before[other], other: before[one], third: before[third]}
    end = simulator._commits.now()
    events = [
        record
        for token in (one, other)
        for record in read(simulator, token, at, end)
        if kind(record) == "partition_event_record"
    ]
    assert {stamp(event) for event in events} == {at}
    assert {token for event in events for token in sources(event)} == {one, other}
    assert not out_of_order(replayed(simulator))


def test_what_moves_from_several_is_named_in_one(simulator: Simulator) -> None:
    """The destination names every source, each source the destination; then one ends, told last."""
    one, other, heir = simulator.partitions
    at = simulator.move(Move(one, heir, 0.5), Move(other, heir), ends=[other])
    end = simulator._commits.now()
    came = [token for record in read(simulator, heir, at, end) for token in sources(record)]
    assert came == [one, other]
    kinds = [kind(record) for record in read(simulator, other, at, end)]
    assert kinds == ["partition_event_record", "partition_end_record"]
    assert simulator.partitions == [one, heir]


def test_a_merge_leaves_the_first(simulator: Simulator) -> None:
    """What the others own goes to the first, and they end, without a child."""
    tokens = simulator.partitions
    assert simulator.merge(tokens) == tokens[0]
    assert simulator.partitions == tokens[:1]


def test_what_cannot_move_is_refused_and_changes_nothing(simulator: Simulator) -> None:
    """Unknown, ended, itself, nothing, too much, or who ends with key ranges."""
    one, other, third = simulator.partitions
    simulator.move(Move(third, other), ends=[third])
    wrong = [
        ((Move(one, third),), ()),
        ((Move("x", one),), ()),
        ((Move(one, one),), ()),
        ((Move(one, other, 0.0),), ()),
        ((Move(one, other, 1.5),), ()),
        ((Move(one, other), Move(one, other)), ()),
        ((Move(one, other, 0.5),), (one,)),
        ((), (one,)),
    ]
    for moves, ends in wrong:
        with pytest.raises(ValueError, match=r"partition|share"):
            simulator.move(*moves, ends=ends)
    with pytest.raises(ValueError, match="no live partition"):
        simulator.split(third)
    end = simulator._commits.now()
    assert [kind(record) for record in read(simulator, one, simulator.created, end)] == ["heartbeat_record"]
    immutable = Simulator(SimulatorConfig(partitions=2))
    with pytest.raises(ValueError, match="mutable"):
        immutable.move(Move(*immutable.partitions))


def keys_of(simulator: Simulator, token: str, start: int) -> set[str]:
    """Keys whose changes a partition has from then on."""
    found = read(simulator, token, start, simulator._commits.now())
    data = [record.data_change_record for record in found if kind(record) == "data_change_record"]
    return {json.loads(line)["keys"]["id"] for record in data for line in lines(record)}


# ------------------------------------------------------------------ queries


def test_a_window_must_end_within_half_an_hour(simulator: Simulator) -> None:
    """No end, or one more than 30 minutes past now and start, is an INVALID_ARGUMENT that says so."""
    token, start = simulator.partitions[0], simulator.created
    function = simulator.config.function
    for end in (None, simulator._commits.now() + 31 * MINUTE):
        query = ChangeQuery(function, start, end, token, 1000)
        with pytest.raises(Refused, match=r"end_timestamp .* MUTABLE_KEY_RANGE") as refused:
            next(simulator.read(query, b"", lambda: True))
        assert refused.value.code.name == "INVALID_ARGUMENT"
    later = simulator._commits.now() + 29 * MINUTE
    assert next(simulator.read(ChangeQuery(function, start, later, token, 100), b"", lambda: True))


def test_windows_in_turn_give_the_whole() -> None:
    """Read window by window, each from where the last one ended: nothing is lost, ends come twice at most."""
    simulator = churned(4, changes=300)
    end = simulator._commits.now()
    token = simulator.partitions[0]
    span = simulator._commits.lineage.get(token)
    assert span is not None
    whole = read(simulator, token, span.start, end)
    rng = random.Random(4)
    ends = sorted({*(stamp(record) for record in rng.sample(whole, 8)), rng.randrange(span.start, end), end})
    got: dict[tuple[int, str], Any] = {}
    for start, last in pairwise([span.start, *ends]):
        for record in read(simulator, token, start, last):
            if kind(record) != "heartbeat_record":
                assert start <= stamp(record) <= last
                got[stamp(record), sequence(record)] = record
    assert list(got.values()) == whole
    assert len(whole) > 20


def test_a_partition_is_not_read_past_its_end(simulator: Simulator) -> None:
    """At its end the end record comes again; a nanosecond later it is out of range, as before its start."""
    first, second, _ = simulator.partitions
    at = simulator.move(Move(first, second), ends=[first])
    now = simulator._commits.now()
    assert kind(read(simulator, first, at, now)[-1]) == "partition_end_record"
    for token, start in ((first, at + 1), (simulator.split(second)[0], at)):
        with pytest.raises(Refused, match="invalid for the partition") as refused:
            read(simulator, token, start, simulator._commits.now())
        assert refused.value.code.name == "OUT_OF_RANGE"


def test_heartbeats_have_timestamps_of_their_own(simulator: Simulator) -> None:
    """While changes and moves come in, no heartbeat shares a timestamp with another record, and none lies."""
    query = ChangeQuery(
        simulator.config.function,
        simulator.created,
        simulator._commits.now() + MINUTE,
        simulator.partitions[0],
        100,
    )
    got: list[Any] = []
    stream = records(simulator.read(query, b"", lambda: len(got) < 12))
    for number in range(12):
        if number % 3 == 0:
            simulator.commit([insert("accounts", id=number * 100 + one) for one in range(30)])
            simulator.move(Move(*simulator.partitions[:2], 0.1))
        got.append(next(stream))
    beats = [stamp(record) for record in got if kind(record) == "heartbeat_record"]
    others = [stamp(record) for record in got if kind(record) != "heartbeat_record"]
    assert beats
    assert others
    assert not set(beats) & set(others)
    assert [stamp(record) for record in got] == sorted(stamp(record) for record in got)


def test_resuming_within_a_value_goes_on_there(dialect: Dialect) -> None:
    """From any resume token, also in the middle of base64: what came and what comes is the whole."""
    config = SimulatorConfig(
        mode="mutable", dialect=dialect, partitions=1, chunk_bytes=300, chop=2, resume_every=1
    )
    made = Simulator(config)
    made.workload(WorkloadConfig(changes=40, large_every=0))
    query = ChangeQuery(config.function, made.created, made._commits.now(), made.partitions[0], 1000)
    whole = list(made.read(query, b"", lambda: True))
    expected = list(records(whole))
    within = 0
    for place in range(0, len(whole) - 1, 3):
        first = PartialResultSet.deserialize(whole[place])
        within += first.chunked_value
        rest = made.read(query, first.resume_token, lambda: True)
        assert list(records([*whole[: place + 1], *rest])) == expected
    assert within


def test_the_official_client_reads_it(dialect: Dialect) -> None:
    """Over gRPC: the option, the function in the dialect's spelling, the column's name and type."""
    config = SimulatorConfig(mode="mutable", dialect=dialect, partitions=2)
    with Simulator(config) as running:
        client = simulated(running).client
        running.commit([insert("accounts", id=1)])
        sql = "SELECT option_value FROM information_schema.change_stream_options "
        with client.snapshot() as snapshot:
            found = snapshot.execute_sql(f"{sql}WHERE option_name = 'partition_mode'")
            assert list(found) == [["MUTABLE_KEY_RANGE"]]
        function = {
            "googlesql": "SELECT ChangeRecord FROM READ_changes(@p1, @p2, @p3, @p4)",
            "postgresql": "SELECT * FROM spanner.read_proto_bytes_changes($1, $2, $3, $4, null)",
        }[dialect]
        params = {
            "p1": timestamp_text(running.created),
            "p2": timestamp_text(running._commits.now()),
            "p3": None,
            "p4": 1000,
        }
        moment = param_types.TIMESTAMP
        kinds = {"p1": moment, "p2": moment, "p3": param_types.STRING, "p4": param_types.INT64}
        with client.snapshot() as snapshot:
            found = snapshot.execute_sql(function, params=params, param_types=kinds)
            assert len(list(found)) in (1, 2)
            column = found.fields[0]
        if dialect == "googlesql":
            assert (column.name, column.type_.code) == ("ChangeRecord", TypeCode.PROTO)
            assert column.type_.proto_type_fqn == "google.spanner.v1.ChangeStreamRecord"
            return
        assert (column.name, column.type_.code) == ("read_proto_bytes_changes", TypeCode.BYTES)
        other = function.replace("proto_bytes", "json")
        with pytest.raises(exceptions.NotFound, match="read_json"), client.snapshot() as snapshot:
            list(snapshot.execute_sql(other, params=params, param_types=kinds))


def test_ready_made_messages_are_immutable_only() -> None:
    """They are made of the other shapes."""
    with pytest.raises(ConfigError, match="ready_made"):
        SimulatorConfig(mode="mutable", ready_made=ReadyMade())
