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
from interop.texts import TYPES, UNKNOWN_TYPES, Text, Texts
from support import change_stream_records, raw_records
from support.change_records import data_change, heartbeat, message
from support.raw_records import Dialect

Column = tuple[str, dict[str, Any], bool, int]
Mode = Literal["immutable", "mutable"]

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

    def __init__(self, name: str, types: dict[str, Texts]):
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
    """A data change record, in whatever shape it is to travel."""

    mods: Sequence[tuple[Text, Text, Text]]
    """Keys, new and old values of each."""
    columns: Sequence[Column]
    table: str = "every"
    mod_type: str = "UPDATE"


def shapes() -> Iterator[tuple[Dialect, Mode, Iterator[bytes]]]:
    """The stream, a part in each shape that Spanner has."""
    yield "googlesql", "immutable", _googlesql([*_records(seed=0), _big_record()], _moments(10))
    yield "postgresql", "immutable", _postgresql([*_records(seed=1)], _moments(11))
    yield (
        "googlesql",
        "mutable",
        _mutable([*_whole_records(), replace(_misfit_record(), table="protobuf misfits")], _moments(12)),
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
