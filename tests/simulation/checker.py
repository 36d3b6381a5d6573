"""What must hold of a run: reference invariants, judged from what was committed, sent and handed over."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise

from simulation.changes import TOPICS, Change, Message
from simulation.consumer import Consumer, Kept
from simulation.gaps import covers, time_of
from simulation.sender import Sender, stamp
from simulation.world import World
from spanwire._core import Timestamp
from spanwire.consumer.facts import Tick
from spanwire.records import State


def violations(world: World, arrived: bool) -> list[str]:
    """Everything that is wrong with a run that has ended, one line each."""
    found = relay_violations(world)
    for consumer in world.consumers:
        kept = consumer.kept if consumer.life is None else consumer.life.kept
        found += [f"{consumer.name}: {one}" for one in consumer_violations(world, consumer, kept, arrived)]
    return found


def consumer_violations(world: World, consumer: Consumer, kept: Kept, arrived: bool) -> list[str]:
    """What is wrong with what one consumer was given."""
    found = list(consumer.problems)
    if not arrived:
        life = consumer.life
        why = None if life is None else getattr(life.follower, "blocked_by", None)
        last = max((change.at for change in world.spanner.committed), default=0)
        found.append(f"liveness: at {consumer.watermark and consumer.watermark.seconds} of {last}; {why}")
    found += _handed_over_once(world, kept.changes)
    rows: dict[tuple[str, int], Change] = {}
    for change in kept.changes:
        before = rows.get(change.row)
        if before is not None and change.version <= before.version:
            found.append(f"order: {change} behind {before}")
        rows[change.row] = change
    if consumer.habits.order == "transaction":
        found += _in_transaction_order(kept.changes)
    if arrived:
        found += _complete(world, consumer, kept)
    found += _gaps_in_order(consumer, kept)
    return found


def _handed_over_once(world: World, changes: list[Change]) -> list[str]:
    found: list[str] = []
    committed = {id(change) for change in world.spanner.committed}
    seen: set[int] = set()
    for change in changes:
        if id(change) in seen:
            found.append(f"once: {change} came twice")
        if id(change) not in committed:
            found.append(f"phantom: {change}")
        seen.add(id(change))
    return found


def _in_transaction_order(changes: list[Change]) -> list[str]:
    for before, after in pairwise(changes):
        if after.version <= before.version:
            return [f"transactions: {after} behind {before}"]
    return []


def _complete(world: World, consumer: Consumer, kept: Kept) -> list[str]:
    """Everything owed came, or lies in a gap."""
    since = kept.since
    if since is None:
        return ["completeness: no watermark was ever told"]
    topics, have = consumer.habits.topics, {id(change) for change in kept.changes}
    missing = [
        change
        for change in world.spanner.committed
        if change.commit_timestamp > since
        and change.topic.startswith(topics)
        and id(change) not in have
        and not any(covers(gap, change) for gap, _ in kept.gaps)
    ]
    return [f"completeness: {change} is missing (of {len(missing)})" for change in missing[:1]]


def _gaps_in_order(consumer: Consumer, kept: Kept) -> list[str]:
    """A gap is announced only where the range is gone; without anybody to ask, anything may be."""
    if not consumer.habits.can_ask:
        return []
    found = []
    for gap, oldest in kept.gaps:
        after = gap.fields["after"]
        if after is None or time_of(after) >= Timestamp(oldest):
            found.append(f"gap: announced although it can be had from {oldest} on: {gap}")
    return found


# ---------------------------------------------------------------------- what the relays sent


def relay_violations(world: World) -> list[str]:
    """What is wrong with what the relays sent: positions that are not true, order, changes left out."""
    found: list[str] = []
    before: set[int] = set()
    for relay in world.relays:
        for lane in relay.core.lanes:
            for sender in lane.senders:
                found += _positions_are_true(world, sender)
                if not world.scenario.shares:  # else the other one may have sent it meanwhile
                    found += _keys_in_order(sender, before)
        before |= {id(change) for sender in relay.core.lanes[0].senders for change in _sent(sender)}
    return (found + _what_is_stored_was_sent(world))[:5]


def _sent(sender: Sender) -> Iterator[Change]:
    for message in sender.history:
        if isinstance(message, Message):
            yield from message.changes()


def _keys_in_order(sender: Sender, earlier: set[int]) -> list[str]:
    """What is sent of a row for the first time is newer than what was sent of it before.

    `earlier`: what processes before this one have sent. A part of it is sent again.
    """
    sent = set(earlier)
    rows: dict[tuple[str, int], Change] = {}
    for change in _sent(sender):
        before = rows.get(change.row)
        if id(change) not in sent and before is not None and change.version <= before.version:
            return [f"relay: {sender.name!r} sends {change} behind {before}"]
        sent.add(id(change))
        rows[change.row] = change
    return []


def _what_is_stored_was_sent(world: World) -> list[str]:
    """Up to what the store says, every change went out of some relay, whoever died when.

    No consumer tells: it would have what is missing read again.
    """
    senders = [sender for relay in world.relays for sender in relay.core.lanes[0].senders]
    sent = {id(change) for sender in senders for change in _sent(sender)}
    begins: dict[str, int] = {}
    for one in (one for sender in senders for one in sender.ownerships):
        begins[one.token] = min(one.start, begins.get(one.token, one.start))
    stored = {one.token: one for one in world.store.load()}
    for token, begin in begins.items():
        known = stored.get(token)  # one that is not known any more is over
        ends = None if known is None or known.state is State.FINISHED else known.position or stamp(begin - 1)
        for record in world.spanner.logs[token].records:
            if record.kind != "data" or record.at < begin or (ends is not None and record.at > ends.seconds):
                continue
            never = [change for change in record.what if id(change) not in sent]
            if never:
                return [f"relay: {never[0]} was never sent, and {token} is stored up to {ends}"]
    return []


def _positions_are_true(world: World, sender: Sender) -> list[str]:
    """Where a tick tells a position, all changes from the ownership's start up to there were sent before."""
    lane = sender.lane
    mine = {topic for n, topic in enumerate(TOPICS) if n % len(lane.senders) == sender.number}
    sent: dict[bytes, set[int]] = {}
    checked: dict[tuple[bytes, int], int] = {}
    owned = {(one.id, one.epoch): one for one in sender.ownerships}
    for item in sender.history:
        if isinstance(item, Message):
            sent.setdefault(item.partition, set()).update(map(id, item.changes()))
            continue
        assert isinstance(item, Tick)
        for told in item.partitions:
            if told.position is None:
                continue
            partition, log = owned[told.id, told.epoch], world.spanner.logs[told.id.decode()]
            start = partition.start + 1 if partition.resumed else partition.start
            place = checked.get((told.id, told.epoch), log.index_from(start))
            known = sent.get(told.id, set())
            while place < len(log.records) and log.records[place].at <= told.position.seconds:
                record = log.records[place]
                place += 1
                if record.kind == "data" and record.what[0].topic in mine and id(record.what[0]) not in known:
                    if log.end is not None and record.at >= told.position.seconds:
                        continue
                    return [
                        f"relay: {sender.name!r} tells {told.position.seconds} of {told.id!r} "
                        f"before {record.what}"
                    ]
            checked[told.id, told.epoch] = place
    return []
