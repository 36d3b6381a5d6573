"""Dead letters: changes that the relay could not decode, and whom they concern."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Any

from spanwire.consumer.facts import DEAD_LEVEL

_log = logging.getLogger("spanwire.consumer")


def warn(letter: dict[str, Any]) -> None:
    """Say that a change could not be decoded, without its data."""
    _log.warning(
        "the relay could not decode change %s of table %s: %s",
        letter["version"],
        letter["table"] or "unknown",
        letter["reason"],
    )


def concerns(topic: str, table: str, topics: Sequence[str]) -> bool:
    """Whether a dead letter on `topic` is of a table that one of these subscriptions takes.

    All are where that cannot be told: the letter's table is unknown, its topic is subscribed to
    itself, or the subscriptions are not of the shape "{database}/{stream}/{table}/".
    """
    base = topic.removesuffix(DEAD_LEVEL)
    beyond = [one for one in topics if one.startswith(base)]
    if not table or not beyond or any(topic.startswith(one) for one in topics):
        return True
    # A level beyond the third: the relay's template is another, and where a table goes is unknown.
    return any(f"{base}{table}/".startswith(one) or "/" in one[len(base) : -1] for one in beyond)
