"""The rules for a change-stream query's arguments, worded as the emulator words them."""

from __future__ import annotations

from spanwire.simulator.config import SimulatorConfig
from spanwire.simulator.queries import ChangeQuery
from spanwire.simulator.status import invalid, not_found, out_of_range, stamp

_MINUTE = 60_000_000_000
_MAX_AHEAD = 10 * _MINUTE
_MAX_WINDOW = 30 * _MINUTE
_HEARTBEATS = (100, 300_000)  # the emulator's lower bound; Spanner's is 1,000


def check(query: ChangeQuery, config: SimulatorConfig, earliest: int, now: int) -> None:
    """Refuse an unknown stream, a heartbeat out of bounds, and times that cannot be read."""
    google = config.dialect == "googlesql"
    if query.function.lower() != config.function.lower():
        if google:
            raise invalid(f"Table-valued function not found: {query.function}")
        raise not_found(f"[ERROR] function spanner.{query.function} does not exist")
    least, most = _HEARTBEATS
    if not least <= query.heartbeat <= most:
        raise out_of_range(
            f"heartbeat_milliseconds must be within min {least} and max {most}. "
            f"Received heartbeat_milliseconds: {query.heartbeat}."
        )
    if query.end is not None and query.start > query.end:
        raise invalid(
            "If end_timestamp is specified, start_timestamp must be <= end_timestamp. "
            f"Received start_timestamp: {stamp(query.start)}, end_timestamp: {stamp(query.end)}."
        )
    if config.mode == "mutable":
        _check_window(query, now)
    bound = f"within the earliest read timestamp: {stamp(earliest)}"
    if query.start < earliest:
        raise out_of_range(
            "Specified start_timestamp is too far in the past. Please specify a start_timestamp "
            f"{bound}. Received start_timestamp: {stamp(query.start)}."
        )
    latest = now + _MAX_AHEAD
    if query.start > latest:
        raise out_of_range(
            "Specified start_timestamp is too far in the future. Please specify a start_timestamp "
            f"{bound}, and the current maximum start timestamp: {stamp(latest)}. "
            f"Received start_timestamp: {stamp(query.start)}."
        )


def _check_window(query: ChangeQuery, now: int) -> None:
    """Mutable key ranges are read in windows. The words are the simulator's: no emulator has these."""
    if query.end is None:
        raise invalid("end_timestamp must not be null for a change stream with MUTABLE_KEY_RANGE.")
    latest = max(now, query.start) + _MAX_WINDOW
    if query.end > latest:
        raise invalid(
            "Specified end_timestamp is too far in the future for a change stream with MUTABLE_KEY_RANGE. "
            f"Please specify an end_timestamp within 30 minutes: at most {stamp(latest)}. "
            f"Received end_timestamp: {stamp(query.end)}."
        )
