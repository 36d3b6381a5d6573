"""A change stream that holds every type and every edge, in the bytes that Spanner sends.

What is here is JSON text, as Spanner writes it into a record's keys, new and old values.
"""

from __future__ import annotations

import json
import random
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Any, Literal

from google.protobuf.json_format import ParseDict, ParseError
from google.protobuf.struct_pb2 import Value
from support import change_stream_records, raw_records
from support.change_records import data_change, heartbeat, message
from support.raw_records import Dialect

Column = tuple[str, dict[str, Any], bool, int]
Mode = Literal["immutable", "mutable"]
Text = str

STRINGS = (
    '""',
    '"plain"',
    r'"quote \" backslash \\ slash \/ / backspace \b \f \n \r \t"',
    r'"controls \u0000 \u0001 \u001f \u007f"',
    '"\x7f \u2028 \ufeff \uffff \U0001f680 \U0010ffff"',
    r'"\ud83d\ude80 \u00e9 \u6f22 \uFFFF <>& \u2029"',
    '"ünïcödé 漢字 العربية हिन्दी"',
    '"\ufeffbegins with a byte order mark"',
    '"null"',
)
MISFIT_STRINGS = (r'"\ud83d"', r'"\ude80\ud83d"', r'"x\ud83dx"', "1", "true", "[]", '{"a": 1}')
INTEGERS = (
    '"0"',
    '"-1"',
    '"9223372036854775807"',
    '"-9223372036854775808"',
    '"9007199254740993"',
    "12",
    "-0",
)
MISFIT_INTEGERS = (
    '"9223372036854775808"',
    '"-9223372036854775809"',
    '"99999999999999999999"',
    '"00000000000000000007"',
    '"+1"',
    '" 1"',
    '""',
    '"1.0"',
    r'"\u0031"',
    "1.5",
    "1e3",
    "9223372036854775808",
    "true",
    "{}",
)
FLOATS = (
    "0",
    "-0",
    "-0.0",
    "1.5",
    "0.1",
    "3.4028234663852886e38",
    "5e-324",
    "1.7976931348623157E+308",
    "1e-400",
    "9007199254740993",
    "0.30000000000000004440892098500626161694526672363281250000001",
    '"NaN"',
    '"Infinity"',
    '"-Infinity"',
)
MISFIT_FLOATS = ('"1.5"', '"nan"', '"+Infinity"', "1e400", "-1e999", "false", '""', r'"\u004eaN"')
SINGLES = (
    *(text for text in FLOATS if "E+308" not in text),
    "0.10000000149011612",
    "1.401298464324817e-45",
    "3.4028235677973362e38",
    "-3.4028235677973362e38",
)
MISFIT_SINGLES = ("3.4028235677973366e38", "-3.4028235677973366e38", "1e39", "1.7976931348623157E+308")
"""The first is what rounds to an infinity: half a step beyond the greatest FLOAT32."""
TIMESTAMPS = (
    '"0001-01-01T00:00:00Z"',
    '"0001-01-01T00:00:00.000000001Z"',
    '"1969-12-31T23:59:59.999999999Z"',
    '"1970-01-01T00:00:00+00:00"',
    '"2024-02-29T12:34:56.7Z"',
    '"1900-02-28T00:00:00.12345678Z"',
    '"9999-12-31T23:59:59.999999999Z"',
)
MISFIT_TIMESTAMPS = (
    '"0000-01-01T00:00:00Z"',
    '"10000-01-01T00:00:00Z"',
    '"2023-02-29T00:00:00Z"',
    '"1900-02-29T00:00:00Z"',
    '"2024-13-01T00:00:00Z"',
    '"2024-01-01T24:00:00Z"',
    '"2024-01-01T00:00:60Z"',
    '"2024-01-01 00:00:00Z"',
    '"2024-01-01T00:00:00"',
    '"2024-01-01T00:00:00.Z"',
    '"2024-01-01T00:00:00.1234567890Z"',
    '"2024-01-01T00:00:00+01:00"',
    '"2024-01-01T00:00:00z"',
    '"2024-01-01T00:00:00Z\\n"',
    "0",
)
BYTES = ('""', '"AA=="', '"AAE="', '"AAEC"', '"+/+/"', r'"\/\/8="')
MISFIT_BYTES = (
    '"A"',
    '"AA"',
    '"AB=="',
    '"AAF="',
    '"-_8="',
    '"AA==\\n"',
    '"A A="',
    '"===="',
    '"AA==AA=="',
    "7",
)
NUMERICS = (
    '"0"',
    '"-0"',
    '"007"',
    '"-99999999999999999999999999999.999999999"',
    '"0.000000001"',
    '"1234567890123456789012345678901234567890.12345678901234567890"',
    '"1.5E-7"',
    '"1e9"',
    '"-1E+5"',
    "1.50",
    "-1E+5",
)
MISFIT_NUMERICS = (
    '""',
    '"-"',
    '".5"',
    '"5."',
    '"1.e5"',
    '"+5"',
    '"--1"',
    '"1e"',
    '"1e+"',
    '"1e1.5"',
    '" 1"',
    '"1\\n"',
    '"1_0"',
    '"0x1"',
    '"1,5"',
    '"Infinity"',
    '"-NaN"',
    '"nan"',
    '"٣"',
    r'"\u0031"',
    "true",
    "[1]",
    '{"a": 1}',
)
DATES = ('"0001-01-01"', '"1-01-01"', '"2024-02-29"', '"2000-02-29"', '"9999-12-31"')
MISFIT_DATES = (
    '""',
    '"2023-02-29"',
    '"1900-02-29"',
    '"2024-04-31"',
    '"0000-01-01"',
    '"0-01-01"',
    '"10000-01-01"',
    '"2024-00-01"',
    '"2024-13-01"',
    '"2024-01-00"',
    '"2024-01-32"',
    '"2024-1-01"',
    '"2024-01-1"',
    '"2024-01-001"',
    '"2024-01--1"',
    '"-001-01-01"',
    '"2024/01/01"',
    '"2024-01-01T"',
    '"2024-01-01\\n"',
    '"٢٠٢٤-01-01"',
    r'"2024\u002d01-01"',
    '"today"',
    "20240101",
)
UUIDS = (
    '"00000000-0000-0000-0000-000000000000"',
    '"f81d4fae-7dec-11d0-a765-00a0c91e6bf6"',
    '"F81D4FAE-7DEC-11D0-A765-00A0C91E6BF6"',
)
MISFIT_UUIDS = (
    '""',
    '"f81d4fae7dec11d0a76500a0c91e6bf6"',
    '"{f81d4fae-7dec-11d0-a765-00a0c91e6bf6}"',
    '"g81d4fae-7dec-11d0-a765-00a0c91e6bf6"',
    '"f81d4fae-7dec-11d0-a765-00a0c91e6bf"',
    '"f81d4fae-7dec-11d0-a765-00a0c91e6bf6a"',
    '"f81d4fae-7dec-11d0-a76-500a0c91e6bf6"',
    '"f81d4fae-7dec-11d0-a765-00a0c91e6bf6\\n"',
    r'"f81d4fae\u002d7dec-11d0-a765-00a0c91e6bf6"',
    "0",
)
INTERVALS = (
    '"P0Y"',
    '"P1Y2M3DT4H5M6.789S"',
    '"P-1Y-2M-3DT-4H-5M-6.000000001S"',
    '"P-10000Y"',
    '"P1M"',
    '"PT1M"',
    '"P2W"',
    '"PT0S"',
    '"P1Y2W"',
    '"PT0012S"',
)
MISFIT_INTERVALS = (
    '""',
    '"P"',
    '"PT"',
    '"P1YT"',
    '"1Y"',
    '"P1"',
    '"P1H"',
    '"PT1D"',
    '"P1.5Y"',
    '"PT1.5H"',
    '"P1Y1Y"',
    '"P1M1Y"',
    '"PT1S1M"',
    '"PT1.S"',
    '"PT.5S"',
    '"P--1Y"',
    '"P-Y"',
    '"P+1Y"',
    '"-P1Y"',
    '"p1y"',
    '"PTT1S"',
    '"PT1HT1S"',
    '"P1Y\\n"',
    '"P٣Y"',
    r'"P\u0031Y"',
    "1",
)
JSONS = (
    '"{}"',
    r'"{\"a\": [1, null, {\"b\": \"quote \\\" and \\\\ and \\u00e9 and 🚀\"}], \"\": \"\"}"',
    '"null"',
    r'"\"\""',
    '{"a": [1,  2.50, "x"] , "b":{}}',
    "[ ]",
    "12.50",
    "true",
)

