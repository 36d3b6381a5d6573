"""Commits in the simulator: what becomes of transactions."""

from __future__ import annotations

import datetime
import json
from collections import Counter, defaultdict
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from spanwire.errors import ConfigError
from spanwire.simulator import (
    Column,
    Instant,
    Simulator,
    SimulatorConfig,
    Table,
    WorkloadConfig,
    delete,
    insert,
    update,
    upsert,
)
from spanwire.simulator.records import DataRecord

EVERY_TYPE = Table(
    "t",
    (
        Column("k", "BYTES", key=True),
        Column("i", "INT64"),
        Column("f", "FLOAT64"),
        Column("g", "FLOAT32"),
        Column("n", "NUMERIC"),
        Column("s", "STRING"),
        Column("b", "BYTES"),
        Column("o", "BOOL"),
        Column("d", "DATE"),
        Column("t", "TIMESTAMP"),
        Column("j", "JSON"),
        Column("l", "INT64", array=True),
        Column("m", "FLOAT64", array=True),
    ),
)


def changes(simulator: Simulator) -> list[dict[str, Any]]:
    """The ground truth, parsed."""
    return [json.loads(line) for line in simulator.committed()]


def records(simulator: Simulator) -> list[DataRecord]:
    """The typed records behind the ground truth."""
    return list(simulator._history._records)


@pytest.fixture
def simulator() -> Iterator[Simulator]:
    """Not started: commits need no server."""
    made = Simulator(SimulatorConfig(partitions=4, tables=(*SimulatorConfig().tables, EVERY_TYPE)))
    yield made
    made.close()


