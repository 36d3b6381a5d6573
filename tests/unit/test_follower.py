"""What the follower concludes in cases that the simulation found: one test each, by hand."""

from __future__ import annotations

from simulation.changes import TOPICS, Change, Message, Version, stamp
from simulation.window import Window

from spanwire.consumer.asks import AskReplay
from spanwire.consumer.facts import Head, Move, Tick, Told
from spanwire.consumer.follower import Follower
from spanwire.errors import Gap

TOPIC = TOPICS[0]


def follower() -> Follower:
    """One that starts from now."""
    return Follower(("",), window=Window, restore=Window.restore)


def message(partition: bytes, epoch: int, sequence: int, at: int, stage: int = 0) -> Message:
    """A message of relay 1 with one change."""
    change = Change(at, Version(stamp(at), f"t{at}", "0", 0), TOPIC, 0)
    return Message((1, TOPIC, partition, epoch), sequence, stage, [change], 0)


def told(
    id: bytes, epoch: int, at: int, position: int | None, parents: tuple[bytes, ...] = (), **more: object
) -> Told:
    """What a tick says of a partition."""
    return Told(id, epoch, stamp(at), None if position is None else stamp(position), parents=parents, **more)  # type: ignore[arg-type]


def tick(sequence: int, *partitions: Told, heads: tuple[Head, ...] = (), newest: int = 0) -> Tick:
    """A complete tick of relay 1, which has one sender."""
    return Tick(1, b"s", sequence, 1, 100, partitions, heads, complete=True, newest=stamp(newest))


def given(one: Follower) -> list[int]:
    """The changes that it hands over now."""
    found = []
    while (item := one.next()) is not None:
        found += [change.at for change in one.fresh(item)]
    one.settle()
    return found


def test_a_partition_that_named_another_still_waits_for_its_own_moves() -> None:
    """It lives on: what it sends behind a move waits until ticks have told that, and what was lost before."""
    one = follower()
    one.tick(tick(0, told(b"p", 1, 10, None)), 0.0)
    one.tick(tick(1, told(b"p", 1, 10, 19), told(b"q", 2, 20, None, (b"p",))), 0.1)
    one.message(message(b"p", 1, 0, at=40, stage=1), 0.2)
    assert given(one) == []
    moved = told(b"p", 1, 10, 30, stage=1, moves=(Move(stamp(30), b"q"),))
    lost = Head(TOPIC, b"q", 2, 0, 1, Version(stamp(25), "t25", "0", 0))  # type: ignore[arg-type]
    one.tick(tick(3, moved, told(b"q", 2, 20, 30, (b"p",)), heads=(lost,), newest=30), 0.3)
    [ask] = one.requests(0.3)
    one.repaired(ask.id, message(b"q", 2, 0, at=25))
    one.done(ask.id, 0.4)
    assert given(one) == [25, 40]


def test_a_partition_whose_end_was_told_in_lost_ticks_does_not_hold_the_watermark_for_ever() -> None:
    """An end is told for a while only. Who was cut off for longer has everything read again."""
    one = follower()
    one.tick(tick(0, told(b"p", 1, 10, None), told(b"q", 2, 10, None)), 0.0)
    one.tick(tick(1, told(b"p", 1, 10, 20), told(b"q", 2, 10, 20), newest=20), 0.1)
    assert given(one) == []
    assert one.watermark == stamp(20)
    one.tick(tick(90, told(b"q", 2, 10, 100), told(b"r", 3, 50, 100, (b"p",)), newest=100), 9.0)
    [ask] = one.requests(9.0)
    assert isinstance(ask, AskReplay)
    assert (ask.after, ask.until) == (stamp(20), stamp(100))
    one.repaired(ask.id, message(b"p", 1, 0, at=30))
    one.done(ask.id, 9.1)
    assert given(one) == [30]
    one.tick(tick(91, told(b"q", 2, 10, 120), told(b"r", 3, 50, 110, (b"p",)), newest=120), 9.2)
    assert given(one) == []
    assert one.watermark == stamp(110)


def test_partitions_that_open_at_one_tick_after_lost_ones_go_on_in_the_order_they_were_sent() -> None:
    """A key may have moved there and back meanwhile: neither goes on as a whole before the other."""
    one = follower()
    first = (told(b"p", 1, 10, None), told(b"q", 2, 10, None))
    one.tick(tick(0, *first), 0.0)
    one.message(message(b"q", 2, 0, at=30, stage=1), 0.1)
    one.message(message(b"p", 1, 0, at=40, stage=1), 0.2)
    one.message(message(b"q", 2, 1, at=50, stage=2), 0.3)
    assert given(one) == []
    one.tick(tick(5, told(b"p", 1, 10, 40, stage=1), told(b"q", 2, 10, 50, stage=2), newest=50), 0.4)
    assert given(one) == [30, 40, 50]


def test_where_a_message_is_missing_among_several_that_open_all_is_read_again() -> None:
    """Whether it came before or behind the others cannot be told."""
    one = follower()
    first = (told(b"p", 1, 10, 15), told(b"q", 2, 10, 15))
    one.tick(tick(0, *first, newest=15), 0.0)
    one.message(message(b"q", 2, 0, at=30, stage=1), 0.1)
    lost = Head(TOPIC, b"p", 1, 0, 1, Version(stamp(40), "t40", "0", 0))  # type: ignore[arg-type]
    later = (told(b"p", 1, 10, 40, stage=1), told(b"q", 2, 10, 40, stage=1))
    one.tick(tick(5, *later, heads=(lost,), newest=40), 0.4)
    assert given(one) == []
    asks = one.requests(0.4)
    assert [(ask.after, ask.until) for ask in asks if isinstance(ask, AskReplay)] == [(stamp(15), stamp(40))]


