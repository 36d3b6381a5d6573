//! A plain decoding of a mod's JSON by `serde_json`: what the envelope's writer is compared with.

use serde_json::Value as Json;
use spanwire_core::change::{Column, Timestamp, Type, TypeAnnotation, TypeCode};

use super::{Plain, PlainMod, PlainValues};

fn decode_base64(text: &str) -> Option<Vec<u8>> {
    let alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let letters = text.trim_end_matches('=');
    let padding = text.len() - letters.len();
    if !text.len().is_multiple_of(4) || padding > 2 {
        return None;
    }
    let mut bits = String::new();
    for letter in letters.chars() {
        bits += &format!("{:06b}", alphabet.find(letter)?);
    }
    let whole = bits.len() / 8 * 8;
    if bits[whole..].contains('1') || bits.len() - whole != padding * 2 {
        return None;
    }
    Some((0..whole).step_by(8).map(|at| u8::from_str_radix(&bits[at..at + 8], 2).unwrap()).collect())
}

/// None where the value does not fit the type.
fn decode(of: &Type, raw: &str) -> Option<Plain> {
    let json: Json = serde_json::from_str(raw).expect("the test writes JSON");
    if json.is_null() {
        return Some(Plain::Null);
    }
    if let (TypeCode::Array, Some(element)) = (of.code, &of.array_element) {
        // Elements as they stand in the text.
        let raws: Vec<&serde_json::value::RawValue> = serde_json::from_str(raw).ok()?;
        let no_text = element.annotation == TypeAnnotation::PgOid || is_formed(element.code);
        let no_text = no_text || matches!(element.code, TypeCode::Int64 | TypeCode::Enum);
        return raws
            .iter()
            .map(|raw| {
                if no_text && raw.get() == "\"NULL\"" {
                    Some(Plain::Null)
                } else {
                    decode_element(element, raw.get())
                }
            })
            .collect::<Option<_>>()
            .map(Plain::Array);
    }
    decode_scalar(of, raw, &json)
}

fn decode_element(of: &Type, raw: &str) -> Option<Plain> {
    if is_unknown(of) && raw != "null" {
        return Some(Plain::Json(raw.to_owned()));
    }
    let json: Json = serde_json::from_str(raw).unwrap();
    if json.is_null() { Some(Plain::Null) } else { decode_scalar(of, raw, &json) }
}

pub fn is_unknown(of: &Type) -> bool {
    of.annotation != TypeAnnotation::PgOid
        && matches!(of.code, TypeCode::Unspecified | TypeCode::Struct | TypeCode::Array)
}

fn decode_scalar(of: &Type, raw: &str, json: &Json) -> Option<Plain> {
    // A number or string in its own words.
    let word = json.as_str().or_else(|| json.is_number().then_some(raw));
    match of.code {
        _ if of.annotation == TypeAnnotation::PgOid => decode_integer(word?),
        TypeCode::Int64 | TypeCode::Enum => decode_integer(word?),
        TypeCode::Bool => json.as_bool().map(Plain::Bool),
        TypeCode::Float64 | TypeCode::Float32 => {
            let value = match json {
                Json::Number(_) => raw.parse().unwrap(),
                Json::String(text) => match text.as_str() {
                    "NaN" => f64::NAN,
                    "Infinity" => f64::INFINITY,
                    "-Infinity" => f64::NEG_INFINITY,
                    _ => return None,
                },
                _ => return None,
            };
            #[allow(clippy::cast_possible_truncation)]
            let fits = of.code == TypeCode::Float64 || value.is_infinite() || !(value as f32).is_infinite();
            fits.then(|| Plain::Float64(value.to_bits()))
        }
        TypeCode::Timestamp => {
            let timestamp: Timestamp = json.as_str()?.parse().ok()?;
            Some(Plain::Timestamp(timestamp.seconds, timestamp.nanos))
        }
        TypeCode::String => Some(Plain::Text(json.as_str()?.to_owned())),
        code if is_formed(code) => {
            let word = if code == TypeCode::Numeric { word? } else { json.as_str()? };
            let fits = match code {
                TypeCode::Numeric => {
                    is_decimal(word) || of.annotation == TypeAnnotation::PgNumeric && word == "NaN"
                }
                TypeCode::Date => is_date(word),
                TypeCode::Uuid => is_uuid(word),
                _ => is_interval(word),
            };
            (fits && !raw.contains('\\')).then(|| Plain::Text(word.to_owned()))
        }
        TypeCode::Json => Some(Plain::Text(json.as_str().unwrap_or(raw).to_owned())),
        TypeCode::Bytes | TypeCode::Proto => decode_base64(json.as_str()?).map(Plain::Bytes),
        _ => None,
    }
}

