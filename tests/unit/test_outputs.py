"""A consumer of several outputs: what one of them sent or told says nothing of another."""

from __future__ import annotations

from dataclasses import dataclass

from spanwire._core import Timestamp
from spanwire.consumer.facts import Head, Tick, Told
from spanwire.consumer.outputs import Outputs

PARTITION = b"p" * 16


@dataclass(frozen=True)
class Sent:
    """One message of a flow that both outputs have."""

    sequence: int
    incarnation: int = 1
    topic: str = "db/s/t/"
    partition: bytes = PARTITION
    epoch: int = 7
    first: None = None
    last: None = None


def tick(sequence: int, position: int, since: int = 0, until: int = 0) -> Tick:
    """A tick of an output's only sender."""
    told = Told(PARTITION, 7, Timestamp(1), Timestamp(position))
    heads = (Head("db/s/t/", PARTITION, 7, since, until),) if until else ()
    return Tick(1, b"sender", sequence, 1, 1000, (told,), heads)


def test_the_same_numbers_through_two_outputs_are_two_messages() -> None:
    """Neither is a repetition, and neither fills the other's hole."""
    outputs = Outputs([""])
    for output in (0, 1):
        assert outputs.of(output).tick(tick(0, 1)) == []
    assert outputs.baselines == 2
    assert outputs.of(0).message(Sent(0)).new
    assert outputs.of(1).message(Sent(0)).new
    assert not outputs.of(1).message(Sent(0)).new
    assert outputs.of(0).message(Sent(1)).missing == []
    [hole] = outputs.of(1).message(Sent(2)).missing
    assert hole.sequences == (1, 1)
    assert hole.error(1).fields["output"] == 1


def test_the_watermark_is_that_of_the_output_furthest_behind_and_never_goes_back() -> None:
    """Also when an output joins that is behind."""
    outputs = Outputs([""])
    outputs.of(0).tick(tick(0, 5))
    assert outputs.watermark == Timestamp(5)
    outputs.of(1).tick(tick(0, 3))
    assert outputs.watermark == Timestamp(5)
    outputs.of(0).tick(tick(1, 9))
    assert outputs.watermark == Timestamp(5)
    outputs.of(1).tick(tick(1, 8))
    assert outputs.watermark == Timestamp(8)
