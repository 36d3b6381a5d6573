"""The comparison of what was committed with what a consumer was given."""

from __future__ import annotations

import os
from dataclasses import asdict, dataclass, field
from typing import Any

from spanwire.history.lines import (
    Announced,
    Change,
    Consumer,
    Transaction,
    Watermark,
    order_of,
    read,
    timestamp_of,
    transaction_of,
)

_EXAMPLES = 5
"""So many versions of each fault are named; the rest are counted."""

FAULTS = ("missing", "phantom", "duplicated", "out_of_order", "torn_transactions", "watermark_regressions")
"""What must not be; a gap that was announced may."""


@dataclass
class Comparison:
    """What became of the committed changes at one consumer."""

    committed: int = 0
    """Of what the consumer asked for."""
    delivered: int = 0
    missing: int = 0
    """Committed, never delivered, and in no gap that was announced."""
    phantom: int = 0
    """Delivered, but never committed, or with other content, or not asked for."""
    duplicated: int = 0
    """Delivered once more."""
    out_of_order: int = 0
    """Delivered after a later change of the same row."""
    torn_transactions: int = 0
    """With order = "transaction": not delivered whole, at one go, and after all earlier ones."""
    watermark_regressions: int = 0
    """A watermark that went back, or a change that came first behind a watermark past it."""
    announced_gaps: int = 0
    examples: dict[str, list[str]] = field(default_factory=dict)
    """Versions of the first of each fault."""

    @property
    def clean(self) -> bool:
        """Whether nothing is wrong."""
        return not any(getattr(self, fault) for fault in FAULTS)

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        return asdict(self)


def compare(committed: str | os.PathLike[str], delivered: str | os.PathLike[str]) -> Comparison:
    """Hold what a consumer was given against what was committed.

    Memory: about 600 bytes a committed change. SpanwireError where a file cannot be read.
    """
    judge = _Judge(truth(committed))
    for line in read(delivered):
        match line:
            case Consumer():
                judge.consumer(line)
            case Watermark():
                judge.watermark(line)
            case Announced():
                judge.gaps.append(line)
            case Change():
                judge.change(line)
    return judge.verdict()


def truth(committed: str | os.PathLike[str]) -> dict[str, Change]:
    """What was committed, by version."""
    return {line.version: line for line in read(committed) if isinstance(line, Change)}


class _Judge:
    """Goes through one delivered history."""

    def __init__(self, truth: dict[str, Change]) -> None:
        self._truth = truth
        self._asked = Consumer()
        self._result = Comparison()
        self._watermark = ""
        self._seen: set[str] = set()
        self._newest: dict[str, tuple[str, str, int]] = {}
        self._transactions: set[Transaction] = set()
        self._last: Transaction = ("", "")
        """The one that the last change was of."""
        self._reached = ""
        """The latest commit timestamp that came, with order = "transaction"."""
        self._torn: set[Transaction] = set()
        self.gaps: list[Announced] = []

    def consumer(self, asked: Consumer) -> None:
        """What it is owed."""
        self._asked = asked
        self._watermark = asked.after or ""

    def watermark(self, line: Watermark) -> None:
        """It never goes back."""
        if line.at < self._watermark:
            self._count("watermark_regressions", line.at)
        self._watermark = max(self._watermark, line.at)

    def change(self, change: Change) -> None:
        """One that was delivered."""
        version = change.version
        self._result.delivered += 1
        if version in self._seen:
            self._count("duplicated", version)
            return
        self._seen.add(version)
        committed = self._truth.get(version)
        if committed is None or committed.digest != change.digest or not self._is_owed(change):
            self._count("phantom", version)
        if timestamp_of(version) <= self._watermark and not self._is_excused(change):
            self._count("watermark_regressions", version)
        order = order_of(version)
        if change.row in self._newest and order < self._newest[change.row]:
            self._count("out_of_order", version)
        else:
            self._newest[change.row] = order
        if self._asked.order == "transaction":
            self._transaction(transaction_of(version))

    def verdict(self) -> Comparison:
        """With all lines read."""
        result = self._result
        owed = [one for one in self._truth.values() if self._asked.is_owed(one.version, one.table)]
        result.committed = len(owed)
        result.announced_gaps = len(self.gaps)
        for change in owed:
            if change.version in self._seen or self._is_excused(change):
                continue
            self._count("missing", change.version)
            if (transaction := transaction_of(change.version)) in self._transactions:
                self._torn.add(transaction)
        for transaction in sorted(self._torn):
            self._count("torn_transactions", "/".join(transaction))
        return result

    def _transaction(self, transaction: Transaction) -> None:
        if transaction == self._last:
            return
        if transaction in self._transactions or transaction[0] < self._reached:
            self._torn.add(transaction)
        self._last = transaction
        self._reached = max(self._reached, transaction[0])
        self._transactions.add(transaction)

    def _is_owed(self, change: Change) -> bool:
        # What is too old for it is found at its watermark, which began there.
        return self._asked.tables is None or change.table in self._asked.tables

    def _is_excused(self, change: Change) -> bool:
        return any(gap.covers(change.version, change.table) for gap in self.gaps)

    def _count(self, fault: str, version: str) -> None:
        setattr(self._result, fault, getattr(self._result, fault) + 1)
        named = self._result.examples.setdefault(fault, [])
        if len(named) < _EXAMPLES:
            named.append(version)
