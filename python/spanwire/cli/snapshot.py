"""`spanwire snapshot`: the rows of tables at one timestamp, as canonical lines on stdout."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from spanwire.cli.logs import set_up_logs
from spanwire.cli.options import Json, print_json, replay_endpoint, stopped_by_signals
from spanwire.consumer.snapshotting import Snapshot
from spanwire.consumer.snapshotting import snapshot as begin

_SHOWN_EVERY = 256


def snapshot(
    where: Annotated[
        str,
        typer.Argument(
            help="Where a relay's replay output is bound, or the relay's config file.",
            metavar="ENDPOINT_OR_CONFIG",
        ),
    ],
    table: Annotated[
        list[str] | None, typer.Option(help="Only these tables, such as sales.orders; all if not given.")
    ] = None,
    topic: Annotated[
        list[str] | None, typer.Option(help="Only these topics, such as shop/all_tables/orders/.")
    ] = None,
    at: Annotated[
        str | None, typer.Option(help="As of this RFC 3339 timestamp; as of now if not given.")
    ] = None,
    output: Annotated[
        int,
        typer.Option(min=0, help="With this output's choice and values; those of kind replay not counted."),
    ] = 0,
    resume: Annotated[
        Path | None,
        typer.Option(
            help="Keep here how far it is. Where the file is there already, go on from what it says; it is "
            "removed at the end."
        ),
    ] = None,
    patience: Annotated[
        float, typer.Option(min=0, help="Seconds to wait for a relay that is not there or has no room.")
    ] = 60.0,
    as_json: Json = False,
) -> None:
    """Print the rows of the tables that the stream watches, all as of one timestamp.

    Each is a canonical JSON line, as an insert of the row would be. With --json a last line on stderr says
    how many came, and as of when: the changes after that go on from there.
    """
    set_up_logs()
    kept = resume.read_text() if resume is not None and resume.exists() else ""
    with (
        begin(
            replay_endpoint(where),
            table or [],
            topics=topic or [],
            at=at,
            resume=kept,
            output=output,
            patience=patience,
        ) as rows,
        stopped_by_signals(rows.stop) as stop,
    ):
        _print(rows, stop.is_set, resume, show=sys.stderr.isatty() and not as_json)
    if resume is not None and rows.done:
        resume.unlink(missing_ok=True)
    if as_json:
        parts_done, parts = rows.parts
        summary = {
            "rows": rows.rows,
            "at": str(rows.at),
            "done": rows.done,
            "parts_done": parts_done,
            "parts": parts,
        }
        print_json(summary, err=True)
    if not rows.done:
        raise typer.Exit(1)


def _print(rows: Snapshot, stopped: object, resume: Path | None, *, show: bool) -> None:
    assert callable(stopped)
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("parts, {task.fields[rows]:,} rows"),
        TimeElapsedColumn(),
    )
    kept = rows.resume
    with Progress(*columns, console=Console(stderr=True), disable=not show) as progress:
        task = progress.add_task("waiting for the relay", total=None, rows=0)
        for row in rows:
            if rows.resume != kept:
                kept = _keep(rows, resume)
            typer.echo(row.canonical().encode())  # UTF-8, whatever the terminal's encoding is
            if rows.rows % _SHOWN_EVERY == 0:
                done, total = rows.parts
                progress.update(
                    task, description=f"as of {rows.at}", completed=done, total=total, rows=rows.rows
                )
            if stopped():
                break
        if rows.resume != kept:
            _keep(rows, resume)
        done, total = rows.parts
        progress.update(task, description=f"as of {rows.at}", completed=done, total=total, rows=rows.rows)


def _keep(rows: Snapshot, resume: Path | None) -> str:
    """Keep how far it is, once the rows before that are out of this process."""
    if resume is not None:
        sys.stdout.flush()
        beside = resume.with_name(f"{resume.name}.new")
        beside.write_text(rows.resume)
        beside.replace(resume)
    return rows.resume
