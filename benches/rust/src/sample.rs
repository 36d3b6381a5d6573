//! The record that all benches of the core share: 20 inserts with about 400 bytes of JSON each.

use spanwire_core::change::{
    Column, ColumnTypes, DataChangeRecord, Mod, ModType, Timestamp, Type, TypeAnnotation, TypeCode,
    ValueCaptureType,
};
use spanwire_core::envelope::Columns;

/// Changes in a record.
pub const CHANGES: usize = 20;

/// An order: a key of two columns and eight more of the common types, as Spanner writes them.
pub struct Sample {
    texts: Vec<(String, String)>,
}

impl Sample {
    /// The same one every time.
    pub fn new() -> Self {
        let text = |number: usize| {
            let keys = format!(r#"{{"OrderId":"{}","Region":"eu-west"}}"#, 7_000_000_000 + number);
            let new = format!(
                concat!(
                    r#"{{"Amount":"{}.25","Customer":"customer-{:08}","#,
                    r#""Details":"{{\"items\":[{{\"sku\":\"A-{:05}\",\"count\":3}}]}}","#,
                    r#""Note":"left at the door of the neighbour, who was told by telephone; call again before the next delivery, please","#,
                    r#""Paid":true,"Placed":"2026-11-23T17:50:32.6694{:02}Z","Quantity":"{}","Weight":12.5}}"#
                ),
                100 + number,
                number,
                number,
                number % 100,
                number
            );
            (keys, new)
        };
        Self { texts: (0..CHANGES).map(text).collect() }
    }

    /// Its columns.
    pub fn columns(&self) -> Columns {
        let columns = [
            ("OrderId", TypeCode::Int64, true),
            ("Region", TypeCode::String, true),
            ("Amount", TypeCode::Numeric, false),
            ("Customer", TypeCode::String, false),
            ("Details", TypeCode::Json, false),
            ("Note", TypeCode::String, false),
            ("Paid", TypeCode::Bool, false),
            ("Placed", TypeCode::Timestamp, false),
            ("Quantity", TypeCode::Int64, false),
            ("Weight", TypeCode::Float64, false),
        ];
        let column =
            |(ordinal_position, (name, code, is_primary_key)): (i64, (&str, TypeCode, bool))| Column {
                name: name.into(),
                column_type: Type {
                    code,
                    annotation: TypeAnnotation::None,
                    array_element: None,
                    proto_type_fqn: String::new(),
                    unknown: String::new(),
                },
                is_primary_key,
                ordinal_position,
            };
        Columns::new("orders", (1..).zip(columns).map(column).collect())
    }

    /// The mods of the record.
    pub fn mods(&self) -> Vec<Mod<'_>> {
        self.texts.iter().map(|(keys, new)| Mod { keys, new_values: new, old_values: "{}" }).collect()
    }

    /// The record with these mods.
    pub fn record<'a>(&self, mods: &'a [Mod<'a>]) -> DataChangeRecord<'a> {
        DataChangeRecord {
            commit_timestamp: Timestamp { seconds: 1_795_456_232, nanos: 669_475_000 },
            record_sequence: "00000000".into(),
            server_transaction_id: "NzgxNDU2MDAyMjk5NjUzMTg1Nw==".into(),
            is_last_record_in_transaction_in_partition: true,
            table_name: "orders".into(),
            column_types: ColumnTypes::GoogleSql(&[]),
            mods,
            mod_type: ModType::Insert,
            value_capture_type: ValueCaptureType::NewRow,
            number_of_records_in_transaction: 1,
            number_of_partitions_in_transaction: 1,
            transaction_tag: "".into(),
            is_system_transaction: false,
        }
    }

    /// Bytes of JSON in the record.
    pub fn json_bytes(&self) -> usize {
        self.texts.iter().map(|(keys, new)| keys.len() + new.len() + 2).sum()
    }
}

impl Default for Sample {
    fn default() -> Self {
        Self::new()
    }
}
