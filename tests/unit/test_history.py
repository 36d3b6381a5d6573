"""The comparison of histories: every planted fault makes it fail, and nothing else does."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from spanwire.errors import SpanwireError
from spanwire.history import Comparison, compare

Lines = list[str]


def change(second: int, key: int, sequence: int = 0, number: int = 0, new: str = "x") -> str:
    """A canonical line."""
    version = f"2026-11-23T10:00:{second:02d}.000000000Z/tx{second}/{sequence:08d}/{number}"
    fields = {"version": version, "table": "t", "mod_type": "UPDATE", "keys": {"Id": str(key)}}
    return json.dumps(fields | {"new": {"Name": new}, "old": {}}, sort_keys=True)


COMMITTED = [change(s, s % 3) for s in range(20)] + [change(30, 1, number=9), change(30, 1, number=10)]


def judge(tmp_path: Path, delivered: Lines, committed: Lines = COMMITTED) -> Comparison:
    """Compare two histories."""
    for name, lines in (("committed", committed), ("delivered", delivered)):
        (tmp_path / name).write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
    return compare(tmp_path / "committed", tmp_path / "delivered")


def test_the_same_changes_are_clean(tmp_path: Path) -> None:
    """Other rows may overtake: order is promised per row."""
    found = judge(tmp_path, sorted(COMMITTED, key=lambda line: json.loads(line)["keys"]["Id"]))
    assert found.clean
    assert found.committed == found.delivered == 22


def _without(place: int) -> Callable[[Lines], Lines]:
    return lambda lines: lines[:place] + lines[place + 1 :]


def _swapped(a: int, b: int) -> Callable[[Lines], Lines]:
    def swap(lines: Lines) -> Lines:
        lines[a], lines[b] = lines[b], lines[a]
        return lines

    return swap


@pytest.mark.parametrize(
    ("plant", "fault"),
    [
        (_without(0), "missing"),
        (_without(7), "missing"),
        (_without(21), "missing"),
        (lambda lines: [*lines, lines[4]], "duplicated"),
        (lambda lines: [*lines[:5], lines[4], *lines[5:]], "duplicated"),
        (_swapped(4, 7), "out_of_order"),
        (_swapped(20, 21), "out_of_order"),
        (lambda lines: [*lines[:5], change(5, 2, new="y"), *lines[6:]], "phantom"),
        (lambda lines: [*lines, change(40, 1)], "phantom"),
    ],
)
def test_a_planted_fault_is_counted_once(tmp_path: Path, plant: Callable[[Lines], Lines], fault: str) -> None:
    """A dropped, doubled, swapped, altered or invented line is found, and found to be that."""
    found = judge(tmp_path, plant(list(COMMITTED)))
    assert not found.clean
    faults = {name: getattr(found, name) for name in ("missing", "phantom", "duplicated", "out_of_order")}
    assert faults == dict.fromkeys(faults, 0) | {fault: 1}
    assert len(found.examples[fault]) == 1


def test_what_is_no_history_is_refused(tmp_path: Path) -> None:
    """One line that says where."""
    with pytest.raises(SpanwireError, match="committed:1: is not a line of a history"):
        judge(tmp_path, [], ["{}"])
    with pytest.raises(SpanwireError, match="cannot be read"):
        compare(tmp_path / "nowhere", tmp_path / "nowhere")
