"""Tables, names, keys and transactions of all kinds, and values that come in pieces."""

from __future__ import annotations

from typing import Any

import pytest
from google.cloud.spanner import KeySet
from google.cloud.spanner_v1 import PartialResultSet
from integration import oracle
from integration.decode import agreed, read_both
from integration.emulator import DIALECTS, Dialect, Emulator, now
from integration.oracle import Query
from support.waiting import soon

from spanwire._core import RecordReader

_STREAM = "CREATE CHANGE STREAM watch FOR ALL"


def _table(dialect: Dialect, name: str, googlesql: str, postgresql: str, key: str) -> str:
    if dialect == "postgresql":
        return f"CREATE TABLE {name} ({postgresql}, PRIMARY KEY ({key}))"
    return f"CREATE TABLE {name} ({googlesql}) PRIMARY KEY ({key})"


@pytest.mark.parametrize("dialect", DIALECTS)
def test_transaction_over_several_tables(emulator: Emulator, dialect: Dialect) -> None:
    """One transaction on three tables: a record per table and kind of change, numbered, one of them last."""
    tables = [_table(dialect, f"t{n}", "id INT64, v INT64", "id bigint, v bigint", "id") for n in range(3)]
    database = emulator.database(dialect, [*tables, _STREAM])
    start = now()
    database.insert("t0", ("id", "v"), [(1, 1), (2, 2)])

    def work(transaction: Any) -> None:
        for n in range(3):
            transaction.insert(f"t{n}", columns=("id", "v"), values=[(10 + i, i) for i in range(5)])
        transaction.update("t0", columns=("id", "v"), values=[(1, None)])
        transaction.delete("t0", KeySet(keys=[[2]]))

    end = oracle.just_after(database.run(work))
    records = read_both(database, "watch", start, end)
    inside = [record for record in records if record["number_of_records_in_transaction"] > 1]
    assert {record["table_name"] for record in inside} == {"t0", "t1", "t2"}
    assert len({record["record_sequence"] for record in inside}) == len(inside)
    assert [record["is_last_record_in_transaction_in_partition"] for record in inside].count(True) == 1
    assert {record["number_of_records_in_transaction"] for record in inside} == {len(inside)}


@pytest.mark.parametrize("dialect", DIALECTS)
def test_named_schema(emulator: Emulator, dialect: Dialect) -> None:
    """A table of a named schema comes under its full name."""
    table = _table(dialect, "sales.orders", "id INT64", "id bigint", "id")
    database = emulator.database(dialect, ["CREATE SCHEMA sales", table, _STREAM])
    start = now()
    end = oracle.just_after(database.insert("sales.orders", ("id",), [(1,)]))
    assert [record["table_name"] for record in read_both(database, "watch", start, end)] == ["sales.orders"]


@pytest.mark.parametrize("dialect", DIALECTS)
def test_reserved_words_as_names(emulator: Emulator, dialect: Dialect) -> None:
    """Tables, columns and streams may be called by the language's own words."""
    quote = '"' if dialect == "postgresql" else "`"
    table, key, value = (f"{quote}{word}{quote}" for word in ("select", "order", "group"))
    ddl = _table(dialect, table, f"{key} INT64, {value} INT64", f"{key} bigint, {value} bigint", key)
    database = emulator.database(dialect, [ddl, f"CREATE CHANGE STREAM {quote}table{quote} FOR {table}"])
    start = now()
    end = oracle.just_after(database.insert("select", ("order", "group"), [(1, 2)]))
    (record,) = read_both(database, "table", start, end)
    assert record["table_name"] == "select"
    assert record["mods"][0]["keys"] == {"order": "1"}
    assert record["mods"][0]["new_values"] == {"group": "2"}