TYPES: dict[str, tuple[dict[str, Any], Sequence[Text], Sequence[Text]]] = {
    "bool": ({"code": "BOOL"}, ("true", "false"), ('"true"', "0", "1", "[true]")),
    "int64": ({"code": "INT64"}, INTEGERS, MISFIT_INTEGERS),
    "oid": ({"code": "INT64", "type_annotation": "PG_OID"}, ('"0"', '"4294967295"', "7"), MISFIT_INTEGERS),
    "enum": ({"code": "ENUM", "proto_type_fqn": "shop.Colour"}, INTEGERS, MISFIT_INTEGERS),
    "float64": ({"code": "FLOAT64"}, FLOATS, MISFIT_FLOATS),
    "float32": ({"code": "FLOAT32"}, SINGLES, (*MISFIT_FLOATS, *MISFIT_SINGLES)),
    "string": ({"code": "STRING"}, STRINGS, MISFIT_STRINGS),
    "date": ({"code": "DATE"}, DATES, MISFIT_DATES),
    "interval": ({"code": "INTERVAL"}, INTERVALS, MISFIT_INTERVALS),
    "uuid": ({"code": "UUID"}, UUIDS, MISFIT_UUIDS),
    "timestamp": ({"code": "TIMESTAMP"}, TIMESTAMPS, MISFIT_TIMESTAMPS),
    "bytes": ({"code": "BYTES"}, BYTES, MISFIT_BYTES),
    "proto": ({"code": "PROTO", "proto_type_fqn": "shop.Order"}, BYTES, MISFIT_BYTES),
    "numeric": ({"code": "NUMERIC"}, NUMERICS, (*MISFIT_NUMERICS, '"NaN"')),
    "pg_numeric": (
        {"code": "NUMERIC", "type_annotation": "PG_NUMERIC"},
        (*NUMERICS, '"NaN"', '"-1e131072"'),
        (*MISFIT_NUMERICS, r'"\u004eaN"'),
    ),
    "json": ({"code": "JSON"}, JSONS, MISFIT_STRINGS[:3]),
    "jsonb": ({"code": "JSON", "type_annotation": "PG_JSONB"}, JSONS, MISFIT_STRINGS[:3]),
}
ANY = (*STRINGS, "1.50", "[1, [2,3]]", '{"a": {"b": "]}"}}', "true", r'"\ud83d"')
UNKNOWN_TYPES: dict[str, tuple[dict[str, Any], Sequence[Text], Sequence[Text]]] = {
    "vector": ({"code": "VECTOR", "length": 3}, ANY, ("null",)),
    "struct": ({"code": "STRUCT", "struct_type": {"fields": []}}, ANY, ("null",)),
    "bent": ({"code": "STRING", "type_annotation": "PG_NEW"}, ANY, ("null",)),
}

