"""Values that are not of their column's type: never lost, never another value, and counted."""

from __future__ import annotations

import json
import pickle
from collections.abc import Iterator
from typing import Any

import pytest
from support.raw_records import DIALECTS, ID, VALUES, Column, Wire, members, messages, record, wire

from spanwire._core import Pipeline, Untyped
from spanwire.errors import ConfigError, UndecodableError

MISFITS: list[tuple[dict[str, Any], list[str]]] = [
    ({"code": "BOOL"}, ['"true"', "0", "1", '"t"', "[true]"]),
    (
        {"code": "INT64"},
        [
            '"9223372036854775808"',
            '"-9223372036854775809"',
            "9223372036854775808",
            '"18446744073709551617"',
            "5.0",
            "1e3",
            '"5.0"',
            '"+5"',
            '" 5"',
            '"0x5"',
            '""',
            "true",
            '"NULL"',
        ],
    ),
    ({"code": "ENUM", "proto_type_fqn": "shop.State"}, ['"OPEN"', "2.5"]),
    ({"code": "INT64", "type_annotation": "PG_OID"}, ['"pg_class"', '"99999999999999999999"']),
    ({"code": "FLOAT64"}, ['"1.5"', '"twelve"', '"nan"', '"inf"', "1e309", "-1e400", "true"]),
    ({"code": "FLOAT32"}, ['"1.5"', "3.5e38", "-1e39", "1e309", '"-inf"']),
    ({"code": "NUMERIC"}, ['"twelve"', '""', '"NaN"', '"Infinity"', '"1_000"', '"1,5"', '"0x1"', "true"]),
    ({"code": "NUMERIC", "type_annotation": "PG_NUMERIC"}, ['"nan"', '"Infinity"', '"sNaN"', '"12 "']),
    ({"code": "STRING"}, ["5", "true", '["x"]', '{"x":1}', '"half \\ud83d a pair"']),
    ({"code": "BYTES"}, ['"Zg"', '"Zg="', '"Zh=="', '"Z g="', '"Zg==Zg=="', '"_-8="', "5", '"===="']),
    ({"code": "PROTO", "proto_type_fqn": "shop.Order"}, ['"!"', '{"id":1}']),
    (
        {"code": "DATE"},
        ['"2023-02-29"', '"0000-01-01"', '"2024-1-1"', '"2024-01-01T00:00:00Z"', '""', "20240101"],
    ),
    (
        {"code": "TIMESTAMP"},
        [
            '"2026-11-23T17:50:32.1234567890Z"',
            '"0000-01-01T00:00:00Z"',
            '"2026-11-23T17:50:32+01:00"',
            '"10000-01-01T00:00:00Z"',
            '"2026-11-23T23:59:60Z"',
            '"2026-11-23 17:50:32Z"',
            '"2026-11-23T17:50:32"',
            "1795456232",
        ],
    ),
    ({"code": "UUID"}, ['"f81d4fae"', '"f81d4fae-7dec-11d0-a765-00a0c91e6bfg"', "5"]),
    ({"code": "INTERVAL"}, ['"1 day"', '"P"', '"PT5"', "5"]),
    ({"code": "JSON"}, ['"\\udc00"']),
]
NAMES = [f"{of['code']} {of.get('type_annotation', '')}".strip() for of, _ in MISFITS]
FITTING = {"BOOL": "true", "FLOAT64": "1.5", "FLOAT32": "1.5", "BYTES": '"Zg=="', "PROTO": '"Zg=="'} | {
    "DATE": '"2024-02-29"',
    "TIMESTAMP": '"2024-02-29T00:00:00Z"',
    "UUID": '"f81d4fae-7dec-11d0-a765-00a0c91e6bf6"',
    "INTERVAL": '"P1Y"',
}
ONE = '{"Id":"1"}'


@pytest.fixture(scope="module", params=[(d, v) for d in DIALECTS for v in VALUES], ids="-".join)
def out(request: pytest.FixtureRequest) -> Iterator[Wire]:
    """Either dialect, values in either form, misfits as text."""
    dialect, values = request.param
    with wire(dialect, values) as made:
        yield made


@pytest.fixture(scope="module", params=DIALECTS)
def strict(request: pytest.FixtureRequest) -> Iterator[Wire]:
    """Either dialect, typed values, misfits to the dead letters."""
    with wire(request.param, on_misfit="dead-letter") as made:
        yield made


