"""The measurements of `spanwire bench core` one by one, as pytest-benchmark shows them.

Figures only: nothing here passes or fails on a time. Method: benches/README.md.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from spanwire import bench
from spanwire.bench import core
from spanwire.bench.workload import Workload, build

CHANGES = 100_000
ROUNDS = 3
VALUES: tuple[core.Values, ...] = ("json", "typed")


@pytest.fixture(scope="module", autouse=True)
def _release_build() -> None:
    """A debug build's figures say nothing."""
    bench.check_build()


@pytest.fixture(scope="module")
def workload() -> Workload:
    """20 changes a record, messages of 64 KiB."""
    return build(CHANGES)


@pytest.fixture(scope="module")
def captured(workload: Workload) -> dict[str, core.Captured]:
    """The messages that the core makes of it."""
    return {values: core.Captured(workload, values) for values in VALUES}


def run(benchmark: Any, changes: int, measurement: Callable[[], float]) -> None:
    """Run a measurement some rounds; its own figures stand in the extra information.

    The time in the table includes starting sockets and processes; changes per second do not.
    """
    figures: list[float] = []
    benchmark.pedantic(lambda: figures.append(measurement()), rounds=ROUNDS)
    benchmark.extra_info["changes"] = changes
    benchmark.extra_info["changes_per_second"] = sorted(figures)[len(figures) // 2]
    assert min(figures) > 0


@pytest.mark.parametrize("values", VALUES)
def test_core_alone(benchmark: Any, workload: Workload, values: core.Values) -> None:
    """Bytes to messages that are ready to send, one thread."""
    run(benchmark, CHANGES, lambda: core.core_alone(workload, values))


@pytest.mark.parametrize("values", VALUES)
def test_core_alone_one_change_a_message(benchmark: Any, values: core.Values) -> None:
    """The same where each gRPC message holds one record of one change."""
    workload = build(CHANGES // 10, changes_per_record=1, message_bytes=0)
    run(benchmark, workload.changes, lambda: core.core_alone(workload, values))


@pytest.mark.parametrize("values", VALUES)
def test_core_and_pub(benchmark: Any, workload: Workload, values: core.Values) -> None:
    """The core, PUB and a subscriber over TCP."""
    run(benchmark, CHANGES, lambda: core.core_and_pub(workload, values))


@pytest.mark.parametrize("values", VALUES)
def test_libzmq_alone(benchmark: Any, captured: dict[str, core.Captured], values: core.Values) -> None:
    """Raw libzmq with the same bytes in the same messages."""
    run(benchmark, CHANGES, lambda: core.libzmq_alone(captured[values]))


@pytest.mark.parametrize("decode", ["values", "lazy"])
@pytest.mark.parametrize("values", VALUES)
def test_plain_python(benchmark: Any, values: core.Values, decode: Any) -> None:
    """google-cloud-spanner, pycapnp and pyzmq."""
    workload = build(2_000)
    run(benchmark, workload.changes, lambda: core.plain_python(workload, values, decode))
