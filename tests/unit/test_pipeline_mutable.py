"""Partitions of MUTABLE_KEY_RANGE streams as their owner sees them: pushes that pause."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator

import pytest
import zmq
from google.protobuf.struct_pb2 import Value
from support.change_stream_records import (
    data_change,
    heartbeat,
    message,
    partition_end,
    partition_event,
    partition_start,
)

from spanwire._core import Message, Output, Partition, Pipeline, RecordReader, Timestamp
from spanwire.errors import ClosedError, ConfigError, CorruptError

COLUMNS = [("Id", {"code": 2}, True)]


def stamp(second: int) -> str:
    """A second of a minute, in text."""
    return f"2026-11-23T10:00:{second:02d}Z"


def at(second: int) -> Timestamp:
    """The same as a timestamp."""
    return Timestamp.parse(stamp(second))


def change(second: int) -> Value:
    """A row with one change."""
    return data_change(stamp(second), COLUMNS, [({"Id": Value(string_value=str(second))}, {}, {})])


def named(token: str) -> bytes:
    """A partition's name on the wire."""
    return hashlib.sha256(token.encode()).digest()[:16]


@pytest.fixture
def pipeline() -> Iterator[Pipeline]:
    """One pub output that ticks fast."""
    with Pipeline("shop", "all", [Output("pub", ["tcp://127.0.0.1:*"])], options={"tick_ms": 20}) as pipeline:
        yield pipeline


@pytest.fixture(params=["googlesql", "postgresql"])
def partition(pipeline: Pipeline, request: pytest.FixtureRequest) -> Partition:
    """A partition of a stream with mutable key ranges."""
    return pipeline.partition("p", dialect=request.param, mode="mutable", epoch=1, start=at(0))


def test_a_push_pauses_at_a_start_record_and_at_an_event_record(
    pipeline: Pipeline, partition: Partition
) -> None:
    """Each says what it asks for; what lies behind is met by proceed(), and the end with it."""
    rows = [change(1), partition_start(stamp(2), ["a", "b"]), change(3)]
    more = [partition_event(stamp(4), "p", sources=["q"], destinations=["r"]), heartbeat(stamp(5))]
    met = partition.push([message(*rows), message(*more, partition_end(stamp(6), "p"))])
    assert (met.paused, met.changes, met.last, met.event, met.end) == (True, 1, at(2), None, None)
    [start] = met.starts
    assert (start.start, start.record_sequence, start.tokens) == (at(2), "1-1", ["a", "b"])

    met = partition.proceed()
    assert (met.paused, met.changes, met.starts, met.heartbeat) == (True, 1, [], None)
    assert met.event is not None
    assert (met.event.commit_timestamp, met.event.record_sequence) == (at(4), "1-3")
    assert (met.event.sources, met.event.destinations) == (["q"], ["r"])
    assert pipeline.drain(10)
    assert partition.position == at(3), "what lies behind has not been looked at"

    met = partition.proceed()
    assert (met.paused, met.heartbeat, met.end, met.event) == (False, at(5), at(6), None)
    partition.finish()
    assert pipeline.drain(10)
    assert (partition.position, partition.finished) == (at(6), True)


def test_an_owner_that_forgets_the_pause_is_told(partition: Partition) -> None:
    """Pushing on and finishing are ValueErrors, and change nothing."""
    assert partition.push([message(partition_start(stamp(1), ["a"]), change(2))]).paused
    for wrong in (lambda: partition.push([message(change(3))]), partition.finish):
        with pytest.raises(ValueError, match=r"paused at a partition start or event record: call proceed"):
            wrong()
    assert partition.proceed().changes == 1
    assert not partition.proceed().paused
    partition.finish()
    with pytest.raises(ClosedError):
        partition.proceed()


def test_restart_forgets_what_is_held_and_the_pause(partition: Partition) -> None:
    """The record comes again with what follows it; nothing of it is counted twice."""
    rows = [partition_start(stamp(2), ["a"]), change(2)]
    assert partition.push([message(change(1), *rows)]).paused
    assert partition.restart() == at(2)
    assert partition.push([message(*rows)]).starts[0].tokens == ["a"]
    assert partition.proceed().changes == 1


def test_ticks_tell_moves(pipeline: Pipeline) -> None:
    """With the partition that keys moved into, and how many it has passed.

    One that ends has no children: it lived beside them.
    """
    socket = zmq.Context.instance().socket(zmq.SUB)
    socket.subscribe(b"")
    socket.connect(pipeline.endpoints[0][0])
    assert socket.poll(60_000), "no tick came"  # from now on none is missed
    partition = pipeline.partition("p", dialect="googlesql", mode="mutable", epoch=1, start=at(0))
    rows = [
        change(1),
        partition_event(stamp(1), "p", sources=["q"], destinations=["r"]),
        partition_start(stamp(2), ["a"]),
        change(2),
    ]
    assert partition.push([message(*rows, partition_end(stamp(3), "p"))]).paused
    assert partition.proceed().paused
    assert partition.proceed().end == at(3)
    partition.finish()
    stages, told = [], 0
    while True:
        assert socket.poll(60_000), "no tick came"
        received = Message.decode(socket.recv_multipart())
        if received.kind == "changes":
            stages.append(received.stage)
            assert told == received.stage, "its stage was told before"
            continue
        found = received.tick()["partitions"]
        told = found[0]["stage"] if found else 0
        if found and found[0]["state"] == "ended":
            break
    socket.close(0)
    assert stages == [0, 1], "a start record is no move"
    assert found[0]["moves"] == [{"at": at(1), "source": named("q"), "destination": named("p")}]
    assert found[0]["children"] == []


def test_modes_have_names(pipeline: Pipeline) -> None:
    """Another mode is a ConfigError, and a row of one mode is no row of the other."""
    with pytest.raises(ConfigError, match=r'mode: must be "immutable" or "mutable", is "both"'):
        RecordReader("googlesql", "both")  # type: ignore[arg-type]
    with pytest.raises(CorruptError):
        RecordReader("googlesql").read([message(change(1))])
    assert len(RecordReader("postgresql", "mutable").read([message(change(1), heartbeat(stamp(2)))])) == 2
