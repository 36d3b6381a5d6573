"""What spanwire's core reads from a query's bytes, beside what the official client makes of them."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any

from integration import oracle
from integration.emulator import Dialect, EmulatorDatabase
from integration.oracle import PartitionRead, Query, Record

from spanwire._core import RecordReader, Timestamp


def decoded(messages: list[bytes], dialect: Dialect) -> list[Record]:
    """The records that the core reads, in the oracle's shape."""
    return [oracle.tidy(_parsed(record)) for record in RecordReader(dialect).read(messages)]


def agreed(query: Query) -> list[Record]:
    """The query's records, after the core and the official client agreed on the very same bytes."""
    messages = oracle.raw(query)
    ours, theirs = decoded(messages, query.database.dialect), oracle.merged(messages)
    assert ours == theirs
    return ours


def read_both(database: EmulatorDatabase, stream: str, start: str, end: str) -> list[Record]:
    """The data change records from start to end by the core.

    They agree with the official client on the same bytes, and with a second read, of the client's own.
    """
    ours = oracle.data_records(oracle.follow(database, stream, start, end, agreed))
    theirs = oracle.data_records(oracle.follow(database, stream, start, end))
    assert in_order(ours) == in_order(theirs)
    return in_order(ours)


def in_order(records: Iterable[Record]) -> list[Record]:
    """Records by their identity: two reads may come over different partitions."""
    return sorted(records, key=identity)


def identity(record: Record) -> tuple[str, str, str]:
    """What names a data change record for ever."""
    return record["commit_timestamp"], record["server_transaction_id"], record["record_sequence"]


def partitions(reads: Iterable[PartitionRead]) -> set[str]:
    """Tokens of what was read, without the initial query."""
    return {read.token for read in reads if read.token is not None}


def _parsed(record: Record) -> Record:
    ((kind, fields),) = record.items()
    fields = {name: str(value) if isinstance(value, Timestamp) else value for name, value in fields.items()}
    if kind == "data_change_record":
        fields["mods"] = [{name: _object(text) for name, text in mod.items()} for mod in fields["mods"]]
    return {kind: fields}


def _object(text: Any) -> Any:
    assert isinstance(text, str)
    return json.loads(text)
