"""Reads of tables at a timestamp: read-only transactions, partitioned queries, and the messages of each part.

A transaction is nothing but its timestamp, which its id holds; a partition token holds its share of the
rows and what query it is of. So any number of either can be open, and one is lost only where a test says so.
"""

from __future__ import annotations

import hashlib
import itertools
import json
import threading
from collections.abc import Callable, Iterator
from typing import Any, Final

import grpc
from google.cloud.spanner_v1.types import ResultSetMetadata, StructType

from spanwire.simulator import protobuf
from spanwire.simulator.chunking import Chunking
from spanwire.simulator.commits import Commits, place_of
from spanwire.simulator.config import SimulatorConfig
from spanwire.simulator.queries import Token
from spanwire.simulator.schema import Column, Table
from spanwire.simulator.status import Refused, closing, invalid, not_found, stamp
from spanwire.simulator.values import plainer
from spanwire.simulator.versions import State

_NANOS: Final = 1_000_000_000
_REMEMBERED = 4


class TableReader:
    """Answers queries of whole tables. Thread-safe: each query is a generator of its own."""

    def __init__(self, config: SimulatorConfig, commits: Commits) -> None:
        self._config = config
        self._commits = commits
        self._chunking = Chunking(config.chunk_bytes, config.chop, config.seed)
        self._numbers = itertools.count(1)
        self._lost = 0
        self._states: dict[int, State] = {}
        self._lock = threading.Lock()
        self.closed = False

    def begin(self, options: Any) -> tuple[bytes, int]:
        """A read-only transaction: its id and timestamp. `options`: the TransactionOptions as protobuf."""
        at = self._bound(options)
        return json.dumps([next(self._numbers), at]).encode(), at

    def lose_transactions(self) -> None:
        """Every transaction that has begun is gone, and what was parted in it."""
        self._lost = next(self._numbers)

    def timestamp(self, selector: Any) -> int | None:
        """When a request reads; None: what is there now. `selector`: its TransactionSelector."""
        match selector.WhichOneof("selector"):
            case "id":
                return self._of_transaction(selector.id)
            case "single_use":
                strong = selector.single_use.read_only.WhichOneof("timestamp_bound") in (None, "strong")
                return None if strong else self._bound(selector.single_use)
            case _:
                return None

    def state(self, at: int) -> State:
        """The tables as they were."""
        with self._lock:
            state = self._states.get(at)
        if state is None:
            self._check_kept(at)
            state = self._commits.past(at)
            with self._lock:
                while len(self._states) >= _REMEMBERED:
                    del self._states[next(iter(self._states))]
                self._states[at] = state
        return state

    def partition(self, words: list[Token], at: int) -> list[bytes]:
        """The partition tokens of a query."""
        self.table(words, at)
        parts = self._config.table_parts
        return [json.dumps([_fingerprint(words, at), part, parts]).encode() for part in range(parts)]

    def table(self, words: list[Token], at: int) -> tuple[Table, tuple[Column, ...]]:
        """The table that `SELECT column, … FROM table` reads, and the columns; refused for anything else."""
        texts = [text for _, text in words]
        lowered = [text.lower() if kind == "name" else "" for kind, text in words]
        if lowered[:1] != ["select"] or "from" not in lowered:
            raise invalid(
                "Query is not root partitionable: the simulator parts queries of whole tables only."
            )
        place = lowered.index("from")
        name = "".join(texts[place + 1 :])
        if self._config.dialect == "postgresql":
            name = name.removeprefix("public.")
        found = self.state(at).get(name)
        if found is None:
            raise not_found(f"Table not found: {name}")
        table = found[0]
        selected = texts[1:place:2] if texts[1:place] != ["*"] else [one.name for one in table.columns]
        if any(sign != "," for sign in texts[2:place:2]):
            raise invalid("Syntax error: the simulator reads columns by name only")
        for column in selected:
            if column not in table.by_name:
                raise invalid(f"Unrecognized name: {column}")
        return table, tuple(table.by_name[column] for column in selected)

    def read(
        self, words: list[Token], at: int, part: bytes, resume: bytes, active: Callable[[], bool]
    ) -> Iterator[bytes]:
        """The messages that answer a query, or one part of it; behind a resume token, those after it."""
        table, columns = self.table(words, at)
        query = _fingerprint(words, at)
        share, of = self._share(part, query)
        skip = self._skipped(resume, query, share)
        messages = _Packing(self._config, _metadata(columns, self._config), query, share)
        for place, piece, chunked in self._pieces(table, columns, at, (share, of)):
            if place < skip:
                continue
            if self.closed:
                raise closing()
            if not active():
                return
            yield from messages.add(place, piece, chunked)
        yield messages.close(chunked=False)

    # -------------------------------------------------------------- within

    def _pieces(
        self, table: Table, columns: tuple[Column, ...], at: int, share: tuple[int, int]
    ) -> Iterator[tuple[int, bytes, bool]]:
        """Values, row by row, cut where they are to be cut: each piece's number, and whether more follows."""
        plain = [plainer(column) for column in columns]
        rows = self.state(at)[table.name][1]
        number = itertools.count()
        for key, row in rows.items():
            if place_of(table, key) % share[1] != share[0]:
                continue
            values = dict(zip(table.key_names, key, strict=True)) | row
            for column, write in zip(columns, plain, strict=True):
                value = values.get(column.name)
                encoded = protobuf.encode(None if value is None else write(value))
                pieces = [encoded]
                if isinstance(protobuf.decode(encoded), str | list):
                    pieces = self._chunking.pieces(encoded, f"{table.name}/{share[0]}", next(number))
                for piece in pieces[:-1]:
                    yield next(number), piece, True
                yield next(number), pieces[-1], False

    def _share(self, part: bytes, query: str) -> tuple[int, int]:
        if not part:
            return 0, 1
        try:
            of, share, parts = json.loads(part)
        except ValueError:
            of, share, parts = "", 0, 1
        if of != query:
            raise invalid("The partition_token does not belong to this query.")
        return int(share), int(parts)

    def _skipped(self, resume: bytes, query: str, share: int) -> int:
        if not resume:
            return 0
        try:
            of, own, place = json.loads(resume)
        except ValueError:
            of, own, place = "", 0, 0
        if (of, own) != (query, share):
            raise invalid("The resume_token does not belong to this query.")
        return int(place)

    def _of_transaction(self, name: bytes) -> int:
        try:
            number, at = json.loads(name)
        except ValueError:
            number, at = 0, 0
        if number <= self._lost:
            raise not_found(f"Transaction not found: {name.decode(errors='replace')}")
        return int(at)

    def _bound(self, options: Any) -> int:
        bound = options.read_only
        if bound.WhichOneof("timestamp_bound") == "read_timestamp":
            at: int = bound.read_timestamp.seconds * _NANOS + bound.read_timestamp.nanos
            now = self._commits.now()
            if at > now:
                raise invalid(f"Cannot read at {stamp(at)}, which lies in the future; it is {stamp(now)}.")
            self._check_kept(at)
            return at
        if options.WhichOneof("mode") != "read_only" or bound.WhichOneof("timestamp_bound") not in (
            None,
            "strong",
        ):
            raise Refused(
                grpc.StatusCode.UNIMPLEMENTED,
                "this is a simulator: its transactions are read-only, strong or with a read_timestamp",
            )
        return self._commits.now()

    def _check_kept(self, at: int) -> None:
        earliest = max(
            self._commits.earliest_version, self._commits.now() - self._config.version_retention_s * _NANOS
        )
        if at < earliest:
            raise Refused(
                grpc.StatusCode.FAILED_PRECONDITION,
                f"Read timestamp {stamp(at)} is older than the versions kept: from {stamp(earliest)}.",
            )


