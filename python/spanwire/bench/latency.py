"""How long a change is on its way, stage by stage, at some loads.

A simulator, a relay and a subscriber, each a process. The simulator sends each change at its commit
timestamp, by an open loop: so what holds anything up is counted for all changes that it holds up.
"""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from spanwire.bench import histograms, running
from spanwire.bench.figures import Curve, Report
from spanwire.bench.listener import STAGES, WHOLE, Heard, Wanted
from spanwire.bench.plan import Plan, Step
from spanwire.children import Child

RATES = (1_000, 10_000, 100_000)
"""Changes a second. Budgets are about the first."""
PARTITIONS = 2
_RECORDS = 20_000
"""Records a second at the most: at a higher rate a record has several changes."""
_WARM_S = 0.5
_SECONDS, _QUICK_SECONDS = 4.0, 1.0
_KEPT = 0.95
"""So much of a load must arrive in time, or times would tell how long was measured, and nothing else."""
_ANSWER_S = 60.0
_X = "1 / (1 - percentile)"


def steps(plan: Plan, stack: ExitStack) -> Sequence[Step]:
    """A step for each load."""
    histograms.empty()  # where that is missing, it is said before anything is measured
    folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="spanwire-bench-")))
    seconds = _QUICK_SECONDS if plan.quick else _SECONDS
    return [
        Step(f"latency: {rate:,} changes/s", Load(rate, seconds, stack, folder).measure)
        for rate in (RATES[:1] if plan.quick else RATES)
    ]


def conclude(report: Report) -> None:
    """Which stage takes how much of the time, by the load."""
    means = {
        rate: [report.figures[_name(rate, stage, "mean")].median for stage in STAGES]
        for rate in RATES
        if _name(rate, STAGES[0], "mean") in report.figures
    }
    lines = {
        stage: [(float(rate), 100 * parts[place] / sum(parts)) for rate, parts in means.items()]
        for place, stage in enumerate(STAGES)
    }
    if means:
        title = "Where a change's time goes, on average"
        report.curves["latency_stages"] = Curve(title, "changes/s", "% of the way", lines)


@dataclass(slots=True)
class Load:
    """One load, and what was measured at it so far."""

    rate: int
    seconds: float
    stack: ExitStack
    folder: Path
    _served: running.Served | None = None
    _all: dict[str, Any] = field(default_factory=dict)
    _runs: int = 0
    _failed: int = 0

    def measure(self, report: Report) -> None:
        """One more repetition: a relay and a subscriber of its own."""
        heard = self._hear()
        arrived = heard.changes / heard.seconds
        report.take(f"latency_{self.rate}_arrived", "changes/s", arrived)
        self._runs += 1
        if arrived < _KEPT * self.rate:
            self._failed += 1
            report.absent[f"latency_{self.rate}_"] = (
                f"the load was not kept in {self._failed} of {self._runs} repetitions: "
                f"the last time {arrived:,.0f} of {self.rate:,} changes/s arrived"
            )
            return
        for stage, encoded in heard.histograms.items():
            one = histograms.empty()
            histograms.add(one, encoded)
            for which, value in histograms.milliseconds(one).items():
                report.take(_name(self.rate, stage, which), "ms", value)
            histograms.add(self._all.setdefault(stage, histograms.empty()), encoded)
        for stage, title in ((WHOLE, "From commit to consumer"), ("relay", "Time in the relay")):
            curve = report.curves.setdefault(f"latency_{stage}", Curve(title, _X, "ms", {}))
            curve.lines[f"{self.rate:,} changes/s"] = histograms.tail(self._all[stage])

    def _hear(self) -> Heard:
        served = self._simulator()
        with ExitStack() as stack:
            folder = Path(stack.enter_context(tempfile.TemporaryDirectory(dir=self.folder)))
            # Started before the relay: it imports meanwhile, and waits to be told where that is.
            program = ["-m", "spanwire.bench.listener"]
            listener = stack.enter_context(Child("listener", program, folder / "listener.log", kill=True))
            relay = running.spanwire(stack, folder, served, running.PUB.format(values="typed"), tick_ms=1000)
            listener.tell(asdict(Wanted(relay.endpoint, PARTITIONS, _WARM_S, self.seconds)))
            return Heard(**listener.expect(_ANSWER_S + self.seconds))

    def _simulator(self) -> running.Served:
        """Started once: without a relay it has nothing to do."""
        if self._served is None:
            folder = self.folder / f"simulator-{self.rate}"
            folder.mkdir()
            options = {
                "--changes": 0,
                "--changes-per-record": max(1, self.rate // _RECORDS),
                "--rate": self.rate,
                "--partitions": PARTITIONS,
            }
            words = [str(word) for option in options.items() for word in option]
            self._served = running.simulator(self.stack, folder, "--ready-made", *words)
        return self._served


def _name(rate: int, stage: str, which: str) -> str:
    return f"latency_{rate}_{stage}_{which}"