def test_canonical_form_of_every_type(simulator: Simulator) -> None:
    """Each type's canonical form, spelled out."""
    simulator.commit(
        [
            insert(
                "t",
                k=b"\x00\xff",
                i=-(2**63),
                f=1.5,
                g=0.1,
                n=Decimal("1.50"),
                s='é"\n',
                b=b"abc",
                o=True,
                d=datetime.date(33, 1, 2),
                t=Instant(-62_135_596_800, 120_000_000),
                j={"b": 1, "a": [None]},
                l=[1, None],
                m=[float("nan"), float("-inf"), -0.0, None],
            )
        ]
    )
    [line] = simulator.committed()
    change = json.loads(line)
    assert change["new"] == {
        "i": "-9223372036854775808",
        "f": "3ff8000000000000",
        "g": "3fb99999a0000000",
        "n": "1.5",
        "s": 'é"\n',
        "b": "YWJj",
        "o": True,
        "d": "0033-01-02",
        "t": "0001-01-01T00:00:00.120000000Z",
        "j": '{"a":[null],"b":1}',
        "l": ["1", None],
        "m": ["7ff8000000000000", "fff0000000000000", "8000000000000000", None],
    }
    assert change["keys"] == {"k": "AP8="}
    assert (change["old"], change["table"], change["mod_type"]) == ({}, "t", "INSERT")
    assert line == json.dumps(change, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    [record] = records(simulator)
    moment, transaction, sequence, number = change["version"].split("/")
    assert len(moment) == len("2026-11-23T17:50:32.669475000Z")
    assert (transaction, sequence, number) == (record.transaction_id, "00000000", "0")


def test_a_transaction_is_counted_over_its_partitions() -> None:
    """Every record says how many records and partitions there are; one in each partition is the last."""
    simulator = Simulator(SimulatorConfig(partitions=8))
    done = simulator.workload(WorkloadConfig(changes=2000, max_mods=30))
    logs = simulator._commits.lineage._logs
    assert done.changes == 2000
    transactions: dict[str, list[DataRecord]] = defaultdict(list)
    for record in records(simulator):
        transactions[record.transaction_id].append(record)
    assert len(transactions) == done.transactions
    several = 0
    for own in transactions.values():
        assert {record.records_in_transaction for record in own} == {len(own)}
        partitions = sum(record.is_last for record in own)
        assert {record.partitions_in_transaction for record in own} == {partitions}
        assert len({record.record_sequence for record in own}) == len(own)
        assert len({record.commit_timestamp for record in own}) == 1
        several += partitions > 1
    assert several > 10
    assert sum(len(log._rows) for log in logs.values()) == len(records(simulator))


def test_a_failed_transaction_leaves_nothing(simulator: Simulator) -> None:
    """Its first half is taken back, no record is written, no row has changed."""
    simulator.commit([insert("accounts", id=1, name="a")])
    with pytest.raises(ValueError, match="accounts: the row is not there"):
        simulator.commit(
            [
                update("accounts", id=1, name="b"),
                insert("accounts", id=2),
                delete("accounts", id=1),
                update("accounts", id=3),
            ]
        )
    with pytest.raises(ValueError, match="the row is there"):
        simulator.commit([insert("accounts", id=1)])
    simulator.commit([insert("accounts", id=2), update("accounts", id=1, name="c")])
    assert [change["old"] for change in changes(simulator) if change["mod_type"] == "UPDATE"] == [
        {"name": "a"}
    ]
    assert len(changes(simulator)) == 3


@pytest.mark.parametrize(
    ("mutation", "message"),
    [
        (insert("nowhere", id=1), "no table nowhere"),
        (insert("accounts", id=1, colour="red"), "no column accounts.colour"),
        (insert("accounts", name="x"), "accounts: the key's id must be given"),
        (insert("accounts", id="one"), r"accounts\.id: INT64 wants int"),
        (insert("accounts", id=True), r"accounts\.id: INT64 wants int"),
        (insert("accounts", id=1, tags="red"), r"accounts\.tags: an ARRAY wants a list"),
    ],
)
def test_wrong_values_are_refused_by_name(simulator: Simulator, mutation: Any, message: str) -> None:
    """The message names table and column and what is expected, never the value."""
    with pytest.raises(ValueError, match=message) as refused:
        simulator.commit([mutation])
    assert "red" not in str(refused.value)
    assert "one" not in str(refused.value)
    assert not changes(simulator)


def test_upsert_and_delete_do_what_the_row_needs(simulator: Simulator) -> None:
    """An upsert inserts, then updates; a delete of nothing is nothing."""
    simulator.commit([upsert("accounts", id=1, name="a"), delete("accounts", id=9)])
    simulator.commit([upsert("accounts", id=1, active=True)])
    simulator.commit([delete("accounts", id=1)])
    assert [change["mod_type"] for change in changes(simulator)] == ["INSERT", "UPDATE", "DELETE"]
    assert changes(simulator)[2]["old"]["name"] == "a"


def test_transactions_may_share_a_timestamp(simulator: Simulator) -> None:
    """Where they share no row; each keeps its identity and counts, and the logs order them by id."""
    commits = simulator.commit_together(
        [[insert("accounts", id=n), insert("accounts", id=n + 10)] for n in range(5)]
    )
    assert len({commit.timestamp for commit in commits}) == 1
    ids = [commit.transaction_id for commit in commits]
    assert ids == sorted(set(ids))
    assert [commit.changes for commit in commits] == [2] * 5
    assert len({change["version"] for change in changes(simulator)}) == 10
    with pytest.raises(ValueError, match="share a row"):
        simulator.commit_together([[update("accounts", id=1, name="a")], [delete("accounts", id=1)]])
    assert len(changes(simulator)) == 10


def test_the_workload_has_shared_timestamps() -> None:
    """Some of its transactions share one; both identities and rows stay apart."""
    simulator = Simulator(SimulatorConfig(partitions=1))
    simulator.workload(WorkloadConfig(changes=2000, max_mods=5))
    found: dict[int, set[str]] = defaultdict(set)
    for record in records(simulator):
        found[record.commit_timestamp].add(record.transaction_id)
    assert Counter(map(len, found.values()))[2] > 5


def test_a_workload_replayed_gives_the_tables_rows() -> None:
    """Applied in order, the ground truth never inserts twice, and every old value is the one before."""
    simulator = Simulator(SimulatorConfig(partitions=3, churn=200, capture="NEW_ROW_AND_OLD_VALUES"))
    simulator.workload(WorkloadConfig(changes=3000))
    rows: dict[str, dict[str, Any]] = {}
    kinds: Counter[str] = Counter()
    for change in changes(simulator):
        key = json.dumps([change["table"], change["keys"]])
        kinds[change["mod_type"]] += 1
        match change["mod_type"]:
            case "INSERT":
                assert key not in rows
                rows[key] = change["new"]
            case "UPDATE":
                assert change["old"] == {name: rows[key][name] for name in change["old"]}
                assert rows[key] | {name: change["new"][name] for name in change["old"]} == change["new"]
                rows[key] = change["new"]
            case _:
                assert change["old"] == rows.pop(key)
    assert all(kinds[kind] > 100 for kind in ("INSERT", "UPDATE", "DELETE"))


def test_one_seed_gives_one_history() -> None:
    """Partitions, transactions, values and sequences come from the seed; only timestamps do not."""

    def history(seed: int) -> list[Any]:
        simulator = Simulator(SimulatorConfig(seed=seed, partitions=3, churn=100))
        simulator.workload(WorkloadConfig(changes=500))
        found = changes(simulator)
        for change in found:
            change["version"] = change["version"].partition("/")[2]
        return [simulator.partitions, found]

    assert history(5) == history(5)
    assert history(5) != history(6)


def test_timestamps_rise_and_heartbeats_lie_between() -> None:
    """Every commit is later than the one before, and than any promise made in between."""
    simulator = Simulator()
    stamps = []
    for number in range(200):
        stamps += [simulator.commit([insert("accounts", id=number)]).timestamp, simulator._commits.now()]
    assert stamps == sorted(set(stamps))


def test_the_history_file_is_the_history(tmp_path: Path) -> None:
    """Written as it is committed or afterwards, the lines are the same."""
    paths = [tmp_path / "during.jsonl", tmp_path / "after.jsonl"]
    during = Simulator(SimulatorConfig(history=paths[0]))
    during.workload(WorkloadConfig(changes=300))
    assert during.write_history(paths[1]) == 300
    during.flush_history()
    assert paths[0].read_text("utf-8") == paths[1].read_text("utf-8")
    assert paths[0].read_text("utf-8").count("\n") == 300
    during.close()


def test_wrong_settings_are_named_together() -> None:
    """Every problem at once, each with its setting."""
    with pytest.raises(ConfigError) as refused:
        SimulatorConfig(partitions=0, chunk_bytes=3, dialect="mysql")  # type: ignore[arg-type]
    assert [problem.partition(":")[0] for problem in refused.value.problems] == [
        "partitions",
        "chunk_bytes",
        "dialect",
    ]
