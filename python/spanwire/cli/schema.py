"""`spanwire schema`: the published wire format, and the config's JSON Schema."""

from __future__ import annotations

import json
from importlib import resources
from typing import Annotated

import typer

from spanwire import config
from spanwire.cli.options import Json, print_json


def schema(
    of_config: Annotated[
        bool, typer.Option("--config", help="The JSON Schema of the config file, for editors.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Print envelope.capnp, from which any language can read the messages."""
    if of_config:
        typer.echo(json.dumps(config.schema(), indent=None if as_json else 2))
        return
    text = resources.files("spanwire").joinpath("envelope.capnp").read_text(encoding="utf-8")
    if as_json:
        print_json({"name": "envelope.capnp", "text": text})
    else:
        typer.echo(text, nl=False)
