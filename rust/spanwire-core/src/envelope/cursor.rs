//! Reads JSON text from left to right, for the writer of values: what it meets is written at
//! once, so there is no tree, and nothing is looked at twice but the text of a string.

use crate::json::special;

/// Arrays and objects in each other deeper than this are broken JSON to us.
const MAX_DEPTH: u32 = 128;

/// How the text is not JSON; where is where the cursor stands then. Small, because every step
/// returns it or not.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Broken {
    Behind,
    Comma,
    Colon,
    ControlOrEnd,
    Depth,
    Escape,
    Number,
    Object,
    String,
    Surrogate,
    Value,
}

impl Broken {
    pub(super) fn what(self) -> &'static str {
        match self {
            Self::Behind => "text behind its end",
            Self::Comma => "a comma or the end was expected",
            Self::Colon => "a colon was expected",
            Self::ControlOrEnd => "a control character in a string, or a string without end",
            Self::Depth => "nested too deep",
            Self::Escape => "a wrong escape in a string",
            Self::Number => "a number without digits where they belong",
            Self::Object => "an object was expected",
            Self::String => "a string was expected",
            Self::Surrogate => "half a surrogate pair in a name",
            Self::Value => "a value was expected",
        }
    }
}

type Result<T> = std::result::Result<T, Broken>;

/// The text of a string between its quotes, as it stands in the JSON.
#[derive(Debug, Clone, Copy)]
pub(super) struct Raw<'a> {
    pub(super) text: &'a [u8],
    pub(super) has_escapes: bool,
}

/// Bytes that are often next, made ready to be compared without a loop.
#[derive(Debug)]
pub(super) struct Token {
    text: Box<[u8]>,
    /// The first 16 bytes, zeros behind a shorter text.
    start: u128,
    mask: u128,
}

impl Token {
    pub(super) fn new(text: &[u8]) -> Self {
        let mut start = [0; 16];
        let mut mask = [0; 16];
        for (place, byte) in text.iter().take(16).enumerate() {
            start[place] = *byte;
            mask[place] = 0xFF;
        }
        Self { text: text.into(), start: u128::from_le_bytes(start), mask: u128::from_le_bytes(mask) }
    }
}

