"""The commands put together, and what they do with errors.

Exit 0: fine. 1: failed at work. 2: wrong use or config. 3: nobody was there (`tail`). Data goes to stdout,
everything else to stderr.
"""

from __future__ import annotations

import os
import sys
import traceback
from typing import Annotated

import typer

from spanwire._core import __version__
from spanwire.cli.bench import bench
from spanwire.cli.check import check
from spanwire.cli.demo import demo
from spanwire.cli.group import group
from spanwire.cli.init import init
from spanwire.cli.replay import replay
from spanwire.cli.run import run
from spanwire.cli.schema import schema
from spanwire.cli.snapshot import snapshot
from spanwire.cli.tail import tail
from spanwire.errors import ConfigError, SpanwireError

app = typer.Typer(
    name="spanwire",
    help="The bridge from Google Cloud Spanner change streams to ZeroMQ.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
for command in (run, check, init, tail, replay, snapshot, demo, schema):
    app.command()(command)
app.add_typer(bench, name="bench")
app.add_typer(group, name="group")


def _show_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"spanwire {__version__}")
        raise typer.Exit


@app.callback()
def _options(
    _debug: Annotated[bool, typer.Option("--debug", help="Show the traceback of an error.")] = False,
    _version: Annotated[
        bool, typer.Option("--version", callback=_show_version, is_eager=True, help="Show the version.")
    ] = False,
) -> None:
    """The bridge from Google Cloud Spanner change streams to ZeroMQ."""


def main() -> None:
    """Run the command line, and end the process with its exit code."""
    try:
        app(prog_name="spanwire")  # ends the process by itself, wrong use with 2
    except ConfigError as error:
        code = _say(error, "\n".join(error.problems), 2)
    except SpanwireError as error:
        code = _say(error, str(error), 1)
    except BrokenPipeError:
        # Whoever read our output has gone: there is nobody left to tell, also not at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        code = 1
    except OSError as error:
        where = f"{error.filename}: " if error.filename else "cannot write or read: "
        code = _say(error, f"{where}{error.strerror or error}", 1)
    except Exception as error:
        hint = "spanwire --debug shows where; please report it"
        code = _say(error, f"internal error: {type(error).__name__}: {error} ({hint})", 1)
    sys.exit(code)


def _say(error: Exception, text: str, code: int) -> int:
    if "--debug" in sys.argv:
        traceback.print_exception(error)
    for line in text.splitlines():
        typer.echo(f"spanwire: {line}", err=True)
    return code
