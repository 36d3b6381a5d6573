"""Waiting in a test for what comes about by itself."""

from __future__ import annotations

import time
from collections.abc import Callable


def soon(condition: Callable[[], bool]) -> bool:
    """Whether it comes about in a while."""
    deadline = time.monotonic() + 60
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.005)
    return True
