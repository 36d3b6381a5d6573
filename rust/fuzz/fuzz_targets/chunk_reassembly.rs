//! Values cut as Spanner may cut them come back whole, over breaks and resumes; and any bytes as
//! pieces are merged as the rules say, on what protobuf reads of them, or refused.
#![no_main]

#[path = "../../spanwire-core/tests/support/values.rs"]
mod values;

use libfuzzer_sys::fuzz_target;
use prost::Message;
use spanwire_core::wire::ResultSetReader;
use spanwire_fuzz::{chunks, proto, seen};
use values::{Choose, Tree, choices, field, messages};

fn tree(depth: usize, choose: &mut Choose<'_>) -> Tree {
    match choose(if depth == 0 { 4 } else { 6 }) {
        0 => Tree::Null,
        1 => Tree::Bool(choose(2) == 1),
        2 => Tree::Number(choose(9) as f64),
        3 => Tree::Text("añ😀z".repeat(choose(10)).chars().skip(choose(4)).collect()),
        4 => Tree::List((0..choose(5)).map(|_| tree(depth - 1, choose)).collect()),
        _ => Tree::Struct((0..choose(4)).map(|index| (index.to_string(), tree(depth - 1, choose))).collect()),
    }
}

fn whole(bytes: &[u8]) {
    let mut choose = choices(bytes);
    let values: Vec<Tree> = (0..1 + choose(4)).map(|_| tree(3, &mut choose)).collect();
    let stream = messages(&values, &mut choose);
    let mut reader = ResultSetReader::new(1 << 24);
    let mut rows: Vec<Vec<u8>> = Vec::new();
    let mut rows_at = vec![0; stream.len() + 1];
    let (mut next, mut breaks) = (0, 4);
    while next < stream.len() {
        let take = &mut |row: &[u8]| {
            rows.push(row.to_vec());
            Ok(())
        };
        reader.message(&stream[next], take).expect("a well-formed message");
        next += 1;
        rows_at[next] = rows.len();
        if breaks > 0 && choose(8) == 0 {
            breaks -= 1;
            next = reader.resume().map_or(0, |token| std::str::from_utf8(token).unwrap().parse().unwrap());
            rows.truncate(rows_at[next]);
        }
    }
    reader.finish().expect("no value is half read");
    assert_eq!(rows, values.iter().map(Tree::encode).collect::<Vec<_>>());
}

/// The whole of the pieces: each but the last in a message that says that more follows.
fn merged(pieces: &[&[u8]]) -> spanwire_core::Result<Vec<u8>> {
    let mut reader = ResultSetReader::new(1 << 24);
    let mut rows: Vec<Vec<u8>> = Vec::new();
    for (number, piece) in (1..).zip(pieces) {
        let mut message = field(2, piece);
        if number < pieces.len() {
            message.extend([0x18, 1]);
        }
        reader.message(&message, &mut |row| {
            rows.push(row.to_vec());
            Ok(())
        })?;
    }
    assert_eq!(rows.len(), 1);
    Ok(rows.remove(0))
}

fn pieces(bytes: &[u8]) {
    let pieces: Vec<&[u8]> = bytes.split(|&byte| byte == b'|').collect();
    let ours = merged(&pieces);
    let Some(theirs) = chunks::merge(&pieces) else { return };
    match (ours, theirs) {
        (Ok(ours), Some(theirs)) => {
            let ours = proto::Value::decode(&ours[..]).expect("pieces that protobuf reads make a value");
            assert_eq!(ours.encode_to_vec(), theirs.encode_to_vec()); // as bytes: NaN is what it was
        }
        (Ok(_), None) => panic!("merged what the rules refuse"),
        (Err(error), Some(_)) => assert!(seen::is_refused_on_purpose(&error.to_string()), "{error}"),
        (Err(_), None) => {}
    }
}

fuzz_target!(|bytes: &[u8]| {
    if let Some((&first, rest)) = bytes.split_first() {
        if first % 2 == 0 { whole(rest) } else { pieces(rest) }
    }
});
