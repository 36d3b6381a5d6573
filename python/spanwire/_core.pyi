"""The extension: `spanwire-core` seen from Python."""

from collections.abc import Mapping, Sequence
from types import TracebackType
from typing import Any, Literal, Self, final

__all__ = [
    "Change",
    "ChildPartitions",
    "Message",
    "Output",
    "Partition",
    "PartitionEvent",
    "PartitionStart",
    "Pipeline",
    "Pushed",
    "RecordReader",
    "RecordVersion",
    "Resume",
    "Ring",
    "RingReader",
    "TableRows",
    "Timestamp",
    "Untyped",
    "Window",
    "__version__",
    "_debug_build",
    "_dedup_nanoseconds",
    "condition_problem",
    "decode_reply",
    "decode_request",
    "encode_reply",
    "encode_request",
    "reassemble",
]

__version__: str
_debug_build: bool

def _dedup_nanoseconds(timestamps: int, records_a_timestamp: int) -> float:
    """For benches: nanoseconds that the core takes to ask for a record version and admit it, on average."""

@final
class Timestamp:
    """A Spanner timestamp: years 0001 to 9999, nanoseconds. Ordered and hashable."""

    def __new__(cls, seconds: int, nanos: int = 0) -> Self: ...
    @staticmethod
    def parse(text: str) -> Timestamp:
        """Read RFC 3339 with Z and up to nine fraction digits; ValueError otherwise."""
    @staticmethod
    def now() -> Timestamp: ...
    @property
    def seconds(self) -> int: ...
    @property
    def nanos(self) -> int: ...
    def __str__(self) -> str: ...  # always nine fraction digits
    def __lt__(self, other: Timestamp, /) -> bool: ...
    def __le__(self, other: Timestamp, /) -> bool: ...
    def __gt__(self, other: Timestamp, /) -> bool: ...
    def __ge__(self, other: Timestamp, /) -> bool: ...
    def __hash__(self) -> int: ...

@final
class RecordVersion:
    """Names one row change for ever. Ordered by commit timestamp, transaction, sequence, number."""

    @property
    def commit_timestamp(self) -> Timestamp: ...
    @property
    def transaction(self) -> str: ...
    @property
    def sequence(self) -> str: ...
    @property
    def number(self) -> int: ...
    def __str__(self) -> str: ...  # <timestamp>/<transaction>/<sequence>/<mod>
    def __lt__(self, other: RecordVersion, /) -> bool: ...
    def __le__(self, other: RecordVersion, /) -> bool: ...
    def __gt__(self, other: RecordVersion, /) -> bool: ...
    def __ge__(self, other: RecordVersion, /) -> bool: ...
    def __hash__(self) -> int: ...

# ---------------------------------------------------------------- relay side

@final
class Output:
    """One output of a pipeline. `bind`: one endpoint per sender of "pub" and "push"; one endpoint of
    "feed", which serves each peer at its own pace; none of "ring", whose messages stay in memory for
    readers in this process."""

    def __new__(
        cls,
        kind: Literal["pub", "push", "ring", "feed"],
        bind: Sequence[str],
        *,
        values: Literal["typed", "json"] = "typed",
        on_full: Literal["block", "detach"] | None = None,
        topic: str | None = None,
        choice: Mapping[str, Any] | None = None,
        options: Mapping[str, int] | None = None,
    ) -> Self:
        """`on_full`: what happens when its queue is full, "block" if not given. Of a ring: what happens when
        that is full; "detach" if not given, the oldest messages make room; with "block" there is one reader,
        what it has read leaves the ring and is handed over only then, and reading Spanner waits for it.
        `topic`: its own template, with {bucket} where there are buckets. `choice`: what goes out, any of
        tables, exclude_tables, mod_types, buckets, hash_key (bytes) and table, a list of any of name,
        columns, exclude_columns, where, where_missing, mask, truncate and hash, as docs/settings.md says.
        `options`: ring_bytes (memory that messages may hold which stay for who missed them; 0, the default
        of "pub", keeps none), number (that its headers tell, of an output whose messages these are again; its
        place if not given), connections (peers of a feed at a time), silence_ms (a feed forgets a peer that
        says nothing for so long), queue_bytes, queue_messages, batch_bytes, batch_changes, batch_delay_ms,
        high_water_mark, linger_ms, keepalive_s, heartbeat_ms; ConfigError for any other name."""

