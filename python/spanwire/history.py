"""Histories on disk, and the comparison of what was committed with what was delivered.

A history is a file of canonical JSON lines, one a change (`Change.canonical`); docs/history.md
describes it for other programs.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from spanwire.errors import SpanwireError

_EXAMPLES = 5
"""So many versions of each fault are named; the rest are counted."""


@dataclass
class Comparison:
    """What became of the committed changes at one consumer."""

    committed: int = 0
    delivered: int = 0
    missing: int = 0
    """Committed, never delivered."""
    phantom: int = 0
    """Delivered, but never committed, or with other content."""
    duplicated: int = 0
    """Delivered once more."""
    out_of_order: int = 0
    """Delivered after a later change of the same row."""
    examples: dict[str, list[str]] = field(default_factory=dict)
    """Versions of the first of each fault."""

    @property
    def clean(self) -> bool:
        """Whether nothing is wrong."""
        return not (self.missing or self.phantom or self.duplicated or self.out_of_order)

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        return asdict(self)

    def _count(self, fault: str, version: str) -> None:
        setattr(self, fault, getattr(self, fault) + 1)
        named = self.examples.setdefault(fault, [])
        if len(named) < _EXAMPLES:
            named.append(version)


def compare(committed: str | os.PathLike[str], delivered: str | os.PathLike[str]) -> Comparison:
    """Hold what a consumer was given against what was committed.

    Memory: about 250 bytes a committed change. SpanwireError where a file cannot be read.
    """
    result = Comparison()
    truth: dict[str, bytes] = {}
    for change in _changes(committed):
        truth[change["version"]] = _digest(change)
        result.committed += 1
    seen: set[str] = set()
    newest: dict[str, tuple[str, str, int]] = {}
    for change in _changes(delivered):
        version = change["version"]
        result.delivered += 1
        if version in seen:
            result._count("duplicated", version)
            continue
        seen.add(version)
        if truth.get(version) != _digest(change):
            result._count("phantom", version)
        row = json.dumps([change["table"], change["keys"]], sort_keys=True)
        order = _order(version)
        if row in newest and order < newest[row]:
            result._count("out_of_order", version)
        else:
            newest[row] = order
    for version in truth.keys() - seen:
        result._count("missing", version)
    return result


def _changes(path: str | os.PathLike[str]) -> Iterator[dict[str, Any]]:
    try:
        with Path(path).open(encoding="utf-8") as lines:
            for number, line in enumerate(lines, start=1):
                try:
                    change = json.loads(line)
                    change["version"], change["table"], change["keys"]
                except (ValueError, KeyError, TypeError):
                    raise SpanwireError(f"{path}:{number}: is not a line of a history") from None
                yield change
    except OSError as error:
        raise SpanwireError(f"{path}: cannot be read: {error.strerror}") from None


def _digest(change: dict[str, Any]) -> bytes:
    """Of the whole content: two changes with the same version must agree in everything."""
    text = json.dumps(change, sort_keys=True, ensure_ascii=False)
    return hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=16).digest()


def _order(version: str) -> tuple[str, str, int]:
    """What orders the changes of one row: no two transactions change a row at one timestamp."""
    timestamp, rest = version.split("/", 1)
    _, sequence, number = rest.rsplit("/", 2)
    return timestamp, sequence, int(number)