/// A place in a JSON text.
#[derive(Debug, Clone, Copy)]
pub(super) struct Cursor<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Cursor<'a> {
    pub(super) fn new(text: &'a str) -> Self {
        Self { bytes: text.as_bytes(), at: 0 }
    }

    /// Byte offset in the text.
    pub(super) fn position(&self) -> usize {
        self.at
    }

    /// The next byte, 0 at the end.
    #[inline]
    pub(super) fn peek(&self) -> u8 {
        self.bytes.get(self.at).copied().unwrap_or(0)
    }

    #[inline]
    pub(super) fn skip_space(&mut self) {
        // One comparison where there is none, which is nearly everywhere.
        while self.peek() <= b' ' && matches!(self.peek(), b' ' | b'\n' | b'\r' | b'\t') {
            self.at += 1;
        }
    }

    /// Takes this byte if it is next.
    #[inline]
    pub(super) fn take(&mut self, byte: u8) -> bool {
        let is_next = self.peek() == byte;
        self.at += usize::from(is_next);
        is_next
    }

    /// Takes a token if it is next.
    #[inline]
    pub(super) fn take_token(&mut self, token: &Token) -> bool {
        let rest = &self.bytes[self.at..];
        let is_next = match rest.first_chunk() {
            Some(start) => {
                u128::from_le_bytes(*start) & token.mask == token.start
                    && (token.text.len() <= 16 || rest[16..].starts_with(&token.text[16..]))
            }
            None => rest.starts_with(&token.text),
        };
        if is_next {
            self.at += token.text.len();
        }
        is_next
    }

    /// A decimal integer in quotes, if that is next and has the form; the cursor stays where not.
    #[inline]
    pub(super) fn quoted_integer(&mut self) -> Option<i64> {
        let rest = self.bytes[self.at..].strip_prefix(b"\"")?;
        let is_negative = rest.first() == Some(&b'-');
        let digits = &rest[usize::from(is_negative)..];
        let mut value = 0_u64;
        let mut length = 0;
        while let Some(digit) =
            digits.get(length).map(|byte| byte.wrapping_sub(b'0')).filter(|&digit| digit <= 9)
        {
            // Nineteen digits fit; what is longer is refused below.
            value = value.wrapping_mul(10).wrapping_add(u64::from(digit));
            length += 1;
        }
        if !(1..=19).contains(&length) || digits.get(length) != Some(&b'"') {
            return None;
        }
        let value = if is_negative { 0_i64.checked_sub_unsigned(value) } else { i64::try_from(value).ok() }?;
        self.at += length + 2 + usize::from(is_negative);
        Some(value)
    }

    /// Takes these bytes if they are next.
    #[inline]
    pub(super) fn take_all(&mut self, bytes: &[u8]) -> bool {
        let is_next = self.bytes[self.at..].starts_with(bytes);
        if is_next {
            self.at += bytes.len();
        }
        is_next
    }

    /// Nothing but space may follow.
    pub(super) fn end(&mut self) -> Result<()> {
        self.skip_space();
        if self.at == self.bytes.len() { Ok(()) } else { Err(Broken::Behind) }
    }

    /// A string, the opening quote being next.
    #[inline]
    pub(super) fn string(&mut self) -> Result<Raw<'a>> {
        if self.peek() != b'"' {
            return Err(Broken::String);
        }
        self.at += 1;
        let start = self.at;
        let end = special(self.bytes, start);
        if self.bytes.get(end) == Some(&b'"') {
            self.at = end + 1;
            return Ok(Raw { text: &self.bytes[start..end], has_escapes: false });
        }
        self.at = end;
        self.string_with_escapes(start)
    }

    fn string_with_escapes(&mut self, start: usize) -> Result<Raw<'a>> {
        loop {
            self.at = special(self.bytes, self.at);
            match self.bytes.get(self.at) {
                Some(b'"') => {
                    let text = &self.bytes[start..self.at];
                    self.at += 1;
                    return Ok(Raw { text, has_escapes: true });
                }
                Some(b'\\') => self.escape()?,
                _ => return Err(Broken::ControlOrEnd),
            }
        }
    }

    /// Checks an escape's form and steps over it.
    fn escape(&mut self) -> Result<()> {
        match self.bytes.get(self.at + 1) {
            Some(&letter) if SHORT_ESCAPES[usize::from(letter)] != 0 => self.at += 2,
            Some(b'u') if hex4(self.bytes, self.at + 2).is_some() => self.at += 6,
            _ => return Err(Broken::Escape),
        }
        Ok(())
    }

    /// A string, the opening quote being next: what it means is given to `copy` run by run, each
    /// as a place in a text and a length. False where a surrogate is without its other half,
    /// which no UTF-8 can say.
    #[inline]
    pub(super) fn string_into(&mut self, mut copy: impl FnMut(&[u8], usize)) -> Result<bool> {
        if self.peek() != b'"' {
            return Err(Broken::String);
        }
        self.at += 1;
        let mut is_text = true;
        loop {
            let end = special(self.bytes, self.at);
            copy(&self.bytes[self.at..], end - self.at);
            // Branches, and no sum of a comparison: the next place must not wait for this byte.
            match self.bytes.get(end) {
                Some(b'"') => {
                    self.at = end + 1;
                    return Ok(is_text);
                }
                Some(b'\\') => {
                    self.at = end;
                    is_text &= self.escape_into(&mut copy)?;
                }
                _ => {
                    self.at = end;
                    return Err(Broken::ControlOrEnd);
                }
            }
        }
    }

    /// An escape, the backslash being next.
    #[inline]
    fn escape_into(&mut self, copy: &mut impl FnMut(&[u8], usize)) -> Result<bool> {
        let letter = self.bytes.get(self.at + 1).map_or(0, |&letter| SHORT_ESCAPES[usize::from(letter)]);
        if letter == 0 {
            return self.unicode_into(copy);
        }
        copy(&wide([letter]), 1);
        self.at += 2;
        Ok(true)
    }

    fn unicode_into(&mut self, copy: &mut impl FnMut(&[u8], usize)) -> Result<bool> {
        if self.bytes.get(self.at + 1) != Some(&b'u') || hex4(self.bytes, self.at + 2).is_none() {
            return Err(Broken::Escape);
        }
        let Some((letter, length)) = unicode(&self.bytes[self.at..]) else {
            self.at += 6;
            return Ok(false);
        };
        self.at += length;
        let mut utf8 = [0; 4];
        let length = letter.encode_utf8(&mut utf8).len();
        copy(&wide(utf8), length);
        Ok(true)
    }

    /// A number's text.
    #[inline]
    pub(super) fn number(&mut self) -> Result<&'a [u8]> {
        let start = self.at;
        self.take(b'-');
        if !self.take(b'0') && self.digits() == 0 {
            return Err(Broken::Value);
        }
        if self.take(b'.') && self.digits() == 0 {
            return Err(Broken::Number);
        }
        if self.take(b'e') || self.take(b'E') {
            let _ = self.take(b'+') || self.take(b'-');
            if self.digits() == 0 {
                return Err(Broken::Number);
            }
        }
        Ok(&self.bytes[start..self.at])
    }

    #[inline]
    fn digits(&mut self) -> usize {
        let start = self.at;
        while self.peek().is_ascii_digit() {
            self.at += 1;
        }
        self.at - start
    }

    /// The text of the next value, of whatever kind.
    pub(super) fn value(&mut self) -> Result<&'a [u8]> {
        let start = self.at;
        self.skip_value(0)?;
        Ok(&self.bytes[start..self.at])
    }

    fn skip_value(&mut self, depth: u32) -> Result<()> {
        match self.peek() {
            b'"' => self.string().map(|_| ()),
            b'{' | b'[' if depth >= MAX_DEPTH => Err(Broken::Depth),
            b'{' => self.skip_members(b'}', depth),
            b'[' => self.skip_members(b']', depth),
            b't' if self.take_all(b"true") => Ok(()),
            b'f' if self.take_all(b"false") => Ok(()),
            b'n' if self.take_all(b"null") => Ok(()),
            _ => self.number().map(|_| ()),
        }
    }

    fn skip_members(&mut self, close: u8, depth: u32) -> Result<()> {
        self.at += 1;
        self.skip_space();
        if self.take(close) {
            return Ok(());
        }
        loop {
            if close == b'}' {
                self.string()?;
                self.colon()?;
            }
            self.skip_value(depth + 1)?;
            if !self.next_member(close)? {
                return Ok(());
            }
        }
    }

    /// A colon, and space around it.
    #[inline]
    pub(super) fn colon(&mut self) -> Result<()> {
        self.skip_space();
        if !self.take(b':') {
            return Err(Broken::Colon);
        }
        self.skip_space();
        Ok(())
    }

    /// Behind a member: whether another follows (and then the cursor is at it).
    #[inline]
    pub(super) fn next_member(&mut self, close: u8) -> Result<bool> {
        if let Some([b',', b'"']) = self.bytes[self.at..].first_chunk() {
            self.at += 1; // the usual way from one member to the next
            return Ok(true);
        }
        self.skip_space();
        match self.peek() {
            b',' => {
                self.at += 1;
                self.skip_space();
                Ok(true)
            }
            byte if byte == close => {
                self.at += 1;
                Ok(false)
            }
            _ => Err(Broken::Comma),
        }
    }
}

