"""The schema tables that clients look into: information_schema, and `SELECT 1`.

Answers `SELECT <columns or *> FROM <table> [WHERE <column> = <value> AND …] [ORDER BY …] [LIMIT n]`
over the tables below, with `=`, `!=` and `IN`; nothing more is asked by those who read streams.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

from google.cloud.spanner_v1.types import ResultSetMetadata, StructType, Type, TypeCode
from google.protobuf import struct_pb2

from spanwire.simulator.config import SimulatorConfig
from spanwire.simulator.protobuf import Tree
from spanwire.simulator.queries import Token
from spanwire.simulator.schema import Table
from spanwire.simulator.status import Refused, invalid, not_found

_ENDS = {"where", "order", "limit", "group"}
_KINDS = {"all": TypeCode.BOOL, "ordinal_position": TypeCode.INT64}
"""Columns that are no text in GoogleSQL."""


@dataclass(frozen=True, slots=True)
class Answer:
    """A query's result: metadata encoded, rows as trees."""

    metadata: bytes
    rows: list[list[Tree]]


class Catalogue:
    """What the schema tables of the simulated database hold."""

    def __init__(self, config: SimulatorConfig) -> None:
        self._google = config.dialect == "googlesql"
        schema = "" if self._google else "public"
        kind = "STRING" if self._google else "character varying"
        stream = {
            "change_stream_catalog": "",
            "change_stream_schema": schema,
            "change_stream_name": config.stream,
        }
        options = {
            "partition_mode": f"{config.mode.upper()}_KEY_RANGE",
            "retention_period": "1d",
            "value_capture_type": config.capture,
        }
        dialect = "GOOGLE_STANDARD_SQL" if self._google else "POSTGRESQL"
        self._schema = schema
        database = {"database_dialect": dialect, "version_retention_period": f"{config.version_retention_s}s"}
        self._tables: dict[str, list[dict[str, Tree]]] = {
            "database_options": [
                {
                    "catalog_name": "",
                    "schema_name": schema,
                    "option_name": name,
                    "option_type": kind,
                    "option_value": value,
                }
                for name, value in database.items()
            ],
            "change_streams": [{**stream, "all": True if self._google else "YES"}],
            "change_stream_options": [
                {**stream, "option_name": name, "option_type": kind, "option_value": value}
                for name, value in options.items()
            ],
            "change_stream_tables": [],
            "change_stream_columns": [],
        }

    def _with(self, tables: Iterable[Table]) -> dict[str, list[dict[str, Tree]]]:
        """All schema tables, of a database with these tables."""
        found: dict[str, list[dict[str, Tree]]] = {"tables": [], "columns": [], "index_columns": []}
        for table in tables:
            own, _, name = table.name.rpartition(".")
            named: dict[str, Tree] = {
                "table_catalog": "",
                "table_schema": own or self._schema,
                "table_name": name,
            }
            found["tables"].append({**named, "table_type": "BASE TABLE"})
            found["columns"] += [
                {**named, "column_name": column, "ordinal_position": str(place), "is_generated": "NEVER"}
                for column, place in table.ordinals.items()
            ]
            found["index_columns"] += [
                {
                    **named,
                    "index_name": "PRIMARY_KEY",
                    "index_type": "PRIMARY_KEY",
                    "column_name": column,
                    "ordinal_position": str(place),
                }
                for place, column in enumerate(table.key_names, 1)
            ]
        return self._tables | found

    def answer(
        self, words: list[Token], parameters: Mapping[str, struct_pb2.Value], tables: Iterable[Table]
    ) -> Answer:
        """The query's result, in a database with these tables.

        UNIMPLEMENTED, in words, for one that the simulator does not answer.
        """
        texts = [text.lower() if kind in ("name", "quoted") else text for kind, text in words]
        if texts[:1] != ["select"]:
            raise unsupported()
        if "from" not in texts:
            return self._literal(words[1:])
        place = texts.index("from") + 1
        schema, table, after = _table(texts, place)
        if schema != "information_schema":
            raise not_found(f"Table not found: {table}")
        schema_tables = self._with(tables)
        if table not in schema_tables:
            raise not_found(f"Table not found: INFORMATION_SCHEMA.{table.upper()}")
        all_rows = rows = schema_tables[table]
        while after < len(words) and texts[after] not in _ENDS:
            after += 1  # an alias
        where, rest = _section(texts, after, "where")
        rows = [row for row in rows if _matches(row, words[where:rest], parameters)] if where else rows
        return self._select(words[1 : place - 1], rows, all_rows)

    def _select(
        self, wanted: list[Token], rows: list[dict[str, Tree]], all_rows: list[dict[str, Tree]]
    ) -> Answer:
        columns = list(all_rows[0]) if all_rows else []
        texts = [text for _, text in wanted]
        if texts == ["1"]:
            return _answer(["" if self._google else "?column?"], [["1"] for _ in rows], {0: TypeCode.INT64})
        if [text.lower() for text in texts] == ["count", "(", "*", ")"]:
            return _answer(["" if self._google else "count"], [[str(len(rows))]], {0: TypeCode.INT64})
        if texts != ["*"]:
            columns = [names[-1] for names in _split(texts)]
        names = [name.lower() for name in columns]
        for name in names:
            if all_rows and name not in all_rows[0]:
                raise invalid(f"Unrecognized name: {name}")
        kinds = {place: _KINDS[name] for place, name in enumerate(names) if name in _KINDS}
        if not self._google:
            kinds = {place: kind for place, kind in kinds.items() if kind != TypeCode.BOOL}
        shown = [name.upper() for name in columns] if texts == ["*"] and self._google else columns
        return _answer(shown, [[row[name] for name in names] for row in rows], kinds)

    def _literal(self, wanted: list[Token]) -> Answer:
        if [kind for kind, _ in wanted] == ["number"]:
            return _answer(["" if self._google else "?column?"], [[wanted[0][1]]], {0: TypeCode.INT64})
        raise unsupported()


