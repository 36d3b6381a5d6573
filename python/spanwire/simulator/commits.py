"""Commits: transactions become records, records go to the logs of the partitions that own their keys."""

from __future__ import annotations

import base64
import random
import threading
import zlib
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from spanwire.simulator.clock import Clock
from spanwire.simulator.config import SimulatorConfig
from spanwire.simulator.history import History
from spanwire.simulator.lineage import Lineage
from spanwire.simulator.moves import Move
from spanwire.simulator.records import DataRecord
from spanwire.simulator.rows import Change, Mutation, Rows
from spanwire.simulator.schema import Table
from spanwire.simulator.values import normalise
from spanwire.simulator.versions import State, Versions


@dataclass(frozen=True, slots=True)
class Commit:
    """What was committed. `timestamp` in nanoseconds since 1970."""

    timestamp: int
    transaction_id: str
    changes: int
    records: int
    partitions: int


@dataclass(frozen=True, slots=True)
class Transaction:
    """What one transaction does, the tag its writer gave it, and whether no user made it."""

    mutations: Sequence[Mutation]
    tag: str = ""
    system: bool = False


class Commits:
    """The simulated database's one writer and the stream's logs. Thread-safe: commits are serial."""

    def __init__(self, config: SimulatorConfig, lineage: Lineage, clock: Clock, history: History) -> None:
        self._config = config
        self.lineage = lineage
        self._clock = clock
        self._history = history
        self._tables = {table.name: table for table in config.tables}
        self._rows = Rows(config.tables, config.capture)
        self._versions = Versions(lineage.created, config.versions)
        self._lock = threading.Lock()
        self._ids = random.Random(f"{config.seed}/transactions")  # noqa: S311
        self._churn = random.Random(f"{config.seed}/churn")  # noqa: S311
        self._until_churn = self._next_churn()
        self._churn_is_due = False
        """It waits for the next commit, to share its timestamp."""

    # -------------------------------------------------------------- writing

    def commit(self, mutations: Iterable[Mutation], *, tag: str = "", system: bool = False) -> Commit:
        """Commit as one transaction. Values may be anything that `values.normalise` takes.

        ValueError, and nothing committed, where a table or column is unknown, a value is of another
        type, or a row is there already or missing.
        """
        typed = [self._checked(mutation) for mutation in mutations]
        return self.commit_typed([Transaction(typed, tag, system)])[0]

    def commit_together(self, transactions: Iterable[Iterable[Mutation]]) -> list[Commit]:
        """Commit several transactions at one timestamp, as Spanner may where they share no row.

        ValueError, and none committed, where they do, or as for `commit`.
        """
        typed = [Transaction([self._checked(one) for one in mutations]) for mutations in transactions]
        rows: Counter[tuple[Any, ...]] = Counter()
        for transaction in typed:
            rows.update({(one.table, *self._key(one)) for one in transaction.mutations})
        if rows and max(rows.values()) > 1:
            raise ValueError("transactions of one timestamp must not share a row")
        return self.commit_typed(typed)

    def commit_typed(self, transactions: Sequence[Transaction]) -> list[Commit]:
        """Commit transactions at one timestamp, of values that are typed and normal already.

        Nothing is checked but that rows are there, or not there, as they must be.
        """
        with self._lock:
            self._rows.begin()
            try:
                applied = [self._applied(transaction.mutations) for transaction in transactions]
            except BaseException:
                self._rows.undo()
                raise
            at = self._clock.tick()
            self._versions.rows(at, self._rows.before)
            # At one timestamp the records lie in the order of their transactions' ids.
            ids = sorted(self._id() for _ in transactions)
            turn = self._churn.randint(0, len(ids)) if self._churn_is_due else None
            done = []
            for place, (changes, transaction, name) in enumerate(
                zip(applied, transactions, ids, strict=True)
            ):
                if place == turn:
                    self._turn(at, data_follows=True)
                done.append(self._write(changes, transaction, at, name))
            if turn == len(ids):
                self._turn(at)
            self._count(sum(commit.changes for commit in done))
            return done

    def split(self, token: str, parts: int = 2) -> list[str]:
        """Split a live partition now: the new ones' tokens."""
        with self._lock:
            return self.lineage.split(token, self._clock.tick(), parts)

    def merge(self, tokens: Sequence[str]) -> str:
        """Make one of live partitions now: its token."""
        with self._lock:
            return self.lineage.merge(list(tokens), self._clock.tick())

    def move(self, moves: Sequence[Move], ends: Sequence[str]) -> int:
        """Move key ranges now, then end partitions: when."""
        with self._lock:
            at = self._clock.tick()
            self.lineage.move(moves, at, ends)
            return at

    # -------------------------------------------------------------- the schema

    @property
    def tables(self) -> list[Table]:
        """The tables that the stream watches now."""
        with self._lock:
            return list(self._tables.values())

    def keys(self, name: str) -> list[tuple[Any, ...]]:
        """The keys of a table's rows."""
        with self._lock:
            return self._rows.keys(name)

    def create_table(self, table: Table) -> None:
        """One more table, watched."""
        with self._lock:
            self._rows.create(table)
            self._versions.table(self._clock.tick(), table.name, None)
            self._tables[table.name] = table

    def alter_table(self, table: Table) -> None:
        """A table's columns are these from now on."""
        with self._lock:
            before = self._table(table.name)
            rows = dict(self._rows.of(table.name))
            self._rows.alter(before, table)
            self._versions.table(self._clock.tick(), table.name, (before, rows))
            self._tables[table.name] = table

    def drop_table(self, name: str) -> None:
        """A table goes."""
        with self._lock:
            self._versions.table(self._clock.tick(), name, (self._table(name), self._rows.of(name)))
            del self._tables[name]
            self._rows.drop(name)

    # -------------------------------------------------------------- reading

    @property
    def created(self) -> int:
        """When the stream began: nothing earlier can be read."""
        return self.lineage.created

    @property
    def earliest_version(self) -> int:
        """Tables cannot be read as they were before."""
        with self._lock:
            return self._versions.earliest

    def past(self, at: int) -> State:
        """All tables and their rows, as they were after all that was committed up to `at`."""
        with self._lock:
            now = {name: (table, self._rows.of(name)) for name, table in self._tables.items()}
            return self._versions.past(at, now)

    def initial(self, at: int) -> list[bytes]:
        """The rows that answer the initial query from `at` on."""
        with self._lock:
            return self.lineage.initial(at)

    def now(self) -> int:
        """A timestamp that every later commit is after, and every earlier one is in its log."""
        with self._lock:
            return self._clock.tick()

    def wake(self) -> None:
        """Let every reader look around."""
        self.lineage.wake()

    # -------------------------------------------------------------- within

    def _applied(self, mutations: Iterable[Mutation]) -> list[Change]:
        applied = (self._rows.apply(self._tables[one.table], one) for one in mutations)
        return [change for change in applied if change is not None]

    def _id(self) -> str:
        return base64.b64encode(b"%019d" % self._ids.randrange(10**18, 10**19)).decode()

    def _write(self, changes: list[Change], transaction: Transaction, at: int, name: str) -> Commit:
        """The transaction's records to the logs of their partitions, and to the history."""
        records = self._records(changes, at, name)
        total = sum(map(len, records.values()))
        for token, own in records.items():
            own[-1].is_last = True
            for record in own:
                record.records_in_transaction = total
                record.partitions_in_transaction = len(records)
                record.tag, record.system = transaction.tag, transaction.system
            self.lineage.write(token, own)
        self._history.add([record for own in records.values() for record in own])
        return Commit(at, name, len(changes), total, len(records))

    def _key(self, mutation: Mutation) -> tuple[Any, ...]:
        return tuple(mutation.values[name] for name in self._tables[mutation.table].key_names)

    def _table(self, name: str) -> Table:
        table = self._tables.get(name)
        if table is None:
            raise ValueError(f"no table {name}: there are {', '.join(self._tables)}")
        return table

    def _checked(self, mutation: Mutation) -> Mutation:
        table = self._table(mutation.table)
        values: dict[str, Any] = {}
        for name, value in mutation.values.items():
            column = table.by_name.get(name)
            if column is None:
                raise ValueError(f"no column {table.name}.{name}")
            try:
                values[name] = normalise(value, column, self._config.dialect)
            except ValueError as error:
                raise ValueError(f"{table.name}.{name}: {error}") from None
        missing = [name for name in table.key_names if name not in values]
        if missing:
            raise ValueError(f"{table.name}: the key's {', '.join(missing)} must be given")
        return Mutation(mutation.kind, mutation.table, values)

    def _records(self, changes: list[Change], at: int, transaction: str) -> dict[str, list[DataRecord]]:
        """The transaction's records by partition.

        Changes of one kind to one table share a record, also around changes to other tables; another
        kind of change to the same table begins a new one, so that each row's changes stay in order.
        """
        records: dict[str, list[DataRecord]] = {}
        open_ones: dict[tuple[str, str], DataRecord] = {}
        most = self._config.mods_per_record
        capture = self._config.capture
        sequence = self.lineage.sequences(at)
        number = 0
        for table, mod_type, columns, key, mod in changes:
            token = self.lineage.owner(place_of(table, key))
            last = open_ones.get((token, table.name))
            if (
                last is not None
                and last.mod_type == mod_type
                and last.columns == columns
                and len(last.mods) < most
            ):
                last.mods.append(mod)
                continue
            made = DataRecord(
                at, sequence(number), transaction, False, table, columns, [mod], mod_type, capture
            )
            open_ones[token, table.name] = made
            records.setdefault(token, []).append(made)
            number += 1
        return records

    def _count(self, changes: int) -> None:
        if not self._config.churn:
            return
        self._until_churn -= changes
        if self._until_churn > 0:
            return
        self._until_churn = self._next_churn()
        self._churn_is_due = self.lineage.churns_with_commits and self._churn.random() < 0.5
        if not self._churn_is_due:
            self._turn(self._clock.tick())

    def _turn(self, at: int, *, data_follows: bool = False) -> None:
        """One churn of the partitions."""
        self._churn_is_due = False
        least, most = max(1, self._config.partitions // 2), self._config.partitions * 2
        self.lineage.churn(at, least, most, data_follows=data_follows)

    def _next_churn(self) -> int:
        mean = self._config.churn
        return self._churn.randint(mean // 2, mean + mean // 2) if mean else 0


def place_of(table: Table, key: tuple[Any, ...]) -> int:
    """Where a key lies in the key space. Not Python's hash: that differs between processes."""
    return zlib.crc32(f"{table.name}{key!r}".encode("utf-8", "surrogatepass"))
