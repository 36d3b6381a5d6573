//! A received message, whatever its bytes: refused or read to the end, never a panic; and what the
//! check of a record has let pass is read without an error.

#![no_main]

use libfuzzer_sys::fuzz_target;
use spanwire_core::change::{Column, Type, TypeAnnotation, TypeCode};
use spanwire_core::envelope::read::{self, Value};
use spanwire_core::envelope::{Columns, DeadLetter, Header, Tick, Values, set_sent_at};

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
    Columns::new("t", (1..=8).map(column).collect())
}

fn walk(value: Value<'_>) {
    if let Value::Array(array) = value {
        assert_eq!(array.iter().len(), array.len());
        for element in array.iter().flatten() {
            walk(element);
        }
    }
}

fuzz_target!(|frame: &[u8]| {
    let columns = columns();
    let mut stamped = frame.to_vec();
    set_sent_at(&mut stamped, 1);
    let _ = Header::decode(frame);
    let _ = Tick::decode(frame);
    let _ = DeadLetter::decode(frame);
    let shape = Columns::decode(frame);
    let columns = shape.as_ref().unwrap_or(&columns);
    let _ = read::typed(frame, columns);
    for record in read::records(frame) {
        let Ok(record) = record else { break };
        let record = read::record_at(frame, record.position()).expect("it was read before");
        let _ = (record.mod_type(), record.value_capture_type());
        record.version(0).expect("it was checked");
        for each in record.mods().expect("they were checked") {
            if each.values() == Ok(Values::Json) {
                each.json().expect("it was checked");
                continue;
            }
            for other in each.others().expect("they were checked") {
                other.expect("it was checked");
            }
            for cells in [each.keys(columns), each.new_values(columns), each.old_values(columns)] {
                // More values than columns is refused here: the check does not know the columns.
                for cell in cells.into_iter().flatten() {
                    walk(cell.expect("it was checked").1);
                }
            }
        }
    }
});
