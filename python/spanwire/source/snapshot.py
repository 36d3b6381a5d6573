"""A stream's tables as they were at one timestamp, read in parts that Spanner makes of them.

One read-only transaction at the timestamp; of each table a partitioned query; each partition token is a part,
to be read by any thread, also (within the transaction's life) of another process. Where a transaction, its
session or its tokens are gone, the tables that were not finished are parted anew at the same timestamp.

https://cloud.google.com/spanner/docs/reads#read_data_in_parallel
"""

from __future__ import annotations

import threading

from google.cloud.spanner_v1 import (
    BeginTransactionRequest,
    ExecuteSqlRequest,
    PartitionQueryRequest,
    TransactionOptions,
    TransactionSelector,
)

from spanwire._core import TableRows, Timestamp
from spanwire.config import SourceConfig
from spanwire.errors import CorruptError, RetentionExpired, SourceError, SpanwireError, UnavailableError
from spanwire.source.connect import Connection
from spanwire.source.cut import Cut, Part
from spanwire.source.query import request_options
from spanwire.source.retention import oldest_kept, oldest_to_ask_for
from spanwire.source.retry import FAULTS, Backoff, Doing, judge
from spanwire.source.stream import RawStream
from spanwire.source.tables import WatchedTable, watched_tables

_RETENTION_SQL = (
    "SELECT option_value FROM information_schema.database_options "
    "WHERE option_name = 'version_retention_period'"
)
_DEFAULT_RETENTION = "1h"


class PartsLost(SourceError):
    """The transaction, or what Spanner made of it, cannot be read from any more: part the tables anew."""


