//! One change in canonical form: a line of JSON that is the same in every language.
//!
//! Keys sorted; 64-bit integers as decimal strings, floats as the 16 hexadecimal digits of their
//! IEEE bits, bytes as base64, timestamps with nine fraction digits, everything else as its text. JSON
//! text that stands in for a value is `{"json":text}`: no typed value is an object.
//! `docs/canonical.md` is its definition.

use std::collections::BTreeMap;
use std::fmt::Write;

use super::{Cells, Mod, OtherPlace, Record, Value};
use crate::base64;
use crate::envelope::Columns;
use crate::error::Result;

const NAN_BITS: u64 = 0x7FF8_0000_0000_0000;

/// The canonical line of a change with typed values.
pub fn canonical(record: &Record<'_>, change: &Mod<'_>, columns: &Columns) -> Result<String> {
    let mut line = String::with_capacity(512);
    line.push_str("{\"keys\":");
    object(&mut line, change, change.keys(columns)?, OtherPlace::Keys)?;
    line.push_str(",\"mod_type\":");
    string(&mut line, record.mod_type()?.name());
    line.push_str(",\"new\":");
    object(&mut line, change, change.new_values(columns)?, OtherPlace::NewValues)?;
    line.push_str(",\"old\":");
    object(&mut line, change, change.old_values(columns)?, OtherPlace::OldValues)?;
    line.push_str(",\"table\":");
    string(&mut line, columns.table());
    line.push_str(",\"version\":");
    string(&mut line, &record.version(change.number())?.to_string());
    line.push('}');
    Ok(line)
}

fn object(line: &mut String, change: &Mod<'_>, cells: Cells<'_, '_>, place: OtherPlace) -> Result<()> {
    let mut values = BTreeMap::new();
    for cell in cells {
        let (column, cell_value) = cell?;
        if !matches!(cell_value, Value::Missing) {
            values.insert(column.name.as_str(), cell_value);
        }
    }
    for other in change.others()? {
        let other = other?;
        if other.place == place {
            values.entry(other.name).or_insert(Value::Json(other.json));
        }
    }
    line.push('{');
    for (number, (name, each)) in values.iter().enumerate() {
        if number > 0 {
            line.push(',');
        }
        string(line, name);
        line.push(':');
        value(line, each)?;
    }
    line.push('}');
    Ok(())
}

fn value(line: &mut String, value: &Value<'_>) -> Result<()> {
    // Writing to a String cannot fail.
    match *value {
        Value::Missing | Value::Null => line.push_str("null"),
        Value::Bool(truth) => line.push_str(if truth { "true" } else { "false" }),
        Value::Int64(number) => {
            let _ = write!(line, "\"{number}\"");
        }
        Value::Float64(number) => {
            // Not every language keeps the bits of a NaN apart, so all are written as one.
            let bits = if number.is_nan() { NAN_BITS } else { number.to_bits() };
            let _ = write!(line, "\"{bits:016x}\"");
        }
        Value::Text(text) => string(line, text),
        Value::Json(text) => {
            line.push_str("{\"json\":");
            string(line, text);
            line.push('}');
        }
        Value::Bytes(bytes) => {
            line.push('"');
            base64::encode_into(bytes, line);
            line.push('"');
        }
        Value::Timestamp(timestamp) => {
            let _ = write!(line, "\"{timestamp}\"");
        }
        Value::Array(array) => {
            line.push('[');
            for (number, element) in array.iter().enumerate() {
                if number > 0 {
                    line.push(',');
                }
                self::value(line, &element?)?;
            }
            line.push(']');
        }
    }
    Ok(())
}

/// A JSON string with the escapes that JSON demands and no others.
fn string(line: &mut String, text: &str) {
    line.push('"');
    for character in text.chars() {
        match character {
            '"' => line.push_str("\\\""),
            '\\' => line.push_str("\\\\"),
            '\n' => line.push_str("\\n"),
            '\r' => line.push_str("\\r"),
            '\t' => line.push_str("\\t"),
            '\u{8}' => line.push_str("\\b"),
            '\u{c}' => line.push_str("\\f"),
            control if control < ' ' => {
                let _ = write!(line, "\\u{:04x}", u32::from(control));
            }
            other => line.push(other),
        }
    }
    line.push('"');
}
