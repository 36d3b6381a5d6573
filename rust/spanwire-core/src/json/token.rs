//! Where the parts of a JSON text end: functions of bytes and a place, without state.

use memchr::memchr2;

use super::{JsonError, MAX_DEPTH, Result};

#[cold]
fn fail<T>(position: usize, what: &'static str) -> Result<T> {
    Err(JsonError { position, what })
}

/// The byte at a place; 0, which no JSON text holds outside a string, behind the end.
#[inline]
pub fn byte(bytes: &[u8], at: usize) -> u8 {
    bytes.get(at).copied().unwrap_or(0)
}

/// Behind the whitespace at `at`.
#[inline]
pub fn space(bytes: &[u8], mut at: usize) -> usize {
    while matches!(byte(bytes, at), b' ' | b'\t' | b'\n' | b'\r') {
        at += 1;
    }
    at
}

/// Behind the closing quote of the string whose opening one is before `at`, and whether there
/// are escapes in it.
#[inline]
pub fn string(bytes: &[u8], mut at: usize) -> Result<(usize, bool)> {
    let mut has_escapes = false;
    loop {
        let rest = bytes.get(at..).unwrap_or_default();
        match memchr2(b'"', b'\\', rest) {
            None => return fail(bytes.len(), "a string without end"),
            Some(found) if rest[found] == b'"' => return Ok((at + found + 1, has_escapes)),
            Some(found) => {
                at += found + 2;
                has_escapes = true;
            }
        }
    }
}

/// Behind the number at `at`.
pub fn number(bytes: &[u8], mut at: usize) -> Result<usize> {
    if byte(bytes, at) == b'-' {
        at += 1;
    }
    at = if byte(bytes, at) == b'0' { at + 1 } else { digits(bytes, at)? };
    if byte(bytes, at) == b'.' {
        at = digits(bytes, at + 1)?;
    }
    if let b'e' | b'E' = byte(bytes, at) {
        at += 1;
        if let b'+' | b'-' = byte(bytes, at) {
            at += 1;
        }
        at = digits(bytes, at)?;
    }
    Ok(at)
}

fn digits(bytes: &[u8], start: usize) -> Result<usize> {
    let mut at = start;
    while byte(bytes, at).is_ascii_digit() {
        at += 1;
    }
    if at == start { fail(at, "expected a digit") } else { Ok(at) }
}

/// Behind the word at `at`.
pub fn literal(bytes: &[u8], at: usize, word: &'static str, what: &'static str) -> Result<usize> {
    if bytes.get(at..).is_some_and(|rest| rest.starts_with(word.as_bytes())) {
        Ok(at + word.len())
    } else {
        fail(at, what)
    }
}

/// Behind the value of any kind at `at`, which lies `depth` levels deep already. Says yes to
/// what the scanner says yes to; it is one loop because most of the time of reading JSON rows
/// goes here.
pub fn value(bytes: &[u8], mut at: usize, depth: u32) -> Result<usize> {
    let mut level = depth;
    // One bit a level, the innermost lowest: set for an object. 128 levels fit.
    let mut objects = 0_u128;
    'values: loop {
        match byte(bytes, at) {
            b'"' => at = string(bytes, at + 1)?.0,
            open @ (b'{' | b'[') => {
                if level == MAX_DEPTH {
                    return fail(at, "nested too deep");
                }
                at = space(bytes, at + 1);
                let is_object = open == b'{';
                if byte(bytes, at) == closing(is_object) {
                    at += 1;
                } else {
                    level += 1;
                    objects = objects << 1 | u128::from(is_object);
                    if is_object {
                        at = key(bytes, at)?;
                    }
                    continue;
                }
            }
            b'-' | b'0'..=b'9' => at = number(bytes, at)?,
            b't' => at = literal(bytes, at, "true", "expected true or false")?,
            b'f' => at = literal(bytes, at, "false", "expected true or false")?,
            b'n' => at = literal(bytes, at, "null", "expected null")?,
            _ => return fail(at, "expected a value"),
        }
        // Behind a value: on to the next, out of whatever ends here.
        loop {
            if level == depth {
                return Ok(at);
            }
            let in_object = objects & 1 == 1;
            at = space(bytes, at);
            match byte(bytes, at) {
                b',' if in_object => {
                    at = key(bytes, space(bytes, at + 1))?;
                    continue 'values;
                }
                b',' => {
                    at = space(bytes, at + 1);
                    continue 'values;
                }
                close if close == closing(in_object) => {
                    at += 1;
                    level -= 1;
                    objects >>= 1;
                }
                _ => return fail(at, "expected ',' or the end of an object or array"),
            }
        }
    }
}

#[inline]
fn closing(is_object: bool) -> u8 {
    if is_object { b'}' } else { b']' }
}

/// Behind the colon, and the whitespace behind that, of the key at `at`.
#[inline]
fn key(bytes: &[u8], at: usize) -> Result<usize> {
    if byte(bytes, at) != b'"' {
        return fail(at, "expected a string");
    }
    let (at, _) = string(bytes, at + 1)?;
    let at = space(bytes, at);
    if byte(bytes, at) == b':' { Ok(space(bytes, at + 1)) } else { fail(at, "expected ':'") }
}
