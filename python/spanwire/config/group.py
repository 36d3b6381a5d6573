"""The settings of a work group."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from pydantic import Field, field_validator

from spanwire.config.section import Problem, Section, Settings, TimestampText
from spanwire.timestamps import start_problem

DEFAULT_SLOTS = 64
MAX_SLOTS = 4096
_TOPIC = "{database}/{stream}/{table}/{bucket}/"
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,63}")


class GroupSettings(Section):
    """The settings of an output of kind "group"."""

    name: str = Field(default="", examples=["mail"])
    """Of "group": its name, under which the store keeps how far it is."""
    slots: int = Field(default=DEFAULT_SLOTS, ge=1, le=MAX_SLOTS)
    """Of "group": rows are spread over so many slots by a hash of their primary key. A slot is with one
    member at a time, so no more members than slots can work."""
    ack_timeout_ms: int = Field(default=30_000, ge=100, le=86_400_000)
    """Of "group": a member that takes longer for one change loses what it holds to others."""
    max_deliveries: int = Field(default=5, ge=1, le=1_000)
    """Of "group": a change that failed so often goes to the dead letters."""
    in_flight: int = Field(default=8, ge=1, le=1_000)
    """Of "group": messages that a member may hold."""
    start: TimestampText = "now"
    """Of "group": where one begins that the store does not know yet: "now", or an RFC 3339 timestamp within
    the stream's retention."""

    @field_validator("name")
    @classmethod
    def _is_name(cls, value: str) -> str:
        if value and not _NAME.fullmatch(value):
            raise ValueError(f'must be letters, digits, "_", "-" and ".", 64 at the most, is "{value}"')
        return value

    @field_validator("start")
    @classmethod
    def _is_start(cls, value: str) -> str:
        if problem := start_problem(value, ("now",)):
            raise ValueError(problem)
        return value


def group_problems(given: Settings) -> Iterator[Problem]:
    """What an output of kind "group" lacks, or has too much."""
    if not given.get("name"):
        yield ("name",), 'a group needs one, such as name = "mail"'
    if "buckets" in given:
        yield ("buckets",), "of a group are its slots; write slots"
    topic = given.get("topic", _TOPIC)
    if isinstance(topic, str) and not topic.endswith("/{bucket}/"):
        yield ("topic",), f'of a group must end in "/{{bucket}}/", is "{topic}"'


def with_buckets(given: dict[str, Any]) -> dict[str, Any]:
    """The settings of a group as those of any output: its slots are buckets, the last level of topics."""
    slots = given.get("slots", DEFAULT_SLOTS)
    # What is wrong with slots is told of slots alone.
    fits = type(slots) is int and 1 <= slots <= MAX_SLOTS
    return {"topic": _TOPIC, **given, "buckets": slots if fits else DEFAULT_SLOTS}
