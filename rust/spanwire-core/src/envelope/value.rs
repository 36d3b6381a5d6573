//! One JSON value of a column of known type, written as a cell of the wire format.
//!
//! How Spanner writes values: <https://cloud.google.com/spanner/docs/change-streams/details> and
//! the comments of `google.spanner.v1.TypeCode`.

use super::arena::{Arena, Pointer};
use super::array::Elems;
use super::cursor::{Broken, Cursor};
use super::form::Form;
use crate::base64;
use crate::change::{Timestamp, Type, TypeAnnotation, TypeCode};

/// How a column's values are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    One(Scalar),
    Many(Scalar),
}

/// How a value that is no array is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Scalar {
    Bool,
    Int64,
    Float64,
    /// A double that a FLOAT32 can stand for, its range at least.
    Float32,
    Text,
    /// Text that fits its type only in this form.
    Formed(Form),
    /// Text of JSON: the content of a string, or what stands there if it is no string.
    Json,
    Bytes,
    Timestamp,
    /// Not known: its JSON text.
    Unknown,
}

impl Kind {
    pub(super) fn of(column_type: &Type) -> Self {
        match (column_type.code, &column_type.array_element) {
            (TypeCode::Array, Some(element)) => Self::Many(Scalar::of(element)),
            _ => Self::One(Scalar::of(column_type)),
        }
    }
}

impl Scalar {
    fn of(column_type: &Type) -> Self {
        match column_type.code {
            _ if column_type.annotation == TypeAnnotation::PgOid => Self::Int64,
            TypeCode::Bool => Self::Bool,
            TypeCode::Int64 | TypeCode::Enum => Self::Int64,
            TypeCode::Float64 => Self::Float64,
            TypeCode::Float32 => Self::Float32,
            TypeCode::Timestamp => Self::Timestamp,
            TypeCode::Date | TypeCode::Numeric | TypeCode::Interval | TypeCode::Uuid => {
                Form::of(column_type).map_or(Self::Unknown, Self::Formed)
            }
            TypeCode::String => Self::Text,
            TypeCode::Json => Self::Json,
            TypeCode::Bytes | TypeCode::Proto => Self::Bytes,
            TypeCode::Array | TypeCode::Struct | TypeCode::Unspecified => Self::Unknown,
        }
    }
}

/// A value's place in a list: the three words of the schema's `Value`.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Cell {
    /// Which it is, and the small ones.
    head: u64,
    word: u64,
    pointer: Pointer,
}

pub(super) const CELL_DATA_WORDS: u16 = 2;
pub(super) const CELL_POINTERS: u16 = 1;
pub(super) const CELL_WORDS: u32 = 3;

// The union's tags, as `capnp compile -ocapnp` lists them.
impl Cell {
    pub(super) const MISSING: Self = Self { head: 0, word: 0, pointer: Pointer::NULL };
    const NULL: Self = Self { head: 1, ..Self::MISSING };

    fn bool(value: bool) -> Self {
        Self { head: 2 | u64::from(value) << 16, ..Self::MISSING }
    }

    fn int64(value: i64) -> Self {
        Self { head: 3, word: value.cast_unsigned(), ..Self::MISSING }
    }

    fn float64(value: f64) -> Self {
        Self { head: 4, word: value.to_bits(), ..Self::MISSING }
    }

    fn text(pointer: Pointer) -> Self {
        Self { head: 5, pointer, ..Self::MISSING }
    }

    fn bytes(pointer: Pointer) -> Self {
        Self { head: 6, pointer, ..Self::MISSING }
    }

    fn timestamp(value: Timestamp) -> Self {
        Self { head: 7 | u64::from(value.nanos) << 32, word: value.seconds.cast_unsigned(), ..Self::MISSING }
    }

    pub(super) fn array(pointer: Pointer) -> Self {
        Self { head: 8, pointer, ..Self::MISSING }
    }

    fn json(pointer: Pointer) -> Self {
        Self { head: 9, pointer, ..Self::MISSING }
    }

    /// Whether it holds JSON text in place of a value of its column's type.
    pub(super) fn is_json(&self) -> bool {
        self.head == 9
    }

    /// Whether it is an array of such texts.
    pub(super) fn is_array_of_json(&self, kind: Kind) -> bool {
        self.head == 8 && kind == Kind::Many(Scalar::Unknown)
    }

    pub(super) fn is_missing(&self) -> bool {
        self.head == 0
    }

