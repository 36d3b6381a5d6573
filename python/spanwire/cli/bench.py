"""`spanwire bench`: measures, beside what it is measured against, in one run."""

from __future__ import annotations

import sys
from typing import Annotated

import typer
from rich.console import Console
from rich.progress import Progress
from rich.table import Table

from spanwire.cli.options import Json, print_json

bench = typer.Typer(help="Measure throughput beside its peers and limits.", no_args_is_help=True)


@bench.callback()
def _bench() -> None:
    """Measure throughput beside its peers and limits."""


@bench.command()
def core(
    repeat: Annotated[int, typer.Option(min=1, help="Repetitions; medians are printed.")] = 5,
    as_json: Json = False,
) -> None:
    """The core alone and with PUB over TCP, beside plain Python and raw libzmq, in this very run."""
    # Brings in the peers, which nothing else needs.
    from spanwire import bench as measuring

    console = Console(stderr=True)
    with Progress(console=console, transient=True, disable=not sys.stderr.isatty()) as progress:
        task = progress.add_task("measuring", total=None)
        figures = measuring.core(repeat=repeat, tell=lambda what: progress.update(task, description=what))
    if as_json:
        print_json(figures)
        return
    table = Table("figure", "value")
    for name, value in figures.items():
        table.add_row(name, f"{value:,.2f}" if isinstance(value, float) else str(value))
    Console().print(table)
