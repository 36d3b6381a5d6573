//! A scanner over JSON text: hands out slices of it, copies nothing, builds no tree.
//!
//! The grammar is RFC 8259's. Two liberties: control characters inside strings are let through,
//! and what stands behind a backslash is looked at only when a string is unescaped. Depth is
//! limited to [`MAX_DEPTH`]. Nothing here panics, whatever the text.

mod special;
mod string;
mod token;
mod write;

use std::fmt;

pub(crate) use special::special;
pub use string::RawStr;
pub use write::{write_number, write_string};

/// How deep objects and arrays may nest.
pub const MAX_DEPTH: u32 = 128;

/// What is wrong with a text, and where. Carries none of the text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct JsonError {
    /// Byte offset into the text.
    pub position: usize,
    /// What was expected there, or met.
    pub what: &'static str,
}

/// The scanner's result.
pub type Result<T> = std::result::Result<T, JsonError>;

/// What kind of value comes next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum Kind {
    Object,
    Array,
    String,
    Number,
    Bool,
    Null,
}

/// Reads one JSON text from front to back.
///
/// Objects: `object_start`, then `next_key` until it gives `None`, reading one value after each
/// key. Arrays: `array_start`, then `next` until it gives `false`, reading one value after each
/// `true`. Last, `end`. After an error the scanner is of no more use.
#[derive(Debug, Clone)]
pub struct Scanner<'a> {
    text: &'a str,
    at: usize,
    depth: u32,
    /// Nothing has been read since the innermost `{` or `[`: no comma may come.
    fresh: bool,
}

impl<'a> Scanner<'a> {
    /// A scanner at the start of a text.
    pub fn new(text: &'a str) -> Self {
        Self { text, at: 0, depth: 0, fresh: false }
    }

    /// A scanner over bytes that ought to be UTF-8.
    pub fn from_bytes(bytes: &'a [u8]) -> Result<Self> {
        match std::str::from_utf8(bytes) {
            Ok(text) => Ok(Self::new(text)),
            Err(error) => Err(JsonError { position: error.valid_up_to(), what: "not UTF-8" }),
        }
    }

    /// Byte offset of what comes next.
    pub fn position(&self) -> usize {
        self.at
    }

    /// The kind of the value that comes next, judged by its first byte.
    pub fn kind(&mut self) -> Result<Kind> {
        match self.peek() {
            Some(b'{') => Ok(Kind::Object),
            Some(b'[') => Ok(Kind::Array),
            Some(b'"') => Ok(Kind::String),
            Some(b'-' | b'0'..=b'9') => Ok(Kind::Number),
            Some(b't' | b'f') => Ok(Kind::Bool),
            Some(b'n') => Ok(Kind::Null),
            _ => self.fail("expected a value"),
        }
    }

    /// Enters an object.
    pub fn object_start(&mut self) -> Result<()> {
        self.enter(b'{', "expected an object")
    }

