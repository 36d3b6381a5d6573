"""Consumers in other languages print, byte for byte, what `spanwire tail --canonical` prints.

Python alone by default; `make interop` builds the others and runs them too.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Sequence

import pytest
from interop import stream
from interop.consumers import COMMANDS, LANGUAGES, consumers

from spanwire._core import Output, Pipeline, Timestamp

SPANWIRE = (sys.executable, "-c", "from spanwire.cli import main; main()")
START = Timestamp.parse("2026-11-23T09:59:59Z")


@pytest.fixture
def pipeline() -> Iterator[Pipeline]:
    """Two outputs: typed values from one sender, JSON from two."""
    loopback = "tcp://127.0.0.1:*"
    outputs = [
        Output("pub", [loopback]),
        Output("pub", [loopback, loopback], values="json"),
    ]
    options = {"tick_ms": 20}
    with Pipeline("shop", "all", outputs, on_undecodable="dead-letter", options=options) as pipeline:
        yield pipeline


def push(pipeline: Pipeline, token: str = "token") -> int:
    """Send the whole stream; the number of changes in it."""
    partition = pipeline.partition(token, dialect="googlesql", epoch=1, start=START)
    count = sum(partition.push([row]).changes for row in stream.rows())
    assert pipeline.drain(30)
    return count


@pytest.fixture(scope="module")
def count() -> int:
    """How many changes the stream has."""
    with Pipeline(
        "shop", "all", [Output("pub", ["tcp://127.0.0.1:*"])], on_undecodable="dead-letter"
    ) as alone:
        return push(alone)


def tail(count: int, endpoints: Sequence[str]) -> tuple[str, ...]:
    """The command to compare with."""
    return (*SPANWIRE, "tail", *endpoints, "--canonical", "--topic", "shop/all/", "--count", str(count))


def run(pipeline: Pipeline, commands: Sequence[Sequence[str]]) -> list[list[bytes]]:
    """The lines that each prints of the stream, which is sent once all have joined."""
    with consumers(commands) as running:
        for one in running:
            one.wait_joined()
        push(pipeline)
        codes = [one.wait() for one in running]
        assert codes == [0] * len(running), b"\n".join(one.err for one in running).decode()
        return [one.out.splitlines(keepends=True) for one in running]


def differing(expected: Sequence[bytes], found: Sequence[bytes]) -> list[str]:
    """The first lines that differ, short: a whole line may have 10 MiB."""
    pairs = zip(expected, found, strict=False)
    lines = [
        f"line {number}: {_around(one, other)}" for number, (one, other) in enumerate(pairs) if one != other
    ]
    if len(expected) != len(found):
        lines.append(f"{len(found)} lines instead of {len(expected)}")
    return lines[:3]


def _around(one: bytes, other: bytes) -> str:
    shorter = min(len(one), len(other))
    at = next((place for place in range(shorter) if one[place] != other[place]), shorter)
    near = slice(max(at - 60, 0), at + 60)
    return f"{other[near]!r} instead of {one[near]!r}"


def test_all_print_what_tail_prints(pipeline: Pipeline, count: int) -> None:
    """Typed values and JSON text, from one endpoint and from two: the same lines everywhere."""
    [typed], json_values = pipeline.endpoints
    places = [[typed], json_values]
    commands = [tail(count, endpoints) for endpoints in places]
    commands += [
        (*COMMANDS[language], "shop/all/", str(count), *endpoints)
        for language in LANGUAGES
        for endpoints in places
    ]
    lines = run(pipeline, commands)
    assert len(lines[0]) == count
    # Two senders keep the order of a topic, and none between topics.
    expected = [lines[0], sorted(lines[0])]
    assert differing(expected[1], sorted(lines[1])) == [], "tail of json against tail of typed"
    for number, language in enumerate(LANGUAGES):
        by_type, by_text = lines[2 + 2 * number : 4 + 2 * number]
        assert differing(expected[0], by_type) == [], f"{language}, typed"
        assert differing(expected[1], sorted(by_text)) == [], f"{language}, json"


def test_the_stream_holds_every_type_and_edge(pipeline: Pipeline, count: int) -> None:
    """What the comparison is worth: every member of a value, and the strange ones, came by."""
    [[typed], _] = pipeline.endpoints
    [lines] = run(pipeline, [tail(count, [typed])])
    changes = [json.loads(line) for line in lines]
    values = [change["new"] for change in changes if change["table"] == "every"]
    for name in stream.TYPES:
        assert any(value.get(name) is not None for value in values), name
        assert any(value.get(name, "") is None for value in values), name
        assert any(name not in value for value in values), name
        assert any(None in (value.get(f"{name}s") or ()) for value in values), name
        assert [] in [value.get(f"{name}s") for value in values], name
    text = b"".join(line for line in lines if len(line) < 1 << 20)
    for found in (
        b"7ff8000000000000",
        b"8000000000000000",
        b"0001-01-01T00:00:00.000000001Z",
        rb'"\"\\ud83d\""',
    ):
        assert found in text, found
    assert max(map(len, lines)) > 10 << 20
    assert {change["mod_type"] for change in changes} == {"INSERT", "UPDATE", "DELETE"}
    assert pipeline.stats()["undecodable"] > 0
