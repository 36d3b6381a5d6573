"""Benches that run from an installed wheel: the core beside its peers and limits, in one run.

What the figures mean and how they are made: benches/README.md.
"""

from __future__ import annotations

import statistics
from collections.abc import Callable

from spanwire import _core
from spanwire.bench import measure
from spanwire.bench.peers.plain_python import schema
from spanwire.bench.workload import Workload, build
from spanwire.errors import ConfigError

__all__ = ["Workload", "build", "check_build", "core", "measure"]

CHANGES = 200_000
PASSES = 3


def check_build() -> None:
    """ConfigError on a debug build: its figures would say nothing."""
    if getattr(_core, "_debug_build", True):
        raise ConfigError("a debug build, its figures say nothing: run make build, or install the wheel")


def core(
    repeat: int = 5, tell: Callable[[str], object] | None = None, changes: int = CHANGES
) -> dict[str, float | int]:
    """Measure everything `repeat` times in turn; medians by name, and the least and most of each.

    In one run and one after the other in each repetition, so that what else the machine does falls on
    all of them. Changes per second by the wall clock, of the quickest of three passes each time; `vs_…`
    are ratios of medians.
    """
    check_build()
    schema()
    say = tell or (lambda _: None)
    say("building the workload")
    full = build(changes)
    small = build(changes // 10, message_bytes=0, changes_per_record=1)
    # The peer in plain Python is some hundred times slower: a part of the same messages is enough.
    part = build(max(changes // 50, 20))
    captured = {values: measure.Captured(full, values) for values in _VALUES}

    measurements: dict[str, Callable[[], float]] = {
        "changes_per_second_json": lambda: measure.core_alone(full, "json", PASSES),
        "changes_per_second_typed": lambda: measure.core_alone(full, "typed", PASSES),
        "one_change_a_message_json": lambda: measure.core_alone(small, "json", PASSES),
        "one_change_a_message_typed": lambda: measure.core_alone(small, "typed", PASSES),
        "core_and_pub_json": lambda: measure.core_and_pub(full, "json", PASSES),
        "core_and_pub_typed": lambda: measure.core_and_pub(full, "typed", PASSES),
        "libzmq_json": lambda: measure.libzmq_alone(captured["json"], PASSES),
        "libzmq_typed": lambda: measure.libzmq_alone(captured["typed"], PASSES),
        "plain_python_json": lambda: measure.plain_python(part, "json", "values", PASSES),
        "plain_python_typed": lambda: measure.plain_python(part, "typed", "values", PASSES),
        "plain_python_lazy_json": lambda: measure.plain_python(part, "json", "lazy", PASSES),
        "plain_python_lazy_typed": lambda: measure.plain_python(part, "typed", "lazy", PASSES),
    }
    taken: dict[str, list[float]] = {name: [] for name in measurements}
    for number in range(repeat):
        for name, measurement in measurements.items():
            say(f"{number + 1} of {repeat}: {name}")
            taken[name].append(measurement())
    medians = {name: statistics.median(figures) for name, figures in taken.items()}
    return {
        "changes_per_second_json": round(medians["changes_per_second_json"]),
        "changes_per_second_typed": round(medians["changes_per_second_typed"]),
        **{name: round(ratio, 3) for name, ratio in _ratios(medians).items()},
        **{name: round(figure) for name, figure in medians.items() if not name.startswith("changes_")},
        **_spread(taken),
        "repetitions": repeat,
        "bytes_per_change": round(full.size / full.changes),
        "changes": full.changes,
    }


_VALUES: tuple[measure.Values, ...] = ("json", "typed")


def _ratios(medians: dict[str, float]) -> dict[str, float]:
    ratios: dict[str, float] = {}
    for values in _VALUES:
        core_alone, plain = medians[f"changes_per_second_{values}"], f"plain_python{{}}_{values}"
        suffix = "" if values == "json" else "_typed"
        ratios[f"vs_plain_python{suffix}"] = core_alone / medians[plain.format("")]
        ratios[f"vs_plain_python_lazy{suffix}"] = core_alone / medians[plain.format("_lazy")]
        both = 1 / (1 / core_alone + 1 / medians[f"libzmq_{values}"])
        ratios[f"vs_libzmq_and_core{suffix}"] = medians[f"core_and_pub_{values}"] / both
    return ratios


def _spread(taken: dict[str, list[float]]) -> dict[str, int]:
    spread: dict[str, int] = {}
    for name, figures in taken.items():
        spread[f"{name}_least"] = round(min(figures))
        spread[f"{name}_most"] = round(max(figures))
    return spread