    #[inline]
    pub(super) fn push(&self, arena: &mut Arena<'_>) {
        let pointer = self.pointer.at(arena.position() + 2);
        arena.push_all([self.head, self.word, pointer]);
    }
}

/// Writes values, and counts those that had to be left as JSON.
pub(super) struct Writer<'w, 'b> {
    pub(super) arena: &'w mut Arena<'b>,
    pub(super) elements: &'w mut Elems,
    pub(super) misfits: u64,
}

impl Writer<'_, '_> {
    /// Writes the value at the cursor and steps behind it.
    #[inline]
    pub(super) fn value(
        &mut self,
        cursor: &mut Cursor<'_>,
        kind: Kind,
        cell: &mut Cell,
    ) -> Result<(), Broken> {
        if cursor.peek() == b'n' && cursor.take_all(b"null") {
            *cell = Cell::NULL;
            return Ok(());
        }
        let start = *cursor;
        let position = self.arena.position();
        let typed = match kind {
            Kind::One(scalar) => self.scalar(cursor, scalar)?,
            Kind::Many(scalar) => self.array(cursor, scalar)?,
        };
        if let Some(typed) = typed {
            *cell = typed;
            return Ok(());
        }
        self.arena.rewind(position);
        *cursor = start;
        self.misfits += 1;
        *cell = Cell::json(self.arena.text(cursor.value()?));
        Ok(())
    }

    /// None where the value is of another type.
    #[inline]
    fn scalar(&mut self, cursor: &mut Cursor<'_>, scalar: Scalar) -> Result<Option<Cell>, Broken> {
        Ok(match scalar {
            Scalar::Bool => boolean(cursor).map(Cell::bool),
            Scalar::Int64 => integer(cursor)?.map(Cell::int64),
            Scalar::Float64 => float(cursor)?.map(Cell::float64),
            Scalar::Float32 => float32(cursor)?.map(Cell::float64),
            Scalar::Timestamp => timestamp(cursor)?.map(Cell::timestamp),
            Scalar::Text | Scalar::Formed(_) | Scalar::Json => self.text(cursor, scalar)?.map(Cell::text),
            Scalar::Bytes => self.bytes(cursor)?.map(Cell::bytes),
            Scalar::Unknown => None,
        })
    }

    #[inline]
    pub(super) fn text(
        &mut self,
        cursor: &mut Cursor<'_>,
        scalar: Scalar,
    ) -> Result<Option<Pointer>, Broken> {
        match (cursor.peek(), scalar) {
            (_, Scalar::Formed(form)) => self.formed(cursor, form),
            (b'"', _) => {
                let position = self.arena.position();
                let is_text = cursor.string_into(|from, length| self.arena.payload_of(from, length))?;
                Ok(is_text.then(|| self.arena.close_text(position)))
            }
            (_, Scalar::Json) => Ok(Some(self.arena.text(cursor.value()?))),
            _ => Ok(None),
        }
    }

    /// A text that fits in one form only. Apart, so that the way of all other texts stays short.
    #[inline(never)]
    fn formed(&mut self, cursor: &mut Cursor<'_>, form: Form) -> Result<Option<Pointer>, Broken> {
        match cursor.peek() {
            b'"' => {
                let raw = cursor.string()?;
                // Nothing of these forms needs an escape, and nobody writes one.
                let fits = !raw.has_escapes && form.fits(raw.text);
                Ok(fits.then(|| self.arena.text(raw.text)))
            }
            b'-' | b'0'..=b'9' if form.is_number() => Ok(Some(self.arena.text(cursor.number()?))),
            _ => Ok(None),
        }
    }

    pub(super) fn bytes(&mut self, cursor: &mut Cursor<'_>) -> Result<Option<Pointer>, Broken> {
        if cursor.peek() != b'"' {
            return Ok(None);
        }
        let mut again = *cursor;
        let raw = cursor.string()?;
        let position = self.arena.position();
        let fits = if raw.has_escapes {
            // Some writers escape the slash. Rare: here it may cost an allocation.
            let mut text = Vec::with_capacity(raw.text.len());
            again.string_into(|from, length| text.extend_from_slice(&from[..length]))?
                && base64::decode(&text, self.arena.sink())
        } else {
            base64::decode(raw.text, self.arena.sink())
        };
        #[cfg(test)]
        super::arena::copied::add(self.arena.since(position));
        Ok(fits.then(|| self.arena.close_data(position)))
    }
}

