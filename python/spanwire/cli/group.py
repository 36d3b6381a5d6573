"""`spanwire group`: work groups and their dead letters, as the store has them."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from spanwire._core import Message
from spanwire.cli.options import ConfigPath, Json, print_json
from spanwire.errors import ConfigError
from spanwire.records import DeadLetter
from spanwire.words import counted

group = typer.Typer(no_args_is_help=True, help="Work groups: how far they are, and their dead letters.")

Name = Annotated[str, typer.Argument(help="The group, as its output names it.")]


@group.command("list")
def list_groups(config: ConfigPath, as_json: Json = False) -> None:
    """Show every group, how far all is handled, and how many dead letters it has."""
    from spanwire.config import load
    from spanwire.relay.group.state import watermark_of
    from spanwire.store import groups_beside

    settings = load(config)
    with groups_beside(settings.store, settings.source.identity) as beside:
        for one in beside.all():
            letters, requeued = beside.count(one.name)
            watermark = str(watermark_of(one.state) or "")
            if as_json:
                print_json(
                    {"group": one.name, "watermark": watermark, "dead_letters": letters, "requeued": requeued}
                )
            else:
                typer.echo(
                    f"{one.name}: handled up to {watermark}, {counted(letters, 'dead letter')}, "
                    f"{requeued:,} requeued"
                )


@group.command()
def dead(config: ConfigPath, name: Name, as_json: Json = False) -> None:
    """Show the dead letters of a group; with --json also their changes in canonical form."""
    from spanwire.config import load
    from spanwire.store import groups_beside

    settings = load(config)
    with groups_beside(settings.store, settings.source.identity) as beside:
        beside.named(name)
        for letter in beside.dead_letters(name):
            if as_json:
                print_json(_plain(letter))
            else:
                again = ", requeued" if letter.requeued else ""
                typer.echo(
                    f"{letter.id}: {letter.version} of {letter.table or 'an unknown table'}: {letter.reason} "
                    f"({letter.deliveries} deliveries, {letter.at}{again})"
                )


@group.command()
def requeue(
    config: ConfigPath,
    name: Name,
    letter: Annotated[
        list[int] | None, typer.Argument(help="Numbers of dead letters, as `spanwire group dead` shows them.")
    ] = None,
    everything: Annotated[bool, typer.Option("--all", help="Requeue all of them.")] = False,
    as_json: Json = False,
) -> None:
    """Have dead letters delivered again: at once where the relay runs, else when it does."""
    from spanwire.config import load
    from spanwire.store import groups_beside

    if bool(letter) == everything:
        raise ConfigError("letter: name the dead letters to requeue, or write --all")
    settings = load(config)
    with groups_beside(settings.store, settings.source.identity) as beside:
        beside.named(name)
        number = beside.requeue(name, None if everything else letter)
    if as_json:
        print_json({"group": name, "requeued": number})
    else:
        typer.echo(f"requeued {counted(number, 'dead letter')} of {name}")


def _plain(letter: DeadLetter) -> dict[str, Any]:
    found: dict[str, Any] = {
        "id": letter.id,
        "version": letter.version,
        "table": letter.table,
        "reason": letter.reason,
        "deliveries": letter.deliveries,
        "at": str(letter.at),
        "requeued": letter.requeued,
    }
    message = Message.decode(letter.frames)
    if message.kind == "changes":
        found["change"] = message.changes()[letter.place].canonical()
    return found
