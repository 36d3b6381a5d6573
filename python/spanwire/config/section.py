"""What every section of the settings is."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict

Settings = Mapping[str, Any]
"""A section as it was written, nothing of it checked yet."""
Place = tuple[str | int, ...]
"""The path of a setting: names, and numbers of list entries."""
Problem = tuple[Place, str]
"""Where, and what is wrong there."""


def _as_text(value: object) -> object:
    """TOML has date-times of its own: take them where a timestamp is asked for."""
    if isinstance(value, datetime):
        if value.tzinfo is None:
            raise ValueError(f'needs a time zone: write "{value.isoformat()}Z"')
        return value.astimezone(UTC).isoformat().replace("+00:00", "Z")
    return value


TimestampText = Annotated[str, BeforeValidator(_as_text)]


class Section(BaseModel):
    """A section: no setting that is not known, no type but the one asked for."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, use_attribute_docstrings=True)


class Wrong(ValueError):
    """More than one thing is wrong with a setting."""

    def __init__(self, problems: list[str]) -> None:
        """`problems`: each what is wrong, in words of its own."""
        super().__init__("; ".join(problems))
        self.problems = problems


def all_fit(values: list[str], problem_of: Callable[[str], str | None]) -> list[str]:
    """The values, unless something is wrong with some."""
    if problems := [problem for one in values if (problem := problem_of(one))]:
        raise Wrong(problems)
    return values


def texts(value: object) -> list[str]:
    """The texts of a setting: it, its entries or its names. What else it holds is told elsewhere."""
    if isinstance(value, str):
        return [value]
    return [one for one in value if isinstance(one, str)] if isinstance(value, (list, dict)) else []


def sections(value: object) -> list[tuple[int, Settings]]:
    """The sections of a list with their numbers. What else it holds is told elsewhere."""
    entries = enumerate(value) if isinstance(value, list) else ()
    return [(number, one) for number, one in entries if isinstance(one, dict)]


def template_problem(value: str, *, buckets: bool) -> str | None:
    """What is wrong with a topic template; `buckets`: whether it names {bucket}."""
    if not value.endswith("/"):
        return f'must end in "/", is "{value}": write "{value}/"'
    rest = re.sub(
        r"\{(database|stream|table|bucket)\}" if buckets else r"\{(database|stream|table)\}", "", value
    )
    if found := re.search(r"\{[^}]*\}?|\}", rest):
        if found.group() == "{bucket}":
            return "names {bucket}, and there are no buckets; write buckets = 16 in the [[output]]"
        known = (
            "{database}, {stream}, {table} and {bucket}" if buckets else "{database}, {stream} and {table}"
        )
        return f'"{found.group()}" is not known; use {known}'
    if "{table}" not in value:
        return f'must name {{table}}, is "{value}": a topic is the changes of one table'
    if buckets and "{bucket}" not in value:
        return f'must name {{bucket}} where there are buckets: write "{value}{{bucket}}/"'
    return None