@final
class Pipeline:
    """Bytes of PartialResultSet in, ZeroMQ messages out. Thread-safe; a context manager."""

    def __new__(
        cls,
        database: str,
        stream: str,
        outputs: Sequence[Output],
        *,
        topic: str = "{database}/{stream}/{table}/",
        on_undecodable: Literal["stop", "dead-letter"] = "stop",
        on_misfit: Literal["text", "dead-letter"] = "text",
        replay_endpoints: Sequence[str] = ...,
        stream_id: bytes | None = None,
        options: Mapping[str, int] | None = None,
    ) -> Self:
        """`replay_endpoints`: where this relay takes requests for repair, replay and snapshots, told in
        ticks. `stream_id`: the first 16 bytes of SHA-256 of the stream's resource path; a feed refuses who
        asks for another one. `options`: io_threads, tick_ms, max_record_bytes. Binds; SocketError when a
        port is in use."""
    @property
    def incarnation(self) -> int: ...
    @property
    def endpoints(self) -> list[list[str]]:
        """Per output, per sender: the address bound, wildcard ports resolved."""
    def partition(
        self,
        token: str,
        *,
        dialect: Literal["googlesql", "postgresql"],
        mode: Literal["immutable", "mutable"] = "immutable",
        epoch: int,
        start: Timestamp,
        resumed: bool = False,
        parents: Sequence[str] = ...,
        known: Timestamp | None = None,
    ) -> Partition:
        """Open a partition under an epoch. `mode`: whether the stream is read as IMMUTABLE_KEY_RANGE
        or MUTABLE_KEY_RANGE. `epoch`: must rise each time the partition is opened over its
        life, across restarts too: consumers take one that did not for a process out of date. `start`:
        where its query starts (inclusive). `resumed`: everything up to and including `start` was handed
        over under an earlier epoch. `known`: no change of partitions that are over, or wait, is newer;
        ticks tell it, so that who joins now knows how much there may have been."""
    def table(
        self, table: str, columns: Sequence[tuple[str, bool, int]], *, part: str, at: Timestamp
    ) -> TableRows:
        """Open a read of a part of a table, for a snapshot. `columns`: (name, is_primary_key,
        ordinal_position) of what the query selects, in its order, at least one. `part`: names the part among
        all of the table. `at`: the rows are as they were then."""
    def ring(self, output: int) -> Ring:
        """What an output keeps of what it has handed over. ConfigError where that is nothing; IndexError."""
    def tell(self, output: int) -> None:
        """Have each sender of an output tell the head of every flow in a tick, at once, behind what it has
        queued. Never waits. ConfigError: no such output; ClosedError."""
    def stats(self) -> dict[str, Any]:
        """Counters: see docs/metrics.md."""
    def drain(self, timeout: float) -> bool:
        """Wait (GIL released) until all that was pushed is handed over; False when time ran out."""
    def close(self) -> None: ...
    def __enter__(self) -> Self: ...
    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None: ...

@final
class TableRows:
    """The rows of one part of a table, on their way into messages of kind "snapshot": a row goes out as its
    insert would, by each output's own topics, choice and values, under the version (at, "", part, the row's
    number in the part). One thread at a time pushes."""

    @property
    def partition(self) -> bytes:
        """What its messages name as their partition: 16 bytes."""
    def push(self, messages: Sequence[bytes]) -> int:
        """Take messages of the query, in order; how many rows of them go out. Blocks while an output with
        on_full="block" is full. After an error it takes nothing more."""
    def resume(self) -> bytes | None:
        """After the stream broke: the token behind which the same query goes on, None where there is none.
        What was sent of what comes then is not sent again."""
    def restart(self) -> None:
        """The query is asked anew: all its rows come again, and are sent again."""
    def finish(self) -> int:
        """All rows have come: hand over what is open. How many messages they went out in. CorruptError where
        a row is half read."""

@final
class Ring:
    """What an output keeps of what it has handed over: its last messages and ticks, in order, as many as fit
    into ring_bytes. Thread-safe. It can still be looked at after the pipeline was closed."""

    def find(
        self, partition: bytes, epoch: int, topic: str, first: int, last: int
    ) -> list[list[bytes]] | None:
        """The messages `first` to `last` of one flow of this process, four frames each; None where any of
        them is not here (any more). ValueError where `partition` is not 16 bytes."""
    def reader(self, topics: Sequence[str] = ..., *, oldest: bool = False) -> RingReader:
        """One who reads all messages whose topic has one of these beginnings (all, if not given), and all
        ticks: those that come from now on, or from the oldest on. With on_full "block" there is one reader,
        and it always begins at the oldest; ConfigError where it is there already."""

