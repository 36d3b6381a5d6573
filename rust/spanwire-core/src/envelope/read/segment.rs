//! Follows pointers in one received segment. Everything is checked against the segment's end;
//! nothing is copied; alignment does not matter.

use crate::error::Error;

/// What is wrong with a body. Small, because every step returns it or not.
#[derive(Debug, Clone, Copy)]
pub(super) struct Bad(pub(super) &'static str);

impl From<Bad> for Error {
    #[cold]
    fn from(Bad(what): Bad) -> Self {
        Self::format(format!("changes body: {what}"))
    }
}

pub(super) type Result<T> = std::result::Result<T, Bad>;

/// The words of a message, as received. Its length is a multiple of 8 bytes.
#[derive(Debug, Clone, Copy)]
pub(super) struct Segment<'a>(&'a [u8]);

/// A struct, which may be shorter or longer than this build's schema says.
#[derive(Debug, Clone, Copy)]
pub(super) struct Struct<'a> {
    segment: Segment<'a>,
    /// Words from the segment's start.
    at: usize,
    data_words: usize,
    pointers: usize,
}

/// A list of structs.
#[derive(Debug, Clone, Copy)]
pub(super) struct Structs<'a> {
    first: Struct<'a>,
    len: usize,
}

/// A list of pointers.
#[derive(Debug, Clone, Copy)]
pub(super) struct Pointers<'a> {
    segment: Segment<'a>,
    at: usize,
    len: usize,
}

/// Where a list is and what its elements are.
struct List {
    at: usize,
    elements: u64,
    count: usize,
}

const BIT: u64 = 1;
const BYTE: u64 = 2;
const EIGHT_BYTES: u64 = 5;
const POINTER: u64 = 6;
const STRUCTS: u64 = 7;

pub(super) fn bad<T>(what: &'static str) -> Result<T> {
    Err(Bad(what))
}

impl<'a> Segment<'a> {
    pub(super) fn new(bytes: &'a [u8]) -> Self {
        debug_assert_eq!(bytes.len() % 8, 0);
        Self(bytes)
    }

    pub(super) fn words(self) -> usize {
        self.0.len() / 8
    }

    #[inline]
    fn word(self, at: usize) -> Result<u64> {
        match self.0.get(at * 8..).and_then(|rest| rest.first_chunk()) {
            Some(word) => Ok(u64::from_le_bytes(*word)),
            None => bad("a pointer beyond its end"),
        }
    }

    /// The message's root.
    pub(super) fn root(self) -> Result<Struct<'a>> {
        let pointer = self.word(0)?;
        self.structure(0, pointer)
    }

    /// A struct by the pointer that stands at this word; the empty one where that is null.
    fn structure(self, at: usize, pointer: u64) -> Result<Struct<'a>> {
        if pointer == 0 {
            return Ok(Struct { segment: self, at: 0, data_words: 0, pointers: 0 });
        }
        if pointer & 3 != 0 {
            return bad("a struct was expected where something else is");
        }
        let (data_words, pointers) = sizes(pointer);
        let at = self.target(at, pointer, data_words + pointers)?;
        Ok(Struct { segment: self, at, data_words, pointers })
    }

    /// Where a pointer points, this many words being there.
    #[inline]
    #[allow(clippy::cast_possible_truncation)] // the offset is in the low half
    fn target(self, at: usize, pointer: u64, words: usize) -> Result<usize> {
        let offset = (pointer as u32).cast_signed() >> 2;
        match (at + 1).checked_add_signed(offset as isize) {
            Some(target) if target <= self.words() && words <= self.words() - target => Ok(target),
            _ => bad("a pointer beyond its end"),
        }
    }

    #[inline]
    fn list(self, at: usize, pointer: u64) -> Result<List> {
        if pointer & 3 != 1 {
            return bad("a list was expected where something else is");
        }
        let elements = pointer >> 32 & 7;
        // 29 bits
        let count = (pointer >> 35) as usize;
        let words = match elements {
            BIT => count.div_ceil(64),
            BYTE => count.div_ceil(8),
            EIGHT_BYTES | POINTER => count,
            STRUCTS => count + 1,
            _ => return bad("a list whose elements have an unexpected size"),
        };
        Ok(List { at: self.target(at, pointer, words)?, elements, count })
    }
}

