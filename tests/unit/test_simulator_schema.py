"""Tables of the simulator that change while changes are committed."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any, get_args

import pytest
from integration.emulator import DIALECTS, Dialect
from support.stream_records import delivered

from spanwire.simulator import Column, Simulator, SimulatorConfig, Table, WorkloadConfig, insert, update
from spanwire.simulator.records import Mode

pytestmark = pytest.mark.timeout(180)
BEFORE = Table("t", (Column("k", "INT64", key=True), Column("name", "STRING"), Column("gone", "INT64")))
AFTER = Table(
    "t", (Column("k", "INT64", key=True), Column("name", "BYTES"), Column("new", "FLOAT64", array=True))
)


def simulated(mode: Mode = "immutable", dialect: Dialect = "googlesql") -> Simulator:
    """One table, one partition, not started."""
    return Simulator(SimulatorConfig(mode=mode, dialect=dialect, tables=(BEFORE,), partitions=1))


def changes(simulator: Simulator) -> list[dict[str, Any]]:
    """The ground truth, parsed."""
    return [json.loads(line) for line in simulator.committed()]


@pytest.mark.parametrize("dialect", DIALECTS)
@pytest.mark.parametrize("mode", get_args(Mode))
def test_the_stream_says_each_record_in_the_columns_of_its_time(dialect: Dialect, mode: Mode) -> None:
    """Columns added, dropped and retyped, tables created and dropped: stream and ground truth agree."""
    simulator = simulated(mode, dialect)
    simulator.workload(WorkloadConfig(changes=100, large_every=0))
    simulator.alter_table(AFTER)
    simulator.create_table(replace(BEFORE, name="u"))
    simulator.workload(WorkloadConfig(changes=100, large_every=0))
    simulator.drop_table("t")
    simulator.workload(WorkloadConfig(changes=50, large_every=0))
    simulator.create_table(BEFORE)
    simulator.workload(WorkloadConfig(changes=50, large_every=0))
    committed = changes(simulator)
    assert delivered(simulator) == list(simulator.committed())
    columns = {
        (change["table"], tuple(change["new"])) for change in committed if change["mod_type"] == "INSERT"
    }
    assert columns == {("t", ("gone", "name")), ("t", ("name", "new")), ("u", ("gone", "name"))}
    assert {"INSERT", "UPDATE"} <= {change["mod_type"] for change in committed[100:200]}


def test_rows_keep_what_the_new_columns_can_hold() -> None:
    """An added column is NULL, a retyped one converted, a dropped one gone."""
    simulator = simulated()
    simulator.commit([insert("t", k=1, name="é", gone=5)])
    simulator.alter_table(AFTER)
    simulator.commit([update("t", k=1, new=[1.0])])
    assert changes(simulator)[-1]["new"] == {"name": "w6k=", "new": ["3ff0000000000000"]}
    assert changes(simulator)[-1]["old"] == {"new": None}
    assert "`name` BYTES(MAX)" in simulator.ddl[0]


@pytest.mark.parametrize(
    ("columns", "words"),
    [
        ((Column("k", "STRING", key=True), *BEFORE.values), "primary key"),
        ((Column("k", "INT64", key=True), Column("name", "DATE")), "name: STRING cannot become DATE"),
        ((Column("k", "INT64", key=True), Column("name", "STRING", array=True)), "name: an array stays"),
    ],
)
def test_what_spanner_does_not_alter_is_refused(columns: tuple[Column, ...], words: str) -> None:
    """By name, and nothing is altered."""
    simulator = simulated()
    simulator.commit([insert("t", k=1, name="a")])
    with pytest.raises(ValueError, match=words):
        simulator.alter_table(Table("t", columns))
    simulator.commit([update("t", k=1, name="b")])
    assert changes(simulator)[-1]["old"] == {"name": "a"}


def test_tables_come_and_go_by_name() -> None:
    """A second one of a name and one that is not there are refused."""
    simulator = simulated()
    with pytest.raises(ValueError, match="there is a table t"):
        simulator.create_table(BEFORE)
    for do in (lambda: simulator.drop_table("u"), lambda: simulator.alter_table(replace(BEFORE, name="u"))):
        with pytest.raises(ValueError, match="no table u"):
            do()
    simulator.drop_table("t")
    with pytest.raises(ValueError, match="no table t"):
        simulator.commit([insert("t", k=1)])
