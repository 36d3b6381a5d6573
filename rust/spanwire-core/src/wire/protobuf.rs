//! The protobuf wire format, walked in place, and `google.protobuf.Value` on it.
//!
//! Sources: <https://protobuf.dev/programming-guides/encoding/> and `google/protobuf/struct.proto`.
//! Unknown fields are stepped over. Groups, which nothing here ever held, are refused. Of a oneof
//! that was written twice nothing can be made without guessing: refused too.

use std::str::Utf8Error;

/// Why bytes are not the message they should be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Malformed(pub &'static str);

/// This module's result: two words, so that it passes in registers.
pub type Result<T> = std::result::Result<T, Malformed>;

const TRUNCATED: Malformed = Malformed("truncated");
const WRONG_TYPE: Malformed = Malformed("a field of the wrong wire type");

/// What a field holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Payload<'a> {
    Varint(u64),
    Fixed64([u8; 8]),
    Fixed32([u8; 4]),
    Bytes(&'a [u8]),
}

impl<'a> Payload<'a> {
    pub fn bytes(self) -> Result<&'a [u8]> {
        if let Self::Bytes(bytes) = self { Ok(bytes) } else { Err(WRONG_TYPE) }
    }

    pub fn varint(self) -> Result<u64> {
        if let Self::Varint(value) = self { Ok(value) } else { Err(WRONG_TYPE) }
    }
}

/// The fields of a message, in the order in which they were written.
#[derive(Debug, Clone, Copy)]
pub struct Fields<'a> {
    rest: &'a [u8],
}

impl<'a> Fields<'a> {
    pub fn of(message: &'a [u8]) -> Self {
        Self { rest: message }
    }

    /// How many bytes are left: tells where in its message a field begins and ends.
    pub fn left(&self) -> usize {
        self.rest.len()
    }

    /// The next field's number and payload.
    #[inline]
    pub fn next(&mut self) -> Result<Option<(u32, Payload<'a>)>> {
        // Nearly every field has a tag of one byte, and is a message, a text, or a small number.
        match *self.rest {
            [tag @ 0x08..0x80, value @ 0..0x80, ref rest @ ..] if tag % 8 == 0 => {
                self.rest = rest;
                Ok(Some((u32::from(tag >> 3), Payload::Varint(value.into()))))
            }
            [tag @ 0x08..0x80, ref body @ ..] if tag % 8 == 2 => match split_prefixed(body) {
                Some((payload, rest)) => {
                    self.rest = rest;
                    Ok(Some((u32::from(tag >> 3), Payload::Bytes(payload))))
                }
                None => self.next_of_any(),
            },
            _ => self.next_of_any(),
        }
    }

    fn next_of_any(&mut self) -> Result<Option<(u32, Payload<'a>)>> {
        if self.rest.is_empty() {
            return Ok(None);
        }
        let tag = u32::try_from(self.varint()?).map_err(|_| Malformed("a field number out of range"))?;
        let number = tag >> 3;
        if number == 0 {
            return Err(Malformed("field number 0"));
        }
        let payload = match tag & 7 {
            0 => Payload::Varint(self.varint()?),
            1 => Payload::Fixed64(self.array()?),
            2 => {
                let length = usize::try_from(self.varint()?).map_err(|_| TRUNCATED)?;
                let (payload, rest) = self.rest.split_at_checked(length).ok_or(TRUNCATED)?;
                self.rest = rest;
                Payload::Bytes(payload)
            }
            5 => Payload::Fixed32(self.array()?),
            _ => return Err(Malformed("a group, or no wire type at all")),
        };
        Ok(Some((number, payload)))
    }

    fn varint(&mut self) -> Result<u64> {
        match *self.rest {
            [low @ 0..0x80, ref rest @ ..] => {
                self.rest = rest;
                Ok(u64::from(low))
            }
            [low, high @ 0..0x80, ref rest @ ..] => {
                self.rest = rest;
                Ok(u64::from(low & 0x7f) | u64::from(high) << 7)
            }
            _ => self.long_varint(),
        }
    }

