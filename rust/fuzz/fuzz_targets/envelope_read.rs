//! A received body of changes, whatever its bytes: refused, or read as Cap'n Proto's own reader
//! reads it; and what the check of a record has let pass is read without an error.

#![no_main]

use libfuzzer_sys::fuzz_target;
use spanwire_core::change::{Column, Type, TypeAnnotation, TypeCode};
use spanwire_core::envelope::{Columns, Values, read};
use spanwire_fuzz::envelope;

/// Two key columns and six more: enough places for lists of any length that a short input makes.
fn columns() -> Columns {
    let column = |ordinal_position: i64| Column {
        name: format!("c{ordinal_position}"),
        column_type: Type {
            code: TypeCode::String,
            annotation: TypeAnnotation::None,
            array_element: None,
            proto_type_fqn: String::new(),
            unknown: String::new(),
        },
        is_primary_key: ordinal_position <= 2,
        ordinal_position,
    };
    Columns::new("t", (1..=64).map(column).collect())
}

fuzz_target!(|body: &[u8]| {
    let columns = columns();
    let _ = read::typed(body, &columns);
    for record in read::records(body) {
        let Ok(record) = record else { break };
        let record = read::record_at(body, record.position()).expect("it was read before");
        record.version(0).expect("it was checked");
        let Some(ours) = envelope::ours(&record, &columns).expect("it was checked") else { continue };
        let theirs = envelope::theirs(&mut &body[record.position()..]).expect("it was checked");
        assert_eq!(ours, theirs);
        for each in record.mods().expect("they were checked") {
            if each.values() == Ok(Values::Typed) && record.mod_type().is_ok() {
                let line = read::canonical(&record, &each, &columns).expect("it was checked");
                serde_json::from_str::<serde_json::Value>(&line).expect("a line of JSON");
            }
        }
    }
});