NAMES = (
    "select",
    "FROM",
    "имя",
    "名前",
    "اسم",
    "नाम",
    "e\u0301",
    "é",
    "\uff5a",
    "\U0001f600",
    "a.b",
    "`tick`",
    'quo"te',
    "back\\slash",
    "new\nline",
    "A",
    "a",
    "",
)
"""Where UTF-16 and code points sort otherwise, among reserved words and names in any script."""


def array_of(element: dict[str, Any]) -> dict[str, Any]:
    """The type of an array."""
    return {"code": "ARRAY", "array_element_type": element}


def obj(members: Sequence[tuple[str, Text]], space: str = "") -> Text:
    """An object's JSON text, names and order as given."""
    inside = f",{space}".join(
        f"{json.dumps(name, ensure_ascii=False)}{space}:{space}{text}" for name, text in members
    )
    return f"{space}{{{space}{inside}{space}}}{space}"


class Table:
    """A table with a scalar and an array column of each type."""

    def __init__(self, name: str, types: dict[str, tuple[dict[str, Any], Sequence[Text], Sequence[Text]]]):
        self.name = name
        self.types = types
        kinds = [(name, kind) for name, (kind, _, _) in types.items()]
        kinds += [(f"{name}s", array_of(kind)) for name, (kind, _, _) in types.items()]
        self.columns: list[Column] = [("id", {"code": "INT64"}, True, 1)]
        self.columns += [(name, kind, False, place) for place, (name, kind) in enumerate(kinds, start=2)]

    def row(self, number: int) -> Text:
        """Each value of each type in some row, null and missing in some, arrays of all shapes."""
        members = []
        for place, (name, (_, fitting, _)) in enumerate(self.types.items()):
            choice = (*fitting, "null", None)
            one = choice[(number + place) % len(choice)]
            all_of = [text for value in fitting for text in (value, "null")]
            shapes = ([], None, ["null"], list(fitting), all_of, [fitting[0]] * 9 + ["null"])
            many = shapes[(number + place) % len(shapes)]
            members += [] if one is None else [(name, one)]
            members += [(f"{name}s", "null" if many is None else f"[{','.join(many)}]")]
        return obj(members)

    def random_row(self, rng: random.Random) -> Text:
        """Members in any order, some that do not fit, arrays with and without them."""
        members = []
        for name, (_, fitting, misfits) in self.types.items():

            def one(fitting: Sequence[Text] = fitting, misfits: Sequence[Text] = misfits) -> Text:
                return rng.choice(misfits if rng.random() < 0.2 else (*fitting, "null"))

            if rng.random() < 0.7:
                members.append((name, one()))
            if rng.random() < 0.7:
                parts = [one() for _ in range(rng.randrange(5))]
                members.append((f"{name}s", f"[ {' , '.join(parts)} ]" if rng.random() < 0.5 else one()))
        rng.shuffle(members)
        return obj(members, space=rng.choice(("", " ", "\n\t")))


