"""Arguments and options that several commands share."""

from __future__ import annotations

import json
import signal
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Annotated, Any

import typer

from spanwire import config as settings
from spanwire.errors import ConfigError

ConfigPath = Annotated[Path, typer.Argument(help="The config file; `spanwire init` writes one.")]
Json = Annotated[bool, typer.Option("--json", help="Print JSON lines in place of text.")]


def print_json(value: Mapping[str, Any], *, err: bool = False) -> None:
    """One line of JSON on stdout, or stderr, at once."""
    typer.echo(json.dumps(value, ensure_ascii=False, default=str), err=err)


@contextmanager
def stopped_by_signals(stop_it: Callable[[], None] = lambda: None) -> Iterator[threading.Event]:
    """An event that Ctrl-C and SIGTERM set; a second one of them ends the process at once.

    `stop_it`: called by the first one.
    """
    stop = threading.Event()

    def on_signal(number: int, _: FrameType | None) -> None:
        if stop.is_set():
            signal.signal(number, signal.SIG_DFL)
            signal.raise_signal(number)
        stop.set()
        stop_it()

    before = {number: signal.signal(number, on_signal) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield stop
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def replay_endpoint(where: str) -> str:
    """An endpoint as it is; of a config file, that of its first output of kind "replay"."""
    if "://" in where:
        return where
    found = settings.load(Path(where)).replays
    if not found:
        raise ConfigError(
            f'{where}: has no output to replay from; write [[output]] with kind = "replay" and '
            'bind = "tcp://127.0.0.1:5570"'
        )
    [endpoint] = found[0].bind
    if endpoint.endswith((":*", ":0")):
        raise ConfigError(f"{where}: the port of {endpoint} is not known here; name the endpoint instead")
    return endpoint.replace("://*:", "://127.0.0.1:").replace("://0.0.0.0:", "://127.0.0.1:")
