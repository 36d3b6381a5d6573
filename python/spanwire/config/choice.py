"""What goes out through an output: tables, rows and columns."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal

from pydantic import Field, field_validator

from spanwire._core import condition_problem
from spanwire.config.section import (
    Problem,
    Section,
    Settings,
    Wrong,
    all_fit,
    sections,
    template_problem,
    texts,
)
from spanwire.errors import ConfigError

MAX_BUCKETS = 4096
MIN_KEY_BYTES = 16
_MOD_TYPES = ("INSERT", "UPDATE", "DELETE")


def _table_problem(name: str) -> str | None:
    start = name.removesuffix("*")
    if not name or "*" in start:
        return f'must be a table or the beginning of names and "*", such as "sales.*", is "{name}"'
    return None


def _mod_type_problem(name: str) -> str | None:
    return None if name in _MOD_TYPES else f'must be "INSERT", "UPDATE" or "DELETE", is "{name}"'


class TableConfig(Section):
    """What goes out of one table through this output."""

    name: str = Field(examples=["orders"])
    """The table, with its schema where it has one, or a beginning of names: "sales.*". What several
    sections say of a table holds together."""
    columns: list[str] = Field(default=[])
    """These columns go out, and the primary key's; empty for all."""
    exclude_columns: list[str] = Field(default=[])
    """These columns do not go out."""
    where: list[str] = Field(default=[])
    """Rows go out that meet all of these, such as "amount >= 100" or "region in ('eu', 'us')"."""
    where_missing: Literal["send", "leave-out"] = "send"
    """A row of which a condition cannot be decided, because the change does not hold the column."""
    mask: list[str] = Field(default=[])
    """Columns whose values are replaced by "***"."""
    truncate: dict[str, int] = Field(default={})
    """Columns whose values are cut to so many characters (STRING) or bytes (BYTES)."""
    hash: list[str] = Field(default=[])
    """Columns whose values are replaced by their HMAC-SHA-256 under the key in hash_key_file."""

    @field_validator("name")
    @classmethod
    def _is_table(cls, value: str) -> str:
        return all_fit([value], _table_problem)[0]

    @field_validator("where")
    @classmethod
    def _are_conditions(cls, value: list[str]) -> list[str]:
        return all_fit(value, condition_problem)

    @field_validator("truncate")
    @classmethod
    def _are_lengths(cls, value: dict[str, int]) -> dict[str, int]:
        if wrong := [
            f'must be 0 or more for "{name}", is {most}' for name, most in value.items() if most < 0
        ]:
            raise Wrong(wrong)
        return value


class Choice(Section):
    """The settings of an output that say what goes out through it; all goes out without any."""

    tables: list[str] = Field(default=[], examples=[["orders", "sales.*"]])
    """These tables go out, or those whose names begin so; empty for all."""
    exclude_tables: list[str] = Field(default=[], examples=[["sales.audit"]])
    """These tables do not go out."""
    mod_types: list[str] = Field(default=[], examples=[["INSERT", "UPDATE"]])
    """These changes go out: "INSERT", "UPDATE", "DELETE"; empty for all."""
    topic: str | None = Field(default=None, examples=["{database}/{stream}/{table}/{bucket}/"])
    """Topic of a change through this output; source.topic if not given. Names {bucket} where there are
    buckets."""
    buckets: int | None = Field(default=None, examples=[16], ge=1, le=MAX_BUCKETS)
    """Rows are spread over so many topics by a hash of their primary key."""
    hash_key_file: str | None = Field(default=None, examples=["hash.key"])
    """The file that holds the key for hash: 16 bytes or more; white space around them does not count."""
    table: list[TableConfig] = Field(default=[])
    """What goes out of single tables: one [[output.table]] each."""

    @field_validator("tables", "exclude_tables")
    @classmethod
    def _names_tables(cls, value: list[str]) -> list[str]:
        return all_fit(value, _table_problem)

    @field_validator("mod_types")
    @classmethod
    def _are_mod_types(cls, value: list[str]) -> list[str]:
        return all_fit(value, _mod_type_problem)

    def choice(self, where: str = "output") -> dict[str, Any]:
        """As `_core.Output` takes it. ConfigError if the key cannot be read; `where`: the output's path."""
        names = {"tables", "exclude_tables", "mod_types", "buckets", "table"}
        given = self.model_dump(include=names, exclude_defaults=True)
        if self.hash_key_file is not None:
            given["hash_key"] = _read_key(self.hash_key_file, f"{where}.hash_key_file")
        return given


def choice_problems(given: Settings) -> Iterator[Problem]:
    """What does not go together in the choice of one output."""
    topic, tables = given.get("topic"), sections(given.get("table"))
    has_buckets = given.get("buckets") is not None
    if isinstance(topic, str):
        if problem := template_problem(topic, buckets=has_buckets):
            yield ("topic",), problem
    elif topic is None and has_buckets:
        yield ("topic",), 'buckets needs one, such as "{database}/{stream}/{table}/{bucket}/"'
    if given.get("hash_key_file") is None and any(table.get("hash") for _, table in tables):
        yield ("hash_key_file",), 'hash needs a key; write hash_key_file = "hash.key"'
    for number, table in tables:
        for place, problem in _table_problems(table):
            yield ("table", number, *place), problem


def _table_problems(given: Settings) -> Iterator[Problem]:
    """What is said of a column twice, or in vain."""
    columns = {one.lower() for one in texts(given.get("columns"))}
    said: dict[str, str] = {}
    for setting in ("exclude_columns", "mask", "truncate", "hash"):
        for column in texts(given.get(setting)):
            before = said.setdefault(column.lower(), setting)
            if before != setting:
                yield (setting,), f'"{column}" is in {before} and in {setting}; leave it in one of them'
            elif columns and setting == "exclude_columns":
                if column.lower() in columns:
                    yield (setting,), f'"{column}" is in columns and in {setting}; leave it in one of them'
            elif columns and column.lower() not in columns:
                yield (setting,), f'"{column}" is in {setting} and not in columns; add it there too'


def _read_key(path: str, setting: str) -> bytes:
    try:
        key = Path(path).read_bytes().strip()
    except OSError as error:
        raise ConfigError(f"{setting}: {path}: cannot be read: {error.strerror}") from None
    if len(key) < MIN_KEY_BYTES:
        raise ConfigError(
            f"{setting}: {path}: a key of {len(key)} bytes is guessed too easily; write {MIN_KEY_BYTES} "
            "bytes or more, such as openssl rand -hex 32 prints"
        )
    return key
