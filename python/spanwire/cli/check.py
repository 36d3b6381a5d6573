"""`spanwire check`: would this config run, with every problem at once; and what would it send."""

from __future__ import annotations

import socket
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from spanwire import config as settings
from spanwire._core import Timestamp
from spanwire.cli.options import ConfigPath, Json, print_json
from spanwire.config import Config
from spanwire.config.endpoints import split_listen
from spanwire.errors import ConfigError, SpanwireError
from spanwire.source.retention import seconds_kept


def check(
    config: ConfigPath,
    sample: Annotated[
        Path | None,
        typer.Option(
            help="Show what each output would send for the records in this file; connect to nothing."
        ),
    ] = None,
    as_json: Json = False,
) -> None:
    """Check config, store, ports and the connection to Spanner; list every problem at once."""
    if sample is not None:
        _show(settings.load(config), sample, as_json=as_json)
        return
    found: dict[str, str] = {}
    try:
        loaded = settings.load(config)
    except ConfigError as error:
        problems, code = error.problems, 2
    else:
        problems, code = _at_work(loaded, found), 1
    if as_json:
        print_json({"ok": not problems, "problems": problems, **found})
    else:
        for problem in problems:
            typer.echo(problem, err=True)
        if not problems:
            typer.echo(f"{config}: fine ({', '.join(f'{name} {value}' for name, value in found.items())})")
    if problems:
        raise typer.Exit(code)


def _show(config: Config, sample: Path, *, as_json: bool) -> None:
    # Spanner's client takes a second to import, which no other command should wait for.
    from spanwire.cli.sample import echo, show

    shown = show(config, sample)
    if as_json:
        print_json({"ok": True, "outputs": [asdict(one) for one in shown]})
    else:
        echo(shown)


def _at_work(config: Config, found: dict[str, str]) -> list[str]:
    """What stands in the way of running a config that is well formed."""
    # Spanner's client takes a second to import, which no other command should wait for.
    from spanwire.relay import bind, build_pipeline
    from spanwire.source.connect import connect
    from spanwire.status import cannot_listen
    from spanwire.store import open_store

    def store() -> None:
        path = Path(config.store.path)
        was_there = path.exists()
        open_store(config.store, config.source.identity).close()
        if config.store.kind == "sqlite" and not was_there:
            # A check leaves nothing behind.
            for left in (path, path.with_name(f"{path.name}.lock")):
                left.unlink(missing_ok=True)

    def outputs() -> None:
        with ExitStack() as opened:
            for one in config.replays:
                bind(config, one, opened)
            opened.enter_context(build_pipeline(config))

    def status() -> None:
        if config.status.listen:
            try:
                socket.create_server(split_listen(config.status.listen)).close()
            except OSError as error:
                raise cannot_listen(config.status.listen, error) from None

    def source() -> None:
        with connect(config.source) as connection:
            found["dialect"] = connection.dialect
            found["retention"] = connection.retention
            problems.extend(_out_of_reach(config, connection.retention))

    problems: list[str] = []
    parts: dict[str, Callable[[], None]] = {
        "store": store,
        "output": outputs,
        "status.listen": status,
        "source": source,
    }
    for name, probe in parts.items():
        try:
            probe()
        except SpanwireError as error:
            text = str(error)
            problems.append(text if text.startswith(name) else f"{name}: {text}")
    return problems


def _out_of_reach(config: Config, retention: str) -> list[str]:
    """Times that can be written, and cannot be read."""
    source, now = config.source, Timestamp.now().seconds
    found = []
    if source.start_at is not None and source.start_at.seconds < now - seconds_kept(retention):
        found.append(
            f"source.start: {source.start} is older than the {retention} that the stream keeps; begin later"
        )
    if source.start_at is not None and source.start_at.seconds > now:
        found.append(f'source.start: {source.start} lies in the future; write "now" or a time that has been')
    if source.end_at is not None and source.start_at is None and source.end_at.seconds < now:
        found.append(
            f"source.end: {source.end} has passed, and reading would begin now; write an earlier start"
        )
    return found
