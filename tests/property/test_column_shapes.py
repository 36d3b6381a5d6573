"""Schemas that change between records: every message reads on its own, and order is kept."""

from __future__ import annotations

import json
import random
from collections import defaultdict
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from support.raw_records import DIALECTS, ID, VALUES, Column, Wire, members, messages, record, wire

from spanwire._core import Message

TABLES = ("orders", "sales.orders", "select")
# Type, and a value of it by number: JSON text and what it is in Python.
TYPES: dict[str, tuple[str, str]] = {
    "INT64": ('"{n}"', "{n}"),
    "STRING": ('"text {n}"', "'text {n}'"),
    "BOOL": ("true", "True"),
    "FLOAT64": ("{n}.5", "{n}.5"),
    "BYTES": ('"AAAA"', "bytes(3)"),
    "JSON": ('"[{n}]"', "'[{n}]'"),
}
STEPS = st.lists(
    st.tuples(
        st.sampled_from(TABLES),
        st.sampled_from(["add", "drop", "retype", "reorder", "forget", "nothing", "nothing", "nothing"]),
        st.integers(1, 3),
    ),
    min_size=1,
    max_size=40,
)


@pytest.fixture(scope="module", params=[(d, v) for d in DIALECTS for v in VALUES], ids="-".join)
def out(request: pytest.FixtureRequest) -> Iterator[Wire]:
    """Either dialect, values in either form; several records a message."""
    dialect, values = request.param
    with wire(dialect, values, output={"batch_changes": 7}) as made:
        yield made


def alter(shape: list[Column], how: str, rng: random.Random, number: int) -> list[Column]:
    """The columns after a change of the schema; the key stays."""
    others = [column for column in shape if not column.key]
    code = {"code": rng.choice(list(TYPES))}
    if how == "add":
        others.insert(rng.randint(0, len(others)), Column(f"c{number % 5}-{number}", code))
    elif how == "drop" and others:
        others.remove(rng.choice(others))
    elif how == "retype" and others:
        place = rng.randrange(len(others))
        others[place] = Column(others[place].name, code)
    elif how == "reorder":
        rng.shuffle(others)
    elif how == "forget":  # dropped from the stream, and watched again as another table of that name
        others = [Column("c0", code)]
    at = rng.randint(0, len(others))
    return [*others[:at], ID, *others[at:]]


@settings(
    max_examples=25,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture],
)
@given(steps=STEPS, seed=st.integers(0, 2**32 - 1))
def test_every_message_reads_on_its_own(out: Wire, steps: list[tuple[str, str, int]], seed: int) -> None:
    """Its columns are those of its records; versions of a table come in commit order; no value is lost."""
    rng = random.Random(seed)  # how messages are cut is not up to it, so what is drawn later may differ
    shapes: dict[str, list[Column]] = {table: [ID] for table in TABLES}
    rows, wanted = [], dict[str, tuple[str, list[Column], dict[str, Any], dict[str, Any]]]()
    order: dict[str, list[str]] = defaultdict(list)
    for number, (table, how, count) in enumerate(steps):
        shapes[table] = shape = alter(shapes[table], how, rng, number)
        commit = f"2026-11-23T10:00:{number:02d}.000000000Z"
        mods = []
        for place in range(count):
            version = f"{commit}/tx/00000000/{place}"
            key = rng.randint(0, 3)
            named = [column for column in shape if not column.key and rng.random() < 0.8]
            rng.shuffle(named)
            new = {one.name: TYPES[one.type["code"]][0].format(n=number) for one in named}
            values = {one.name: eval(TYPES[one.type["code"]][1].format(n=number)) for one in named}
            mods.append((members({"Id": f'"{key}"'}), members(new), "{}"))
            wanted[version] = (table, shape, {"Id": key}, values)
            order[table].append(version)
        rows.append(record(out.dialect, commit, mods, shape, table=table))
    partition = out.partition()
    while rows:
        some = rng.randint(1, len(rows))
        partition.push(messages(*rows[:some]))
        del rows[:some]

    received: list[tuple[int, list[bytes]]] = []
    changes = 0
    while changes < len(wanted):
        frames = out.frames()
        received.append((len(received), frames))
        changes += Message.decode(frames).count
    rng.shuffle(received)  # nothing of one message is needed for another
    seen: dict[str, list[tuple[int, list[str]]]] = defaultdict(list)
    for place, frames in received:
        message = Message.decode(frames)
        versions = []
        for change in message.changes():
            version = str(change.version)
            table, shape, keys, values = wanted[version]
            assert (change.table, message.table) == (table, table)
            assert [(one["name"], one["type"], one["is_primary_key"]) for one in change.columns] == [
                (one.name, one.type, one.key) for one in shape
            ]
            assert (change.keys, change.new, change.old, change.others) == (keys, values, {}, [])
            assert json.loads(change.canonical())["version"] == version
            versions.append(version)
        seen[message.table].append((place, versions))
    for table, parts in seen.items():
        assert [version for _, versions in sorted(parts) for version in versions] == order[table]
