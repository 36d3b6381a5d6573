"""Where a relay dies by itself: before or behind what it writes down, and where it decides.

The shipped package knows nothing of this: `chaos.relay` wraps its methods when a run asks for it.
"""

from __future__ import annotations

import functools
import json
import os
import signal
from collections.abc import Callable
from typing import Any

from spanwire.relay.keeper import Keeper
from spanwire.store import SqliteStore

_STORED = ("initialise", "schedule", "acquire", "add_children", "advance", "finish", "forget")
_DECIDED = ("store_progress", "_take", "_stand", "_settle", "_own")

POINTS = (
    # Between sending and storing: before-advance; between children stored and parent finished:
    # after-add_children.
    *(f"{side}-{method}" for method in _STORED for side in ("before", "after")),
    *(f"before-{method}" for method in _DECIDED),
)


def arm(point: str, hit: int = 1) -> None:
    """Have this process die when it comes to the point for the n-th time."""
    side, _, method = point.partition("-")
    owner: Any = SqliteStore if method in _STORED else Keeper
    setattr(owner, method, _deadly(getattr(owner, method), point, side == "before", hit))


def _deadly(method: Callable[..., Any], point: str, before: bool, hit: int) -> Callable[..., Any]:
    left = [hit]

    @functools.wraps(method)
    def wrapped(*args: Any, **named: Any) -> Any:
        left[0] -= 1
        if before and not left[0]:
            _die(point)
        found = method(*args, **named)
        if not before and not left[0]:
            _die(point)
        return found

    return wrapped


def _die(point: str) -> None:
    print(json.dumps({"event": "point", "point": point}), flush=True)
    os.kill(os.getpid(), signal.SIGKILL)
