"""Scripted faults of the simulator: what strikes, where, and that it strikes there again."""

from __future__ import annotations

import json
import re
from dataclasses import fields, replace
from pathlib import Path
from typing import Any, get_args

import pytest
from google.api_core import exceptions
from google.cloud.spanner_v1 import ExecuteSqlRequest, PartialResultSet
from hypothesis import given, settings
from hypothesis import strategies as st
from integration.oracle import merged
from support.replay import kind
from support.simulated import simulated
from support.stream_records import read, records

from spanwire.errors import ConfigError
from spanwire.simulator import Fault, FaultScript, Simulator, SimulatorConfig, Strike, WorkloadConfig, insert
from spanwire.simulator.__main__ import main
from spanwire.simulator.faults import Kind
from spanwire.simulator.queries import ChangeQuery
from spanwire.simulator.reading import Heartbeat
from spanwire.simulator.records import Mode
from spanwire.simulator.status import Refused, SessionLost
from spanwire.simulator.striking import Strikes
from spanwire.simulator.values import timestamp_text

pytestmark = pytest.mark.timeout(180)


def troubled(*faults: Fault, seed: int = 0, mode: Mode = "immutable", partitions: int = 1) -> Simulator:
    """A simulator with a script and forty changes, one row a message, not started."""
    config = SimulatorConfig(
        mode=mode,
        partitions=partitions,
        faults=FaultScript(faults, seed),
        message_bytes=0,
        mods_per_record=3,
        resume_every=1,
    )
    made = Simulator(config)
    made.workload(WorkloadConfig(changes=40, large_every=0))
    return made


def query(simulator: Simulator, partition: int = 0, heartbeat: int = 300_000) -> ChangeQuery:
    """All of a partition so far."""
    token = simulator.partitions[partition]
    end = simulator._commits.now()
    return ChangeQuery(simulator.config.function, simulator.created, end, token, heartbeat)


def served(simulator: Simulator, asked: ChangeQuery, resume: bytes = b"") -> tuple[list[bytes], str]:
    """The messages, and what ended them: a status' name or nothing."""
    got: list[bytes] = []
    try:
        for message in simulator.read(asked, resume, lambda: True):
            got.append(message)
    except Refused as refused:
        return got, refused.code.name
    except SessionLost:
        return got, "SESSION"
    return got, ""


@pytest.mark.parametrize(
    ("name", "code", "words"),
    [
        ("unavailable", "UNAVAILABLE", "unavailable"),
        ("aborted", "ABORTED", "aborted"),
        ("resource_exhausted", "RESOURCE_EXHAUSTED", "Quota"),
        ("deadline_exceeded", "DEADLINE_EXCEEDED", "Deadline"),
        ("reset", "INTERNAL", "RST_STREAM"),
        ("expired", "OUT_OF_RANGE", "too far in the past.*earliest read timestamp: 2"),
        ("partition_expired", "OUT_OF_RANGE", "no longer valid.*retention period"),
        ("unauthenticated", "UNAUTHENTICATED", "credentials"),
        ("permission_denied", "PERMISSION_DENIED", "permission"),
    ],
)
def test_a_stream_ends_with_the_status_asked_for(name: Any, code: str, words: str) -> None:
    """Behind the message before the one named, with Spanner's words; the next query is whole again."""
    simulator = troubled(Fault(name, message=3))
    asked = query(simulator)
    with pytest.raises(Refused, match=words):
        list(simulator.read(asked, b"", lambda: True))
    assert simulator.struck == [Strike(name, 0, 1, 3)]
    whole, status = served(simulator, asked)
    assert not status
    assert len(whole) > 5
    again = troubled(Fault(name, message=3))
    got, status = served(again, query(again))
    assert status == code
    assert len(got) == 2


