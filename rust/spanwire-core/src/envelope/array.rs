//! A JSON array of a column of known type, written as the schema's `Array`.

use super::arena::{Elements, Pointer, tag};
use super::cursor::{Broken, Cursor};
use super::value::{Cell, Scalar, Writer, boolean, float, float32, integer, timestamp};

/// What an array needs until its length is known.
#[derive(Debug, Default)]
pub(super) struct Elems {
    pointers: Vec<Pointer>,
    bits: Vec<u8>,
    nulls: Vec<u8>,
}

/// The tags of the schema's `Array`.
#[derive(Clone, Copy)]
enum ArrayTag {
    Bool = 0,
    Int64 = 1,
    Float64 = 2,
    Text = 3,
    Bytes = 4,
    Timestamp = 5,
    Json = 6,
}

impl ArrayTag {
    fn of(scalar: Scalar) -> Self {
        match scalar {
            Scalar::Bool => Self::Bool,
            Scalar::Int64 => Self::Int64,
            Scalar::Float64 | Scalar::Float32 => Self::Float64,
            Scalar::Text | Scalar::Formed(_) | Scalar::Json => Self::Text,
            Scalar::Bytes => Self::Bytes,
            Scalar::Timestamp => Self::Timestamp,
            Scalar::Unknown => Self::Json,
        }
    }
}

impl Writer<'_, '_> {
    /// Elements as they come, what points to them behind them. None where one is of another type.
    pub(super) fn array(&mut self, cursor: &mut Cursor<'_>, scalar: Scalar) -> Result<Option<Cell>, Broken> {
        if !cursor.take(b'[') {
            return Ok(None);
        }
        self.elements.pointers.clear();
        self.elements.bits.clear();
        self.elements.nulls.clear();
        let start = self.arena.position();
        if matches!(scalar, Scalar::Timestamp) {
            self.arena.push(0); // the list's tag
        }
        let mut count = 0_u32;
        cursor.skip_space();
        let mut has_more = !cursor.take(b']');
        while has_more {
            if is_null(cursor, scalar) {
                let byte = count as usize / 8;
                self.elements.nulls.resize(byte + 1, 0);
                self.elements.nulls[byte] |= 1 << (count % 8);
                self.null_element(scalar);
            } else if !self.element(cursor, scalar, count)? {
                return Ok(None);
            }
            count += 1;
            has_more = cursor.next_member(b']')?;
        }
        let list = self.close_list(scalar, start, count);
        let nulls = self.arena.data(&self.elements.nulls);
        let array = self.arena.position();
        self.arena.push(ArrayTag::of(scalar) as u64);
        self.arena.push_pointer(nulls);
        self.arena.push_pointer(list);
        if scalar == Scalar::Unknown {
            self.misfits += 1;
        }
        Ok(Some(Cell::array(Pointer::structure(array, 1, 2))))
    }

    fn null_element(&mut self, scalar: Scalar) {
        match scalar {
            Scalar::Bool => {}
            Scalar::Int64 | Scalar::Float64 | Scalar::Float32 => self.arena.push(0),
            Scalar::Timestamp => {
                self.arena.push(0);
                self.arena.push(0);
            }
            Scalar::Text | Scalar::Formed(_) | Scalar::Json | Scalar::Bytes | Scalar::Unknown => {
                self.elements.pointers.push(Pointer::NULL);
            }
        }
    }

    /// False where the element is of another type.
    fn element(&mut self, cursor: &mut Cursor<'_>, scalar: Scalar, place: u32) -> Result<bool, Broken> {
        let pointer = match scalar {
            Scalar::Bool => {
                let Some(value) = boolean(cursor) else { return Ok(false) };
                let byte = place as usize / 8;
                self.elements.bits.resize(byte + 1, 0);
                self.elements.bits[byte] |= u8::from(value) << (place % 8);
                return Ok(true);
            }
            Scalar::Int64 => {
                let Some(value) = integer(cursor)? else { return Ok(false) };
                self.arena.push(value.cast_unsigned());
                return Ok(true);
            }
            Scalar::Float64 => {
                let Some(value) = float(cursor)? else { return Ok(false) };
                self.arena.push(value.to_bits());
                return Ok(true);
            }
            Scalar::Float32 => {
                let Some(value) = float32(cursor)? else { return Ok(false) };
                self.arena.push(value.to_bits());
                return Ok(true);
            }
            Scalar::Timestamp => {
                let Some(value) = timestamp(cursor)? else { return Ok(false) };
                self.arena.push(value.seconds.cast_unsigned());
                self.arena.push(u64::from(value.nanos));
                return Ok(true);
            }
            Scalar::Text | Scalar::Formed(_) | Scalar::Json => self.text(cursor, scalar)?,
            Scalar::Bytes => self.bytes(cursor)?,
            Scalar::Unknown => Some(self.arena.text(cursor.value()?)),
        };
        let Some(pointer) = pointer else { return Ok(false) };
        self.elements.pointers.push(pointer);
        Ok(true)
    }

    /// `start` is where the elements that need no pointers begin.
    fn close_list(&mut self, scalar: Scalar, start: u32, count: u32) -> Pointer {
        match scalar {
            Scalar::Bool => {
                self.elements.bits.resize((count as usize).div_ceil(8), 0);
                let position = self.arena.position();
                self.arena.data(&self.elements.bits);
                Pointer::list(position, Elements::Bit, count)
            }
            Scalar::Int64 | Scalar::Float64 | Scalar::Float32 => {
                Pointer::list(start, Elements::EightBytes, count)
            }
            Scalar::Timestamp => {
                self.arena.set(start, tag(count, 2, 0));
                Pointer::structures(start, count * 2)
            }
            Scalar::Text | Scalar::Formed(_) | Scalar::Json | Scalar::Bytes | Scalar::Unknown => {
                let position = self.arena.position();
                for pointer in &self.elements.pointers {
                    self.arena.push_pointer(*pointer);
                }
                Pointer::list(position, Elements::Pointer, count)
            }
        }
    }
}

/// Null, or what the emulator writes for it in an array: the string `"NULL"`, where that is no value.
fn is_null(cursor: &mut Cursor<'_>, scalar: Scalar) -> bool {
    cursor.take_all(b"null")
        || (matches!(scalar, Scalar::Int64 | Scalar::Formed(_)) && cursor.take_all(b"\"NULL\""))
}
