"""The simulator against Google's emulator: the same schema, the same transactions, the same records.

The official client reads both. What the emulator is known to get wrong is left out of the values:
it drops fractions of TIMESTAMP values and zeros before their year, turns NaN and infinities into
null, writes a null array element as "NULL" or dies of it, and knows no transaction tags.
"""

from __future__ import annotations

import base64
import datetime
import json
import time
from collections.abc import Iterator, Sequence
from decimal import Decimal
from typing import Any, get_args

import pytest
from google.api_core.exceptions import GoogleAPICallError
from google.cloud import spanner
from google.cloud.spanner_v1 import PartialResultSet
from integration.emulator import DIALECTS, Dialect, Emulator, EmulatorDatabase, now
from integration.oracle import Query, Record, data_records, follow, just_after, official, raw, wait_until
from support.simulated import simulated

from spanwire.simulator import (
    Column,
    Instant,
    Mutation,
    Simulator,
    SimulatorConfig,
    Table,
    delete,
    insert,
    update,
    upsert,
)
from spanwire.simulator.records import Capture
from spanwire.simulator.schema import Code, database_ddl
from spanwire.simulator.values import rfc3339
from spanwire.source.tables import watched_tables

SCALARS: tuple[Code, ...] = (
    *("BOOL", "INT64", "FLOAT32", "FLOAT64", "NUMERIC", "STRING", "BYTES", "DATE", "TIMESTAMP", "JSON"),
)
TYPES = Table(
    "types",
    (
        Column("id", "INT64", key=True),
        *(Column(f"a_{code.lower()}", code) for code in SCALARS),
        *(Column(f"list_{code.lower()}", code, array=True) for code in SCALARS),
    ),
)
ITEMS = Table(
    "sales.items",
    (
        Column("shelf", "STRING", key=True),
        Column("number", "INT64", key=True),
        Column("title", "STRING"),
        Column("price", "NUMERIC"),
    ),
)
TABLES = (TYPES, ITEMS)

VALUES: dict[str, list[Any]] = {
    "BOOL": [True, False],
    "INT64": [0, -1, 2**63 - 1, -(2**63)],
    "FLOAT32": [0.5, -0.0, 0.1, 3.4028234663852886e38],
    "FLOAT64": [1.0, 0.1, -0.0, 1e22, 5e-324, 1.7976931348623157e308, 123456789.0],
    "NUMERIC": [Decimal("0"), Decimal("-1.5"), Decimal("99999999999999999999999999999.999999999")],
    "STRING": ["", "é ちいさな 🚀", '"\\/\n\t\u2028\x7f\x01', "NULL"],
    "BYTES": [b"", b"\x00\xff", b"abc"],
    "DATE": [datetime.date(1, 1, 1), datetime.date(2024, 2, 29), datetime.date(9999, 12, 31)],
    "TIMESTAMP": [Instant(-30_610_224_000), Instant(0), Instant(253_402_300_799)],
    "JSON": [{"b": [1, None, "é"], "a": {"x": 1.5}}, [], '"text"', 7],
}

TRANSACTIONS: list[list[Mutation]] = [
    [insert("types", id=1)],
    [
        insert(
            "types",
            id=2 + number,
            **{f"a_{code.lower()}": VALUES[code][number % len(VALUES[code])] for code in SCALARS},
            **{f"list_{code.lower()}": VALUES[code] for code in SCALARS},
        )
        for number in range(7)
    ],
    [update("types", id=2, a_string="new", list_int64=[]), update("types", id=3, a_string=None)],
    [update("types", id=4, a_string="same columns"), update("types", id=5, a_string="one record")],
    [
        insert("sales.items", shelf="a", number=1, title="one"),
        update("types", id=1, a_int64=5),
        insert("sales.items", shelf="a", number=2, price=Decimal("2.5")),
        delete("types", id=7),
        delete("types", id=8),
        insert("types", id=20, a_bool=True),
    ],
    [upsert("sales.items", shelf="a", number=1, title="two"), upsert("sales.items", shelf="b", number=1)],
    [update("sales.items", shelf="b", number=1, title=None)],
    [delete("sales.items", shelf="a", number=2), delete("types", id=999)],
]


@pytest.fixture(params=DIALECTS)
def dialect(request: pytest.FixtureRequest) -> Dialect:
    """Each in turn."""
    return request.param


