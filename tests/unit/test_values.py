"""Values of every type, from Spanner's bytes through a real socket to Python and to the canonical form."""

from __future__ import annotations

import json
import struct
from collections.abc import Iterator, Sequence
from datetime import date
from decimal import Decimal
from typing import Any

import pytest
from support.raw_records import DIALECTS, ID, VALUES, Column, Wire, members, messages, record, wire

from spanwire._core import Timestamp, Untyped


@pytest.fixture(scope="module", params=[(d, v) for d in DIALECTS for v in VALUES], ids="-".join)
def out(request: pytest.FixtureRequest) -> Iterator[Wire]:
    """Either dialect, values in either form."""
    dialect, values = request.param
    with wire(dialect, values) as made:
        yield made


Case = tuple[str, Any, Any]
"""JSON text as Spanner sends it, the value in Python, the value in a canonical line."""


def bits(value: float) -> str:
    """A double as a canonical line has it."""
    return struct.pack(">d", value).hex()


def same(text: str) -> Case:
    """A text that stays what it is."""
    return json.dumps(text), text, text


def floats(*texts: str) -> list[Case]:
    """Numbers of JSON, and the doubles they stand for."""
    return [(text, float(text), bits(float(text))) for text in texts]


NOT_FINITE: list[Case] = [
    ('"NaN"', float("nan"), "7ff8000000000000"),
    ('"Infinity"', float("inf"), bits(float("inf"))),
    ('"-Infinity"', float("-inf"), bits(float("-inf"))),
]
INTEGERS: list[Case] = [(f'"{n}"', n, str(n)) for n in (0, -1, 2**53 + 1, 2**63 - 1, -(2**63))]
TEXTS = [
    "",
    "plain",
    'quote " backslash \\ slash / newline \n tab \t bell \x07 delete \x7f nul \x00',
    "ünïcödé 漢字 עברית हिन्दी 🚀 \u2028 \ufeff \U0010ffff",
    "NULL",
    "null",
]
BYTES: list[Case] = [
    ('""', b"", ""),
    ('"AA=="', b"\x00", "AA=="),
    ('"//79AAE="', b"\xff\xfe\xfd\x00\x01", "//79AAE="),
    ('"\\/\\/79"', b"\xff\xfe\xfd", "//79"),
]
JSON_TEXTS = ["{}", "null", "12.5", '{"a":[1,null,{"b":"quote \\" 🚀"}],"":""}', "[" * 500 + "]" * 500]
DECIMALS = ["0", "123.45", "0.000000001", "-99999999999999999999999999999.999999999"]


def numeric(text: str) -> Case:
    """A NUMERIC's text."""
    return json.dumps(text), Decimal(text), text


def moment(text: str, canonical: str) -> Case:
    """A TIMESTAMP's text, and the same with nine fraction digits."""
    return json.dumps(text), Timestamp.parse(canonical), canonical


TYPES: list[tuple[dict[str, Any], list[Case]]] = [
    ({"code": "BOOL"}, [("true", True, True), ("false", False, False)]),
    ({"code": "INT64"}, [*INTEGERS, ("17", 17, "17")]),
    ({"code": "ENUM", "proto_type_fqn": "shop.State"}, INTEGERS),
    ({"code": "INT64", "type_annotation": "PG_OID"}, [*INTEGERS, ('"4294967295"', 2**32 - 1, "4294967295")]),
    (
        {"code": "FLOAT64"},
        [*floats("0", "-0.0", "1.5", "0.1", "5e-324", "1.7976931348623157e308", "-1E21"), *NOT_FINITE],
    ),
    (
        {"code": "FLOAT32"},
        [
            *floats("0", "-0.0", "1.5", "0.10000000149011612", "1.401298464324817e-45"),
            *floats("3.4028234663852886e38", "-3.4028235e38"),
            *NOT_FINITE,
        ],
    ),
    ({"code": "NUMERIC"}, [*map(numeric, DECIMALS), ("12.50", Decimal("12.50"), "12.50")]),
    (
        {"code": "NUMERIC", "type_annotation": "PG_NUMERIC"},
        [*map(numeric, DECIMALS), numeric("NaN"), numeric("-1" + "0" * 200 + ".5"), numeric("1.500")],
    ),
    ({"code": "STRING"}, [same(text) for text in TEXTS]),
    ({"code": "BYTES"}, BYTES),
    ({"code": "PROTO", "proto_type_fqn": "shop.Order"}, BYTES),
    (
        {"code": "DATE"},
        [
            (json.dumps(text), date.fromisoformat(text), text)
            for text in ("0001-01-01", "1969-12-31", "2024-02-29", "9999-12-31")
        ],
    ),
    (
        {"code": "TIMESTAMP"},
        [
            moment("0001-01-01T00:00:00Z", "0001-01-01T00:00:00.000000000Z"),
            moment("1969-12-31T23:59:59.999999999Z", "1969-12-31T23:59:59.999999999Z"),
            moment("2026-11-23T17:50:32.5Z", "2026-11-23T17:50:32.500000000Z"),
            moment("2026-11-23T17:50:32.669475+00:00", "2026-11-23T17:50:32.669475000Z"),
            moment("9999-12-31T23:59:59.999999999Z", "9999-12-31T23:59:59.999999999Z"),
        ],
    ),
    ({"code": "JSON"}, [same(text) for text in JSON_TEXTS]),
    ({"code": "JSON", "type_annotation": "PG_JSONB"}, [same(text) for text in JSON_TEXTS]),
    ({"code": "UUID"}, [same("f81d4fae-7dec-11d0-a765-00a0c91e6bf6")]),
    ({"code": "INTERVAL"}, [same("P1Y2M3DT4H5M6.5S"), same("P0Y"), same("P-1Y2M-3DT-4H5M-6.000000001S")]),
]
NAMES = [f"{of['code']} {of.get('type_annotation', '')}".strip() for of, _ in TYPES]


