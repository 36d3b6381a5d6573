"""Which query a client sent: a change-stream read in either dialect, or something else."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TypeAlias

from google.protobuf import struct_pb2

from spanwire.simulator.schema import Dialect
from spanwire.simulator.status import invalid
from spanwire.simulator.values import parse_timestamp

Token: TypeAlias = tuple[str, str]
"""(kind, text): kind is name, quoted, string, number, parameter or sign."""

_LEXICON = re.compile(
    r"""\s*(?:
      (?P<skip>--[^\n]*|/\*.*?\*/)
    | (?P<quoted>`[^`]+`|"[^"]+")
    | (?P<string>'(?:[^'\\]|''|\\.)*')
    | (?P<parameter>@\w+|\$\d+)
    | (?P<number>\d+)
    | (?P<name>[A-Za-z_]\w*)
    | (?P<sign>=>|<>|!=|<=|>=|::|[(),.=*;<>@])
    )""",
    re.VERBOSE | re.DOTALL,
)
_PREFIXES: dict[Dialect, tuple[str, ...]] = {
    "googlesql": ("read_",),
    "postgresql": ("read_json_", "read_proto_bytes_"),
}
_ARGUMENTS = (
    "start_timestamp",
    "end_timestamp",
    "partition_token",
    "heartbeat_milliseconds",
    "read_options",
)


@dataclass(frozen=True, slots=True)
class ChangeQuery:
    """A read of a change stream. Times in nanoseconds since 1970, both inclusive."""

    function: str
    """READ_<stream>, read_json_<stream> or read_proto_bytes_<stream>, as it was written."""
    start: int
    end: int | None
    token: str | None
    """None: the initial query."""
    heartbeat: int
    """Milliseconds."""


def tokens(sql: str) -> list[Token]:
    """The statement's words; INVALID_ARGUMENT for what is not SQL."""
    found: list[Token] = []
    place = 0
    sql = sql.rstrip()
    while place < len(sql):
        match = _LEXICON.match(sql, place)
        if match is None or match.lastgroup is None:
            raise invalid(f"Syntax error: Illegal input character at {place}")
        place = match.end()
        if match.lastgroup != "skip":
            text = match[match.lastgroup]
            if match.lastgroup == "quoted":
                text = text[1:-1]
            found.append((match.lastgroup, text))
    if found and found[-1] == ("sign", ";"):
        found.pop()
    return found


def change_query(
    words: list[Token], parameters: Mapping[str, struct_pb2.Value], dialect: Dialect
) -> ChangeQuery | None:
    """The statement as a change-stream read; None where it is another one."""
    function, after = _function(words, dialect)
    if function is None:
        return None
    given = _arguments(words[after:], parameters)
    start, end = given.get("start_timestamp"), given.get("end_timestamp")
    heartbeat = given.get("heartbeat_milliseconds")
    if start is None:
        raise invalid("start_timestamp must not be null.")
    if heartbeat is None:
        raise invalid("heartbeat_milliseconds must not be null.")
    return ChangeQuery(
        function=function,
        start=_time("start_timestamp", start),
        end=None if end is None else _time("end_timestamp", end),
        token=given.get("partition_token"),
        heartbeat=_whole(heartbeat),
    )


def _function(words: list[Token], dialect: Dialect) -> tuple[str | None, int]:
    """The table function that is read from, and where its arguments start."""
    texts = [text.lower() if kind == "name" else text for kind, text in words]
    if texts[:1] != ["select"] or "from" not in texts:
        return None, 0
    if texts[1].lower() not in ("changerecord", "*"):
        return None, 0
    rest = texts.index("from") + 1
    if dialect == "postgresql":
        if [text.lower() for text in texts[rest : rest + 2]] != ["spanner", "."]:
            return None, 0
        rest += 2
    if len(words) <= rest + 1 or words[rest + 1] != ("sign", "("):
        return None, 0
    name = words[rest][1]
    return (name, rest + 1) if name.lower().startswith(_PREFIXES[dialect]) else (None, 0)


def _arguments(words: list[Token], parameters: Mapping[str, struct_pb2.Value]) -> dict[str, str | None]:
    """The arguments by name, positional ones too, as text; NULL is None."""
    given: dict[str, str | None] = {}
    place, number = 1, 0
    while place < len(words) and words[place] != ("sign", ")"):
        name = _ARGUMENTS[min(number, len(_ARGUMENTS) - 1)]
        if words[place + 1 : place + 2] == [("sign", "=>")]:
            name = words[place][1].lower()
            place += 2
        if name not in _ARGUMENTS:
            raise invalid(f"Named argument {name} not found in signature")
        kind, text = words[place] if place < len(words) else ("", "")
        if kind == "name" and text.upper() == "TIMESTAMP" and place + 1 < len(words):
            place += 1
            kind, text = words[place]
        given[name] = _literal(kind, text, parameters)
        place, number = place + 1, number + 1
        if words[place : place + 1] == [("sign", ",")]:
            place += 1
    if words[place : place + 1] != [("sign", ")")]:
        raise invalid("Syntax error: Expected ) at the end of the function's arguments")
    if words[place + 1 :]:
        raise invalid("Change stream queries take nothing after the table function")
    return given


def _literal(kind: str, text: str, parameters: Mapping[str, struct_pb2.Value]) -> str | None:
    if kind == "parameter":
        name = text[1:] if text[0] == "@" else f"p{text[1:]}"
        return _parameter(name, parameters)
    if kind == "string":
        return text[1:-1]
    if kind == "number":
        return text
    if kind == "name" and text.upper() == "NULL":
        return None
    raise invalid(f"Syntax error: Unexpected {text or 'end of statement'} among the function's arguments")


def _parameter(name: str, parameters: Mapping[str, struct_pb2.Value]) -> str | None:
    if name not in parameters:
        raise invalid(f"No parameter found for binding: {name}")
    value = parameters[name]
    match value.WhichOneof("kind"):
        case "null_value" | None:
            return None
        case "string_value":
            return value.string_value
        case kind:
            # INT64 and TIMESTAMP travel as strings.
            raise invalid(f"Invalid value for bind parameter {name}: Expected a string, found {kind}.")


def _time(name: str, text: str) -> int:
    try:
        return parse_timestamp(text)
    except ValueError:
        raise invalid(f"Invalid value for {name}: Could not parse a TIMESTAMP.") from None


def _whole(text: str) -> int:
    try:
        return int(text)
    except ValueError:
        raise invalid("Invalid value for heartbeat_milliseconds: Could not parse an INT64.") from None