EVERY = Table("every", TYPES)
STRANGE = Table("strange", TYPES | UNKNOWN_TYPES)


@dataclass(frozen=True)
class Record:
    """A data change record, in whatever shape it is to travel; mods are the texts of keys, new and old values."""

    mods: Sequence[tuple[Text, Text, Text]]
    columns: Sequence[Column]
    table: str = "every"
    mod_type: str = "UPDATE"


def shapes() -> Iterator[tuple[Dialect, Mode, Iterator[bytes]]]:
    """The stream, a part in each shape that Spanner has."""
    yield "googlesql", "immutable", _googlesql([*_records(seed=0), _big_record()], _moments(10))
    yield "postgresql", "immutable", _postgresql([*_records(seed=1)], _moments(11))
    yield "googlesql", "mutable", _mutable(
        [*_whole_records(), replace(_misfit_record(), table="protobuf misfits")], _moments(12)
    )


def _moments(hour: int) -> Iterator[str]:
    rng = random.Random(hour)
    return (f"2026-11-23T{hour}:00:{second:02}.{rng.randrange(10**9):09}Z" for second in range(1, 60))


def _googlesql(records: Sequence[Record], moments: Iterator[str]) -> Iterator[bytes]:
    """With heartbeats between them, and one that cannot be decoded."""
    for record, moment in zip(records, moments, strict=False):
        columns, table = record.columns, record.table
        row = data_change(moment, record.mods, mod_type=record.mod_type, table=table, columns=columns)
        yield message(row)
        yield message(heartbeat(next(moments)))
    yield message(data_change("2026-11-23T10:00:62Z", [('{"id":"1"}', "{}", "{}")], table="every"))
    # Nothing but a last change behind it all, so that nobody stops early.
    yield message(data_change(next(moments), [({"Id": "1"}, {"Name": "the end"}, {})]))


def _postgresql(records: Sequence[Record], moments: Iterator[str]) -> Iterator[bytes]:
    for record, moment in zip(records, moments, strict=False):
        columns = [raw_records.Column(name, kind, key) for name, kind, key, _ in record.columns]
        row = raw_records.record(
            "postgresql", moment, record.mods, columns, table=record.table, mod_type=record.mod_type
        )
        yield from raw_records.messages(row)


def _mutable(records: Sequence[Record], moments: Iterator[str]) -> Iterator[bytes]:
    """Those values that this shape can say; a number like 1e3 is an integer in it."""
    for record, moment in zip(records, moments, strict=False):
        columns = [(name, kind, key) for name, kind, key, _ in record.columns]
        mods = [(_protobuf(keys), _protobuf(new), _protobuf(old)) for keys, new, old in record.mods]
        yield message(change_stream_records.data_change(moment, columns, mods, table=record.table))


def _protobuf(text: Text) -> dict[str, Value]:
    """An object's values, without halves of surrogate pairs and numbers that are too great for a double."""
    values = {}
    for name, value in json.loads(text).items():
        with suppress(ParseError, ValueError):
            values[name] = ParseDict(value, Value())
    return values


def _records(seed: int) -> Iterator[Record]:
    rng = random.Random(seed)
    yield from _whole_records()
    for name, table in (("random", EVERY), ("strange", STRANGE)):
        mods = [(_key(n), table.random_row(rng), table.random_row(rng)) for n in range(40)]
        yield Record(mods, table.columns, table=name)
    yield _misfit_record()
    yield _names_record()
    yield _others_record()
    yield _keys_record()


def _key(number: int) -> Text:
    return f'{{"id":"{number}"}}'


