//! A `google.protobuf.Value` written as the JSON text that the other shapes carry.

use crate::json::{write_number, write_string};

use super::protobuf::{Fields, List, Malformed, Result, Value, entry, utf8};

/// How deep values may nest; protobuf's own parsers stop there too.
const MAX_DEPTH: usize = 100;

/// Appends a value.
pub fn write(encoded: &[u8], out: &mut String) -> Result<()> {
    write_at(encoded, out, 0)
}

fn write_at(encoded: &[u8], out: &mut String, depth: usize) -> Result<()> {
    match Value::read(encoded)? {
        Value::Null => out.push_str("null"),
        Value::Bool(truth) => out.push_str(if truth { "true" } else { "false" }),
        Value::Number(number) => write_number(number, out),
        Value::Text(bytes) => write_string(text(bytes)?, out),
        Value::List(_) | Value::Struct(_) if depth == MAX_DEPTH => {
            return Err(Malformed("a value nested too deep"));
        }
        Value::List(list) => write_list(list, out, depth + 1)?,
        Value::Struct(fields) => write_struct(fields, out, depth + 1)?,
    }
    Ok(())
}

fn write_list(list: List<'_>, out: &mut String, depth: usize) -> Result<()> {
    let mut elements = list.elements();
    let mut open = '[';
    while let Some(element) = elements.next()? {
        out.push(open);
        open = ',';
        write_at(element, out, depth)?;
    }
    out.push_str(if open == '[' { "[]" } else { "]" });
    Ok(())
}

fn write_struct(encoded: &[u8], out: &mut String, depth: usize) -> Result<()> {
    let mut fields = Fields::of(encoded);
    let mut open = '{';
    while let Some((number, payload)) = fields.next()? {
        if number != 1 {
            continue;
        }
        let (name, value) = entry(payload.bytes()?)?;
        out.push(open);
        open = ',';
        write_string(text(name)?, out);
        out.push(':');
        write_at(value, out, depth)?;
    }
    out.push_str(if open == '{' { "{}" } else { "}" });
    Ok(())
}

fn text(bytes: &[u8]) -> Result<&str> {
    utf8(bytes).map_err(|_| Malformed("text that is not UTF-8"))
}