def alike(got: Any, wanted: Any) -> bool:
    """The same value of the same type; NaN is itself, and -0.0 is not 0.0."""
    if isinstance(wanted, list):
        return isinstance(got, list) and len(got) == len(wanted) and all(map(alike, got, wanted))
    return type(got) is type(wanted) and (got == wanted or got != got) and repr(got) == repr(wanted)  # noqa: PLR0124


def check(out: Wire, of: dict[str, Any], cases: Sequence[Case]) -> None:
    """Each case as a new and as an old value, by Python and canonically; no value counts as a misfit."""
    column = Column("Value", of)
    mods = [
        (members({"Id": f'"{n}"'}), members({"Value": text}), members({"Value": text}))
        for n, (text, _, _) in enumerate(cases)
    ]
    before = out.pipeline.stats()["misfits"]
    out.push(mods, [ID, column])
    for change, (text, value, canonical) in zip(out.changes(len(cases)), cases, strict=True):
        line = json.loads(change.canonical())
        for got, said in ((change.new, line["new"]), (change.old, line["old"])):
            assert alike(got["Value"], value), f"{text}: {got['Value']!r}, wanted {value!r}"
            assert said == {"Value": canonical}, text
        assert change.others == []
    assert out.pipeline.stats()["misfits"] == before


@pytest.mark.parametrize(("of", "cases"), TYPES, ids=NAMES)
def test_scalars(out: Wire, of: dict[str, Any], cases: list[Case]) -> None:
    """Every type's values at their extremes, and NULL, arrive as what they are."""
    check(out, of, [*cases, ("null", None, None)])


@pytest.mark.parametrize(("of", "cases"), TYPES, ids=NAMES)
def test_arrays(out: Wire, of: dict[str, Any], cases: list[Case]) -> None:
    """Arrays of every type: all values, nulls around and between, more than eight of them, empty, NULL."""
    null: Case = ("null", None, None)
    shapes: list[list[Case]] = [cases, [null, *cases, null, cases[0]], [null] * 9, [cases[0], null] * 9, []]
    arrays = [
        (f"[{', '.join(c[0] for c in one)}]", [c[1] for c in one], [c[2] for c in one]) for one in shapes
    ]
    check(out, {"code": "ARRAY", "array_element_type": of}, [*arrays, null])


@pytest.mark.parametrize("code", ["INT64", "NUMERIC", "DATE"])
def test_null_elements_as_the_emulator_writes_them(out: Wire, code: str) -> None:
    """The string "NULL" in an array is null where no value reads so."""
    day = "2024-02-29"
    cases: dict[str, Case] = {
        "INT64": ('"5"', 5, "5"),
        "NUMERIC": numeric("1.5"),
        "DATE": (json.dumps(day), date.fromisoformat(day), day),
    }
    text, value, canonical = cases[code]
    of = {"code": "ARRAY", "array_element_type": {"code": code}}
    check(out, of, [(f'["NULL", {text}, null]', [None, value, None], [None, canonical, None])])


def test_missing_is_not_null(out: Wire) -> None:
    """A column that the record leaves out is not there; NULL is; nothing at all is {}."""
    columns = [ID, *(Column(name, {"code": "STRING"}) for name in "ABC")]
    mods = [('{"Id":"1"}', '{"B":null}', "{}"), ('{"Id":"2"}', '{"C":"","A":"x"}', '{"C":null}')]
    out.push(mods, columns)
    first, second = out.changes(2)
    assert (first.new, first.old) == ({"B": None}, {})
    assert (second.new, second.old) == ({"A": "x", "C": ""}, {"C": None})