@final
class RingReader:
    """Reads a ring in order and at its own pace. Thread-safe."""

    def read(self, timeout: float, max_bytes: int = ...) -> list[list[bytes]]:
        """The next messages, four frames each: up to `max_bytes` (1 MiB if not given), one at least. Waits
        `timeout` seconds for one (GIL released); [] when time is out. ClosedError once the pipeline is
        closed and all was read."""
    @property
    def missed(self) -> int:
        """Messages that fell off the ring before they were read, of whatever topic."""

@final
class Partition:
    """One partition under one epoch. One thread at a time pushes."""

    @property
    def token(self) -> str: ...
    def push(self, messages: Sequence[bytes]) -> Pushed:
        """Take messages of the partition's query, in order. GIL released. Blocks while an output
        with on_full="block" is full. Raises CorruptError, UndecodableError, ClosedError; after an
        error the partition takes nothing more (open it again from its stored position).

        At a partition start or event record it pauses (`Pushed.paused`): all before it is on its way
        out, all behind it is held, and another push is a ValueError. Do what the record asks (open the
        new partitions; wait until the sources of a move have been read up to it), then proceed()."""
    def proceed(self) -> Pushed:
        """Go on behind the record that it pauses at, with what is held, up to the next such record.
        GIL released; blocks and raises as push does. Nothing happens where it does not pause."""
    def resume(self) -> Resume:
        """After the stream broke: where to go on. Forgets what followed the last resume token, of
        what is held too. A pause stays: proceed() is still to be called, before or after."""
    def restart(self) -> Timestamp:
        """As resume, but forgets the token too, and with it all that is held and the pause: query
        afresh from this start_timestamp (inclusive). The record it paused at comes again."""
    def end_of_stream(self) -> None:
        """The query ended cleanly: CorruptError if that left a value half read."""
    def finish(self, end: Timestamp | None = None) -> None:
        """It has ended: in children, at its end record, or (end given) at the requested end timestamp.
        ValueError while it is paused."""
    def release(self) -> None:
        """Given up under this epoch, not ended: it leaves the ticks."""
    @property
    def position(self) -> Timestamp | None:
        """All its changes up to here have been handed over; None where nothing is known yet."""
    @property
    def finished(self) -> bool:
        """finish() was called and everything before it has been handed over."""

@final
class Pushed:
    """What a push met. Frozen."""

    @property
    def records(self) -> int: ...  # data change records, duplicates included
    @property
    def changes(self) -> int: ...  # mods sent on
    @property
    def duplicates(self) -> int: ...  # mods dropped, already handed over
    @property
    def heartbeat(self) -> Timestamp | None: ...  # the last one
    @property
    def last(self) -> Timestamp | None: ...  # the newest timestamp seen, of whatever record
    @property
    def children(self) -> list[ChildPartitions]: ...
    @property
    def paused(self) -> bool:
        """It pauses at a partition start or event record, and holds what was read behind it."""
    @property
    def starts(self) -> list[PartitionStart]: ...
    @property
    def end(self) -> Timestamp | None: ...  # the end record's timestamp, where it was met
    @property
    def event(self) -> PartitionEvent | None: ...  # the one that it pauses at

@final
class ChildPartitions:
    """A child partitions record. Frozen."""

    @property
    def start(self) -> Timestamp: ...
    @property
    def record_sequence(self) -> str: ...
    @property
    def partitions(self) -> list[tuple[str, list[str]]]:
        """(token, parent tokens); parents are [] for the initial query."""

@final
class PartitionStart:
    """A partition start record. Frozen."""

    @property
    def start(self) -> Timestamp: ...
    @property
    def record_sequence(self) -> str: ...
    @property
    def tokens(self) -> list[str]: ...

@final
class PartitionEvent:
    """A partition event record. Frozen."""

    @property
    def commit_timestamp(self) -> Timestamp: ...
    @property
    def record_sequence(self) -> str: ...
    @property
    def sources(self) -> list[str]: ...  # tokens of the partitions that keys came from
    @property
    def destinations(self) -> list[str]: ...  # tokens of the partitions that keys went to

@final
class Resume:
    """Where to go on. Frozen."""

    @property
    def token(self) -> bytes | None: ...
    @property
    def start(self) -> Timestamp: ...

