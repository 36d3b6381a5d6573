"""`spanwire check`: would this config run, with every problem at once; and what would it send."""

from __future__ import annotations

import socket
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import asdict
from functools import partial
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
    warnings: list[str] = []
    try:
        loaded = settings.load(config)
    except ConfigError as error:
        problems, code = error.problems, 2
    else:
        problems, code = _at_work(loaded, found, warnings), 1
    if as_json:
        print_json({"ok": not problems, "problems": problems, "warnings": warnings, **found})
    else:
        for line in [*problems, *(f"warning: {warning}" for warning in warnings)]:
            typer.echo(line, err=True)
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


def _at_work(config: Config, found: dict[str, str], warnings: list[str]) -> list[str]:
    """What stands in the way of running a config that is well formed; fills in what else there is to say."""
    # Spanner's client takes a second to import, which no other command should wait for.
    from spanwire.relay import bind, build_pipeline
    from spanwire.relay.group.desk import Desk
    from spanwire.source.connect import connect
    from spanwire.source.unknown import unknown_names
    from spanwire.status import cannot_listen
    from spanwire.store import open_store

    def store() -> None:
        path = Path(config.store.path)
        was_there = path.exists()
        opened_store = open_store(config.store, config.source.identity)
        try:
            # What the store knows goes on from there, wherever it began.
            if opened_store.load():
                beginning.pop("source.start", None)
            known = {group.name for group in opened_store.groups() if group.state}
            for number, one in enumerate(config.output):
                if one.name in known:
                    beginning.pop(f"output[{number}].start", None)
        finally:
            opened_store.close()
        if config.store.kind == "sqlite" and not was_there:
            # A check leaves nothing behind.
            for left in (path, path.with_name(f"{path.name}.lock")):
                left.unlink(missing_ok=True)

    def output(number: int) -> None:
        one = config.output[number]
        if one.kind == "replay":
            bind(config, one, opened)
            return
        if one.kind == "group":
            opened.callback(Desk(one.bind[0]).close)
        opened.enter_context(build_pipeline(config, only=number))

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
            problems.extend(_out_of_reach(config, beginning, connection.retention))
            warnings.extend(unknown_names(connection, config))

    problems: list[str] = []
    beginning = _beginning(config)
    parts: dict[str, Callable[[], None]] = {
        "store": store,
        **{f"output[{number}]": partial(output, number) for number in range(len(config.output))},
        "status.listen": status,
        "source": source,
    }
    with ExitStack() as opened:  # outputs stay bound meanwhile: two of them may want one port
        for name, probe in parts.items():
            try:
                probe()
            except SpanwireError as error:
                text = str(error)
                problems.append(text if text.startswith(name) else f"{name}: {text}")
    return problems


def _beginning(config: Config) -> dict[str, str]:
    """Where to begin, by setting."""
    groups = {f"output[{n}].start": one.start for n, one in enumerate(config.output) if one.kind == "group"}
    return {"source.start": config.source.start, **groups}


def _out_of_reach(config: Config, beginning: dict[str, str], retention: str) -> list[str]:
    """Times that can be written, and cannot be read. `beginning`: where to begin, as far as it is used."""
    now, end = Timestamp.now().seconds, config.source.end_at
    found = [
        f"{setting}: {start} is older than the {retention} that the stream keeps; begin later"
        for setting, start in beginning.items()
        if start not in ("now", "store") and Timestamp.parse(start).seconds < now - seconds_kept(retention)
    ]
    if end is not None and beginning.get("source.start") in ("now", "store") and end.seconds < now:
        found.append(f"source.end: {end} has passed, and reading would begin now; write an earlier start")
    return found
