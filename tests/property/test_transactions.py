"""Transaction order against a sorted reference: whole, in commit order, whatever the partitions' pace."""

from __future__ import annotations

import itertools
import random
from dataclasses import dataclass

import pytest
from hypothesis import given
from hypothesis import strategies as st

from spanwire import Timestamp
from spanwire.consumer.reached import Version
from spanwire.consumer.transactions import CHANGE_BYTES, Transaction, TransactionOrder
from spanwire.errors import HeldBackError


@dataclass(frozen=True)
class FakeChange:
    """As much of `_core.Change` as the order looks at."""

    version: Version
    number_of_records_in_transaction: int = 1
    transaction_tag: str = ""

    @property
    def commit_timestamp(self) -> Timestamp:
        """When it was committed."""
        return self.version.commit_timestamp

    @property
    def transaction(self) -> str:
        """Which transaction it is of."""
        return self.version.transaction


def committed(rng: random.Random, transactions: int, partitions: int) -> list[list[FakeChange]]:
    """What each partition hands over: random transactions, some at one timestamp, some in many partitions."""
    lanes: list[list[FakeChange]] = [[] for _ in range(partitions)]
    second = 0
    for number in range(transactions):
        second += rng.choice((0, 0, 1, 3))
        name, records = f"{rng.randint(0, 9)}-{number}", rng.randint(1, 5)
        for record in range(records):
            lane = rng.choice(lanes)
            for mod in range(rng.randint(1, 3)):
                version = Version(Timestamp(second), name, f"{record:08}", mod)
                lane.append(FakeChange(version, records, f"tag {name}"))
    for lane in lanes:  # as partitions do: by commit timestamp alone
        lane.sort(key=lambda change: change.commit_timestamp)
    return lanes


def reference(lanes: list[list[FakeChange]]) -> list[FakeChange]:
    """All changes, sorted."""
    return sorted(itertools.chain(*lanes), key=lambda change: change.version)


def run(order: TransactionOrder, lanes: list[list[FakeChange]], rng: random.Random) -> list[Transaction]:
    """Hand over the lanes at random paces, with the watermark that follows from them."""
    given = [0] * len(lanes)
    released: list[Transaction] = []
    while any(done < len(lane) for done, lane in zip(given, lanes, strict=True)):
        place = rng.choice([place for place, lane in enumerate(lanes) if given[place] < len(lane)])
        step = rng.randint(1, 4)
        order.push(lanes[place][given[place] : given[place] + step], now=float(len(released)))
        given[place] += step
        if rng.random() < 0.4:
            open_ = [lane[done] for done, lane in zip(given, lanes, strict=True) if done < len(lane)]
            if open_:  # the next change of each lane may be at the timestamp of its last
                second = min(change.commit_timestamp for change in open_).seconds - 1
                released += order.advance(Timestamp(second), now=float(len(released)))
    return released + order.advance(Timestamp(1 << 30), now=0.0)


@given(st.integers(0, 2**32), st.integers(1, 40), st.integers(1, 5))
def test_it_equals_the_sorted_reference(seed: int, transactions: int, partitions: int) -> None:
    """Every change once, in the order of record versions, each transaction whole and none torn."""
    rng = random.Random(seed)
    lanes = committed(rng, transactions, partitions)
    order = TransactionOrder(whole=True)
    released = run(order, lanes, rng)
    assert [change for one in released for change in one] == reference(lanes)
    assert len({(one.commit_timestamp, one.id) for one in released}) == len(released) == transactions
    assert all(one.tag == f"tag {one.id}" and len(one) == len(one.changes) for one in released)
    assert not any(one.torn for one in released)
    assert (order.torn, order.late, order.bytes, order.waiting) == (0, 0, 0, None)


@given(st.integers(0, 2**32), st.integers(1, 30), st.integers(1, 4))
def test_from_a_last_version_on_all_that_follows_comes(seed: int, transactions: int, partitions: int) -> None:
    """In the middle of a transaction too, whose rest is not taken for torn; nothing before it comes again."""
    rng = random.Random(seed)
    lanes = committed(rng, transactions, partitions)
    expected = reference(lanes)
    done = rng.randrange(len(expected))
    order = TransactionOrder(last=expected[done].version, whole=True)
    released = run(order, lanes, rng)
    assert [change for one in released for change in one] == expected[done + 1 :]
    assert not any(one.torn for one in released)


