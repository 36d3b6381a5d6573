"""Snapshots of real tables: with the changes after them they equal the tables, in what the stream watches."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from integration.emulator import DIALECTS, Emulator, EmulatorDatabase
from integration.relays import settings as stream_settings
from integration.relays import writing

from spanwire import replay, snapshot
from spanwire.config import Config, parse
from spanwire.relay import Relay
from spanwire.source.connect import connect
from spanwire.source.tables import watched_tables

DDL: dict[str, list[str]] = {
    "googlesql": [
        "CREATE TABLE items (k INT64, v STRING(MAX), g STRING(MAX) AS (UPPER(v)) STORED) PRIMARY KEY (k)",
        "CREATE SCHEMA sales",
        "CREATE TABLE sales.orders (a INT64, b STRING(MAX), c INT64, d INT64) PRIMARY KEY (b DESC, a)",
        "CREATE TABLE `select` (`from` INT64, `order` STRING(MAX)) PRIMARY KEY (`from`)",
        "CREATE CHANGE STREAM everything FOR ALL",
        "CREATE CHANGE STREAM partly FOR items, sales.orders(c), `select`()",
    ],
    "postgresql": [
        "CREATE TABLE items (k bigint PRIMARY KEY, v text, g text GENERATED ALWAYS AS (upper(v)) STORED)",
        "CREATE SCHEMA sales",
        "CREATE TABLE sales.orders (a bigint, b text, c bigint, d bigint, PRIMARY KEY (b, a))",
        'CREATE TABLE "select" ("from" bigint PRIMARY KEY, "order" text)',
        "CREATE CHANGE STREAM everything FOR ALL",
        'CREATE CHANGE STREAM partly FOR items, sales.orders(c), "select"()',
    ],
}


def settings(database: EmulatorDatabase, folder: Path, **output: Any) -> Config:
    """A relay of everything with a replay output."""
    plain = stream_settings(database, folder).model_dump(exclude_unset=True)
    plain["output"] = [{"kind": "pub", "bind": "tcp://127.0.0.1:*", **output}]
    plain["output"].append({"kind": "replay", "bind": "tcp://127.0.0.1:*"})
    return parse(plain)


@pytest.fixture(params=DIALECTS)
def database(request: pytest.FixtureRequest, emulator: Emulator) -> EmulatorDatabase:
    """With tables of all kinds, and rows in them."""
    made = emulator.database(request.param, DDL[request.param])
    made.insert("items", ["k", "v"], [(key, f"value {key}") for key in range(500)])
    made.insert("sales.orders", ["a", "b", "c", "d"], [(key, "b", key, None) for key in range(50)])
    made.insert("select", ["from", "order"], [(1, "first"), (2, None)])
    return made


def test_what_a_stream_watches(database: EmulatorDatabase, tmp_path: Path) -> None:
    """Tables and columns as the stream names them; keys always; generated columns outside the key never."""
    with connect(settings(database, tmp_path).source) as connection:

        def columns(stream: str) -> dict[str, list[str]]:
            found = watched_tables(connection.look_into, stream, connection.dialect)
            return {table.name: [column.name for column in table.columns] for table in found}

        assert columns("everything") == {
            "items": ["k", "v"],
            "sales.orders": ["b", "a", "c", "d"],
            "select": ["from", "order"],
        }
        assert columns("partly") == {"items": ["k", "v"], "sales.orders": ["b", "a", "c"], "select": ["from"]}
        assert columns("nothing") == {}


def test_a_snapshot_and_the_changes_after_it_are_the_tables(
    database: EmulatorDatabase, tmp_path: Path
) -> None:
    """While rows are written: rows at one timestamp, then changes, applied in order."""
    with Relay(settings(database, tmp_path)) as relay:
        endpoint = relay.endpoints[1][0]
        state: dict[str, dict[tuple[Any, ...], dict[str, Any]]] = {}
        # The emulator takes one transaction of a session at a time: others write once this one has ended.
        with writing(database, 1000) as committed, snapshot(endpoint) as rows:
            for row in rows:
                table = state.setdefault(row.table, {})
                assert row.mod_type == "INSERT" and row.commit_timestamp == rows.at
                assert tuple(row.keys.values()) not in table
                table[tuple(row.keys.values())] = {**row.keys, **row.new}
            at = rows.at
        assert at is not None and rows.done and rows.parts[0] == rows.parts[1] > 0
        database.run(
            lambda transaction: (
                transaction.update("items", columns=["k", "v"], values=[(3, "new")]),
                transaction.delete("select", _keys([1])),
            )
        )
        end = database.insert("select", ["from", "order"], [(9, "last")])
        for change in replay(endpoint, after=at, until=end):
            table = state.setdefault(change.table, {})
            key = tuple(change.keys.values())
            if change.mod_type == "DELETE":
                del table[key]
            else:
                table[key] = {**table.get(key, {}), **change.keys, **change.new}
    assert committed
    assert state["items"] == _rows(database, "items", ["k", "v"], end)
    assert state["sales.orders"] == _rows(database, "sales.orders", ["b", "a", "c", "d"], end, keys=2)
    assert state["select"] == _rows(database, "select", ["from", "order"], end)


def _keys(*keys: Any) -> Any:
    from google.cloud import spanner  # noqa: PLC0415

    return spanner.KeySet(keys=list(keys))


def _rows(
    database: EmulatorDatabase, table: str, columns: list[str], at: str, keys: int = 1
) -> dict[tuple[Any, ...], dict[str, Any]]:
    """The official client's word."""
    import datetime  # noqa: PLC0415

    moment = datetime.datetime.fromisoformat(at.replace("Z", "+00:00"))
    with database.client.snapshot(read_timestamp=moment) as reading:
        from google.cloud import spanner  # noqa: PLC0415

        rows = reading.read(table, columns=columns, keyset=spanner.KeySet(all_=True))
        return {tuple(row[:keys]): dict(zip(columns, row, strict=True)) for row in rows}