def test_no_values_are_null_or_empty(out: Wire) -> None:
    """The emulator writes null for the old values of an update that changed none: they are {}."""
    out.push([('{"Id":"1"}', "null", "{}"), ('{"Id":"2"}', "{}", "null")])
    for change in out.changes(2):
        assert (change.new, change.old, change.others) == ({}, {}, [])
        assert json.loads(change.canonical())["old"] == {}


def test_null_key_parts(out: Wire) -> None:
    """NULL is a key part like any other, of any type, and not a missing one."""
    columns = [
        ID,
        Column("At", {"code": "TIMESTAMP"}, key=True),
        Column("Name", {"code": "STRING"}, key=True),
    ]
    keys = ['{"Id":null,"At":null,"Name":null}', '{"Id":null,"At":null,"Name":""}', '{"Id":"1","At":null}']
    mods = [(each, "{}", "{}") for each in keys]
    out.push(mods, columns, mod_type="DELETE")
    none, empty, short = out.changes(3)
    assert none.keys == {"Id": None, "At": None, "Name": None}
    assert empty.keys == {"Id": None, "At": None, "Name": ""}
    assert short.keys == {"Id": 1, "At": None}
    assert json.loads(none.canonical())["keys"] == none.keys


@pytest.mark.parametrize(
    ("table", "names"),
    [
        ("sales.orders", ["Id", "id", "ID"]),
        ("select", ["order", "group", "from", "null", "true"]),
        ("схема.таблица", ["имя", "名前", "عمود", "स्तंभ", "🚀", "e\u0301", "é"]),
        ("t", ['"', "\\", "a b", "{}", "a:b", "\t", "\u2028", "x" * 128]),
    ],
)
def test_names(out: Wire, table: str, names: list[str]) -> None:
    """Named schemas, reserved words, any script, and letters that JSON escapes: each name keeps its value."""
    columns = [Column(name, {"code": "STRING"}, key=n == 0) for n, name in enumerate(names)]
    texts = {name: json.dumps(f"of {name}") for name in reversed(names)}
    key = {names[0]: texts.pop(names[0])}
    out.push([(members(key), members(texts), "{}")], columns, table=table)
    message = out.next()
    (change,) = message.changes()
    assert (change.table, message.topic) == (table, f"shop/all/{table}/")
    assert change.keys | change.new == {name: f"of {name}" for name in names}
    assert [column["name"] for column in change.columns] == names
    line = json.loads(change.canonical())
    assert (line["table"], line["keys"] | line["new"]) == (table, change.keys | change.new)


def test_values_of_ten_mebibytes(out: Wire) -> None:
    """Cut into pieces of at most 1 MiB, and longer than what a message is closed at: put together again."""
    size = 10 << 20
    text = ('a"\\é漢🚀\n' * size)[: size // 2]
    columns = [ID, Column("S", {"code": "STRING"}), Column("B", {"code": "BYTES"})]
    new = members({"S": json.dumps(text, ensure_ascii=False), "B": '"' + "q83v" * (size // 3) + '"'})
    row = record(out.dialect, "2026-11-23T10:00:01Z", [('{"Id":"1"}', new, "{}")], columns)
    chunks = messages(row)
    assert len(chunks) > 20
    partition = out.partition()
    for chunk in chunks:
        partition.push([chunk])
    (change,) = out.changes(1)
    assert change.new["S"] == text
    assert change.new["B"] == bytes.fromhex("abcdef") * (size // 3)


def test_a_type_not_known_keeps_its_name_and_its_values(out: Wire) -> None:
    """Values of a type of tomorrow come as JSON text with the type's own text; arrays of it as a list."""
    vector = {"code": "VECTOR", "dimensions": 3}
    columns = [ID, Column("V", vector), Column("Vs", {"code": "ARRAY", "array_element_type": vector})]
    new = '{"V":{"at": [1, 2.50]},"Vs":["a",null,[1]]}'
    out.push([('{"Id":"1"}', new, "{}")], columns)
    (change,) = out.changes(1)
    one, many = change.new["V"], change.new["Vs"]
    assert isinstance(one, Untyped)
    assert (one.json, json.loads(one.type)) == ('{"at": [1, 2.50]}', vector)
    assert [element and element.json for element in many] == ['"a"', None, "[1]"]
    assert json.loads(many[0].type) == vector
    assert json.loads(change.columns[1]["type"]["unknown"]) == vector
    line = json.loads(change.canonical())
    assert line["new"] == {
        "V": {"json": '{"at": [1, 2.50]}'},
        "Vs": [{"json": '"a"'}, None, {"json": "[1]"}],
    }