@given(st.integers(0, 2**32), st.integers(1, 30))
def test_from_a_watermark_on_what_is_above_it_comes(seed: int, transactions: int) -> None:
    """What is at or below it is dropped and counted, as it is once the watermark has moved."""
    rng = random.Random(seed)
    lanes = committed(rng, transactions, 3)
    expected = reference(lanes)
    watermark = rng.choice(expected).commit_timestamp
    order = TransactionOrder(watermark=watermark)
    released = run(order, lanes, rng)
    above = [change for change in expected if change.commit_timestamp > watermark]
    assert [change for one in released for change in one] == above
    assert order.late == len(expected) - len(above)
    order.push(expected, now=0.0)
    assert order.waiting is None
    assert order.late == 2 * len(expected) - len(above)


@given(st.integers(0, 2**32), st.integers(1, 20))
def test_a_transaction_without_one_of_its_records_is_torn(seed: int, transactions: int) -> None:
    """Where nothing is filtered, and only there; all others are not."""
    rng = random.Random(seed)
    [lane] = committed(rng, transactions, 1)
    several = [change for change in lane if change.number_of_records_in_transaction > 1]
    lost = rng.choice(several).version if several else None
    rest = [change for change in lane if lost is None or change.version[:3] != lost[:3]]
    for whole in (True, False):
        order = TransactionOrder(whole=whole)
        order.push(rest, now=0.0)
        torn = [one.id for one in order.advance(Timestamp(1 << 30), now=0.0) if one.torn]
        assert torn == ([lost.transaction] if lost is not None and whole else [])
        assert order.torn == len(torn)


def change(second: int, name: str = "tx") -> FakeChange:
    """A transaction of one change."""
    return FakeChange(Version(Timestamp(second), name, "00000000", 0))


def test_an_old_watermark_changes_nothing() -> None:
    """It neither goes back nor releases; none at all is the same."""
    order = TransactionOrder()
    assert order.advance(Timestamp(5), now=0.0) == []
    order.push([change(7)], now=0.0)
    assert order.advance(Timestamp(4), now=1.0) == order.advance(None, now=1.0) == []
    assert order.watermark == Timestamp(5)
    assert [one.commit_timestamp for one in order.advance(Timestamp(7), now=1.0)] == [Timestamp(7)]


def test_what_holds_back_is_named() -> None:
    """Since when: from when the first change waited, or the watermark last moved; and by whom."""
    order = TransactionOrder()
    assert order.waiting is None
    order.push([change(5), change(9), change(7)], now=10.0)
    order.push([change(8)], now=11.0)
    assert order.waiting == (10.0, None, 4, Timestamp(5))
    order.advance(Timestamp(6), now=12.0, held_by="ab" * 16)
    assert order.waiting == (12.0, "ab" * 16, 3, Timestamp(7))
    order.advance(Timestamp(6), now=20.0, held_by="cd" * 16)
    assert order.waiting == (12.0, "cd" * 16, 3, Timestamp(7))
    order.advance(Timestamp(9), now=21.0)
    assert order.waiting is None
    order.push([change(11)], now=30.0)
    assert order.waiting == (30.0, None, 1, Timestamp(11))


def test_memory_is_bounded() -> None:
    """By bytes: what would not fit is refused whole, by an error that names the partition; the rest stays."""
    order = TransactionOrder(most_bytes=10 * (CHANGE_BYTES + 100))
    order.push([change(second) for second in range(1, 11)], now=1.0, size=1000)
    assert order.bytes == 10 * (CHANGE_BYTES + 100)
    order.advance(Timestamp(0), now=2.0, held_by="ab" * 16)
    with pytest.raises(HeldBackError, match=f"partition {'ab' * 16}") as raised:
        order.push([change(11)], now=5.0)
    assert raised.value.fields == {"partition": "ab" * 16, "watermark": Timestamp(0), "changes": 10}
    assert "for 3.0 s" in str(raised.value)
    assert raised.value.retryable
    assert len(order.advance(Timestamp(1), now=6.0)) == 1
    order.push([change(11)], now=6.0)
    assert [one.commit_timestamp.seconds for one in order.advance(Timestamp(20), now=7.0)] == [*range(2, 12)]
    assert order.bytes == 0
