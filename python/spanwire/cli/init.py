"""`spanwire init`: a commented config, and on request the change stream itself."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from pydantic import BaseModel
from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined

from spanwire import config as settings
from spanwire.cli.options import Json, print_json
from spanwire.config import Config, OutputConfig
from spanwire.errors import ConfigError


def init(
    path: Annotated[Path, typer.Argument(help="Where to write the config.")] = Path("relay.toml"),
    project: Annotated[str, typer.Option(help="Google Cloud project.")] = "my-project",
    instance: Annotated[str, typer.Option(help="Spanner instance.")] = "my-instance",
    database: Annotated[str, typer.Option(help="Database.")] = "my-database",
    stream: Annotated[str, typer.Option(help="Change stream.")] = "all_tables",
    make_stream: Annotated[
        bool, typer.Option("--create-stream", help="Create the change stream in the database.")
    ] = False,
    table: Annotated[
        list[str] | None, typer.Option(help="With --create-stream: watch this table; all if not given.")
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Overwrite an existing file.")] = False,
    as_json: Json = False,
) -> None:
    """Write a config with every setting explained; create the change stream on request."""
    if path.exists() and not force:
        raise ConfigError(f"{path}: is there already; --force overwrites it")
    if table and not make_stream:
        raise ConfigError("--table: goes with --create-stream")
    given = {"project": project, "instance": instance, "database": database, "stream": stream}
    settings.parse({"source": given, "output": [{"kind": "pub", "bind": "tcp://127.0.0.1:5560"}]})
    text = commented_config(given)
    # What is written must be what can be read; a wrong name is noticed here, before anything is done.
    loaded = settings.parse_text(text, str(path))
    created = ""
    if make_stream:
        # Spanner's client takes a second to import, which no other command should wait for.
        from spanwire.source.create import create_stream

        created = create_stream(loaded.source, table or [])
    try:
        path.write_text(text, encoding="utf-8")
    except OSError as error:
        raise ConfigError(f"{path}: cannot be written: {error.strerror}") from None
    if as_json:
        print_json({"path": str(path), "created": created})
        return
    if created:
        typer.echo(created)
    typer.echo(f"wrote {path}; next: spanwire check {path}")


def commented_config(source: dict[str, str]) -> str:
    """A config as text: what is given or needed is set, all else is a comment with its default."""
    given: dict[str, dict[str, object]] = {
        "source": dict(source),
        "store": {"kind": "sqlite", "path": "spanwire.db"},
        "output": {"kind": "pub", "bind": "tcp://127.0.0.1:5560"},
        "security": {"mode": "none"},
    }
    lines = ["# The relay's settings. Lines that begin with # show defaults.", ""]
    for name, field in Config.model_fields.items():
        model = OutputConfig if name == "output" else field.annotation
        assert isinstance(model, type)
        assert issubclass(model, BaseModel)
        lines += [f"# {_one_line(field)}", f"[[{name}]]" if name == "output" else f"[{name}]"]
        for setting, described in model.model_fields.items():
            lines.append(f"# {_one_line(described)}")
            if setting in given.get(name, {}):
                lines.append(f"{setting} = {_toml(given[name][setting])}")
            else:
                lines.append(f"#{setting} = {_toml(_default(described))}")
        lines.append("")
    return "\n".join(lines)


def _one_line(field: FieldInfo) -> str:
    return " ".join((field.description or "").split())


def _default(field: FieldInfo) -> object:
    value = field.get_default(call_default_factory=True, validated_data={})
    if value is None or value is PydanticUndefined:
        return field.examples[0] if field.examples else ""
    return value


def _toml(value: object) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    return f'"{value}"' if isinstance(value, str) else str(value)