    /// The next key of the object entered last; `None` leaves the object.
    pub fn next_key(&mut self) -> Result<Option<RawStr<'a>>> {
        if self.leave_or_separate(b'}', "expected ',' or '}'")? {
            return Ok(None);
        }
        let key = self.string()?;
        self.expect(b':', "expected ':'")?;
        Ok(Some(key))
    }

    /// Enters an array.
    pub fn array_start(&mut self) -> Result<()> {
        self.enter(b'[', "expected an array")
    }

    /// Whether the array entered last has another element; `false` leaves the array.
    #[allow(clippy::should_implement_trait)] // it yields no items: the caller reads them
    pub fn next(&mut self) -> Result<bool> {
        Ok(!self.leave_or_separate(b']', "expected ',' or ']'")?)
    }

    /// Reads a string.
    pub fn string(&mut self) -> Result<RawStr<'a>> {
        self.expect(b'"', "expected a string")?;
        let start = self.at;
        let (end, has_escapes) = token::string(self.text.as_bytes(), start)?;
        self.at = end;
        // The quotes are ASCII, so both ends are character boundaries.
        Ok(RawStr { text: &self.text[start..self.at - 1], has_escapes })
    }

    /// Reads a number; its text.
    pub fn number(&mut self) -> Result<&'a str> {
        self.peek();
        let start = self.at;
        self.at = token::number(self.text.as_bytes(), start)?;
        Ok(&self.text[start..self.at])
    }

    /// Reads `true` or `false`.
    pub fn boolean(&mut self) -> Result<bool> {
        let value = self.peek() == Some(b't');
        let word = if value { "true" } else { "false" };
        self.at = token::literal(self.text.as_bytes(), self.at, word, "expected true or false")?;
        Ok(value)
    }

    /// Reads `null`.
    pub fn null(&mut self) -> Result<()> {
        self.peek();
        self.at = token::literal(self.text.as_bytes(), self.at, "null", "expected null")?;
        Ok(())
    }

    /// Reads one value of any kind; its text without the whitespace around it.
    pub fn raw_value(&mut self) -> Result<&'a str> {
        self.peek();
        let start = self.at;
        self.at = token::value(self.text.as_bytes(), start, self.depth)?;
        Ok(&self.text[start..self.at])
    }

    /// The text must end here.
    pub fn end(&mut self) -> Result<()> {
        if self.peek().is_some() { self.fail("expected the end of the text") } else { Ok(()) }
    }

    /// Skips whitespace and looks at the byte behind it.
    #[inline]
    fn peek(&mut self) -> Option<u8> {
        let bytes = self.text.as_bytes();
        self.at = token::space(bytes, self.at);
        bytes.get(self.at).copied()
    }

    #[inline]
    fn expect(&mut self, byte: u8, what: &'static str) -> Result<()> {
        if self.peek() == Some(byte) {
            self.at += 1;
            Ok(())
        } else {
            self.fail(what)
        }
    }

    fn enter(&mut self, open: u8, what: &'static str) -> Result<()> {
        self.expect(open, what)?;
        if self.depth == MAX_DEPTH {
            return self.fail("nested too deep");
        }
        self.depth += 1;
        self.fresh = true;
        Ok(())
    }

    /// True: the innermost object or array ends here. False: another element follows.
    #[inline]
    fn leave_or_separate(&mut self, close: u8, what: &'static str) -> Result<bool> {
        let fresh = std::mem::replace(&mut self.fresh, false);
        match self.peek() {
            Some(byte) if byte == close => {
                self.at += 1;
                // Only a caller that leaves more than it entered meets zero.
                self.depth = self.depth.saturating_sub(1);
                Ok(true)
            }
            Some(b',') if !fresh => {
                self.at += 1;
                Ok(false)
            }
            Some(_) if fresh => Ok(false),
            _ => self.fail(what),
        }
    }

    #[cold]
    fn fail<T>(&self, what: &'static str) -> Result<T> {
        Err(JsonError { position: self.at, what })
    }
}

impl fmt::Display for JsonError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "not JSON: {} at byte {}", self.what, self.position)
    }
}

