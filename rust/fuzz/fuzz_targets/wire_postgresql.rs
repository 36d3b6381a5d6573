//! Bytes as messages and as the text of rows of a `PostgreSQL` query: read as `serde_json` reads them,
//! or refused.
#![no_main]

use libfuzzer_sys::fuzz_target;
use prost::Message;
use spanwire_core::wire::Shape;
use spanwire_fuzz::proto::{Kind, Value};
use spanwire_fuzz::{json, postgresql, result_set, seen};

fn row(row: &[u8]) {
    let ours = seen::read(Shape::PostgreSql, row);
    let Ok(Value { kind: Some(Kind::Text(text)) }) = Value::decode(row) else { return };
    // Half a surrogate pair is JSON, but no text: whether it is looked at is each parser's choice.
    if text.contains("\\ud") || text.contains("\\uD") || json::strict(&text) != text {
        return;
    }
    seen::agree(&ours, &postgresql::read(&text).flatten());
}

fuzz_target!(|bytes: &[u8]| {
    for value in result_set::values(bytes) {
        row(&value);
    }
    row(bytes);
    // As the text of a row, which is where almost everything is.
    let text = String::from_utf8_lossy(bytes).into_owned();
    row(&Value { kind: Some(Kind::Text(text)) }.encode_to_vec());
});
