"""Members, slots and work of one group. Pure: no I/O, no clock.

Work is one message: changes of one slot, in order. Of each slot the oldest work is with one member at the
most, so a slot that has another owner moves when that work is handled or has come back.

A member handles its work in the order of delivery, change by change. So when it fails, only one change can
be the culprit: the first that is not handled of its oldest work. That one's deliveries are counted, and at
the last it goes to the dead letters; all else that the member held comes back uncounted. Nothing that
such a failure entails is dispatched before it is kept: `unsaved` until `saved`.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from spanwire.relay.group.progress import Progress, Version, Work
from spanwire.relay.group.slots import share

Member = bytes
Refusal = Literal["notMember", "neverSent", "outOfOrder"]


@dataclass(frozen=True, slots=True)
class Rules:
    """What a group's settings say."""

    slots: int = 64
    in_flight: int = 8
    """Messages that one member holds at the most."""
    ack_timeout_s: float = 30.0
    """A member that holds work has so long for each change."""
    silence_s: float = 30.0
    """A member that holds none may be silent for so long."""
    max_deliveries: int = 5


@dataclass(frozen=True, slots=True)
class Delivery:
    """Work for a member: its changes from `handled` on."""

    number: int
    member: Member
    work: Work
    handled: int
    deliveries: int
    """How often the first of them is given to a member, with this time."""


@dataclass(frozen=True, slots=True)
class Dead:
    """A change that was given up. It counts as handled."""

    work: Work
    place: int
    version: Version
    reason: str
    deliveries: int


@dataclass(slots=True)
class _Slot:
    queue: deque[Work] = field(default_factory=deque)
    handled: int = 0
    """Changes of the oldest work before this are handled."""
    flight: Delivery | None = None
    """Where the oldest work is; None while it is with nobody."""
    given: bool = False
    """Whether the oldest work was with somebody before."""


@dataclass(slots=True)
class _Member:
    heard_at: float
    moved_at: float
    """When its oldest work came to it, or came further."""
    credit: int
    sent: int = 0
    flights: dict[int, int] = field(default_factory=dict)
    """The slots of what it holds, by delivery, in the order of delivery."""


