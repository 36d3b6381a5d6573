"""How long a stream keeps its changes."""

from __future__ import annotations

from spanwire._core import Timestamp

_UNITS = {"d": 86_400, "h": 3_600, "m": 60, "s": 1}
_LONGEST_S = 30 * _UNITS["d"]


def seconds_kept(retention: str) -> int:
    """Of a duration such as 36h or 7d; one that does not read so is taken for the longest there is."""
    number, unit = retention[:-1], retention[-1:]
    return int(number) * _UNITS[unit] if number.isdigit() and unit in _UNITS else _LONGEST_S


def oldest_kept(retention: str) -> Timestamp:
    """What can still be read, by this machine's clock."""
    now = Timestamp.now()
    return Timestamp(now.seconds - seconds_kept(retention), now.nanos)
