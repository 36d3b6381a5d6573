"""Random tables and transactions, and ranges read again: the same identities, the same content."""

from __future__ import annotations

import random
from typing import Any

import pytest
from google.cloud.spanner import KeySet
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from integration import oracle
from integration.decode import identity, in_order, read_both
from integration.emulator import DIALECTS, Dialect, Emulator, EmulatorDatabase, now
from integration.oracle import Record
from integration.values import KINDS, Kind

# An example is a database with its own tables: about a tenth of a second.
SMALL = settings(
    max_examples=40,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
CAPTURES = ("OLD_AND_NEW_VALUES", "NEW_ROW", "NEW_VALUES", "NEW_ROW_AND_OLD_VALUES")


def ddl(dialect: Dialect, table: int, keys: list[Kind], others: list[tuple[Kind, bool]]) -> str:
    """DDL of a table `t<n>`: key columns k0, k1, …, others c0, c1, … (arrays where True)."""
    columns = [f"k{n} {kind.ddl(dialect)}" for n, kind in enumerate(keys)]
    columns += [f"c{n} {kind.ddl(dialect, array=array)}" for n, (kind, array) in enumerate(others)]
    key = ", ".join(f"k{n}" for n in range(len(keys)))
    if dialect == "postgresql":
        return f"CREATE TABLE t{table} ({', '.join(columns)}, PRIMARY KEY ({key}))"
    return f"CREATE TABLE t{table} ({', '.join(columns)}) PRIMARY KEY ({key})"


def stream(dialect: Dialect, capture: str) -> str:
    """DDL of the change stream."""
    if dialect == "postgresql":
        return f"CREATE CHANGE STREAM watch FOR ALL WITH (value_capture_type = '{capture}')"
    return f"CREATE CHANGE STREAM watch FOR ALL OPTIONS (value_capture_type = '{capture}')"


class Table:
    """A random table, and random values for it."""

    def __init__(self, dialect: Dialect, number: int, rng: random.Random) -> None:
        self.name = f"t{number}"
        self._dialect = dialect
        self._rng = rng
        keyed = [kind for kind in KINDS if kind.may_be_key]
        self._keys = rng.choices(keyed, k=rng.randint(1, 3))
        self._others = [(rng.choice(KINDS), rng.random() < 0.3) for _ in range(rng.randint(0, 6))]
        self.ddl = ddl(dialect, number, self._keys, self._others)
        self.columns = [f"k{n}" for n in range(len(self._keys))]
        self.columns += [f"c{n}" for n in range(len(self._others))]

    def key(self) -> list[Any]:
        """A key; few of them are different, so that rows are updated and deleted."""
        nullable = (None,) if self._dialect == "googlesql" else ()
        return [self._rng.choice((*kind.for_dialect(self._dialect)[:3], *nullable)) for kind in self._keys]

    def row(self) -> list[Any]:
        """A key and values."""
        return [*self.key(), *(self._value(kind, array) for kind, array in self._others)]

    def _value(self, kind: Kind, array: bool) -> Any:
        values = kind.for_dialect(self._dialect)
        if self._rng.random() < 0.2:
            return None
        if not array:
            return self._rng.choice(values)
        choices = (*values, None) if kind.null_elements else values
        return self._rng.choices(choices, k=self._rng.randint(0, 4))


def write(database: EmulatorDatabase, tables: list[Table], rng: random.Random) -> str:
    """Some transactions of some writes each; the last commit timestamp."""
    last = ""
    for _ in range(rng.randint(2, 8)):
        # Drawn outside of the transaction: an aborted one is run again.
        writes = [
            (table, rng.random() < 0.2, table.row()) for table in rng.choices(tables, k=rng.randint(1, 9))
        ]

        def work(transaction: Any, writes: list[Any] = writes) -> None:
            for table, delete, row in writes:
                if delete:
                    keys = [column for column in table.columns if column.startswith("k")]
                    transaction.delete(table.name, KeySet(keys=[row[: len(keys)]]))
                else:
                    transaction.insert_or_update(table.name, columns=table.columns, values=[row])

        last = database.run(work)
    return last


@pytest.mark.parametrize("dialect", DIALECTS)
@SMALL
@given(seed=st.integers(0, 2**32 - 1))
def test_random_tables_and_transactions(emulator: Emulator, dialect: Dialect, seed: int) -> None:
    """Whatever the tables and the writes: the core reads what the official client reads, none left out."""
    rng = random.Random(seed)
    tables = [Table(dialect, number, rng) for number in range(rng.randint(1, 3))]
    database = emulator.database(
        dialect, [*(table.ddl for table in tables), stream(dialect, rng.choice(CAPTURES))]
    )
    try:
        start = now()
        end = oracle.just_after(write(database, tables, rng))
        records = read_both(database, "watch", start, end)
        assert len({identity(record) for record in records}) == len(records)
        numbered: dict[str, list[Record]] = {}
        for record in records:
            numbered.setdefault(record["server_transaction_id"], []).append(record)
        for of_transaction in numbered.values():
            counts = {record["number_of_records_in_transaction"] for record in of_transaction}
            assert counts == {len(of_transaction)}
    finally:
        database.drop()


@pytest.mark.parametrize("dialect", DIALECTS)
def test_a_range_read_again_holds_the_same(churning_emulator: Emulator, dialect: Dialect) -> None:
    """From whatever start, over whatever partitions: the same identities, each with the same content."""
    rng = random.Random(5)
    tables = [Table(dialect, number, rng) for number in range(2)]
    database = churning_emulator.database(
        dialect, [*(table.ddl for table in tables), stream(dialect, "OLD_AND_NEW_VALUES")]
    )
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
