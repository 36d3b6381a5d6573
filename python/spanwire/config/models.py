"""The settings and what each may be. Every field's description is the user's documentation."""

from __future__ import annotations

import os
import re
from typing import Any, Literal

from pydantic import Field, ValidationInfo, field_validator, model_validator

from spanwire._core import Timestamp
from spanwire.config.choice import Choice
from spanwire.config.endpoints import endpoint_problem, listen_problem
from spanwire.config.group import GroupSettings, with_buckets
from spanwire.config.section import Section, TimestampText, all_fit, template_problem
from spanwire.records import StreamIdentity
from spanwire.timestamps import start_problem, timestamp_problem

MIB = 1 << 20
_IDENTIFIER = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,127}")
_RESOURCE = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.:-]*")
_MIN_HEARTBEAT_MS, _MAX_HEARTBEAT_MS = 1000, 300_000
_MIN_EMULATOR_HEARTBEAT_MS = 100
EMULATOR_VARIABLE = "SPANNER_EMULATOR_HOST"


class SourceConfig(Section):
    """Where changes come from."""

    project: str = Field(examples=["my-project"])
    """Google Cloud project of the database."""
    instance: str = Field(examples=["my-instance"])
    """Spanner instance of the database."""
    database: str = Field(examples=["my-database"])
    """The database."""
    stream: str = Field(examples=["my_stream"])
    """The change stream, as its CREATE CHANGE STREAM statement names it."""
    emulator_host: str = Field(default="", examples=["127.0.0.1:9010"])
    """host:port of an emulator or simulator to use in place of the service, as SPANNER_EMULATOR_HOST does."""
    start: TimestampText = "store"
    """Where to begin while the store holds no progress: "store" or "now" begin now, an RFC 3339
    timestamp begins there. Once the store holds progress, it decides."""
    end: TimestampText = ""
    """Read up to this RFC 3339 timestamp, inclusive, let groups handle it, then stop; empty for no end."""
    heartbeat_ms: int = 0
    """How often an idle partition says how far it is complete. 1000 to 300000; an emulator takes 100.
    0: 1000, or 10 for each partition that is read when its stream is opened, 10000 at the most."""
    priority: Literal["low", "medium", "high"] = "medium"
    """Spanner's request priority of the reads."""
    request_tag: str = Field(default="spanwire", max_length=50)
    """Tag of the reads in Spanner's query statistics."""
    database_role: str = ""
    """Database role to read under (fine-grained access control); empty for none."""
    streams_per_channel: int = Field(default=100, ge=1, le=100)
    """Partitions read over one connection. Spanner takes 100; one more would wait for ever."""
    connect_timeout_s: int = Field(default=20, ge=1, le=600)
    """How long to try to reach Spanner at the start."""
    topic: str = "{database}/{stream}/{table}/"
    """Topic of a change: {database}, {stream} and {table} are filled in. Ends in "/", names {table}."""
    on_undecodable: Literal["stop", "dead-letter"] = "stop"
    """A change that cannot be decoded: stop with its version in the error, or send it raw to a topic."""
    on_misfit: Literal["text", "dead-letter"] = "text"
    """A value that does not fit its column's type, of a type not known, or of a column not described: carry
    it as its JSON text, or send its record raw to a topic. Outputs with values = "json" look at none."""
    max_record_bytes: int = Field(default=64 * MIB, ge=MIB, le=1024 * MIB)
    """The largest data change record taken, in bytes of Spanner's response."""
    io_threads: int = Field(default=1, ge=1, le=64)
    """Threads that ZeroMQ does its network work on."""
    tick_ms: int = Field(default=1000, ge=10, le=1000)
    """Time between two ticks, which tell consumers how far they are complete."""

    @field_validator("project", "instance", "database")
    @classmethod
    def _is_resource(cls, value: str) -> str:
        if not _RESOURCE.fullmatch(value):
            raise ValueError(f'must be a plain id such as "my-database" without slashes, is "{value}"')
        return value

    @field_validator("emulator_host")
    @classmethod
    def _is_address(cls, value: str) -> str:
        if value and (problem := listen_problem(value)):
            raise ValueError(problem)
        return value

    @field_validator("stream")
    @classmethod
    def _is_identifier(cls, value: str) -> str:
        if not _IDENTIFIER.fullmatch(value):
            raise ValueError(f'must be a stream\'s name of letters, digits and "_", is "{value}"')
        return value

    @field_validator("start")
    @classmethod
    def _is_start(cls, value: str) -> str:
        if problem := start_problem(value, ("store", "now")):
            raise ValueError(problem)
        return value

    @field_validator("end")
    @classmethod
    def _is_end(cls, value: str, info: ValidationInfo) -> str:
        if value and (problem := timestamp_problem(value)):
            raise ValueError(problem)
        start = info.data.get("start", "store")
        if value and start not in ("now", "store") and Timestamp.parse(start) > Timestamp.parse(value):
            raise ValueError(f"{value} is before start {start}; write a later end or an earlier start")
        return value

    @field_validator("heartbeat_ms")
    @classmethod
    def _is_heartbeat(cls, value: int, info: ValidationInfo) -> int:
        emulated = bool(info.data.get("emulator_host") or os.environ.get(EMULATOR_VARIABLE))
        least = _MIN_EMULATOR_HEARTBEAT_MS if emulated else _MIN_HEARTBEAT_MS
        if value and not least <= value <= _MAX_HEARTBEAT_MS:
            raise ValueError(f"must be 0 or {least} to {_MAX_HEARTBEAT_MS}, is {value}")
        return value

    @field_validator("topic")
    @classmethod
    def _is_template(cls, value: str) -> str:
        if problem := template_problem(value, buckets=False):
            raise ValueError(problem)
        return value

    @property
    def identity(self) -> StreamIdentity:
        """Which stream this is."""
        return StreamIdentity(self.project, self.instance, self.database, self.stream)

    @property
    def emulator(self) -> str:
        """host:port of the emulator or simulator in use; empty for the service."""
        return self.emulator_host or os.environ.get(EMULATOR_VARIABLE, "")

    @property
    def start_at(self) -> Timestamp | None:
        """Where to begin with an empty store; None for now."""
        return None if self.start in ("now", "store") else Timestamp.parse(self.start)

    @property
    def end_at(self) -> Timestamp | None:
        """Where to end, inclusive; None for never."""
        return Timestamp.parse(self.end) if self.end else None