def test_an_early_end_looks_like_the_end() -> None:
    """It ends cleanly, with less."""
    simulator = troubled(Fault("early_end", message=4))
    got, status = served(simulator, query(simulator))
    assert (len(got), status) == (3, "")
    assert len(served(simulator, query(simulator))[0]) > 3


@settings(max_examples=30, deadline=None)
@given(st.integers(1, 12), st.booleans(), st.sampled_from(["immutable", "mutable"]), st.integers(0, 99))
def test_what_came_before_a_fault_and_what_comes_after_is_the_whole(
    message: int, in_value: bool, mode: Mode, seed: int
) -> None:
    """A stream that broke, also within a value, goes on from its last resume token without loss."""
    simulator = troubled(Fault("reset", message=message, in_value=in_value), seed=seed, mode=mode)
    asked = query(simulator)
    before, status = served(simulator, asked)
    assert status == "INTERNAL"
    whole, status = served(simulator, asked)
    assert not status
    assert before[: message - 1] == whole[: message - 1]
    if in_value:
        part = PartialResultSet.deserialize(before[-1])
        assert part.chunked_value
        assert not part.resume_token
        before.pop()
    token = PartialResultSet.deserialize(before[-1]).resume_token if before else b""
    rest, status = served(simulator, asked, token)
    read_records = records if mode == "mutable" else merged
    assert list(read_records([*before, *rest])) == list(read_records(whole))


def test_a_cut_value_is_the_beginning_of_the_whole() -> None:
    """In mutable mode a value is one string: what came of it is how it begins."""
    simulator = troubled(Fault("unavailable", message=2, in_value=True), mode="mutable")
    asked = query(simulator)
    [_, piece], status = served(simulator, asked)
    whole = PartialResultSet.pb(PartialResultSet.deserialize(served(simulator, asked)[0][1]))
    [begun] = PartialResultSet.pb(PartialResultSet.deserialize(piece)).values
    assert status == "UNAVAILABLE"
    assert 0 < len(begun.string_value) <= len(whole.values[0].string_value)
    assert whole.values[0].string_value.startswith(begun.string_value)


def test_queries_are_counted_by_partition() -> None:
    """From the second query on, twice, in partition 1 alone; the initial query has faults of its own."""
    simulator = troubled(
        Fault("unavailable", partition=1, query=2, queries=2),
        Fault("aborted", partition="initial"),
        partitions=3,
    )
    ends = {
        partition: [served(simulator, query(simulator, partition))[1] for _ in range(4)]
        for partition in range(3)
    }
    assert ends == {0: [""] * 4, 1: ["", "UNAVAILABLE", "UNAVAILABLE", ""], 2: [""] * 4}
    first = ChangeQuery(simulator.config.function, simulator.created, None, None, 1000)
    assert [served(simulator, first)[1] for _ in range(2)] == ["ABORTED", ""]


def test_the_same_script_gives_the_same_faults() -> None:
    """Probabilities come from the script's seed and the place, whatever the time and the order."""

    def strikes(seed: int, *, backwards: bool = False) -> list[Strike]:
        simulator = troubled(
            Fault("unavailable", queries=0, probability=0.1),
            Fault("reset", queries=0, probability=0.05, in_value=True),
            seed=seed,
            partitions=3,
        )
        for partition in sorted(range(3), reverse=backwards):
            for _ in range(6):
                served(simulator, query(simulator, partition))
        return simulator.struck

    first = strikes(1)
    assert len(first) > 5
    assert {strike.kind for strike in first} == {"unavailable", "reset"}
    assert strikes(1) == strikes(1, backwards=True) == first
    assert strikes(2) != first


