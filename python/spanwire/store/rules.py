"""What all stores refuse, in the same words."""

from __future__ import annotations

import time

from spanwire.errors import FencedError, StoreError
from spanwire.records import PartitionRecord, State, short_token


def epoch_before_the_first() -> int:
    """Where a new store begins to count: the milliseconds since 1970.

    Consumers outlive stores. A store that was begun anew must not repeat epochs that they know from the
    one before, which has counted up from an earlier time, and far slower than a thousand a second.
    """
    return time.time_ns() // 1_000_000


def fenced(token: str, state: State, epoch: int | None, known: PartitionRecord | None) -> FencedError:
    """The error for a write that expected something else than the store holds."""
    expected = state.value if epoch is None else f"{state.value} under epoch {epoch}"
    found = "unknown" if known is None else f"{known.state.value} under epoch {known.epoch}"
    return FencedError(
        f"partition {short_token(token)}: expected it {expected}, the store holds it {found}: "
        "another owner goes on with it, so this one stops",
        partition=token,
        epoch=epoch,
        stored_epoch=None if known is None else known.epoch,
    )


def group_fenced(name: str, epoch: int, known: int | None) -> FencedError:
    """The error for a save of a group that somebody else owns."""
    found = "does not know it" if known is None else f"holds it under epoch {known}"
    return FencedError(
        f"group {name}: expected it under epoch {epoch}, the store {found}: another owner goes on with it, "
        "so this one stops",
        group=name,
        epoch=epoch,
        stored_epoch=known,
    )


def check_acquirable(token: str, state: State) -> None:
    """Refuse to own what is not to be read: not yet, or not any more."""
    if state not in (State.SCHEDULED, State.RUNNING):
        raise StoreError(
            f"partition {short_token(token)}: cannot be owned while {state.value}, only scheduled or running",
            partition=token,
        )


def already_initialised() -> StoreError:
    """The error for first partitions where there are some."""
    return StoreError("the store holds partitions already; go on from them, or begin with an empty store")