class Pair:
    """The same database twice."""

    def __init__(self, emulator: Emulator, simulator: Simulator) -> None:
        config = simulator.config
        ddl = database_ddl(config.tables, config.stream, config.capture, config.dialect)
        self.simulator = simulator
        self.real = emulator.database(config.dialect, ddl)
        self.simulated = simulated(simulator)
        self.start = now()

    def commit(self, mutations: Sequence[Mutation]) -> str:
        """Commit to both; a moment after both."""
        stamp = self.real.run(lambda transaction: [_apply(transaction, one) for one in mutations], tag="tag")
        self.simulator.commit(mutations, tag="tag")
        return max(just_after(stamp), now(0.001))

    def records(self, end: str) -> tuple[list[Record], list[Record]]:
        """The data change records of both, as the official client returns them."""
        stream = self.simulator.config.stream
        both = (data_records(follow(one, stream, self.start, end)) for one in (self.real, self.simulated))
        real, simulated = both
        return real, simulated


@pytest.fixture
def pair(request: pytest.FixtureRequest, emulator: Emulator, dialect: Dialect) -> Iterator[Pair]:
    """Emulator and simulator with the tables above; the parameter names the capture type."""
    capture: Capture = getattr(request, "param", "NEW_ROW_AND_OLD_VALUES")
    config = SimulatorConfig(dialect=dialect, capture=capture, tables=TABLES, partitions=1)
    with Simulator(config) as simulator:
        made = Pair(emulator, simulator)
        yield made
        made.real.drop()


@pytest.mark.parametrize("pair", get_args(Capture), indirect=True)
def test_records_agree(pair: Pair) -> None:
    """Every field but timestamps and transaction ids: values of every type, columns, counts, order."""
    end = ""
    for transaction in TRANSACTIONS:
        end = pair.commit(transaction)
    real, simulated = pair.records(end)
    assert not list(_differences(real, simulated))
    assert len(real) == len(simulated) >= len(TRANSACTIONS)


def test_texts_agree(pair: Pair) -> None:
    """The JSON texts within the rows hold the same kinds, as they stand on the wire, unmerged."""
    end = pair.commit(TRANSACTIONS[1])
    wait_until(end)
    wires = []
    for database in (pair.real, pair.simulated):
        stream = pair.simulator.config.stream
        reads = []
        for token in _tokens(database, stream, pair.start, end):
            reads += raw(Query(database, stream, pair.start, end, token))
        wires.append(_data_rows(reads))
    assert wires[0] == wires[1]
    assert wires[0]


def test_results_are_described_alike(pair: Pair) -> None:
    """Both give the result set the same columns and types, down to the last nested struct."""
    stream = pair.simulator.config.stream
    both = []
    for database in (pair.real, pair.simulated):
        start = now()
        [first, *_] = raw(Query(database, stream, start, now(0.1)))
        both.append(PartialResultSet.deserialize(first).metadata.row_type)
    assert both[0] == both[1]


def test_heartbeats_and_children_agree(pair: Pair) -> None:
    """A silent partition's heartbeats and the initial child records have the same shape."""
    stream = pair.simulator.config.stream
    both = []
    for database in (pair.real, pair.simulated):
        start, end = now(), now(1.5)
        initial = official(Query(database, stream, start, end))
        [token, *_] = [
            child["token"]
            for record in initial
            for child in record["child_partitions_record"]["child_partitions"]
        ]
        silent = official(Query(database, stream, start, end, token, heartbeat_ms=1000))
        assert all("heartbeat_record" in record for record in silent), silent
        assert silent
        both.append((_shape(initial[0]), _shape(silent[0]), [_shape(initial[0])]))
    assert both[0] == both[1]


def test_splits_and_merges_agree(churning_emulator: Emulator, dialect: Dialect) -> None:
    """A partition that ends says so in child records of the same shape, parents named."""
    with Simulator(SimulatorConfig(dialect=dialect, tables=TABLES, partitions=2)) as simulator:
        pair = Pair(churning_emulator, simulator)
        shapes = []
        for database in (pair.real, pair.simulated):
            end = now(5)
            if database is pair.simulated:
                simulator.split(simulator.partitions[0])
                simulator.merge(simulator.partitions[:2])
                end = now(0.1)
            reads = follow(database, simulator.config.stream, pair.start, end)
            last = [read.records[-1] for read in reads if read.token and "child" in str(read.records[-1:])]
            assert any(child["parent_partition_tokens"] for child in _children(last))
            shapes.append({json.dumps(_shape(record)) for record in last})
        assert shapes[0] == shapes[1]
        pair.real.drop()


