//! Reads JSON text from left to right, for the writer of values: what it meets is written at
//! once, so there is no tree, and nothing is looked at twice but the text of a string.

/// Arrays and objects in each other deeper than this are broken JSON to us.
const MAX_DEPTH: u32 = 128;

/// The text is not JSON.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Broken {
    pub(super) what: &'static str,
    /// Byte offset in the text.
    pub(super) at: usize,
}

type Result<T> = std::result::Result<T, Broken>;

/// The text of a string between its quotes, as it stands in the JSON.
#[derive(Debug, Clone, Copy)]
pub(super) struct Raw<'a> {
    pub(super) text: &'a [u8],
    pub(super) has_escapes: bool,
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

    #[cold]
    pub(super) fn broken<T>(&self, what: &'static str) -> Result<T> {
        Err(Broken { what, at: self.at })
    }

    /// The next byte, 0 at the end.
    #[inline]
    pub(super) fn peek(&self) -> u8 {
        self.bytes.get(self.at).copied().unwrap_or(0)
    }

    #[inline]
    pub(super) fn skip_space(&mut self) {
        while matches!(self.peek(), b' ' | b'\n' | b'\r' | b'\t') {
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
        if self.at == self.bytes.len() { Ok(()) } else { self.broken("text behind its end") }
    }

    /// A string, the opening quote being next.
    #[inline]
    pub(super) fn string(&mut self) -> Result<Raw<'a>> {
        if !self.take(b'"') {
            return self.broken("a string was expected");
        }
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
                Some(_) => return self.broken("a control character in a string"),
                None => return self.broken("a string without its end"),
            }
        }
    }

    /// Checks an escape's form and steps over it.
    fn escape(&mut self) -> Result<()> {
        match self.bytes.get(self.at + 1) {
            Some(b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't') => self.at += 2,
            Some(b'u') if hex4(self.bytes, self.at + 2).is_some() => self.at += 6,
            _ => return self.broken("a wrong escape in a string"),
        }
        Ok(())
    }

    /// A number's text.
    #[inline]
    pub(super) fn number(&mut self) -> Result<&'a [u8]> {
        let start = self.at;
        self.take(b'-');
        if !self.take(b'0') && self.digits() == 0 {
            return self.broken("a value was expected");
        }
        if self.take(b'.') && self.digits() == 0 {
            return self.broken("a number without digits behind its point");
        }
        if self.take(b'e') || self.take(b'E') {
            let _ = self.take(b'+') || self.take(b'-');
            if self.digits() == 0 {
                return self.broken("a number without digits in its exponent");
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
            b'{' | b'[' if depth >= MAX_DEPTH => self.broken("nested too deeply"),
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
            return self.broken("a colon was expected");
        }
        self.skip_space();
        Ok(())
    }

    /// Behind a member: whether another follows (and then the cursor is at it).
    #[inline]
    pub(super) fn next_member(&mut self, close: u8) -> Result<bool> {
        self.skip_space();
        if self.take(b',') {
            self.skip_space();
            return Ok(true);
        }
        if self.take(close) { Ok(false) } else { self.broken("a comma was expected") }
    }
}

/// Where the next quote, backslash or control character is, or the end.
#[inline]
fn special(bytes: &[u8], mut at: usize) -> usize {
    const ONES: u64 = 0x0101_0101_0101_0101;
    const HIGH: u64 = 0x8080_8080_8080_8080;
    // Eight bytes at a time: the lowest high bit that these set is exact.
    let zero = |word: u64| word.wrapping_sub(ONES) & !word & HIGH;
    let control = |word: u64| word.wrapping_sub(ONES * 0x20) & !word & HIGH;
    while let Some(chunk) = bytes[at..].first_chunk::<8>() {
        let word = u64::from_le_bytes(*chunk);
        let hits =
            zero(word ^ (ONES * u64::from(b'"'))) | zero(word ^ (ONES * u64::from(b'\\'))) | control(word);
        if hits != 0 {
            return at + hits.trailing_zeros() as usize / 8;
        }
        at += 8;
    }
    while at < bytes.len() && !matches!(bytes[at], b'"' | b'\\' | 0..=0x1f) {
        at += 1;
    }
    at
}

fn hex4(bytes: &[u8], at: usize) -> Option<u32> {
    let digits = bytes.get(at..at + 4)?;
    digits.iter().try_fold(0, |value, &digit| Some(value << 4 | char::from(digit).to_digit(16)?))
}

/// Appends the text that a string's text with escapes means, except for the copying in between:
/// `copy` appends a run of bytes. False where a surrogate is without its other half, which no
/// UTF-8 can say; `raw` is a string that [`Cursor::string`] returned.
pub(super) fn unescape(raw: &[u8], mut copy: impl FnMut(&[u8])) -> bool {
    let mut rest = raw;
    while let Some(at) = memchr::memchr(b'\\', rest) {
        copy(&rest[..at]);
        let letter = match rest.get(at + 1) {
            Some(b'b') => '\u{8}',
            Some(b'f') => '\u{c}',
            Some(b'n') => '\n',
            Some(b'r') => '\r',
            Some(b't') => '\t',
            Some(b'u') => {
                let Some((letter, length)) = unicode(&rest[at..]) else { return false };
                copy(letter.encode_utf8(&mut [0; 4]).as_bytes());
                rest = &rest[at + length..];
                continue;
            }
            Some(&byte) => char::from(byte),
            None => return false,
        };
        copy(&[letter as u8]);
        rest = &rest[at + 2..];
    }
    copy(rest);
    true
}

/// The character of a `\u` escape or of two that are a surrogate pair, and the length of that.
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