class StoreConfig(Section):
    """Where progress is kept."""

    kind: Literal["memory", "sqlite"] = "sqlite"
    """"memory" forgets progress when the relay ends; "sqlite" keeps it in a file for one relay."""
    path: str = "spanwire.db"
    """The file, with kind = "sqlite"; relative to where the relay is started."""
    interval_ms: int = Field(default=1000, ge=50, le=60_000)
    """How often progress is stored: what was sent since is sent again after a crash."""

    @field_validator("path")
    @classmethod
    def _is_path(cls, value: str) -> str:
        if not value.strip():
            raise ValueError('must be a file, such as "spanwire.db", is empty')
        return value


Kind = Literal["pub", "push", "feed", "replay", "group"]
REPLAY_ONLY = ("max_replays", "queued_replays", "max_snapshots", "snapshot_readers", "data_boost")


class Sockets(Section):
    """The settings of an output that say where it sends, and how."""

    kind: Kind
    """"pub" fans out to whoever subscribes; "push" spreads work over whoever pulls, without order; "feed"
    serves each consumer at its own pace; "replay" serves what was missed, re-reads and snapshots; "group"
    shares work over members, at least once, in order per key."""
    bind: list[str] = Field(min_length=1, examples=["tcp://127.0.0.1:5560"])
    """Endpoint, or a list of them: one sender thread each. A topic always goes through the same one. A feed,
    a replay and a group have one."""
    values: Literal["typed", "json"] = "typed"
    """How values are written: typed, or the JSON text as Spanner sent it (the cheapest)."""
    on_full: Literal["block", "detach"] = "block"
    """An output that is stuck holds the others ("block"), or is set aside, visibly ("detach"): progress
    does not wait for it, and what it leaves out is lost to it."""
    ring_bytes: int | None = Field(default=None, examples=[64 * MIB], ge=0, le=64 * 1024 * MIB)
    """Of "pub", "feed", "group": bytes of the last messages that are kept in memory for who missed them."""
    max_replays: int = Field(default=2, ge=1, le=10)
    """Of "replay": re-reads of Spanner at a time. Each takes one of the 20 readers of a partition."""
    queued_replays: int = Field(default=16, ge=0, le=1_000)
    """Of "replay": re-reads that may wait for their turn; more are refused."""
    connections: int = Field(default=64, ge=1, le=10_000)
    """Of "feed" and "replay": peers at a time; more are refused."""
    max_snapshots: int = Field(default=1, ge=1, le=10)
    """Of "replay": snapshots at a time; more are refused."""
    snapshot_readers: int = Field(default=4, ge=1, le=64)
    """Of "replay": parts of tables that a snapshot reads at a time."""
    data_boost: bool = False
    """Of "replay": snapshots are read with Spanner's Data Boost, on compute of its own, billed apart."""
    queue_bytes: int | None = Field(default=None, examples=[32 * MIB], ge=MIB, le=64 * 1024 * MIB)
    """Bound of a sender's queue in bytes."""
    queue_messages: int | None = Field(default=None, examples=[10_000], ge=1, le=10_000_000)
    """Bound of a sender's queue in messages."""
    batch_bytes: int | None = Field(default=None, examples=[64 * 1024], ge=1, le=8 * MIB)
    """A message is closed at this size. Nothing waits while the socket is idle."""
    batch_changes: int | None = Field(default=None, examples=[10_000], ge=1, le=1_000_000)
    """A message is closed at this number of changes."""
    batch_delay_ms: int | None = Field(default=None, examples=[5], ge=0, le=60_000)
    """A message is closed at this age."""
    high_water_mark: int | None = Field(default=None, examples=[1_000], ge=1, le=10_000_000)
    """ZMQ_SNDHWM: messages that ZeroMQ keeps for one peer."""
    linger_ms: int | None = Field(default=None, examples=[1_000], ge=0, le=600_000)
    """ZMQ_LINGER: how long closing waits for peers to take what is queued."""
    keepalive_s: int | None = Field(default=None, examples=[30], ge=0, le=86_400)
    """TCP keepalive: idle seconds before the first probe."""
    heartbeat_ms: int | None = Field(default=None, examples=[10_000], ge=0, le=600_000)
    """ZMTP heartbeat interval; 0 for none."""

    @field_validator("bind", mode="before")
    @classmethod
    def _one_is_a_list(cls, value: object) -> object:
        return [value] if isinstance(value, str) else value

    @field_validator("bind")
    @classmethod
    def _are_endpoints(cls, value: list[str]) -> list[str]:
        return all_fit(value, endpoint_problem)

    @property
    def options(self) -> dict[str, int]:
        """The settings that are left to the core's defaults unless given."""
        names = set(Sockets.model_fields) - {
            "kind",
            "bind",
            "values",
            "on_full",
            "connections",
            *REPLAY_ONLY,
        }
        given = self.model_dump(include=names, exclude_none=True)
        options = {name: int(value) for name, value in given.items()}
        if self.kind == "pub":
            options.setdefault("ring_bytes", 64 * MIB)
        if self.kind == "feed":
            options["connections"] = self.connections
        return options

    @property
    def batch_options(self) -> dict[str, int]:
        """Of `options`, those that say what a message is."""
        return {name: value for name, value in self.options.items() if name.startswith("batch_")}