def name_of(of: dict[str, Any]) -> str:
    """A type's name, as people write it."""
    return str(of.get("type_annotation") or of["code"])


def counted(out: Wire) -> int:
    """Misfits so far."""
    return int(out.pipeline.stats()["misfits"])


@pytest.mark.parametrize(("of", "texts"), MISFITS, ids=NAMES)
def test_it_is_carried_as_text_with_its_types_name_and_counted(
    out: Wire, of: dict[str, Any], texts: list[str]
) -> None:
    """As a value, and as one element among good ones, where the whole array is: never a value of any type."""
    good = FITTING.get(of["code"], '"1"')
    columns = [ID, Column("One", of), Column("Many", {"code": "ARRAY", "array_element_type": of})]
    elements = [text for text in texts if text != '"NULL"']
    mods = [(ONE, members({"One": text}), "{}") for text in texts]
    mods += [(ONE, members({"Many": f"[{good}, null, {text}]"}), "{}") for text in elements]
    before = counted(out)
    out.push(mods, columns)
    for change, (_, new, _) in zip(out.changes(len(mods)), mods, strict=True):
        ((name, value),) = change.new.items()
        text = new[len(f'{{"{name}":') : -1]
        type_name = name_of(of) if name == "One" else f"ARRAY<{name_of(of)}>"
        assert isinstance(value, Untyped), text
        assert (value.json, value.type) == (text, type_name)
        assert json.loads(change.canonical())["new"] == {name: {"json": text}}
    assert counted(out) - before == (len(mods) if out.values == "typed" else 0)


def test_a_column_that_the_record_does_not_describe(out: Wire) -> None:
    """Its value is there, under its name, wherever it came: in keys, in new and in old values."""
    columns = [ID, Column("Name", {"code": "STRING"})]
    keys, new, old = '{"Id":"1","Key":5}', '{"Name":"a","Gone":{"x": 1},"Id":"7"}', '{"Gone":null}'
    before = counted(out)
    out.push([(keys, new, old)], columns)
    (change,) = out.changes(1)
    assert change.keys == {"Id": 1, "Key": Untyped("5")}
    assert change.new == {"Name": "a", "Gone": Untyped('{"x": 1}'), "Id": Untyped('"7"')}
    assert change.old == {"Gone": Untyped("null")}
    assert change.others == [
        ("keys", "Key", Untyped("5")),
        ("new", "Gone", Untyped('{"x": 1}')),
        ("new", "Id", Untyped('"7"')),
        ("old", "Gone", Untyped("null")),
    ]
    line = json.loads(change.canonical())
    assert line["new"] == {"Name": "a", "Gone": {"json": '{"x": 1}'}, "Id": {"json": '"7"'}}
    assert counted(out) - before == (4 if out.values == "typed" else 0)


def test_a_name_twice_in_one_object(out: Wire) -> None:
    """The first value stands in its column, the second is among the others: neither is lost."""
    columns = [ID, Column("Name", {"code": "STRING"})]
    before = counted(out)
    out.push([('{"Id":"1","Id":"2"}', '{"Name":"a","Name":null}', "{}")], columns)
    (change,) = out.changes(1)
    assert (change.keys, change.new) == ({"Id": 1}, {"Name": "a"})
    assert change.others == [("keys", "Id", Untyped('"2"')), ("new", "Name", Untyped("null"))]
    assert counted(out) - before == (2 if out.values == "typed" else 0)


def test_json_in_json(out: Wire) -> None:
    """A misfit nested a hundred deep is carried; one nested without end has its record refused."""
    deep = "[" * 100 + "]" * 100
    columns = [ID, Column("N", {"code": "INT64"})]
    out.push([(ONE, f'{{"N":{deep}}}', "{}")], columns)
    (change,) = out.changes(1)
    assert change.new == {"N": Untyped(deep, "INT64")}
    deeper = "[" * 5000 + "]" * 5000
    if out.values == "typed":
        with pytest.raises(UndecodableError, match="nested too deep"):
            out.push([(ONE, f'{{"N":{deeper}}}', "{}")], columns)


