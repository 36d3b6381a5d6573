"""The pipeline when an output takes nothing: what is held up, what is not, and what memory it costs."""

from __future__ import annotations

import resource
import threading
import time

import pytest
import zmq
from support.change_records import data_change, heartbeat, message
from support.waiting import soon

from spanwire._core import Message, Output, Partition, Pipeline, Timestamp
from spanwire.errors import ClosedError

ANY = ["tcp://127.0.0.1:*"]
START = Timestamp.parse("2026-11-23T00:00:00Z")


def stamp(second: int) -> str:
    """A timestamp as Spanner writes it."""
    return f"2026-11-23T{second // 3600:02d}:{second // 60 % 60:02d}:{second % 60:02d}Z"


def row(second: int, table: str = "orders") -> bytes:
    """One insert."""
    return message(data_change(stamp(second), [({"Id": "1"}, {"Name": "x"}, {})], table=table))


def opened(pipeline: Pipeline, token: str = "token") -> Partition:
    """A partition from the start on."""
    return pipeline.partition(token, dialect="googlesql", epoch=1, start=START)


def test_an_output_that_may_be_set_aside_holds_up_nothing() -> None:
    """Position and end of a partition wait for outputs that block, not for a stuck one that detaches."""
    outputs = [Output("pub", ANY), Output("push", ANY, on_full="detach")]
    with Pipeline("d", "s", outputs) as pipeline:
        partition = opened(pipeline)
        partition.push([row(1), message(heartbeat(stamp(2)))])
        assert soon(lambda: partition.position == Timestamp.parse(stamp(2)))
        partition.finish()
        assert soon(lambda: partition.finished)


def test_a_blocking_output_without_a_worker_holds_the_position() -> None:
    """What no worker has taken is not handed over."""
    with Pipeline("d", "s", [Output("pub", ANY), Output("push", ANY)]) as pipeline:
        partition = opened(pipeline)
        partition.push([row(1), message(heartbeat(stamp(2)))])
        time.sleep(0.2)
        assert partition.position is None
        worker = zmq.Context.instance().socket(zmq.PULL)
        worker.connect(pipeline.endpoints[1][0])
        assert soon(lambda: partition.position == Timestamp.parse(stamp(2)))
        # Positions that came meanwhile are not forgotten: the next heartbeat brings them.
        partition.push([message(heartbeat(stamp(9)))])
        assert soon(lambda: partition.position == Timestamp.parse(stamp(9)))
        worker.close(0)


@pytest.mark.parametrize("on_full", ["block", "detach"])
def test_heartbeats_behind_a_stuck_output_cost_no_memory(on_full: str) -> None:
    """One position waits in a queue, however many heartbeats come."""
    outputs = [Output("pub", ANY), Output("push", ANY, on_full=on_full)]  # type: ignore[arg-type]
    with Pipeline("d", "s", outputs) as pipeline:
        partition = opened(pipeline)
        partition.push([row(1)])
        beats = [message(heartbeat(stamp(second))) for second in range(2, 20_000)]
        for beat in beats[:2_000]:
            partition.push([beat])
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        for beat in beats[2_000:]:
            partition.push([beat])
        grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
        assert grown < 1_500, f"{grown} KiB for 18,000 heartbeats"


def test_draining_and_ending_do_not_wait_for_a_full_output() -> None:
    """`drain` keeps its time, `finish` and `release` take none, and nobody else is held up meanwhile."""
    options = {"queue_messages": 1, "batch_changes": 1, "batch_delay_ms": 60_000}
    with Pipeline("d", "s", [Output("push", ANY, options=options)]) as pipeline:
        held, stuck, other = (opened(pipeline, token) for token in ("held", "stuck", "other"))
        waiting = threading.Thread(target=lambda: _push_until_closed(stuck), daemon=True)
        waiting.start()
        assert soon(lambda: pipeline.stats()["outputs"][0][0]["queued_messages"] >= 1)
        time.sleep(0.1)
        assert waiting.is_alive(), "nothing is stuck"
        began = time.monotonic()
        assert pipeline.drain(0.3) is False
        held.end_of_stream()
        held.finish()
        other.release()
        assert time.monotonic() - began < 30
        pipeline.close()
        waiting.join(60)
        assert not waiting.is_alive()


def _push_until_closed(partition: Partition) -> None:
    try:
        partition.push([row(second) for second in range(1, 100)])
    except ClosedError:  # under it: that is the point
        return


def test_what_is_open_goes_out_whatever_the_reader_does_next() -> None:
    """A sender that came while the reader was in `restart` is asked again."""
    with Pipeline("d", "s", [Output("pub", ANY)]) as pipeline:
        partition = opened(pipeline)
        for second in range(1, 2_000):
            partition.push([row(second)])
            for _ in range(5):
                partition.restart()
            if second % 100 == 0:
                assert pipeline.drain(60), "an open message was forgotten"
                assert pipeline.stats()["outputs"][0][0]["changes"] == second


def test_only_the_output_that_cannot_type_a_change_gets_a_dead_letter() -> None:
    """The one that sends values as they are sends them."""
    outputs = [Output("pub", ANY, values="json"), Output("pub", ANY, values="typed")]
    options = {"tick_ms": 20}
    with Pipeline("d", "s", outputs, on_undecodable="dead-letter", options=options) as pipeline:
        sockets = []
        for [endpoint] in pipeline.endpoints:
            socket = zmq.Context.instance().socket(zmq.SUB)
            socket.subscribe(b"")
            socket.connect(endpoint)
            assert socket.poll(60_000)
            sockets.append(socket)
        broken = row(1).replace(b'{"Name":"x"}', b'{"Name":"x",')
        assert opened(pipeline).push([broken]).changes == 1
        assert pipeline.drain(60)
        kinds = []
        for socket in sockets:
            found: list[str] = []
            ticks = 0
            while ticks < 5:  # behind it: those before it may be many
                assert socket.poll(60_000)
                kind = Message.decode(socket.recv_multipart()).kind
                ticks += bool(found) and kind == "tick"
                found += [kind] if kind != "tick" else []
            kinds += found
            socket.close(0)
        assert kinds == ["changes", "deadLetter"]
        assert pipeline.stats()["undecodable"] == 1