class Machine:
    """The state of one group."""

    def __init__(self, rules: Rules, progress: Progress, failures: Mapping[str, int] | None = None) -> None:
        """`failures`: changes, by version, that came back so often before, as `failures` told it."""
        self._rules = rules
        self._progress = progress
        self._failures = dict(failures or {})
        self._slots: dict[int, _Slot] = {}
        self._ready: dict[int, None] = {}  # slots whose oldest work is with nobody, in the order of waiting
        self._owners: dict[int, Member] = {}
        self._members: dict[Member, _Member] = {}
        self._deliveries = 0
        self._dead: list[Dead] = []
        self._finished: list[Work] = []
        self.unsaved = False
        """Whether counts or dead letters have come that must be kept before anything is dispatched."""
        self.bytes = 0
        """Of all work that is not handled."""
        self.waiting = 0
        """Messages of it."""
        self.redeliveries = 0
        """Deliveries of work that had been with somebody before."""

    @property
    def deliveries(self) -> int:
        """How many there were."""
        return self._deliveries

    @property
    def failures(self) -> dict[str, int]:
        """How often changes came back that are not handled yet, by version: to be kept."""
        return dict(self._failures)

    @property
    def dead(self) -> list[Dead]:
        """What was given up since the last `saved`, in order."""
        return list(self._dead)

    @property
    def finished(self) -> list[Work]:
        """Work that was done with since the last `saved`."""
        return list(self._finished)

    @property
    def members(self) -> dict[Member, int]:
        """Who is here, and how much work each holds."""
        return {name: len(one.flights) for name, one in self._members.items()}

    @property
    def owners(self) -> dict[int, Member]:
        """Who has which slot."""
        return dict(self._owners)

    # ---------------------------------------------------------------- what comes in

    def add(self, work: Work) -> None:
        """Work that has come; of each slot it comes in order."""
        slot = self._slots.setdefault(work.slot, _Slot())
        slot.queue.append(work)
        self.bytes += work.size
        self.waiting += 1
        self._progress.given(work)
        if len(slot.queue) == 1:
            slot.handled = work.begin
            self._ready[work.slot] = None

    def join(self, member: Member, credit: int, now: float) -> None:
        """Somebody works with us from now on; who joins again has lost what it held."""
        self.lose(member, "its member joined again")
        self._members[member] = _Member(now, now, credit)
        self._share()

    def hear(self, member: Member, now: float, credit: int | None = None) -> Refusal | None:
        """A member is there; `credit`: the bytes it takes in all."""
        known = self._members.get(member)
        if known is None:
            return "notMember"
        known.heard_at = now
        if credit is not None:
            known.credit = max(known.credit, credit)
        return None

    def ack(self, member: Member, delivery: int, handled: int, now: float) -> Refusal | None:
        """The first `handled` changes of that message are handled; why that cannot be, and has no effect."""
        known = self._members.get(member)
        if known is None:
            return "notMember"
        known.heard_at = now
        if delivery not in known.flights:
            return "neverSent"
        number = known.flights[delivery]
        slot = self._slots[number]
        if handled > slot.queue[0].end:
            return "neverSent"
        if handled < slot.handled:
            return "outOfOrder"
        if handled > slot.handled:
            known.moved_at = now
            self._advance(number, handled)
        return None

    def reject(
        self, member: Member, delivery: int, handled: int, reason: str, now: float, *, dead: bool = False
    ) -> Refusal | None:
        """As `ack`, and the change behind those could not be handled. `dead`: it is not to be tried again."""
        if refusal := self.ack(member, delivery, handled, now):
            return refusal
        known = self._members[member]
        if delivery not in known.flights:  # all of it was acked: there is none behind
            return "neverSent"
        known.moved_at = now
        number = known.flights[delivery]
        self._take_back(known, delivery)
        self._fail(number, reason, dead=dead)
        return None

    def leave(self, member: Member, delivery: int) -> Refusal | None:
        """A member goes; `delivery`: what it was at, 0 for nothing."""
        known = self._members.get(member)
        if known is None:
            return "notMember"
        number = known.flights.get(delivery)
        self._remove(member)
        if number is not None:
            self._fail(number, "its member left")
        return None

    def unsent(self, delivery: Delivery) -> None:
        """It could not be sent, which is nobody's fault; its member is to be lost once it was heard out."""
        if (known := self._members.get(delivery.member)) and delivery.number in known.flights:
            self._take_back(known, delivery.number)

    def lose(self, member: Member, why: str) -> None:
        """A member is gone, without a word."""
        known = self._members.get(member)
        if known is None:
            return
        number = next(iter(known.flights.values()), None)
        self._remove(member)
        if number is not None:
            self._fail(number, why)

    def look(self, now: float) -> list[Member]:
        """Lose members that were silent, or took too long for a change; who these were."""
        late: list[Member] = []
        for member, known in list(self._members.items()):
            if known.flights:
                if now - known.moved_at > self._rules.ack_timeout_s:
                    self.lose(member, "its member did not acknowledge it in time")
                    late.append(member)
            elif now - known.heard_at > self._rules.silence_s:
                self.lose(member, "its member fell silent")
                late.append(member)
        return late

    # ---------------------------------------------------------------- what goes out

    def dispatch(self, now: float) -> list[Delivery]:
        """What is to be sent to members now, in this order."""
        assert not self.unsaved, "what failures entail is kept first"
        found: list[Delivery] = []
        free = sum(self._has_room(one) for one in self._members.values())
        for number in list(self._ready) if free else ():
            member = self._owners[number]
            known = self._members[member]
            if not self._has_room(known):
                continue
            slot = self._slots[number]
            work = slot.queue[0]
            del self._ready[number]
            self._deliveries += 1
            self.redeliveries += slot.given
            slot.given = True
            slot.flight = Delivery(self._deliveries, member, work, slot.handled, self._count(slot) + 1)
            if not known.flights:
                known.moved_at = now
            known.flights[slot.flight.number] = number
            known.sent += work.size
            found.append(slot.flight)
            if not self._has_room(known):
                free -= 1
                if not free:
                    break
        return found

    def saved(self) -> None:
        """All that `failures`, `dead` and `finished` told has been kept."""
        self._dead.clear()
        self._finished.clear()
        self.unsaved = False

    def forget(self, before: str) -> None:
        """Drop counts of changes up to a timestamp, given as its text: all of those are handled."""
        self._failures = {
            version: count for version, count in self._failures.items() if version.split("/", 1)[0] > before
        }

    # ---------------------------------------------------------------- within

    def _has_room(self, member: _Member) -> bool:
        return len(member.flights) < self._rules.in_flight and member.sent < member.credit

    def _count(self, slot: _Slot) -> int:
        return self._failures.get(str(slot.queue[0].version(slot.handled)), 0) if self._failures else 0

    def _advance(self, number: int, handled: int) -> None:
        """The oldest work of a slot is handled up to before `handled`."""
        slot = self._slots[number]
        work = slot.queue[0]
        if self._failures:
            for place in range(slot.handled, handled):
                self._failures.pop(str(work.version(place)), None)
        self._progress.handled(work, slot.handled, handled)
        slot.handled = handled
        if handled < work.end:
            return
        slot.queue.popleft()
        slot.given = False
        self.bytes -= work.size
        self.waiting -= 1
        self._finished.append(work)
        if slot.flight is not None:
            del self._members[slot.flight.member].flights[slot.flight.number]
            slot.flight = None
        if slot.queue:
            slot.handled = slot.queue[0].begin
            self._ready[number] = None
        else:
            self._ready.pop(number, None)
            del self._slots[number]

    def _take_back(self, member: _Member, delivery: int) -> None:
        number = member.flights.pop(delivery)
        self._slots[number].flight = None
        self._ready[number] = None

    def _fail(self, number: int, reason: str, *, dead: bool = False) -> None:
        """The first change of a slot that is not handled came back: count it, or give it up."""
        slot = self._slots[number]
        work = slot.queue[0]
        version = work.version(slot.handled)
        count = self._count(slot) + 1
        self.unsaved = True
        if dead or count >= self._rules.max_deliveries:
            self._dead.append(Dead(work, slot.handled, version, reason, count))
            self._advance(number, slot.handled + 1)
        else:
            self._failures[str(version)] = count

    def _remove(self, member: Member) -> None:
        known = self._members[member]
        for delivery in list(known.flights):
            self._take_back(known, delivery)
        del self._members[member]
        self._share()

    def _share(self) -> None:
        self._owners = share(self._rules.slots, list(self._members), self._owners)
