"""What the store keeps of a group, as text. Pure."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field

from spanwire._core import Timestamp
from spanwire.consumer.cursor import Cursor
from spanwire.consumer.reached import Reached
from spanwire.errors import SpanwireError, StoreError


@dataclass(frozen=True, slots=True)
class State:
    """How far a group is."""

    reached: Reached
    """All that is handled, or was given up."""
    failures: Mapping[str, int] = field(default_factory=dict)
    """How often changes failed that are not handled yet, by version."""
    shape: str = ""
    """What its topics are made by: topics of one shape say nothing about those of another."""

    def encode(self) -> str:
        """As text."""
        said = {
            "watermark": str(self.reached.watermark),
            "cursor": Cursor({0: self.reached}).encode(),
            "failures": dict(self.failures),
            "shape": self.shape,
        }
        return json.dumps(said)

    @classmethod
    def decode(cls, text: str, shape: str | None = None) -> State:
        """From text; StoreError where it is none.

        Lanes of another `shape` are dropped: then what they had handled above the watermark is delivered
        again, and nothing is taken for handled that is not.
        """
        try:
            said = json.loads(text)
            reached = Cursor.decode(said["cursor"]).of(0)
            state = cls(reached, said["failures"], said["shape"])
        except (ValueError, KeyError, TypeError, AttributeError, SpanwireError) as error:
            raise StoreError(
                f"what the store holds of a group cannot be read ({error}); use the version that wrote it"
            ) from None
        if shape is not None and shape != state.shape:
            return cls(Reached(reached.watermark), state.failures, shape)
        return state


def watermark_of(text: str) -> Timestamp | None:
    """Up to where a group has handled all, as the store has it; None before it has begun."""
    return State.decode(text).reached.watermark if text else None
