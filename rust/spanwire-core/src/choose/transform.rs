//! What happens to a column's values on their way out.

use std::fmt::Write;

use hmac::Mac;

use super::plain::{self, Scalar};
use super::settings::HashKey;
use crate::base64;
use crate::change::{Type, TypeAnnotation, TypeCode};
use crate::json::write_string;

/// What stands for every value of a masked column, NULL too: a STRING.
pub const MASK: &str = "***";

/// What becomes of a column.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Action {
    Keep,
    Drop,
    Mask,
    Hash,
    /// To so many characters of a STRING, or bytes of a BYTES.
    Truncate(usize),
}

impl Action {
    /// The column's type when it goes out.
    pub(super) fn type_of(self, from: &Type) -> Type {
        match self {
            Self::Mask | Self::Hash => string(),
            Self::Truncate(_) if !can_be_cut(from) => string(),
            _ => from.clone(),
        }
    }
}

fn can_be_cut(of: &Type) -> bool {
    matches!(of.code, TypeCode::String | TypeCode::Bytes)
}

fn string() -> Type {
    Type {
        code: TypeCode::String,
        annotation: TypeAnnotation::None,
        array_element: None,
        proto_type_fqn: String::new(),
        unknown: String::new(),
    }
}

/// Appends what goes out for `value`, a JSON text; never for [`Action::Drop`].
pub(super) fn write(
    action: Action,
    value: &str,
    of: Option<&Type>,
    key: Option<&HashKey>,
    scratch: &mut Vec<u8>,
    out: &mut String,
) {
    match (action, key) {
        (Action::Keep, _) => out.push_str(value),
        (Action::Hash, Some(key)) if value == "null" => {
            let _ = key; // NULL stays NULL
            out.push_str(value);
        }
        (Action::Hash, Some(key)) => {
            scratch.clear();
            plain::write(value, of, scratch);
            let mut mac = key.0.clone();
            mac.update(scratch);
            out.push('"');
            for byte in mac.finalize().into_bytes() {
                let _ = write!(out, "{byte:02x}"); // writing to a String cannot fail
            }
            out.push('"');
        }
        (Action::Truncate(most), _) => {
            if !of.is_some_and(|of| can_be_cut(of) && cut(value, of, most, scratch, out)) {
                mask(out);
            }
        }
        // Without its key nothing is hashed: the settings refuse that, and nothing may leak.
        (Action::Mask | Action::Drop | Action::Hash, _) => mask(out),
    }
}

fn mask(out: &mut String) {
    out.push('"');
    out.push_str(MASK);
    out.push('"');
}

/// False where the value is not of its type: nothing was appended then.
fn cut(value: &str, of: &Type, most: usize, scratch: &mut Vec<u8>, out: &mut String) -> bool {
    if value == "null" {
        out.push_str(value);
        return true;
    }
    let Some(Scalar::Text(raw)) = plain::scalar(value) else { return false };
    scratch.clear();
    if of.code == TypeCode::Bytes {
        let Ok(text) = raw.to_cow() else { return false };
        if !base64::decode(text.as_bytes(), scratch) {
            return false;
        }
        out.push('"');
        base64::encode_into(&scratch[..most.min(scratch.len())], out);
        out.push('"');
        return true;
    }
    if raw.unescape_into(scratch).is_err() {
        return false;
    }
    let Ok(text) = std::str::from_utf8(scratch) else { return false };
    let end = text.char_indices().nth(most).map_or(text.len(), |(end, _)| end);
    write_string(&text[..end], out);
    true
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(action: Action, value: &str, code: TypeCode) -> String {
        let key = HashKey::new(b"key").unwrap();
        let mut out = String::new();
        write(action, value, Some(&Type { code, ..string() }), Some(&key), &mut Vec::new(), &mut out);
        out
    }

    #[test]
    fn a_masked_value_says_nothing_not_even_whether_it_is_null() {
        for value in ["null", "1", r#""x""#, "[1]"] {
            assert_eq!(written(Action::Mask, value, TypeCode::Json), r#""***""#);
        }
    }

    #[test]
    fn a_hash_is_hmac_sha_256_in_hexadecimal_and_null_stays_null() {
        // RFC 2104 over SHA-256, as every library computes it: key "key", text "The quick brown fox …".
        assert_eq!(
            written(Action::Hash, r#""The quick brown fox jumps over the lazy dog""#, TypeCode::String),
            r#""f7bc83f430538424b13298e6aa6fb143ef4d59a14946175997479dbc2d1a3cd8""#
        );
        assert_eq!(written(Action::Hash, "null", TypeCode::String), "null");
        assert_eq!(
            written(Action::Hash, r#""7""#, TypeCode::Int64),
            written(Action::Hash, "7", TypeCode::Int64)
        );
    }

    #[test]
    fn a_text_is_cut_at_characters_and_bytes_at_bytes() {
        let cut = |value, code| written(Action::Truncate(2), value, code);
        assert_eq!(cut(r#""äöü""#, TypeCode::String), r#""äö""#);
        assert_eq!(cut(r#""\"\n\u00fc""#, TypeCode::String), r#""\"\n""#);
        assert_eq!(cut(r#""a""#, TypeCode::String), r#""a""#);
        assert_eq!(cut(r#""\ud83d\ude00xy""#, TypeCode::String), r#""😀x""#);
        assert_eq!(cut(r#""AQID""#, TypeCode::Bytes), r#""AQI=""#);
        assert_eq!(cut("null", TypeCode::String), "null");
        // Of another type, or not of its type: nothing of it.
        for (value, code) in [
            ("12345", TypeCode::Int64),
            ("12345", TypeCode::String),
            (r#""\ud83d""#, TypeCode::String),
            (r#""A""#, TypeCode::Bytes),
        ] {
            assert_eq!(cut(value, code), r#""***""#, "{value}");
        }
    }
}
