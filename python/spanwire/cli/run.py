"""`spanwire run`: the relay, until it is stopped."""

from __future__ import annotations

import sys
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, Annotated, Any

import structlog
import typer
from rich.console import Console

from spanwire import config as settings
from spanwire.cli.logs import set_up_logs
from spanwire.cli.options import ConfigPath, Json, print_json, stopped_by_signals
from spanwire.words import counted

if TYPE_CHECKING:
    from spanwire.relay import Relay

_log = structlog.get_logger("spanwire.run")


def run(
    config: ConfigPath,
    drain_s: Annotated[
        float, typer.Option("--drain-seconds", min=0, help="How long an end may take to send what was read.")
    ] = 10.0,
    as_json: Json = False,
) -> None:
    """Run the relay. Ctrl-C and SIGTERM send what was read, store progress and end."""
    # Spanner's client takes a second to import, which no other command should wait for.
    from spanwire import relay
    from spanwire.status import StatusServer

    loaded = settings.load(config)
    set_up_logs(loaded.status.log_level, loaded.status.log_format)
    last: dict[str, Any] = {}

    @contextmanager
    def beside(running: Relay) -> Iterator[None]:
        with ExitStack() as stack:
            if loaded.status.listen:
                stack.enter_context(StatusServer(running, loaded.status.listen))
            if sys.stderr.isatty() and not as_json:
                stack.enter_context(_status_line(running))
            if as_json:
                print_json({"event": "started", "endpoints": running.endpoints})
            _log.info("sending", stream=str(loaded.source.identity), endpoints=running.endpoints)
            try:
                yield
            finally:
                last.update(running.stats())

    with stopped_by_signals() as stop:
        relay.run(loaded, stop, beside=beside, drain_s=drain_s)
    counts = {name: last.get(name, 0) for name in ("changes", "duplicates", "records")}
    if as_json:
        print_json({"event": "stopped", **counts})
    _log.info("stopped", **counts)


@contextmanager
def _status_line(running: Relay) -> Iterator[None]:
    """One line at the foot of a terminal, renewed every second."""
    done = threading.Event()
    console = Console(stderr=True)
    with console.status("starting") as line:

        def renew() -> None:
            before = running.stats()["changes"]
            while not done.wait(1.0):
                status = running.status()
                changes = status["counters"]["changes"]
                lag, problems = status["lag_seconds"], counted(len(status["problems"]), "problem")
                line.update(
                    f"{counted(len(status['partitions']), 'partition')}, {counted(changes, 'change')}, "
                    f"{changes - before:,}/s, "
                    f"{'lag unknown' if lag is None else f'lag {lag:.1f} s'}"
                    + (f", [red]{problems}[/red]" if status["problems"] else "")
                )
                before = changes

        thread = threading.Thread(target=renew, name="status-line", daemon=True)
        thread.start()
        try:
            yield
        finally:
            done.set()
            thread.join()
