"""`spanwire bench`: measures, beside what it is measured against, in one run."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from spanwire.cli.options import Json, print_json

if TYPE_CHECKING:
    from spanwire.bench import Report

bench = typer.Typer(help="Measure speed beside its peers and limits.", invoke_without_command=True)

Repeat = Annotated[int, typer.Option(min=1, help="Repetitions; medians are told.")]
Quick = Annotated[bool, typer.Option("--quick", help="A first look, in a minute at most: less data.")]
Plot = Annotated[
    Path | None, typer.Option("--plot", metavar="DIR", help="Draw the curves there, SVG and PNG.")
]


@bench.callback()
def _all(
    context: typer.Context,
    repeat: Repeat = 3,
    quick: Quick = False,
    plot: Plot = None,
    as_json: Json = False,
) -> None:
    """Measure everything beside its peers and limits, in this very run; or one part of it."""
    if context.invoked_subcommand is None:
        from spanwire.bench import PARTS

        _measure(list(PARTS), repeat, quick, plot, as_json)


@bench.command()
def core(repeat: Repeat = 5, quick: Quick = False, plot: Plot = None, as_json: Json = False) -> None:
    """The core alone and with PUB over TCP, beside plain Python and raw libzmq."""
    _measure(["core"], repeat, quick, plot, as_json)


@bench.command()
def latency(repeat: Repeat = 3, quick: Quick = False, plot: Plot = None, as_json: Json = False) -> None:
    """How long a change is on its way, stage by stage, at 1,000, 10,000 and 100,000 changes/s."""
    _measure(["latency"], repeat, quick, plot, as_json)


@bench.command()
def relay(repeat: Repeat = 3, quick: Quick = False, plot: Plot = None, as_json: Json = False) -> None:
    """Whole relays end to end, beside plain Python, Go and a bare gRPC read; and what changes their speed."""
    _measure(["relay"], repeat, quick, plot, as_json)


@bench.command()
def consumer(repeat: Repeat = 5, quick: Quick = False, plot: Plot = None, as_json: Json = False) -> None:
    """The consumer library, from a socket to changes in Python, beside json.loads."""
    _measure(["consumer"], repeat, quick, plot, as_json)


@bench.command()
def scale(quick: Quick = False, plot: Plot = None, as_json: Json = False) -> None:
    """How cost grows: partitions, subscribers, threads, a long backlog; memory under load, and while idle."""
    _measure(["scale"], 1, quick, plot, as_json)


def _measure(parts: list[str], repeat: int, quick: bool, plot: Path | None, as_json: bool) -> None:
    # Brings in the peers, which nothing else needs.
    from rich.console import Console
    from rich.progress import Progress

    from spanwire import bench as measuring

    plan = measuring.Plan(1 if quick else repeat, quick)
    with Progress(console=Console(stderr=True), transient=True, disable=not sys.stderr.isatty()) as progress:
        task = progress.add_task("making ready", total=None)
        report = measuring.run(
            parts,
            plan,
            lambda done, total, what: progress.update(task, completed=done, total=total, description=what),
        )
    if plot is not None:
        from spanwire.bench.plot import draw

        draw(report, plot)
    if as_json:
        print_json(measuring.as_json(report))
    else:
        _show(report)


def _show(report: Report) -> None:
    from rich.console import Console
    from rich.table import Column, Table

    from spanwire.bench import judge

    console = Console()
    figures = Table(Column("figure", overflow="fold"), "median", "least", "most", "unit")
    for name, figure in report.figures.items():
        figures.add_row(name, *map(_number, (figure.median, figure.least, figure.most)), figure.unit)
    console.print(figures)
    budgets = Table("budget", "wanted", "figure", "peer", "ratio", "met")
    for one in judge(report):
        if one["met"] is not None:
            shown = (_number(one[name]) for name in ("figure", "peer", "ratio"))
            budgets.add_row(one["budget"], one["wanted"], *shown, "yes" if one["met"] else "NO")
    console.print(budgets)


def _number(value: Any) -> str:
    if value is None:
        return ""
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.4g}"
