"""The evolution rule: the schema only grows, and readers of every generation read what is sent now."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
from support.schemas import GENERATIONS, TODAY, golden, grown, load, shape

NAMES = sorted(folder.name for folder in GENERATIONS[-1].iterdir() if folder.is_dir())
generations = pytest.mark.parametrize("generation", GENERATIONS, ids=lambda folder: folder.name)


def test_there_are_generations_with_messages() -> None:
    """The tests below have something to look at."""
    assert GENERATIONS
    assert len(NAMES) >= 4


@generations
def test_nothing_was_renamed_renumbered_retyped_or_removed(generation: Path) -> None:
    """All that a generation declared is in today's schema, where it was and as it was."""
    then, now = shape(load(generation / TODAY.name)), shape(load(TODAY))
    assert len(then) > 100
    assert {name: now.get(name) for name in then} == then


@pytest.mark.parametrize(
    ("pattern", "replacement"),
    [
        (r"  epoch @6 :UInt64;", "  era @6 :UInt64;"),  # renamed
        (r"  epoch @6 :UInt64;", "  epoch @6 :Int64;"),  # retyped
        (r"epoch @6 (.*)\n(.*)sequence @7", r"epoch @7 \1\n\2sequence @6"),  # renumbered
        (r"  traceparent @16 :Text;", ""),  # removed: what follows takes its number, or nothing does
        (r"    int64 @3 :Int64;", "    int64 @3 :Text;"),  # a union's member retyped
        (r"insert @1; update @2;", "update @1; insert @2;"),  # an enum's names changed places
        (r"partitions @4 :List\(Partition\)", "partitions @4 :List(Relay)"),  # a list of something else
    ],
)
def test_what_breaks_the_rule_is_noticed(tmp_path: Path, pattern: str, replacement: str) -> None:
    """The comparison above tells each way in which a schema does more than grow."""
    text, count = re.subn(pattern, replacement, (GENERATIONS[0] / TODAY.name).read_text(encoding="utf-8"))
    assert count
    broken = tmp_path / TODAY.name
    broken.write_text(text, encoding="utf-8")
    then, now = shape(load(GENERATIONS[0] / TODAY.name)), shape(load(broken))
    assert {name: now.get(name) for name in then} != then


def test_growing_does_not_break_the_rule(tmp_path: Path) -> None:
    """A field added to every struct, a member to every union, a name to every enum: all else stays."""
    later = tmp_path / TODAY.name
    later.write_text(grown(TODAY.read_text(encoding="utf-8")), encoding="utf-8")
    now, then = shape(load(later)), shape(load(TODAY))
    assert {name: now.get(name) for name in then} == then
    assert {"Header.laterNumber", "Value.laterMember", "Tick.Partition.State.laterName"} <= now.keys()


def _known(schema: Any, frames: list[bytes]) -> dict[str, Any]:
    """All that a reader with this schema reads of a message."""
    _, header, columns, body = frames
    with schema.Header.from_bytes(header) as read:
        kind, known = str(read.kind), {"header": read.to_dict()}
    if columns:
        with schema.Columns.from_bytes(columns) as read:
            known["columns"] = read.to_dict()
    root = {"tick": schema.Tick, "deadLetter": schema.DeadLetter}.get(kind, schema.DataChangeRecord)
    known["body"] = [record.to_dict() for record in root.read_multiple_bytes(body)]
    assert known["body"]
    return known


def _only(now: Any, then: Any) -> Any:
    """What is read now, without what was not known then."""
    if isinstance(then, dict):
        return {name: _only(now[name], value) for name, value in then.items()}
    if isinstance(then, list):
        assert len(now) == len(then)
        return [_only(one, other) for one, other in zip(now, then, strict=True)]
    return now


@generations
@pytest.mark.parametrize("name", NAMES)
def test_readers_of_every_generation_read_what_is_written_now(generation: Path, name: str) -> None:
    """A reader with a generation's own schema reads each field it knows as one of today does.

    The newest golden messages are what is written now: `golden.rs` holds that.
    """
    frames = golden(name)
    then, now = _known(load(generation / TODAY.name), frames), _known(load(TODAY), frames)
    assert repr(_only(now, then)) == repr(then)  # as text: NaN is what it was
