"""Bugs of a relay."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

from chaos.planted import Mutant, named, wrong

from spanwire._core import Timestamp
from spanwire.relay import answering, keeper
from spanwire.source.moves import Gates
from spanwire.store import SqliteStore


class _Pushing:
    """A partition of the core's with a `push` of its own."""

    def __init__(self, partition: Any, push: Callable[..., Any]) -> None:
        self._partition = partition
        self.push = push

    def __getattr__(self, name: str) -> Any:
        return getattr(self._partition, name)


def _responses_dropped() -> None:
    """A reader now and then drops a response."""
    count = itertools.count(1)

    def make(job: Callable[..., Any]) -> Callable[..., Any]:
        def made(connection: Any, owned: Any, partition: Any, *rest: Any) -> Any:
            def push(messages: Sequence[bytes]) -> Any:
                return partition.push(messages[:-1] if next(count) % 25 == 0 else messages)

            return job(connection, owned, _Pushing(partition, push), *rest)

        return made

    wrong(keeper, "Job", make)


def _children_lost() -> None:
    """Of the partitions that one ends in, or starts, the last is forgotten."""
    for name in ("_take", "_stand"):
        wrong(
            keeper.Keeper,
            name,
            lambda take: lambda self, report: take(self, replace(report, children=report.children[:-1])),
        )


def _epoch_not_raised() -> None:
    """A partition is owned again under the epoch that it had."""

    def make(acquire: Callable[..., Any]) -> Callable[..., Any]:
        def made(self: SqliteStore, token: str, state: Any, epoch: int) -> Any:
            owned = acquire(self, token, state, epoch)
            if not epoch:
                return owned
            with self._transaction() as database:
                database.execute("UPDATE partition SET epoch = ? WHERE token = ?", (epoch, token))
            return replace(owned, epoch=epoch)

        return made

    wrong(SqliteStore, "acquire", make)


def _moves_not_waited_for() -> None:
    """A partition that keys moved into goes on at once."""
    wrong(Gates, "_passed", lambda _: lambda *_: True)


def _replay_cut_short() -> None:
    """A replay ends a second early, and says that it is whole."""

    def make(wanted_of: Callable[..., Any]) -> Callable[..., Any]:
        def made(live: Any, request: dict[str, Any]) -> Any:
            wanted = wanted_of(live, request)
            asked = wanted.range
            earlier = Timestamp(asked.until.seconds - 1, asked.until.nanos)
            return replace(wanted, range=replace(asked, until=max(asked.after, earlier)))

        return made

    wrong(answering, "wanted_of", make)


MUTANTS = named(
    Mutant(_responses_dropped),
    Mutant(_children_lost),
    Mutant(_epoch_not_raised),
    Mutant(_moves_not_waited_for, (2, 3, 6, 7, 10)),  # of mutable key ranges
    Mutant(_replay_cut_short),
)
