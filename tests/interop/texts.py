"""The JSON text of values of each type: those that fit it, and those that do not."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

Text = str
Texts = tuple[dict[str, Any], Sequence[Text], Sequence[Text]]
"""A type, what fits it, and what does not."""

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

TYPES: dict[str, Texts] = {
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
UNKNOWN_TYPES: dict[str, Texts] = {
    "vector": ({"code": "VECTOR", "length": 3}, ANY, ("null",)),
    "struct": ({"code": "STRUCT", "struct_type": {"fields": []}}, ANY, ("null",)),
    "bent": ({"code": "STRING", "type_annotation": "PG_NEW"}, ANY, ("null",)),
}