/// Types whose text has a form.
fn is_formed(code: TypeCode) -> bool {
    matches!(code, TypeCode::Numeric | TypeCode::Date | TypeCode::Uuid | TypeCode::Interval)
}

fn all_digits(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit())
}

fn is_decimal(word: &str) -> bool {
    let (mantissa, exponent) = word.split_once(['e', 'E']).unwrap_or((word, "0"));
    let mut parts = mantissa.strip_prefix('-').unwrap_or(mantissa).split('.');
    let whole = parts.next().is_some_and(all_digits);
    let fraction = parts.next().is_none_or(all_digits);
    whole
        && fraction
        && parts.next().is_none()
        && all_digits(exponent.strip_prefix(['+', '-']).unwrap_or(exponent))
}

fn is_date(word: &str) -> bool {
    let midnight = format!("{word:0>10}T00:00:00Z");
    midnight.len() == 20 && !word.starts_with('-') && midnight.parse::<Timestamp>().is_ok()
}

fn is_uuid(word: &str) -> bool {
    let groups: Vec<usize> = word.split('-').map(str::len).collect();
    groups == [8, 4, 4, 4, 12] && word.bytes().all(|byte| byte == b'-' || byte.is_ascii_hexdigit())
}

fn is_interval(word: &str) -> bool {
    let Some(body) = word.strip_prefix('P') else { return false };
    let (date, time) = body.split_once('T').map_or((body, None), |(date, time)| (date, Some(time)));
    let in_order = |part: &str, units: &str| {
        let mut least = 0;
        part.split_inclusive(|letter: char| letter.is_ascii_alphabetic()).all(|piece| {
            let Some((number, unit)) = piece.split_at_checked(piece.len() - 1) else { return false };
            let Some(place) = units.find(unit) else { return false };
            let number = number.strip_prefix('-').unwrap_or(number);
            let (whole, fraction) = number.split_once('.').unwrap_or((number, "0"));
            let fits = all_digits(whole) && all_digits(fraction) && (unit == "S" || !number.contains('.'));
            let fits = fits && place >= least;
            least = place + 1;
            fits
        })
    };
    !body.is_empty()
        && in_order(date, "YMWD")
        && time.is_none_or(|time| !time.is_empty() && in_order(time, "HMS"))
}

fn decode_integer(word: &str) -> Option<Plain> {
    let digits = word.strip_prefix('-').unwrap_or(word);
    (digits.len() <= 19 && digits.bytes().all(|digit| digit.is_ascii_digit()))
        .then(|| word.parse().ok().map(Plain::Int64))
        .flatten()
}

/// Values by the rules of the schema: the first of a name in its column's place, the rest others.
pub fn expected(columns: &[Column], objects: &[Vec<(String, String)>; 3], number: u32) -> PlainMod {
    let mut others = Vec::new();
    let lists = [0_u8, 1, 2].map(|place| {
        let of_role: Vec<&Column> =
            columns.iter().filter(|column| column.is_primary_key == (place == 0)).collect();
        let mut list = vec![Plain::Missing; of_role.len()];
        for (name, raw) in &objects[usize::from(place)] {
            match of_role.iter().position(|column| column.name == *name) {
                Some(at) if list[at] == Plain::Missing => {
                    list[at] =
                        decode(&of_role[at].column_type, raw).unwrap_or_else(|| Plain::Json(raw.clone()));
                }
                _ => others.push((place, name.clone(), raw.clone())),
            }
        }
        while list.last() == Some(&Plain::Missing) {
            list.pop();
        }
        list
    });
    PlainMod { number, values: PlainValues::Typed(lists, others) }
}