fn sizes(word: u64) -> (usize, usize) {
    ((word >> 32 & 0xFFFF) as usize, (word >> 48) as usize)
}

impl<'a> Struct<'a> {
    /// A word of its data, 0 where it is shorter.
    #[inline]
    pub(super) fn word(&self, place: usize) -> u64 {
        if place >= self.data_words {
            return 0;
        }
        self.segment.word(self.at + place).unwrap_or(0) // was checked to be there
    }

    /// Where a pointer stands, and the pointer; none where it is null or not there.
    #[inline]
    fn pointer(&self, place: usize) -> Option<(usize, u64)> {
        if place >= self.pointers {
            return None;
        }
        let at = self.at + self.data_words + place;
        match self.segment.word(at) {
            Ok(0) | Err(_) => None,
            Ok(pointer) => Some((at, pointer)),
        }
    }

    #[inline]
    pub(super) fn bytes(&self, place: usize) -> Result<&'a [u8]> {
        self.pointer(place).map_or(Ok(&[]), |(at, pointer)| bytes(self.segment, at, pointer))
    }

    #[inline]
    pub(super) fn text(&self, place: usize) -> Result<&'a str> {
        match self.pointer(place) {
            Some((at, pointer)) => text(bytes(self.segment, at, pointer)?),
            None => Ok(""),
        }
    }

    pub(super) fn structure(&self, place: usize) -> Result<Struct<'a>> {
        let (at, pointer) = self.pointer(place).unwrap_or((0, 0));
        self.segment.structure(at, pointer)
    }

    #[inline]
    pub(super) fn structs(&self, place: usize) -> Result<Structs<'a>> {
        let empty = Struct { segment: self.segment, at: 0, data_words: 0, pointers: 0 };
        let Some((at, pointer)) = self.pointer(place) else { return Ok(Structs { first: empty, len: 0 }) };
        let list = self.segment.list(at, pointer)?;
        if list.elements != STRUCTS {
            return bad("a list of structs was expected where another is");
        }
        let tag = self.segment.word(list.at)?;
        let (data_words, pointers) = sizes(tag);
        #[allow(clippy::cast_possible_truncation)] // the count is in the low half
        let len = (tag as u32 >> 2) as usize;
        // One without size counts as a word: no message holds more things than words.
        if tag & 3 != 0
            || len.checked_mul((data_words + pointers).max(1)).is_none_or(|words| words > list.count)
        {
            return bad("a list of structs longer than its space");
        }
        Ok(Structs { first: Struct { segment: self.segment, at: list.at + 1, data_words, pointers }, len })
    }

    pub(super) fn pointers(&self, place: usize) -> Result<Pointers<'a>> {
        let (at, len) = self.elements(place, POINTER)?;
        Ok(Pointers { segment: self.segment, at, len })
    }

    /// The words of a list of eight-byte numbers.
    pub(super) fn numbers(&self, place: usize) -> Result<&'a [[u8; 8]]> {
        let (at, len) = self.elements(place, EIGHT_BYTES)?;
        Ok(self.segment.0[at * 8..(at + len) * 8].as_chunks().0)
    }

    /// The bits of a list of booleans, and how many there are.
    pub(super) fn bits(&self, place: usize) -> Result<(&'a [u8], usize)> {
        let (at, len) = self.elements(place, BIT)?;
        Ok((&self.segment.0[at * 8..at * 8 + len.div_ceil(8)], len))
    }

    fn elements(&self, place: usize, elements: u64) -> Result<(usize, usize)> {
        let Some((at, pointer)) = self.pointer(place) else { return Ok((0, 0)) };
        let list = self.segment.list(at, pointer)?;
        if list.elements != elements {
            return bad("a list whose elements have an unexpected size");
        }
        Ok((list.at, list.count))
    }

    /// Words it takes.
    pub(super) fn words(&self) -> usize {
        self.data_words + self.pointers
    }
}

