//! A writer of single-segment Cap'n Proto messages into one growable buffer.
//!
//! Cap'n Proto's own builders allocate segments, zero them, and copy the message out once more.
//! Here the buffer is the one that the socket sends: a payload byte is copied once, into its
//! final place. What points is written behind what it points to wherever a length is not known
//! beforehand: pointers may point backwards, so nothing is written twice or moved.
//!
//! Format: <https://capnproto.org/encoding.html>. Differential tests read everything that is
//! written here with the generated readers of the `capnp` crate.

use std::ops::Range;

/// Words are 8 bytes; positions count them from the segment's first.
pub(crate) const WORD: usize = 8;
/// The stream framing in front of a segment: number of segments less one, words in it.
pub(crate) const FRAMING: usize = 8;
/// A segment stays below this many words: pointers reach 2^29 either way.
pub(crate) const MAX_WORDS: usize = 1 << 28;

/// How a list stores its elements.
#[derive(Clone, Copy)]
pub(crate) enum Elements {
    Bit = 1,
    Byte = 2,
    EightBytes = 5,
    Pointer = 6,
}

/// A pointer that does not know its own place yet. Null by default.
///
/// The encoded word of a pointer, but with its target counted from the segment's start instead
/// of from the pointer: [`Pointer::at`] takes the difference.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Pointer(u64);

impl Pointer {
    pub(crate) const NULL: Self = Self(0);

    pub(crate) fn structure(target: u32, data_words: u16, pointers: u16) -> Self {
        Self(u64::from(target) << 2 | u64::from(data_words) << 32 | u64::from(pointers) << 48)
    }

    pub(crate) fn list(target: u32, elements: Elements, count: u32) -> Self {
        Self(u64::from(target) << 2 | 1 | (elements as u64) << 32 | u64::from(count) << 35)
    }

    /// A list of structs; `target` is its tag, `words` the elements' size without the tag.
    pub(crate) fn structures(target: u32, words: u32) -> Self {
        Self(u64::from(target) << 2 | 1 | 7 << 32 | u64::from(words) << 35)
    }

    /// The encoded word of this pointer at a position.
    #[inline]
    pub(crate) fn at(self, position: u32) -> u64 {
        if self.0 == 0 {
            return 0;
        }
        // The offset is the upper 30 of the low 32 bits, signed, counted from the word behind
        // the pointer: a subtraction that wraps within those bits leaves the kind as it is.
        #[allow(clippy::cast_possible_truncation)]
        let low = (self.0 as u32).wrapping_sub((position + 1) << 2);
        self.0 & !0xFFFF_FFFF | u64::from(low)
    }
}

/// The tag in front of a list of structs.
pub(crate) fn tag(count: u32, data_words: u16, pointers: u16) -> u64 {
    u64::from(count) << 2 | u64::from(data_words) << 32 | u64::from(pointers) << 48
}

/// One segment that is being written at the end of a buffer.
pub(crate) struct Arena<'b> {
    buffer: &'b mut Vec<u8>,
    /// Where in the buffer the segment starts.
    start: usize,
}

impl<'b> Arena<'b> {
    /// Starts a message behind what the buffer holds, whose length is a multiple of 8, with a
    /// root struct of this size, all zero. The root's data is at position 1.
    pub(crate) fn begin(buffer: &'b mut Vec<u8>, data_words: u16, pointers: u16) -> Self {
        debug_assert_eq!(buffer.len() % WORD, 0);
        buffer.extend_from_slice(&[0; FRAMING]);
        let start = buffer.len();
        let mut arena = Self { buffer, start };
        arena.push(Pointer::structure(1, data_words, pointers).at(0));
        arena.zeros(u32::from(data_words) + u32::from(pointers));
        arena
    }

    /// Completes the framing.
    pub(crate) fn finish(self) {
        let words = self.position();
        self.buffer[self.start - 4..self.start].copy_from_slice(&words.to_le_bytes());
    }

    /// The position of the next word.
    #[inline]
    #[allow(clippy::cast_possible_truncation)] // callers keep a segment below MAX_WORDS
    pub(crate) fn position(&self) -> u32 {
        ((self.buffer.len() - self.start) / WORD) as u32
    }

    #[inline]
    pub(crate) fn push(&mut self, word: u64) {
        self.buffer.extend_from_slice(&word.to_le_bytes());
    }

    #[inline]
    pub(crate) fn push_all(&mut self, [a, b, c]: [u64; 3]) {
        let mut bytes = [0; 3 * WORD];
        bytes[..8].copy_from_slice(&a.to_le_bytes());
        bytes[8..16].copy_from_slice(&b.to_le_bytes());
        bytes[16..].copy_from_slice(&c.to_le_bytes());
        self.buffer.extend_from_slice(&bytes);
    }

    #[inline]
    pub(crate) fn push_pointer(&mut self, pointer: Pointer) {
        let word = pointer.at(self.position());
        self.push(word);
    }

    /// Appends zero words and returns the position of the first.
    pub(crate) fn zeros(&mut self, words: u32) -> u32 {
        let position = self.position();
        self.buffer.resize(self.buffer.len() + words as usize * WORD, 0);
        position
    }

    fn bytes_at(&self, position: u32) -> Range<usize> {
        let at = self.start + position as usize * WORD;
        at..at + WORD
    }

    /// Overwrites a word.
    #[inline]
    pub(crate) fn set(&mut self, position: u32, word: u64) {
        let range = self.bytes_at(position);
        self.buffer[range].copy_from_slice(&word.to_le_bytes());
    }

    #[inline]
    pub(crate) fn set_pointer(&mut self, position: u32, pointer: Pointer) {
        self.set(position, pointer.at(position));
    }

