"""The oracle itself, so that a failing comparison points at what is compared with it."""

from __future__ import annotations

import pytest
from integration import oracle
from integration.emulator import DIALECTS, Dialect, Emulator, now

_DDL: dict[Dialect, list[str]] = {
    "googlesql": [
        "CREATE TABLE items (id INT64, name STRING(MAX)) PRIMARY KEY (id)",
        "CREATE CHANGE STREAM watch FOR ALL",
    ],
    "postgresql": [
        "CREATE TABLE items (id bigint PRIMARY KEY, name text)",
        "CREATE CHANGE STREAM watch FOR ALL",
    ],
}


@pytest.mark.parametrize("dialect", DIALECTS)
def test_it_returns_what_was_written(emulator: Emulator, dialect: Dialect) -> None:
    """Following all partitions gives each committed mod once, with its values."""
    database = emulator.database(dialect, _DDL[dialect])
    start = now()
    database.insert("items", ("id", "name"), [(1, "one"), (2, None)])
    database.run(lambda t: t.update("items", columns=("id", "name"), values=[(1, "ONE")]), tag="shout")
    records = oracle.data_records(oracle.follow(database, "watch", start, now(1)))
    assert [record["mod_type"] for record in records] == ["INSERT", "UPDATE"]
    # The emulator leaves tags empty; should that change, the decode tests get one more case for free.
    assert [record["transaction_tag"] for record in records] in (["", ""], ["", "shout"])
    assert records[0]["mods"] == [
        {"keys": {"id": "1"}, "new_values": {"name": "one"}, "old_values": {}},
        {"keys": {"id": "2"}, "new_values": {"name": None}, "old_values": {}},
    ]
    assert records[1]["mods"] == [
        {"keys": {"id": "1"}, "new_values": {"name": "ONE"}, "old_values": {"name": "one"}}
    ]


@pytest.mark.parametrize("dialect", DIALECTS)
def test_raw_messages_are_the_same_query(emulator: Emulator, dialect: Dialect) -> None:
    """Raw bytes, merged by the official client's code, are what its high-level API returns."""
    database = emulator.database(dialect, _DDL[dialect])
    start = now()
    database.insert("items", ("id", "name"), [(i, f"item {i}") for i in range(50)])
    end = now(1)
    high_level = oracle.follow(database, "watch", start, end)
    from_bytes = oracle.follow(database, "watch", start, end, lambda query: oracle.merged(oracle.raw(query)))
    assert oracle.data_records(from_bytes) == oracle.data_records(high_level) != []
