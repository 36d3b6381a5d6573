//! The bytes that stand for a value when it is hashed: the same for every way that Spanner writes
//! it, so that anybody can compute them. docs/settings.md describes them for users.

use std::io::Write;

use super::decimal::Decimal;
use crate::base64;
use crate::change::{Timestamp, Type, TypeCode};
use crate::json::{Kind, RawStr, Scanner};

/// The text of a JSON value that is a string, or of a number; none for what is neither.
pub(super) fn scalar(value: &str) -> Option<Scalar<'_>> {
    let mut scanner = Scanner::new(value);
    match scanner.kind().ok()? {
        Kind::String => scanner.string().ok().map(Scalar::Text),
        Kind::Number => scanner.number().ok().map(Scalar::Number),
        Kind::Bool => scanner.boolean().ok().map(Scalar::Bool),
        _ => None,
    }
}

/// A JSON value that is no object, array or null.
#[derive(Debug, Clone, Copy)]
pub(super) enum Scalar<'a> {
    Text(RawStr<'a>),
    Number(&'a str),
    Bool(bool),
}

/// Appends the bytes of a value that is not NULL. `value`: its JSON text; `of`: its column's type,
/// none where the record does not describe it.
pub(super) fn write(value: &str, of: Option<&Type>, out: &mut Vec<u8>) {
    let start = out.len();
    if !of.is_some_and(|of| typed(value, of.code, out)) {
        out.truncate(start);
        compact(value, out);
    }
}

/// False where the value is not of its type.
fn typed(value: &str, code: TypeCode, out: &mut Vec<u8>) -> bool {
    let Some(scalar) = scalar(value) else { return false };
    match (code, scalar) {
        (TypeCode::Bool, Scalar::Bool(truth)) => {
            out.extend_from_slice(if truth { b"true" } else { b"false" });
            true
        }
        (TypeCode::Int64 | TypeCode::Enum | TypeCode::Numeric, Scalar::Number(text)) => decimal(text, out),
        (TypeCode::Int64 | TypeCode::Enum | TypeCode::Numeric, Scalar::Text(raw)) => decimal(raw.text, out),
        (TypeCode::Float64 | TypeCode::Float32, _) => float(scalar).is_some_and(|value| {
            let bits = if value.is_nan() { f64::NAN.to_bits() } else { value.to_bits() };
            write!(out, "{bits:016x}").is_ok()
        }),
        (TypeCode::Timestamp, Scalar::Text(raw)) => Timestamp::from_rfc3339(raw.text.as_bytes())
            .is_some_and(|timestamp| write!(out, "{timestamp}").is_ok()),
        (TypeCode::Bytes | TypeCode::Proto, Scalar::Text(raw)) => {
            raw.to_cow().is_ok_and(|text| base64::decode(text.as_bytes(), out))
        }
        (
            TypeCode::String | TypeCode::Date | TypeCode::Json | TypeCode::Interval | TypeCode::Uuid,
            Scalar::Text(raw),
        ) => raw.unescape_into(out).is_ok(),
        _ => false,
    }
}

fn decimal(text: &str, out: &mut Vec<u8>) -> bool {
    if let Ok(integer) = text.parse::<i64>() {
        return write!(out, "{integer}").is_ok(); // nearly all, and without an allocation
    }
    Decimal::parse(text).is_some_and(|value| {
        value.write(out);
        true
    })
}

/// A FLOAT's value, as Spanner writes it.
pub(super) fn float(scalar: Scalar<'_>) -> Option<f64> {
    match scalar {
        Scalar::Number(text) => text.parse().ok().filter(|value: &f64| value.is_finite()),
        Scalar::Text(raw) => match raw.text {
            "NaN" => Some(f64::NAN),
            "Infinity" => Some(f64::INFINITY),
            "-Infinity" => Some(f64::NEG_INFINITY),
            _ => None,
        },
        Scalar::Bool(_) => None,
    }
}

/// JSON text without the space between its tokens.
fn compact(value: &str, out: &mut Vec<u8>) {
    let mut in_string = false;
    let mut escaped = false;
    for &byte in value.as_bytes() {
        if !in_string && matches!(byte, b' ' | b'\n' | b'\r' | b'\t') {
            continue;
        }
        in_string ^= byte == b'"' && !escaped;
        escaped = in_string && byte == b'\\' && !escaped;
        out.push(byte);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::change::TypeAnnotation;

    fn plain(value: &str, code: TypeCode) -> Vec<u8> {
        let annotation = TypeAnnotation::None;
        let (proto_type_fqn, unknown) = (String::new(), String::new());
        let mut out = Vec::new();
        write(
            value,
            Some(&Type { code, annotation, array_element: None, proto_type_fqn, unknown }),
            &mut out,
        );
        out
    }

    #[test]
    fn a_value_has_the_same_bytes_however_it_is_written() {
        for (value, other, code, bytes) in [
            (r#""7""#, "7", TypeCode::Int64, &b"7"[..]),
            (r#""1.50""#, "1.5", TypeCode::Numeric, b"1.5"),
            ("1", "1.0", TypeCode::Float64, b"3ff0000000000000"),
            ("true", "true", TypeCode::Bool, b"true"),
            (r#""a/\u00e9""#, r#""a\/é""#, TypeCode::String, "a/é".as_bytes()),
            (r#""\/w==""#, r#""/w==""#, TypeCode::Bytes, b"\xff"),
            (
                r#""2026-01-01T00:00:00Z""#,
                r#""2026-01-01T00:00:00.0Z""#,
                TypeCode::Timestamp,
                b"2026-01-01T00:00:00.000000000Z",
            ),
            (r#"[1, "a b\" ]"]"#, r#"[ 1,"a b\" ]"]"#, TypeCode::Array, br#"[1,"a b\" ]"]"#),
            // What does not fit its type: as it stands.
            (r#"{"a": 1}"#, r#"{"a":1}"#, TypeCode::Int64, br#"{"a":1}"#),
            (r#""x""#, r#""x""#, TypeCode::Int64, br#""x""#),
        ] {
            assert_eq!(plain(value, code), bytes, "{value}");
            assert_eq!(plain(other, code), bytes, "{other}");
        }
    }
}
