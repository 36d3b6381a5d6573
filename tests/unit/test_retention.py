"""From where on to ask when a stream keeps no longer what was asked for."""

from __future__ import annotations

import pytest

from spanwire._core import Timestamp
from spanwire.source.retention import oldest_to_ask_for
from spanwire.timestamps import nanoseconds

NOW = Timestamp(1_800_000_000, 5)
DAY = 86_400


def ago(seconds: float) -> Timestamp:
    """A timestamp before now."""
    return Timestamp(*divmod(nanoseconds(NOW) - round(seconds * 1e9), 1_000_000_000))


@pytest.mark.parametrize("skew", [-5.0, 0.0, 5.0])
@pytest.mark.parametrize("slow", [0.01, 30.0])
def test_who_asks_again_comes_in_time(skew: float, slow: float) -> None:
    """The edge moves on while the answer is under way: what was told lies before it by then."""
    oldest = oldest_to_ask_for(ago(DAY + skew), "1d", NOW)
    assert nanoseconds(oldest) > nanoseconds(ago(DAY + skew)) + slow * 1e9
    assert oldest <= ago(DAY - 70)


def test_where_spanner_names_no_edge_it_is_reckoned() -> None:
    """By the clock and the stream's retention, with the same margin."""
    assert oldest_to_ask_for(None, "1d", NOW) == ago(DAY - 60)


def test_an_edge_that_stands_still_is_told_as_it_is() -> None:
    """A stream that is younger than its retention begins where it was made: nothing of it is given away."""
    assert oldest_to_ask_for(ago(100), "1d", NOW) == ago(100)


@pytest.mark.parametrize("retention", ["1s", "10s", "1m", "7d"])
def test_the_margin_is_never_more_than_half_of_what_is_kept(retention: str) -> None:
    """So that something is left to be asked for."""
    seconds = {"1s": 1, "10s": 10, "1m": 60, "7d": 7 * DAY}[retention]
    assert oldest_to_ask_for(ago(seconds), retention, NOW) == ago(seconds - min(60, seconds / 2))
