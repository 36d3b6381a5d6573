"""All types in the simulator: what it serves says what it wrote into its ground truth."""

from __future__ import annotations

import json
from collections import defaultdict
from decimal import Decimal
from typing import Any, get_args

import pytest
from integration.emulator import DIALECTS, Dialect
from support.stream_records import delivered

from spanwire.simulator import (
    Column,
    Instant,
    Simulator,
    SimulatorConfig,
    Table,
    WorkloadConfig,
    all_tables,
    insert,
)
from spanwire.simulator.records import Capture, Mode
from spanwire.simulator.schema import Code

pytestmark = pytest.mark.timeout(180)
NAN, INFINITE = "7ff8000000000000", "7ff0000000000000"


@pytest.mark.parametrize("dialect", DIALECTS)
@pytest.mark.parametrize("mode", get_args(Mode))
@pytest.mark.parametrize("capture", get_args(Capture))
def test_every_type_is_served_as_it_was_committed(dialect: Dialect, mode: Mode, capture: Capture) -> None:
    """Both dialects, both modes, all captures: the stream and the ground truth agree in every value."""
    config = SimulatorConfig(
        dialect=dialect, mode=mode, capture=capture, tables=all_tables(dialect), chunk_bytes=2000, chop=5
    )
    simulator = Simulator(config)
    simulator.workload(WorkloadConfig(changes=150, large_every=30, large_bytes=9000))
    assert sorted(delivered(simulator)) == sorted(simulator.committed())


@pytest.mark.parametrize("dialect", DIALECTS)
def test_the_workload_has_every_edge(dialect: Dialect) -> None:
    """Each type with NULL, in arrays with NULL elements, empty ones; special values; keys that are NULL."""
    simulator = Simulator(SimulatorConfig(dialect=dialect, tables=all_tables(dialect)))
    simulator.workload(WorkloadConfig(changes=3000, large_every=250, large_bytes=50_000))
    values: dict[str, list[Any]] = defaultdict(list)
    null_keys = large = 0
    for change in map(json.loads, simulator.committed()):
        null_keys += None in change["keys"].values()
        for name, value in change["new"].items():
            values[f"{change['table']}.{name}"].append(value)
            large += isinstance(value, str) and len(value) > 20_000
    assert null_keys > 20
    assert large
    codes = {column.code for table in all_tables(dialect) for column in table.columns}
    other = {"googlesql": {"PG_OID"}, "postgresql": {"PROTO", "ENUM"}}[dialect]
    assert codes == set(get_args(Code)) - other
    for code in codes:
        scalars, arrays = values[f"sales.orders.a_{code.lower()}"], values[f"склад.品目.列_{code.lower()}"]
        assert None in scalars
        assert any(value is not None for value in scalars)
        assert [] in arrays
        assert any(array and None in array and array.count(None) < len(array) for array in arrays)
    assert {NAN, INFINITE, "8000000000000000"} <= set(values["sales.orders.a_float32"])
    assert {NAN, INFINITE, "8000000000000000"} <= set(values["sales.orders.a_float64"])
    moments = [value for value in values["sales.orders.a_timestamp"] if value]
    assert {"0001-01-01T00:00:00", "9999-12-31T23:59:59"} <= {value[:19] for value in moments}
    assert any(value.endswith(".999999999Z") for value in moments)
    assert ("NaN" in values["sales.orders.a_numeric"]) is (dialect == "postgresql")
    assert "" in values["sales.orders.a_string"]
    assert "" in values["sales.orders.a_bytes"]
    assert "null" in values["sales.orders.a_json"]


@pytest.mark.parametrize(
    ("dialect", "code", "value", "expected", "described"),
    [
        ("googlesql", "PROTO", b"\x08\x01", "CAE=", {"code": "PROTO", "proto_type_fqn": "a.B"}),
        ("googlesql", "ENUM", -1, "-1", {"code": "ENUM", "proto_type_fqn": "a.B"}),
        ("googlesql", "UUID", "0" * 8, "00000000", {"code": "UUID"}),
        ("googlesql", "INTERVAL", "P1Y", "P1Y", {"code": "INTERVAL"}),
        ("googlesql", "NUMERIC", Decimal("1.50"), "1.5", {"code": "NUMERIC"}),
        ("googlesql", "FLOAT32", 0.1, "3fb99999a0000000", {"code": "FLOAT32"}),
        ("googlesql", "TIMESTAMP", Instant(-62_135_596_800, 1), "0001-01-01T00:00:00.000000001Z", {}),
        (
            "googlesql",
            "TIMESTAMP",
            Instant(253_402_300_799, 999_999_999),
            "9999-12-31T23:59:59.999999999Z",
            {},
        ),
        ("googlesql", "JSON", {"b": 1, "a": []}, '{"a":[],"b":1}', {"code": "JSON"}),
        (
            "postgresql",
            "JSON",
            {"b": 1, "a": []},
            '{"a": [], "b": 1}',
            {"code": "JSON", "type_annotation": "PG_JSONB"},
        ),
        (
            "postgresql",
            "NUMERIC",
            Decimal("NaN"),
            "NaN",
            {"code": "NUMERIC", "type_annotation": "PG_NUMERIC"},
        ),
        ("postgresql", "NUMERIC", Decimal("-1.50"), "-1.50", {}),
        ("postgresql", "PG_OID", 2**32 - 1, "4294967295", {"code": "INT64", "type_annotation": "PG_OID"}),
    ],
)
@pytest.mark.parametrize("mode", get_args(Mode))
def test_a_value_and_its_array_spelled_out(
    dialect: Dialect, code: Code, value: Any, expected: str, described: dict[str, str], mode: Mode
) -> None:
    """The ground truth of one value, alone and in an array beside a NULL; the same in the stream."""
    proto = "a.B" if code in ("PROTO", "ENUM") else ""
    table = Table(
        "t",
        (
            Column("k", "STRING", key=True, nullable=True),
            Column("one", code, proto=proto),
            Column("many", code, array=True, proto=proto),
        ),
    )
    simulator = Simulator(SimulatorConfig(dialect=dialect, mode=mode, tables=(table,), partitions=1))
    simulator.commit([insert("t", k=None, one=value, many=[None, value, value])])
    [line] = simulator.committed()
    change = json.loads(line)
    assert (change["keys"], change["new"]) == (
        {"k": None},
        {"one": expected, "many": [None, expected, expected]},
    )
    assert delivered(simulator) == [line]
    if described:
        assert table.by_name["one"].type_json(dialect) == described
        assert table.by_name["many"].type_json(dialect) == {"code": "ARRAY", "array_element_type": described}


def test_the_schema_of_all_tables_can_be_written() -> None:
    """Reserved words are quoted, key parts may be NULL, protos are bundled first."""
    for dialect in DIALECTS:
        with Simulator(SimulatorConfig(dialect=dialect, tables=all_tables(dialect))) as simulator:
            ddl = simulator.ddl
        quote = "`" if dialect == "googlesql" else '"'
        table = next(one for one in ddl if f"CREATE TABLE {quote}select{quote}" in one)
        assert f"{quote}group{quote} " in table
        assert table.count("NOT NULL") == 1
        assert any(f"{quote}склад{quote}.{quote}品目{quote}" in one for one in ddl)
        assert ddl[0].startswith("CREATE PROTO BUNDLE") is (dialect == "googlesql")
