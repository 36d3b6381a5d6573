"""Tables as the simulator knows them, and their DDL in both dialects."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Literal

from google.cloud.spanner_v1.types import Type, TypeAnnotationCode, TypeCode

Dialect = Literal["googlesql", "postgresql"]
Code = Literal[
    "BOOL",
    "INT64",
    "FLOAT32",
    "FLOAT64",
    "NUMERIC",
    "STRING",
    "BYTES",
    "DATE",
    "TIMESTAMP",
    "JSON",
    "UUID",
    "INTERVAL",
    "PROTO",
    "ENUM",
    "PG_OID",
]
"""Spanner's type codes, and PG_OID: an INT64 with that annotation. PROTO and ENUM are GoogleSQL's alone."""

_DDL: dict[Dialect, dict[str, str]] = {
    "googlesql": {"STRING": "STRING(MAX)", "BYTES": "BYTES(MAX)"},
    "postgresql": {
        "BOOL": "boolean",
        "INT64": "bigint",
        "FLOAT32": "real",
        "FLOAT64": "double precision",
        "NUMERIC": "numeric",
        "STRING": "character varying",
        "BYTES": "bytea",
        "DATE": "date",
        "TIMESTAMP": "timestamp with time zone",
        "JSON": "jsonb",
        "UUID": "uuid",
        "INTERVAL": "interval",
        "PG_OID": "oid",
    },
}
_PG_ANNOTATIONS = {"NUMERIC": "PG_NUMERIC", "JSON": "PG_JSONB", "PG_OID": "PG_OID"}


@dataclass(frozen=True, slots=True)
class Column:
    """One column. `array`: of values of `code`. Key columns come first in a table, in key order."""

    name: str
    code: Code
    array: bool = False
    key: bool = False
    nullable: bool = False
    """Of a key column: it may be NULL, as all others may."""
    proto: str = ""
    """Of PROTO and ENUM: the full name of the message or enum."""

    def type(self, dialect: Dialect) -> Type:
        """The type as a google.spanner.v1.Type."""
        scalar = Type(code=TypeCode[self._code], proto_type_fqn=self.proto)
        if annotation := self._annotation(dialect):
            scalar.type_annotation = TypeAnnotationCode[annotation]
        return Type(code=TypeCode.ARRAY, array_element_type=scalar) if self.array else scalar

    def type_json(self, dialect: Dialect) -> dict[str, object]:
        """The type as a change record describes it."""
        scalar: dict[str, object] = {"code": self._code}
        if annotation := self._annotation(dialect):
            scalar["type_annotation"] = annotation
        if self.proto:
            scalar["proto_type_fqn"] = self.proto
        return {"array_element_type": scalar, "code": "ARRAY"} if self.array else scalar

    def ddl(self, dialect: Dialect) -> str:
        """The type as CREATE TABLE writes it."""
        scalar = f"`{self.proto}`" if self.proto else _DDL[dialect].get(self.code, self.code)
        if not self.array:
            return scalar
        return f"ARRAY<{scalar}>" if dialect == "googlesql" else f"{scalar}[]"

    @property
    def _code(self) -> str:
        return "INT64" if self.code == "PG_OID" else self.code

    def _annotation(self, dialect: Dialect) -> str:
        return _PG_ANNOTATIONS.get(self.code, "") if dialect == "postgresql" else ""


@dataclass(frozen=True)
class Table:
    """A table that the change stream watches. `name` carries its schema where it has one: `sales.items`."""

    name: str
    columns: tuple[Column, ...]

    @cached_property
    def keys(self) -> tuple[Column, ...]:
        """The primary key's columns."""
        return tuple(column for column in self.columns if column.key)

    @cached_property
    def values(self) -> tuple[Column, ...]:
        """The columns outside the key."""
        return tuple(column for column in self.columns if not column.key)

    @cached_property
    def key_names(self) -> tuple[str, ...]:
        """Names of the key's columns."""
        return tuple(column.name for column in self.keys)

    @cached_property
    def value_names(self) -> tuple[str, ...]:
        """Names of the columns outside the key."""
        return tuple(column.name for column in self.values)

    @cached_property
    def by_name(self) -> dict[str, Column]:
        """The columns by name."""
        return {column.name: column for column in self.columns}

    @cached_property
    def ordinals(self) -> dict[str, int]:
        """Each column's place in the table, from 1."""
        return {column.name: place for place, column in enumerate(self.columns, 1)}

    def ddl(self, dialect: Dialect) -> list[str]:
        """Statements that create the table in a real database, its schema included."""
        quote = "`" if dialect == "googlesql" else '"'
        name = ".".join(f"{quote}{part}{quote}" for part in self.name.split("."))
        columns = ", ".join(
            f"{quote}{column.name}{quote} {column.ddl(dialect)}"
            + (" NOT NULL" if column.key and not column.nullable else "")
            for column in self.columns
        )
        keys = ", ".join(f"{quote}{key}{quote}" for key in self.key_names)
        schema = self.name.rpartition(".")[0]
        before = [f"CREATE SCHEMA {quote}{schema}{quote}"] if schema else []
        if dialect == "googlesql":
            return [*before, f"CREATE TABLE {name} ({columns}) PRIMARY KEY ({keys})"]
        return [*before, f"CREATE TABLE {name} ({columns}, PRIMARY KEY ({keys}))"]


def stream_ddl(stream: str, capture: str, dialect: Dialect, mode: str = "immutable") -> str:
    """The statement that creates the change stream over all tables."""
    options = f"value_capture_type = '{capture}'"
    if mode == "mutable":
        options += ", partition_mode = 'MUTABLE_KEY_RANGE'"
    if dialect == "googlesql":
        return f"CREATE CHANGE STREAM `{stream}` FOR ALL OPTIONS ({options})"
    return f'CREATE CHANGE STREAM "{stream}" FOR ALL WITH ({options})'


def database_ddl(
    tables: Sequence[Table], stream: str, capture: str, dialect: Dialect, mode: str = "immutable"
) -> list[str]:
    """Everything that makes a real database look like the simulator's."""
    protos = sorted({column.proto for table in tables for column in table.columns if column.proto})
    statements = [f"CREATE PROTO BUNDLE ({', '.join(f'`{name}`' for name in protos)})"] if protos else []
    for table in tables:
        statements += [one for one in table.ddl(dialect) if one not in statements]
    return [*statements, stream_ddl(stream, capture, dialect, mode)]