    fn long_varint(&mut self) -> Result<u64> {
        let mut value = 0;
        for (index, &byte) in self.rest.iter().take(10).enumerate() {
            // Bits above the 64th are dropped, as every protobuf library does.
            value |= u64::from(byte & 0x7f) << (7 * index);
            if byte < 0x80 {
                self.rest = &self.rest[index + 1..];
                return Ok(value);
            }
        }
        Err(if self.rest.len() < 10 { TRUNCATED } else { Malformed("a varint of more than ten bytes") })
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N]> {
        let (array, rest) = self.rest.split_first_chunk().ok_or(TRUNCATED)?;
        self.rest = rest;
        Ok(*array)
    }
}

/// Text that must be UTF-8. Nearly all of it is ASCII, which is told several times as fast.
#[inline]
pub fn utf8(bytes: &[u8]) -> std::result::Result<&str, Utf8Error> {
    if bytes.is_ascii() {
        // SAFETY: ASCII is UTF-8.
        return Ok(unsafe { std::str::from_utf8_unchecked(bytes) });
    }
    std::str::from_utf8(bytes)
}

/// What a length stands before, and what is behind it; none where the length takes more than three bytes, or
/// lies: then the slow way says what is wrong.
#[inline]
fn split_prefixed(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let (length, rest) = match *bytes {
        [low @ 0..0x80, ref rest @ ..] => (usize::from(low), rest),
        [low, high @ 0..0x80, ref rest @ ..] => (usize::from(low & 0x7f) | usize::from(high) << 7, rest),
        [low, middle, high @ 0..0x80, ref rest @ ..] => {
            (usize::from(low & 0x7f) | usize::from(middle & 0x7f) << 7 | usize::from(high) << 14, rest)
        }
        _ => return None,
    };
    rest.split_at_checked(length)
}

/// The content of a value that is one field with this tag and goes to the end: nearly every one is. None where
/// [`Value::read`] has to look.
#[inline]
pub fn alone(tag: u8, encoded: &[u8]) -> Option<&[u8]> {
    let (&first, body) = encoded.split_first()?;
    let (content, behind) = split_prefixed(body).filter(|_| first == tag)?;
    behind.is_empty().then_some(content)
}

/// A `google.protobuf.Value`, read one level deep.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Value<'a> {
    Null,
    Number(f64),
    /// Not yet known to be UTF-8.
    Text(&'a [u8]),
    Bool(bool),
    /// The encoded `google.protobuf.Struct`.
    Struct(&'a [u8]),
    List(List<'a>),
}

/// An encoded `google.protobuf.ListValue`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct List<'a>(pub &'a [u8]);

/// Tags as `struct.proto` numbers them.
pub mod tag {
    /// `Value.string_value`.
    pub const TEXT: u8 = 3 << 3 | 2;
    /// `Value.struct_value`.
    pub const STRUCT: u8 = 5 << 3 | 2;
    /// `Value.list_value`.
    pub const LIST: u8 = 6 << 3 | 2;
    /// `ListValue.values`, `Struct.fields` and the key of one of those.
    pub const FIRST: u8 = 1 << 3 | 2;
    /// The value of a `Struct.fields` entry.
    pub const SECOND: u8 = 2 << 3 | 2;
}

impl<'a> Value<'a> {
    /// Reads an encoded `google.protobuf.Value`.
    #[inline]
    pub fn read(encoded: &'a [u8]) -> Result<Self> {
        if let Some(text) = alone(tag::TEXT, encoded) {
            return Ok(Self::Text(text));
        }
        if let Some(list) = alone(tag::LIST, encoded) {
            return Ok(Self::List(List(list)));
        }
        Self::read_fields(encoded)
    }

    fn read_fields(encoded: &'a [u8]) -> Result<Self> {
        let mut fields = Fields::of(encoded);
        let mut value = None;
        while let Some((number, payload)) = fields.next()? {
            let read = match number {
                1 => payload.varint().map(|_| Self::Null)?,
                2 => match payload {
                    Payload::Fixed64(bits) => Self::Number(f64::from_le_bytes(bits)),
                    _ => return Err(WRONG_TYPE),
                },
                3 => Self::Text(payload.bytes()?),
                4 => Self::Bool(payload.varint()? != 0),
                5 => Self::Struct(payload.bytes()?),
                6 => Self::List(List(payload.bytes()?)),
                _ => continue,
            };
            if value.replace(read).is_some() {
                return Err(Malformed("a value of two kinds"));
            }
        }
        value.ok_or(Malformed("a value of no known kind"))
    }
}

impl<'a> List<'a> {
    pub fn elements(self) -> Elements<'a> {
        Elements(Fields::of(self.0))
    }
}

/// The name and the encoded value of an entry of a `google.protobuf.Struct`.
pub fn entry(encoded: &[u8]) -> Result<(&[u8], &[u8])> {
    let (mut name, mut value) = (&[][..], None);
    let mut fields = Fields::of(encoded);
    while let Some((number, payload)) = fields.next()? {
        match number {
            1 => name = payload.bytes()?,
            // Protobuf would merge the two; no writer writes them.
            2 if value.is_some() => return Err(Malformed("a struct's value, written twice")),
            2 => value = Some(payload.bytes()?),
            _ => {}
        }
    }
    Ok((name, value.unwrap_or_default()))
}

/// The elements of a list, each an encoded `google.protobuf.Value`.
#[derive(Debug, Clone, Copy)]
pub struct Elements<'a>(Fields<'a>);

