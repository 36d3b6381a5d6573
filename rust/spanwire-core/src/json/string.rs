//! Strings of JSON text: raw, and with their escapes undone.

use std::borrow::Cow;

use super::{JsonError, Result};

/// A string as it stands between its quotes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RawStr<'a> {
    /// The text between the quotes, escapes untouched.
    pub text: &'a str,
    /// Whether there is a backslash in it.
    pub has_escapes: bool,
}

impl<'a> RawStr<'a> {
    /// The string: borrowed where it has no escapes.
    pub fn to_cow(&self) -> Result<Cow<'a, str>> {
        if !self.has_escapes {
            return Ok(Cow::Borrowed(self.text));
        }
        let mut out = Vec::with_capacity(self.text.len());
        self.unescape_into(&mut out)?;
        // Pieces of a str, and encoded characters between them.
        let text = String::from_utf8(out).map_err(|_| JsonError { position: 0, what: "not UTF-8" })?;
        Ok(Cow::Owned(text))
    }

    /// Appends the string to `out`, as UTF-8. The positions of errors count from its first quote.
    /// On an error `out` may have been appended to.
    pub fn unescape_into(&self, out: &mut Vec<u8>) -> Result<()> {
        let bytes = self.text.as_bytes();
        let mut at = 0;
        while let Some(found) = memchr::memchr(b'\\', &bytes[at..]) {
            out.extend_from_slice(&bytes[at..at + found]);
            at += found;
            let (character, length) =
                escape(&bytes[at..]).ok_or(JsonError { position: at, what: "not an escape" })?;
            out.extend_from_slice(character.encode_utf8(&mut [0; 4]).as_bytes());
            at += length;
        }
        out.extend_from_slice(&bytes[at..]);
        Ok(())
    }

    /// Whether the string is `other`, escapes undone.
    pub fn is(&self, other: &str) -> bool {
        if self.has_escapes { self.to_cow().is_ok_and(|text| text == other) } else { self.text == other }
    }
}

/// The character that an escape at the start of `bytes` stands for, and the escape's length.
fn escape(bytes: &[u8]) -> Option<(char, usize)> {
    let character = match bytes.get(1)? {
        b'"' => '"',
        b'\\' => '\\',
        b'/' => '/',
        b'b' => '\u{8}',
        b'f' => '\u{c}',
        b'n' => '\n',
        b'r' => '\r',
        b't' => '\t',
        b'u' => return unicode_escape(bytes),
        _ => return None,
    };
    Some((character, 2))
}

/// `\uXXXX`, or two of them that are a surrogate pair.
fn unicode_escape(bytes: &[u8]) -> Option<(char, usize)> {
    let hex = |at: usize| -> Option<u32> {
        bytes
            .get(at..at + 4)?
            .iter()
            .try_fold(0, |value, byte| Some(value << 4 | char::from(*byte).to_digit(16)?))
    };
    let first = hex(2)?;
    if !(0xd800..0xdc00).contains(&first) {
        return Some((char::from_u32(first)?, 6)); // a low surrogate on its own is no char
    }
    if bytes.get(6..8)? != b"\\u" {
        return None;
    }
    let second = hex(8)?;
    if !(0xdc00..0xe000).contains(&second) {
        return None;
    }
    Some((char::from_u32(0x1_0000 + ((first - 0xd800) << 10) + (second - 0xdc00))?, 12))
}

#[cfg(test)]
mod tests {
    use std::fmt::Write;

    use proptest::prelude::*;

    use super::super::Scanner;
    use super::*;

    #[test]
    fn escapes_are_undone_and_wrong_ones_refused() {
        let read = |text| Scanner::new(text).string().unwrap().to_cow().map(Cow::into_owned);
        assert_eq!(read(r#""\"\\\/\b\f\n\r\t\u00e9\ud83d\ude00ü""#).unwrap(), "\"\\/\u{8}\u{c}\n\r\té😀ü");
        for wrong in [
            r#""\x""#,
            r#""\u12""#,
            r#""\u12g4""#,
            r#""\ud83d""#,
            r#""\ud83dxx""#,
            r#""\ude00""#,
            r#""\ud83d\u0041""#,
        ] {
            assert!(read(wrong).is_err(), "{wrong}");
        }
        assert_eq!(Scanner::new(r#""ab\q""#).string().unwrap().to_cow().unwrap_err().position, 2);
    }

    proptest! {
        #[test]
        fn a_string_survives_being_escaped(text in any::<String>(), escape_all in any::<bool>()) {
            let mut quoted = String::from("\"");
            for character in text.chars() {
                if escape_all || matches!(character, '"' | '\\') {
                    for unit in character.encode_utf16(&mut [0; 2]) {
                        write!(quoted, "\\u{unit:04x}").unwrap();
                    }
                } else {
                    quoted.push(character);
                }
            }
            quoted.push('"');
            let mut scanner = Scanner::new(&quoted);
            let string = scanner.string().unwrap();
            prop_assert_eq!(string.to_cow().unwrap(), text.as_str());
            prop_assert!(string.is(&text));
            scanner.end().unwrap();
        }
    }
}
