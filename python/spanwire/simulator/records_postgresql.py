"""Records as PostgreSQL returns them: one JSONB document a row.

Shape: https://cloud.google.com/spanner/docs/change-streams/details#change_streams_record_format
"""

from __future__ import annotations

import json
from functools import lru_cache
from typing import Any

from google.cloud.spanner_v1.types import (
    ResultSetMetadata,
    StructType,
    Type,
    TypeAnnotationCode,
    TypeCode,
)

from spanwire.simulator.protobuf import string
from spanwire.simulator.records import ChildRecord, DataRecord
from spanwire.simulator.schema import Dialect, Table
from spanwire.simulator.values import ByTable, TableJson, timestamp_text

_to_json = json.JSONEncoder(ensure_ascii=False, separators=(",", ":")).encode


class PostgresEncoder:
    """Writes rows of `SELECT * FROM spanner.read_json_<stream>(...)`."""

    dialect: Dialect = "postgresql"

    def __init__(self, stream: str) -> None:
        self.metadata = _metadata(f"read_json_{stream}")
        self._json = ByTable(TableJson)

    def data(self, record: DataRecord) -> bytes:
        """A data change record."""
        table = record.table
        as_json = self._json.of(table).object
        mods = ",".join(
            [
                f'{{"keys":{as_json(mod.keys)},"new_values":{as_json(mod.new)},"old_values":{as_json(mod.old)}}}'
                for mod in record.mods
            ]
        )
        before = {
            "commit_timestamp": timestamp_text(record.commit_timestamp),
            "is_last_record_in_transaction_in_partition": record.is_last,
            "is_system_transaction": record.system,
            "mod_type": record.mod_type,
        }
        after = {
            "number_of_partitions_in_transaction": record.partitions_in_transaction,
            "number_of_records_in_transaction": record.records_in_transaction,
            "record_sequence": record.record_sequence,
            "server_transaction_id": record.transaction_id,
            "table_name": table.name,
            "transaction_tag": record.tag,
            "value_capture_type": record.capture,
        }
        columns = _described(table, record.columns)
        return string(
            f'{{"data_change_record":{{"column_types":{columns},{_to_json(before)[1:-1]},'
            f'"mods":[{mods}],{_to_json(after)[1:]}}}'
        )

    def heartbeat(self, at: int) -> bytes:
        """A heartbeat record."""
        return string(_to_json({"heartbeat_record": {"timestamp": timestamp_text(at)}}))

    def children(self, record: ChildRecord) -> bytes:
        """A child partitions record."""
        partitions = [
            {"parent_partition_tokens": list(parents), "token": token} for token, parents in record.partitions
        ]
        body: dict[str, Any] = {
            "child_partitions": partitions,
            "record_sequence": record.record_sequence,
            "start_timestamp": timestamp_text(record.start),
        }
        return string(_to_json({"child_partitions_record": body}))


@lru_cache(maxsize=1024)
def _described(table: Table, columns: tuple[str, ...]) -> str:
    """The member column_types: the same for every record of that shape."""
    return _to_json(
        [
            {
                "is_primary_key": table.by_name[name].key,
                "name": name,
                "ordinal_position": table.ordinals[name],
                "type": table.by_name[name].type_json("postgresql"),
            }
            for name in columns
        ]
    )


def _metadata(name: str) -> bytes:
    document = Type(code=TypeCode.JSON, type_annotation=TypeAnnotationCode.PG_JSONB)
    field = StructType.Field(name=name, type_=document)
    return bytes(ResultSetMetadata.serialize(ResultSetMetadata(row_type=StructType(fields=[field]))))
