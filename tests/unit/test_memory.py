"""What memory a pipeline takes: bounded by settings, not by how much or how many have passed through it.

Each in a process of its own, whose peak nothing else has raised.
"""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

TESTS = Path(__file__).parents[1]
COMMON = """
import resource, sys, time
import zmq
from support.raw_records import ID, Column, messages, record
from spanwire._core import Output, Pipeline, Timestamp

START = Timestamp.parse("2020-01-01T00:00:00Z")
ANY = ["tcp://127.0.0.1:*"]

def rows(number, columns=(ID,), new="{}", at="2026-11-23T10:00:00Z"):
    return messages(record("googlesql", at, [('{"Id":"1"}', new, "{}")], columns, sequence=f"{number:08d}"))

def peak():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss

def partition(pipeline, name):
    return pipeline.partition(name, dialect="googlesql", epoch=1, start=START)
"""


def grown(scenario: str) -> int:
    """KiB by which the peak grew in the second part of a scenario, which prints it."""
    paths = os.pathsep.join([str(TESTS), *filter(None, sys.path)])
    done = subprocess.run(
        [sys.executable, "-c", COMMON + textwrap.dedent(scenario)],
        env={**os.environ, "PYTHONPATH": paths},
        capture_output=True,
        text=True,
        timeout=200,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return int(done.stdout)


def test_partitions_that_came_and_went_leave_nothing_behind() -> None:
    """Thousands of partitions, each with records of its own, ended: what they took is given back."""
    kib = grown(
        """
        def pass_through(pipeline, first, many):
            for start in range(first, first + many, 100):
                opened = [partition(pipeline, f"token {n}") for n in range(start, start + 100)]
                for one in opened:
                    one.push(rows(0))
                    one.finish()
                while not all(one.finished for one in opened):
                    time.sleep(0.002)

        with Pipeline("d", "s", [Output("pub", ANY)], options={"tick_ms": 10}) as pipeline:
            pass_through(pipeline, 0, 1_000)
            before = peak()
            pass_through(pipeline, 1_000, 12_000)
            print(peak() - before)
        """
    )
    # A partition takes 5 KiB while it lives: 12,000 would be 60 MiB. Up to 32 MiB of buffers are kept.
    assert kib < 45_000


@pytest.mark.parametrize("kind", ["pub", "push"])
def test_an_output_that_takes_nothing_costs_no_more_than_its_queues(kind: str) -> None:
    """75 MB before a peer that does not read (pub), or that is not there and may be set aside (push)."""
    kib = grown(
        f"""
        options = {{"queue_bytes": 1 << 20, "high_water_mark": 8, "linger_ms": 0}}
        on_full = "detach" if {kind!r} == "push" else "block"
        with Pipeline("d", "s", [Output({kind!r}, ANY, on_full=on_full, options=options)]) as pipeline:
            silent = zmq.Context.instance().socket(zmq.SUB)
            if {kind!r} == "pub":
                silent.rcvhwm = 8
                silent.subscribe(b"")
                silent.connect(pipeline.endpoints[0][0])
            one = partition(pipeline, "token")
            columns = [ID, Column("S", {{"code": "STRING"}})]
            text = '{{"S":"' + "x" * 250_000 + '"}}'
            for number in range(30):
                one.push(rows(number, columns, text))
            before = peak()
            for number in range(30, 330):
                one.push(rows(number, columns, text))
            print(peak() - before)
            silent.close(0)
        """
    )
    assert kib < 20_000


def test_schemas_without_end_do_not_pile_up() -> None:
    """With NEW_VALUES each set of written columns is a shape of its own: the oldest are forgotten."""
    kib = grown(
        """
        with Pipeline("d", "s", [Output("pub", ANY)], options={"tick_ms": 10}) as pipeline:
            one = partition(pipeline, "token")

            def shapes(first, many):
                for number in range(first, first + many):
                    columns = [ID, Column(f"column {number}", {"code": "STRING"})]
                    seconds = f"2026-11-23T{number // 3600:02d}:{number // 60 % 60:02d}:{number % 60:02d}Z"
                    one.push(rows(0, columns, at=seconds))

            shapes(0, 18_000)
            before = peak()
            shapes(18_000, 10_000)
            print(peak() - before)
        """
    )
    # A shape takes more than a KiB.
    assert kib < 6_000


def test_a_full_ring_goes_round_in_the_memory_it_has() -> None:
    """What comes in takes the buffers of what leaves, of whatever size: twelve rings' bytes through it."""
    kib = grown(
        """
        import random

        sizes = random.Random(7)
        columns = [ID, Column("S", {"code": "STRING"})]
        text = "x" * 100_000
        options = {"ring_bytes": 16 << 20, "queue_bytes": 1 << 20}
        with Pipeline("d", "s", [Output("ring", [], options=options)]) as pipeline:
            one = partition(pipeline, "token")

            def go_round(first, times):
                number, sent = first, 0
                while sent < times * (16 << 20):
                    size = 100_000 if number % 500 == 499 else sizes.randrange(4_000, 16_000)
                    at = f"2026-11-23T{number // 3600:02d}:{number // 60 % 60:02d}:{number % 60:02d}Z"
                    one.push(rows(number, columns, '{"S":"' + text[:size] + '"}', at))
                    number, sent = number + 1, sent + size
                assert pipeline.drain(60)
                return number

            number = go_round(0, 2)
            before = peak()
            go_round(number, 12)
            print(peak() - before)
        """
    )
    # One to three MiB. When each message had memory of its own, it was a ring and more.
    assert kib < 8_000


def test_a_re_read_that_nobody_takes_from_holds_few_mebibytes() -> None:
    """75 MB pushed into the pipeline of a replay, whose reader takes nothing: what it read waits, bounded."""
    kib = grown(
        """
        import threading
        from spanwire.config import Config
        from spanwire.relay.rereading import ring_pipeline

        config = Config.model_validate({
            "source": {"project": "p", "instance": "i", "database": "d", "stream": "s"},
            "output": [{"kind": "pub", "bind": ANY}],
        })
        columns = [ID, Column("S", {"code": "STRING"})]
        text = '{"S":"' + "x" * 50_000 + '"}'
        pushed = threading.Semaphore(0)
        with ring_pipeline(config, 0) as pipeline:
            one = partition(pipeline, "token")
            reader = pipeline.ring(0).reader()

            def push():
                for number in range(1_500):
                    one.push(rows(number, columns, text))
                    pushed.release()

            thread = threading.Thread(target=push)
            before = peak()
            thread.start()
            while pushed.acquire(timeout=1):
                pass
            print(peak() - before)
            while thread.is_alive():
                reader.read(0.01)
        """
    )
    # 8 MiB of messages, and those being made.
    assert kib < 16_000