@pytest.mark.parametrize("mode", ["immutable", "mutable"])
def test_children_are_named_twice(mode: Mode) -> None:
    """The record that names new partitions comes twice, equal; only in the partition of the script."""
    simulator = troubled(Fault("duplicate_children", partition=0), mode=mode, partitions=2)
    first, second = simulator.partitions
    simulator.split(first)
    simulator.split(second)
    end = simulator._commits.now()

    def named(token: str) -> list[str]:
        if mode == "mutable":
            found = read(simulator, token, simulator.created, end)
            return [str(record) for record in found if kind(record) == "partition_start_record"]
        asked = ChangeQuery(simulator.config.function, simulator.created, end, token, 1000)
        found = merged(simulator.read(asked, b"", lambda: True))
        return [json.dumps(record) for record in found if "child_partitions_record" in record]

    twice, once = named(first), named(second)
    assert len(twice) == 2 * len(set(twice))
    assert len(once) == len(set(once))
    assert simulator.struck == [Strike("duplicate_children", 0, 0, 0)]


def test_heartbeats_come_late_or_out_of_turn() -> None:
    """One is left out; another comes behind the one that follows it. Nothing else changes."""
    for name, expected in (("late_heartbeat", [0, 2]), ("stale_heartbeat", [0, 2, 1])):
        simulator = troubled(Fault(name, message=2))  # type: ignore[arg-type]
        asked = ChangeQuery(
            simulator.config.function, simulator._commits.now(), None, simulator.partitions[0], 100
        )
        got: list[str] = []
        stream = simulator.read(asked, b"", lambda: True)
        while len(got) < len(expected):
            rows = PartialResultSet.deserialize(next(stream)).values
            got += [row[0][1][0][0] for row in rows]  # a list of structs of lists of structs
        order = [sorted(got).index(beat) for beat in got]
        assert order == ([0, 1] if name == "late_heartbeat" else expected)
        assert [strike.message for strike in simulator.struck] == [2]


def test_a_heartbeat_out_of_turn_stays_out_of_values() -> None:
    """It comes behind what follows it, and behind all parts of a value that goes on in several messages."""

    def message(text: str, *, chunked: bool = False) -> bytes:
        result = PartialResultSet.pb(PartialResultSet(chunked_value=chunked))
        result.values.add().string_value = text
        return bytes(result.SerializeToString())

    def texts(sent: bytes) -> list[str]:
        return [
            value.string_value for value in PartialResultSet.pb(PartialResultSet.deserialize(sent)).values
        ]

    beat, parts = message("beat"), [message("a", chunked=True), message("b", chunked=True), message("c")]
    strikes = Strikes(FaultScript((Fault("stale_heartbeat", message=1),)), lambda token: 0)
    asked = ChangeQuery("read", 0, None, "token", 100)
    first, *rest = strikes.apply(asked, iter([Heartbeat(beat), *parts]))
    assert not texts(first)
    assert [texts(one) for one in rest] == [["a"], ["b"], ["c"], ["beat"]]


def test_a_lost_session_stays_lost() -> None:
    """Over gRPC: NOT_FOUND names the session, which takes no more queries; another one does."""
    with troubled(Fault("session_lost", message=2)) as simulator:
        client = simulated(simulator).client
        api = client.spanner_api
        lost, other = (api.create_session(database=client.name).name for _ in range(2))
        asked = query(simulator)
        sql = (
            f"SELECT ChangeRecord FROM READ_changes(TIMESTAMP '{timestamp_text(asked.start)}', "
            f"TIMESTAMP '{timestamp_text(asked.end or 0)}', '{asked.token}', 1000)"
        )

        def rows(session: str) -> int:
            stream = api.execute_streaming_sql(ExecuteSqlRequest(session=session, sql=sql))
            return sum(len(message.values) for message in stream)

        for _ in range(2):
            with pytest.raises(exceptions.NotFound, match=f"Session not found: {lost}"):
                rows(lost)
        assert rows(other) > 5


