"""Key ranges that move between partitions: the rules under every order of events a random walk finds.

The walk plays Spanner (a log for each partition of a mutable stream), the store, one relay with its
senders' queue, and kills of the relay. The rules under test decide what is read, and who waits.
"""

from __future__ import annotations

import random
from dataclasses import dataclass, field, replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from spanwire._core import Timestamp
from spanwire.records import PartitionRecord, State
from spanwire.source.moves import Event, Gates, MovingLineage, started

KEYS = 6


@dataclass
class Log:
    """What one partition returns, in order."""

    start: int
    records: list[tuple[int, str, object]] = field(default_factory=list)
    ended: bool = False


class Spanner:
    """Partitions, the keys they own, and one log each."""

    def __init__(self, rng: random.Random) -> None:
        self.rng, self.now, self.turned, self.version = rng, 10, 10, 0
        self.logs = {"a": Log(10), "b": Log(10)}
        self.owner = {key: rng.choice("ab") for key in range(KEYS)}
        self.committed: list[tuple[int, int]] = []

    def live(self) -> list[str]:
        """Partitions that have not ended."""
        return [token for token, log in self.logs.items() if not log.ended]

    def commit(self) -> None:
        """A change of one key, in the partition that owns it."""
        self._pass()
        key = self.rng.randrange(KEYS)
        self.version += 1
        self.committed.append((key, self.version))
        self._log(self.owner[key], "data", (key, self.version))

    def move(self) -> None:
        """Keys move from some partitions to another one, old or new, at one timestamp; some then end."""
        self._turn()
        target = self._target()
        sources = set()
        for key in self.rng.sample(range(KEYS), self.rng.randint(1, KEYS)):
            if self.owner[key] != target:
                sources.add(self.owner[key])
                self.owner[key] = target
        self._told(sources, target)
        for token in self.live():
            if token not in self.owner.values() and len(self.live()) > 1 and self.rng.random() < 0.6:
                self._log(token, "end", None)
                self.logs[token].ended = True

    def swap(self) -> None:
        """Some partitions pass their keys round at one timestamp; in one record each, or in two."""
        ring = self.rng.sample(self.live(), min(len(self.live()), self.rng.choice((2, 2, 3))))
        if len(ring) < 2:
            return
        self._turn()
        after = dict(zip(ring, ring[1:] + ring[:1], strict=True))
        self.owner = {key: after.get(owner, owner) for key, owner in self.owner.items()}
        for one, following in after.items():
            before = next(token for token, to in after.items() if to == one)
            records = [((before,), (following,))]
            if self.rng.random() < 0.5:
                records = self.rng.sample([((before,), ()), ((), (following,))], 2)
            for record in records:
                self._log(one, "event", record)

    def _pass(self) -> None:
        """Time passes, mostly: records of any kind may share a timestamp."""
        if self.rng.random() < 0.7:
            self.now += 1

    def _turn(self) -> None:
        """Time for key ranges to move: a key does so once a timestamp."""
        self._pass()
        self.now = self.turned = max(self.now, self.turned + 1)

    def _target(self) -> str:
        if len(self.live()) < 6 and self.rng.random() < 0.5:
            token = f"p{len(self.logs)}"
            self._log(self.rng.choice(self.live()), "start", (token,))
            self.logs[token] = Log(self.now)
            return token
        return self.rng.choice(self.live())

    def _told(self, sources: set[str], target: str) -> None:
        for source in sources:
            self._log(source, "event", ((), (target,)))
        if sources:
            self._log(target, "event", (tuple(sorted(sources)), ()))

    def _log(self, token: str, kind: str, what: object) -> None:
        assert not self.logs[token].ended
        self.logs[token].records.append((self.now, kind, what))


@dataclass
class Reader:
    """One partition that the relay reads."""

    start: int
    at: int = 0
    taken: int = 0
    standing: bool = False


