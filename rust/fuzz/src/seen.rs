//! Records in one plain form, which what the core read and what an oracle read share.

use serde_json::{Value as Json, json};
use spanwire_core::change::{Column, DataChangeRecord, Record};
use spanwire_core::error::Result;
use spanwire_core::wire::{self, RecordReader, Shape};

/// The records that the core reads from a row, or its first error.
pub fn read(shape: Shape, row: &[u8]) -> Result<Vec<Json>> {
    let mut found = Vec::new();
    RecordReader::new(shape).read(row, &mut |record| {
        found.push(record_json(&record));
        Ok(())
    })?;
    Ok(found)
}

/// Both read the same, or both nothing. The core may refuse what no writer writes and protobuf would
/// mend: a group, a message or a oneof written twice, a value without a kind.
pub fn agree(ours: &Result<Vec<Json>>, theirs: &Option<Vec<Json>>) {
    match (ours, theirs) {
        (Ok(ours), Some(theirs)) => {
            assert_eq!(ours.len(), theirs.len());
            for (ours, theirs) in ours.iter().zip(theirs) {
                assert_eq!(&with_their_columns(ours, theirs), theirs);
            }
        }
        (Ok(ours), None) => panic!("read where the oracle refuses: {ours:?}"),
        (Err(error), Some(theirs)) => {
            assert!(is_refused_on_purpose(&error.to_string()), "{error}, and the oracle reads {theirs:?}");
        }
        (Err(_), None) => {}
    }
}

/// Columns are read apart from their record: where that failed, their error stands in their place.
fn with_their_columns(ours: &Json, theirs: &Json) -> Json {
    let mut ours = ours.clone();
    if let Some(Json::String(error)) = ours.get("columns") {
        let is_fine = theirs["columns"].is_null() || is_refused_on_purpose(error);
        assert!(is_fine, "columns: {error}, and the oracle reads {theirs:?}");
        ours["columns"] = theirs["columns"].clone();
    }
    ours
}

/// See [`agree`].
pub fn is_refused_on_purpose(error: &str) -> bool {
    [
        "a group, or no wire type at all",
        "a value of two kinds",
        "a value of no known kind",
        "written twice",
        "nested too deep",
        "a record of a kind that this version does not know",
    ]
    .iter()
    .any(|purpose| error.contains(purpose))
}

fn record_json(record: &Record<'_>) -> Json {
    match record {
        Record::Data(data) => data_json(data),
        Record::Heartbeat(timestamp) => json!({ "heartbeat": timestamp.to_string() }),
        Record::Children(children) => json!({
            "children": children.child_partitions.iter().map(|child| json!([child.token, child.parent_partition_tokens])).collect::<Vec<_>>(),
            "sequence": children.record_sequence, "start": children.start_timestamp.to_string(),
        }),
        Record::PartitionStart(start) => json!({
            "start": start.start_timestamp.to_string(), "sequence": start.record_sequence,
            "tokens": start.partition_tokens,
        }),
        Record::PartitionEnd(end) => json!({
            "end": end.end_timestamp.to_string(), "sequence": end.record_sequence, "token": end.partition_token,
        }),
        Record::PartitionEvent(event) => json!({
            "at": event.commit_timestamp.to_string(), "sequence": event.record_sequence,
            "token": event.partition_token, "sources": event.sources, "destinations": event.destinations,
        }),
        other => panic!("a record that no oracle knows yet: {other:?}"),
    }
}

fn data_json(data: &DataChangeRecord<'_>) -> Json {
    let columns = match wire::columns_of(data) {
        Ok(columns) => Json::Array(columns.iter().map(column_json).collect()),
        Err(error) => error.to_string().into(),
    };
    json!({
        "commit": data.commit_timestamp.to_string(), "sequence": data.record_sequence,
        "transaction": data.server_transaction_id, "last": data.is_last_record_in_transaction_in_partition,
        "table": data.table_name, "columns": columns,
        "mods": data.mods.iter().map(|each| json!([each.keys, each.new_values, each.old_values])).collect::<Vec<_>>(),
        "mod_type": data.mod_type.name(), "capture": data.value_capture_type.name(),
        "records": data.number_of_records_in_transaction, "partitions": data.number_of_partitions_in_transaction,
        "tag": data.transaction_tag, "system": data.is_system_transaction,
    })
}

/// A column without its type: types are JSON text in two shapes of three, and read by one reader.
fn column_json(column: &Column) -> Json {
    json!([column.name, column.is_primary_key, column.ordinal_position])
}
