//! Chunked values: merged by the rules of `PartialResultSet.values`, however they were cut, also
//! when the stream breaks and is resumed.

mod support {
    pub mod values;
}

use proptest::prelude::*;
use spanwire_core::error::{Error, Result};
use spanwire_core::wire::ResultSetReader;

use support::values::{Tree, choices, field, list, message, messages, text};

const LIMIT: usize = 1 << 20;

fn read(reader: &mut ResultSetReader, message: &[u8]) -> Result<Vec<Vec<u8>>> {
    let mut rows = Vec::new();
    reader.message(message, &mut |row| {
        rows.push(row.to_vec());
        Ok(())
    })?;
    Ok(rows)
}

/// The values that pieces, each in a message of its own, add up to.
fn merged(pieces: &[Tree]) -> Result<Vec<u8>> {
    let mut reader = ResultSetReader::new(LIMIT);
    let mut rows = Vec::new();
    for (index, piece) in pieces.iter().enumerate() {
        assert!(rows.is_empty());
        rows = read(&mut reader, &message(std::slice::from_ref(piece), index + 1 < pieces.len(), b""))?;
    }
    reader.finish()?;
    assert_eq!(rows.len(), 1);
    Ok(rows.remove(0))
}

fn corrupt(outcome: Result<impl std::fmt::Debug>) -> String {
    match outcome.unwrap_err() {
        Error::Corrupt { what } => what,
        other => panic!("{other:?}"),
    }
}

fn field_of(name: &str, value: Tree) -> Tree {
    Tree::Struct(vec![(name.into(), value)])
}

#[test]
fn the_examples_of_the_proto_file_merge_as_it_says() {
    let number = Tree::Number;
    let cases = [
        (vec![text("foo"), text("bar")], text("foobar")),
        (
            vec![list([number(2.0), number(3.0)]), list([number(4.0)])],
            list([number(2.0), number(3.0), number(4.0)]),
        ),
        (
            vec![list([text("a"), text("b")]), list([text("c"), text("d")])],
            list([text("a"), text("bc"), text("d")]),
        ),
        (
            vec![list([text("a"), list([text("b"), text("c")])]), list([list([text("d")]), text("e")])],
            list([text("a"), list([text("b"), text("cd")]), text("e")]),
        ),
        (
            vec![field_of("a", text("1")), field_of("b", text("2"))],
            Tree::Struct(vec![("a".into(), text("1")), ("b".into(), text("2"))]),
        ),
        (vec![field_of("a", text("1")), field_of("a", text("2"))], field_of("a", text("12"))),
        (
            vec![field_of("a", list([text("1")])), field_of("a", list([text("2")]))],
            field_of("a", list([text("12")])),
        ),
    ];
    for (pieces, whole) in cases {
        assert_eq!(merged(&pieces).unwrap(), whole.encode(), "{pieces:?}");
    }
}

#[test]
fn empty_pieces_add_nothing_and_keep_an_element_open() {
    let pieces =
        [list([]), list([text("a")]), list([]), list([text("")]), list([text("b"), Tree::Null]), list([])];
    assert_eq!(merged(&pieces).unwrap(), list([text("ab"), Tree::Null]).encode());
    assert_eq!(merged(&[text(""), text(""), text("x")]).unwrap(), text("x").encode());
}

#[test]
fn bool_number_and_null_end_an_element_without_being_merged() {
    let pieces = [
        list([Tree::Bool(true)]),
        list([Tree::Null]),
        list([text("a")]),
        list([text(""), Tree::Number(1.5)]),
    ];
    let whole = list([Tree::Bool(true), Tree::Null, text("a"), Tree::Number(1.5)]);
    assert_eq!(merged(&pieces).unwrap(), whole.encode());
}

#[test]
fn what_the_rules_do_not_allow_is_refused() {
    for scalar in [Tree::Null, Tree::Bool(true), Tree::Number(1.0)] {
        assert_eq!(
            corrupt(merged(&[scalar.clone(), scalar])),
            "PartialResultSet: a chunked bool, number or null"
        );
    }
    for pieces in [
        [text("a"), list([])],
        [list([]), text("a")],
        [list([text("a")]), list([Tree::Null])],
        [list([list([])]), list([text("")])],
        [field_of("a", text("")), list([])],
    ] {
        assert_eq!(corrupt(merged(&pieces)), "PartialResultSet: chunks of unlike kinds", "{pieces:?}");
    }
    let again = [field_of("a", Tree::Bool(true)), field_of("a", Tree::Bool(true))];
    assert_eq!(corrupt(merged(&again)), "PartialResultSet: a chunked bool, number or null");
}