    /// Forgets everything from a position on.
    pub(crate) fn rewind(&mut self, position: u32) {
        self.buffer.truncate(self.bytes_at(position).start);
    }

    /// Makes room for this many bytes at once.
    #[inline]
    pub(crate) fn reserve(&mut self, bytes: usize) {
        self.buffer.reserve(bytes);
    }

    /// Copies payload: the one place that does, apart from decoders that write in place.
    #[inline]
    pub(crate) fn payload(&mut self, bytes: &[u8]) {
        #[cfg(test)]
        copied::add(bytes.len());
        self.buffer.extend_from_slice(bytes);
    }

    /// Copies the first `length` bytes of `from` as payload.
    #[inline]
    pub(crate) fn payload_of(&mut self, from: &[u8], length: usize) {
        match from.first_chunk::<16>() {
            // One load and one store of constant size: most texts are short.
            Some(start) if length <= 16 => {
                #[cfg(test)]
                copied::add(length);
                let end = self.buffer.len() + length;
                self.buffer.extend_from_slice(start);
                self.buffer.truncate(end);
            }
            _ => self.payload(&from[..length]),
        }
    }

    /// Where a decoder appends payload in place, between a [`Arena::position`] and one of the closes.
    #[inline]
    pub(crate) fn sink(&mut self) -> &mut Vec<u8> {
        self.buffer
    }

    /// How many bytes were appended since a position.
    #[inline]
    pub(crate) fn since(&self, position: u32) -> usize {
        self.buffer.len() - self.bytes_at(position).start
    }

    /// Ends a text that was appended from `position` on.
    #[inline]
    pub(crate) fn close_text(&mut self, position: u32) -> Pointer {
        let length = self.since(position);
        self.close(position, length, length + 1)
    }

    /// Ends bytes that were appended from `position` on.
    #[inline]
    pub(crate) fn close_data(&mut self, position: u32) -> Pointer {
        let length = self.since(position);
        self.close(position, length, length)
    }

    /// `count` is the length with a text's terminator.
    #[inline]
    fn close(&mut self, position: u32, length: usize, count: usize) -> Pointer {
        if length == 0 {
            return Pointer::NULL; // reads as an empty text or no bytes
        }
        let end = self.bytes_at(position).start + count.next_multiple_of(WORD);
        if self.buffer.capacity() - self.buffer.len() >= WORD {
            // One store of constant size and a cut: faster than filling up to eight bytes.
            self.buffer.extend_from_slice(&[0; WORD]);
            self.buffer.truncate(end);
        } else {
            self.buffer.resize(end, 0);
        }
        #[allow(clippy::cast_possible_truncation)] // callers keep a segment below MAX_WORDS
        Pointer::list(position, Elements::Byte, count as u32)
    }

    /// A text that is known beforehand, of one to seven bytes: one word.
    #[inline]
    pub(crate) fn short_text<const N: usize>(&mut self, text: &[u8; N]) -> Pointer {
        const { assert!(N > 0 && N < WORD) };
        let position = self.position();
        let mut word = [0; WORD];
        word[..N].copy_from_slice(text);
        self.push(u64::from_le_bytes(word));
        #[allow(clippy::cast_possible_truncation)] // below eight
        Pointer::list(position, Elements::Byte, N as u32 + 1)
    }

    #[inline]
    pub(crate) fn text(&mut self, text: &[u8]) -> Pointer {
        let position = self.position();
        self.payload(text);
        self.close_text(position)
    }

    #[inline]
    pub(crate) fn data(&mut self, data: &[u8]) -> Pointer {
        let position = self.position();
        self.payload(data);
        self.close_data(position)
    }
}

/// Counts the payload bytes that were copied on this thread, for tests.
#[cfg(test)]
pub(crate) mod copied {
    use std::cell::Cell;

    thread_local! {
        static BYTES: Cell<usize> = const { Cell::new(0) };
    }

    pub(crate) fn add(bytes: usize) {
        BYTES.with(|total| total.set(total.get() + bytes));
    }

    /// The count since the last call.
    pub(crate) fn take() -> usize {
        BYTES.with(Cell::take)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pointer_may_point_backwards_and_forwards() {
        let pointer = Pointer::structure(5, 1, 2);
        assert_eq!(pointer.at(4), 1 << 32 | 2 << 48, "the word behind the pointer is offset 0");
        let offset = |position| pointer.at(position).cast_signed() << 32 >> 34;
        assert_eq!((offset(2), offset(9)), (2, -5));
        assert_eq!(Pointer::list(5, Elements::Byte, 3).at(9) & 3, 1, "its kind stays");
        assert_eq!(Pointer::NULL.at(7), 0);
    }

    #[test]
    fn a_text_ends_in_zeros_up_to_a_word_and_bytes_do_not_need_to() {
        for length in 0..20_usize {
            let mut buffer = Vec::new();
            let mut arena = Arena::begin(&mut buffer, 0, 2);
            let bytes = vec![b'x'; length];
            let text = arena.text(&bytes);
            let middle = arena.position();
            let data = arena.data(&bytes);
            arena.set_pointer(1, text);
            arena.set_pointer(2, data);
            let end = arena.position();
            arena.finish();
            if length > 0 {
                assert_eq!(middle as usize, 3 + (length + 1).div_ceil(8));
            }
            assert_eq!((end - middle) as usize, length.div_ceil(8));
            assert_eq!(buffer.len(), FRAMING + end as usize * WORD);
            assert_eq!(buffer[4..8], end.to_le_bytes());
        }
        assert_eq!(copied::take(), 2 * (0..20).sum::<usize>());
    }
}
