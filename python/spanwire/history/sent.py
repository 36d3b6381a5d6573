"""The comparison of what was committed with what a relay sent through one endpoint.

What a process that was killed had accepted and not yet sent is in no such history, so nothing is
missing here: that every change arrives is judged at the consumers.
"""

from __future__ import annotations

import os
from dataclasses import asdict, dataclass, field
from typing import Any

from spanwire.errors import SpanwireError
from spanwire.history.delivered import truth
from spanwire.history.lines import Change, Flow, Positions, order_of, read, timestamp_of

_EXAMPLES = 5
SENT_FAULTS = ("phantom", "duplicated", "out_of_order", "position_regressions", "clashes")


@dataclass
class Sent:
    """What is wrong with what the processes of one relay sent, one after the other."""

    incarnations: int = 0
    sent: int = 0
    """Changes, each time that they were sent."""
    phantom: int = 0
    """Never committed, or with other content."""
    duplicated: int = 0
    """Sent once more by the same process: it knows exactly what it has sent."""
    out_of_order: int = 0
    """Sent by the same process after a later change of the same row."""
    position_regressions: int = 0
    """A position that went back within an epoch, or a change that came behind a position past it."""
    clashes: int = 0
    """A partition under one epoch by two processes."""
    examples: dict[str, list[str]] = field(default_factory=dict)

    @property
    def clean(self) -> bool:
        """Whether nothing is wrong."""
        return not any(getattr(self, fault) for fault in SENT_FAULTS)

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        return asdict(self)


def compare_sent(committed: str | os.PathLike[str], sent: str | os.PathLike[str]) -> Sent:
    """Hold what a relay sent against what was committed. SpanwireError where a file cannot be read."""
    judge = _Judge(truth(committed))
    flow: Flow | None = None
    for line in read(sent):
        match line:
            case Flow():
                flow = line
                judge.meet(flow.incarnation, flow.partition, flow.epoch)
            case Positions():
                judge.tick(line)
            case Change():
                if flow is None:
                    raise SpanwireError(f"{sent}: its first change is in no message")
                judge.change(line, flow)
    return judge.result


class _Judge:
    def __init__(self, truth: dict[str, Change]) -> None:
        self._truth = truth
        self._seen: set[tuple[int, int, str]] = set()
        self._newest: dict[tuple[int, int, str], tuple[str, str, int]] = {}
        self._positions: dict[tuple[str, int], str] = {}
        self._owners: dict[tuple[str, int], int] = {}
        self._incarnations: set[int] = set()
        self.result = Sent()

    def meet(self, incarnation: int, partition: str, epoch: int) -> None:
        self._incarnations.add(incarnation)
        self.result.incarnations = len(self._incarnations)
        if self._owners.setdefault((partition, epoch), incarnation) != incarnation:
            self._count("clashes", f"{partition} epoch {epoch}")

    def tick(self, tick: Positions) -> None:
        for partition, epoch, position in tick.positions:
            self.meet(tick.incarnation, partition, epoch)
            before = self._positions.get((partition, epoch), "")
            if position < before:
                self._count("position_regressions", f"{partition} epoch {epoch}: {position} behind {before}")
            self._positions[partition, epoch] = max(position, before)

    def change(self, change: Change, flow: Flow) -> None:
        self.result.sent += 1
        version = change.version
        named = (flow.incarnation, flow.output, version)
        if named in self._seen:
            self._count("duplicated", version)
            return
        self._seen.add(named)
        committed = self._truth.get(version)
        if committed is None or committed.digest != change.digest:
            self._count("phantom", version)
        if timestamp_of(version) <= self._positions.get((flow.partition, flow.epoch), ""):
            self._count("position_regressions", version)
        row = (flow.incarnation, flow.output, change.row)
        if order_of(version) < self._newest.get(row, ("", "", 0)):
            self._count("out_of_order", version)
        else:
            self._newest[row] = order_of(version)

    def _count(self, fault: str, what: str) -> None:
        setattr(self.result, fault, getattr(self.result, fault) + 1)
        named = self.result.examples.setdefault(fault, [])
        if len(named) < _EXAMPLES:
            named.append(what)
