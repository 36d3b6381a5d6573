"""What a consumer concludes from flows and ticks, under random loss, repetition, late joins and restarts."""

from __future__ import annotations

import random
from collections import Counter
from dataclasses import dataclass, field

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from property.relay_model import ROUND, RelayModel, Sent, at

from spanwire.consumer.facts import TICK_LEVEL, Missing, Tick, side_topics
from spanwire.consumer.flows import Flows

QUIET = 400  # ticks until the consumer gives up what nobody speaks of any more
TOPICS = ["db/s/a/", "db/s/b/", "db/s/c/"]


@dataclass
class Seen:
    """What became of a run."""

    received: Counter[Sent] = field(default_factory=Counter)
    handed: list[Sent] = field(default_factory=list)
    missing: list[Missing] = field(default_factory=list)
    baseline: dict[bytes, int] = field(default_factory=dict)
    lost_ticks: set[int] = field(default_factory=set)
    joined: int = 0

    def covering(self, message: Sent, certain: bool) -> int:
        """How many gaps name this very message."""
        return sum(
            1
            for gap in self.missing
            if gap.sequences is not None
            and gap.certain == certain
            and (gap.incarnation, gap.topic, gap.partition, gap.epoch) == message.flow
            and gap.sequences[0] <= message.sequence <= gap.sequences[1]
        )

    def range_covers(self, message: Sent, ancestors: dict[bytes, frozenset[bytes]]) -> bool:
        """Whether a gap between two timestamps covers its change: of its partition or its family's."""
        when = at(message.time)
        return any(
            gap.sequences is None
            and (
                gap.partition in ancestors[message.partition] or message.partition in ancestors[gap.partition]
            )
            and (gap.after is None or gap.after < when)
            and (gap.before is None or when <= gap.before)
            for gap in self.missing
        )


def model(
    rng: random.Random, senders: int, steps: int, restarts: bool, moving: bool
) -> tuple[RelayModel, int]:
    """A run, and where on its wire the last part begins: a message on each flow, then only ticks.

    `moving`: of a mutable stream, whose partitions name others and live on.
    """
    relay = RelayModel(rng, TOPICS, senders)
    moves = [relay.change] * 8 + [relay.store, relay.split]
    if moving:
        moves = [relay.change] * 8 + [relay.store, relay.spawn, relay.retire]
    moves += [relay.tick_next] * 4
    if restarts:
        moves += [relay.restart, relay.own_again]
    for _ in range(steps):
        rng.choice(moves)()
    end = len(relay.wire)
    for number in range(senders):
        relay.tick(number)
    relay.change_everywhere()
    for _ in range(QUIET):
        for number in range(senders):
            relay.tick(number)
    return relay, end


def consume(
    relay: RelayModel, end: int, rng: random.Random, loss: float, topics: list[str]
) -> tuple[Flows, Seen]:
    """Deliver the wire from a random place on, with loss and repetition; all of the last part arrives."""
    flows, seen = Flows(topics, round_ticks=ROUND), Seen(joined=rng.randrange(end + 1))
    watermark = None
    for place, item in enumerate(relay.wire[seen.joined :], seen.joined):
        lost = place < end and rng.random() < loss
        if isinstance(item, Tick):
            if lost:
                seen.lost_ticks.add(item.incarnation)
                continue
            seen.baseline.setdefault(item.sender, place)
            for _ in range(1 + (rng.random() < 0.1)):
                seen.missing += flows.tick(item)
        elif not lost and item.topic.startswith(tuple(topics)):
            for _ in range(1 + (rng.random() < 0.1)):
                verdict = flows.message(item)
                seen.missing += verdict.missing
                seen.received[item] += 1
                if verdict.new:
                    seen.handed.append(item)
        assert watermark is None or (flows.watermark is not None and flows.watermark >= watermark)
        watermark = flows.watermark
    return flows, seen


def owed(relay: RelayModel, seen: Seen, early: bool) -> list[Sent]:
    """Messages sent after a sender's baseline; with `early`, before it also after a flow's first."""
    # Once all senders of one incarnation have ticked, all of the next ones is owed.
    joined = [
        (max(places), incarnation)
        for incarnation in range(relay.incarnation + 1)
        if len(
            places := [seen.baseline[name] for name in relay.names_of(incarnation) if name in seen.baseline]
        )
        == len(relay.senders)
    ]
    begun, following = min(joined, default=(len(relay.wire), relay.incarnation))
    known: set[tuple[int, str, bytes, int]] = set()
    # What is sent again later, but was first sent before the baseline, is not owed either.
    newest = max((item.time for item in relay.wire[:begun] if isinstance(item, Sent)), default=0)
    result = []
    for place, item in enumerate(relay.wire):
        if isinstance(item, Tick) or place < seen.joined or (not early and item.time <= newest):
            continue
        sender = b"%d/%d" % (item.incarnation, relay.sender_of(item.topic))
        after = item.incarnation > following or place > seen.baseline.get(sender, len(relay.wire))
        if after or (early and item.flow in known):
            result.append(item)
        if seen.received[item]:
            known.add(item.flow)
    return result


RUNS = {
    "seed": st.integers(0, 2**32),
    "senders": st.sampled_from([1, 2]),
    "steps": st.integers(1, 80),
    "moving": st.booleans(),
    "loss": st.sampled_from([0.0, 0.05, 0.3, 0.7]),
}