/// Protobuf would take the later of two, or merge them; pieces of a value they are not.
#[test]
fn what_stands_twice_in_one_piece_is_not_taken_for_two() {
    let twice = Tree::Struct(vec![("a".into(), text("1")), ("a".into(), text("2"))]);
    assert_eq!(
        corrupt(merged(&[twice, field_of("b", text("3"))])),
        "PartialResultSet: a struct's field, written twice"
    );
    let value = field(2, &text("1").encode());
    let entry = [field(1, b"a"), value.clone(), value].concat();
    let mut reader = ResultSetReader::new(1 << 20);
    let piece = field(2, &field(5, &field(1, &entry)));
    read(&mut reader, &[&piece[..], &[0x18, 1]].concat()).unwrap();
    assert_eq!(corrupt(read(&mut reader, &piece)), "PartialResultSet: a struct's value, written twice");
}

/// A piece whose last element is no value is not merged as if a cut could not have gone through it.
#[test]
fn an_element_at_a_cut_must_be_a_value() {
    let group = field(6, &field(1, &[0x3b, 0x3c]));
    let mut reader = ResultSetReader::new(1 << 20);
    read(&mut reader, &[&field(2, &group)[..], &[0x18, 1]].concat()).unwrap();
    let rest = field(2, &list([text("a")]).encode());
    assert_eq!(corrupt(read(&mut reader, &rest)), "PartialResultSet: a group, or no wire type at all");
}

#[test]
fn a_cut_value_may_nest_to_a_hundred_levels() {
    let nested = |levels| (0..levels).fold(text("x"), |inner, _| list([inner]));
    assert!(merged(&[nested(99), nested(99)]).is_ok());
    assert_eq!(
        corrupt(merged(&[nested(100), nested(100)])),
        "PartialResultSet: a chunked value nested too deep"
    );
}

#[test]
fn a_value_over_the_limit_is_refused_whole_or_in_pieces() {
    let mut reader = ResultSetReader::new(100);
    let long = |length| text(&"x".repeat(length));
    assert_eq!(read(&mut reader, &message(&[long(98)], false, b"")).unwrap().len(), 1);
    let what = "a value of more than 100 bytes: raise max_record_bytes to take it";
    assert_eq!(corrupt(read(&mut reader, &message(&[long(99)], false, b""))), what);
    read(&mut reader, &message(&[long(40)], true, b"")).unwrap();
    assert_eq!(corrupt(read(&mut reader, &message(&[long(41)], true, b""))), what);
    reader.restart();
    let empty = message(&[text("")], true, b"");
    assert_eq!(corrupt((0..100).try_for_each(|_| read(&mut reader, &empty).map(drop))), what);
}

#[test]
fn a_stream_that_ends_inside_a_value_is_corrupt() {
    let mut reader = ResultSetReader::new(LIMIT);
    reader.finish().unwrap();
    read(&mut reader, &message(&[text("a"), text("b")], true, b"")).unwrap();
    assert_eq!(corrupt(reader.finish()), "the stream ended in the middle of a chunked value");
    assert_eq!(read(&mut reader, &message(&[text("c")], false, b"")).unwrap(), [text("bc").encode()]);
    reader.finish().unwrap();
}

#[test]
fn the_order_of_fields_and_fields_unknown_do_not_matter() {
    let mut reader = ResultSetReader::new(LIMIT);
    // chunked_value and the token first, metadata, stats and field 100 between.
    let first = [
        &[0x18, 1][..],
        &field(4, b"t"),
        &field(1, b""),
        &field(2, &text("a").encode()),
        &field(5, b""),
        &field(2, &text("b").encode()),
        &field(100, b"?"),
    ]
    .concat();
    assert_eq!(read(&mut reader, &first).unwrap(), [text("a").encode()]);
    assert_eq!(read(&mut reader, &message(&[text("c")], false, b"")).unwrap(), [text("bc").encode()]);
    assert_eq!(reader.resume(), Some(&b"t"[..]));
    assert_eq!(read(&mut reader, &message(&[text("d")], false, b"")).unwrap(), [text("bd").encode()]);
}

#[test]
fn nothing_is_handed_on_from_a_truncated_message() {
    let whole = message(&[text("a"), list([text("b")]), text("c")], true, b"token");
    for end in 0..whole.len() {
        let mut rows = 0;
        let outcome = ResultSetReader::new(LIMIT).message(&whole[..end], &mut |_| {
            rows += 1;
            Ok(())
        });
        // Cut between two fields it is a shorter message; cut anywhere else it is none.
        assert!(outcome.is_ok() || rows == 0, "cut at {end}");
        assert!(outcome.is_err() || [0, 5, 14, 19, 21].contains(&end), "cut at {end}");
    }
}

