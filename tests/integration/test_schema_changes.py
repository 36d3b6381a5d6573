"""Schema and stream change while a relay runs: its consumer gets what the official client returns."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from integration import expected, oracle
from integration.emulator import DIALECTS, Dialect, Emulator, EmulatorDatabase, now
from integration.relays import settings

from spanwire._core import Change
from spanwire.consumer import Subscriber
from spanwire.relay import Relay

TABLES: dict[Dialect, list[str]] = {
    "googlesql": [
        "CREATE SCHEMA sales",
        "CREATE TABLE items (k INT64, v STRING(MAX), n INT64) PRIMARY KEY (k)",
        "CREATE TABLE sales.orders (k INT64, v STRING(MAX)) PRIMARY KEY (k)",
        "CREATE CHANGE STREAM everything FOR items OPTIONS (value_capture_type = 'NEW_ROW')",
    ],
    "postgresql": [
        "CREATE SCHEMA sales",
        "CREATE TABLE items (k bigint PRIMARY KEY, v text, n bigint)",
        "CREATE TABLE sales.orders (k bigint PRIMARY KEY, v text)",
        "CREATE CHANGE STREAM everything FOR items WITH (value_capture_type = 'NEW_ROW')",
    ],
}
RETYPE: dict[Dialect, tuple[str, str]] = {
    "googlesql": (
        "ALTER TABLE items ALTER COLUMN v BYTES(MAX)",
        "ALTER TABLE items ALTER COLUMN v STRING(MAX)",
    ),
    "postgresql": (
        "ALTER TABLE items ALTER COLUMN v TYPE bytea",
        "ALTER TABLE items ALTER COLUMN v TYPE text",
    ),
}


@pytest.fixture(params=DIALECTS)
def database(request: pytest.FixtureRequest, churning_emulator: Emulator) -> Iterator[EmulatorDatabase]:
    """A database of either dialect whose partitions live 2 to 4 s, with a stream of one of its tables."""
    made = churning_emulator.database(request.param, TABLES[request.param])
    yield made
    made.drop()


class Following:
    """A subscriber, and what it was handed in its order."""

    def __init__(self, subscriber: Subscriber) -> None:
        self.changes: list[Change] = []
        self._subscriber = subscriber

    def heard(self, at_least: int) -> None:
        """Receive until so many changes have come."""
        for _ in range(600):
            self.changes += self._subscriber.receive(0.1)
            if len(self.changes) >= at_least:
                return
        got = [(one.table, str(one.version)) for one in self.changes[-3:]]
        raise AssertionError(f"{len(self.changes)} of {at_least} changes came, the last: {got}")


@pytest.mark.parametrize("values", ["typed", "json"])
def test_everything_arrives_over_schema_changes(
    database: EmulatorDatabase, tmp_path: Path, values: str
) -> None:
    """Columns added, retyped there and back, dropped; tables that join and leave the stream, or are new."""
    config = settings(database, tmp_path)
    outputs = [config.output[0].model_copy(update={"values": values})]
    config = config.model_copy(update={"output": outputs})
    watch = "ALTER CHANGE STREAM everything SET FOR"
    integer = "INT64" if database.dialect == "googlesql" else "bigint"
    start = now()
    versions: list[str] = []

    def write(table: str = "items", seen: bool = True, **columns: Any) -> None:
        """Two rows, in a transaction each; `seen`: by the stream."""
        for key in (1, 2):
            names, row = ["k", *columns], [key, *columns.values()]
            at = database.run(lambda t: t.insert_or_update(table, columns=names, values=[row]))  # noqa: B023
            versions.extend([at] if seen else [])

    with Relay(config) as relay, Subscriber(relay.endpoints[0][0]) as subscriber:
        assert subscriber.wait_joined(20)
        following = Following(subscriber)
        to_bytes, to_text = RETYPE[database.dialect]
        steps: list[tuple[str | None, Callable[[], None]]] = [
            (None, lambda: write(v="first", n=1)),
            (f"ALTER TABLE items ADD COLUMN extra {integer}", lambda: write(v="second", n=2, extra=3)),
            (to_bytes, lambda: write(v="dGhpcmQ=", extra=4)),
            (to_text, lambda: write(v="fourth")),
            # One table or all: of a list the emulator watches the last one.
            (f"{watch} ALL", lambda: write("sales.orders", v="a")),
            (None, lambda: write(v="both")),
            (f"{watch} sales.orders", lambda: write(v="unseen", seen=False)),
            (None, lambda: write("sales.orders", v="b")),
            (f"{watch} items", lambda: write("sales.orders", v="unseen", seen=False)),
            (None, lambda: write(v="back")),
            (f"{watch} ALL", lambda: write("sales.orders", v="c")),
            (TABLES[database.dialect][2].replace("sales.orders", "late"), lambda: write("late", v="new")),
            # Last: the emulator dies of a stream that is altered once a column it watched is gone.
            ("ALTER TABLE items DROP COLUMN n", lambda: write(v="last", extra=6)),
        ]
        for ddl, work in steps:
            if ddl:
                database.ddl(ddl)
            work()
            following.heard(len(versions))
        end = oracle.just_after(versions[-1])
        records = oracle.data_records(oracle.follow(database, "everything", start, end))
        assert relay.problems() == []
        assert relay.stats()["undecodable"] == 0

    wanted = expected.rows(records)
    shapes = {record_version(record): record["column_types"] for record in records}
    assert len({repr(shape) for shape in shapes.values()}) == 5, "first, added, retyped, dropped; orders"
    got = {str(change.version): change for change in following.changes}
    assert len(got) == len(following.changes), "a change came twice"
    assert got.keys() == wanted.keys()
    assert len(wanted) == len(versions)
    for version, row in wanted.items():
        change = got[version]
        assert (change.table, change.mod_type) == (row.table, row.mod_type)
        assert change.columns == shapes[version.rpartition("/")[0]]
        have = {"keys": change.keys, "new": change.new, "old": change.old}
        for place, items in row.typed.items():
            assert have[place].keys() == items.keys()
            for name, item in items.items():
                assert expected.agrees(have[place][name], item), f"{version} {place}.{name}"
    for table in ("items", "sales.orders", "late"):
        order = [str(change.version) for change in following.changes if change.table == table]
        assert order == sorted(order)
        assert order, table


def record_version(record: dict[str, Any]) -> str:
    """A record's versions without the mod's number."""
    names = ("commit_timestamp", "server_transaction_id", "record_sequence")
    return "/".join(str(record[name]) for name in names)