class Relay:
    """Reads logs by the rules, sends through one queue, stores what was handed over."""

    def __init__(self, spanner: Spanner) -> None:
        self.spanner, self.rng = spanner, spanner.rng
        self.stored = {one.token: one for one in started(Timestamp(10), ["a", "b"])}
        self.received: list[tuple[int, int]] = []
        self.epoch = 0
        self.begin()

    def begin(self) -> None:
        """Start, or start again after a kill: queue and readers are gone."""
        self.lineage, self.gates = MovingLineage(self.stored.values()), Gates()
        self.queue: list[tuple[str, object]] = []
        self.readers: dict[str, Reader] = {}
        self.handed: dict[str, int] = {}
        for one in self.lineage.all():
            if one.state is State.RUNNING:
                self._own(one.token)
        self.schedule()

    def schedule(self) -> None:
        """Read what may be read."""
        for token in self.lineage.ready():
            self.lineage.schedule(token)
            self.stored[token] = self.lineage[token]
            self._own(token)

    def _own(self, token: str) -> None:
        self.epoch += 1
        owned = replace(self.stored[token], state=State.RUNNING, epoch=self.epoch)
        if self.lineage[token].state is State.CREATED:
            self.lineage.schedule(token)
        self.stored[token] = owned
        self.lineage.own(owned)
        self.readers[token] = Reader(owned.resume_at.seconds)

    def read(self) -> None:
        """One partition takes its next record, or hears that there is none yet."""
        token = self.rng.choice([*self.readers, None])
        if token is None or self.readers[token].standing:
            return
        reader, log = self.readers[token], self.spanner.logs[token]
        while reader.at < len(log.records) and log.records[reader.at][0] < reader.start:
            reader.at += 1
        if reader.at == len(log.records):
            if not log.ended:  # a heartbeat
                self.queue.append(("mark", (token, self.spanner.now - 1)))
            return
        time, kind, what = log.records[reader.at]
        self.queue.append(("mark", (token, time - 1)))
        reader.at += 1
        position = self.stored[token].position
        if kind == "data" and (position is None or time > position.seconds):
            self.queue.append(("change", what))
        elif kind == "start":
            self._start(token, time, what)
        elif kind == "event":
            sources, destinations = what  # type: ignore[misc]
            self.gates.arrive(Event(token, Timestamp(time), sources, destinations))
            reader.standing = True
        elif kind == "end":
            self.queue.append(("end", (token, time)))
            del self.readers[token]

    def _start(self, token: str, time: int, tokens: object) -> None:
        children = started(Timestamp(time), tokens, token)  # type: ignore[arg-type]
        for child in children:
            self.stored.setdefault(child.token, child)
        self.lineage.add(children)
        self.schedule()

    def send(self) -> None:
        """The sender hands some of its queue over."""
        for _ in range(self.rng.randint(0, len(self.queue))):
            kind, what = self.queue.pop(0)
            if kind == "change":
                self.received.append(what)  # type: ignore[arg-type]
                continue
            token, time = what  # type: ignore[misc]
            self.handed[token] = max(time, self.handed.get(token, 0))
            if kind == "end":
                self._finish(token, time)

    def _finish(self, token: str, time: int) -> None:
        self.lineage.advance(token, Timestamp(time))
        self.lineage.finish(token)
        self.stored[token] = self.lineage[token]
        self.gates.leave(token)

    def store(self) -> None:
        """Positions that were handed over are stored, and what is behind everything is forgotten."""
        for token in self.readers:
            self.lineage.advance(token, self._reached(self.lineage[token]))
            self.stored[token] = self.lineage[token]
        watermark = self.lineage.watermark()
        gone = self.lineage.forgettable()
        for token in gone:
            assert watermark is not None
            assert self.stored.pop(token).resume_at < watermark
        self.lineage.forget(gone)

    def open(self) -> None:
        """Those that stand may go on where the rules say so."""
        for token in self.gates.open(self.lineage, self._reached):
            self.readers[token].standing = False

    def _reached(self, one: PartitionRecord) -> Timestamp | None:
        handed = self.handed.get(one.token)
        return one.advanced(None if handed is None else Timestamp(handed)).position


WEIGHTS = {"commit": 30, "move": 4, "swap": 1, "read": 60, "send": 15, "store": 5, "open": 15, "kill": 1}


