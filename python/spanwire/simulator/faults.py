"""A script of faults: what goes wrong where, so that it goes wrong the same way again.

A fault is found by its place, never by the time of day: the partition (numbered from 0 in the order that
partitions came to be, which the seed decides), its n-th query and that query's n-th message; or by a
probability, drawn from the script's seed and that same place. Heartbeats are not counted: how many there
are depends on time. (What a message holds depends a little on it, too, by the length of timestamps; with
`message_bytes` 0 each row is a message.) As a file, TOML or JSON of the same members:

    seed = 7
    [[fault]]
    kind = "reset"
    partition = 0
    query = 1
    message = 3
    in_value = true
"""

from __future__ import annotations

import json
import tomllib
from collections.abc import Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, Literal, get_args

from spanwire.errors import ConfigError

Kind = Literal[
    "unavailable",
    "aborted",
    "resource_exhausted",
    "deadline_exceeded",
    "reset",
    "early_end",
    "expired",
    "partition_expired",
    "unauthenticated",
    "permission_denied",
    "session_lost",
    "late_heartbeat",
    "stale_heartbeat",
    "duplicate_children",
]
"""reset: the stream breaks off; early_end: it ends as if all had been returned; expired: its start is
older than the retention period; session_lost: the session is gone until another is made; late_heartbeat:
one is left out; stale_heartbeat: one is sent behind the next message; duplicate_children: the partition
names its children (mutable: the partitions that it starts) twice. The others are gRPC's codes."""

_IN_MESSAGES = ("late_heartbeat", "stale_heartbeat", "duplicate_children")


@dataclass(frozen=True, slots=True)
class Fault:
    """One fault. ConfigError at construction, every problem at once."""

    kind: Kind
    partition: int | Literal["initial"] | None = None
    """By number; "initial": the initial query; None: any partition, each counted by itself."""
    query: int = 1
    """Of the partition's queries the n-th, from 1."""
    queries: int = 1
    """So many queries in a row, from that one on; 0: all that follow."""
    message: int = 1
    """Before the query's n-th message, from 1; for a heartbeat's fault the n-th heartbeat."""
    probability: float = 0.0
    """Above 0: in place of `message`, the probability before each message (or of each heartbeat)."""
    in_value: bool = False
    """Behind a piece of the message, which is cut within its last value."""

    def __post_init__(self) -> None:
        """Refuse what can never strike."""
        problems = [
            f"{name}: must be {least} or more, is {getattr(self, name)}"
            for name, least in (("query", 1), ("queries", 0), ("message", 1))
            if getattr(self, name) < least
        ]
        if self.kind not in get_args(Kind):
            problems.append(f'kind: must be one of {", ".join(get_args(Kind))}, is "{self.kind}"')
        if not 0 <= self.probability <= 1:
            problems.append(f"probability: must be between 0 and 1, is {self.probability}")
        if self.in_value and self.kind in _IN_MESSAGES:
            problems.append(f"in_value: is not for {self.kind}, which breaks no stream")
        if isinstance(self.partition, str) and self.partition != "initial":
            problems.append(f'partition: must be a number or "initial", is "{self.partition}"')
        if problems:
            raise ConfigError("; ".join(problems), problems=problems)


@dataclass(frozen=True, slots=True)
class FaultScript:
    """Faults, and the seed of their probabilities. Of several at one place the first one strikes."""

    faults: Sequence[Fault] = ()
    seed: int = 0

    @classmethod
    def load(cls, path: Path) -> FaultScript:
        """Read a script from a .toml or .json file. ConfigError names file, fault and member."""
        try:
            text = path.read_text(encoding="utf-8")
            found = json.loads(text) if path.suffix == ".json" else tomllib.loads(text)
        except OSError as error:
            raise ConfigError(f"{path}: cannot be read: {error.strerror}") from None
        except ValueError as error:
            raise ConfigError(f"{path}: is neither TOML nor JSON: {error}") from None
        if not isinstance(found, dict) or (unknown := found.keys() - {"seed", "fault"}):
            raise ConfigError(f"{path}: holds seed and fault, nothing else; there is {', '.join(unknown)}")
        known = {one.name for one in fields(Fault)}
        faults = []
        for number, members in enumerate(found.get("fault", []), start=1):
            try:
                faults.append(_fault(members, known))
            except (ConfigError, TypeError) as error:
                raise ConfigError(f"{path}: fault {number}: {error}") from None
        return cls(tuple(faults), int(found.get("seed", 0)))


def _fault(members: Any, known: set[str]) -> Fault:
    if not isinstance(members, dict) or "kind" not in members:
        raise ConfigError("must be a table with a kind")
    if unknown := members.keys() - known:
        raise ConfigError(f"there is no {', '.join(sorted(unknown))}; there is {', '.join(sorted(known))}")
    return Fault(**members)


@dataclass(frozen=True, slots=True)
class Strike:
    """A fault that struck, and where."""

    kind: Kind
    partition: int | Literal["initial"]
    query: int
    message: int = 0
