"""What a simulator is to be. One seed decides everything that is not given here."""

from __future__ import annotations

from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path

from spanwire.errors import ConfigError
from spanwire.simulator.faults import FaultScript
from spanwire.simulator.records import Capture, Mode
from spanwire.simulator.schema import Dialect, Table
from spanwire.simulator.tables import WORKLOAD_TABLES

MIN_CHUNK = 16


@dataclass(frozen=True, slots=True)
class ReadyMade:
    """Serve ready-made messages instead of commits: see spanwire.simulator.ready_made."""

    changes: int = 0
    """In each partition; 0: without end."""
    changes_per_record: int = 20
    change_bytes: int = 400
    message_bytes: int = 64 * 1024
    """At least so many in a message; 0: one record a message."""
    hold: bool = False
    """Send heartbeats only, until released."""
    rate: float = 0.0
    """Changes a second over all partitions, sent when their time has come; 0: as fast as gRPC takes them."""

    @property
    def step(self) -> Fraction:
        """With a rate: microseconds from one record to the next one, of whatever partition."""
        return Fraction(self.changes_per_record * 1_000_000) / Fraction(self.rate)


@dataclass(frozen=True, slots=True)
class SimulatorConfig:
    """Settings of a simulator. ConfigError at construction, every problem at once."""

    project: str = "simulator"
    instance: str = "simulator"
    database: str = "demo"
    stream: str = "changes"
    dialect: Dialect = "googlesql"
    mode: Mode = "immutable"
    """Whether key ranges stay in their partition until it ends, or move between living ones."""
    capture: Capture = "NEW_ROW_AND_OLD_VALUES"
    tables: tuple[Table, ...] = WORKLOAD_TABLES
    seed: int = 0
    host: str = "127.0.0.1"
    port: int = 0
    """0: one that is free."""
    partitions: int = 4
    """At the start; splits, merges and ends keep the number between half and twice that."""
    churn: int = 0
    """Changes committed between two splits, merges, moves or ends, on average; 0: none."""
    chunk_bytes: int = 1024 * 1024
    """A row longer than that goes out in pieces."""
    chop: int = 0
    """One in so many smaller rows is cut at an arbitrary place as well; 0: none."""
    message_bytes: int = 64 * 1024
    """Rows of a backlog share a message up to that."""
    mods_per_record: int = 100
    """A record takes no more mods than that; a longer run goes on in another."""
    resume_every: int = 4
    """One in so many messages of a backlog carries a resume token, and what goes out live; 0: none."""
    streams_per_connection: int = 100
    readers_per_partition: int = 20
    table_parts: int = 4
    """Parts that a partitioned query of a table gets."""
    version_retention_s: int = 3600
    """How far back tables can be read, in seconds..."""
    versions: int = 100_000
    """...as long as no more row changes than that lie behind."""
    history: Path | None = None
    """Write the ground truth there as it is committed; else it is kept in memory."""
    faults: FaultScript = field(default_factory=FaultScript)
    """What goes wrong, and where."""
    ready_made: ReadyMade | None = field(default=None)

    def __post_init__(self) -> None:
        """Refuse what cannot work."""
        least = {
            "partitions": 1,
            "churn": 0,
            "chunk_bytes": MIN_CHUNK,
            "chop": 0,
            "message_bytes": 0,
            "mods_per_record": 1,
            "resume_every": 0,
            "streams_per_connection": 1,
            "readers_per_partition": 1,
            "table_parts": 1,
            "version_retention_s": 0,
            "versions": 0,
            "port": 0,
        }
        problems = [
            f"{name}: must be {minimum} or more, is {getattr(self, name)}"
            for name, minimum in least.items()
            if getattr(self, name) < minimum
        ]
        if self.dialect not in ("googlesql", "postgresql"):
            problems.append(f'dialect: must be "googlesql" or "postgresql", is "{self.dialect}"')
        if self.mode not in ("immutable", "mutable"):
            problems.append(f'mode: must be "immutable" or "mutable", is "{self.mode}"')
        if self.mode == "mutable" and self.ready_made is not None:
            problems.append('ready_made: takes mode = "immutable" only')
        if self.faults.faults and self.ready_made is not None:
            problems.append("ready_made: takes no faults")
        problems += self._rate_problems()
        if not self.tables:
            problems.append("tables: must name one or more")
        if problems:
            raise ConfigError("; ".join(problems), problems=problems)

    def _rate_problems(self) -> list[str]:
        ready = self.ready_made
        if ready is None or ready.rate == 0:
            return []
        # Timestamps are microseconds, and no two of a partition are the same.
        most = 1e6 * self.partitions * ready.changes_per_record
        if 0 < ready.rate <= most:
            return []
        return [f"ready_made: rate must be 0 or more, here up to {most:,.0f}, is {ready.rate:,.10g}"]

    @property
    def function(self) -> str:
        """The function that reads the stream."""
        if self.dialect == "googlesql":
            return f"READ_{self.stream}"
        return f"read_{'json' if self.mode == 'immutable' else 'proto_bytes'}_{self.stream}"

    @property
    def database_path(self) -> str:
        """The database's full name."""
        return f"{self.instance_path}/databases/{self.database}"

    @property
    def instance_path(self) -> str:
        """The instance's full name."""
        return f"projects/{self.project}/instances/{self.instance}"
