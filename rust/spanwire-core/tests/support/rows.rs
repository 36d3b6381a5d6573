//! Rows of change stream queries: made up, and as the emulator sent them.

#![allow(dead_code)] // each user takes what it needs

use std::path::Path;

use spanwire_core::wire::Shape;

use super::values::{Tree, list, text};

pub const DATA_FIELDS: [&str; 13] = [
    "commit_timestamp",
    "record_sequence",
    "server_transaction_id",
    "is_last_record_in_transaction_in_partition",
    "table_name",
    "column_types",
    "mods",
    "mod_type",
    "value_capture_type",
    "number_of_records_in_transaction",
    "number_of_partitions_in_transaction",
    "transaction_tag",
    "is_system_transaction",
];

/// The fields of a data change record, in the order of [`DATA_FIELDS`].
pub fn data_fields() -> Vec<Tree> {
    vec![
        text("2026-11-23T17:50:32.669475Z"),
        text("00000002"),
        text("tx1"),
        Tree::Bool(true),
        text("orders"),
        list([list([text("id"), text(r#"{"code":"INT64"}"#), Tree::Bool(true), text("1")])]),
        list([list([text(r#"{"id":"1"}"#), text(r#"{"a": [1, "}"]}"#), text("{}")])]),
        text("UPDATE"),
        text("OLD_AND_NEW_VALUES"),
        text("3"),
        text("2"),
        text("tag"),
        Tree::Bool(false),
    ]
}

pub fn data_row(fields: &[Tree]) -> Vec<u8> {
    list([list([list([list(fields.to_vec())]), list([]), list([])])]).encode()
}

/// `nothing` fills the arrays that have no record.
pub fn heartbeat_row(nothing: Tree) -> Vec<u8> {
    let record = list([list([text("2026-11-23T17:50:32.669475Z")])]);
    list([list([nothing.clone(), record, nothing])]).encode()
}

pub fn children_row(parents: Tree) -> Vec<u8> {
    let children = list([list([text("t1"), parents])]);
    let record = list([text("2026-11-23T17:50:32Z"), text("00000001"), children]);
    list([list([list([]), list([]), list([record])])]).encode()
}

pub fn postgresql_row(json: &str) -> Vec<u8> {
    text(json).encode()
}

/// The record of [`data_fields`] in the other shape, with one field replaced, or left out.
pub fn postgresql_data(name: &str, replacement: Option<&str>) -> Vec<u8> {
    let values = [
        r#""2026-11-23T17:50:32.669475+00:00""#,
        r#""00000002""#,
        r#""tx1""#,
        "true",
        r#""orders""#,
        r#"[{"name":"id","type":{"code":"INT64"},"is_primary_key":true,"ordinal_position":1}]"#,
        r#"[{"keys":{"id":"1"},"new_values":{"a": [1, "}"]},"old_values":{}}]"#,
        r#""UPDATE""#,
        r#""OLD_AND_NEW_VALUES""#,
        "3",
        "2",
        r#""tag""#,
        "false",
    ];
    let mut fields: Vec<(&str, &str)> = DATA_FIELDS.into_iter().zip(values).collect();
    fields.retain(|(known, _)| *known != name);
    fields.extend(replacement.map(|value| (name, value)));
    let fields: Vec<String> = fields.iter().map(|(name, value)| format!("{name:?}:{value}")).collect();
    postgresql_row(&format!(r#"{{"data_change_record":{{{}}}}}"#, fields.join(",")))
}

/// The messages that the emulator answered a query with: `initial` or `partition`.
pub fn captured(shape: Shape, query: &str) -> Vec<Vec<u8>> {
    let name = if shape == Shape::GoogleSql { "googlesql" } else { "postgresql" };
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("tests/data/{name}_{query}.bin"));
    let bytes = std::fs::read(path).unwrap();
    let mut rest = bytes.as_slice();
    let mut messages = Vec::new();
    while let Some((length, tail)) = rest.split_first_chunk() {
        let (message, tail) = tail.split_at(u32::from_le_bytes(*length) as usize);
        messages.push(message.to_vec());
        rest = tail;
    }
    assert!(!messages.is_empty());
    messages
}