@final
class RecordReader:
    """Reads a query's messages into plain records and sends nothing: the initial query, tests, tools."""

    def __new__(
        cls,
        dialect: Literal["googlesql", "postgresql"],
        mode: Literal["immutable", "mutable"] = "immutable",
    ) -> Self: ...
    def read(self, messages: Sequence[bytes]) -> list[dict[str, Any]]:
        """One dict a record: {"data_change_record": {...}}, {"heartbeat_record": {...}},
        {"child_partitions_record": {...}} or, in mutable mode, {"partition_start_record": {...}},
        {"partition_end_record": {...}}, {"partition_event_record": {...}}; fields as Spanner names
        them; timestamps as Timestamp; keys, new_values and old_values as JSON text, as Spanner sent
        it. Data change records have the same fields in both modes."""

def condition_problem(condition: str) -> str | None:
    """What is wrong with a condition on a row, such as "amount >= 100"; None where nothing is."""

def reassemble(messages: Sequence[bytes]) -> list[bytes]:
    """The values of a result set as encoded google.protobuf.Value, chunks merged by the official rules."""

# ---------------------------------------------------------------- between the two

def encode_request(
    kind: str,
    id: int,
    *,
    credit: int = 0,
    output: int = 0,
    topics: Sequence[str] = ...,
    stream: bytes = ...,
    incarnation: int = 0,
    partition: bytes = ...,
    epoch: int = 0,
    first: int = 0,
    last: int = 0,
    after: Timestamp | None = None,
    until: Timestamp | None = None,
    rate: int = 0,
    limit: int = 0,
    tables: Sequence[str] = ...,
    at: Timestamp | None = None,
    group: str = ...,
    member: str = ...,
    delivery: int = 0,
    handled: int = 0,
    reason: str = ...,
) -> bytes:
    """What a peer asks of a relay, as one frame; fields as in Request of envelope.capnp, empty by default.

    `kind`: hello, credit, cancel, ping, heads, repair, feed, replay, snapshot, join, leave, ack, reject.
    ValueError: a kind that is none, `stream` or `partition` neither empty nor of 16 bytes. FormatError: more
    than the 64 KiB that a relay takes."""

def decode_request(data: bytes) -> dict[str, Any]:
    """Every field of a request by its name, as `encode_request` takes them.

    A kind that a later version added reads as "unspecified". FormatError: not a request, larger than
    64 KiB, or of a newer format."""

def encode_reply(
    kind: str,
    id: int,
    *,
    stream: bytes = ...,
    position: Timestamp | None = None,
    oldest: Timestamp | None = None,
    reason: str = "unspecified",
    text: str = ...,
    delivery: int = 0,
    handled: int = 0,
    deliveries: int = 0,
    rows_done: int = 0,
    rows_total: int = 0,
    until: int = 0,
) -> bytes:
    """What a relay answers, as one frame, behind which "message" and "work" have the four of a message;
    fields as in Reply of envelope.capnp, empty by default.

    `kind`: welcome, message, progress, done, refused, pong, work. `reason`, of a refused: malformed,
    unknownKind, unknownOutput, unknownTopic, gone, future, otherStream, tooMany, busy, neverSent, outOfOrder,
    tooLarge, failed, stopping, notMember. ValueError: a name that is none of these, `stream` neither empty
    nor of 16 bytes."""

def decode_reply(data: bytes) -> dict[str, Any]:
    """Every field of a reply by its name, as `encode_reply` takes them.

    A kind or reason that a later version added reads as "unspecified". FormatError: not a reply, or of a
    newer format."""

# ---------------------------------------------------------------- consumer side

@final
class Message:
    """One message, decoded as far as it is looked at. Frozen."""

    @staticmethod
    def decode(frames: Sequence[bytes]) -> Message:
        """Four frames: topic, header, columns, body. FormatError where they are not that."""
    @property
    def topic(self) -> str: ...
    @property
    def kind(self) -> Literal["changes", "tick", "snapshot", "notice", "deadLetter"]: ...
    @property
    def values(self) -> Literal["typed", "json"]: ...
    @property
    def incarnation(self) -> int: ...
    @property
    def output(self) -> int:
        """Which output of the relay it went through, from 0: part of a flow's identity."""
    @property
    def epoch(self) -> int: ...
    @property
    def sequence(self) -> int: ...
    @property
    def stage(self) -> int:
        """How many moves of keys its partition had passed under this epoch: it comes behind a tick that tells
        as many (`stage` of its partition there)."""
    @property
    def routing_generation(self) -> int: ...
    @property
    def count(self) -> int: ...
    @property
    def size(self) -> int:
        """Bytes of its frames, the header aside."""
    @property
    def received_at(self) -> int: ...
    @property
    def sent_at(self) -> int: ...
    @property
    def partition(self) -> bytes: ...
    @property
    def first(self) -> RecordVersion | None: ...
    @property
    def last(self) -> RecordVersion | None: ...
    @property
    def traceparent(self) -> str: ...
    @property
    def table(self) -> str: ...
    def changes(self) -> list[Change]: ...
    def tick(self) -> dict[str, Any]:
        """Of kind tick: the Tick struct as dicts, lists, bytes, ints, Timestamp, RecordVersion."""
    def dead_letter(self) -> dict[str, Any]: ...

