"""How long a stream keeps its changes."""

from __future__ import annotations

from spanwire._core import Timestamp
from spanwire.timestamps import nanoseconds

_UNITS = {"d": 86_400, "h": 3_600, "m": 60, "s": 1}
_LONGEST_S = 30 * _UNITS["d"]
_MARGIN_S = 60
_NANOS = 1_000_000_000


def seconds_kept(retention: str) -> int:
    """Of a duration such as 36h or 7d; one that does not read so is taken for the longest there is."""
    number, unit = retention[:-1], retention[-1:]
    return int(number) * _UNITS[unit] if number.isdigit() and unit in _UNITS else _LONGEST_S


def oldest_kept(retention: str) -> Timestamp:
    """What can still be read, by this machine's clock."""
    now = Timestamp.now()
    return Timestamp(now.seconds - seconds_kept(retention), now.nanos)


def oldest_to_ask_for(edge: Timestamp | None, retention: str, now: Timestamp) -> Timestamp:
    """From where on to ask, when Spanner says that it keeps nothing before `edge`; None: it does not say.

    Where the edge moves with the clock, whoever asks from there on comes too late again, and loses a little
    each time: so it is a minute ahead, at the most half of what is kept. Where the stream began, it
    stands still, and nothing is given away.
    """
    kept_s = seconds_kept(retention)
    margin = min(_MARGIN_S, kept_s / 2)
    moving = nanoseconds(now) - kept_s * _NANOS
    ahead = round(margin * _NANOS)
    if edge is None:
        oldest = moving + ahead
    elif nanoseconds(edge) <= moving + ahead:
        oldest = nanoseconds(edge) + ahead
    else:
        return edge
    return Timestamp(*divmod(oldest, _NANOS))
