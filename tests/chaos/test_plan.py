"""Plans: one seed, one plan, and seeds enough leave nothing untried."""

from __future__ import annotations

from chaos.plan import LINK_BLOWS, PROCESS_BLOWS, SOURCE_FAULTS, plan
from chaos.points import POINTS

from spanwire.relay.keeper import Keeper
from spanwire.simulator.faults import Fault
from spanwire.store import SqliteStore

PLANS = [plan(seed, 30.0) for seed in range(100)]


def test_one_seed_gives_one_plan() -> None:
    """Again the same, and another seed another."""
    assert plan(7, 30.0) == PLANS[7]
    assert len({repr(one) for one in PLANS}) == len(PLANS)


def test_a_hundred_seeds_try_everything() -> None:
    """Every blow, every point, every fault of the source, each dialect in each mode, each kind and order."""
    assert {blow.kind for one in PLANS for blow in one.blows} == {*PROCESS_BLOWS, *LINK_BLOWS}
    assert {point[0] for one in PLANS for point in one.points if point} == set(POINTS)
    assert {kind for one in PLANS for kind in one.source_faults} == set(SOURCE_FAULTS)
    assert len({(one.dialect, one.mode) for one in PLANS}) == 4
    assert {(c.kind, c.order) for one in PLANS for c in one.consumers if c.begins_s} == {
        (c.kind, c.order) for one in PLANS for c in one.consumers
    }


def test_what_a_plan_names_is_there() -> None:
    """A renamed method or fault would never strike, and nobody would notice."""
    for point in POINTS:
        side, _, method = point.partition("-")
        assert side in ("before", "after")
        assert any(callable(getattr(owner, method, None)) for owner in (SqliteStore, Keeper)), point
    for kind in SOURCE_FAULTS:
        Fault(kind)
