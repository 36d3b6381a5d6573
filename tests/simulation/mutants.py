"""Bugs that can be planted, one at a time: the simulation has to find each of them.

`python tests/simulation/mutants.py` plants all, `--json` prints them as one line of JSON, with the seed that
found each; exit 1 where one was not found. `--list` only names them.
"""

from __future__ import annotations

import argparse
import json
import random
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from simulation import core, relay, sender
from simulation.changes import Message
from simulation.clock import MS
from simulation.consumer import Life
from simulation.relay import Gates, Relay
from simulation.reread import Reread
from simulation.ring import Ring
from simulation.run import run
from spanwire.consumer.follower import Follower
from spanwire.consumer.ownership import Ownership
from spanwire.records import State
from spanwire.source.partitions import Lineage
from spanwire.store import MemoryStore

SEEDS = 400
"""So many are tried at the most."""


@dataclass(frozen=True)
class Mutant:
    """One bug."""

    name: str
    what: str
    plant: Callable[[Callable[[Any, str, Any], None]], None]
    """Given how to set an attribute until the bug is taken out again."""


def _no_fencing(put: Callable[[Any, str, Any], None]) -> None:
    honest = MemoryStore._expect

    def expect(self: MemoryStore, token: str, state: State, epoch: int | None = None) -> Any:
        known = self._partitions.get(token)
        return honest(self, token, state, epoch) if known is None else known.with_state(state)

    put(MemoryStore, "_expect", expect)


def _stored_before_handed_over(put: Callable[[Any, str, Any], None]) -> None:
    def position(self: Relay, reader: relay.Reader) -> Any:
        at = reader.partition.complete
        return None if at is None else relay.stamp(at)

    put(Relay, "_position", position)


def _dropped_batch(put: Callable[[Any, str, Any], None]) -> None:
    honest, rng = core.Flow.close, random.Random(0)

    def close(self: core.Flow, stage: int) -> Message | None:
        if rng.random() < 0.02:
            self.open, self.records = [], 0
        return honest(self, stage)

    put(core.Flow, "close", close)


def _swapped_order(put: Callable[[Any, str, Any], None]) -> None:
    honest = core.Flow.close

    def close(self: core.Flow, stage: int) -> Message | None:
        self.open.reverse()
        return honest(self, stage)

    put(core.Flow, "close", close)


def _child_before_parent(put: Callable[[Any, str, Any], None]) -> None:
    def ready(self: Lineage) -> list[str]:
        return [one.token for one in self.all() if one.state is State.CREATED]

    put(Lineage, "ready", ready)


def _children_stored_late(put: Callable[[Any, str, Any], None]) -> None:
    honest = Relay.keep_children

    def keep(self: Relay, reader: relay.Reader, children: Any) -> None:
        self.later(40 * MS, lambda: self.report(lambda: honest(self, reader, children)))

    put(Relay, "keep_children", keep)


def _window_forgotten(put: Callable[[Any, str, Any], None]) -> None:
    put(Follower, "fresh", lambda self, message: list(message.changes()))


def _watermark_early(put: Callable[[Any, str, Any], None]) -> None:
    honest = Ownership.complete.fget
    assert honest is not None

    def complete(self: Ownership) -> Any:
        at = honest(self)
        return None if at is None else relay.stamp(at.seconds + 40 * MS)

    put(Ownership, "complete", property(complete))


def _replay_one_late(put: Callable[[Any, str, Any], None]) -> None:
    honest = Reread.step

    def step(self: Reread) -> list[Message]:
        messages = honest(self)
        if messages and not getattr(self, "begun", False):
            self.begun = True  # type: ignore[attr-defined]
            return messages[1:]
        return messages

    put(Reread, "step", step)


def _ring_wrong_range(put: Callable[[Any, str, Any], None]) -> None:
    honest = Ring.find

    def find(self: Ring, flow: Any, first: int, last: int) -> Any:
        found = honest(self, flow, first + 1, last + 1) or honest(self, flow, first, last)
        if found is None:
            return None
        name = (found[0].incarnation, flow[2], flow[0], flow[1])
        return [Message(name, first + n, one.stage, one.changes(), one.output) for n, one in enumerate(found)]

    put(Ring, "find", find)


def _tick_position_early(put: Callable[[Any, str, Any], None]) -> None:
    honest = sender.make_told
    put(sender, "make_told", lambda id, progress, early: honest(id, progress, early + 40 * MS))


