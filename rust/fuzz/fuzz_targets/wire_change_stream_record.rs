//! Bytes as messages, as rows and as the records of a `MUTABLE_KEY_RANGE` query: read as protobuf
//! reads them, or refused.
#![no_main]

#[path = "../../spanwire-core/tests/support/change_streams.rs"]
mod change_streams;
#[path = "../../spanwire-core/tests/support/values.rs"]
mod values;

use libfuzzer_sys::fuzz_target;
use spanwire_core::wire::Shape;
use spanwire_fuzz::{change_stream_record, result_set, seen};

fn record(record: &[u8]) {
    let ours = seen::read(Shape::ChangeStreamRecord, &change_streams::row(record).encode());
    let ours = ours.map(|records| records.iter().map(change_stream_record::parsed).collect());
    if let Some(theirs) = change_stream_record::read(record) {
        seen::agree(&ours, &theirs);
    }
}

fuzz_target!(|bytes: &[u8]| {
    for value in result_set::values(bytes) {
        let _ = seen::read(Shape::ChangeStreamRecord, &value);
    }
    let _ = seen::read(Shape::ChangeStreamRecord, bytes);
    record(bytes);
});
