"""Rings: what a pipeline's output keeps of what it has handed over, and who reads it."""

from __future__ import annotations

import threading
import time
from typing import Literal

import pytest
import zmq
from support.change_records import data_change, heartbeat, message
from support.waiting import soon

from spanwire._core import Message, Output, Partition, Pipeline, RingReader, Timestamp
from spanwire.errors import ClosedError, ConfigError

START = Timestamp.parse("2026-11-23T00:00:00Z")
NAME = "x" * 20_000
RING = 200_000
"""Room for about ten rows."""


def ring(on_full: Literal["block", "detach"] = "detach", **options: int) -> Output:
    """A ring of one row a message."""
    return Output("ring", [], on_full=on_full, options={"batch_bytes": 1} | options)


def stamp(second: int) -> str:
    """A timestamp as Spanner writes it."""
    return f"2026-11-23T00:{second // 60:02d}:{second % 60:02d}Z"


def row(second: int, table: str = "orders") -> bytes:
    """One insert of 20 kB, and the heartbeat behind it."""
    return message(
        data_change(stamp(second), [({"Id": str(second)}, {"Name": NAME}, {})], table=table),
        heartbeat(stamp(second)),
    )


def opened(pipeline: Pipeline) -> Partition:
    """A partition from the start on, under epoch 7."""
    return pipeline.partition("token", dialect="googlesql", epoch=7, start=START)


def read(reader: RingReader, count: int) -> list[Message]:
    """So many messages of changes; ticks in between are left out."""
    found: list[Message] = []
    deadline = time.monotonic() + 60
    while len(found) < count:
        assert time.monotonic() < deadline, f"{len(found)} of {count} came"
        messages = [Message.decode(frames) for frames in reader.read(1.0)]
        found += [one for one in messages if one.kind == "changes"]
    return found


def test_what_a_subscriber_missed_is_found_again_byte_for_byte() -> None:
    """A message of a flow by its number, as it was sent; and nothing where there is no such message."""
    output = Output("pub", ["tcp://127.0.0.1:*"], options={"ring_bytes": 64 << 20, "batch_bytes": 1})
    with Pipeline("d", "s", [output], options={"tick_ms": 10}) as pipeline:
        socket = zmq.Context.instance().socket(zmq.SUB)
        socket.subscribe(b"")
        socket.connect(pipeline.endpoints[0][0])
        assert socket.poll(60_000), "no tick"
        partition, kept = opened(pipeline), pipeline.ring(0)
        for second in range(1, 6):
            partition.push([row(second)])
        sent: list[list[bytes]] = []
        while len(sent) < 5:
            assert socket.poll(60_000), "nothing came"
            frames = socket.recv_multipart()
            if Message.decode(frames).kind == "changes":
                sent.append(frames)
        socket.close(0)
        origin = Message.decode(sent[0]).partition
        assert kept.find(origin, 7, "d/s/orders/", 0, 4) == sent
        assert kept.find(origin, 7, "d/s/orders/", 2, 3) == sent[2:4]
        assert kept.find(origin, 7, "d/s/orders/", 2, 5) is None
        assert kept.find(origin, 6, "d/s/orders/", 0, 0) is None
        assert kept.find(origin, 7, "d/s/orders", 0, 0) is None
        assert kept.find(bytes(16), 7, "d/s/orders/", 0, 0) is None
        with pytest.raises(ValueError, match="16 bytes"):
            kept.find(b"short", 7, "d/s/orders/", 0, 0)


def test_an_output_keeps_nothing_unless_it_is_told_to() -> None:
    """Of `pub` alone, an application that never asks for repairs pays no memory."""
    outputs = [Output("pub", ["tcp://127.0.0.1:*"]), Output("ring", [])]
    with Pipeline("d", "s", outputs) as pipeline:
        with pytest.raises(ConfigError, match="ring_bytes: output 0 keeps no messages"):
            pipeline.ring(0)
        pipeline.ring(1)
        with pytest.raises(IndexError, match="output 2 of 2"):
            pipeline.ring(2)
        rings = pipeline.stats()["rings"]
        assert rings[0] is None
        assert rings[1]["max_bytes"] == 64 << 20
        assert pipeline.endpoints[1] == []


def test_settings_of_a_ring_that_cannot_work_are_refused() -> None:
    """Each with the setting's name."""
    with pytest.raises(ConfigError, match="bind: must be empty"):
        Output("ring", ["tcp://127.0.0.1:*"])
    with pytest.raises(ConfigError, match="ring_bytes: must be 1 or more"):
        Output("ring", [], options={"ring_bytes": 0})
    with pytest.raises(ConfigError, match="ring_bytes: must be 0"):
        Output("push", ["tcp://127.0.0.1:*"], options={"ring_bytes": 1})