#[test]
fn resuming_goes_back_to_the_piece_that_stood_at_the_token() {
    // The example of the proto file: "Hello", "W" + "orl" + "d", with a token behind the "W".
    let mut reader = ResultSetReader::new(LIMIT);
    assert_eq!(reader.resume(), None);
    let rows = read(&mut reader, &message(&[text("Hello"), text("W")], true, b"Af65")).unwrap();
    assert_eq!(rows, [text("Hello").encode()]);
    for _ in 0..2 {
        assert_eq!(read(&mut reader, &message(&[text("orl")], true, b"")).unwrap(), Vec::<Vec<u8>>::new());
        assert_eq!(reader.resume(), Some(&b"Af65"[..]));
        assert_eq!(
            read(&mut reader, &message(&[text("orld"), text("Fo")], true, b"")).unwrap(),
            [text("World").encode()]
        );
        // The value has become complete since, and another one has begun: the piece is kept.
        assert_eq!(reader.resume(), Some(&b"Af65"[..]));
    }
    let rows = read(&mut reader, &message(&[text("orld")], false, b"Zx1B")).unwrap();
    assert_eq!(rows, [text("World").encode()]);
    read(&mut reader, &message(&[text("lost")], true, b"")).unwrap();
    assert_eq!(reader.resume(), Some(&b"Zx1B"[..]));
    reader.finish().unwrap();
}

#[test]
fn without_a_token_resuming_and_restarting_forget_everything() {
    let mut reader = ResultSetReader::new(LIMIT);
    read(&mut reader, &message(&[text("a")], true, b"")).unwrap();
    assert_eq!(reader.resume(), None);
    assert_eq!(read(&mut reader, &message(&[text("b")], false, b"t")).unwrap(), [text("b").encode()]);
    read(&mut reader, &message(&[text("c")], true, b"")).unwrap();
    reader.restart();
    assert_eq!(reader.resume(), None);
    assert_eq!(read(&mut reader, &message(&[text("d")], false, b"")).unwrap(), [text("d").encode()]);
}

#[test]
fn an_error_of_the_taker_ends_the_message() {
    let mut taken = 0;
    let outcome =
        ResultSetReader::new(LIMIT).message(&message(&[text("a"), text("b")], false, b""), &mut |_| {
            taken += 1;
            Err(Error::Closed)
        });
    assert_eq!((outcome, taken), (Err(Error::Closed), 1));
}

fn trees() -> impl Strategy<Value = Tree> {
    let leaf = prop_oneof![
        Just(Tree::Null),
        any::<bool>().prop_map(Tree::Bool),
        (-9_i32..9).prop_map(|value| Tree::Number(value.into())),
        "[a-zé😀]{0,6}".prop_map(Tree::Text),
    ];
    leaf.prop_recursive(4, 24, 5, |inner| {
        prop_oneof![
            3 => prop::collection::vec(inner.clone(), 0..5).prop_map(Tree::List),
            1 => prop::collection::btree_map("[a-d]", inner, 0..4).prop_map(|map| Tree::Struct(map.into_iter().collect())),
        ]
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn values_cut_anywhere_come_back_whole(
        values in prop::collection::vec(trees(), 0..5),
        seed in prop::collection::vec(any::<u8>(), 1..200),
    ) {
        let mut reader = ResultSetReader::new(LIMIT);
        let mut rows = Vec::new();
        for message in messages(&values, &mut choices(&seed)) {
            rows.extend(read(&mut reader, &message).unwrap());
        }
        reader.finish().unwrap();
        prop_assert_eq!(rows, values.iter().map(Tree::encode).collect::<Vec<_>>());
    }

    #[test]
    fn a_stream_that_breaks_anywhere_and_resumes_loses_and_repeats_nothing_behind_its_tokens(
        values in prop::collection::vec(trees(), 1..5),
        seed in prop::collection::vec(any::<u8>(), 1..200),
        breaks in prop::collection::vec(0_usize..12, 0..4),
    ) {
        let stream = messages(&values, &mut choices(&seed));
        let mut reader = ResultSetReader::new(LIMIT);
        let mut rows = Vec::new();
        // For each token that came, how many rows stood then.
        let mut rows_at = std::collections::HashMap::from([(0, 0)]);
        let mut next = 0;
        for length in breaks.into_iter().chain([stream.len()]) {
            for _ in 0..length {
                let Some(message) = stream.get(next) else { break };
                rows.extend(read(&mut reader, message).unwrap());
                next += 1;
                rows_at.insert(next, rows.len());
            }
            if next < stream.len() {
                next = reader.resume().map_or(0, |token| std::str::from_utf8(token).unwrap().parse().unwrap());
                rows.truncate(rows_at[&next]);
            }
        }
        for message in &stream[next..] {
            rows.extend(read(&mut reader, message).unwrap());
        }
        reader.finish().unwrap();
        prop_assert_eq!(rows, values.iter().map(Tree::encode).collect::<Vec<_>>());
    }

    #[test]
    fn any_bytes_are_taken_or_refused_but_never_panic(
        messages in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..40), 0..6),
        chunked in any::<bool>(),
    ) {
        let mut reader = ResultSetReader::new(LIMIT);
        for bytes in messages {
            let _ = read(&mut reader, &bytes);
            // The same bytes as the value of a message that is well-formed.
            let mut framed = field(2, &bytes);
            framed.extend([0x18, u8::from(chunked)]);
            if read(&mut reader, &framed).is_err() {
                reader.resume();
            }
        }
        let _ = reader.finish();
    }
}
