"""Which member has which slot: evenly, and moving no more slots than that takes. Pure."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from typing import TypeVar

M = TypeVar("M", bound=Hashable)


def share(slots: int, members: Sequence[M], before: Mapping[int, M]) -> dict[int, M]:
    """An owner for each of the slots 0 to `slots` - 1; none without members.

    `before`: who had which. No member has two slots more than another, and a slot changes hands only where
    that demands it.
    """
    if not members:
        return {}
    held: dict[M, list[int]] = {member: [] for member in members}
    free: list[int] = []
    for slot in range(slots):
        owner = before.get(slot)
        (held[owner] if owner is not None and owner in held else free).append(slot)
    least, more = divmod(slots, len(members))
    # Who has most keeps the one slot more that some must have.
    quota = {
        member: least + (place < more)
        for place, member in enumerate(sorted(members, key=lambda one: -len(held[one])))
    }
    for member, mine in held.items():
        free += mine[quota[member] :]
        del mine[quota[member] :]
    free.sort(reverse=True)
    for member, mine in held.items():
        while len(mine) < quota[member]:
            mine.append(free.pop())
    return {slot: member for member, mine in held.items() for slot in mine}