@final
class Untyped:
    """A value that is not of its column's type, as the JSON text that Spanner sent: it did not fit, its type
    is not known to this version, or the record does not describe its column. Of no type that a typed value
    has, so that none is taken for the other. Frozen and hashable."""

    def __new__(cls, json: str, type: str = "") -> Self: ...
    @property
    def json(self) -> str:
        """The JSON text."""
    @property
    def type(self) -> str:
        """The column's type, such as "INT64" or "ARRAY<PG_NUMERIC>"; of a type not known, Spanner's JSON text
        of it; empty where the record describes no column for the value."""
    def __hash__(self) -> int: ...

@final
class Window:
    """The record versions handed over at one place, as far as a repetition could bring them back: exact, by
    the newest commit timestamp and how far each record at it was taken. Changes come in commit order, the
    mods of a record by their numbers."""

    def __new__(cls, after: Timestamp | None = None) -> Self:
        """`after`: everything up to and including it was handed over."""
    def admit(self, changes: list[Change]) -> list[Change]:
        """Those not handed over before, in order; they count as handed over from now on."""
    def admit_version(self, version: RecordVersion) -> bool:
        """Whether it was not handed over before; it counts as handed over from now on."""
    def state(self) -> tuple[Timestamp, list[tuple[str, str, int]]] | None:
        """All of it, in few words: everything before the timestamp was handed over, and of each record at it,
        by transaction and sequence, the mods up to this number. None where nothing was."""
    @staticmethod
    def restore(state: tuple[Timestamp, list[tuple[str, str, int]]] | None) -> Window:
        """One that knows what the other knew when it gave its state."""

@final
class Change:
    """One row change, decoded when looked at. Frozen."""

    @property
    def version(self) -> RecordVersion: ...
    @property
    def topic(self) -> str: ...
    @property
    def table(self) -> str: ...
    @property
    def mod_type(self) -> Literal["INSERT", "UPDATE", "DELETE"]: ...
    @property
    def value_capture_type(self) -> str: ...
    @property
    def commit_timestamp(self) -> Timestamp: ...
    @property
    def transaction(self) -> str: ...
    @property
    def transaction_tag(self) -> str: ...
    @property
    def is_system_transaction(self) -> bool: ...
    @property
    def is_last_record_in_transaction_in_partition(self) -> bool: ...
    @property
    def number_of_records_in_transaction(self) -> int: ...
    @property
    def number_of_partitions_in_transaction(self) -> int: ...
    @property
    def columns(self) -> list[dict[str, Any]]: ...
    @property
    def keys(self) -> dict[str, Any]: ...
    @property
    def new(self) -> dict[str, Any]:
        """Values after the change, a column missing from the record is not there. Python types:
        BOOL bool; INT64, ENUM, PG_OID int; FLOAT32/64 float; STRING, JSON, INTERVAL, UUID str;
        NUMERIC decimal.Decimal; DATE datetime.date; TIMESTAMP Timestamp; BYTES, PROTO bytes;
        ARRAY list; NULL None; what could not be typed: Untyped, the JSON text."""
    @property
    def old(self) -> dict[str, Any]: ...
    @property
    def others(self) -> list[tuple[Literal["keys", "new", "old"], str, Untyped]]:
        """Values without a column: (where, name, value). The record does not describe their column (`keys`,
        `new` and `old` have them too), or their name came twice in one object (those have the first)."""
    def canonical(self) -> str:
        """One line of JSON, keys sorted: version, table, mod_type, keys, new, old. 64-bit integers
        as decimal strings, floats as the 16 hexadecimal digits of their IEEE bits, bytes as base64,
        timestamps with nine fraction digits, NUMERIC, DATE, JSON and the rest as their text; what could
        not be typed as {"json": text}. The same for typed and for JSON values. Defined in
        docs/canonical.md."""
