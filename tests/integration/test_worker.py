"""Workers that share what a push output spreads, on real sockets."""

from __future__ import annotations

import time

import pytest
from support.change_records import data_change, message

from spanwire import Worker
from spanwire._core import Output, Pipeline, Timestamp

T0 = Timestamp.parse("2026-11-23T10:00:00Z")


def row(key: int) -> bytes:
    """A message with one change, of that key, committed at so many nanoseconds."""
    mods = [({"Id": str(key)}, {"Name": "n"}, {})]
    return message(data_change(f"2026-11-23T10:00:01.{key:09d}Z", mods))


def test_workers_share_the_work_and_lose_none() -> None:
    """Each change comes to one of them; both get some once both are connected, however long that takes."""
    output = Output("push", ["tcp://127.0.0.1:*"], options={"batch_changes": 5})
    with (
        Pipeline("shop", "all", [output]) as pipeline,
        Worker(pipeline.endpoints[0]) as one,
        Worker(pipeline.endpoints[0]) as two,
    ):
        partition = pipeline.partition("token", dialect="googlesql", epoch=1, start=T0)
        shares: list[list[int]] = [[], []]
        sent = 0
        deadline = time.monotonic() + 60
        while not all(shares) or sum(map(len, shares)) < sent:
            assert time.monotonic() < deadline, (sent, shares)
            if not all(shares):
                partition.push([row(sent)])
                sent += 1
            for share, worker in zip(shares, (one, two), strict=True):
                share += [change.keys["Id"] for change in worker.receive(0.02)]
        assert sorted(shares[0] + shares[1]) == list(range(sent))


async def test_a_worker_receives_on_an_event_loop() -> None:
    """The same by areceive and async for."""
    output = Output("push", ["tcp://127.0.0.1:*"])
    with Pipeline("shop", "all", [output]) as pipeline, Worker(pipeline.endpoints[0][0]) as worker:
        assert await worker.areceive(0.05) == []
        partition = pipeline.partition("token", dialect="googlesql", epoch=1, start=T0)
        partition.push([row(key) for key in range(3)])
        found: list[int] = []
        async for change in worker:
            found.append(change.keys["Id"])
            if len(found) == 3:
                break
        assert found == [0, 1, 2]


def undecodable(second: int) -> bytes:
    """A change whose keys are not what they must be."""
    return message(data_change(f"2026-11-23T10:00:{second:02d}Z", [("not an object", {}, {})]))


def decodable(second: int) -> bytes:
    """A change of a key that says when."""
    mods = [({"Id": str(second)}, {"Name": "n"}, {})]
    return message(data_change(f"2026-11-23T10:00:{second:02d}Z", mods))


def receive_one(worker: Worker) -> list[int]:
    """The keys of what comes first."""
    return [change.keys["Id"] for change in worker.receive(60)]


def test_dead_letters_come_to_a_worker(caplog: pytest.LogCaptureFixture) -> None:
    """By a call where there is one, else as a warning; a call that fails loses no change."""
    output = Output("push", ["tcp://127.0.0.1:*"])
    letters: list[object] = []

    def refuse(letter: dict[str, object]) -> None:
        letters.append(letter["table"])
        raise ValueError("refused")

    with Pipeline("shop", "all", [output], on_undecodable="dead-letter") as pipeline:
        partition = pipeline.partition("token", dialect="googlesql", epoch=1, start=T0)
        with Worker(pipeline.endpoints[0]) as worker:
            partition.push([undecodable(1), decodable(2)])
            assert receive_one(worker) == [2]
        (record,) = [one for one in caplog.records if one.name == "spanwire.consumer"]
        assert "of table orders" in record.getMessage()
        assert "not an object" not in record.getMessage()
    output = Output("push", ["tcp://127.0.0.1:*"])  # another: work on its way to a closed worker is lost
    with Pipeline("shop", "all", [output], on_undecodable="dead-letter") as pipeline:
        partition = pipeline.partition("token", dialect="googlesql", epoch=1, start=T0)
        with Worker(pipeline.endpoints[0], on_dead_letter=refuse) as worker:
            partition.push([undecodable(3), decodable(4)])
            assert pipeline.drain(60)
            time.sleep(0.2)  # both have come
            with pytest.raises(ValueError, match="refused"):
                worker.receive(60)
            assert receive_one(worker) == [4]
        assert letters == ["orders"]