def _tick_ahead_of_data(put: Callable[[Any, str, Any], None]) -> None:
    honest = sender.Sender.put

    def ahead(self: sender.Sender, item: Any) -> None:
        if isinstance(item, sender.Mark) and item.what == "position" and self.queue:
            self.enqueued += 1
            self.done += 1
            self._reached(item)
        else:
            honest(self, item)

    put(sender.Sender, "put", ahead)


def _heads_forgotten(put: Callable[[Any, str, Any], None]) -> None:
    put(Follower, "_head", lambda self, process, head: None)


def _moves_not_waited_for(put: Callable[[Any, str, Any], None]) -> None:
    honest = Gates.open

    def gates(self: Gates, lineage: Lineage, reached: Any) -> list[str]:
        passed = honest(self, lineage, reached)
        waiting = list(self._waiting)
        self._waiting.clear()
        return passed + waiting

    put(Gates, "open", gates)


def _cursor_ahead_of_data(put: Callable[[Any, str, Any], None]) -> None:
    honest = Life.store

    def store(self: Life) -> None:
        before = list(self.owner.kept.changes)
        honest(self)
        self.owner.kept.changes = before

    put(Life, "store", store)


MUTANTS = [
    Mutant(*one)
    for one in (
        ("no-fencing", "the store takes writes under an old epoch", _no_fencing),
        (
            "stored-before-handed-over",
            "positions are stored before what they speak of is sent",
            _stored_before_handed_over,
        ),
        ("dropped-batch", "a message is dropped before it gets its number", _dropped_batch),
        ("swapped-order", "changes are written in the wrong order", _swapped_order),
        ("child-before-parent", "a child is read before its parents are finished", _child_before_parent),
        (
            "children-stored-late",
            "a parent is finished before its children are stored",
            _children_stored_late,
        ),
        ("window-forgotten", "the consumer drops no repetition", _window_forgotten),
        ("watermark-early", "the consumer's watermark runs ahead", _watermark_early),
        ("replay-one-late", "a replay leaves out its first message", _replay_one_late),
        ("ring-wrong-range", "the ring answers with the range behind the one asked for", _ring_wrong_range),
        ("tick-position-early", "ticks tell positions that are not reached yet", _tick_position_early),
        ("mark-overtakes-data", "a position overtakes the messages that it speaks of", _tick_ahead_of_data),
        ("heads-forgotten", "the consumer does not look at the heads in ticks", _heads_forgotten),
        ("moves-not-waited-for", "keys that moved are read on before their source is", _moves_not_waited_for),
        ("cursor-ahead-of-data", "the cursor is stored before the data", _cursor_ahead_of_data),
    )
]


@contextmanager
def planted(mutant: Mutant) -> Iterator[None]:
    """With the bug in place."""
    with ExitStack() as undo:

        def put(where: Any, name: str, value: Any) -> None:
            before = where.__dict__[name]
            undo.callback(setattr, where, name, before)
            setattr(where, name, value)

        mutant.plant(put)
        yield


def find(mutant: Mutant, seeds: int = SEEDS) -> tuple[int, str] | None:
    """The first seed that finds it, which is fine without it, and what it said."""
    for seed in range(seeds):
        with planted(mutant):
            _, found = run(seed)
        if found and not run(seed)[1]:
            return seed, found[0]
    return None


def main(arguments: list[str] | None = None) -> int:
    """The command."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--json", action="store_true", help="one line of JSON")
    parser.add_argument("--list", action="store_true", help="name them, run nothing")
    parser.add_argument("--seeds", type=int, default=SEEDS, help="to try at the most for each")
    options = parser.parse_args(arguments)
    results: list[dict[str, Any]] = []
    for mutant in MUTANTS:
        found = None if options.list else find(mutant, options.seeds)
        results.append(
            {
                "name": mutant.name,
                "what": mutant.what,
                "found": found is not None,
                "seed": None if found is None else found[0],
                "by": None if found is None else found[1][:200],
            }
        )
        if not options.json:
            by = (
                ""
                if options.list
                else " NOT FOUND"
                if found is None
                else f": seed {found[0]}: {found[1][:100]}"
            )
            print(f"{mutant.name}{by}", flush=True)
    missed = [one["name"] for one in results if not one["found"]]
    if options.json:
        print(json.dumps({"mutants": results, "missed": missed}))
    return 1 if missed and not options.list else 0


if __name__ == "__main__":
    sys.exit(main())
