"""A group through joins, deaths, acks, rejects, time-outs and restarts at random.

Nothing is lost, the order of a slot holds, no slot is with two members at once, counts are right.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from spanwire._core import Timestamp
from spanwire.consumer.reached import Frontier, Lane, Reached
from spanwire.relay.group.machine import Delivery, Machine, Rules
from spanwire.relay.group.progress import Progress

SLOTS, PARTITIONS = 4, (b"p0", b"p1")
RULES = Rules(slots=SLOTS, in_flight=2, ack_timeout_s=10, silence_s=30, max_deliveries=3)
CREDIT = 10**9


@dataclass(frozen=True)
class Version:
    """What names a change of this test."""

    commit_timestamp: Timestamp
    transaction: str = "t"
    sequence: str = "0"
    number: int = 0

    def __str__(self) -> str:
        return f"{self.commit_timestamp}/{self.transaction}/{self.sequence}/{self.number}"


@dataclass(eq=False)
class Message:
    """One message of a slot."""

    slot: int
    lane: Lane
    versions: tuple[Version, ...]
    begin: int = 0
    size: int = 10

    @property
    def end(self) -> int:
        """Behind its last change."""
        return len(self.versions)

    def version(self, place: int) -> Version:
        """One of its changes."""
        return self.versions[place]


@dataclass
class Durable:
    """What a relay that starts again finds."""

    watermark: Timestamp = field(default_factory=lambda: Timestamp(0))
    points: dict[Lane, Frontier] = field(default_factory=dict)
    failures: dict[str, int] = field(default_factory=dict)
    dead: set[str] = field(default_factory=set)
    acked: set[str] = field(default_factory=set)
    """What was acknowledged by then: it does not come again."""


class Groups(RuleBasedStateMachine):
    """The machine beside a plain account of what must hold."""

    def __init__(self) -> None:
        super().__init__()
        self.now = 0.0
        self.clock = 0
        self.sent: list[Message] = []  # all there ever was, in the order of the stream
        self.handled: Counter[str] = Counter()  # what handlers have seen to, by version
        self.durable = Durable()
        self.names = 0
        self.start()

    def start(self) -> None:
        """A relay starts from what is stored, and the stream is read again from there."""
        stored = self.durable
        self.progress = Progress(Reached(stored.watermark, stored.points))
        self.machine = Machine(RULES, self.progress, stored.failures)
        self.held: dict[bytes, dict[int, Delivery]] = {}  # live members, and what each holds, in order
        self.acked: dict[int, int] = {}  # by delivery
        self.counts = Counter(stored.failures)
        self.known = set(stored.acked)
        self.gone: list[tuple[bytes, Delivery]] = []
        for message in self.sent:
            self.feed(message)

    def feed(self, message: Message) -> None:
        """What is not known to be handled is given; the rest stays out, as a consumer's window has it."""
        at, which = self.durable.points.get(message.lane, (Timestamp(0), []))
        at_point = {(at, *one) for one in which}
        begin = 0
        for version in message.versions:
            identity = (version.commit_timestamp, version.transaction, version.sequence, version.number)
            if version.commit_timestamp > self.durable.watermark and not (
                version.commit_timestamp < at or identity in at_point
            ):
                break
            begin += 1
        if begin < message.end:
            self.machine.add(Message(message.slot, message.lane, message.versions, begin))

    # ------------------------------------------------------------ what happens

    @initialize(members=st.integers(1, 3))
    def begin(self, members: int) -> None:
        """Some are there from the start."""
        for _ in range(members):
            self.join()

    @rule(
        slots=st.lists(st.integers(0, SLOTS - 1), min_size=1, max_size=5),
        partition=st.sampled_from(PARTITIONS),
        count=st.integers(1, 4),
        same=st.booleans(),
    )
    def commit(self, slots: list[int], partition: bytes, count: int, same: bool) -> None:
        """Messages of some slots, some of their changes at one timestamp."""
        for slot in slots:
            versions = []
            for number in range(count):
                if not (same and number):
                    self.clock += 1
                versions.append(Version(Timestamp(self.clock), number=number))
            message = Message(slot, (partition, f"orders/{slot}/"), tuple(versions))
            self.sent.append(message)
            self.feed(message)
        self.turn()

    @rule()
    def join(self) -> None:
        """Another member."""
        self.names += 1
        member = f"m{self.names}".encode()
        self.machine.join(member, CREDIT, self.now)
        self.held[member] = {}

    @rule(data=st.data(), handled=st.integers(0, 4), ack=st.booleans())
    @precondition(lambda self: any(self.held.values()))
    def work(self, data: st.DataObject, handled: int, ack: bool) -> None:
        """A member handles some changes of its oldest work, and may die before it says so."""
        member = data.draw(st.sampled_from([one for one, held in self.held.items() if held]))
        delivery = next(iter(self.held[member].values()))
        until = min(delivery.work.end, self.acked[delivery.number] + handled)
        for place in range(self.acked[delivery.number], until):
            self.handle(delivery, place)
        if ack:
            assert self.machine.ack(member, delivery.number, until, self.now) is None
            self.acknowledge(member, delivery, until)

    @rule(data=st.data(), dead=st.booleans())
    @precondition(lambda self: any(self.held.values()))
    def reject(self, data: st.DataObject, dead: bool) -> None:
        """A member cannot handle the next change of its oldest work."""
        member = data.draw(st.sampled_from([one for one, held in self.held.items() if held]))
        delivery = next(iter(self.held[member].values()))
        place = self.acked[delivery.number]
        refusal = self.machine.reject(member, delivery.number, place, "ValueError", self.now, dead=dead)
        assert refusal is None
        del self.held[member][delivery.number]
        self.blame(delivery, dead=dead)

    @rule(data=st.data(), at_work=st.booleans())
    @precondition(lambda self: self.held)
    def leave(self, data: st.DataObject, at_work: bool) -> None:
        """A member goes, in the middle of a change or between two."""
        member = data.draw(st.sampled_from(list(self.held)))
        held = self.held.pop(member)
        delivery = next(iter(held.values()), None) if at_work else None
        assert self.machine.leave(member, 0 if delivery is None else delivery.number) is None
        self.gone += [(member, one) for one in held.values()]
        if delivery is not None:
            self.blame(delivery)

    @rule(data=st.data())
    @precondition(lambda self: self.held)
    def die(self, data: st.DataObject) -> None:
        """A member's connection is gone."""
        member = data.draw(st.sampled_from(list(self.held)))
        self.machine.lose(member, "its member died")
        self.lost(member)

    @rule(data=st.data())
    @precondition(lambda self: any(self.held.values()))
    def unsent(self, data: st.DataObject) -> None:
        """Work could not be sent: it comes back, once, and nothing is blamed."""
        member = data.draw(st.sampled_from([one for one, held in self.held.items() if held]))
        _, delivery = self.held[member].popitem()
        self.machine.unsent(delivery)
        self.machine.unsent(delivery)

    @rule(seconds=st.sampled_from([1, 6, 11, 31]))
    def wait(self, seconds: int) -> None:
        """Time goes by; whoever is too slow is no member any more."""
        self.now += seconds
        for member in list(self.machine.look(self.now)):
            self.lost(member)

    @rule(data=st.data())
    @precondition(lambda self: self.gone)
    def late(self, data: st.DataObject) -> None:
        """What a former member says has no effect."""
        member, delivery = data.draw(st.sampled_from(self.gone))
        before = self.machine.owners, self.machine.members, self.machine.bytes
        assert self.machine.ack(member, delivery.number, delivery.work.end, self.now) == "notMember"
        assert self.machine.reject(member, delivery.number, 0, "late", self.now) == "notMember"
        for other in self.held:
            if delivery.number not in self.held[other]:
                assert self.machine.ack(other, delivery.number, 1, self.now) == "neverSent"
        assert (self.machine.owners, self.machine.members, self.machine.bytes) == before

    @rule(data=st.data())
    @precondition(lambda self: any(self.held.values()))
    def impossible(self, data: st.DataObject) -> None:
        """Acks for more than there is, or less than before, are refused and change nothing."""
        member = data.draw(st.sampled_from([one for one, held in self.held.items() if held]))
        delivery = next(iter(self.held[member].values()))
        assert self.machine.ack(member, delivery.number, delivery.work.end + 1, self.now) == "neverSent"
        if acked := self.acked[delivery.number]:
            assert self.machine.ack(member, delivery.number, acked - 1, self.now) == "outOfOrder"
        assert self.machine.ack(member, delivery.number, acked, self.now) is None

    @rule()
    def turn(self) -> None:
        """The relay keeps what must be kept, then sends what is to be sent."""
        if self.machine.unsaved:
            self.save()
        busy = {one.work.slot for held in self.held.values() for one in held.values()}
        for delivery in self.machine.dispatch(self.now):
            slot = delivery.work.slot
            assert slot not in busy, "a slot is with two members"
            assert self.machine.owners[slot] == delivery.member
            busy.add(slot)
            first = str(delivery.work.version(delivery.handled))
            assert first not in self.durable.acked, "it was stored as handled"
            assert delivery.deliveries == self.counts[first] + 1
            self.held[delivery.member][delivery.number] = delivery
            self.acked[delivery.number] = delivery.handled
            assert len(self.held[delivery.member]) <= RULES.in_flight

    @rule()
    def save(self) -> None:
        """Progress is stored, counts and dead letters with it, all together."""
        newest = max((one.versions[-1].commit_timestamp for one in self.sent), default=None)
        reached = self.progress.reached(newest)
        watermark = reached.watermark
        assert watermark is not None
        assert watermark >= self.durable.watermark
        self.machine.forget(str(watermark))
        self.durable = Durable(
            watermark,
            dict(reached.frontiers),
            dict(self.machine.failures),
            self.durable.dead | {str(one.version) for one in self.machine.dead},
            set(self.known),
        )
        self.machine.saved()

    @rule()
    def kill(self) -> None:
        """The relay dies at any moment, and another goes on with as many members."""
        members = len(self.held)
        self.start()
        for _ in range(members):
            self.join()

    # ------------------------------------------------------------ what must hold

    @invariant()
    def slots_are_shared_evenly(self) -> None:
        """Every slot has an owner where there is one, and no member two more than another."""
        owners = Counter(self.machine.owners.values())
        assert set(self.machine.members) == set(self.held)
        if self.held:
            assert len(self.machine.owners) == SLOTS
            shares = [owners[member] for member in self.held]
            assert max(shares) - min(shares) <= 1

    def teardown(self) -> None:
        """Left to one good member, all there ever was comes to be handled or given up, also after a kill."""
        for member in list(self.held):
            self.machine.leave(member, 0)
        self.held.clear()
        self.finish()
        self.start()
        self.finish()
        self.save()
        assert not self.durable.points
        assert not self.durable.failures
        if self.sent:
            assert self.durable.watermark == Timestamp(self.clock)

    def finish(self) -> None:
        """One good member handles all there is."""
        self.join()
        while True:
            self.turn()
            (held,) = self.held.values()
            if not held:
                break
            delivery = next(iter(held.values()))
            for place in range(delivery.handled, delivery.work.end):
                self.handle(delivery, place)
            (member,) = self.held
            assert self.machine.ack(member, delivery.number, delivery.work.end, self.now) is None
            self.acknowledge(member, delivery, delivery.work.end)
        everything = {str(version) for message in self.sent for version in message.versions}
        assert everything == set(self.handled) | self.durable.dead
        assert self.machine.bytes == 0

    def handle(self, delivery: Delivery, place: int) -> None:
        """A handler sees a change: all before it in its slot were seen to."""
        seen = str(delivery.work.version(place))
        self.handled[seen] += 1
        pending = {str(one.version) for one in self.machine.dead}
        for message in self.sent:
            if message.slot == delivery.work.slot:
                for version in message.versions:
                    if str(version) == seen:
                        return
                    assert self.handled[str(version)] or str(version) in self.durable.dead | pending
        raise AssertionError("what was never sent was delivered")

    def acknowledge(self, member: bytes, delivery: Delivery, until: int) -> None:
        """The account of an ack."""
        for place in range(self.acked[delivery.number], until):
            self.counts.pop(str(delivery.work.version(place)), None)
            self.known.add(str(delivery.work.version(place)))
        self.acked[delivery.number] = until
        if until == delivery.work.end:
            del self.held[member][delivery.number]

    def lost(self, member: bytes) -> None:
        """The account of a member that is gone without a word: its oldest work is to blame."""
        held = self.held.pop(member)
        self.gone += [(member, one) for one in held.values()]
        if held:
            self.blame(next(iter(held.values())))

    def blame(self, delivery: Delivery, *, dead: bool = False) -> None:
        """The account of a failure."""
        version = str(delivery.work.version(self.acked[delivery.number]))
        self.counts[version] += 1
        given_up = {str(one.version): one.deliveries for one in self.machine.dead}
        if dead or self.counts[version] >= RULES.max_deliveries:
            assert given_up[version] == self.counts.pop(version)
        else:
            assert version not in given_up
            assert self.machine.failures[version] == self.counts[version]
        assert self.machine.unsaved


TestGroups = Groups.TestCase
TestGroups.settings = settings(max_examples=80, stateful_step_count=60, deadline=None)