@settings(max_examples=150, deadline=None)
@given(seed=st.integers(0, 2**64 - 1))
def test_changes_stay_in_order_wherever_their_key_lives(seed: int) -> None:
    """Every change arrives, and for each key the first arrivals are in commit order, kills included."""
    spanner = Spanner(random.Random(seed))
    relay = Relay(spanner)
    steps = {**{name: getattr(relay, name, None) for name in WEIGHTS}, "kill": relay.begin}
    steps.update(commit=spanner.commit, move=spanner.move, swap=spanner.swap)
    for name in spanner.rng.choices(list(WEIGHTS), list(WEIGHTS.values()), k=300):
        step = steps[name]
        assert step is not None
        step()
    spanner.now += 5
    for _ in range(40 * (len(spanner.logs) + len(spanner.committed))):
        for step in (relay.read, relay.send, relay.store, relay.open):
            step()
    assert not len(relay.gates), "partitions wait for each other"
    first = list(dict.fromkeys(relay.received))
    assert set(first) == set(spanner.committed)
    for key in range(KEYS):
        versions = [version for one, version in first if one == key]
        assert versions == sorted(versions), f"key {key} out of order"
    assert set(relay.readers) == set(spanner.live()), "a partition was lost, or is read past its end"
    finished = [one.token for one in relay.lineage.all() if one.state is State.FINISHED]
    assert not set(finished) - {token for token, log in spanner.logs.items() if log.ended}


def lineage(*tokens: str) -> MovingLineage:
    """Running partitions that start at 10."""
    made = MovingLineage(started(Timestamp(10), tokens))
    for epoch, token in enumerate(made.ready(), 1):
        made.schedule(token)
        made.own(replace(made[token], state=State.RUNNING, epoch=epoch))
    return made


def positions(**reached: int) -> dict[str, Timestamp]:
    """Positions by partition."""
    return {token: Timestamp(at) for token, at in reached.items()}


def opened(gates: Gates, made: MovingLineage, **reached: int) -> list[str]:
    """Who may go on at these positions."""
    known = positions(**reached)
    return gates.open(made, lambda one: known.get(one.token))


def test_a_partition_that_keys_moved_into_waits_for_all_their_sources() -> None:
    """Until each has handed over everything up to the move's timestamp, that included."""
    made, gates = lineage("a", "b", "c"), Gates()
    gates.arrive(Event("c", Timestamp(20), ("a", "b")))
    assert gates.waits_for("c") == ("a", "b")
    assert opened(gates, made, a=25, b=19) == []
    assert opened(gates, made, a=20, b=20) == ["c"]
    assert not len(gates)


def test_a_source_that_stands_at_the_same_move_has_passed_it() -> None:
    """Two that swap keys at one timestamp would wait for each other for ever."""
    made, gates = lineage("a", "b"), Gates()
    gates.arrive(Event("a", Timestamp(20), ("b",), ("b",)))
    assert opened(gates, made) == []
    gates.arrive(Event("b", Timestamp(20), ("a",), ("a",)))
    assert sorted(opened(gates, made)) == ["a", "b"]


def test_a_source_that_has_yet_to_be_named_is_waited_for() -> None:
    """While any partition may still name it: one that reads before the move's timestamp."""
    made, gates = lineage("a", "b"), Gates()
    gates.arrive(Event("b", Timestamp(20), ("new",)))
    assert opened(gates, made, a=15) == []
    made.add(started(Timestamp(16), ["new"], "a"))
    assert opened(gates, made, a=25) == []
    assert opened(gates, made, a=25, new=20) == ["b"]


def test_a_source_that_nobody_can_name_any_more_is_over() -> None:
    """It ended before this relay began, or so long ago that it is forgotten."""
    made, gates = lineage("a", "b"), Gates()
    gates.arrive(Event("b", Timestamp(20), ("gone",)))
    assert opened(gates, made, a=20) == ["b"]


def test_a_finished_partition_is_kept_until_all_are_past_its_end() -> None:
    """A move out of it may still be read, also after a restart at the very timestamp it ended at."""
    made = lineage("a", "b")
    made.advance("a", Timestamp(20))
    made.finish("a")
    made.advance("b", Timestamp(20))
    assert made.forgettable() == []
    made.advance("b", Timestamp(21))
    assert made.forgettable() == ["a"]


def test_partitions_do_not_wait_for_those_that_named_them() -> None:
    """Only the immutable mode has generations; and only there a partition finishes in children alone."""
    made = lineage("a")
    made.add(started(Timestamp(12), ["b", "b", "c"], "a"))
    assert made.ready() == ["b", "c"]
    with pytest.raises(ValueError, match="while created"):
        made.finish("b")
