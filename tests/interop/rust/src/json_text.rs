//! Values that came as JSON text, written by their columns' types.

use std::fmt;
use std::sync::LazyLock;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use regex::Regex;
use serde::de::{Deserializer, MapAccess, Visitor};
use serde_json::value::RawValue;
use time::{Date, Month};

use crate::Result;
use crate::canonical::{Object, Role, bracketed, bytes, float, integer, quote, stand_in};
use crate::envelope_capnp::{TypeAnnotation, TypeCode, type_};

/// The types that travel as text of a certain form.
static DECIMAL: LazyLock<Regex> = LazyLock::new(|| form("-?[0-9]+(\\.[0-9]+)?([eE][-+]?[0-9]+)?"));
static DATE: LazyLock<Regex> = LazyLock::new(|| form("([0-9]{1,4})-([0-9]{2})-([0-9]{2})"));
static UUID: LazyLock<Regex> = LazyLock::new(|| form("[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}"));
static INTERVAL: LazyLock<Regex> = LazyLock::new(|| {
    let [n, fraction] = ["-?[0-9]+", "(\\.[0-9]+)?"];
    form(&format!("P({n}Y)?({n}M)?({n}W)?({n}D)?(T({n}H)?({n}M)?({n}{fraction}S)?)?"))
});

fn form(text: &str) -> Regex {
    Regex::new(&format!("^\"{text}\"$")).expect("a regular expression")
}

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
    Float32,
    Text,
    Date,
    Interval,
    Uuid,
    Numeric,
    PgNumeric,
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
            ("null", _) => Some("null".into()),
            ("\"NULL\"", _) if scalar.knows_null() => Some("null".into()),
            (raw, Scalar::Unknown) => Some(stand_in(raw)),
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
            Ok(TypeCode::Float64) => Self::Float,
            Ok(TypeCode::Float32) => Self::Float32,
            Ok(TypeCode::String) => Self::Text,
            Ok(TypeCode::Date) => Self::Date,
            Ok(TypeCode::Interval) => Self::Interval,
            Ok(TypeCode::Uuid) => Self::Uuid,
            Ok(TypeCode::Numeric) if column_type.get_annotation() == Ok(TypeAnnotation::PgNumeric) => {
                Self::PgNumeric
            }
            Ok(TypeCode::Numeric) => Self::Numeric,
            Ok(TypeCode::Json) => Self::Json,
            Ok(TypeCode::Bytes | TypeCode::Proto) => Self::Bytes,
            Ok(TypeCode::Timestamp) => Self::Timestamp,
            _ => Self::Unknown,
        }
    }

    /// Whether the string "NULL" in an array is null: nothing of these types reads so.
    fn knows_null(self) -> bool {
        use Scalar::{Date, Integer, Interval, Numeric, PgNumeric, Uuid};
        matches!(self, Integer | Numeric | PgNumeric | Date | Interval | Uuid)
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
            #[allow(clippy::cast_possible_truncation)]
            Self::Float32 if is_number => {
                Self::Float.read(raw).filter(|_| raw.parse().is_ok_and(|n: f64| (n as f32).is_finite()))
            }
            Self::Float32 => Self::Float.read(raw),
            Self::PgNumeric if raw == "\"NaN\"" => Some(raw.into()),
            Self::Numeric | Self::PgNumeric if is_number => Some(quote(raw)),
            Self::Numeric | Self::PgNumeric => DECIMAL.is_match(raw).then(|| raw.into()),
            Self::Date => is_date(raw).then(|| raw.into()),
            // What ends in P or T has no part where it needs one.
            Self::Interval if raw.ends_with("P\"") || raw.ends_with("T\"") => None,
            Self::Interval => INTERVAL.is_match(raw).then(|| raw.into()),
            Self::Uuid => UUID.is_match(raw).then(|| raw.into()),
            Self::Json if !is_string => Some(quote(raw)),
            Self::Text | Self::Json => text(raw).map(|text| quote(&text)),
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

fn is_date(raw: &str) -> bool {
    let number = |text: &str| text.parse().ok();
    let found = DATE.captures(raw).map(|parts| parts.extract().1.map(number));
    found.is_some_and(|parts| matches!(parts, [Some(y), Some(m), Some(d)] if day(y, m, d).is_some()))
}

/// A day of the years 1 to 9999.
fn day(year: u16, month: u16, day: u16) -> Option<Date> {
    let month = Month::try_from(u8::try_from(month).ok()?).ok()?;
    let date = Date::from_calendar_date(year.into(), month, u8::try_from(day).ok()?).ok()?;
    (date.year() >= 1).then_some(date)
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
    day(number(0, 4)?, number(5, 7)?, number(8, 10)?)?;
    if number(11, 13)? > 23 || number(14, 16)? > 59 || number(17, 19)? > 59 {
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
                Some(form) => form.read(raw).unwrap_or_else(|| stand_in(raw)),
                None => stand_in(raw),
            };
            object.entry(name).or_insert(value);
        }
        Ok(object)
    }
}