def test_readers_have_what_they_ask_for_each_at_its_own_pace() -> None:
    """One table alone, from now on or from the oldest; a slow reader holds up nobody."""
    with Pipeline("d", "s", [ring()], options={"tick_ms": 10}) as pipeline:
        partition, kept = opened(pipeline), pipeline.ring(0)
        orders, slow = kept.reader(["d/s/orders/"]), kept.reader()
        for second in range(1, 21):
            partition.push([row(second, "orders" if second % 2 else "items")])
        assert pipeline.drain(60)
        assert [one.table for one in read(orders, 10)] == ["orders"] * 10
        assert len(read(slow, 20)) == 20
        assert len(read(kept.reader(["d/s/items/"], oldest=True), 10)) == 10
        assert soon(lambda: any(Message.decode(frames).kind == "tick" for frames in orders.read(1.0)))
        assert (orders.missed, slow.missed) == (0, 0)


def test_a_ring_that_is_full_forgets_its_oldest_and_readers_know_how_many() -> None:
    """The memory stays within the bound whatever comes."""
    output = ring(ring_bytes=RING)
    with Pipeline("d", "s", [output]) as pipeline:
        partition, kept = opened(pipeline), pipeline.ring(0)
        reader = kept.reader(["d/s/orders/"])
        for second in range(1, 101):
            partition.push([row(second)])
        assert pipeline.drain(60)
        stats = pipeline.stats()["rings"][0]
        assert stats["bytes"] <= RING
        messages = [Message.decode(frames) for frames in reader.read(60.0, 1 << 30)]
        changes = [one for one in messages if one.kind == "changes"]
        assert changes[-1].sequence == 99
        assert 0 < len(changes) < 20
        assert reader.missed >= changes[0].sequence
        assert changes[0].last is not None
        assert stats["oldest"] == changes[0].last.commit_timestamp


def test_with_block_a_position_says_what_the_reader_has_taken() -> None:
    """What lies in the ring unread is not handed over: a replay's progress is its reader's."""
    output = ring("block", ring_bytes=RING)
    with Pipeline("d", "s", [output]) as pipeline:
        partition = opened(pipeline)
        reader = pipeline.ring(0).reader()
        for second in range(1, 4):
            partition.push([row(second)])
        assert soon(lambda: pipeline.stats()["outputs"][0][0]["changes"] == 3)
        assert partition.position is None
        assert not pipeline.drain(0.05)
        while Message.decode(reader.read(60.0, 0)[0]).kind != "changes":
            assert partition.position is None
        assert soon(lambda: partition.position == Timestamp.parse(stamp(1)))
        read(reader, 2)
        partition.finish()
        assert soon(lambda: partition.finished)
        assert pipeline.drain(60)


def test_with_block_pushing_waits_for_the_reader_and_nothing_is_lost() -> None:
    """However slow it is, and however small the ring."""
    output = ring("block", ring_bytes=RING, queue_messages=2)
    with Pipeline("d", "s", [output]) as pipeline:
        partition = opened(pipeline)
        pushed = threading.Thread(target=lambda: [partition.push([row(second)]) for second in range(1, 101)])
        pushed.start()
        assert soon(lambda: pipeline.stats()["outputs"][0][0]["stuck_seconds"] > 0)
        stats = pipeline.stats()["rings"][0]
        assert stats["bytes"] < RING + 2 * len(NAME)
        reader = pipeline.ring(0).reader()
        with pytest.raises(ConfigError, match="on_full"):
            pipeline.ring(0).reader()
        assert [one.sequence for one in read(reader, 100)] == list(range(100))
        pushed.join()
        assert reader.missed == 0


def test_a_reader_reads_to_the_end_and_hears_of_it() -> None:
    """Also one that waits while the pipeline is closed."""
    with Pipeline("d", "s", [ring()]) as pipeline:
        kept = pipeline.ring(0)
        late, waiting = kept.reader(oldest=True), kept.reader(["nothing"])
        opened(pipeline).push([row(1)])
        assert pipeline.drain(60)
        heard = threading.Event()

        def wait() -> None:
            with pytest.raises(ClosedError):
                while True:
                    waiting.read(10.0)
            heard.set()

        thread = threading.Thread(target=wait)
        thread.start()
        pipeline.close()
        thread.join(60)
        assert heard.is_set()
    assert len(read(late, 1)) == 1
    with pytest.raises(ClosedError):
        while True:
            late.read(0.0)