@pytest.mark.parametrize("offset", ["too early", "too late", "end first", "heartbeat", "token", "stream"])
def test_refusals_agree(pair: Pair, offset: str) -> None:
    """A wrong argument has the same status in both."""
    statuses = []
    for database in (pair.real, pair.simulated):
        stream = pair.simulator.config.stream
        start = now()
        query = {
            "too early": Query(database, stream, "2020-01-01T00:00:00Z"),
            "too late": Query(database, stream, now(3600)),
            "end first": Query(database, stream, start, pair.start),
            "heartbeat": Query(database, stream, start, now(1), heartbeat_ms=10),
            "token": Query(database, stream, start, now(1), token="none"),
            "stream": Query(database, "no_such_stream", start, now(1)),
        }[offset]
        with pytest.raises(GoogleAPICallError) as refused:
            official(query)
        statuses.append(refused.value.grpc_status_code)
    assert statuses[0] == statuses[1]


def test_catalogues_agree(pair: Pair) -> None:
    """What a reader looks up in information_schema is spelled alike."""
    lookups = (
        "SELECT option_value FROM information_schema.database_options WHERE option_name = 'database_dialect'",
        "SELECT change_stream_name FROM information_schema.change_streams",
        "SELECT * FROM information_schema.change_streams",
        "SELECT change_stream_name, option_name, option_value FROM information_schema.change_stream_options"
        " WHERE option_name = 'value_capture_type'",
        "SELECT 1",
    )
    for lookup in lookups:
        both = []
        for database in (pair.real, pair.simulated):
            with database.client.snapshot() as snapshot:
                results = snapshot.execute_sql(lookup)
                rows = list(results)
            both.append((rows, [(field.name, field.type_.code) for field in results.fields]))
        assert both[0] == both[1], lookup
    assert pair.simulated.client.exists()


def test_tables_agree(pair: Pair) -> None:
    """Rows at a timestamp, also of the past, whole and in parts, as the official client reads them."""
    pair.commit(TRANSACTIONS[0])
    pair.commit(TRANSACTIONS[1])
    between = now()
    time.sleep(0.05)
    for transaction in TRANSACTIONS[2:]:
        pair.commit(transaction)
    quote = "`" if pair.simulator.config.dialect == "googlesql" else '"'
    for table in TABLES:
        columns = ", ".join(f"{quote}{column.name}{quote}" for column in table.columns)
        name = ".".join(f"{quote}{part}{quote}" for part in table.name.split("."))
        sql = f"SELECT {columns} FROM {name}"
        for at in (between, now()):
            moment = datetime.datetime.fromisoformat(at.replace("Z", "+00:00"))
            both = []
            for database in (pair.real, pair.simulated):
                with database.client.snapshot(read_timestamp=moment) as snapshot:
                    results = snapshot.execute_sql(sql)
                    whole = sorted(map(repr, results))
                    fields = [(field.name, field.type_) for field in results.fields]
                batch = database.client.batch_snapshot(read_timestamp=moment)
                parts = [
                    repr(row)
                    for part in batch.generate_query_batches(sql)
                    for row in batch.process_query_batch(part)
                ]
                assert sorted(parts) == whole
                both.append((whole, fields))
            assert both[0] == both[1]
            assert both[0][0] or at == between


def test_a_stream_watches_the_same(pair: Pair) -> None:
    """What a snapshot reads of each table is found alike in both catalogues."""
    config = pair.simulator.config
    found = []
    for database in (pair.real, pair.simulated):

        def look_up(sql: str, database: EmulatorDatabase = database) -> list[Any]:
            with database.client.snapshot() as snapshot:
                return list(snapshot.execute_sql(sql))

        found.append(watched_tables(look_up, config.stream, config.dialect))
    assert found[0] == found[1]
    assert [table.name for table in found[0]] == ["sales.items", "types"]


# ------------------------------------------------------------------ helpers


