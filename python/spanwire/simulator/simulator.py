"""The simulator as its users hold it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

from spanwire.errors import ClosedError
from spanwire.simulator.clock import Clock
from spanwire.simulator.commits import Commit, Commits
from spanwire.simulator.config import SimulatorConfig
from spanwire.simulator.faults import Strike
from spanwire.simulator.history import History
from spanwire.simulator.lineage import Lineage
from spanwire.simulator.lineage_immutable import ImmutableLineage
from spanwire.simulator.lineage_mutable import MutableLineage
from spanwire.simulator.moves import Move
from spanwire.simulator.queries import ChangeQuery
from spanwire.simulator.reading import StreamReader
from spanwire.simulator.ready_made import ReadyMadeReader
from spanwire.simulator.records import ImmutableEncoder
from spanwire.simulator.records_googlesql import GoogleSqlEncoder
from spanwire.simulator.records_postgresql import PostgresEncoder
from spanwire.simulator.records_protobuf import ProtobufEncoder
from spanwire.simulator.rows import Mutation
from spanwire.simulator.schema import Table, database_ddl
from spanwire.simulator.server import Server
from spanwire.simulator.striking import Strikes
from spanwire.simulator.table_reading import TableReader
from spanwire.simulator.workload import Done, Workload, WorkloadConfig


class Simulator:
    """A simulated Cloud Spanner database with one change stream, served over gRPC. A context manager.

    >>> from spanwire.simulator import Simulator, SimulatorConfig, insert
    >>> with Simulator(SimulatorConfig(partitions=2)) as simulator:
    ...     commit = simulator.commit([insert("accounts", id=1, name="Ada")])
    ...     commit.changes, len(list(simulator.committed()))
    (1, 1)

    Point the official client at it by `SPANNER_EMULATOR_HOST=<address>`. Thread-safe.
    """

    def __init__(self, config: SimulatorConfig | None = None) -> None:
        self.config = config or SimulatorConfig()
        clock = Clock()
        lineage = _lineage(self.config, clock.tick())
        self._history = History(self.config.history)
        self._strikes = Strikes(self.config.faults, lineage.number)
        lineage.repeats = self._strikes.repeats
        self._commits = Commits(self.config, lineage, clock, self._history)
        self._reader = StreamReader(self.config, self._commits)
        self.tables = TableReader(self.config, self._commits)
        """Reads of tables at a timestamp."""
        ready = self.config.ready_made
        self._ready_made = (
            None
            if ready is None
            else ReadyMadeReader(self.config, ready, _immutable_encoder(self.config), self._commits)
        )
        self._workload: Workload | None = None
        self._server: Server | None = None
        self._closed = False

    # -------------------------------------------------------------- life

    def start(self) -> Self:
        """Serve. SocketError where the port is taken."""
        if self._closed:
            raise ClosedError("the simulator is closed")
        if self._server is None:
            self._server = Server(self.config, self)
            self._server.start()
        return self

    def close(self) -> None:
        """End all streams, close port and history. Again: nothing."""
        if self._closed:
            return
        self._closed = True
        self._reader.closed = self.tables.closed = True
        if self._ready_made is not None:
            self._ready_made.closed = True
        if self._server is not None:
            self._server.stop()
        self._history.close()

    def __enter__(self) -> Self:
        """Start it."""
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close it."""
        self.close()

    @property
    def address(self) -> str:
        """host:port. ClosedError before `start`."""
        if self._server is None:
            raise ClosedError("the simulator has not been started")
        return self._server.address

    # -------------------------------------------------------------- what happens in the database

    def commit(self, mutations: Iterable[Mutation], *, tag: str = "", system: bool = False) -> Commit:
        """Commit as one transaction. ValueError, and nothing committed, where one cannot be."""
        return self._commits.commit(mutations, tag=tag, system=system)

    def commit_together(self, transactions: Iterable[Iterable[Mutation]]) -> list[Commit]:
        """Commit several transactions, which share no row, at one timestamp. ValueError as for `commit`."""
        return self._commits.commit_together(transactions)

    def workload(self, config: WorkloadConfig, *, progress: Callable[[int], None] | None = None) -> Done:
        """Commit generated transactions until there are as many changes as wanted; blocks.

        A second call goes on where the first ended: its random choices are of the first call's seed.
        """
        if self._workload is None:
            self._workload = Workload(self.config, self._commits)
        return self._workload.run(config, progress)

    def split(self, token: str, parts: int = 2) -> list[str]:
        """Split a live partition; the new ones' tokens. ValueError where it cannot be.

        Immutable: it ends. Mutable: it lives on, and the new ones take most of what it owns.
        """
        return self._commits.split(token, parts)

    def merge(self, tokens: Sequence[str]) -> str:
        """Make one of live partitions; its token. ValueError where it cannot be.

        Immutable: neighbours end, and a child takes over. Mutable: the first takes over, the others end.
        """
        return self._commits.merge(tokens)

    def move(self, *moves: Move, ends: Sequence[str] = ()) -> int:
        """Move key ranges between live partitions, all at one timestamp, then end those named.

        The timestamp, in nanoseconds. ValueError where it cannot be: also where one ends that still owns
        key ranges, and where the mode is not mutable.
        """
        return self._commits.move(moves, ends)

    def create_table(self, table: Table) -> None:
        """Add a table; the stream watches it. ValueError where there is one of that name."""
        self._commits.create_table(table)

    def alter_table(self, table: Table) -> None:
        """Give a table other columns: added ones are NULL in its rows, dropped ones gone, retyped converted.

        ValueError, and nothing altered, where there is no such table, where its key would be another one, or
        where Spanner knows no such conversion.
        """
        self._commits.alter_table(table)

    def drop_table(self, name: str) -> None:
        """Take a table away, with its rows and without a change record. ValueError where there is none."""
        self._commits.drop_table(name)

    @property
    def ddl(self) -> list[str]:
        """Statements that make a real database look like this one."""
        config, tables = self.config, self._commits.tables
        return database_ddl(tables, config.stream, config.capture, config.dialect, config.mode)

    @property
    def watched(self) -> list[Table]:
        """The tables, all of which the stream watches, as they are now."""
        return self._commits.tables

    @property
    def partitions(self) -> list[str]:
        """Tokens of the live partitions: immutable by key range, mutable oldest first."""
        return self._commits.lineage.live

    @property
    def created(self) -> int:
        """The earliest timestamp that can be read, nanoseconds since 1970."""
        return self._commits.created

    def hold(self, changes: int) -> None:
        """Ready-made mode: hold the messages of queries to come back; so many changes in each partition."""
        if self._ready_made is not None:
            self._ready_made.hold(changes)

    def release(self) -> None:
        """Ready-made mode: let the messages go that are held back."""
        if self._ready_made is not None:
            self._ready_made.release()

    @property
    def held(self) -> int:
        """Ready-made mode: how many queries stand where their messages are held back."""
        return 0 if self._ready_made is None else self._ready_made.held

    @property
    def struck(self) -> list[Strike]:
        """Which faults of the script struck so far, partition by partition, in each in order."""
        return self._strikes.struck

    # -------------------------------------------------------------- the ground truth

    def committed(self) -> Iterator[str]:
        """What was committed so far: canonical lines in commit order (see spanwire.simulator.canonical)."""
        return self._history.lines()

    @property
    def changes(self) -> int:
        """How many changes were committed so far."""
        return self._history.changes

    def write_history(self, path: Path) -> int:
        """Write those lines to a file; how many."""
        return self._history.write(path)

    def flush_history(self) -> None:
        """With `history` set: everything committed is in the file."""
        self._history.flush()

    # -------------------------------------------------------------- what the server asks

    def read(self, query: ChangeQuery, resume: bytes, active: Callable[[], bool]) -> Iterator[bytes]:
        """A change-stream query's messages, for the server."""
        if self._ready_made is not None:
            return self._ready_made.read(query, resume, active)
        return self._strikes.apply(query, self._reader.read(query, resume, active))

    def wake(self) -> None:
        """Let sleeping readers look around, for the server."""
        self._commits.wake()


def _lineage(config: SimulatorConfig, created: int) -> Lineage:
    if config.mode == "immutable":
        return ImmutableLineage(config.partitions, created, _immutable_encoder(config), config.seed)
    encoder = ProtobufEncoder(config.dialect, config.function)
    return MutableLineage(config.partitions, created, encoder, config.seed)


def _immutable_encoder(config: SimulatorConfig) -> ImmutableEncoder:
    return GoogleSqlEncoder() if config.dialect == "googlesql" else PostgresEncoder(config.stream)
