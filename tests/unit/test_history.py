"""The comparison of histories: every planted fault makes it fail, and nothing else does."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from spanwire._core import Timestamp
from spanwire.errors import Gap, SpanwireError
from spanwire.history import FAULTS, Comparison, compare, compare_sent
from spanwire.history.lines import Announced, Consumer, Flow, Positions, Watermark
from spanwire.history.sent import SENT_FAULTS

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


# -------------------------------------------------------------- what else a consumer writes down

ALL_FAULTS = (*FAULTS, "announced_gaps")


def at(second: int) -> str:
    """A timestamp."""
    return f"2026-11-23T10:00:{second:02d}.000000000Z"


def version(second: int) -> str:
    """Of the change committed then."""
    return str(json.loads(change(second, 0))["version"])


def counted(found: Comparison) -> dict[str, int]:
    """What is not zero."""
    return {name: getattr(found, name) for name in ALL_FAULTS if getattr(found, name)}


def transaction(second: int, *keys: int, name: str = "") -> Lines:
    """The changes of one transaction, of several rows."""
    lines = [change(second, key, number=number) for number, key in enumerate(keys)]
    return [line.replace(f"/tx{second}/", f"/tx{second}{name}/") for line in lines]


TRANSACTIONS = [*transaction(1, 1, 2, 3), *transaction(2, 1, 4), *transaction(2, 5, 6, name="b")]
WHOLE = Consumer(order="transaction").line()


@pytest.mark.parametrize(
    ("delivered", "faults"),
    [
        (TRANSACTIONS, {}),
        ([*TRANSACTIONS[:3], *TRANSACTIONS[5:], *TRANSACTIONS[3:5]], {}),
        ([*TRANSACTIONS[:3], *TRANSACTIONS[3:5][::-1], *TRANSACTIONS[5:]], {}),
        # The first is cut in two, by one that comes whole.
        (
            [*TRANSACTIONS[:2], *TRANSACTIONS[5:], TRANSACTIONS[2], *TRANSACTIONS[3:5]],
            {"torn_transactions": 1},
        ),
        # Two of one timestamp, mixed.
        ([*TRANSACTIONS[:4], TRANSACTIONS[5], TRANSACTIONS[4], TRANSACTIONS[6]], {"torn_transactions": 2}),
        ([*TRANSACTIONS[3:], *TRANSACTIONS[:3]], {"torn_transactions": 1, "out_of_order": 1}),
        (TRANSACTIONS[:-1], {"torn_transactions": 1, "missing": 1}),
        (TRANSACTIONS[:5], {"missing": 2}),
    ],
)
def test_transactions_come_whole_and_in_commit_order(
    tmp_path: Path, delivered: Lines, faults: dict[str, int]
) -> None:
    """Of one timestamp in any order, one after the other; all of one that is missing is not torn."""
    assert counted(judge(tmp_path, [WHOLE, *delivered], TRANSACTIONS)) == faults


def test_whole_transactions_are_not_for_who_asked_for_the_order_of_keys(tmp_path: Path) -> None:
    """Other rows may overtake."""
    delivered = [*TRANSACTIONS[3:5], *TRANSACTIONS[1:3], *TRANSACTIONS[5:]]
    assert not counted(judge(tmp_path, delivered, TRANSACTIONS[1:]))


@pytest.mark.parametrize(
    ("lines", "faults"),
    [
        ([*COMMITTED[:5], Watermark(at(4)).line(), *COMMITTED[5:], Watermark(at(30)).line()], {}),
        # Nothing is said before a change is there, and nothing new comes behind.
        ([*COMMITTED[:5], Watermark(at(5)).line(), *COMMITTED[5:]], {"watermark_regressions": 1}),
        (
            [*COMMITTED, Watermark(at(30)).line(), Watermark(at(29)).line(), Watermark(at(30)).line()],
            {"watermark_regressions": 1},
        ),
        # It is behind what was announced as lost, which may come after all.
        (
            [
                *COMMITTED[:5],
                Announced(version(4), at(5)).line(),
                Watermark(at(5)).line(),
                *COMMITTED[5:],
            ],
            {"announced_gaps": 1},
        ),
    ],
)
def test_a_watermark_is_true_and_never_goes_back(
    tmp_path: Path, lines: Lines, faults: dict[str, int]
) -> None:
    """All up to it has been handed over or announced."""
    assert counted(judge(tmp_path, lines)) == faults


@pytest.mark.parametrize(
    ("gap", "missing"),
    [
        (Announced(None, None), 0),
        (Announced(version(4), version(8)), 0),
        (Announced(at(4), at(7)), 0),
        (Announced(None, version(7)), 0),
        (Announced(version(4), None), 0),
        (Announced(at(5), at(7)), 1),
        (Announced(version(4), at(6)), 1),
        (Announced(None, None, "shop/all/t/"), 0),
        (Announced(None, None, "shop/all/t/07/"), 0),
        (Announced(None, None, "shop/all/tt/"), 3),
    ],
)
def test_what_is_missing_lies_in_a_gap_that_was_announced(
    tmp_path: Path, gap: Announced, missing: int
) -> None:
    """Within its bounds and of its topic; a change outside of them is missing all the same."""
    found = judge(tmp_path, [*COMMITTED[:5], gap.line(), *COMMITTED[8:]])
    assert (found.missing, found.announced_gaps) == (missing, 1)


def test_a_gap_is_written_as_the_error_tells_it() -> None:
    """Bounds as text; where nothing came behind it, the last that is known to be lost."""
    first, last = Timestamp.parse(at(1)), Timestamp.parse(at(2))
    assert Announced.of(Gap("x", after=None, before=first)) == Announced(None, at(1))
    assert Announced.of(Gap("x", after=first, before=None, last=last, topic="d/s/t/")) == Announced(
        at(1), at(2), "d/s/t/"
    )


def test_a_consumer_is_owed_what_it_asked_for(tmp_path: Path) -> None:
    """From its start on, of its tables; anything else is a fault of its own."""
    late = Consumer(after=at(9)).line()
    found = judge(tmp_path, [late, *COMMITTED[10:]])
    assert (counted(found), found.committed) == ({}, 12)
    assert counted(judge(tmp_path, [late, *COMMITTED[11:]])) == {"missing": 1}
    assert counted(judge(tmp_path, [late, *COMMITTED[9:]])) == {"watermark_regressions": 1}
    other = change(50, 1).replace('"table": "t"', '"table": "u"')
    one_table = Consumer(tables=("t",)).line()
    assert not counted(judge(tmp_path, [one_table, *COMMITTED], [*COMMITTED, other]))
    assert counted(judge(tmp_path, [one_table, *COMMITTED, other], [*COMMITTED, other])) == {"phantom": 1}


# -------------------------------------------------------------- what a relay sent


def flow(incarnation: int = 1, epoch: int = 1, partition: str = "aa", sequence: int = 0) -> str:
    """The message that what follows is in."""
    return Flow(incarnation, 0, partition, epoch, "d/s/t/", sequence).line()


def tick(second: int, incarnation: int = 1, epoch: int = 1, partition: str = "aa") -> str:
    """A partition's position."""
    return Positions(incarnation, ((partition, epoch, at(second)),)).line()