#[inline]
fn bytes(segment: Segment<'_>, at: usize, pointer: u64) -> Result<&[u8]> {
    let list = segment.list(at, pointer)?;
    if list.elements != BYTE {
        return bad("text or bytes were expected where something else is");
    }
    Ok(&segment.0[list.at * 8..list.at * 8 + list.count])
}

/// A text of its bytes, which end in a zero.
#[inline]
fn text(bytes: &[u8]) -> Result<&str> {
    let [text @ .., 0] = bytes else { return bad("a text without its end") };
    std::str::from_utf8(text).or_else(|_| bad("a text that is not UTF-8"))
}

impl<'a> Structs<'a> {
    pub(super) fn len(&self) -> usize {
        self.len
    }

    #[inline]
    pub(super) fn get(&self, place: usize) -> Option<Struct<'a>> {
        (place < self.len).then(|| Struct { at: self.first.at + place * self.first.words(), ..self.first })
    }

    /// Words it takes, with its tag.
    pub(super) fn words(&self) -> usize {
        if self.len == 0 { 0 } else { 1 + self.len * self.first.words().max(1) }
    }
}

impl<'a> Pointers<'a> {
    pub(super) fn len(&self) -> usize {
        self.len
    }

    /// The bytes that an element points to, none where it is null.
    pub(super) fn bytes(&self, place: usize) -> Result<&'a [u8]> {
        Ok(self.pointed(place)?.unwrap_or_default())
    }

    pub(super) fn text(&self, place: usize) -> Result<&'a str> {
        self.pointed(place)?.map_or(Ok(""), text)
    }

    fn pointed(&self, place: usize) -> Result<Option<&'a [u8]>> {
        if place >= self.len {
            return Ok(None);
        }
        match self.segment.word(self.at + place)? {
            0 => Ok(None),
            pointer => bytes(self.segment, self.at + place, pointer).map(Some),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::envelope::arena::{Arena, Elements, FRAMING, Pointer};

    /// The root of a message with two pointers, one of them to this list.
    fn with(pointer: Pointer, words: &[u64], look: impl FnOnce(Struct<'_>)) {
        let mut buffer = Vec::new();
        let mut arena = Arena::begin(&mut buffer, 0, 2);
        for word in words {
            arena.push(*word);
        }
        arena.set_pointer(1, pointer);
        arena.finish();
        look(Segment::new(&buffer[FRAMING..]).root().unwrap());
    }

    #[test]
    fn a_text_that_does_not_end_in_zero_is_refused_even_when_empty() {
        let abc = u64::from_le_bytes(*b"abc\0\0\0\0\0");
        with(Pointer::list(3, Elements::Byte, 4), &[abc], |root| assert_eq!(root.text(0).unwrap(), "abc"));
        with(Pointer::list(3, Elements::Byte, 3), &[abc], |root| assert!(root.text(0).is_err()));
        with(Pointer::list(3, Elements::Byte, 0), &[], |root| assert!(root.text(0).is_err()));
        with(Pointer::NULL, &[], |root| assert_eq!(root.text(0).unwrap(), ""));
    }

    #[test]
    fn what_is_not_there_is_refused() {
        for (pointer, words) in [
            (Pointer::list(3, Elements::Byte, 9), 1),
            (Pointer::list(4, Elements::Byte, 1), 1),
            (Pointer::list(3, Elements::EightBytes, 2), 1),
            (Pointer::structures(3, 3), 3),
        ] {
            with(pointer, &vec![0; words], |root| {
                assert!(root.bytes(0).is_err());
                assert!(root.numbers(0).is_err());
                assert!(root.structs(0).is_err());
            });
        }
    }

    #[test]
    fn structs_that_take_no_space_do_not_make_a_message_endless() {
        let tag = u64::from(u32::MAX >> 3) << 2;
        with(Pointer::structures(3, 0), &[tag], |root| assert!(root.structs(0).is_err()));
    }
}