def _whole_records() -> Iterator[Record]:
    """Each value that fits its type, in each kind of change."""
    most = max(len(fitting) for _, fitting, _ in TYPES.values()) + 2
    whole = [(_key(n), EVERY.row(n), EVERY.row(n + 1)) for n in range(most)]
    yield Record([(keys, new, "{}") for keys, new, _ in whole], EVERY.columns, mod_type="INSERT")
    yield Record(whole, EVERY.columns)
    yield Record([(keys, "{}", old) for keys, _, old in whole], EVERY.columns, mod_type="DELETE")


def _misfit_record() -> Record:
    """Each value that does not fit its type, alone and in an array."""
    mods = []
    for name, (_, fitting, misfits) in TYPES.items():
        for number, misfit in enumerate(misfits):
            new = obj([(name, misfit), (f"{name}s", f"[{fitting[0]}, {misfit}]")])
            mods.append((f'{{"id":"{number}"}}', new, obj([(f"{name}s", misfit)])))
    for name, (_, fitting, _) in TYPES.items():
        # What the emulator writes for NULL in an array of some types: null in these, itself in others.
        mods.append(('{"id":"0"}', f'{{"{name}s":["NULL",{fitting[0]},null]}}', f'{{"{name}":"NULL"}}'))
    return Record(mods, EVERY.columns, table="misfits")


def _names_record() -> Record:
    columns = [("id", {"code": "INT64"}, True, 1)]
    columns += [(name, {"code": "STRING"}, False, place) for place, name in enumerate(NAMES, start=2)]
    new = obj([(name, json.dumps(name)) for name in NAMES])
    escaped = "{" + ",".join(f"{json.dumps(name)}:{json.dumps(name)}" for name in reversed(NAMES)) + "}"
    mods = [('{"id":"1"}', new, escaped)]
    return Record(mods, columns, table="схема.表 \U0001f600")


def _others_record() -> Record:
    """Names without a column, with one of another role, and names twice."""
    new = obj(
        [("string", '"a"'), ("nobody", '{"x": [1]}'), ("string", '"b"'), ("nobody", "2"), ("zz", "null")]
    )
    old = obj(
        [("id", '"7"'), ("zz", '"quote \\""'), ("int64", '"1"'), ("int64", "null"), ("\U0001f600", "1")]
    )
    mods = [(obj([("id", '"1"'), ("string", '"no key"'), ("id", '"2"')]), new, old), ("{}", "{}", "{}")]
    return Record(mods, EVERY.columns, table="others")


def _keys_record() -> Record:
    """A key of several parts among other columns, NULL in it, or not there at all."""
    columns = [
        ("b", {"code": "STRING"}, True, 2),
        ("v", {"code": "STRING"}, False, 3),
        ("a", {"code": "TIMESTAMP"}, True, 1),
        ("w", {"code": "BYTES"}, False, 4),
    ]
    keys = ('{"a":null,"b":null}', '{"b":""}', '{"a":"2024-01-01T00:00:00Z"}', '{"b":"x","a":null}')
    mods = [(key, '{"w":""}', '{"v":""}') for key in keys]
    return Record(mods, columns, table="shop.orders")


def _big_record() -> Record:
    """Texts of 10 MiB, and numbers as long as PostgreSQL's may be, where they fit and where not."""
    ten_mib = 10 << 20
    digits = f"{'9' * 131_072}.{'9' * 16_383}"
    values: list[tuple[str, dict[str, Any], Text]] = [
        ("text", {"code": "STRING"}, '"' + "öx\\n" * (ten_mib // 5) + '"'),
        ("bytes", {"code": "BYTES"}, '"' + "AAEC" * (ten_mib // 3) + '"'),
        ("numeric", {"code": "NUMERIC", "type_annotation": "PG_NUMERIC"}, f'"-{digits}"'),
        ("number", {"code": "NUMERIC", "type_annotation": "PG_NUMERIC"}, f"-{digits}"),
        ("no_numeric", {"code": "NUMERIC", "type_annotation": "PG_NUMERIC"}, f'"{digits}."'),
        ("interval", {"code": "INTERVAL"}, f'"PT{digits}S"'),
        ("no_interval", {"code": "INTERVAL"}, f'"PT{digits}H"'),
        ("no_integer", {"code": "INT64"}, "9" * 131_072),
        ("no_string", {"code": "INT64"}, f'"{"9" * 131_072}"'),
        ("no_date", {"code": "DATE"}, f'"{digits}"'),
    ]
    columns = [("id", {"code": "INT64"}, True, 1)]
    columns += [(name, of, False, place) for place, (name, of, _) in enumerate(values, start=2)]
    mods = [('{"id":"1"}', obj([(name, text) for name, _, text in values]), "{}")]
    return Record(mods, columns, table="big", mod_type="INSERT")