def test_children_that_came_and_ended_unheard_are_not_waited_for() -> None:
    """Their parent's end was heard, theirs was told in ticks that were lost: all is read again."""
    one = follower()
    one.tick(tick(0, told(b"p", 1, 10, None), told(b"q", 2, 10, None)), 0.0)
    ended = told(b"p", 1, 10, 20, state="ended", children=(b"c",))
    one.tick(tick(1, ended, told(b"q", 2, 10, 30), newest=30), 0.1)
    assert given(one) == []
    one.tick(tick(90, told(b"q", 2, 10, 100), told(b"d", 4, 50, 100, (b"c",)), newest=100), 9.0)
    [ask] = one.requests(9.0)
    assert isinstance(ask, AskReplay)
    one.done(ask.id, 9.1)
    assert given(one) == []
    one.tick(tick(91, told(b"q", 2, 10, 120), told(b"d", 4, 50, 110, (b"c",)), newest=120), 9.2)
    assert given(one) == []
    assert one.watermark == stamp(110)


def test_who_starts_now_begins_at_the_newest_that_was_sent() -> None:
    """What another partition is late with was committed before; a cursor can be had at once."""
    one = follower()
    one.tick(tick(0, told(b"p", 1, 10, 30), told(b"q", 2, 10, 15), newest=30), 0.0)
    assert given(one) == []
    assert one.watermark == stamp(30)
    assert one.reached().watermark == stamp(30)
    one.message(message(b"q", 2, 0, at=20), 0.1)
    one.message(message(b"q", 2, 1, at=40), 0.1)
    assert given(one) == [40]


def test_what_is_missing_at_a_partitions_very_start_is_in_the_gap() -> None:
    """A child's first change may be of the very instant at which it begins."""
    one = Follower(("",), window=Window, restore=Window.restore, can_ask=False)
    one.tick(tick(0, told(b"p", 1, 10, 15), newest=15), 0.0)
    ended = told(b"p", 1, 10, 20, state="ended", children=(b"c",))
    one.tick(tick(1, ended, newest=20), 0.1)
    one.tick(tick(2, ended, told(b"c", 2, 20, None, (b"p",)), newest=20), 0.2)
    one.message(message(b"c", 2, 1, at=30), 0.3)
    gap = one.next()
    assert isinstance(gap, Gap)
    assert gap.fields["after"] < stamp(20) < gap.fields["before"].commit_timestamp


def test_what_waits_holds_up_its_children() -> None:
    """A partition that waits for keys of another relay's is not overtaken by the one that it named."""
    one = Follower(("",), window=Window, restore=Window.restore, patience_s=60)
    one.tick(tick(0, told(b"p", 1, 10, 15), told(b"x", 2, 10, 15), newest=15), 0.0)
    one._owners.generation, one._owners.members = 1, frozenset({1})  # one of several that may come
    far = Move(stamp(20), b"unheard")
    one.tick(tick(1, told(b"p", 1, 10, 20, stage=1, moves=(far,)), told(b"x", 2, 10, 20), newest=20), 0.1)
    one.message(message(b"p", 1, 0, at=25, stage=1), 0.2)
    named = told(b"c", 3, 30, None, (b"p",))
    there = told(b"x", 2, 10, 30)
    one.tick(tick(2, told(b"p", 1, 10, 30, stage=1, moves=(far,)), there, named, newest=30), 0.3)
    one.message(message(b"c", 3, 0, at=40), 0.4)
    assert given(one) == []


def test_what_was_told_as_lost_does_not_come_behind_what_is_newer() -> None:
    """Relays that no more have the messages: what they bring of that range after all is dropped."""
    one = follower()
    one.tick(tick(0, told(b"p", 1, 10, 15), told(b"q", 2, 10, 15), newest=15), 0.0)
    one.message(message(b"p", 1, 1, at=50), 0.1)
    [repair] = one.requests(0.1)
    one.refused(repair.id, "gone", now=0.2)
    [replay] = one.requests(0.2)
    assert isinstance(replay, AskReplay)
    one.refused(replay.id, "gone", stamp(60), now=0.3)
    gap = one.next()
    assert isinstance(gap, Gap)
    assert gap.fields["certain"]
    one.message(message(b"q", 2, 0, at=40), 0.4)
    one.message(message(b"q", 2, 1, at=70), 0.4)
    assert given(one) == [70]


def test_a_source_that_is_yet_to_be_named_is_waited_for() -> None:
    """While no tick was lost, a partition that keys moved in from cannot have ended unheard."""
    one = Follower(("",), window=Window, restore=Window.restore, can_ask=False)
    one.tick(tick(0, told(b"p", 1, 10, 15), newest=15), 0.0)
    moved = told(b"p", 1, 10, 20, stage=1, moves=(Move(stamp(21), b"q"),))
    one.tick(tick(1, moved, newest=20), 0.1)
    one.message(message(b"p", 1, 0, at=25, stage=1), 9.0)
    one.tick(tick(2, moved, newest=20), 9.1)
    assert given(one) == []
    one.tick(tick(3, told(b"p", 1, 10, 25, stage=1), told(b"q", 2, 18, 25, (b"p",)), newest=25), 9.2)
    assert given(one) == [25]
