"""Random tables, types and transactions: what is handed over is what the official client returns.

$SPANWIRE_ROUNDS rounds for each dialect and capture type. A failure names its seed; $SPANWIRE_SEED
runs it again.
"""

from __future__ import annotations

import os
import random
from collections.abc import Iterator

import pytest
from integration import expected, oracle
from integration.decode import decoded, identity, in_order, read_both
from integration.emulator import DIALECTS, Dialect, Emulator, EmulatorDatabase, now
from integration.oracle import Query, Record
from integration.random_tables import CAPTURES, database_ddl, make, write
from support.raw_records import Wire, wire

ROUNDS = int(os.environ.get("SPANWIRE_ROUNDS", "8"))
SEED = os.environ.get("SPANWIRE_SEED")


@pytest.fixture(scope="module", params=DIALECTS)
def wires(request: pytest.FixtureRequest) -> Iterator[tuple[Wire, Wire]]:
    """Who hears a pipeline with typed values, and one with JSON values."""
    with wire(request.param, "typed") as typed, wire(request.param, "json") as untyped:
        yield typed, untyped


@pytest.mark.parametrize("capture", CAPTURES)
def test_random_tables_and_transactions(emulator: Emulator, wires: tuple[Wire, Wire], capture: str) -> None:
    """Whatever the tables and the writes: record by record and value by value, none left out, none twice."""
    dialect, records = wires[0].dialect, 0
    for _ in range(ROUNDS):
        seed = int(SEED) if SEED else random.SystemRandom().randrange(2**32)
        rng = random.Random(f"{seed}/{dialect}/{capture}")
        tables = make(dialect, rng)
        database = emulator.database(dialect, database_ddl(tables, dialect, capture))
        try:
            start = now()
            end = oracle.just_after(write(database, tables, rng))
            records += compare(database, start, end, wires, capture)
        except BaseException as error:
            ddl = "\n".join(table.ddl for table in tables)
            error.add_note(f"SPANWIRE_SEED={seed} SPANWIRE_ROUNDS=1 runs this again, on\n{ddl}")
            raise
        finally:
            database.drop()
    assert records or SEED, "no round wrote anything"


def compare(database: EmulatorDatabase, start: str, end: str, wires: tuple[Wire, Wire], capture: str) -> int:
    """Records and changes are what the official client returns, from the same bytes and anew: how many.

    There may be none: a transaction that takes back what it wrote leaves no record.
    """

    def read(query: Query) -> list[Record]:
        messages = oracle.raw(query)
        ours = decoded(messages, database.dialect)
        assert ours == oracle.merged(messages)
        if query.token:
            for out in wires:
                out.partition().push(messages)
        return ours

    records = in_order(oracle.data_records(oracle.follow(database, "watch", start, end, read)))
    assert records == in_order(oracle.data_records(oracle.follow(database, "watch", start, end)))
    assert {record["value_capture_type"] for record in records} <= {capture}
    assert len({identity(record) for record in records}) == len(records)
    numbered: dict[str, list[Record]] = {}
    for record in records:
        numbered.setdefault(record["server_transaction_id"], []).append(record)
    for of_transaction in numbered.values():
        counts = {record["number_of_records_in_transaction"] for record in of_transaction}
        assert counts == {len(of_transaction)}

    wanted = expected.rows(records)
    for out in wires:
        changes = {str(change.version): change for change in out.changes(len(wanted))}
        assert changes.keys() == wanted.keys()
        for version, row in wanted.items():
            change = changes[version]
            assert (change.table, change.mod_type) == (row.table, row.mod_type)
            assert change.value_capture_type == capture
            got = {"keys": change.keys, "new": change.new, "old": change.old}
            for place, values in row.typed.items():
                assert got[place].keys() == values.keys(), f"{version} {place}"
                for name, value in values.items():
                    assert expected.agrees(got[place][name], value), f"{version} {place}.{name}"
    return len(records)


@pytest.mark.parametrize("dialect", DIALECTS)
def test_a_range_read_again_holds_the_same(churning_emulator: Emulator, dialect: Dialect) -> None:
    """From whatever start, over whatever partitions: the same identities, each with the same content."""
    rng = random.Random(5)
    tables = make(dialect, rng)
    database = churning_emulator.database(dialect, database_ddl(tables, dialect, "OLD_AND_NEW_VALUES"))
    start = now()
    for _ in range(6):
        end = oracle.just_after(write(database, tables, rng))
        oracle.wait_until(now(0.7))  # partitions end meanwhile
    whole = read_both(database, "watch", start, end)
    commits = sorted({record["commit_timestamp"] for record in whole})
    assert len(commits) > 10
    for commit in [*commits[1::4], commits[-1]]:
        again = read_both(database, "watch", commit, end)
        assert again == in_order(record for record in whole if record["commit_timestamp"] >= commit)