class OutputConfig(Choice, GroupSettings, Sockets):
    """One output. Sockets with no peer keep nothing ("pub") or wait ("push")."""

    @model_validator(mode="before")
    @classmethod
    def _buckets_are_slots(cls, value: Any) -> Any:
        return with_buckets(value) if isinstance(value, dict) and value.get("kind") == "group" else value


class SecurityConfig(Section):
    """Who may connect to the outputs."""

    mode: Literal["none"] = "none"
    """"none": whoever reaches an endpoint may read it, so it must be on loopback."""
    insist: bool = False
    """Allow mode = "none" on endpoints that other machines can reach."""


class StatusConfig(Section):
    """What the relay tells about itself."""

    listen: str = Field(default="", examples=["127.0.0.1:9464"])
    """host:port of the HTTP server for /healthz and /metrics; empty for none."""
    log_level: Literal["debug", "info", "warning", "error"] = "info"
    """The least level that is logged."""
    log_format: Literal["auto", "text", "json"] = "auto"
    """"auto" is text on a terminal, else JSON."""

    @field_validator("listen")
    @classmethod
    def _is_address(cls, value: str) -> str:
        if value and (problem := listen_problem(value)):
            raise ValueError(problem)
        return value


class Config(Section):
    """All settings of a relay."""

    source: SourceConfig
    """Where changes come from."""
    store: StoreConfig = StoreConfig()
    """Where progress is kept."""
    output: list[OutputConfig] = Field(min_length=1)
    """Where changes go: one [[output]] each."""
    security: SecurityConfig = SecurityConfig()
    """Who may connect."""
    status: StatusConfig = StatusConfig()
    """What the relay tells about itself."""

    @property
    def lanes(self) -> list[OutputConfig]:
        """The outputs that changes go through, numbered as on the wire (`Header.output`)."""
        return [one for one in self.output if one.kind != "replay"]

    @property
    def groups(self) -> dict[int, OutputConfig]:
        """The outputs of kind "group", by their number on the wire."""
        return {number: one for number, one in enumerate(self.lanes) if one.kind == "group"}

    @property
    def replays(self) -> list[OutputConfig]:
        """The outputs of kind "replay"."""
        return [one for one in self.output if one.kind == "replay"]
