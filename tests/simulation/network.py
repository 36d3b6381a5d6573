"""The way between a relay and a consumer: in order, late, cut off; a subscription also loses and repeats."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from simulation.clock import MS, Clock, between


@dataclass
class Weather:
    """How bad it is at the moment; the same for all."""

    loss: float = 0.0
    bursts: float = 0.0
    """How often a loss begins that lasts for a while."""
    repeats: float = 0.0
    late: float = 0.0

    def clear(self) -> None:
        """Faults heal."""
        self.loss = self.bursts = self.repeats = self.late = 0.0


class Pipe:
    """What is sent arrives in order and after a while, until it is cut; then what is under way is lost."""

    def __init__(
        self, clock: Clock, rng: random.Random, weather: Weather, deliver: Callable[[Any], None]
    ) -> None:
        self.clock, self.rng, self.weather, self.deliver = clock, rng, weather, deliver
        self.up = True
        self.under_way = 0
        self._life = 0
        self._last = 0

    def send(self, item: Any) -> None:
        """Send one item; nothing happens where it is cut."""
        if not self.up:
            return
        late = self.rng.random() < self.weather.late
        due = self.clock.now + (between(self.rng, MS, 400 * MS) if late else between(self.rng, 20, 400))
        self._last = due = max(due, self._last)
        life = self._life
        self.under_way += 1
        self.clock.after(due - self.clock.now, lambda: self._arrive(life, item))

    def cut(self, *, at_once: bool = True) -> None:
        """Nothing more goes in; `at_once`: and what is under way is lost."""
        self.up = False
        if at_once:
            self._life += 1
            self.under_way = 0

    def join(self) -> None:
        """Connected anew."""
        self._life += 1
        self.under_way = 0
        self.up = True

    def _arrive(self, life: int, item: Any) -> None:
        if life == self._life:
            self.under_way -= 1
            self.deliver(item)


class Subscription(Pipe):
    """Of a PUB socket: it loses what no room is for, and what the weather says, without a word."""

    def __init__(
        self,
        clock: Clock,
        rng: random.Random,
        weather: Weather,
        deliver: Callable[[Any], None],
        *,
        room: Callable[[], int],
    ) -> None:
        super().__init__(clock, rng, weather, deliver)
        self.room = room
        """Items that the consumer's side can still take."""
        self._losing = 0

    def send(self, item: Any) -> None:
        """Send one item, perhaps."""
        rng, weather = self.rng, self.weather
        if weather.bursts and not self._losing and rng.random() < weather.bursts:
            self._losing = between(rng, 2, 40)
        if self._losing:
            self._losing -= 1
            return
        if self.under_way >= self.room() or (weather.loss and rng.random() < weather.loss):
            return
        super().send(item)
        if weather.repeats and rng.random() < weather.repeats:
            super().send(item)


class Channel:
    """A DEALER and a ROUTER: requests one way, replies the other, both gone when it is cut."""

    def __init__(
        self,
        clock: Clock,
        rng: random.Random,
        weather: Weather,
        *,
        ask: Callable[[Any], None],
        answer: Callable[[Any], None],
    ) -> None:
        self.requests = Pipe(clock, rng, weather, ask)
        self.replies = Pipe(clock, rng, weather, answer)

    @property
    def up(self) -> bool:
        """Whether it is connected."""
        return self.requests.up

    def cut(self) -> None:
        """The connection breaks."""
        self.requests.cut()
        self.replies.cut()

    def join(self) -> None:
        """Connected anew."""
        self.requests.join()
        self.replies.join()
