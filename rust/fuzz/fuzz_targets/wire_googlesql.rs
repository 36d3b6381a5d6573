//! Bytes as messages and as rows of a `GoogleSQL` query: read as protobuf reads them, or refused.
#![no_main]

use libfuzzer_sys::fuzz_target;
use spanwire_core::wire::Shape;
use spanwire_fuzz::{googlesql, result_set, seen};

fn row(row: &[u8]) {
    let ours = seen::read(Shape::GoogleSql, row);
    if let Some(theirs) = googlesql::read(row) {
        seen::agree(&ours, &theirs);
    }
}

fuzz_target!(|bytes: &[u8]| {
    for value in result_set::values(bytes) {
        row(&value);
    }
    row(bytes);
});
