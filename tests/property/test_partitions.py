"""The partition rules under every order of events that a random walk finds.

The walk plays Spanner (partitions split, merge, move), the store (rows, possibly a little old) and
the relay (reads, hands over, crashes at any moment). SPANWIRE_STEPS sets how many steps are walked;
500,000 by default, in about a quarter of a minute.
"""

# ruff: noqa: D102 - a step does what its name says
from __future__ import annotations

import os
import random
from collections import Counter
from dataclasses import dataclass, field, replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from spanwire._core import Timestamp
from spanwire.records import PartitionRecord, State
from spanwire.source.partitions import Ending, Endings, Lineage, Reading, newborn
from spanwire.timestamps import just_before

STEPS = int(os.environ.get("SPANWIRE_STEPS", "500000"))
WALK = 600


@dataclass
class Truth:
    """A partition as Spanner knows it."""

    start: int
    parents: tuple[str, ...]
    end: int | None = None
    children: tuple[str, ...] = ()


@dataclass
class World:
    """Spanner, store and relay; every `step_` method is one thing that may happen."""

    random: random.Random
    now: int = 10
    epoch: int = 0
    truth: dict[str, Truth] = field(default_factory=dict)
    stored: dict[str, PartitionRecord] = field(default_factory=dict)
    lineage: Lineage = field(default_factory=Lineage)
    reading: dict[str, Reading] = field(default_factory=dict)
    finished: set[str] = field(default_factory=set)
    owned: set[tuple[str, int]] = field(default_factory=set)
    least: Timestamp | None = None

    def begin(self) -> None:
        """The initial query: two roots, stored together."""
        for token in ("r0", "r1"):
            self.truth[token] = Truth(self.now, ())
        roots = newborn(Timestamp(self.now), [("r0", []), ("r1", []), ("r0", [])])
        assert len(roots) == 2
        self.stored = {one.token: one for one in roots}
        self.lineage = Lineage(roots)

    # ---- Spanner

    def alive(self) -> list[str]:
        """Partitions that have not ended."""
        return [token for token, one in self.truth.items() if one.end is None]

    def _end(self, parents: list[str], number: int) -> None:
        self.now += 1
        names = tuple(f"p{len(self.truth) + index}" for index in range(number))
        for name in names:
            self.truth[name] = Truth(self.now, tuple(parents))
        for parent in parents:
            self.truth[parent].end, self.truth[parent].children = self.now, names

    def step_time(self) -> None:
        self.now += self.random.randrange(1, 5)

    def step_split(self) -> None:
        if len(self.alive()) < 8:
            self._end([self.random.choice(self.alive())], 2)

    def step_move(self) -> None:
        self._end([self.random.choice(self.alive())], 1)

    def step_merge(self) -> None:
        if len(self.alive()) > 2:
            self._end(self.random.sample(self.alive(), self.random.choice((2, 2, 3))), 1)

    # ---- relay

    def running(self) -> list[str]:
        """Partitions that are being read."""
        return [token for token in self.reading if self.lineage[token].state is State.RUNNING]

    def step_schedule(self) -> None:
        for token in self.lineage.ready():
            self.lineage.schedule(token)
            self.stored[token] = self.lineage[token]

    def step_own(self) -> None:
        for token in self.lineage.scheduled():
            self._own(token)

    def _own(self, token: str) -> None:
        for parent in self.truth[token].parents:
            assert parent in self.finished, "a child ran before its parent had finished"
        assert token not in self.finished, "a finished partition ran again"
        self.epoch += 1
        self.stored[token] = replace(self.stored[token], state=State.RUNNING, epoch=self.epoch)
        self.lineage.own(self.stored[token])
        assert (token, self.epoch) not in self.owned
        self.owned.add((token, self.epoch))
        self.reading[token] = Reading(self.lineage[token].resume_at)

    def step_read(self) -> None:
        for token in self.running():
            end = self.truth[token].end
            limit = self.now if end is None else min(end, self.now)
            start = self.lineage[token].resume_at.seconds
            assert start <= limit, "reading on would be out of the partition's range"
            self.reading[token].saw(Timestamp(self.random.randint(start, limit)))

    def step_hand_over(self) -> None:
        for token in self.running():
            last = self.reading[token].last
            if last is not None:
                before = self.lineage[token].resume_at
                position = Timestamp(self.random.randint(max(0, before.seconds - 3), last.seconds))
                self.lineage.advance(token, position)
                assert self.lineage[token].resume_at >= before

    def step_store(self) -> None:
        for token in self.running():
            if self.random.random() < 0.7:
                self.stored[token] = self.lineage[token]

    def step_end_of_stream(self) -> None:
        if running := self.running():
            token = self.random.choice(running)
            one = self.truth[token]
            reading = self.reading[token]
            if one.end is None:
                assert Endings().ended(reading, Timestamp(self.now + 1000)) is Ending.AGAIN
                self.reading[token] = Reading(self.lineage[token].resume_at)
                return
            children = newborn(
                Timestamp(one.end), [(name, self.truth[name].parents) for name in one.children]
            )
            endings = Endings()
            reading.saw(Timestamp(one.end), one.children[:1])
            assert endings.ended(reading, Timestamp(0)) is Ending.AGAIN
            reading = Reading(Timestamp(one.end))
            reading.saw(Timestamp(one.end), one.children)
            more = endings.ended(reading, Timestamp(0))
            assert more is (Ending.CHILDREN if len(one.children) == 1 else Ending.AGAIN)
            assert endings.ended(reading, Timestamp(0)) is Ending.CHILDREN
            self.lineage.add(children)
            for child in children:
                self.stored.setdefault(child.token, child)
            if self.random.random() < 0.2:
                self.step_crash()  # children are stored, their parent is not finished
                return
            self.lineage.advance(token, Timestamp(one.end))
            assert token not in self.finished
            self.lineage.finish(token)
            self.stored[token] = self.lineage[token]
            self.finished.add(token)
            del self.reading[token]

    def step_announce_again(self) -> None:
        for token in self.finished:
            one = self.truth[token]
            if token in self.lineage and all(child in self.lineage for child in one.children):
                before = self.lineage.all()
                named = [(name, self.truth[name].parents) for name in one.children]
                self.lineage.add(newborn(Timestamp(self.now), named))
                assert self.lineage.all() == before, "a repeated child changed something"

    def step_early_finish(self) -> None:
        for token in self.running():
            if not any(token in one.parents for one in self.lineage.all()):
                with pytest.raises(ValueError, match="only in children"):
                    self.lineage.finish(token)

    def step_forget(self) -> None:
        tokens = self.lineage.forgettable()
        self.lineage.forget(tokens)
        for token in tokens:
            del self.stored[token]

    def step_crash(self) -> None:
        self.lineage = Lineage(self.stored.values())
        self.reading, self.least = {}, None
        for token, one in self.stored.items():
            if one.state is State.RUNNING:
                self._own(token)

    # ---- what must hold

    def check(self) -> None:
        """After every step."""
        watermark = self.lineage.watermark()
        assert watermark is not None
        assert self.least is None or watermark >= self.least, "the watermark went back"
        self.least = watermark
        for one in self.lineage.all():
            if one.state is not State.FINISHED:
                assert one.resume_at >= watermark, "a partition is behind the watermark"
            assert (one.state is State.FINISHED) == (one.token in self.finished)

    def run_out(self) -> None:
        """Nothing more happens in Spanner: everything is read to its end, and nothing is missing."""
        for _ in range(4 * len(self.truth) + 4):
            self.step_schedule()
            self.step_own()
            for token in self.running():
                if self.truth[token].end is not None:
                    self.step_end_of_stream()
                    self.check()
        for _ in range(50 * len(self.truth)):
            if all(one.end is None or token in self.finished for token, one in self.truth.items()):
                break
            self.step_schedule()
            self.step_own()
            self.step_end_of_stream()
        ended = {token for token, one in self.truth.items() if one.end is not None}
        assert self.finished == ended
        self.step_schedule()
        self.step_own()
        assert set(self.running()) == set(self.alive()), "a partition was lost"
        self.step_forget()
        assert len(self.lineage) == len(self.alive()), "finished partitions pile up"