class TableReads:
    """The parts of one snapshot, and how each is read. Thread-safe but for `begin` and `part_anew`."""

    def __init__(self, connection: Connection, source: SourceConfig, *, data_boost: bool = False) -> None:
        self._connection = connection
        self._source = source
        self._data_boost = data_boost
        self._tables: dict[str, WatchedTable] = {}
        self._streams: set[RawStream] = set()
        self.cut = Cut(Timestamp.now())
        """What is left to be read; who reads takes finished parts out."""

    @property
    def tables(self) -> dict[str, WatchedTable]:
        """By name, what is read of each table."""
        return self._tables

    def begin(self, at: Timestamp | None, tables: list[str]) -> None:
        """Begin at a timestamp, or now, and part the tables: those named, or all that the stream watches.

        RetentionExpired where the database keeps no versions that old any more; field `lost_to`: the oldest.
        SourceError where a table is not watched.
        """
        self.cut = Cut(at or Timestamp.now())
        if at is not None:
            self._check_kept(at)
        self._begin_transaction(at)
        self._look_up()
        unknown = sorted(set(tables) - set(self._tables))
        if unknown:
            raise SourceError(
                f"{self._doing().what}: the stream does not watch {', '.join(unknown)}; it watches "
                f"{', '.join(self._tables)}",
                tables=unknown,
            )
        self.cut.tables = [name for name in self._tables if not tables or name in tables]
        self._part()

    def go_on(self, cut: Cut) -> None:
        """Go on with a snapshot that was cut off; RetentionExpired as for `begin`."""
        self._check_kept(cut.at)
        self.cut = cut
        if not cut.session.startswith(f"{self._connection.database}/sessions/"):
            self._forget_parts()
        try:
            if not cut.parts:
                raise PartsLost("nothing is parted")
            self._look_up()
            if not all(part.table in self._tables for part in cut.parts):
                raise PartsLost("a table is not watched")
            self._part()
        except SourceError as error:
            if isinstance(error, RetentionExpired):
                raise
            self.part_anew()

    def part_anew(self) -> None:
        """What is not finished is read from the beginning of its tables, in another transaction."""
        self._forget_parts()
        self._begin_transaction(self.cut.at)
        self._look_up()
        self._part()

    def read(self, part: Part, rows: TableRows, stop: threading.Event) -> int | None:
        """Push all rows of a part, over passing faults; how many messages they went out in.

        None when it was stopped. PartsLost where Spanner cannot go on with it; other errors end the snapshot.
        """
        backoff = Backoff()
        token, attempt = b"", 1
        while not stop.is_set():
            try:
                self._push(part, rows, token, attempt, stop)
                if stop.is_set():
                    return None
                return rows.finish()
            except (*FAULTS, CorruptError) as error:
                failure = self._judged(error, part)
            if not failure.retryable or failure.fields.get("session_lost"):
                raise self._gone_or_lost(failure) from failure
            resumed = rows.resume()
            if resumed is None:
                rows.restart()
                token, attempt = b"", 1
            else:
                if resumed != token:
                    backoff.reset()
                token, attempt = resumed, attempt + 1
            stop.wait(backoff.next(failure))
        return None

    def cancel(self) -> None:
        """End the reads that run, of whom `stop` was set."""
        for stream in list(self._streams):
            stream.cancel()

    # -------------------------------------------------------------- within

    def _push(self, part: Part, rows: TableRows, token: bytes, attempt: int, stop: threading.Event) -> None:
        request = ExecuteSqlRequest(
            sql=self._tables[part.table].sql(self._connection.dialect),
            transaction=TransactionSelector(id=self.cut.transaction),
            partition_token=part.token,
            resume_token=token,
            data_boost_enabled=self._data_boost,
            request_options=request_options(self._source.priority, self._source.request_tag),
        )
        with RawStream(self._connection, request, attempt, session=self.cut.session) as stream:
            self._streams.add(stream)
            try:
                for message in stream:
                    rows.push([message])
                    if stop.is_set():
                        return
            finally:
                self._streams.discard(stream)

    def _judged(self, error: BaseException, part: Part) -> SpanwireError:
        if isinstance(error, CorruptError):
            # Cut short by a server that went away: like any break, unless it comes again and again.
            return UnavailableError(f"{self._doing(part).what}: {error}", unclear=True)
        return judge(error, self._doing(part))

    def _gone_or_lost(self, failure: SpanwireError) -> SpanwireError:
        """Of a refusal: the rows are too old by now, or the parts are lost, as far as anybody can tell."""
        self._check_kept(self.cut.at)
        return PartsLost(str(failure), **failure.fields)

    def _begin_transaction(self, at: Timestamp | None) -> None:
        cut = self.cut
        bound = (
            {"strong": True} if at is None else {"read_timestamp": {"seconds": at.seconds, "nanos": at.nanos}}
        )
        options = TransactionOptions(read_only={**bound, "return_read_timestamp": True})
        for _ in range(2):
            cut.session = self._connection.session.name()
            begin = BeginTransactionRequest(session=cut.session, options=options)
            try:
                begun = self._connection.call("begin_transaction", begin)
                break
            except FAULTS as error:
                failure = judge(error, self._doing())
                if not failure.fields.get("session_lost"):
                    raise failure from error
                self._connection.session.lost(cut.session)
        else:
            raise failure
        cut.transaction = begun.id
        cut.at = Timestamp.parse(begun.read_timestamp.rfc3339())

    def _look_up(self) -> None:
        """The tables as they were at the timestamp: columns that came later were not there."""
        stream, dialect = self._source.stream, self._connection.dialect
        try:
            tables = watched_tables(self._rows, stream, dialect)
        except FAULTS as error:
            raise judge(error, self._doing()) from error
        if not tables:
            raise SourceError(f"{self._doing().what}: the stream {stream} watched no table then")
        self._tables = {table.name: table for table in tables}

    def _part(self) -> None:
        """Have Spanner part the tables that are not yet."""
        cut = self.cut
        while cut.tables:
            table = self._tables.get(cut.tables[0])
            if table is not None:
                request = PartitionQueryRequest(
                    session=cut.session,
                    transaction=TransactionSelector(id=cut.transaction),
                    sql=table.sql(self._connection.dialect),
                )
                try:
                    answer = self._connection.call("partition_query", request)
                except FAULTS as error:
                    raise judge(error, self._doing()) from error
                for partition in answer.partitions:
                    cut.parts.append(Part(table.name, cut.next_number, partition.partition_token))
                    cut.next_number += 1
            del cut.tables[0]

    def _forget_parts(self) -> None:
        cut = self.cut
        tables = {part.table for part in cut.parts} | set(cut.tables)
        cut.tables, cut.parts = sorted(tables), []

    def _rows(self, sql: str) -> list[list[object]]:
        request = ExecuteSqlRequest(
            session=self.cut.session, sql=sql, transaction=TransactionSelector(id=self.cut.transaction)
        )
        return [list(row) for row in self._connection.call("execute_sql", request).rows]

    def _check_kept(self, at: Timestamp) -> None:
        found = self._connection.look_into(_RETENTION_SQL)
        retention = str(found[0][0]) if found and found[0][0] else _DEFAULT_RETENTION
        oldest = oldest_kept(retention)
        if at < oldest:
            raise RetentionExpired(
                f"{self._doing().what}: the database keeps versions for {retention} only, none older than "
                f"{oldest}; take a newer snapshot, or raise version_retention_period before the next one",
                lost_from=at,
                lost_to=oldest_to_ask_for(oldest, retention, Timestamp.now()),
            )

    def _doing(self, part: Part | None = None) -> Doing:
        of = f"part {part.number} of table {part.table}" if part else "the tables"
        return Doing(f"reading {of} as of {self.cut.at}")
