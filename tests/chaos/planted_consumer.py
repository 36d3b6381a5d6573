"""Bugs of a consumer."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from chaos.planted import Mutant, named, wrong

from spanwire.consumer.follower import Follower
from spanwire.consumer.line import Line
from spanwire.consumer.owners import Owners


def _nothing_dropped() -> None:
    """What was handed over before is handed over again."""

    def make(fresh: Callable[..., Any]) -> Callable[..., Any]:
        def made(self: Follower, message: Any) -> Any:
            fresh(self, message)
            return message.changes()

        return made

    wrong(Follower, "fresh", make)


def _watermark_of_the_furthest() -> None:
    """The watermark is that of the partition that is the furthest."""

    def made(self: Owners) -> Any:
        known = [one for one in self.current.values() if one.complete is not None]
        return max(known, key=lambda one: one.complete, default=None)

    wrong(Owners, "least", lambda _: made)


def _holes_ignored() -> None:
    """A message that did not come is not asked for."""
    wrong(Follower, "_hole", lambda _: lambda *_args, **_named: None)


def _holes_overtaken() -> None:
    """What comes behind a hole does not wait for what fills it."""

    def make(fill: Callable[..., bool]) -> Callable[..., bool]:
        def made(self: Line, hole: Any) -> bool:
            if filled := fill(self, hole):
                return filled
            self._queue.rotate(-1)
            return False

        return made

    wrong(Line, "_fill", make)


def _cursor_ahead() -> None:
    """The cursor is that of what has come, not of what was handed over."""
    wrong(
        Follower,
        "reached",
        lambda reached: lambda self: replace(reached(self), watermark=self._line.assured),
    )


def _cursor_without_frontiers() -> None:
    """The cursor keeps the watermark only, not what was handed over above it."""
    wrong(Follower, "reached", lambda reached: lambda self: replace(reached(self), frontiers={}))


def _messages_swapped() -> None:
    """Now and then two messages are handed over in the wrong order."""
    count, held = itertools.count(1), list[Any]()

    def make(following: Callable[..., Any]) -> Callable[..., Any]:
        def made(self: Follower) -> Any:
            if held:
                return held.pop()
            first = following(self)
            if first is None or next(count) % 10:
                return first
            second = following(self)
            if second is not None:
                held.append(first)
            return second or first

        return made

    wrong(Follower, "next", make)


MUTANTS = named(
    Mutant(_nothing_dropped),
    Mutant(_watermark_of_the_furthest),
    Mutant(_holes_ignored),
    Mutant(_holes_overtaken),
    Mutant(_cursor_ahead, tuple(range(1, 13))),  # a consumer must be killed between coming and handing over
    Mutant(_cursor_without_frontiers),
    Mutant(_messages_swapped),
)
