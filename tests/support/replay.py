"""A stream of mutable key ranges replayed by the rules of Spanner's documentation, one record at a time.

Pure: it is given what each partition returns. Any partition that may go on is as good as another, so the
choice is random: an order that only some schedules break is found by trying several.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

Record = Any
"""A google.spanner.v1.ChangeStreamRecord, its protobuf class."""
Read = Callable[[str | None, int], list[Record]]
"""All records of a partition from a timestamp on; None: the initial query."""


class Stuck(Exception):
    """Every partition waits for another one."""


@dataclass
class _Partition:
    records: list[Record]
    done: int = 0

    @property
    def next(self) -> Record | None:
        """The record that comes next."""
        return self.records[self.done] if self.done < len(self.records) else None

    def has_passed(self, at: int) -> bool:
        """No change of that time or before is left, nor a move before it: rows may have come and gone on.

        A move of the same time may be left: two partitions that swap rows would wait for each other.
        """
        return all(
            stamp(record) > at
            for record in self.records[self.done :]
            if kind(record) == "data_change_record"
            or (kind(record) == "partition_event_record" and stamp(record) < at)
        )


@dataclass
class Replay:
    """Replays from `start`: what came of it is in the order processed."""

    read: Read
    rng: random.Random
    gated: bool = True
    """Wait at a move-in for its sources; else see what comes of it."""
    partitions: dict[str, _Partition] = field(default_factory=dict)
    processed: list[tuple[str, Record]] = field(default_factory=list)

    def run(self, start: int) -> list[tuple[str, Record]]:
        """Partition and record, in the order processed. Stuck where nothing can go on."""
        for record in self.read(None, start):
            self._open(record)
        while waiting := [token for token, one in self.partitions.items() if one.next is not None]:
            ready = [token for token in waiting if self._may_go_on(self.partitions[token])]
            if not ready:
                raise Stuck(f"{len(waiting)} partitions wait")
            token = self.rng.choice(ready)
            one = self.partitions[token]
            record = one.next
            one.done += 1
            self.processed.append((token, record))
            if kind(record) == "partition_start_record":
                self._open(record)
        return self.processed

    def _open(self, record: Record) -> None:
        for token in record.partition_start_record.partition_tokens:
            if token not in self.partitions:
                self.partitions[token] = _Partition(self.read(token, stamp(record)))

    def _may_go_on(self, one: _Partition) -> bool:
        if not self.gated or kind(one.next) != "partition_event_record":
            return True
        return all(
            token in self.partitions and self.partitions[token].has_passed(stamp(one.next))
            for token in sources(one.next)
        )


def kind(record: Record) -> str:
    """Which of the five it is."""
    return str(record.WhichOneof("record"))


def stamp(record: Record) -> int:
    """The record's timestamp, nanoseconds since 1970."""
    names = {
        "data_change_record": "commit_timestamp",
        "heartbeat_record": "timestamp",
        "partition_start_record": "start_timestamp",
        "partition_end_record": "end_timestamp",
        "partition_event_record": "commit_timestamp",
    }
    moment = getattr(getattr(record, kind(record)), names[kind(record)])
    return int(moment.seconds * 1_000_000_000 + moment.nanos)


def sequence(record: Record) -> str:
    """The record's record_sequence; a heartbeat has none."""
    return str(getattr(record, kind(record)).record_sequence)


def sources(record: Record) -> list[str]:
    """Where an event's move-ins come from."""
    return [one.source_partition_token for one in record.partition_event_record.move_in_events]


def destinations(record: Record) -> list[str]:
    """Where an event's move-outs go to."""
    return [one.destination_partition_token for one in record.partition_event_record.move_out_events]


def data(processed: list[tuple[str, Record]]) -> Iterator[tuple[str, Any]]:
    """Partition and data change record."""
    for token, record in processed:
        if kind(record) == "data_change_record":
            yield token, record.data_change_record
