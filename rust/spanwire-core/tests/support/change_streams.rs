//! Rows of `MUTABLE_KEY_RANGE` streams, made up. An encoder of its own, so that reader and writer
//! share no mistake.

#![allow(dead_code)] // each user takes what it needs

use super::values::{Tree, field, text, varint};

/// A field that is a varint.
pub fn number(number: u32, value: u64) -> Vec<u8> {
    [varint(u64::from(number << 3)), varint(value)].concat()
}

/// A `google.protobuf.Timestamp` under a field number.
pub fn timestamp(under: u32, seconds: i64, nanos: u64) -> Vec<u8> {
    field(under, &[number(1, seconds.cast_unsigned()), number(2, nanos)].concat())
}

/// A `ChangeStreamRecord` as a row's value.
pub fn row(record: &[u8]) -> Tree {
    text(&base64(record))
}

pub fn base64(bytes: &[u8]) -> String {
    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut out = String::new();
    for group in bytes.chunks(3) {
        let byte = |place| u32::from(group.get(place).copied().unwrap_or(0));
        let bits = byte(0) << 16 | byte(1) << 8 | byte(2);
        for place in 0..4 {
            let letter = ALPHABET[(bits >> (18 - 6 * place) & 63) as usize];
            out.push(if place <= group.len() { letter.into() } else { '=' });
        }
    }
    out
}

/// A `ModValue` under a field number of `Mod`.
pub fn mod_value(under: u32, index: u64, value: &Tree) -> Vec<u8> {
    field(under, &[number(1, index), field(2, &value.encode())].concat())
}

/// A `ColumnMetadata`, as a field of a data change record.
pub fn column(name: &str, type_: &[u8], is_primary_key: bool, position: u64) -> Vec<u8> {
    let column = [
        field(1, name.as_bytes()),
        field(2, type_),
        number(3, u64::from(is_primary_key)),
        number(4, position),
    ];
    field(6, &column.concat())
}

/// The fields of a data change record that [`data`] puts together: each may be replaced.
pub fn data_fields() -> Vec<Vec<u8>> {
    let keys = mod_value(1, 0, &text("1"));
    let new_values = mod_value(3, 1, &Tree::List(vec![Tree::Number(1.5), Tree::Null]));
    vec![
        timestamp(1, 1_763_920_232, 669_475_000),
        field(2, b"83365be2414b3aae-00000000"),
        field(3, b"tx1"),
        number(4, 1),
        field(5, b"orders"),
        [column("id", &number(1, 2), true, 1), column("a", &array_of(&number(1, 3)), false, 2)].concat(),
        field(7, &[keys, new_values].concat()),
        number(8, 20),
        number(9, 10),
        number(10, 3),
        number(11, 2),
        field(12, b"tag"),
        number(13, 0),
    ]
}

/// A `google.spanner.v1.Type`: an array of another.
pub fn array_of(element: &[u8]) -> Vec<u8> {
    [number(1, 8), field(2, element)].concat()
}

/// A data change record out of its fields.
pub fn data(fields: &[Vec<u8>]) -> Vec<u8> {
    field(1, &fields.concat())
}

/// One change of a table at a second; the sequence tells it from others.
pub fn change(second: i64, table: &str, sequence: u64) -> Vec<u8> {
    let mut fields = data_fields();
    fields[0] = timestamp(1, second, 0);
    fields[1] = field(2, format!("{sequence:016x}-00000000").as_bytes());
    fields[4] = field(5, table.as_bytes());
    data(&fields)
}

pub fn heartbeat(second: i64) -> Vec<u8> {
    field(2, &timestamp(1, second, 0))
}

pub fn partition_start(second: i64, tokens: &[&str]) -> Vec<u8> {
    let tokens = tokens.iter().flat_map(|token| field(3, token.as_bytes()));
    let head = [timestamp(1, second, 0), field(2, b"83365be2414b3aae-00000001")].concat();
    field(3, &head.into_iter().chain(tokens).collect::<Vec<_>>())
}

pub fn partition_end(second: i64, token: &str) -> Vec<u8> {
    let fields =
        [timestamp(1, second, 0), field(2, b"83365be2414b3aae-00000002"), field(3, token.as_bytes())];
    field(4, &fields.concat())
}

pub fn partition_event(second: i64, token: &str, sources: &[&str], destinations: &[&str]) -> Vec<u8> {
    let head = [timestamp(1, second, 0), field(2, b"83365be2414b3aae-00000003"), field(3, token.as_bytes())];
    let moves = |under: u32, tokens: &[&str]| -> Vec<u8> {
        tokens.iter().flat_map(|token| field(under, &field(1, token.as_bytes()))).collect()
    };
    field(5, &[head.concat(), moves(4, sources), moves(5, destinations)].concat())
}