class _Packing:
    """Packs values into messages: the first carries metadata, some carry a resume token."""

    def __init__(self, config: SimulatorConfig, metadata: bytes, query: str, share: int) -> None:
        self._config, self._metadata, self._query, self._share = config, metadata, query, share
        self._values: list[bytes] = []
        self._size = self._sent = self._next = 0

    def add(self, place: int, piece: bytes, chunked: bool) -> Iterator[bytes]:
        """Take a piece of a value; a message goes out where it is full, or where its value is cut."""
        self._values.append(protobuf.framed(piece))
        self._size += len(piece)
        self._next = place + 1
        if chunked or self._size >= self._config.message_bytes:
            yield self.close(chunked=chunked)

    def close(self, *, chunked: bool) -> bytes:
        """What there is, as a message."""
        every = self._config.resume_every
        token = b""
        if every and self._sent % every == every - 1:
            token = json.dumps([self._query, self._share, self._next]).encode()
        made = protobuf.message(self._values, metadata=self._metadata, chunked=chunked, token=token)
        self._values, self._size, self._metadata = [], 0, b""
        self._sent += 1
        return made


def _metadata(columns: tuple[Column, ...], config: SimulatorConfig) -> bytes:
    fields = [StructType.Field(name=column.name, type_=column.type(config.dialect)) for column in columns]
    return bytes(ResultSetMetadata.serialize(ResultSetMetadata(row_type=StructType(fields=fields))))


def _fingerprint(words: list[Token], at: int) -> str:
    return hashlib.sha256(repr((words, at)).encode()).hexdigest()[:16]