impl<'a> Elements<'a> {
    #[inline]
    pub fn next(&mut self) -> Result<Option<&'a [u8]>> {
        if let [tag::FIRST, body @ ..] = self.0.rest
            && let Some((element, rest)) = split_prefixed(body)
        {
            self.0.rest = rest;
            return Ok(Some(element));
        }
        self.next_of_any()
    }

    fn next_of_any(&mut self) -> Result<Option<&'a [u8]>> {
        while let Some((number, payload)) = self.0.next()? {
            if number == 1 {
                return payload.bytes().map(Some);
            }
        }
        Ok(None)
    }

    /// How many bytes of the list are left behind the element that came last.
    pub fn left(&self) -> usize {
        self.0.left()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn walk(message: &[u8]) -> Result<Vec<(u32, Payload<'_>)>> {
        let mut fields = Fields::of(message);
        let mut found = Vec::new();
        while let Some(field) = fields.next()? {
            found.push(field);
        }
        Ok(found)
    }

    #[test]
    fn each_wire_type_is_read() {
        let message = b"\x08\xac\x02\x11\x01\x02\x03\x04\x05\x06\x07\x08\x1a\x02hi\x25\x01\x02\x03\x04\xf8\xff\xff\xff\x0f\x01";
        assert_eq!(
            walk(message).unwrap(),
            [
                (1, Payload::Varint(300)),
                (2, Payload::Fixed64([1, 2, 3, 4, 5, 6, 7, 8])),
                (3, Payload::Bytes(b"hi")),
                (4, Payload::Fixed32([1, 2, 3, 4])),
                ((1 << 29) - 1, Payload::Varint(1)),
            ]
        );
    }

    #[test]
    fn what_is_no_message_is_refused() {
        for (message, what) in [
            (&b"\x00\x01"[..], "field number 0"),
            (b"\x0b", "a group, or no wire type at all"),
            (b"\x0c", "a group, or no wire type at all"),
            (b"\x0f", "a group, or no wire type at all"),
            (b"\x08", "truncated"),
            (b"\x08\x80", "truncated"),
            (b"\x0a\x02a", "truncated"),
            (b"\x0a\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01", "truncated"),
            (b"\x09\x01", "truncated"),
            (b"\x08\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01", "a varint of more than ten bytes"),
            (b"\x88\x80\x80\x80\x80\x01\x01", "a field number out of range"),
        ] {
            assert_eq!(walk(message).unwrap_err(), Malformed(what), "{message:x?}");
        }
    }

    #[test]
    fn a_value_has_one_kind_and_unknown_fields_are_stepped_over() {
        assert_eq!(Value::read(b"\x08\x00"), Ok(Value::Null));
        assert_eq!(Value::read(b"\x11\0\0\0\0\0\0\xf0\x3f"), Ok(Value::Number(1.0)));
        assert_eq!(Value::read(b"\x3a\x01x\x1a\x02hi\x40\x01"), Ok(Value::Text(b"hi")));
        assert_eq!(Value::read(b"\x20\x01"), Ok(Value::Bool(true)));
        assert_eq!(Value::read(b"\x2a\x00"), Ok(Value::Struct(b"")));
        assert_eq!(Value::read(b"\x32\x00"), Ok(Value::List(List(b""))));
        assert_eq!(Value::read(b""), Err(Malformed("a value of no known kind")));
        assert_eq!(Value::read(b"\x32\x00\x32\x00"), Err(Malformed("a value of two kinds")));
        assert_eq!(Value::read(b"\x30\x00"), Err(WRONG_TYPE));
    }

    proptest! {
        #[test]
        fn a_varint_survives(value: u64) {
            let mut message = vec![0x08];
            let mut rest = value;
            while rest >= 0x80 {
                message.push(rest.to_le_bytes()[0] | 0x80);
                rest >>= 7;
            }
            message.push(rest.to_le_bytes()[0]);
            prop_assert_eq!(walk(&message).unwrap(), [(1, Payload::Varint(value))]);
        }

        #[test]
        fn the_short_way_to_read_a_value_reads_the_same(
            kind in prop::sample::select(vec![tag::TEXT, tag::LIST, tag::STRUCT]),
            length in prop::sample::select(vec![&[0_u8][..], &[1], &[2], &[3], &[0x83], &[0x82, 0], &[0x82, 0x80, 0]]),
            rest in prop::collection::vec(any::<u8>(), 0..5),
        ) {
            let message = [&[kind], length, &rest].concat();
            prop_assert_eq!(Value::read(&message), Value::read_fields(&message));
        }

        #[test]
        fn the_short_way_to_a_field_finds_the_same(
            pieces in prop::collection::vec(
                prop::sample::select(vec![
                    &b"\x0a\x00"[..], b"\x12\x02hi", b"\x1a\x82\x00hi", b"\x08\x01", b"\x10\x81\x00", b"\x0d1234",
                    b"\x0112345678", b"\x0b", b"\x02\x01x", b"\x00\x01", b"\x92\x01\x01x", b"\x0a\x05x", b"\x0a", b"\x08",
                    b"\x7a\x00", b"\x78\x7f",
                ]),
                0..6,
            ),
        ) {
            let message = pieces.concat();
            let (mut short, mut long) = (Fields::of(&message), Fields::of(&message));
            loop {
                let found = short.next();
                prop_assert_eq!(found, long.next_of_any());
                prop_assert_eq!(short.left(), long.left());
                if !matches!(found, Ok(Some(_))) {
                    break;
                }
            }
        }

        #[test]
        fn the_short_way_to_an_element_finds_the_same(
            pieces in prop::collection::vec(
                prop::sample::select(vec![
                    &b"\x0a\x00"[..], b"\x0a\x02\x1a\x00", b"\x0a\x82\x00hi", b"\x0a\x81\x80\x00x", b"\x12\x01x",
                    b"\x0a\x80\x80\x80\x00", b"\x08\x01", b"\x0a\x05x", b"\x0a", b"\x0a\x80", b"\x00",
                ]),
                0..6,
            ),
        ) {
            let list = pieces.concat();
            let (mut short, mut long) = (List(&list).elements(), List(&list).elements());
            loop {
                let found = short.next();
                prop_assert_eq!(found, long.next_of_any());
                prop_assert_eq!(short.left(), long.left());
                if !matches!(found, Ok(Some(_))) {
                    break;
                }
            }
        }

        #[test]
        fn text_is_refused_where_it_stops_being_utf8(mut text in "[a-zé€😀]{0,40}", byte: u8, at: prop::sample::Index) {
            text.push('.');
            let mut bytes = text.into_bytes();
            let at = at.index(bytes.len());
            bytes[at] = byte;
            prop_assert_eq!(utf8(&bytes), std::str::from_utf8(&bytes));
        }

        #[test]
        fn any_bytes_end_without_a_panic(message in proptest::collection::vec(any::<u8>(), 0..64)) {
            let _ = walk(&message);
            if let Ok(Value::List(list)) = Value::read(&message) {
                let mut elements = list.elements();
                while let Ok(Some(element)) = elements.next() {
                    let _ = Value::read(element);
                }
            }
        }
    }
}
