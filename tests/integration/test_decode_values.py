"""Values of every type: the core reads from the emulator's bytes what the official client reads."""

from __future__ import annotations

import pytest
from integration import oracle
from integration.decode import read_both
from integration.emulator import DIALECTS, Dialect, Emulator, now
from integration.oracle import Record
from integration.values import ALL_COLUMNS, KINDS, all_types_rows, all_types_table

CAPTURE_TYPES = ("OLD_AND_NEW_VALUES", "NEW_ROW", "NEW_VALUES", "NEW_ROW_AND_OLD_VALUES")


def stream_ddl(dialect: Dialect, capture: str, target: str = "ALL") -> str:
    """DDL of a change stream `watch` with a value capture type."""
    if dialect == "postgresql":
        return f"CREATE CHANGE STREAM watch FOR {target} WITH (value_capture_type = '{capture}')"
    return f"CREATE CHANGE STREAM watch FOR {target} OPTIONS (value_capture_type = '{capture}')"


@pytest.fixture(scope="module", params=[(d, c) for d in DIALECTS for c in CAPTURE_TYPES], ids="-".join)
def records(request: pytest.FixtureRequest, emulator: Emulator) -> tuple[Dialect, str, list[Record]]:
    """All types inserted, updated and deleted, as both read them (asserted equal on the way)."""
    dialect, capture = request.param
    database = emulator.database(dialect, [all_types_table(dialect), stream_ddl(dialect, capture)])
    start = now()
    database.insert("everything", ALL_COLUMNS, all_types_rows(dialect))
    shifted = all_types_rows(dialect, shift=1)
    database.run(lambda t: t.update("everything", columns=ALL_COLUMNS, values=shifted))
    # One column only: what is missing from new and old values differs by capture type.
    database.run(lambda t: t.update("everything", columns=("id", "string_one"), values=[(0, "only this")]))
    verb = "DELETE FROM everything WHERE " + ("true" if dialect == "googlesql" else "id >= 0")
    end = oracle.just_after(database.run(lambda t: t.execute_update(verb)))
    return dialect, capture, read_both(database, "watch", start, end)


def test_every_type_is_there(records: tuple[Dialect, str, list[Record]]) -> None:
    """The comparison covered every type, as a scalar and as an array, in values that are not null."""
    _, _, found = records
    seen: set[str] = set()
    for record in found:
        for mod in record["mods"]:
            values = mod["new_values"] | mod["old_values"]
            seen |= {name for name, value in values.items() if value not in (None, [])}
    wanted = {name for name in ALL_COLUMNS if name != "id"}
    assert wanted - seen == set()


def test_every_mod_type_is_there(records: tuple[Dialect, str, list[Record]]) -> None:
    """Inserts, updates and deletes, one mod a row, under the capture type of the stream."""
    dialect, capture, found = records
    rows = len(all_types_rows(dialect))
    mods = {"INSERT": 0, "UPDATE": 0, "DELETE": 0}
    for record in found:
        mods[record["mod_type"]] += len(record["mods"])
        assert record["value_capture_type"] == capture
    assert mods == {"INSERT": rows, "UPDATE": rows + 1, "DELETE": rows}


def test_missing_is_not_null(records: tuple[Dialect, str, list[Record]]) -> None:
    """An update of one column: the other columns are there or missing as the capture type says."""
    _, capture, found = records
    (mod,) = [
        mod
        for record in found
        for mod in record["mods"]
        if record["mod_type"] == "UPDATE" and mod["new_values"].get("string_one") == "only this"
    ]
    whole_row = capture in ("NEW_ROW", "NEW_ROW_AND_OLD_VALUES")
    assert len(mod["new_values"]) == (2 * len(KINDS) if whole_row else 1)
    assert len(mod["old_values"]) == (0 if capture in ("NEW_ROW", "NEW_VALUES") else 1)
