//! Rows of tables, put together from the messages of a query: wherever values are cut and streams break,
//! each row comes once and whole.

mod support {
    pub mod values;
}

use proptest::prelude::*;
use serde_json::{Value as Json, json};
use spanwire_core::change::TypeCode;
use spanwire_core::error::Error;
use spanwire_core::wire::{Rows, TableColumn, TableReader};

use support::values::{Tree, choices, field, list, message, messages, text};

fn column(name: &str, is_primary_key: bool, ordinal_position: i64) -> TableColumn {
    TableColumn { name: name.into(), is_primary_key, ordinal_position }
}

fn selected() -> Vec<TableColumn> {
    vec![column("id", true, 2), column("na\"me", false, 1), column("tags", false, 3)]
}

/// `PartialResultSet.metadata` of these names and type codes.
fn metadata(columns: &[(&str, u8)]) -> Vec<u8> {
    let fields: Vec<u8> = columns
        .iter()
        .flat_map(|(name, code)| {
            // An array is one of strings.
            let element = if *code == 8 { field(2, &[0x08, 6]) } else { Vec::new() };
            let column_type = [&[0x08, *code][..], &element].concat();
            field(1, &[field(1, name.as_bytes()), field(2, &column_type)].concat())
        })
        .collect();
    field(1, &field(1, &fields))
}

fn described() -> Vec<u8> {
    metadata(&[("id", 2), ("na\"me", 6), ("tags", 8)])
}

fn expected(row: &[Tree]) -> (Json, Json) {
    let json = |tree: &Tree| match tree {
        Tree::Null => Json::Null,
        Tree::Text(text) => json!(text),
        Tree::List(elements) => elements
            .iter()
            .map(|one| if let Tree::Text(text) = one { json!(text) } else { Json::Null })
            .collect(),
        other => panic!("{other:?}"),
    };
    (json!({ "id": json(&row[0]) }), json!({ "na\"me": json(&row[1]), "tags": json(&row[2]) }))
}

/// Takes a message; each row it completes goes to its number's place.
fn take(reader: &mut TableReader, bytes: &[u8], rows: &mut Vec<(Json, Json)>) -> Result<(), Error> {
    reader.message(bytes, &mut |found: Rows<'_>| {
        assert_eq!(found.first as usize, rows.len(), "rows come once, in order");
        assert_eq!(found.columns.len(), 3);
        for row in found.rows {
            assert_eq!(row.old_values, "{}");
            let parsed = [row.keys, row.new_values].map(|object| serde_json::from_str(object).unwrap());
            let [keys, values] = parsed;
            rows.push((keys, values));
        }
        Ok(())
    })
}

fn row() -> impl Strategy<Value = Vec<Tree>> {
    let string = || prop_oneof![Just(Tree::Null), "\\PC{0,6}".prop_map(Tree::Text)];
    let tags = prop_oneof![Just(Tree::Null), prop::collection::vec(string(), 0..4).prop_map(Tree::List)];
    (string(), string(), tags).prop_map(|(id, name, tags)| vec![id, name, tags])
}

proptest! {
    /// The stream breaks after some messages, and goes on behind the last resume token.
    #[test]
    fn each_row_comes_once_and_whole(
        rows in prop::collection::vec(row(), 0..12),
        cuts in prop::collection::vec(any::<u8>(), 1..60),
        breaks in prop::collection::vec(any::<prop::sample::Index>(), 0..4),
    ) {
        let values: Vec<Tree> = rows.iter().flatten().cloned().collect();
        let mut sent = messages(&values, &mut choices(&cuts));
        sent[0] = [described(), sent[0].clone()].concat();
        let mut reader = TableReader::new(selected(), 1 << 20);
        let mut found = Vec::new();
        let mut from = 0;
        for broken in breaks {
            let until = from + broken.index(sent.len() - from + 1);
            for bytes in &sent[from..until] {
                take(&mut reader, bytes, &mut found).unwrap();
            }
            let token = reader.resume().map(|token| std::str::from_utf8(token).unwrap().parse().unwrap());
            if let Some(place) = token {
                from = place;
            } else {
                reader.restart();
                found.clear();
                from = 0;
            }
        }
        for bytes in &sent[from..] {
            take(&mut reader, bytes, &mut found).unwrap();
        }
        reader.finish().unwrap();
        prop_assert_eq!(found, rows.iter().map(|row| expected(row)).collect::<Vec<_>>());
    }
}

#[test]
fn columns_have_the_types_that_the_answer_says() {
    let mut reader = TableReader::new(selected(), 1 << 20);
    let row = message(&[text("1"), text("a"), list([])], false, b"");
    let mut columns = Vec::new();
    reader
        .message(&[described(), row].concat(), &mut |rows: Rows<'_>| {
            columns = rows.columns.to_vec();
            Ok(())
        })
        .unwrap();
    let of = |place: usize| (columns[place].column_type.code, columns[place].is_primary_key);
    assert_eq!(
        (of(0), of(1), of(2)),
        ((TypeCode::Int64, true), (TypeCode::String, false), (TypeCode::Array, false))
    );
    assert_eq!(columns[0].ordinal_position, 2);
}

#[test]
fn what_is_no_answer_to_the_query_is_refused() {
    let row = || message(&[text("1"), text("a"), list([])], false, b"");
    let refused = |bytes: &[u8]| {
        let mut reader = TableReader::new(selected(), 1 << 20);
        match take(&mut reader, bytes, &mut Vec::new()).unwrap_err() {
            Error::Corrupt { what } => what,
            other => panic!("{other:?}"),
        }
    };
    assert!(refused(&row()).contains("before their columns"));
    for columns in [&[("id", 2)][..], &[("id", 2), ("name", 6), ("tags", 8)]] {
        assert!(refused(&[metadata(columns), row()].concat()).contains("not those that were selected"));
    }
    let mut reader = TableReader::new(selected(), 1 << 20);
    let half = [described(), message(&[text("1")], false, b"")].concat();
    take(&mut reader, &half, &mut Vec::new()).unwrap();
    assert!(matches!(reader.finish(), Err(Error::Corrupt { what }) if what.contains("middle of a row")));
}
