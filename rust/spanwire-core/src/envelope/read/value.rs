//! A value of a received change.

use super::segment::{Pointers, Result, Struct, Structs, bad};
use crate::change::Timestamp;

/// One value, borrowed from the frame.
#[derive(Debug, Clone, Copy)]
pub enum Value<'a> {
    /// Not in this mod; not the same as null.
    Missing,
    /// NULL.
    Null,
    /// BOOL.
    Bool(bool),
    /// INT64, ENUM, `PG_OID`.
    Int64(i64),
    /// FLOAT64, and FLOAT32 widened.
    Float64(f64),
    /// STRING, DATE, NUMERIC, JSON, INTERVAL, UUID.
    Text(&'a str),
    /// BYTES, PROTO.
    Bytes(&'a [u8]),
    /// TIMESTAMP.
    Timestamp(Timestamp),
    /// ARRAY.
    Array(Array<'a>),
    /// JSON text as Spanner sent it: of a type not known, or that did not fit its column's type.
    Json(&'a str),
}

impl<'a> Value<'a> {
    #[inline]
    pub(super) fn read(cell: &Struct<'a>) -> Result<Self> {
        let head = cell.word(0);
        Ok(match head & 0xFFFF {
            0 => Self::Missing,
            1 => Self::Null,
            2 => Self::Bool(head >> 16 & 1 == 1),
            3 => Self::Int64(cell.word(1).cast_signed()),
            4 => Self::Float64(f64::from_bits(cell.word(1))),
            5 => Self::Text(cell.text(0)?),
            6 => Self::Bytes(cell.bytes(0)?),
            7 => Self::Timestamp(timestamp(cell.word(1), head >> 32)?),
            8 => Self::Array(Array::read(&cell.structure(0)?)?),
            9 => Self::Json(cell.text(0)?),
            _ => return bad("a kind of value that this build does not know: update the consumer"),
        })
    }

    /// Checks what a cell points to, and takes its words from what is left of the message's.
    pub(super) fn check(cell: &Struct<'a>, left: &mut usize) -> Result<()> {
        match Self::read(cell)? {
            Self::Text(text) | Self::Json(text) => spend(left, text_words(text)),
            Self::Bytes(bytes) => spend(left, bytes.len().div_ceil(8)),
            Self::Array(array) => array.check(left),
            _ => Ok(()),
        }
    }
}

/// Takes words from what is left of a message's: pointers may not make more of it than there is.
#[inline]
pub(super) fn spend(left: &mut usize, words: usize) -> Result<()> {
    match left.checked_sub(words) {
        Some(rest) => {
            *left = rest;
            Ok(())
        }
        None => bad("pointers that use the same space more than once"),
    }
}

/// Words of a text with its terminator.
pub(super) fn text_words(text: &str) -> usize {
    if text.is_empty() { 0 } else { text.len() / 8 + 1 }
}

/// A timestamp of two words of which only the low half of the second counts.
pub(super) fn timestamp(seconds: u64, nanos: u64) -> Result<Timestamp> {
    #[allow(clippy::cast_possible_truncation)]
    let timestamp = Timestamp { seconds: seconds.cast_signed(), nanos: nanos as u32 };
    if timestamp.nanos > 999_999_999 || !(Timestamp::MIN..=Timestamp::MAX).contains(&timestamp) {
        return bad("a timestamp outside the years 0001 to 9999");
    }
    Ok(timestamp)
}

/// The elements of an ARRAY.
#[derive(Debug, Clone, Copy)]
pub struct Array<'a> {
    nulls: &'a [u8],
    elements: Elements<'a>,
}

#[derive(Debug, Clone, Copy)]
enum Elements<'a> {
    Bool(&'a [u8], usize),
    Int64(&'a [[u8; 8]]),
    Float64(&'a [[u8; 8]]),
    Text(Pointers<'a>),
    Bytes(Pointers<'a>),
    Timestamp(Structs<'a>),
    Json(Pointers<'a>),
}

impl<'a> Array<'a> {
    fn read(array: &Struct<'a>) -> Result<Self> {
        let elements = match array.word(0) & 0xFFFF {
            0 => {
                let (bits, len) = array.bits(1)?;
                Elements::Bool(bits, len)
            }
            1 => Elements::Int64(array.numbers(1)?),
            2 => Elements::Float64(array.numbers(1)?),
            3 => Elements::Text(array.pointers(1)?),
            4 => Elements::Bytes(array.pointers(1)?),
            5 => Elements::Timestamp(array.structs(1)?),
            6 => Elements::Json(array.pointers(1)?),
            _ => return bad("a kind of array that this build does not know: update the consumer"),
        };
        Ok(Self { nulls: array.bytes(0)?, elements })
    }

    /// Number of elements, nulls among them.
    pub fn len(&self) -> usize {
        match self.elements {
            Elements::Bool(_, len) => len,
            Elements::Int64(numbers) | Elements::Float64(numbers) => numbers.len(),
            Elements::Text(pointers) | Elements::Bytes(pointers) | Elements::Json(pointers) => pointers.len(),
            Elements::Timestamp(structs) => structs.len(),
        }
    }

    /// Whether it has no elements.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The elements in their order, none of which is [`Value::Missing`] or an array.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = crate::Result<Value<'a>>> + use<'a> {
        let array = *self;
        (0..self.len()).map(move |place| Ok(array.get(place)?))
    }

    fn get(&self, place: usize) -> Result<Value<'a>> {
        if self.nulls.get(place / 8).is_some_and(|byte| byte >> (place % 8) & 1 == 1) {
            return Ok(Value::Null);
        }
        Ok(match self.elements {
            Elements::Bool(bits, _) => Value::Bool(bits[place / 8] >> (place % 8) & 1 == 1),
            Elements::Int64(numbers) => Value::Int64(i64::from_le_bytes(numbers[place])),
            Elements::Float64(numbers) => Value::Float64(f64::from_le_bytes(numbers[place])),
            Elements::Text(pointers) => Value::Text(pointers.text(place)?),
            Elements::Bytes(pointers) => Value::Bytes(pointers.bytes(place)?),
            Elements::Timestamp(structs) => match structs.get(place) {
                Some(element) => Value::Timestamp(timestamp(element.word(0), element.word(1))?),
                None => Value::Null,
            },
            Elements::Json(pointers) => Value::Json(pointers.text(place)?),
        })
    }

    fn check(&self, left: &mut usize) -> Result<()> {
        spend(left, 3 + self.nulls.len().div_ceil(8))?;
        match self.elements {
            Elements::Bool(bits, _) => spend(left, bits.len().div_ceil(8)),
            Elements::Int64(numbers) | Elements::Float64(numbers) => spend(left, numbers.len()),
            Elements::Timestamp(structs) => {
                spend(left, structs.words())?;
                (0..structs.len()).try_for_each(|place| self.get(place).map(|_| ()))
            }
            Elements::Text(pointers) | Elements::Json(pointers) => {
                spend(left, pointers.len())?;
                (0..pointers.len()).try_for_each(|place| spend(left, text_words(pointers.text(place)?)))
            }
            Elements::Bytes(pointers) => {
                spend(left, pointers.len())?;
                (0..pointers.len())
                    .try_for_each(|place| spend(left, pointers.bytes(place)?.len().div_ceil(8)))
            }
        }
    }
}
