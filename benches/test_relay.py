"""The measurements of `spanwire bench relay` one by one, as pytest-benchmark shows them.

Figures only: nothing here passes or fails on a time. Method: benches/README.md.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import replace
from typing import Any

import pytest

from spanwire import bench
from spanwire.bench import relay
from spanwire.bench.relay import AROUND, BASE, SMALL, Bench

SECONDS = 1.0
CASES = {"json": BASE, "typed": replace(BASE, values="typed"), "small": SMALL}
LIMITS: dict[str, Callable[[Any, int], float]] = {"memcpy": relay.copied, "upb": relay.parsed}


@pytest.fixture(scope="module", autouse=True)
def _release_build() -> None:
    """A debug build's figures say nothing."""
    bench.check_build()


@pytest.fixture(scope="module")
def measuring() -> Iterator[Bench]:
    """One simulator for all relays of a case."""
    with ExitStack() as stack:
        yield Bench(stack, SECONDS)


def run(benchmark: Any, measurement: Callable[[], float]) -> None:
    """Run a measurement once; its own figure stands in the extra information.

    The time in the table includes starting processes; changes per second do not.
    """
    found = benchmark.pedantic(measurement, rounds=1)
    benchmark.extra_info["changes_per_second"] = found
    assert found > 0


@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize("make", ["relay", "relay_python", "relay_go"])
def test_relay(benchmark: Any, measuring: Bench, make: str, name: str) -> None:
    """Ours, the one in plain Python, the one in Go: from the simulator's release to the last change."""
    start = relay.starts()[make]
    if isinstance(start, str):
        pytest.skip(start)
    run(benchmark, lambda: measuring.relay(f"{make}_{name}", start, CASES[name]))


@pytest.mark.parametrize("name", ["grpc_read", "grpc_read_small"])
def test_bare_read(benchmark: Any, measuring: Bench, name: str) -> None:
    """Read over gRPC in Python, and dropped."""
    case = SMALL if name.endswith("small") else BASE
    run(benchmark, lambda: measuring.bare_read(name, case))


@pytest.mark.parametrize("name", LIMITS)
def test_limit(benchmark: Any, name: str) -> None:
    """The same messages copied in memory, and parsed by protobuf's own parser."""
    sample = relay.messages(BASE, 100_000)
    run(benchmark, lambda: LIMITS[name](sample, 100_000))


@pytest.mark.parametrize("name", AROUND)
def test_one_factor(benchmark: Any, measuring: Bench, name: str) -> None:
    """Ours where one thing differs from the base."""
    run(benchmark, lambda: measuring.relay(f"workload_{name}", relay.ours, AROUND[name], "relay_json"))
