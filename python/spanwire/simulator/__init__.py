"""A simulated Cloud Spanner change stream behind a real gRPC server. It is not Spanner.

Google's emulator keeps all writes in one partition and is slow; here partitions are parallel, split
and merge while transactions run across them, values are cut into chunks at arbitrary places, resume
tokens work, key ranges may move between partitions, and one seed decides all of it. What both can do
is compared in tests/integration/test_simulator_against_emulator.py.

The way of a change: `workload` or `Simulator.commit` → `rows` (the database's state, what each capture
type shows) → `commits` (transactions, records, routing by a `lineage`) → `records_googlesql`,
`records_postgresql` or `records_protobuf` (wire shape) → `log` → `reading` (one query: heartbeats, ends,
`chunking`, resume tokens) → `striking` (the script of `faults`) → `server` (gRPC). `lineage_immutable`
splits and merges the key ranges of `partitions`, `lineage_mutable` moves those of `moves`. `history` and
`canonical` write the ground truth from the same typed values by code of their own. `ready_made` serves
messages without commits, for speed.
"""

from spanwire.simulator.commits import Commit
from spanwire.simulator.config import ReadyMade, SimulatorConfig
from spanwire.simulator.faults import Fault, FaultScript, Strike
from spanwire.simulator.moves import Move
from spanwire.simulator.rows import Mutation, delete, insert, update, upsert
from spanwire.simulator.schema import Column, Table
from spanwire.simulator.simulator import Simulator
from spanwire.simulator.tables import WORKLOAD_TABLES, all_tables
from spanwire.simulator.values import Instant
from spanwire.simulator.workload import Done, WorkloadConfig

__all__ = [
    "WORKLOAD_TABLES",
    "Column",
    "Commit",
    "Done",
    "Fault",
    "FaultScript",
    "Instant",
    "Move",
    "Mutation",
    "ReadyMade",
    "Simulator",
    "SimulatorConfig",
    "Strike",
    "Table",
    "WorkloadConfig",
    "all_tables",
    "delete",
    "insert",
    "update",
    "upsert",
]