def test_null_key(emulator: Emulator) -> None:
    """NULL is a key value like any other where GoogleSQL allows it, and is not an absent one."""
    ddl = _table("googlesql", "t", "a INT64, b STRING(MAX), v INT64", "", "a, b")
    database = emulator.database("googlesql", [ddl, _STREAM])
    start = now()
    rows = [(None, None, 1), (None, "x", 2), (1, None, 3), (1, "", 4)]
    database.insert("t", ("a", "b", "v"), rows)
    end = oracle.just_after(database.run(lambda t: t.execute_update("DELETE FROM t WHERE true")))
    records = read_both(database, "watch", start, end)
    keys = [tuple(mod["keys"].values()) for record in records for mod in record["mods"]]
    wanted = [(None if a is None else str(a), b) for a, b, _ in rows]
    assert sorted(keys, key=repr) == sorted(wanted * 2, key=repr)


@pytest.mark.parametrize("dialect", DIALECTS)
def test_key_only_table(emulator: Emulator, dialect: Dialect) -> None:
    """A table without other columns has empty new and old values."""
    ddl = _table(dialect, "t", "a INT64, b STRING(MAX)", "a bigint, b text", "a, b")
    database = emulator.database(dialect, [ddl, _STREAM])
    start = now()
    end = oracle.just_after(database.insert("t", ("a", "b"), [(1, "x")]))
    (record,) = read_both(database, "watch", start, end)
    assert record["mods"] == [{"keys": {"a": "1", "b": "x"}, "new_values": {}, "old_values": {}}]


@pytest.mark.parametrize("dialect", DIALECTS)
def test_values_over_one_mebibyte(emulator: Emulator, dialect: Dialect) -> None:
    """Values cut at 1 MiB, in the middle of characters' escapes too, are put together again."""
    ddl = _table(dialect, "t", "id INT64, s STRING(MAX), b BYTES(MAX)", "id bigint, s text, b bytea", "id")
    database = emulator.database(dialect, [ddl, _STREAM])
    start = now()
    rows = [
        (1, 'a"\\é漢🚀\n' * 200_000, None),
        (2, "", "A" * 4_000_000),
        (3, "x" * (1 << 20), "AAAA" * 10),
        (4, "short", ""),
    ]
    end = oracle.just_after(database.insert("t", ("id", "s", "b"), rows))
    assert len(read_both(database, "watch", start, end)) == 1

    reads = oracle.follow(database, "watch", start, end)
    (token,) = [read.token for read in reads if oracle.data_records([read])]
    messages = oracle.raw(Query(database, "watch", start, end, token))
    chunked = sum(PartialResultSet.deserialize(message).chunked_value for message in messages)
    assert chunked >= 5


@pytest.mark.parametrize("dialect", DIALECTS)
def test_messages_one_by_one(emulator: Emulator, dialect: Dialect) -> None:
    """A reader that takes one message at a time reads the same as one that takes all at once."""
    ddl = _table(dialect, "t", "id INT64, s STRING(MAX)", "id bigint, s text", "id")
    database = emulator.database(dialect, [ddl, _STREAM])
    start = now()
    end = start
    for n in range(5):
        end = oracle.just_after(database.insert("t", ("id", "s"), [(n, "é" * 700_000)]))
    reads = oracle.follow(database, "watch", start, end)
    (token,) = [read.token for read in reads if oracle.data_records([read])]
    query = Query(database, "watch", start, end, token)
    messages = oracle.raw(query)
    assert len(messages) > 5
    reader = RecordReader(dialect)
    singly = [record for message in messages for record in reader.read([message])]
    assert repr(singly) == repr(RecordReader(dialect).read(messages))
    assert agreed(query)


@pytest.mark.parametrize("dialect", DIALECTS)
def test_heartbeats(emulator: Emulator, dialect: Dialect) -> None:
    """Heartbeats of an idle partition are read with their timestamps."""
    ddl = _table(dialect, "t", "id INT64", "id bigint", "id")
    database = emulator.database(dialect, [ddl, _STREAM])
    start = now()
    initial = oracle.official(Query(database, "watch", start, start))
    children = [record for record in initial if "child_partitions_record" in record]
    child = children[0]["child_partitions_record"]
    token = child["child_partitions"][0]["token"]

    def beats() -> int:
        query = Query(database, "watch", child["start_timestamp"], now(1), token, heartbeat_ms=100)
        return sum("heartbeat_record" in record for record in agreed(query))

    assert soon(lambda: beats() >= 3)  # a query that comes late hears few