def _apply(transaction: Any, mutation: Mutation) -> None:
    """A mutation to the official client's transaction."""
    table = {table.name: table for table in TABLES}[mutation.table]
    names = list(mutation.values)
    values = [_argument(mutation.values[name], table.by_name[name]) for name in names]
    if mutation.kind == "delete":
        transaction.delete(mutation.table, spanner.KeySet(keys=[values]))
        return
    write = {"insert": "insert", "update": "update", "upsert": "insert_or_update"}[mutation.kind]
    getattr(transaction, write)(mutation.table, columns=names, values=[values])


def _argument(value: Any, column: Column, *, inner: bool = False) -> Any:
    if value is None:
        return None
    if column.array and not inner:
        return [_argument(one, column, inner=True) for one in value]
    match column.code:
        case "BYTES":
            return base64.b64encode(value)
        case "TIMESTAMP":
            return rfc3339(value)
        case "JSON":
            return value if isinstance(value, str) else json.dumps(value)
        case "NUMERIC":
            return str(value)
        case _:
            return value


def _differences(real: list[Record], simulated: list[Record]) -> Iterator[str]:
    """One line for each thing that differs, but for what differs between any two databases."""
    for number, (left, right) in enumerate(zip(_by_table(real), _by_table(simulated), strict=False)):
        yield from _unequal(f"record {number}", left, right)


def _by_table(records: list[Record]) -> list[Record]:
    """The records of each transaction by table: the emulator has no order between tables, and counts on.

    Those of one table keep their order.
    """
    transactions: dict[str, list[Record]] = {}
    for record in records:
        transactions.setdefault(record["server_transaction_id"], []).append(record)
    found = []
    for own in transactions.values():
        assert [one["record_sequence"] for one in own] == [f"{number:08d}" for number in range(len(own))]
        lasts = [one["is_last_record_in_transaction_in_partition"] for one in own]
        assert lasts == [False] * (len(own) - 1) + [True]
        found += sorted(own, key=lambda record: record["table_name"])
    return [{name: value for name, value in record.items() if name not in _VARYING} for record in found]


def _unequal(path: str, left: Any, right: Any) -> Iterator[str]:
    if isinstance(left, dict) and isinstance(right, dict) and left.keys() == right.keys():
        for name in left:
            yield from _unequal(f"{path}.{name}", left[name], right[name])
    elif isinstance(left, list) and isinstance(right, list) and len(left) == len(right):
        for place, (one, other) in enumerate(zip(left, right, strict=True)):
            yield from _unequal(f"{path}.{place}", one, other)
    elif left != right or type(left) is not type(right):
        yield f"{path}: {left!r} in the emulator, {right!r} in the simulator"


def _children(records: list[Record]) -> Iterator[Record]:
    for record in records:
        yield from record["child_partitions_record"]["child_partitions"]


def _shape(value: Any) -> Any:
    """Kinds only: str, int, bool; lists by their first element; dicts by name."""
    if isinstance(value, dict):
        return {name: _shape(one) for name, one in value.items()}
    if isinstance(value, list):
        return [_shape(one) for one in value[:1]]
    return type(value).__name__


def _tokens(database: EmulatorDatabase, stream: str, start: str, end: str) -> list[str]:
    return [
        child["token"]
        for record in official(Query(database, stream, start, end))
        for child in record["child_partitions_record"]["child_partitions"]
    ]


def _data_rows(messages: list[bytes]) -> list[Any]:
    """Data rows as they stand on the wire: JSON texts parsed, timestamps and transaction ids left out."""
    rows = []
    for message in messages:
        for value in PartialResultSet.pb(PartialResultSet.deserialize(message)).values:
            plain = _plain(value)
            if isinstance(plain, str):
                record = json.loads(plain).get("data_change_record")
                if record:
                    rows.append({k: v for k, v in record.items() if k not in _VARYING})
            elif plain[0][0]:
                [record] = plain[0][0]
                rows.append([_parsed(one) for place, one in enumerate(record) if place not in (0, 2, 11)])
    return rows


# The first two differ between any two databases, the next two with the order of the tables.
_VARYING = (
    *("commit_timestamp", "server_transaction_id"),
    *("record_sequence", "is_last_record_in_transaction_in_partition"),
    "transaction_tag",
)


def _plain(value: Any) -> Any:
    kind = value.WhichOneof("kind")
    return [_plain(one) for one in value.list_value.values] if kind == "list_value" else getattr(value, kind)


def _parsed(value: Any) -> Any:
    if isinstance(value, list):
        return [_parsed(one) for one in value]
    if isinstance(value, str) and value[:1] == "{":
        return json.loads(value)
    return value
