//! Values that came as JSON text, written by their columns' types.

use std::fmt;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::de::{Deserializer, MapAccess, Visitor};
use serde_json::value::RawValue;
use time::{Date, Month};

use crate::Result;
use crate::canonical::{Object, Role, bracketed, bytes, float, integer, quote};
use crate::envelope_capnp::{TypeAnnotation, TypeCode, type_};

/// How values of a column are read.
#[derive(Clone, Copy)]
pub enum Form {
    One(Scalar),
    Many(Scalar),
}

#[derive(Clone, Copy)]
pub enum Scalar {
    Bool,
    Integer,
    Float,
    Text,
    Numeric,
    Json,
    Bytes,
    Timestamp,
    Unknown,
}

impl Form {
    pub fn of(column_type: type_::Reader) -> Result<Self> {
        if column_type.get_code() == Ok(TypeCode::Array) && column_type.has_array_element() {
            return Ok(Self::Many(Scalar::of(column_type.get_array_element()?)));
        }
        Ok(Self::One(Scalar::of(column_type)))
    }

    /// The JSON of a value that is not null; None where it does not fit.
    fn read(self, raw: &str) -> Option<String> {
        let scalar = match self {
            Self::One(scalar) => return scalar.read(raw),
            Self::Many(scalar) => scalar,
        };
        let elements: Vec<&RawValue> = serde_json::from_str(raw).ok()?;
        let values = elements.into_iter().map(|raw| match (raw.get(), scalar) {
            ("null", _) | ("\"NULL\"", Scalar::Integer) => Some("null".into()),
            (raw, Scalar::Unknown) => Some(quote(raw)),
            (raw, _) => scalar.read(raw),
        });
        Some(bracketed(values.collect::<Option<Vec<_>>>()?.into_iter()))
    }
}

impl Scalar {
    fn of(column_type: type_::Reader) -> Self {
        if column_type.get_annotation() == Ok(TypeAnnotation::PgOid) {
            return Self::Integer;
        }
        match column_type.get_code() {
            Ok(TypeCode::Bool) => Self::Bool,
            Ok(TypeCode::Int64 | TypeCode::Enum) => Self::Integer,
            Ok(TypeCode::Float64 | TypeCode::Float32) => Self::Float,
            Ok(TypeCode::String | TypeCode::Date | TypeCode::Interval | TypeCode::Uuid) => Self::Text,
            Ok(TypeCode::Numeric) => Self::Numeric,
            Ok(TypeCode::Json) => Self::Json,
            Ok(TypeCode::Bytes | TypeCode::Proto) => Self::Bytes,
            Ok(TypeCode::Timestamp) => Self::Timestamp,
            _ => Self::Unknown,
        }
    }

    fn read(self, raw: &str) -> Option<String> {
        let is_number = raw.starts_with(|first: char| first == '-' || first.is_ascii_digit());
        let is_string = raw.starts_with('"');
        match self {
            Self::Bool => matches!(raw, "true" | "false").then(|| raw.into()),
            Self::Integer => {
                let digits = raw.strip_prefix('"').map_or(Some(raw), |rest| rest.strip_suffix('"'))?;
                // Of a string, nineteen digits; zeros before them count. No text has a plus.
                let is_too_long = is_string && digits.trim_start_matches('-').len() > 19;
                let number = digits.parse().ok().filter(|_| !digits.starts_with('+'));
                number.filter(|_| !is_too_long).map(integer)
            }
            Self::Float => match raw {
                "\"NaN\"" => Some(float(f64::NAN)),
                "\"Infinity\"" => Some(float(f64::INFINITY)),
                "\"-Infinity\"" => Some(float(f64::NEG_INFINITY)),
                _ if is_number => raw.parse().ok().filter(|number: &f64| number.is_finite()).map(float),
                _ => None,
            },
            Self::Numeric if is_number => Some(quote(raw)),
            Self::Json if !is_string => Some(quote(raw)),
            Self::Text | Self::Numeric | Self::Json => text(raw).map(|text| quote(&text)),
            Self::Bytes => Some(bytes(&STANDARD.decode(text(raw)?).ok()?)),
            Self::Timestamp => timestamp(raw),
            Self::Unknown => None,
        }
    }
}

/// A string's content; serde_json refuses half a surrogate pair.
fn text(raw: &str) -> Option<String> {
    serde_json::from_str(raw).ok()
}

fn timestamp(raw: &str) -> Option<String> {
    let text = raw.strip_prefix('"')?.strip_suffix('"')?;
    let number = |from: usize, to: usize| -> Option<u16> {
        let digits = text.get(from..to)?;
        digits.bytes().all(|digit| digit.is_ascii_digit()).then(|| digits.parse().ok())?
    };
    let separators = [(4, "-"), (7, "-"), (10, "T"), (13, ":"), (16, ":")];
    if !separators.iter().all(|&(at, separator)| text.get(at..=at) == Some(separator)) {
        return None;
    }
    let month = Month::try_from(u8::try_from(number(5, 7)?).ok()?).ok()?;
    let date =
        Date::from_calendar_date(number(0, 4)?.into(), month, u8::try_from(number(8, 10)?).ok()?).ok()?;
    if date.year() < 1 || number(11, 13)? > 23 || number(14, 16)? > 59 || number(17, 19)? > 59 {
        return None;
    }
    let fraction = text.get(19..)?;
    let fraction = fraction.strip_suffix('Z').or_else(|| fraction.strip_suffix("+00:00"))?;
    let digits = match fraction.strip_prefix('.') {
        Some(digits) if (1..=9).contains(&digits.len()) && digits.bytes().all(|d| d.is_ascii_digit()) => {
            digits
        }
        None if fraction.is_empty() => "",
        _ => return None,
    };
    Some(quote(&format!("{}.{digits:0<9}Z", &text[..19])))
}

/// The values of an object's JSON text; what does not fit its column, or has none, is its text.
pub fn typed(text: &str, role: &Role) -> Result<Object> {
    Ok(serde_json::Deserializer::from_str(text).deserialize_map(Members(role))?)
}

struct Members<'r>(&'r Role);

impl<'de> Visitor<'de> for Members<'_> {
    type Value = Object;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> std::result::Result<Object, A::Error> {
        let mut object = Object::new();
        while let Some((name, raw)) = members.next_entry::<String, &RawValue>()? {
            let raw = raw.get();
            let value = match self.0.forms.get(&name) {
                Some(_) if raw == "null" => "null".into(),
                Some(form) => form.read(raw).unwrap_or_else(|| quote(raw)),
                None => quote(raw),
            };
            object.entry(name).or_insert(value);
        }
        Ok(object)
    }
}