impl std::error::Error for JsonError {}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn an_object_is_read_key_by_key() {
        let mut scanner = Scanner::new(r#" {"a" : [1, -2.5e+3, "x\"y"], "b":null ,"c":{"d":true}, "e":[]} "#);
        scanner.object_start().unwrap();
        assert!(scanner.next_key().unwrap().unwrap().is("a"));
        scanner.array_start().unwrap();
        assert!(scanner.next().unwrap());
        assert_eq!(scanner.number().unwrap(), "1");
        assert!(scanner.next().unwrap());
        assert_eq!(scanner.number().unwrap(), "-2.5e+3");
        assert!(scanner.next().unwrap());
        let text = scanner.string().unwrap();
        assert_eq!((text.text, text.has_escapes), ("x\\\"y", true));
        assert_eq!(text.to_cow().unwrap(), "x\"y");
        assert!(!scanner.next().unwrap());
        assert!(scanner.next_key().unwrap().unwrap().is("b"));
        assert_eq!(scanner.kind().unwrap(), Kind::Null);
        scanner.null().unwrap();
        assert_eq!(scanner.next_key().unwrap().unwrap().text, "c");
        assert_eq!(scanner.raw_value().unwrap(), r#"{"d":true}"#);
        assert_eq!(scanner.next_key().unwrap().unwrap().text, "e");
        scanner.array_start().unwrap();
        assert!(!scanner.next().unwrap());
        assert_eq!(scanner.next_key().unwrap(), None);
        scanner.end().unwrap();
    }

    #[test]
    fn raw_value_takes_exactly_one_value_of_the_grammar() {
        for text in [
            "0",
            "-0",
            "10.25E-7",
            "\"\"",
            "\"\\\\\"",
            "true",
            "false",
            "null",
            "[]",
            "{}",
            "[[],{}]",
            r#"{"a":{"b":[1,{"c":"]}"}]},"d":"\""}"#,
            "[ 1 , 2 ]",
        ] {
            let padded = format!(" {text} ,");
            let mut scanner = Scanner::new(&padded);
            assert_eq!(scanner.raw_value().unwrap(), text);
            assert_eq!(scanner.end().unwrap_err().position, padded.len() - 1);
        }
        for text in [
            "",
            "-",
            "+1",
            ".5",
            "1.",
            "1e",
            "\"",
            "\"\\",
            "\"\\\"",
            "tru",
            "nul",
            "nan",
            "[",
            "[1",
            "[1,",
            "[1,]",
            "[,1]",
            "[1 2]",
            "[1}",
            "{",
            "{1:2}",
            "{\"a\"}",
            "{\"a\":}",
            "{\"a\":1,}",
            "{\"a\":1]",
            "{,}",
            "]",
            "}",
        ] {
            assert!(Scanner::new(text).raw_value().is_err(), "{text}");
        }
        let mut leading_zero = Scanner::new("01");
        assert_eq!(leading_zero.raw_value().unwrap(), "0");
        assert!(leading_zero.end().is_err());
    }

    #[test]
    fn depth_is_limited_counting_what_was_entered_before() {
        let nested = |depth: usize| "[".repeat(depth) + &"]".repeat(depth);
        assert!(Scanner::new(&nested(128)).raw_value().is_ok());
        assert_eq!(Scanner::new(&nested(129)).raw_value().unwrap_err().what, "nested too deep");
        let text = nested(129);
        let mut scanner = Scanner::new(&text);
        scanner.array_start().unwrap();
        assert!(scanner.next().unwrap());
        assert!(scanner.raw_value().is_err());
        let wide = format!("[{}]", vec!["{}"; 1_000].join(","));
        assert!(Scanner::new(&wide).raw_value().is_ok());
    }

    #[test]
    fn bytes_that_are_not_utf8_are_refused_where_they_stop_being() {
        assert_eq!(
            Scanner::from_bytes(b"\"ab\xff\"").unwrap_err(),
            JsonError { position: 3, what: "not UTF-8" }
        );
        assert_eq!(Scanner::from_bytes(b"[]").unwrap().raw_value().unwrap(), "[]");
    }

    proptest! {
        #[test]
        fn any_text_is_read_or_refused_but_never_panics(text in r#"[\[\]{}",:\\eE0-9.+\-truefalsn u\n]{0,60}"#) {
            let mut scanner = Scanner::new(&text);
            if let Ok(value) = scanner.raw_value() {
                // What was accepted is a value on its own too.
                let mut again = Scanner::new(value);
                prop_assert_eq!(again.raw_value().unwrap(), value);
                again.end().unwrap();
            }
            for start in 0..text.len() {
                let mut scanner = Scanner::new(&text[start..]);
                let _ = scanner.string().map(|string| string.to_cow());
                let mut scanner = Scanner::new(&text[start..]);
                let _ = scanner.number();
                let _ = (scanner.next_key(), scanner.next(), scanner.boolean(), scanner.null(), scanner.end());
                let mut scanner = Scanner::new(&text[start..]);
                // Also after an error, which may have left it anywhere.
                let _ = (scanner.string(), scanner.number(), scanner.raw_value(), scanner.boolean(), scanner.null());
            }
        }
    }
}
