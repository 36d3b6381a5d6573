"""What is reckoned with Spanner's timestamps, in one place."""

from __future__ import annotations

from spanwire._core import Timestamp

EARLIEST = Timestamp(-62_135_596_800)
"""The beginning of the year 1: the first one there is."""
_NANOS = 1_000_000_000
_AHEAD_S = 300
"""So far ahead of this machine's clock a start may lie: clocks differ."""


def just_before(timestamp: Timestamp) -> Timestamp:
    """One nanosecond earlier: what was committed at `timestamp` comes after it. Of the first, itself."""
    if timestamp.nanos:
        return Timestamp(timestamp.seconds, timestamp.nanos - 1)
    if timestamp == EARLIEST:
        return timestamp
    return Timestamp(timestamp.seconds - 1, 999_999_999)


def nanoseconds(timestamp: Timestamp) -> int:
    """Since 1970 UTC."""
    return timestamp.seconds * _NANOS + timestamp.nanos


def timestamp_problem(text: str) -> str | None:
    """What is wrong with a timestamp that a user gave, or None."""
    try:
        Timestamp.parse(text)
    except ValueError:
        return f'must be RFC 3339 in UTC, such as "2026-11-23T17:50:32.669475Z", is "{text}"'
    return None


def start_problem(value: str, words: tuple[str, ...]) -> str | None:
    """What is wrong with where to begin, or None; `words` may stand for a timestamp."""
    if value in words:
        return None
    written = " or ".join(f'"{word}"' for word in words)
    if problem := timestamp_problem(value):
        return f"{problem}; or write {written}"
    if Timestamp.parse(value).seconds > Timestamp.now().seconds + _AHEAD_S:
        return f"{value} lies in the future; write {written}, or a time that has been"
    return None