def test_a_script_is_read_from_toml_and_json(tmp_path: Path) -> None:
    """Both hold the same; members are the dataclass's."""
    toml, as_json = tmp_path / "faults.toml", tmp_path / "faults.json"
    toml.write_text(
        'seed = 7\n[[fault]]\nkind = "reset"\npartition = 0\nmessage = 3\nin_value = true\n'
        '[[fault]]\nkind = "unavailable"\npartition = "initial"\nqueries = 0\nprobability = 0.5\n',
        encoding="utf-8",
    )
    as_json.write_text(
        json.dumps(
            {
                "seed": 7,
                "fault": [
                    {"kind": "reset", "partition": 0, "message": 3, "in_value": True},
                    {"kind": "unavailable", "partition": "initial", "queries": 0, "probability": 0.5},
                ],
            }
        ),
        encoding="utf-8",
    )
    expected = FaultScript(
        (
            Fault("reset", partition=0, message=3, in_value=True),
            Fault("unavailable", partition="initial", queries=0, probability=0.5),
        ),
        seed=7,
    )
    assert FaultScript.load(toml) == FaultScript.load(as_json) == expected


def test_the_documented_script_is_one(tmp_path: Path) -> None:
    """The example in docs/simulator.md loads as it stands, and its tables name every member and kind."""
    text = (Path(__file__).parents[2] / "docs" / "simulator.md").read_text(encoding="utf-8")
    [script] = re.findall(r"^```toml\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)
    path = tmp_path / "faults.toml"
    path.write_text(script, encoding="utf-8")
    assert [fault.kind for fault in FaultScript.load(path).faults] == ["reset", "unavailable"]
    tables = text[text.index("| Member |") :]
    named = {name for row in re.findall(r"^\| (`.*?) \|", tables, re.MULTILINE) for name in row.split(", ")}
    expected = {field.name for field in fields(Fault)} | set(get_args(Kind))
    assert {name.strip("`") for name in named} == expected


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ('[[fault]]\nkind = "flood"', r"fault 1: kind: must be one of unavailable, .* is \"flood\""),
        (
            '[[fault]]\nkind = "reset"\n[[fault]]\nkind = "reset"\nmessages = 1',
            "fault 2: there is no messages",
        ),
        ('[[fault]]\nkind = "reset"\nmessage = 0', "fault 1: message: must be 1 or more, is 0"),
        ('[[fault]]\nkind = "late_heartbeat"\nin_value = true', "in_value: is not for late_heartbeat"),
        ('[[fault]]\nkind = "reset"\nprobability = 2.0', "probability: must be between 0 and 1"),
        ('[[fault]]\nkind = "reset"\npartition = "last"', 'partition: must be a number or "initial"'),
        ("[[fault]]\nmessage = 1", "fault 1: must be a table with a kind"),
        ("faults = 1", "holds seed and fault, nothing else; there is faults"),
        ("= 1", "is neither TOML nor JSON"),
    ],
)
def test_a_wrong_script_is_refused_in_one_line(
    text: str, words: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """File, fault and member are named; the process ends with 2."""
    path = tmp_path / "script.toml"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(ConfigError, match=words):
        FaultScript.load(path)
    assert main(["--faults", str(path)]) == 2
    assert str(path) in capsys.readouterr().err


def test_a_faultless_simulator_strikes_nothing() -> None:
    """Without a script nothing strikes."""
    simulator = troubled()
    simulator.commit([insert("accounts", id=10**9)])
    assert served(simulator, query(simulator))[1] == ""
    assert simulator.struck == []


@pytest.mark.parametrize("other", [{"heartbeat": 2000}, {"end": None}])
def test_a_resume_token_belongs_to_its_query_with_all_parameters(other: dict[str, Any]) -> None:
    """As Spanner's API says of ExecuteSqlRequest.resume_token; Spanner may refuse any other."""
    simulator = troubled(Fault("reset", message=3))
    asked = query(simulator)
    before, _ = served(simulator, asked)
    token = PartialResultSet.deserialize(before[-1]).resume_token
    assert token
    assert served(simulator, replace(asked, **other), token) == ([], "INVALID_ARGUMENT")
