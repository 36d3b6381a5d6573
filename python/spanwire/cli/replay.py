"""`spanwire replay`: changes that were sent before, as canonical lines on stdout."""

from __future__ import annotations

import sys
import time
from typing import Annotated

import typer
from rich.console import Console

from spanwire.cli.logs import set_up_logs
from spanwire.cli.options import Json, print_json, replay_endpoint, stopped_by_signals
from spanwire.consumer.replaying import Replay
from spanwire.consumer.replaying import replay as begin
from spanwire.words import counted

_SHOWN_S = 0.5


def replay(
    where: Annotated[
        str,
        typer.Argument(
            help="Where a relay's replay output is bound, or the relay's config file.",
            metavar="ENDPOINT_OR_CONFIG",
        ),
    ],
    after: Annotated[str, typer.Option("--from", help="Changes later than this RFC 3339 timestamp.")],
    until: Annotated[
        str | None, typer.Option("--to", help="Up to and including this one; what is there now if not given.")
    ] = None,
    topic: Annotated[
        list[str] | None, typer.Option(help="Only these topics, such as shop/all_tables/orders/.")
    ] = None,
    output: Annotated[
        int,
        typer.Option(min=0, help="As this output of the relay sent them; those of kind replay not counted."),
    ] = 0,
    rate: Annotated[int | None, typer.Option(min=1, help="At the most so many changes a second.")] = None,
    limit: Annotated[int | None, typer.Option(min=1, help="End after so many changes.")] = None,
    patience: Annotated[
        float, typer.Option(min=0, help="Seconds to wait for a relay that is not there or has no room.")
    ] = 60.0,
    as_json: Json = False,
) -> None:
    """Print changes of the past as canonical JSON lines, read again from Spanner by a relay.

    With --json a last line on stderr says how many came, and up to where.
    """
    set_up_logs()
    endpoint = replay_endpoint(where)
    with (
        begin(
            endpoint, topic or [], after, until, output=output, rate=rate, limit=limit, patience=patience
        ) as replayed,
        stopped_by_signals(replayed.stop) as stop,
    ):
        _print(replayed, stop.is_set, show=sys.stderr.isatty() and not as_json)
    if as_json:
        summary = {"changes": replayed.changes, "position": str(replayed.position)}
        print_json(summary, err=True)
    if stop.is_set():
        raise typer.Exit(1)


def _print(replayed: Replay, stopped: object, *, show: bool) -> None:
    assert callable(stopped)
    console = Console(stderr=True)
    began = shown = time.monotonic()
    with console.status("waiting for the relay") as line:
        if not show:
            line.stop()
        for change in replayed:
            typer.echo(change.canonical().encode())  # UTF-8, whatever the terminal's encoding is
            if stopped():
                return
            now = time.monotonic()
            if show and now - shown > _SHOWN_S:
                shown = now
                line.update(
                    f"{counted(replayed.changes, 'change')}, {replayed.changes / (now - began):,.0f}/s, "
                    f"complete up to {replayed.position}"
                )
