"""Relays, network, store, Spanner and consumers of one run, and what goes wrong with them."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

from simulation.changes import Message
from simulation.clock import MS, SECOND, Clock, between
from simulation.consumer import Consumer
from simulation.network import Channel, Subscription, Weather
from simulation.relay import Leases, Relay
from simulation.scenario import Scenario
from simulation.service import Request, Service
from simulation.spanner import Spanner
from spanwire.consumer import facts
from spanwire.consumer.asks import AskRepair
from spanwire.records import StreamIdentity
from spanwire.store import MemoryStore

HEALED_WITHIN = 25 * SECOND
"""Of virtual time: so long after the last fault everything has arrived."""


@dataclass(eq=False)
class Host:
    """Where a relay runs: the sockets stay, the processes come and go."""

    number: int
    relay: Relay | None = None
    service: Service | None = None
    links: dict[str, Link] = field(default_factory=dict)
    """By consumer."""
    lives: int = 0


@dataclass(eq=False)
class Link:
    """All connections of one consumer to one host."""

    consumer: Consumer
    subscriptions: list[Subscription]
    channel: Channel
    up: bool = False


class World:
    """One run of one scenario. `make`: the consumer state machine on trial."""

    def __init__(self, scenario: Scenario, make: Callable[..., Any], *, perfect: bool = False) -> None:
        self.scenario, self.make, self.perfect = scenario, make, perfect
        self.clock = clock = Clock()
        self.rng = rng = random.Random(f"world {scenario.seed}")
        self.weather = Weather()
        self.spanner = Spanner(
            clock,
            random.Random(f"spanner {scenario.seed}"),
            mutable=scenario.mutable,
            partitions=scenario.partitions,
        )
        # Two relays that each stand at one of its records know nothing of each other: not done yet.
        self.spanner.swaps = not scenario.shares
        self.store = MemoryStore(StreamIdentity("p", "i", "db", "s"))
        self.store._epoch = 0  # the real one counts from the time of day: a run must be the same again
        self.leases = Leases()
        self.relays: list[Relay] = []
        self.log: list[str] | None = None
        self.hosts = [Host(number) for number in range(scenario.hosts)]
        self.consumers: list[Consumer] = []
        self._members: tuple[int, ...] = ()
        self._generation = 0
        for number, (_, habits) in enumerate(scenario.consumers):
            consumer = Consumer(clock, rng.randrange(1 << 30), f"c{number}", habits, make, self.spanner)
            consumer.find_host = lambda ask, consumer=consumer: self._host_for(consumer, ask)
            consumer.send = lambda host, request, consumer=consumer: self._send(consumer, host, request)
            consumer.hosts = lambda consumer=consumer: self._hosts_of(consumer)
            self.consumers.append(consumer)
            for host in self.hosts:
                host.links[consumer.name] = self._link(consumer, host)

    def note(self, what: str) -> None:
        """Into the trace."""
        if self.log is not None:
            self.log.append(f"{self.clock.now / SECOND:10.6f} {what}")

    # ------------------------------------------------------------------ a run

    def run(self) -> bool:
        """Run it; whether everything arrived in time."""
        scenario, clock = self.scenario, self.clock
        clock.after(MS, lambda: self._start_relay(self.hosts[0]))
        if scenario.shares:
            clock.after(between(self.rng, MS, SECOND), lambda: self._start_relay(self.hosts[1]))
        for consumer, (begins, _) in zip(self.consumers, scenario.consumers, strict=True):
            clock.after(begins, lambda consumer=consumer: self._begin(consumer))
        if not self.perfect:
            for at, kind in scenario.faults:
                clock.after(at, lambda kind=kind: self._strike(kind))
        self._work(scenario.lasts)
        clock.after(200 * MS, self._set_retention)
        clock.run(scenario.lasts)
        self._heal()
        self._work(clock.now + self.rng.choice((0, 500 * MS)))
        deadline = clock.now + HEALED_WITHIN
        while clock.now < deadline:
            clock.run(clock.now + 100 * MS)
            if self._is_complete():
                return True
        return False

    def _work(self, until: int) -> None:
        scenario, clock, spanner = self.scenario, self.clock, self.spanner

        def again(every: int, act: Callable[[], None]) -> None:
            def step() -> None:
                if clock.now < until:
                    act()
                    clock.after(between(self.rng, 1, 2 * every), step)

            clock.after(between(self.rng, 1, 2 * every), step)

        again(scenario.commits_every, spanner.commit)
        again(scenario.churn_every, spanner.churn)

    def _set_retention(self) -> None:
        if self.scenario.retention is not None:
            self.spanner.retention = 2 * self.scenario.retention

    def _is_complete(self) -> bool:
        last = self.spanner.committed[-1].at if self.spanner.committed else 0
        return all(
            consumer.life is not None
            and not consumer.life.inbox
            and consumer.watermark is not None
            and consumer.watermark.seconds >= last
            for consumer in self.consumers
        )

    # ------------------------------------------------------------------ relays

    def _start_relay(self, host: Host) -> None:
        if host.relay is not None and host.relay.alive:
            return
        scenario = self.scenario
        host.lives += 1
        relay = Relay(
            self.clock,
            self.spanner,
            self.store,
            self.leases,
            seed=self.rng.randrange(1 << 30),
            incarnation=1 + len(self.relays),
            rules=scenario.rules,
            habits=scenario.habits,
            shares=scenario.shares,
        )
        self.note(f"relay {relay.core.incarnation} starts on host {host.number}")
        self.relays.append(relay)
        host.relay, host.service = relay, Service(relay)
        relay.core.members = lambda: self._membership(relay)
        relay.on_stop = lambda: self._gone(host, relay)
        relay.core.lane("pub", scenario.senders)
        if any(habits.kind == "feed" for _, habits in scenario.consumers):
            relay.core.lane("feed", 1)
        for sender in relay.core.lanes[0].senders:
            sender.publish = lambda item, sender=sender: self._publish(host, sender.number, item)
        for name in host.links:
            if self.perfect:
                self._connect(host, name)
            else:
                self._connect_soon(host, name)
        relay.begin(self.spanner.instant)

    def _membership(self, relay: Relay) -> tuple[int, tuple[facts.Relay, ...]]:
        if not self.scenario.shares:
            return 0, (facts.Relay(relay.core.incarnation),)
        now = self.clock.now
        members = {one.core.incarnation for one in self.relays if one.alive}
        members |= {holder for holder, until in self.leases.held.values() if until >= now}
        current = tuple(sorted(members))
        if current != self._members:
            self._members = current
            self._generation += 1
        return self._generation, tuple(facts.Relay(one) for one in current)

    def _publish(self, host: Host, sender: int, item: Any) -> None:
        for link in host.links.values():
            if link.up and link.subscriptions:
                if isinstance(item, Message) and not item.topic.startswith(link.consumer.habits.topics):
                    continue
                link.subscriptions[sender].send(item)

    def _gone(self, host: Host, relay: Relay) -> None:
        """A relay process is no more."""
        self.note(f"relay {relay.core.incarnation} is gone")
        if host.relay is relay:
            host.relay = host.service = None
            for name in host.links:
                self._cut(host, name, soft=self.rng.random() < 0.5)

    # ------------------------------------------------------------------ connections

    def _link(self, consumer: Consumer, host: Host) -> Link:
        clock, rng, weather = self.clock, self.rng, self.weather
        subscriptions = []
        if consumer.habits.kind == "pub":
            for _ in range(self.scenario.senders):
                one = Subscription(clock, rng, weather, consumer.deliver, room=consumer.room)
                one.up = False
                subscriptions.append(one)
        channel = Channel(
            clock, rng, weather, ask=lambda item: self._asked(host, consumer, item), answer=consumer.deliver
        )
        channel.cut()
        return Link(consumer, subscriptions, channel)

    def _connect_soon(self, host: Host, name: str) -> None:
        self.clock.after(between(self.rng, MS, 300 * MS), lambda: self._connect(host, name))

    def _connect(self, host: Host, name: str) -> None:
        link = host.links[name]
        if link.up or host.relay is None or not host.relay.alive or link.consumer.life is None:
            return
        link.up = True
        for one in (*link.subscriptions, link.channel):
            one.join()

    def _cut(self, host: Host, name: str, *, soft: bool = False) -> None:
        link = host.links[name]
        if not link.up:
            return
        link.up = False
        for one in link.subscriptions:
            one.cut(at_once=not soft)
        link.channel.cut()
        if host.service is not None:
            host.service.drop(link.channel)
        link.consumer.lose(host.number)

    def _asked(self, host: Host, consumer: Consumer, request: Request) -> None:
        if host.service is not None:
            host.service.take(host.links[consumer.name].channel, request)

    def _send(self, consumer: Consumer, number: int, request: Request) -> bool:
        link = self.hosts[number].links[consumer.name]
        if link.up:
            link.channel.requests.send(request)
        return link.up

    def _hosts_of(self, consumer: Consumer) -> Iterable[int]:
        return [host.number for host in self.hosts if host.links[consumer.name].up]

    def _host_for(self, consumer: Consumer, ask: Any) -> int | None:
        up = [host for host in self.hosts if host.links[consumer.name].up]
        if isinstance(ask, AskRepair):
            for host in up:
                if host.relay is not None and host.relay.core.incarnation == ask.incarnation:
                    return host.number
        return self.rng.choice(up).number if up else None

    # ------------------------------------------------------------------ consumers

    def _begin(self, consumer: Consumer) -> None:
        if consumer.life is None:
            self.note(f"consumer {consumer.name} begins")
            consumer.begin()
            for host in self.hosts:
                self._connect_soon(host, consumer.name)

    def _kill_consumer(self, consumer: Consumer) -> None:
        if consumer.life is not None:
            self.note(f"consumer {consumer.name} is killed")
            for host in self.hosts:
                self._cut(host, consumer.name)
            consumer.kill()
            self.clock.after(between(self.rng, MS, SECOND), lambda: self._begin(consumer))

    # ------------------------------------------------------------------ faults

    def _strike(self, kind: str) -> None:
        self.note(f"fault: {kind}")
        rng, clock = self.rng, self.clock
        consumer, host = rng.choice(self.consumers), rng.choice(self.hosts)
        soon = rng.choice((5 * MS, 200 * MS, 2 * SECOND))
        relay = host.relay
        if kind == "kill consumer":
            self._kill_consumer(consumer)
        elif kind == "slow consumer":
            before, consumer.habits.pace = consumer.habits.pace, between(rng, 50 * MS, 500 * MS)
            clock.after(SECOND, lambda: setattr(consumer.habits, "pace", before))
        elif kind == "cut":
            self._cut(host, consumer.name)
            clock.after(between(rng, MS, soon), lambda: self._connect(host, consumer.name))
        elif kind == "weather":
            weather = self.weather
            weather.loss = rng.choice((0.0, 0.02, 0.2, 0.6))
            weather.bursts = rng.choice((0.0, 0.01, 0.05))
            weather.repeats = rng.choice((0.0, 0.1))
            weather.late = rng.choice((0.0, 0.05))
            clock.after(between(rng, MS, 2 * SECOND), weather.clear)
        elif relay is None or not relay.alive:
            self._start_relay(host)
        elif kind == "kill":
            relay.kill()
            self._gone(host, relay)
            self._start_somewhere(host, between(rng, MS, soon))
        elif kind == "stop":
            relay.stop()
            # It stops in a while; a service manager starts the next one then.
            relay.on_stop = lambda: (self._gone(host, relay), self._start_somewhere(host, MS))  # type: ignore[assignment, return-value]
        elif kind == "pause":
            self._pause(host, relay, between(rng, MS, 3 * SECOND))
        elif kind == "take over":
            self._pause(host, relay, between(rng, 500 * MS, 2 * SECOND))
            if not self.scenario.shares and len(self.hosts) > 1:
                other = self.hosts[1 - host.number]
                clock.after(between(rng, MS, 400 * MS), lambda: self._start_relay(other))
        elif kind == "hand over" and self.scenario.shares and relay.readers:
            relay.give_up(rng.choice(sorted(relay.readers)))

    def _start_somewhere(self, host: Host, delay: int) -> None:
        """A new process, on the same host or on the other one."""
        if not self.scenario.shares and len(self.hosts) > 1 and self.rng.random() < 0.4:
            host = self.hosts[1 - host.number]
        self.clock.after(delay, lambda: self._start_relay(host))

    def _pause(self, host: Host, relay: Relay, lasts: int) -> None:
        relay.pause()

        def go_on() -> None:
            self.note(f"relay {relay.core.incarnation} goes on")
            if relay.alive:
                relay.go_on()

        self.clock.after(lasts, go_on)

    def _heal(self) -> None:
        self.note("faults heal")
        self.weather.clear()
        self.clock.after(3 * SECOND, self._heal_for_good)

    def _heal_for_good(self) -> None:
        """What was planned before has happened by now; whoever is down comes back."""
        self.weather.clear()
        for consumer in self.consumers:
            consumer.habits.pace = min(consumer.habits.pace, 20 * MS)
            self._begin(consumer)
        wanted = self.hosts if self.scenario.shares else self.hosts[:1]
        if self.scenario.shares or not any(
            host.relay is not None and host.relay.alive for host in self.hosts
        ):
            for host in wanted:
                self._start_relay(host)
        for host in self.hosts:
            for name in host.links:
                self._connect(host, name)
        self.clock.after(SECOND, self._heal_for_good)