def unsupported() -> Refused:
    """The answer to what the simulator does not do."""
    from grpc import StatusCode  # noqa: PLC0415

    return Refused(
        StatusCode.UNIMPLEMENTED,
        "this is a simulator: it answers reads of change streams and of whole tables, look-ups in "
        "information_schema and SELECT 1",
    )


def _table(texts: list[str], place: int) -> tuple[str, str, int]:
    if texts[place + 1 : place + 2] == ["."] and place + 2 < len(texts):
        return texts[place], texts[place + 2], place + 3
    return "", texts[place] if place < len(texts) else "", place + 1


def _section(texts: list[str], after: int, name: str) -> tuple[int, int]:
    """Where that clause's words are; (0, 0) where it is not there."""
    if after >= len(texts) or texts[after] != name:
        return 0, 0
    end = next((at for at in range(after + 1, len(texts)) if texts[at] in _ENDS), len(texts))
    return after + 1, end


def _split(texts: list[str]) -> Iterator[list[str]]:
    """The words between the commas of a list of columns."""
    own: list[str] = []
    for text in texts:
        if text == ",":
            yield own
            own = []
        elif text != ".":
            own.append(text)
    yield own


def _matches(row: dict[str, Tree], where: list[Token], parameters: Mapping[str, struct_pb2.Value]) -> bool:
    conditions: list[list[Token]] = [[]]
    for word in where:
        if word[0] == "name" and word[1].lower() == "and":
            conditions.append([])
        else:
            conditions[-1].append(word)
    return all(_holds(row, condition, parameters) for condition in conditions)


def _holds(row: dict[str, Tree], condition: list[Token], parameters: Mapping[str, struct_pb2.Value]) -> bool:
    """One `column = value`, `column != value` or `column IN (…)`."""
    if condition[1:2] == [("sign", ".")]:
        condition = condition[2:]  # the alias
    if len(condition) < 3:
        raise unsupported()
    name, operator = condition[0][1].lower(), condition[1][1].lower()
    if name not in row:
        raise invalid(f"Unrecognized name: {name}")
    values = [_value(word, parameters) for word in condition[2:] if word[1] not in ("(", ")", ",")]
    if operator in ("=", "in"):
        return row[name] in values
    if operator in ("!=", "<>"):
        return row[name] not in values
    raise unsupported()


def _value(word: Token, parameters: Mapping[str, struct_pb2.Value]) -> Tree:
    kind, text = word
    if kind == "string":
        return text[1:-1]
    if kind == "parameter":
        name = text[1:] if text[0] == "@" else f"p{text[1:]}"
        return parameters[name].string_value if name in parameters else None
    if kind == "name" and text.lower() in ("true", "false"):
        return text.lower() == "true"
    return text


def _answer(names: list[str], rows: list[list[Tree]], kinds: dict[int, TypeCode]) -> Answer:
    fields = [
        StructType.Field(name=name, type_=Type(code=kinds.get(place, TypeCode.STRING)))
        for place, name in enumerate(names)
    ]
    metadata = ResultSetMetadata(row_type=StructType(fields=fields))
    return Answer(bytes(ResultSetMetadata.serialize(metadata)), rows)
