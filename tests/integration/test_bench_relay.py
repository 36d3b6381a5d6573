"""The bench of whole relays measures what it says; what it measured is no matter of tests."""

from __future__ import annotations

import dataclasses
from contextlib import ExitStack
from typing import Any

import pytest

from spanwire import bench
from spanwire._core import RecordReader
from spanwire.bench import relay, running
from spanwire.bench.core import Captured, libzmq_alone
from spanwire.bench.relay import BASE, SMALL, Bench, Case
from spanwire.bench.workload import build
from spanwire.errors import ConfigError

pytestmark = pytest.mark.timeout(240)


@pytest.fixture
def tiny(monkeypatch: pytest.MonkeyPatch) -> None:
    """As few changes as there can be."""
    monkeypatch.setattr(relay, "_GUESSES", dict.fromkeys(relay._GUESSES, 1.0))
    for name in ("_SECONDS", "_QUICK_SECONDS"):
        monkeypatch.setattr(relay, name, 0.0)


@pytest.fixture
def no_go(monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine without Go."""

    def absent() -> list[str]:
        raise ConfigError("the peer in Go needs go, which is not here")

    monkeypatch.setattr(running, "go_peer", absent)


@pytest.mark.usefixtures("tiny", "no_go")
def test_a_quick_run_has_what_budgets_are_about() -> None:
    """Ours, plain Python and the bare read of small messages; what is missing is told with its reason."""
    figures = bench.as_json(bench.run(["relay"], bench.Plan(1, quick=True)))
    for name in ("relay", "relay_python"):
        assert all(figures[f"{name}_{values}"] > 0 for values in ("json", "typed"))
    assert figures["relay_small"] > 0
    assert figures["grpc_read_small"] > 0
    judged = {one["budget"]: one for one in figures["budgets"]}
    assert judged["relay beside plain Python, JSON"]["ratio"] == pytest.approx(figures["relay_vs_python"])
    assert judged["relay beside Go, typed"]["met"] is None
    assert "needs go" in judged["relay beside Go, typed"]["why"]


@pytest.mark.usefixtures("tiny")
@pytest.mark.parametrize(
    "case",
    [
        Case(kind="push", partitions=2, values="typed"),
        Case(kind="feed", partitions=2, subscribers=2),
        Case(subscribers=2, partitions=1, one_per_message=True, changes_per_record=1),
    ],
    ids=lambda case: f"{case.kind}-{case.subscribers}",
)
def test_every_kind_of_output_is_heard(case: Case) -> None:
    """A figure is given only where each subscriber got every change."""
    with ExitStack() as stack:
        assert Bench(stack, 0.0).relay("relay_json", relay.ours, case) > 0


@pytest.mark.usefixtures("tiny")
def test_a_relay_that_loses_a_change_gives_no_figure(monkeypatch: pytest.MonkeyPatch) -> None:
    """More or fewer than were sent is no measurement."""

    class Twice(relay.Receiver):
        @property
        def changes(self) -> int:
            return super().changes * 2

    monkeypatch.setattr(relay, "Receiver", Twice)
    with ExitStack() as stack, pytest.raises(RuntimeError, match="changes arrived of"):
        Bench(stack, 0.0).relay("relay_json", relay.ours, Case(partitions=1))


@pytest.mark.usefixtures("no_go")
def test_a_full_run_varies_one_factor_at_a_time() -> None:
    """Every case differs from the base in one field, or in how many changes a message has."""
    with ExitStack() as stack:
        planned = [step.name for step in relay.steps(bench.Plan(), stack)]
    for name, case in relay.AROUND.items():
        assert f"relay: relay_workload_{name}" in planned
        differs = [
            field.name
            for field in dataclasses.fields(Case)
            if getattr(case, field.name) != getattr(BASE, field.name)
        ]
        assert len(differs) == 1
    assert {"relay: memcpy", "relay: upb", "relay: libzmq_curve_json"} <= set(planned)


def test_limits_are_over_the_same_messages() -> None:
    """What is copied and parsed in memory is what the simulator serves: all changes, each once."""
    sample = relay.messages(BASE, 2000)
    found: Any = [record["data_change_record"] for record in RecordReader("googlesql").read(sample)]
    assert sum(len(record["mods"]) for record in found) == 2000
    assert len({str(record["commit_timestamp"]) for record in found}) == 100
    assert relay.copied(sample, 2000) > 0
    assert relay.parsed(sample, 2000) > 0


def test_encrypted_messages_arrive() -> None:
    """The same messages go through CURVE."""
    assert libzmq_alone(Captured(build(2000), "json"), curve=True) > 0


def test_changes_fill_partitions_evenly_with_whole_records() -> None:
    """So that what each partition holds is a whole number of records."""
    for case in (BASE, SMALL, Case(changes_per_record=500, partitions=64)):
        for wanted in (0, 1, 12_345, 1_000_000):
            changes = relay.changes_for(case, wanted)
            assert changes % (case.changes_per_record * case.partitions) == 0
            assert changes > 0