@pytest.mark.parametrize(("of", "texts"), MISFITS, ids=NAMES)
def test_with_dead_letters_its_record_goes_raw(strict: Wire, of: dict[str, Any], texts: list[str]) -> None:
    """One letter a record, which names the column and its type and holds the row; nothing else is held up."""
    columns = [ID, Column("SomeColumn", of)]
    before = strict.pipeline.stats()
    for text in texts:
        mods = [(ONE, "{}", "{}"), ('{"Id":"2"}', members({"SomeColumn": text}), "{}")]
        pushed = strict.push(mods, columns)
        assert (pushed.records, pushed.changes) == (1, 0)
        message = strict.next()
        assert (message.kind, message.topic) == ("deadLetter", "shop/all/_dead/")
        letter = message.dead_letter()
        assert str(letter["version"]) == "2026-11-23T10:00:01.000000000Z/tx/00000000/1"
        assert letter["table"] == "orders"
        where = f'in new_values that of column "SomeColumn", which is {name_of(of)}'
        assert letter["reason"] == f"1 value does not fit its column: {where}"
        assert letter["raw"] == record(strict.dialect, "2026-11-23T10:00:01Z", mods, columns)
    after = strict.pipeline.stats()
    assert [after[name] - before[name] for name in ("misfits", "dead_letters", "undecodable")] == [
        len(texts),
        len(texts),
        0,
    ]


@pytest.mark.parametrize("new", ['{"Stranger":1}', '{"Id":"1","Name":"a"}', '{"Name":"a","Name":"b"}'])
def test_with_dead_letters_what_has_no_column_goes_too(strict: Wire, new: str) -> None:
    """A column not described, one in the wrong object, a name twice: the record goes raw, as it came."""
    strict.push([(ONE, new, "{}")], [ID, Column("Name", {"code": "STRING"})])
    letter = strict.next().dead_letter()
    assert (
        "one without a column that the record describes, or under a name that came twice" in letter["reason"]
    )
    assert new.encode() in letter["raw"]


def test_with_dead_letters_good_records_go_on(strict: Wire) -> None:
    """A record that fits is sent as ever; one that came raw is not taken again."""
    columns = [ID, Column("N", {"code": "INT64"})]
    partition = strict.partition()
    rows = [
        record(strict.dialect, f"2026-11-23T10:00:0{n}Z", [(ONE, f'{{"N":{text}}}', "{}")], columns)
        for n, text in enumerate(['"1"', '"two"', '"3"', "null"])
    ]
    pushed = partition.push(messages(*rows))
    assert (pushed.records, pushed.changes) == (4, 3)
    received = [strict.next() for _ in range(2)]
    while sum(message.count for message in received) < 3:
        received.append(strict.next())
    letters = [message for message in received if message.kind == "deadLetter"]
    assert len(letters) == 1
    values = [
        change.new["N"] for message in received if message.kind == "changes" for change in message.changes()
    ]
    assert values == [1, 3, None]
    partition.restart()
    assert partition.push(messages(*rows)).changes == 0


def test_an_output_that_looks_at_no_value_carries_all() -> None:
    """With values = "json" nothing can be told to be a misfit, so nothing goes to the dead letters."""
    with wire("googlesql", "json", on_misfit="dead-letter") as out:
        out.push([(ONE, '{"N":"x"}', "{}")], [ID, Column("N", {"code": "INT64"})])
        (change,) = out.changes(1)
        assert change.new == {"N": Untyped('"x"', "INT64")}
        assert (counted(out), out.pipeline.stats()["dead_letters"]) == (0, 0)


def test_on_misfit_is_one_of_two_words() -> None:
    """The error names the setting and what may be written."""
    with pytest.raises(ConfigError, match='on_misfit: must be "text" or "dead-letter"'):
        Pipeline("d", "s", [], on_misfit="drop")  # type: ignore[arg-type]


def test_an_untyped_value_is_a_value() -> None:
    """It compares, hashes, prints and pickles; and is equal to no text."""
    one = Untyped("5", "STRING")
    assert one == Untyped("5", "STRING") != Untyped("5")
    assert one != "5"
    assert len({one, Untyped("5", "STRING"), Untyped("6", "STRING")}) == 2
    assert repr(one) == 'Untyped("5", "STRING")'
    assert pickle.loads(pickle.dumps(one)) == one