@pytest.mark.parametrize(
    ("sent", "faults"),
    [
        ([flow(), *COMMITTED[:5], tick(4), flow(sequence=1), *COMMITTED[5:], tick(30)], {}),
        # After a restart some of it is sent again, under another epoch.
        ([flow(), *COMMITTED[:5], tick(4), flow(2, 2), *COMMITTED[2:], tick(1, 2, 2), tick(30, 2, 2)], {}),
        ([flow(), *COMMITTED[:5], flow(), COMMITTED[4]], {"duplicated": 1}),
        ([flow(), COMMITTED[3], COMMITTED[0]], {"out_of_order": 1}),
        ([flow(), change(1, 1, new="y")], {"phantom": 1}),
        ([flow(), change(50, 1)], {"phantom": 1}),
        ([tick(5), tick(4)], {"position_regressions": 1}),
        ([tick(5), flow(), COMMITTED[5]], {"position_regressions": 1}),
        ([tick(5), flow(partition="bb"), COMMITTED[5]], {}),
        ([tick(5), tick(5, incarnation=2)], {"clashes": 1}),
        ([tick(5), tick(5, incarnation=2, epoch=2)], {}),
    ],
)
def test_a_relay_sends_what_was_committed(tmp_path: Path, sent: Lines, faults: dict[str, int]) -> None:
    """Each process once, in order, and behind no position that it told."""
    for name, lines in (("committed", COMMITTED), ("sent", sent)):
        (tmp_path / name).write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
    found = compare_sent(tmp_path / "committed", tmp_path / "sent")
    assert {name: getattr(found, name) for name in SENT_FAULTS if getattr(found, name)} == faults
    assert found.clean == (not faults)