pub(super) fn boolean(cursor: &mut Cursor<'_>) -> Option<bool> {
    if cursor.take_all(b"true") {
        Some(true)
    } else if cursor.take_all(b"false") {
        Some(false)
    } else {
        None
    }
}

/// A decimal string, or a number without point and exponent.
#[inline]
pub(super) fn integer(cursor: &mut Cursor<'_>) -> Result<Option<i64>, Broken> {
    if let Some(value) = cursor.quoted_integer() {
        return Ok(Some(value));
    }
    if !matches!(cursor.peek(), b'-' | b'0'..=b'9') {
        return Ok(None);
    }
    Ok(std::str::from_utf8(cursor.number()?).ok().and_then(|text| text.parse().ok()))
}

pub(super) fn float(cursor: &mut Cursor<'_>) -> Result<Option<f64>, Broken> {
    match cursor.peek() {
        b'"' => Ok(match cursor.string()?.text {
            b"NaN" => Some(f64::NAN),
            b"Infinity" => Some(f64::INFINITY),
            b"-Infinity" => Some(f64::NEG_INFINITY),
            _ => None,
        }),
        b'-' | b'0'..=b'9' => {
            let text = cursor.number()?;
            if let Some(value) = short_decimal(text) {
                return Ok(Some(value));
            }
            let text = std::str::from_utf8(text).ok();
            // A number too great for a double is no infinity.
            Ok(text.and_then(|text| text.parse().ok()).filter(|value: &f64| value.is_finite()))
        }
        _ => Ok(None),
    }
}

/// The value of a number of up to fifteen digits without exponent; none for others. Both the digits and the
/// power of ten are doubles without error, so their quotient is the double nearest to the text.
#[inline]
fn short_decimal(number: &[u8]) -> Option<f64> {
    const POWERS: [f64; 16] =
        [1e0, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9, 1e10, 1e11, 1e12, 1e13, 1e14, 1e15];
    let (sign, digits) = match number {
        [b'-', digits @ ..] => (-1.0, digits),
        digits => (1.0, digits),
    };
    if digits.len() > 16 {
        return None;
    }
    let (mut value, mut behind_point) = (0_u64, None);
    for (place, byte) in digits.iter().enumerate() {
        match byte.wrapping_sub(b'0') {
            digit @ 0..=9 => value = value * 10 + u64::from(digit),
            _ if *byte == b'.' => behind_point = Some(digits.len() - place - 1),
            _ => return None,
        }
    }
    let power = match behind_point {
        None if digits.len() > 15 => return None,
        None => 1.0,
        Some(places) => *POWERS.get(places)?,
    };
    #[allow(clippy::cast_precision_loss)] // fifteen digits are below 2^53
    Some(sign * (value as f64) / power)
}

/// Spanner widens a FLOAT32 to the double it stands for. A number that is none of its doubles stays what it
/// is; one beyond its range would be an infinity to who reads it as a FLOAT32.
pub(super) fn float32(cursor: &mut Cursor<'_>) -> Result<Option<f64>, Broken> {
    #[allow(clippy::cast_possible_truncation)] // rounded, and dropped
    Ok(float(cursor)?.filter(|value| !value.is_finite() || (*value as f32).is_finite()))
}

pub(super) fn timestamp(cursor: &mut Cursor<'_>) -> Result<Option<Timestamp>, Broken> {
    if cursor.peek() != b'"' {
        return Ok(None);
    }
    Ok(Timestamp::from_rfc3339(cursor.string()?.text))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn a_short_number_is_the_double_that_the_standard_library_reads(
            text in "-?(0|[1-9][0-9]{0,16})(\\.[0-9]{1,17})?([eE][+-]?[0-9]{1,2})?",
        ) {
            if let Some(value) = short_decimal(text.as_bytes()) {
                prop_assert_eq!(value.to_bits(), text.parse::<f64>().unwrap().to_bits(), "{}", text);
            }
        }
    }

    #[test]
    fn the_usual_number_is_short() {
        for text in ["0", "-0", "0.0", "12.5", "-273.15", "999999999999999", "0.00000000000001"] {
            assert_eq!(short_decimal(text.as_bytes()).map(f64::to_bits), text.parse().ok().map(f64::to_bits));
        }
        for text in ["1e3", "1234567890123456", "0.1234567890123456"] {
            assert_eq!(short_decimal(text.as_bytes()), None, "{text}");
        }
    }
}