@settings(max_examples=100, deadline=None)
@given(**RUNS)
def test_each_lost_message_is_announced_once_and_no_other(
    seed: int, senders: int, steps: int, loss: float, moving: bool
) -> None:
    """In one process, ticks intact: just the owed messages that did not arrive lie in gaps, each in one."""
    rng = random.Random(seed)
    relay, end = model(rng, senders, steps, restarts=False, moving=moving)
    wire = relay.wire
    flows, seen = Flows(TOPICS, round_ticks=ROUND), Seen(joined=rng.randrange(end + 1))
    for place, item in enumerate(wire[seen.joined :], seen.joined):
        if isinstance(item, Tick):
            seen.baseline.setdefault(item.sender, place)
            seen.missing += flows.tick(item)
        elif place >= end or rng.random() >= loss:
            verdict = flows.message(item)
            seen.missing += verdict.missing
            seen.received[item] += 1
    owing = set(owed(relay, seen, early=True))
    for item in wire:
        if isinstance(item, Sent):
            expected = int(item in owing and not seen.received[item])
            assert seen.covering(item, certain=True) == expected, item
    assert all(gap.certain for gap in seen.missing)


@settings(max_examples=300, deadline=None)
@given(**{**RUNS, "loss": st.sampled_from([0.0, 0.05, 0.1])})
@example(
    seed=2668198, senders=2, steps=74, loss=0.05, moving=False
)  # killed when one of two senders had told an end
def test_under_loss_of_everything_nothing_owed_goes_unannounced(
    seed: int, senders: int, steps: int, loss: float, moving: bool
) -> None:
    """Restarts, lost ticks: an owed change arrives or lies in a gap; what arrived is in no certain one."""
    rng = random.Random(seed)
    relay, end = model(rng, senders, steps, restarts=True, moving=moving)
    _, seen = consume(relay, end, rng, loss, TOPICS)
    assert all(count == 1 for count in Counter(seen.handed).values()), "handed over twice"
    arrived = {(item.time, item.topic) for item in seen.received}
    for item in relay.wire:
        if isinstance(item, Sent) and seen.received[item]:
            assert seen.covering(item, certain=True) == 0, item
    for item in owed(relay, seen, early=False):
        assert seen.covering(item, certain=True) <= 1, item
        if (item.time, item.topic) in arrived:
            continue
        again = [
            other
            for other in relay.wire
            if isinstance(other, Sent) and (other.time, other.topic) == (item.time, item.topic)
        ]
        announced = any(seen.covering(one, True) or seen.covering(one, False) for one in again)
        assert announced or seen.range_covers(item, relay.ancestors), (item, seen.missing)
    if loss == 0:
        assert all(not gap.certain for gap in seen.missing)
    if not seen.lost_ticks and relay.incarnation == 0:
        assert all(gap.certain for gap in seen.missing)


@settings(max_examples=100, deadline=None)
@given(**RUNS)
def test_sequences_of_a_flow_are_handed_over_rising(
    seed: int, senders: int, steps: int, loss: float, moving: bool
) -> None:
    """Within a flow the sequence rises, whatever is lost or repeated."""
    rng = random.Random(seed)
    relay, end = model(rng, senders, steps, restarts=True, moving=moving)
    _, seen = consume(relay, end, rng, loss, TOPICS)
    newest: dict[tuple[int, str, bytes, int], int] = {}
    for item in seen.handed:
        assert item.sequence > newest.get(item.flow, -1)
        newest[item.flow] = item.sequence


@settings(max_examples=100, deadline=None)
@given(**RUNS)
def test_the_watermark_is_behind_what_comes(
    seed: int, senders: int, steps: int, loss: float, moving: bool
) -> None:
    """Without lost ticks nothing that was not resent arrives at or below the watermark."""
    rng = random.Random(seed)
    relay, _ = model(rng, senders, steps, restarts=False, moving=moving)
    flows = Flows(TOPICS, round_ticks=ROUND)
    for item in relay.wire:
        if isinstance(item, Tick):
            flows.tick(item)
        else:
            assert flows.watermark is None or at(item.time) > flows.watermark
            flows.message(item)
    assert flows.watermark == at(relay.clock)


@settings(max_examples=100, deadline=None)
@given(**RUNS)
def test_what_is_not_subscribed_to_is_not_missed(
    seed: int, senders: int, steps: int, loss: float, moving: bool
) -> None:
    """A subscriber to one topic is told of that topic's losses only."""
    rng = random.Random(seed)
    relay, end = model(rng, senders, steps, restarts=True, moving=moving)
    _, seen = consume(relay, end, rng, loss, TOPICS[:1])
    assert {gap.topic for gap in seen.missing} <= {TOPICS[0], None}


@pytest.mark.parametrize(
    ("topics", "ticks"),
    [
        (["shop/orders_stream/orders/"], ["shop/orders_stream/_tick/"]),
        (["shop/s/a/", "shop/s/b/", "shop/t/a/"], ["shop/s/_tick/", "shop/t/_tick/"]),
        ([""], []),
        (["shop/"], []),
        (["shop/s/"], []),
        (["shop/s"], []),
        (["shop/s/_tick/"], []),
        (["", "shop/s/a/"], []),
    ],
)
def test_ticks_are_found_from_the_topics(topics: list[str], ticks: list[str]) -> None:
    """Ticks are on the first two levels of a topic; a shorter subscription has them already."""
    assert side_topics(topics, TICK_LEVEL) == ticks
