"""The simulator's partition tree."""

from __future__ import annotations

import random
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from spanwire.simulator.partitions import SPACE, PartitionTree


def churned(seed: int, count: int, events: int) -> PartitionTree:
    """A tree after so many splits and merges, at 1, 2, 3 and so on."""
    tree = PartitionTree(count, 0, random.Random(seed))
    for at in range(1, events + 1):
        tree.churn(at, max(1, count // 2), count * 2)
    return tree


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 2**32), st.integers(1, 12), st.integers(0, 40))
def test_each_place_has_one_owner_at_any_time(seed: int, count: int, events: int) -> None:
    """At every moment, past ones too, the partitions alive cover the key space without overlap."""
    tree = churned(seed, count, events)
    for at in range(events + 1):
        alive = tree.alive_at(at)
        assert alive[0].low == 0
        assert alive[-1].high == SPACE
        assert all(left.high == right.low for left, right in pairwise(alive))
    assert [p.token for p in tree.alive_at(events)] == [p.token for p in tree.live]
    assert max(1, count // 2) <= len(tree.live) <= count * 2


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 2**32), st.integers(1, 12), st.integers(1, 40))
def test_children_start_when_their_parents_end(seed: int, count: int, events: int) -> None:
    """A child's parents all end at its start, and each of them names it."""
    tree = churned(seed, count, events)
    children = [p for at in range(events + 1) for p in tree.alive_at(at) if p.parents]
    for child in children:
        for token in child.parents:
            parent = tree.get(token)
            assert parent is not None
            assert parent.end == child.start
            assert child.token in parent.children


def test_one_seed_gives_one_tree() -> None:
    """Tokens, ranges and events come from the seed alone."""
    first, again, other = churned(7, 5, 30), churned(7, 5, 30), churned(8, 5, 30)
    assert first.live == again.live
    assert first.live != other.live


def test_owner_is_the_live_partition_of_the_place() -> None:
    """The edges of ranges belong to the partition that begins there."""
    tree = churned(3, 4, 10)
    for partition in tree.live:
        assert tree.owner(partition.low) is partition
        assert tree.owner(partition.high - 1) is partition
        assert partition.low in partition
        assert partition.high not in partition


def test_what_cannot_be_split_or_merged_is_refused() -> None:
    """Unknown, ended, too small, or not neighbours."""
    tree = PartitionTree(3, 0, random.Random(1))
    first, _, third = (partition.token for partition in tree.live)
    with pytest.raises(ValueError, match="neighbours"):
        tree.merge([first, third], 1)
    with pytest.raises(ValueError, match="neighbours"):
        tree.merge([first], 1)
    tree.split(first, 2)
    with pytest.raises(ValueError, match="no live partition"):
        tree.split(first, 3)
    with pytest.raises(ValueError, match="too small"):
        tree.split(third, 3, parts=SPACE)
