"""From a TOML file to a `Config`, or to every problem in it at once."""

from __future__ import annotations

import difflib
import os
import tomllib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, get_args

from annotated_types import Ge, Le, MaxLen
from pydantic import BaseModel, ValidationError
from pydantic.fields import FieldInfo
from pydantic_core import ErrorDetails

from spanwire.config import together
from spanwire.config.models import Config
from spanwire.config.section import Place, Problem, Wrong
from spanwire.errors import ConfigError

_KINDS = {
    "int_type": "a whole number",
    "int_from_float": "a whole number",
    "string_type": "a text in quotes",
    "bool_type": "true or false",
    "list_type": "a list",
    "model_type": "a section",
    "dict_type": "a section",
}


def load(path: str | os.PathLike[str]) -> Config:
    """Read and check a config file. ConfigError lists every problem, each with its setting's path."""
    try:
        text = Path(path).read_text(encoding="utf-8")
    except FileNotFoundError:
        raise _config_error([f'{path}: no such file; "spanwire init" writes one']) from None
    except (OSError, UnicodeDecodeError) as error:
        why = error.strerror if isinstance(error, OSError) else "is not UTF-8 text"
        raise _config_error([f"{path}: cannot be read: {why}"]) from None
    return parse_text(text, str(path))


def parse_text(text: str, name: str) -> Config:
    """Check settings that are TOML text; `name` tells in errors where it came from."""
    try:
        settings = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise _config_error([f"{name}: is not TOML: {error}"]) from None
    return parse(settings)


def parse(settings: Mapping[str, Any]) -> Config:
    """Check settings that have been read already."""
    config, problems = None, list(together.problems(settings))
    try:
        config = Config.model_validate(dict(settings))
    except ValidationError as error:
        problems = [found for one in error.errors(include_url=False) for found in _problems(one)] + problems
    if config is None or problems:
        lines = [_line(f"{_path(place)}: {what}") for place, what in sorted(problems, key=_in_the_file)]
        raise _config_error(list(dict.fromkeys(lines)))
    return config


def schema() -> dict[str, Any]:
    """JSON Schema of the file, for editors."""
    return Config.model_json_schema()


def _config_error(problems: list[str]) -> ConfigError:
    return ConfigError("\n".join(problems), problems=problems)


def _line(text: str) -> str:
    """In one line, whatever names and values hold."""
    return "".join(one if one.isprintable() else one.encode("unicode_escape").decode() for one in text)


def _in_the_file(problem: Problem) -> tuple[int, int]:
    """Where a problem stands among others: by its section, of outputs by their number."""
    section, *rest = problem[0]
    known = list(Config.model_fields)
    place = known.index(str(section)) if section in known else len(known)
    return place, rest[0] if rest and isinstance(rest[0], int) else 0


def _problems(error: ErrorDetails) -> Iterator[Problem]:
    """What pydantic found: a check of a list names more than one problem."""
    location = tuple(error["loc"])
    found = [_describe(error, location)]
    if error["type"] == "value_error":
        wrong = error["ctx"]["error"]
        found = wrong.problems if isinstance(wrong, Wrong) else [str(wrong)]
    for line in found:
        yield location, line


def _describe(error: ErrorDetails, location: Place) -> str:
    kind, value, field = error["type"], error["input"], _field(location)
    if kind == "missing":
        text = f"is missing{_example(field, location)}"
    elif kind == "extra_forbidden":
        text = f"unknown setting; {_suggest(str(location[-1]), list(_model(location[:-1]).model_fields))}"
    elif kind == "too_short":
        text = f"needs at least one entry{_example(field, location)}"
    elif kind in _KINDS:
        quoted = kind == "int_type" and isinstance(value, str)
        text = f"must be {_KINDS[kind]}, is {_show(value)}" + ("; leave out the quotes" if quoted else "")
    elif field is None:
        text = f"{error['msg']}, is {_show(value)}"
    elif kind == "literal_error":
        text = _choice(field, value)
    elif kind == "string_too_long":
        text = f"must have {_bound(field, MaxLen, 'max_length')} characters at the most, has {len(value)}"
    else:
        text = f"must be {_bound(field, Ge, 'ge')} to {_bound(field, Le, 'le')}, is {_show(value)}"
    return text


def _choice(field: FieldInfo, value: object) -> str:
    choices = [str(choice) for choice in get_args(field.annotation)]
    hint = difflib.get_close_matches(str(value), choices, 1)
    return f"must be {_either(choices)}, is {_show(value)}" + (f'; did you mean "{hint[0]}"?' if hint else "")


def _path(location: Place) -> str:
    path = ""
    for part in location:
        path += f"[{part}]" if isinstance(part, int) else (f".{part}" if path else part)
    return path


def _example(field: FieldInfo | None, location: Place) -> str:
    if location == ("output",):
        return '; write [[output]] with kind = "pub" and bind = "tcp://127.0.0.1:5560"'
    if field is None:
        return ""
    if _section_of(field) is not None:
        return f"; write [{location[-1]}] with its settings"
    if field.examples:
        return f"; write {location[-1]} = {_show(field.examples[0])}"
    if choices := get_args(field.annotation):
        return f"; write {_either([str(choice) for choice in choices])}"
    return ""


def _suggest(name: str, known: list[str]) -> str:
    close = difflib.get_close_matches(name, known, 1, 0.6)
    return f'did you mean "{close[0]}"?' if close else f"known are {', '.join(known)}"


def _either(choices: list[str]) -> str:
    quoted = [f'"{choice}"' for choice in choices]
    return quoted[0] if len(quoted) == 1 else f"{', '.join(quoted[:-1])} or {quoted[-1]}"


def _show(value: object) -> str:
    """A value as TOML writes it, cut to a line."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, (int, float)):
        return str(value)
    if isinstance(value, str):
        return f'"{value[:77]}..."' if len(value) > 80 else f'"{value}"'
    return (
        "a section"
        if isinstance(value, dict)
        else "a list"
        if isinstance(value, list)
        else type(value).__name__
    )


def _bound(field: FieldInfo, kind: type, name: str) -> object:
    return next((getattr(part, name) for part in field.metadata if isinstance(part, kind)), "?")


def _section_of(field: FieldInfo | None) -> type[BaseModel] | None:
    """The model behind a field that is a section or a list of them."""
    if field is None:
        return None
    inner = field.annotation if not get_args(field.annotation) else get_args(field.annotation)[0]
    return inner if isinstance(inner, type) and issubclass(inner, BaseModel) else None


def _model(location: Place) -> type[BaseModel]:
    model: type[BaseModel] = Config
    for part in location:
        if isinstance(part, str):
            model = _section_of(model.model_fields[part]) or model
    return model


def _field(location: Place) -> FieldInfo | None:
    model: type[BaseModel] = Config
    field: FieldInfo | None = None
    for part in location:
        if isinstance(part, int):
            continue
        field = model.model_fields.get(part)
        if field is None:
            return None
        model = _section_of(field) or model
    return field
