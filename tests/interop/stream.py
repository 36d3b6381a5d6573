"""A change stream that holds every type and every edge, in the bytes that Spanner sends.

What is here is JSON text, as Spanner writes it into a record's keys, new and old values.
"""

from __future__ import annotations

import json
import random
from collections.abc import Iterator, Sequence
from typing import Any

from support.change_records import data_change, heartbeat, message

Column = tuple[str, dict[str, Any], bool, int]
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


def rows(seed: int = 0) -> Iterator[bytes]:
    """The stream's messages: records, heartbeats between them, and one that cannot be decoded."""
    rng = random.Random(seed)
    second = iter(range(1, 60))

    def moment() -> str:
        return f"2026-11-23T10:00:{next(second):02}.{rng.randrange(10**9):09}Z"

    def key(number: int) -> Text:
        return f'{{"id":"{number}"}}'

    most = max(len(fitting) for _, fitting, _ in TYPES.values()) + 2
    whole = [(key(n), EVERY.row(n), EVERY.row(n + 1)) for n in range(most)]
    for mod_type, mods in (
        ("INSERT", [(keys, new, "{}") for keys, new, _ in whole]),
        ("UPDATE", whole),
        ("DELETE", [(keys, "{}", old) for keys, _, old in whole]),
    ):
        yield message(data_change(moment(), mods, mod_type=mod_type, table="every", columns=EVERY.columns))
        yield message(heartbeat(moment()))
    for name, table in (("random", EVERY), ("strange", STRANGE)):
        mods = [(key(n), table.random_row(rng), table.random_row(rng)) for n in range(40)]
        yield message(data_change(moment(), mods, mod_type="UPDATE", table=name, columns=table.columns))
    yield message(*map(_misfit_record, [moment()]))
    yield message(data_change("2026-11-23T10:00:62Z", [(key(1), "{}", "{}")], table="every"))
    yield message(_names_record(moment()))
    yield message(_others_record(moment()))
    yield message(_keys_record(moment()))
    yield message(_big_record(moment()))
    # Nothing but a last change behind it all, so that nobody stops early.
    yield message(data_change(moment(), [({"Id": "1"}, {"Name": "the end"}, {})]))


def _misfit_record(moment: str) -> Any:
    """Each value that does not fit its type, alone and in an array."""
    mods = []
    for name, (_, fitting, misfits) in TYPES.items():
        for number, misfit in enumerate(misfits):
            new = obj([(name, misfit), (f"{name}s", f"[{fitting[0]}, {misfit}]")])
            mods.append((f'{{"id":"{number}"}}', new, obj([(f"{name}s", misfit)])))
    for name, (_, fitting, _) in TYPES.items():
        # What the emulator writes for NULL in an array of some types: null in these, itself in others.
        mods.append(('{"id":"0"}', f'{{"{name}s":["NULL",{fitting[0]},null]}}', f'{{"{name}":"NULL"}}'))
    return data_change(moment, mods, mod_type="UPDATE", table="misfits", columns=EVERY.columns)


def _names_record(moment: str) -> Any:
    columns = [("id", {"code": "INT64"}, True, 1)]
    columns += [(name, {"code": "STRING"}, False, place) for place, name in enumerate(NAMES, start=2)]
    new = obj([(name, json.dumps(name)) for name in NAMES])
    escaped = "{" + ",".join(f"{json.dumps(name)}:{json.dumps(name)}" for name in reversed(NAMES)) + "}"
    mods = [('{"id":"1"}', new, escaped)]
    return data_change(moment, mods, mod_type="UPDATE", table="схема.表 \U0001f600", columns=columns)


def _others_record(moment: str) -> Any:
    """Names without a column, with one of another role, and names twice."""
    new = obj(
        [("string", '"a"'), ("nobody", '{"x": [1]}'), ("string", '"b"'), ("nobody", "2"), ("zz", "null")]
    )
    old = obj(
        [("id", '"7"'), ("zz", '"quote \\""'), ("int64", '"1"'), ("int64", "null"), ("\U0001f600", "1")]
    )
    mods = [(obj([("id", '"1"'), ("string", '"no key"'), ("id", '"2"')]), new, old), ("{}", "{}", "{}")]
    return data_change(moment, mods, mod_type="UPDATE", table="every", columns=EVERY.columns)


def _keys_record(moment: str) -> Any:
    """A key of several parts among other columns, NULL in it, or not there at all."""
    columns = [
        ("b", {"code": "STRING"}, True, 2),
        ("v", {"code": "STRING"}, False, 3),
        ("a", {"code": "TIMESTAMP"}, True, 1),
        ("w", {"code": "BYTES"}, False, 4),
    ]
    keys = ('{"a":null,"b":null}', '{"b":""}', '{"a":"2024-01-01T00:00:00Z"}', '{"b":"x","a":null}')
    mods = [(key, '{"w":""}', '{"v":""}') for key in keys]
    return data_change(moment, mods, mod_type="UPDATE", table="shop.orders", columns=columns)


def _big_record(moment: str) -> Any:
    columns = [
        ("id", {"code": "INT64"}, True, 1),
        ("text", {"code": "STRING"}, False, 2),
        ("bytes", {"code": "BYTES"}, False, 3),
    ]
    ten_mib = 10 << 20
    text = '"' + "öx\\n" * (ten_mib // 5) + '"'
    mods = [('{"id":"1"}', obj([("text", text), ("bytes", '"' + "AAEC" * (ten_mib // 3) + '"')]), "{}")]
    return data_change(moment, mods, table="big", columns=columns)
