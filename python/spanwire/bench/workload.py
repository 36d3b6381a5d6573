"""What is measured: a query's messages, in memory, as Spanner would send them.

An insert of an order, about 400 bytes of JSON each: a key of two columns and eight more of the common
types, the same as in the benches of the Rust core. Every record has a commit timestamp and a
transaction of its own. Nothing is compressed, repeated by reference or left out.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from google.cloud.spanner_v1 import PartialResultSet, ResultSetMetadata, StructType, Type, TypeCode
from google.protobuf.struct_pb2 import ListValue, Value

TABLE = "orders"
START = "2026-11-23T17:50:32.000000000Z"
_COLUMNS = (
    ("OrderId", "INT64", True),
    ("Region", "STRING", True),
    ("Amount", "NUMERIC", False),
    ("Customer", "STRING", False),
    ("Details", "JSON", False),
    ("Note", "STRING", False),
    ("Paid", "BOOL", False),
    ("Placed", "TIMESTAMP", False),
    ("Quantity", "INT64", False),
    ("Weight", "FLOAT64", False),
)
_KEYS = '{{"OrderId":"{order}","Region":"eu-west"}}'
_NEW = (
    '{{"Amount":"{amount}.25","Customer":"customer-{number:08}",'
    '"Details":"{{\\"items\\":[{{\\"sku\\":\\"A-{number:05}\\",\\"count\\":3}}]}}",'
    '"Note":"left at the door of the neighbour, who was told by telephone; '
    'call again before the next delivery, please",'
    '"Paid":true,"Placed":"2026-11-23T17:50:32.6694{cents:02}Z","Quantity":"{number}","Weight":12.5}}'
)


@dataclass(frozen=True, slots=True)
class Workload:
    """Encoded PartialResultSets of one query of one partition, GoogleSQL."""

    messages: list[bytes]
    changes: int
    records: int
    changes_per_record: int

    @property
    def size(self) -> int:
        """Bytes of all messages."""
        return sum(map(len, self.messages))

    def batches(self, size: int = 1 << 20, count: int = 256) -> list[list[bytes]]:
        """The messages as a reader hands them on: what has arrived, at most so many bytes and messages."""
        batches: list[list[bytes]] = [[]]
        room = size
        for message in self.messages:
            if batches[-1] and (room < len(message) or len(batches[-1]) >= count):
                batches.append([])
                room = size
            batches[-1].append(message)
            room -= len(message)
        return batches


def build(changes: int, *, changes_per_record: int = 20, message_bytes: int = 64 << 10) -> Workload:
    """A workload of about so many changes; a message is as many records as reach message_bytes."""
    records = max(1, changes // changes_per_record)
    messages: list[bytes] = []
    rows: list[Value] = []
    filled = 0
    for row in _rows(records, changes_per_record):
        rows.append(row)
        filled += row.ByteSize()
        if filled >= message_bytes:
            messages.append(_message(rows, first=not messages))
            rows, filled = [], 0
    if rows:
        messages.append(_message(rows, first=not messages))
    return Workload(messages, records * changes_per_record, records, changes_per_record)


def _rows(records: int, changes_per_record: int) -> Iterator[Value]:
    # As long as a table's shape does not change, Spanner repeats the same columns in every record.
    columns = _list(
        *(
            _list(_text(name), _text(f'{{"code":"{code}"}}'), Value(bool_value=key), _text(str(place)))
            for place, (name, code, key) in enumerate(_COLUMNS, start=1)
        )
    )
    mods = [_mods(changes_per_record * block, changes_per_record) for block in range(50)]
    for number in range(records):
        seconds, micros = divmod(number, 1_000_000)
        data = _list(
            _text(f"2026-11-23T17:{50 + seconds // 60:02}:{32 + seconds % 60:02}.{micros:06}Z"),
            _text("00000000"),
            _text(f"{number:019}="),
            Value(bool_value=True),
            _text(TABLE),
            columns,
            mods[number % len(mods)],
            _text("INSERT"),
            _text("NEW_ROW"),
            _text("1"),
            _text("1"),
            _text(""),
            Value(bool_value=False),
        )
        yield _list(_list(_list(data), _list(), _list()))


def _mods(first: int, count: int) -> Value:
    mods = []
    for number in range(first, first + count):
        keys = _KEYS.format(order=7_000_000_000 + number)
        new = _NEW.format(amount=100 + number % 900, number=number, cents=number % 100)
        mods.append(_list(_text(keys), _text(new), _text("{}")))
    return _list(*mods)


def _message(rows: list[Value], *, first: bool) -> bytes:
    message = PartialResultSet.pb(PartialResultSet())
    message.values.extend(rows)
    message.resume_token = b"resume"
    if first:
        message.metadata.CopyFrom(ResultSetMetadata.pb(_metadata()))
    return bytes(message.SerializeToString())


def _metadata() -> ResultSetMetadata:
    """The type of the ChangeRecord column, as the client's own decoding needs it."""
    text, boolean = Type(code=TypeCode.STRING), Type(code=TypeCode.BOOL)
    number, json = Type(code=TypeCode.INT64), Type(code=TypeCode.JSON)
    timestamp = Type(code=TypeCode.TIMESTAMP)
    column = _struct(name=text, type=json, is_primary_key=boolean, ordinal_position=number)
    mod = _struct(keys=json, new_values=json, old_values=json)
    data = _struct(
        commit_timestamp=timestamp,
        record_sequence=text,
        server_transaction_id=text,
        is_last_record_in_transaction_in_partition=boolean,
        table_name=text,
        column_types=_array(column),
        mods=_array(mod),
        mod_type=text,
        value_capture_type=text,
        number_of_records_in_transaction=number,
        number_of_partitions_in_transaction=number,
        transaction_tag=text,
        is_system_transaction=boolean,
    )
    child = _struct(token=text, parent_partition_tokens=_array(text))
    children = _struct(start_timestamp=timestamp, record_sequence=text, child_partitions=_array(child))
    record = _struct(
        data_change_record=_array(data),
        heartbeat_record=_array(_struct(timestamp=timestamp)),
        child_partitions_record=_array(children),
    )
    field = StructType.Field(name="ChangeRecord", type_=_array(record))
    return ResultSetMetadata(row_type=StructType(fields=[field]))


def _struct(**fields: Type) -> Type:
    members = [StructType.Field(name=name, type_=type_) for name, type_ in fields.items()]
    return Type(code=TypeCode.STRUCT, struct_type=StructType(fields=members))


def _array(element: Type) -> Type:
    return Type(code=TypeCode.ARRAY, array_element_type=element)


def _text(text: str) -> Value:
    return Value(string_value=text)


def _list(*values: Value) -> Value:
    return Value(list_value=ListValue(values=values))
