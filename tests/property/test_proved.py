"""How far Spanner has proved to have sent everything, whatever comes in whatever order."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from spanwire._core import Timestamp
from spanwire.records import PartitionRecord
from spanwire.source.partitions import Reading
from spanwire.source.reader import Job, Reader
from spanwire.timestamps import just_before

START = 1000
timestamps = st.integers(START - 3, START + 12).map(lambda nanos: Timestamp(5, nanos))
pushes = st.tuples(timestamps, st.sampled_from(["data", "heartbeat", "end", "both", "nothing"]))


@given(st.none() | st.integers(0, 6), st.lists(pushes, max_size=12))
def test_proved_is_the_most_that_any_push_proved(ahead: int | None, met: list[tuple[Timestamp, str]]) -> None:
    """A heartbeat or end proves its timestamp, data what is before it; nothing before the start counts."""
    start = Timestamp(5, START)
    position = None if ahead is None else Timestamp(5, START + ahead)
    record = PartitionRecord("token", start, position=position)
    job: Any = SimpleNamespace(record=record, connection=None, partition=None, end=None)
    reader = Reader(Job(**vars(job)), lambda report: None)
    proved = position
    for last, kind in met:
        pushed: Any = SimpleNamespace(
            last=None if kind == "nothing" else last,
            heartbeat=last if kind in ("heartbeat", "both") else None,
            end=last if kind == "end" else None,
            children=[],
        )
        reader._note(pushed, Reading(start))
        if pushed.last is not None and last >= record.resume_at:
            shown = just_before(last) if kind == "data" else last
            if shown >= start and (proved is None or shown > proved):
                proved = shown
        assert reader.proved == proved