/// What the letter behind a backslash means, 0 where it takes more or is wrong.
static SHORT_ESCAPES: [u8; 256] = {
    let mut table = [0; 256];
    let (letters, meanings) = (b"\"\\/bfnrt", b"\"\\/\x08\x0c\n\r\t");
    let mut place = 0;
    while place < letters.len() {
        table[letters[place] as usize] = meanings[place];
        place += 1;
    }
    table
};

fn hex4(bytes: &[u8], at: usize) -> Option<u32> {
    let digits = bytes.get(at..at + 4)?;
    digits.iter().try_fold(0, |value, &digit| Some(value << 4 | char::from(digit).to_digit(16)?))
}

/// The character of a `\u` escape, or of two that are a surrogate pair, and the length of that.
fn unicode(escape: &[u8]) -> Option<(char, usize)> {
    let first = hex4(escape, 2)?;
    if !(0xD800..0xDC00).contains(&first) {
        return Some((char::from_u32(first)?, 6));
    }
    if escape.get(6..8) != Some(b"\\u") {
        return None;
    }
    let second = hex4(escape, 8).filter(|second| (0xDC00..0xE000).contains(second))?;
    Some((char::from_u32(0x1_0000 + ((first - 0xD800) << 10) + (second - 0xDC00))?, 12))
}

/// In front of zeros: who copies few bytes from it can copy sixteen.
#[inline]
fn wide<const N: usize>(bytes: [u8; N]) -> [u8; 16] {
    let mut found = [0; 16];
    found[..N].copy_from_slice(&bytes);
    found
}
