//! Values cut as Spanner may cut them come back whole, over breaks and resumes; and any bytes as
//! pieces are merged or refused.
#![no_main]

#[path = "../../spanwire-core/tests/support/values.rs"]
mod values;

use libfuzzer_sys::fuzz_target;
use spanwire_core::wire::ResultSetReader;
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

fn pieces(bytes: &[u8]) {
    let mut reader = ResultSetReader::new(1 << 20);
    for piece in bytes.split(|&byte| byte == b'|') {
        let mut message = field(2, piece);
        message.extend([0x18, 1]);
        let _ = reader.message(&message, &mut |_| Ok(()));
    }
    // Whatever is last ends the value.
    let _ = reader.message(&field(2, bytes), &mut |_| Ok(()));
}

fuzz_target!(|bytes: &[u8]| {
    if let Some((&first, rest)) = bytes.split_first() {
        if first % 2 == 0 { whole(rest) } else { pieces(rest) }
    }
});
