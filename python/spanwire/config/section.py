"""What every section of the settings is."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from typing import Annotated

from pydantic import BaseModel, BeforeValidator, ConfigDict


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