STEP_NAMES = [name for name in vars(World) if name.startswith("step_")]
WEIGHTS = [
    {"step_crash": 1, "step_merge": 2, "step_split": 2, "step_move": 2}.get(name, 8) for name in STEP_NAMES
]
TAKEN: Counter[str] = Counter()


@settings(max_examples=max(1, STEPS // WALK), deadline=None)
@given(seed=st.integers(0, 2**64 - 1))
def test_no_order_of_events_breaks_the_rules(seed: int) -> None:
    """No child before its parents, none lost, none twice in an epoch, the watermark never back."""
    world = World(random.Random(seed))
    world.begin()
    for name in world.random.choices(STEP_NAMES, WEIGHTS, k=WALK):
        getattr(world, name)()
        TAKEN[name] += 1
        world.check()
    world.run_out()


def test_the_walk_took_every_kind_of_step(record_property: pytest.RecordProperty) -> None:
    """A walk that never merges or never crashes would show nothing."""
    if not TAKEN:
        pytest.skip("the walk ran in another process")
    assert set(TAKEN) == set(STEP_NAMES)
    record_property("steps", sum(TAKEN.values()))
    print(f"{sum(TAKEN.values())} steps")


@given(
    start=st.integers(0, 50),
    end=st.none() | st.integers(0, 50),
    records=st.lists(st.integers(0, 60), max_size=6),
    now=st.integers(0, 100),
)
def test_an_end_of_stream_ends_a_partition_only_for_a_reason(
    start: int, end: int | None, records: list[int], now: int
) -> None:
    """Without children: only at the requested end, seen or past with nothing new; and then always.

    Nothing new has to be said several times: one stream that ends may be a server that goes away.
    """
    reading = Reading(Timestamp(start), None if end is None else Timestamp(end))
    for record in records:
        reading.saw(Timestamp(record))
    endings = Endings()
    said = [endings.ended(reading, Timestamp(now)) for _ in range(Endings.QUIET)]
    newer = [record for record in records if record > start]
    if end is not None and any(record >= end for record in records):
        assert said[0] is Ending.END
    elif end is not None and now >= end and not newer:
        assert said == [Ending.AGAIN] * (Endings.QUIET - 1) + [Ending.END]
    else:
        assert set(said) == {Ending.AGAIN}


def test_a_bounded_read_without_a_record_at_its_end_comes_to_an_end() -> None:
    """Reading again from the last timestamp brings nothing new, which settles it."""
    position, queries, endings = Timestamp(5), 0, Endings()
    while True:
        queries += 1
        reading = Reading(position, Timestamp(100))
        reading.saw(Timestamp(70))  # the last record there is
        if endings.ended(reading, now=Timestamp(200)) is Ending.END:
            break
        assert reading.last is not None
        position = reading.last
    assert queries == 1 + Endings.QUIET


def test_children_are_complete_once_a_fresh_query_names_no_more() -> None:
    """An empty stream in between, or one that names only some, settles nothing by itself."""
    endings, now = Endings(), Timestamp(0)

    def end(*children: str) -> Ending:
        reading = Reading(Timestamp(5))
        reading.saw(Timestamp(5), children)
        return endings.ended(reading, now)

    assert [end("a"), end(), end("a", "b"), end("a")] == [Ending.AGAIN] * 4
    assert end("a", "b") is Ending.CHILDREN


def test_a_fresh_query_that_stays_silent_ends_a_partition_too() -> None:
    """Spanner has no more to say of it."""
    endings, reading = Endings(), Reading(Timestamp(5))
    reading.saw(Timestamp(5), ["a"])
    assert endings.ended(reading, Timestamp(0)) is Ending.AGAIN
    said = [endings.ended(Reading(Timestamp(5)), Timestamp(0)) for _ in range(Endings.QUIET)]
    assert said == [Ending.AGAIN] * (Endings.QUIET - 1) + [Ending.CHILDREN]


def test_an_end_record_ends_a_partition_at_once() -> None:
    """Whatever came before it, and whether its stream names any children."""
    reading = Reading(Timestamp(5), Timestamp(100))
    reading.saw(Timestamp(7))
    reading.over = True
    assert Endings().ended(reading, Timestamp(0)) is Ending.OVER


def test_just_before_crosses_seconds() -> None:
    """A nanosecond is a nanosecond."""
    assert just_before(Timestamp(5, 1)) == Timestamp(5)
    assert just_before(Timestamp(5)) == Timestamp(4, 999_999_999)


def test_a_query_cut_short_before_its_end_is_not_complete() -> None:
    """The end lies ahead: a clean end of stream says nothing about it."""
    reading = Reading(Timestamp(5), Timestamp(100))
    endings = Endings()
    assert [endings.ended(reading, now=Timestamp(60)) for _ in range(9)] == [Ending.AGAIN] * 9


def lineage(*partitions: PartitionRecord, end: int | None = None) -> Lineage:
    """Partitions under these rules, all running."""
    made = Lineage(partitions, None if end is None else Timestamp(end))
    for epoch, token in enumerate(made.ready(), 1):
        made.schedule(token)
        made.own(replace(made[token], state=State.RUNNING, epoch=epoch))
    return made


def test_a_merged_child_waits_for_a_parent_that_is_not_known_yet() -> None:
    """One parent names the child before the other parent has been named itself."""
    made = lineage(PartitionRecord("a", Timestamp(1)), PartitionRecord("late", Timestamp(1)))
    made.add([PartitionRecord("merged", Timestamp(9), ("a", "b"))])
    made.finish("a")
    assert made.ready() == []
    made.add([PartitionRecord("b", Timestamp(5), ("late",))])
    made.finish("late")
    made.schedule("b")
    made.own(replace(made["b"], state=State.RUNNING, epoch=9))
    made.add([PartitionRecord("merged", Timestamp(9), ("a", "b"))])
    assert made.ready() == []
    made.finish("b")
    assert made.ready() == ["merged"]


def test_a_waiting_child_holds_the_watermark() -> None:
    """It counts with its start although nobody reads it."""
    made = lineage(PartitionRecord("a", Timestamp(1)), PartitionRecord("b", Timestamp(1)))
    made.advance("a", Timestamp(10))
    made.add([PartitionRecord("merged", Timestamp(10), ("a", "b"))])
    made.finish("a")
    made.advance("b", Timestamp(8))
    assert made.watermark() == Timestamp(8)
    made.advance("b", Timestamp(11))
    assert made.watermark() == Timestamp(10)


def test_the_newest_takes_in_those_that_are_over() -> None:
    """No other position has what they sent; where their child begins, nothing was sent yet."""
    ended = PartitionRecord("a", Timestamp(0), position=Timestamp(9), state=State.FINISHED)
    running = PartitionRecord("b", Timestamp(0), position=Timestamp(5), state=State.RUNNING)
    child = PartitionRecord("c", Timestamp(9), ("a", "b"))
    assert Lineage([ended, running, child]).newest() == Timestamp(9)
    assert Lineage([running, child]).newest() == just_before(Timestamp(9))
    assert Lineage().newest() is None


def test_the_watermark_holds_against_a_child_that_starts_before_it() -> None:
    """Whatever a child partitions record says, what was called complete stays so."""
    made = lineage(PartitionRecord("a", Timestamp(1)))
    made.advance("a", Timestamp(10))
    assert made.watermark() == Timestamp(10)
    made.add([PartitionRecord("b", Timestamp(9), ("a",))])
    assert made.watermark() == Timestamp(10)


def test_an_older_epoch_never_owns() -> None:
    """A late answer from the store does not take a partition back."""
    made = lineage(PartitionRecord("a", Timestamp(1)))
    with pytest.raises(ValueError, match="epoch 1 is not after 1"):
        made.own(replace(made["a"], epoch=1))


def test_a_run_to_an_end_leaves_partitions_unfinished() -> None:
    """They are complete for this run, and a later run finds them where they stopped."""
    made = lineage(PartitionRecord("a", Timestamp(1)), PartitionRecord("b", Timestamp(1)), end=20)
    made.add([PartitionRecord("after", Timestamp(21), ("a",))])
    made.finish("a")
    assert not made.done()
    made.advance("b", Timestamp(15))
    made.complete("b")
    assert made.done()
    assert made["b"].state is State.RUNNING
    later = Lineage(made.all(), Timestamp(30))
    assert not later.done()
    assert later["b"].resume_at == Timestamp(15)
    assert later.ready() == ["after"]


def test_without_an_end_a_relay_is_never_done() -> None:
    """Not even before the first partition is known."""
    assert not Lineage().done()
    with pytest.raises(ValueError, match="no end"):
        lineage(PartitionRecord("a", Timestamp(1))).complete("a")
