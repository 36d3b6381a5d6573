"""One change-stream query from its arguments to the messages that answer it."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import grpc

from spanwire.simulator import protobuf
from spanwire.simulator.arguments import check
from spanwire.simulator.chunking import Chunking
from spanwire.simulator.commits import Commits
from spanwire.simulator.config import SimulatorConfig
from spanwire.simulator.log import PartitionLog
from spanwire.simulator.queries import ChangeQuery
from spanwire.simulator.status import Refused, closing, invalid, out_of_range, stamp

_GLANCE = 1.0  # seconds a sleeping reader goes without looking whether its client is still there


class Heartbeat(bytes):
    """A message that holds a heartbeat and nothing else."""


class StreamReader:
    """Answers change-stream queries. Thread-safe: each query is a generator of its own."""

    def __init__(self, config: SimulatorConfig, commits: Commits) -> None:
        self._config = config
        self._commits = commits
        self._encoder = commits.lineage.encoder
        self._chunking = Chunking(config.chunk_bytes, config.chop, config.seed)
        self._readers: dict[str, int] = {}
        self.closed = False

    def read(self, query: ChangeQuery, resume: bytes, active: Callable[[], bool]) -> Iterator[bytes]:
        """Yield the query's messages, encoded PartialResultSets.

        It ends at the requested end, with the partition, or when `active` says that the client has gone.
        Refused for wrong arguments.
        """
        check(query, self._config, self._commits.created, self._commits.now())
        if query.token is None:
            yield from self._initial(query, active)
            return
        log = self._commits.lineage.log(query.token)
        span = self._commits.lineage.get(query.token)
        if log is None or span is None:
            raise invalid(
                "Specified partition_token is invalid, as it does not belong to the Change Stream "
                f"associated with the TVF. Received partition_token: {query.token}."
            )
        if query.start < span.start or (span.end is not None and query.start > span.end):
            latest = self._commits.now() if span.end is None else span.end
            raise out_of_range(
                "Specified start_timestamp is invalid for the partition. Please specify a start_timestamp "
                f"within {stamp(span.start)} and {stamp(latest)}. "
                f"Received start_timestamp: {stamp(query.start)}."
            )
        self._enter(query.token)
        try:
            yield from self._partition(query, log, resume, active)
        finally:
            self._readers[query.token] -= 1

    # -------------------------------------------------------------- the two kinds of query

    def _initial(self, query: ChangeQuery, active: Callable[[], bool]) -> Iterator[bytes]:
        """The partitions that live at the start."""
        while self._commits.now() < query.start and self._goes_on(active):
            time.sleep(0.01)
        rows = map(protobuf.framed, self._commits.initial(query.start))
        yield protobuf.message(rows, metadata=self._encoder.metadata)

    def _partition(
        self, query: ChangeQuery, log: PartitionLog, resume: bytes, active: Callable[[], bool]
    ) -> Iterator[bytes]:
        out = _Messages(self._config, self._encoder.metadata)
        place, skip = _resumed(resume, query) if resume else (log.find(query.start), 0)
        silent = True
        heard = time.monotonic()
        patience = query.heartbeat / 1000
        token = query.token or ""
        while self._goes_on(active):
            # In this order: what is not in the log after `now` will be later than it.
            now = self._commits.now()
            ended = log.ended
            after = log.until(query.end)
            if place < after:
                rows = log.rows(place, min(after, place + 1000))
                for row in rows:
                    pieces = self._chunking.pieces(row, token, place)
                    place += 1
                    yield from out.add(pieces, skip, place, query)
                    skip = 0
                if place == after or len(rows) < 1000:
                    yield from out.flush(place, query)
                heard, silent = time.monotonic(), False
                continue
            if ended and place == log.until(None):
                return
            if query.end is not None and now >= query.end:
                # As the emulator does: a window without records is closed by a heartbeat.
                if silent:
                    yield Heartbeat(out.one(self._encoder.heartbeat(query.end), place, query))
                return
            left = heard + patience - time.monotonic()
            if left <= 0:
                yield Heartbeat(out.one(self._encoder.heartbeat(now), place, query))
                heard, silent = time.monotonic(), False
                continue
            if query.end is not None:
                left = min(left, (query.end - now) / 1e9)
            log.wait(place, max(min(left, _GLANCE), 0.0005))

    # -------------------------------------------------------------- within

    def _goes_on(self, active: Callable[[], bool]) -> bool:
        if self.closed:
            # Never a clean end: that would say that nothing more is to come.
            raise closing()
        return active()

    def _enter(self, token: str) -> None:
        readers = self._readers.get(token, 0)
        if readers >= self._config.readers_per_partition:
            raise Refused(
                grpc.StatusCode.RESOURCE_EXHAUSTED,
                f"Too many concurrent readers of one partition: the limit is {readers}.",
            )
        self._readers[token] = readers + 1


@dataclass(slots=True)
class _Messages:
    """Packs pieces of rows into messages: the first carries metadata, some carry a resume token."""

    config: SimulatorConfig
    metadata: bytes
    rows: list[bytes] = field(default_factory=list)
    size: int = 0
    sent: int = 0

    def add(self, pieces: list[bytes], skip: int, place: int, query: ChangeQuery) -> Iterator[bytes]:
        """Take a row, all its pieces or those from `skip` on.

        A message goes out where one is full, and after every piece but the last.
        """
        last = len(pieces) - 1
        for number in range(skip, len(pieces)):
            self.rows.append(protobuf.framed(pieces[number]))
            self.size += len(pieces[number])
            if number < last:
                yield self._close(True, self._token((place - 1, number + 1), query))
        if self.size >= self.config.message_bytes:
            yield self._close(False, self._token((place, 0), query))

    def flush(self, place: int, query: ChangeQuery) -> Iterator[bytes]:
        """What is held back.

        Always with a token where there are any: the official client hands nothing on before one.
        """
        if self.rows:
            yield self._close(False, self._token((place, 0), query, surely=True))

    def one(self, row: bytes, place: int, query: ChangeQuery) -> bytes:
        """A message of one row."""
        self.rows.append(protobuf.framed(row))
        return self._close(False, self._token((place, 0), query, surely=True))

    def _token(self, at: tuple[int, int], query: ChangeQuery, surely: bool = False) -> bytes:
        every = self.config.resume_every
        if not every or not (surely or self.sent % every == every - 1):
            return b""
        return json.dumps([*_named(query), *at], separators=(",", ":")).encode()

    def _close(self, chunked: bool, token: bytes) -> bytes:
        made = protobuf.message(self.rows, metadata=self.metadata, chunked=chunked, token=token)
        self.rows, self.size, self.metadata = [], 0, b""
        self.sent += 1
        return made


def _resumed(resume: bytes, query: ChangeQuery) -> tuple[int, int]:
    """The row, and the piece of it, after the message that carried the token."""
    try:
        *named, place, piece = json.loads(resume)
    except ValueError:
        named, place, piece = [], 0, 0
    if named != _named(query):
        raise invalid("The resume_token does not belong to this query.")
    return int(place), int(piece)


def _named(query: ChangeQuery) -> list[object]:
    """What must be the same again behind a resume token."""
    return [query.token, query.start, query.end, query.heartbeat]
