"""Records as GoogleSQL returns them: nested positional structs, JSON text within strings.

Shape: https://cloud.google.com/spanner/docs/change-streams/details#change_streams_record_format
"""

from __future__ import annotations

import json
from functools import lru_cache

from google.cloud.spanner_v1.types import ResultSetMetadata, StructType, Type, TypeCode

from spanwire.simulator.protobuf import (
    FALSE,
    TRUE,
    element,
    list_of,
    list_value,
    string,
    string_element,
)
from spanwire.simulator.records import ChildRecord, DataRecord
from spanwire.simulator.schema import Dialect, Table
from spanwire.simulator.values import ByTable, TableJson, timestamp_text

_to_json = json.JSONEncoder(ensure_ascii=False, separators=(",", ":")).encode
_EMPTY = list_value(())


class GoogleSqlEncoder:
    """Writes rows of `SELECT ChangeRecord FROM READ_<stream>(...)`."""

    dialect: Dialect = "googlesql"

    def __init__(self) -> None:
        self.metadata = _metadata()
        self._json = ByTable(TableJson)

    def data(self, record: DataRecord) -> bytes:
        """A data change record."""
        table = record.table
        as_json = self._json.of(table).object
        mods = [
            element(
                list_of(
                    string_element(as_json(mod.keys))
                    + string_element(as_json(mod.new))
                    + string_element(as_json(mod.old))
                )
            )
            for mod in record.mods
        ]
        fields = [
            string_element(timestamp_text(record.commit_timestamp)),
            string_element(record.record_sequence),
            string_element(record.transaction_id),
            element(TRUE if record.is_last else FALSE),
            _described(record.table, record.columns),
            element(list_of(b"".join(mods))),
            string_element(record.mod_type),
            string_element(record.capture),
            string_element(str(record.records_in_transaction)),
            string_element(str(record.partitions_in_transaction)),
            string_element(record.tag),
            element(TRUE if record.system else FALSE),
        ]
        return _row(list_of(b"".join(fields)), 0)

    def heartbeat(self, at: int) -> bytes:
        """A heartbeat record."""
        return _row(list_value((string(timestamp_text(at)),)), 1)

    def children(self, record: ChildRecord) -> bytes:
        """A child partitions record."""
        partitions = [
            list_value((string(token), list_value([string(parent) for parent in parents])))
            for token, parents in record.partitions
        ]
        fields = (
            string(timestamp_text(record.start)),
            string(record.record_sequence),
            list_value(partitions),
        )
        return _row(list_value(fields), 2)


def _row(record: bytes, kind: int) -> bytes:
    """A row: ARRAY<STRUCT<data ARRAY, heartbeat ARRAY, child ARRAY>> of one struct, two arrays empty."""
    arrays = [_EMPTY, _EMPTY, _EMPTY]
    arrays[kind] = list_of(element(record))
    return list_of(element(list_value(arrays)))


@lru_cache(maxsize=1024)
def _described(table: Table, columns: tuple[str, ...]) -> bytes:
    """The fields table_name and column_types, framed: the same for every record of that shape."""
    described = [
        list_value(
            (
                string(name),
                string(_to_json(table.by_name[name].type_json("googlesql"))),
                TRUE if table.by_name[name].key else FALSE,
                string(str(table.ordinals[name])),
            )
        )
        for name in columns
    ]
    return element(string(table.name)) + element(list_value(described))


def _metadata() -> bytes:
    def struct(**fields: Type) -> Type:
        made = StructType(fields=[StructType.Field(name=name, type_=kind) for name, kind in fields.items()])
        return Type(code=TypeCode.STRUCT, struct_type=made)

    def array(kind: Type) -> Type:
        return Type(code=TypeCode.ARRAY, array_element_type=kind)

    text, whole, flag = (Type(code=code) for code in (TypeCode.STRING, TypeCode.INT64, TypeCode.BOOL))
    document, moment = Type(code=TypeCode.JSON), Type(code=TypeCode.TIMESTAMP)
    data = struct(
        commit_timestamp=moment,
        record_sequence=text,
        server_transaction_id=text,
        is_last_record_in_transaction_in_partition=flag,
        table_name=text,
        column_types=array(struct(name=text, type=document, is_primary_key=flag, ordinal_position=whole)),
        mods=array(struct(keys=document, new_values=document, old_values=document)),
        mod_type=text,
        value_capture_type=text,
        number_of_records_in_transaction=whole,
        number_of_partitions_in_transaction=whole,
        transaction_tag=text,
        is_system_transaction=flag,
    )
    children = struct(
        start_timestamp=moment,
        record_sequence=text,
        child_partitions=array(struct(token=text, parent_partition_tokens=array(text))),
    )
    row = array(
        struct(
            data_change_record=array(data),
            heartbeat_record=array(struct(timestamp=moment)),
            child_partitions_record=array(children),
        )
    )
    field = StructType.Field(name="ChangeRecord", type_=row)
    return bytes(ResultSetMetadata.serialize(ResultSetMetadata(row_type=StructType(fields=[field]))))
