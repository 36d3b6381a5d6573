"""`spanwire tail`: shows changes as they come."""

from __future__ import annotations

import json
import time
from typing import Annotated, Any, Literal

import typer
from rich.console import Console
from rich.text import Text

from spanwire._core import Change, Untyped
from spanwire.cli.logs import set_up_logs
from spanwire.cli.options import Json, stopped_by_signals
from spanwire.consumer import Subscriber
from spanwire.errors import ConfigError, Gap, SpanwireError

_COLOURS = {"INSERT": "green", "UPDATE": "yellow", "DELETE": "red"}
_SILENCE_S = 1.5
"""A relay ticks every second."""
_NOBODY = 3
"""The exit code where no relay was heard: nothing was shown, and nothing can be said of the stream."""
_SLICE_S = 0.2
"""How often a quiet tail looks whether it should end."""


def tail(
    endpoint: Annotated[list[str], typer.Argument(help="Where a relay's pub or feed output is bound.")],
    kind: Annotated[
        Literal["pub", "feed"], typer.Option(help="What that output is; of another kind nothing is heard.")
    ] = "pub",
    topic: Annotated[
        list[str] | None, typer.Option(help="Show these topics only, such as shop/all_tables/orders/.")
    ] = None,
    count: Annotated[int | None, typer.Option(min=1, help="End after so many changes.")] = None,
    timeout: Annotated[float | None, typer.Option(min=0, help="End after so many seconds.")] = None,
    as_json: Json = False,
    canonical: Annotated[
        bool,
        typer.Option("--canonical", help="One canonical JSON line a change, the same in every language."),
    ] = False,
) -> None:
    """Show changes as they come. Gaps are told on stderr. Ends on Ctrl-C.

    Exit code 3: the timeout has passed and no relay was heard at all.
    """
    if as_json and canonical:
        raise ConfigError("--json: does not go with --canonical; choose one of them")
    set_up_logs()
    console = Console(soft_wrap=True, highlight=False)
    shown = 0
    joining = _Joining(endpoint, kind, topic or [])
    deadline = None if timeout is None else time.monotonic() + timeout
    with (
        stopped_by_signals() as stop,
        Subscriber(endpoint, topics=topic or [""], kind=kind, on_gap=_tell) as subscriber,
    ):
        while not stop.is_set() and (count is None or shown < count):
            left = _SLICE_S if deadline is None else min(_SLICE_S, deadline - time.monotonic())
            if left <= 0:
                break
            joining.look(subscriber)
            for change in subscriber.receive(left):
                if as_json:
                    typer.echo(json.dumps(_plain(change), ensure_ascii=False, default=_json))
                elif canonical:
                    typer.echo(change.canonical().encode())  # UTF-8, whatever the terminal's encoding is
                else:
                    console.print(_readable(change))
                shown += 1
                if shown == count:
                    break
        interrupted = stop.is_set()
        nobody = not subscriber.heard
    if count is not None and shown < count and not interrupted:
        raise SpanwireError(f"{shown} of {count} changes came in {timeout} s")
    if nobody and not interrupted:
        typer.echo(f"spanwire: no relay was heard at {', '.join(endpoint)} in {timeout} s", err=True)
        raise typer.Exit(_NOBODY)


class _Joining:
    """Says on stderr when the relays are heard: what is sent from then on is shown, or its loss told."""

    def __init__(self, endpoints: list[str], kind: str, topics: list[str]) -> None:
        self._endpoints, self._kind, self._topics = ", ".join(endpoints), kind, ", ".join(topics)
        self._began = time.monotonic()
        self._joined = self._told = False

    def look(self, subscriber: Subscriber) -> None:
        if self._joined:
            return
        self._joined = subscriber.wait_joined(0)
        if self._joined:
            typer.echo(f"spanwire: joined {self._endpoints}", err=True)
        elif not self._told and time.monotonic() - self._began > _SILENCE_S:
            self._told = True
            what = f"nothing heard from a relay at {self._endpoints} yet"
            ask = f'is an output of kind "{self._kind}" bound there'
            also = f", of the stream that {self._topics} names" if self._topics else ""
            typer.echo(f"spanwire: {what}; {ask}{also}?", err=True)


def _tell(gap: Gap) -> None:
    typer.echo(f"spanwire: {gap}", err=True)


def _readable(change: Change) -> Text:
    values = {"new": change.new, "old": change.old}
    line = Text()
    line.append(f"{change.version} ", style="dim")
    line.append(f"{change.mod_type} ", style=_COLOURS.get(change.mod_type, ""))
    line.append(f"{change.table} ", style="bold")
    line.append(_show(change.keys))
    for name, value in values.items():
        if value:
            line.append(f" {name} ", style="dim")
            line.append(_show(value))
    return line


def _show(values: dict[str, Any]) -> str:
    return json.dumps(values, ensure_ascii=False, default=_json)


def _plain(change: Change) -> dict[str, Any]:
    return {
        "version": str(change.version),
        "topic": change.topic,
        "table": change.table,
        "mod_type": change.mod_type,
        "keys": change.keys,
        "new": change.new,
        "old": change.old,
        "transaction_tag": change.transaction_tag,
    }


def _json(value: object) -> object:
    """What JSON has no word for: bytes as hexadecimal, Untyped as an object, all else as its text."""
    if isinstance(value, Untyped):
        return {"json": value.json, "type": value.type}
    return value.hex() if isinstance(value, bytes) else str(value)
