//! Rows to records, in both shapes: what the emulator sent, and what it never sends.

mod support {
    pub mod rows;
    pub mod values;
}

use proptest::prelude::*;
use spanwire_core::change::{ModType, Record, Timestamp, TypeCode, ValueCaptureType};
use spanwire_core::error::{Error, Result};
use spanwire_core::wire::{self, RecordReader, ResultSetReader, Shape};

use support::rows::{
    DATA_FIELDS, captured, children_row, data_fields, data_row, heartbeat_row, postgresql_data,
    postgresql_row,
};
use support::values::{Tree, list, text};

const SHAPES: [Shape; 2] = [Shape::GoogleSql, Shape::PostgreSql];

/// Records in their Debug text: it shows every field.
fn shown(shape: Shape, row: &[u8]) -> Result<Vec<String>> {
    let mut records = Vec::new();
    RecordReader::new(shape).read(row, &mut |record| {
        records.push(format!("{record:?}"));
        Ok(())
    })?;
    Ok(records)
}

/// The rows of captured messages.
fn rows(messages: &[Vec<u8>]) -> Vec<Vec<u8>> {
    let mut reader = ResultSetReader::new(1 << 20);
    let mut rows = Vec::new();
    for message in messages {
        let mut take = |row: &[u8]| {
            rows.push(row.to_vec());
            Ok(())
        };
        reader.message(message, &mut take).unwrap();
    }
    reader.finish().unwrap();
    rows
}

fn undecodable(outcome: Result<impl std::fmt::Debug>) -> (String, String, String) {
    match outcome.unwrap_err() {
        Error::Undecodable { version, table, what } => (version, table, what),
        other => panic!("{other:?}"),
    }
}

fn corrupt(outcome: Result<impl std::fmt::Debug>) -> String {
    match outcome.unwrap_err() {
        Error::Corrupt { what } => what,
        other => panic!("{other:?}"),
    }
}

#[test]
fn the_emulators_changes_are_read_whole() {
    for shape in SHAPES {
        let mut reader = RecordReader::new(shape);
        let mut changes = Vec::new();
        let mut types = Vec::new();
        let mut last = Timestamp::MIN;
        for row in rows(&captured(shape, "partition")) {
            let mut take = |record: Record<'_>| {
                let Record::Data(data) = record else { return Ok(()) };
                assert!(data.commit_timestamp > last && data.commit_timestamp.nanos != 0);
                last = data.commit_timestamp;
                assert_eq!((&*data.table_name, &*data.record_sequence), ("shop.orders", "00000000"));
                assert!(data.server_transaction_id.parse::<u32>().is_ok());
                assert_eq!(data.value_capture_type, ValueCaptureType::NewRowAndOldValues);
                assert_eq!(data.number_of_records_in_transaction, 1);
                assert_eq!(data.number_of_partitions_in_transaction, 1);
                assert_eq!((&*data.transaction_tag, data.is_system_transaction), ("", false));
                assert!(data.is_last_record_in_transaction_in_partition);
                for values in data.mods {
                    // The two dialects differ in the spaces of the JSON column alone.
                    let tidy = |text: &str| text.replace(": ", ":").replace(", ", ",");
                    changes.push((
                        data.mod_type,
                        tidy(values.keys),
                        tidy(values.new_values),
                        tidy(values.old_values),
                    ));
                }
                types = wire::columns_of(&data)?;
                Ok(())
            };
            reader.read(&row, &mut take).unwrap();
        }
        let full = |note: &str| {
            format!(
                r#"{{"doc":"{{\"k\":[1,\"}}\"]}}","happened":"2026-01-02T03:04:05Z","note":"{note}","price":"1.5","tags":["a","b"]}}"#
            )
        };
        let null = r#"{"doc":null,"happened":null,"note":null,"price":null,"tags":null}"#;
        let note = r#"quote \" backslash \\ tab \t ü 😀"#;
        let change = |mod_type, id, new: &str, old: &str| {
            (mod_type, format!(r#"{{"id":"{id}"}}"#), String::from(new), String::from(old))
        };
        assert_eq!(
            changes,
            [
                change(ModType::Insert, 1, &full(note), "{}"),
                change(ModType::Insert, 2, null, "{}"),
                change(ModType::Update, 1, &full("new"), &format!(r#"{{"note":"{note}"}}"#)),
                change(ModType::Delete, 1, "{}", &full("new")),
                change(ModType::Delete, 2, "{}", null),
            ]
        );
        let codes: Vec<_> = types
            .iter()
            .map(|column| {
                (
                    column.name.as_str(),
                    column.column_type.code,
                    column.is_primary_key,
                    column.ordinal_position,
                )
            })
            .collect();
        assert_eq!(
            codes,
            [
                ("id", TypeCode::Int64, true, 1),
                ("note", TypeCode::String, false, 2),
                ("tags", TypeCode::Array, false, 3),
                ("price", TypeCode::Numeric, false, 4),
                ("happened", TypeCode::Timestamp, false, 5),
                ("doc", TypeCode::Json, false, 6),
            ]
        );
        assert_eq!(types[2].column_type.array_element.as_ref().unwrap().code, TypeCode::String);
    }
}

#[test]
fn the_emulators_first_partitions_have_no_parents() {
    for shape in SHAPES {
        let mut tokens = Vec::new();
        for row in rows(&captured(shape, "initial")) {
            let mut take = |record: Record<'_>| {
                let Record::Children(children) = record else { panic!("{record:?}") };
                assert!(children.start_timestamp.seconds > 1_700_000_000);
                for child in children.child_partitions {
                    assert_eq!(child.parent_partition_tokens, Vec::<&str>::new());
                    tokens.push(child.token.into_owned());
                }
                Ok(())
            };
            RecordReader::new(shape).read(&row, &mut take).unwrap();
        }
        assert_eq!(tokens.len(), 2);
        assert!(tokens.iter().all(|token| token.len() > 100));
    }
}

#[test]
fn null_stands_for_what_is_not_there() {
    let empty = shown(Shape::GoogleSql, &heartbeat_row(list([]))).unwrap();
    let null = shown(Shape::GoogleSql, &heartbeat_row(Tree::Null)).unwrap();
    assert_eq!(empty, null);
    assert_eq!(empty, ["Heartbeat(Timestamp { seconds: 1795456232, nanos: 669475000 })"]);
    for parents in [list([]), list([Tree::Null]), Tree::Null] {
        let shown = shown(Shape::GoogleSql, &children_row(parents)).unwrap();
        assert!(shown[0].ends_with(r#"token: "t1", parent_partition_tokens: [] }] })"#), "{shown:?}");
    }
    let shown_parents = shown(Shape::GoogleSql, &children_row(list([text("p1"), text("p2")]))).unwrap();
    assert!(shown_parents[0].ends_with(r#"parent_partition_tokens: ["p1", "p2"] }] })"#));
    for parents in ["[]", "[null]", "null"] {
        let row = postgresql_row(&format!(
            r#"{{"child_partitions_record":{{"start_timestamp":"2026-11-23T17:50:32+00:00","record_sequence":"00000001",
            "child_partitions":[{{"token":"t1","parent_partition_tokens":{parents}}}]}},"heartbeat_record":null}}"#
        ));
        let shown = shown(Shape::PostgreSql, &row).unwrap();
        assert!(shown[0].ends_with(r#"token: "t1", parent_partition_tokens: [] }] })"#), "{shown:?}");
    }
    let mut fields = data_fields();
    fields[6] = list([list([text("{}"), Tree::Null, Tree::Null])]);
    let shown_null = shown(Shape::GoogleSql, &data_row(&fields)).unwrap();
    assert!(shown_null[0].contains(r#"[Mod { keys: "{}", new_values: "{}", old_values: "{}" }]"#));
    let row = postgresql_data("mods", Some(r#"[{"keys":{},"new_values":null}]"#));
    assert_eq!(
        shown(Shape::PostgreSql, &row).unwrap()[0].split("mods").nth(1),
        shown_null[0].split("mods").nth(1)
    );
}

#[test]
fn both_shapes_of_a_record_say_the_same() {
    let of = |shape, row: &[u8]| {
        let shown = shown(shape, row).unwrap();
        // Columns are compared parsed, elsewhere.
        let (before, after) = shown[0].split_once("column_types").unwrap();
        (before.to_owned(), after.split_once("mods").unwrap().1.to_owned())
    };
    let googlesql = of(Shape::GoogleSql, &data_row(&data_fields()));
    assert_eq!(googlesql, of(Shape::PostgreSql, &postgresql_data("", None)));
    let expected = r#"[Mod { keys: "{\"id\":\"1\"}", new_values: "{\"a\": [1, \"}\"]}", old_values: "{}" }]"#;
    assert!(googlesql.1.contains(expected), "{googlesql:?}");
    assert!(googlesql.1.contains("number_of_records_in_transaction: 3"));
}

#[test]
fn fields_that_spanner_may_add_are_stepped_over() {
    let mut fields = data_fields();
    let plain = shown(Shape::GoogleSql, &data_row(&fields)).unwrap();
    fields.push(list([text("more")]));
    assert_eq!(shown(Shape::GoogleSql, &data_row(&fields)).unwrap(), plain);

    let plain = shown(Shape::PostgreSql, &postgresql_data("", None)).unwrap();
    assert_eq!(shown(Shape::PostgreSql, &postgresql_data("new_field", Some(r#"{"a":[1]}"#))).unwrap(), plain);
    let mods = r#"[{"x":1,"keys":{"id":"1"},"new_values":{"a": [1, "}"]},"old_values":{}}]"#;
    assert_eq!(shown(Shape::PostgreSql, &postgresql_data("mods", Some(mods))).unwrap(), plain);
    let counted = postgresql_data("number_of_records_in_transaction", Some("\"3\""));
    assert_eq!(shown(Shape::PostgreSql, &counted).unwrap(), plain);
}

#[test]
fn a_record_of_an_unknown_kind_is_not_skipped() {
    let unknown = list([list([list([]), list([]), list([]), list([list([])])])]).encode();
    let what = "a record of a kind that this version does not know";
    assert_eq!(corrupt(shown(Shape::GoogleSql, &unknown)), format!("ChangeRecord: {what}"));
    let unknown = postgresql_row(r#"{"partition_end_record":{}}"#);
    assert_eq!(corrupt(shown(Shape::PostgreSql, &unknown)), format!("row: {what}"));
    assert_eq!(corrupt(shown(Shape::PostgreSql, &postgresql_row("{}"))), "row: no record in it");
}

#[test]
fn a_missing_field_is_named_and_so_is_the_record_as_far_as_it_goes() {
    let version = "2026-11-23T17:50:32.669475000Z/tx1/00000002/0";
    for (index, name) in DATA_FIELDS.into_iter().enumerate() {
        let (at, _, what) = undecodable(shown(Shape::GoogleSql, &data_row(&data_fields()[..index])));
        assert_eq!(what, format!("{name}: missing"));
        if index > 2 {
            assert_eq!(at, version);
        }
        let row = postgresql_data(name, None);
        if ["transaction_tag", "is_system_transaction"].contains(&name) {
            shown(Shape::PostgreSql, &row).unwrap();
            continue;
        }
        let (at, table, what) = undecodable(shown(Shape::PostgreSql, &row));
        assert_eq!(what, format!("{name}: missing"));
        if index > 4 {
            assert_eq!((at.as_str(), table.as_str()), (version, "orders"));
        }
    }
    let (at, table, _) = undecodable(shown(Shape::GoogleSql, &data_row(&data_fields()[..1])));
    assert_eq!((at.as_str(), table.as_str()), ("2026-11-23T17:50:32.669475000Z///0", ""));
}

#[test]
fn a_field_that_is_not_what_it_should_be_is_named() {
    for (index, name) in DATA_FIELDS.into_iter().enumerate() {
        if name == "column_types" {
            continue; // looked at only when its columns are needed
        }
        let mut fields = data_fields();
        fields[index] = Tree::Number(1.0);
        let (_, _, what) = undecodable(shown(Shape::GoogleSql, &data_row(&fields)));
        assert!(what.starts_with(&format!("{name}: expected ")), "{what}");
        let (_, _, what) = undecodable(shown(Shape::PostgreSql, &postgresql_data(name, Some("[0]"))));
        assert!(what.starts_with(&format!("{name}: expected ")), "{what}");
    }
    for (index, wrong, what) in [
        (0, "yesterday", "commit_timestamp: not a timestamp"),
        (7, "UPSERT", "mod_type: not INSERT, UPDATE or DELETE"),
        (8, "NOTHING", "value_capture_type: a name that this version does not know"),
        (9, "many", "number_of_records_in_transaction: not a 64-bit integer"),
        (10, "99999999999999999999", "number_of_partitions_in_transaction: not a 64-bit integer"),
    ] {
        let mut fields = data_fields();
        fields[index] = text(wrong);
        assert_eq!(undecodable(shown(Shape::GoogleSql, &data_row(&fields))).2, what);
        let row = postgresql_data(DATA_FIELDS[index], Some(&format!("{wrong:?}")));
        assert_eq!(undecodable(shown(Shape::PostgreSql, &row)).2, what);
    }
}

#[test]
fn text_that_is_not_utf8_is_undecodable_and_the_error_does_not_show_it() {
    let mut row = data_row(&data_fields());
    let place = row.windows(4).position(|window| window == b"\"id\"").unwrap();
    row[place + 1] = 0xff;
    let (version, table, what) = undecodable(shown(Shape::GoogleSql, &row));
    assert_eq!(what, "mods.keys: not UTF-8 at byte 2");
    assert_eq!(
        (version.as_str(), table.as_str()),
        ("2026-11-23T17:50:32.669475000Z/tx1/00000002/0", "orders")
    );
}

#[test]
fn a_fault_before_the_identity_still_names_the_record() {
    // The order of an object's fields is not promised: mods may come first.
    let row = postgresql_row(
        r#"{"data_change_record":{"mods":[{"keys":1}],"commit_timestamp":"2026-11-23T17:50:32.669475+00:00",
        "server_transaction_id":"tx1","record_sequence":"00000002","table_name":"orders"}}"#,
    );
    let (version, table, what) = undecodable(shown(Shape::PostgreSql, &row));
    assert_eq!(what, "mods.keys: expected an object");
    assert_eq!(
        (version.as_str(), table.as_str()),
        ("2026-11-23T17:50:32.669475000Z/tx1/00000002/0", "orders")
    );
}

#[test]
fn reading_goes_on_behind_a_record_that_cannot_be_read() {
    let (good, mut bad) = (data_fields(), data_fields());
    bad[7] = text("UPSERT");
    let record = |fields: &[Tree]| list(fields.to_vec());
    let row = list([list([list([record(&good), record(&bad), record(&good)]), list([]), list([])])]).encode();
    let mut seen = Vec::new();
    RecordReader::new(Shape::GoogleSql)
        .read_each(&row, &mut |read| {
            seen.push(match read {
                Ok(Record::Data(data)) => data.mods.len(),
                Ok(other) => panic!("{other:?}"),
                Err(undecodable) => {
                    assert_eq!(undecodable.raw, record(&bad).encode());
                    0
                }
            });
            Ok(())
        })
        .unwrap();
    assert_eq!(seen, [1, 0, 1]);
    let mut count = 0;
    let outcome = RecordReader::new(Shape::GoogleSql).read(&row, &mut |_| {
        count += 1;
        Ok(())
    });
    assert_eq!((undecodable(outcome).2.as_str(), count), ("mod_type: not INSERT, UPDATE or DELETE", 1));
}

#[test]
fn a_row_that_is_no_row_is_corrupt() {
    for (shape, row) in [
        (Shape::GoogleSql, text("x").encode()),
        (Shape::GoogleSql, list([text("x")]).encode()),
        (Shape::GoogleSql, Vec::new()),
        (Shape::GoogleSql, list([list([list([])])]).encode()),
        (Shape::GoogleSql, list([list([Tree::Null, list([list([text("now")])]), Tree::Null])]).encode()),
        (Shape::PostgreSql, list([]).encode()),
        (Shape::PostgreSql, text("[]").encode()),
        (Shape::PostgreSql, postgresql_row(r#"{"heartbeat_record":{}}"#)),
        (Shape::PostgreSql, postgresql_row(r#"{"heartbeat_record":{"timestamp":"2026-11-23T17:50:32Z"}} x"#)),
    ] {
        corrupt(shown(shape, &row));
    }
}

#[test]
fn a_row_cut_short_anywhere_is_refused() {
    for row in [data_row(&data_fields()), children_row(list([text("p")])), heartbeat_row(Tree::Null)] {
        for end in 0..row.len() {
            assert!(shown(Shape::GoogleSql, &row[..end]).is_err(), "cut at {end}");
        }
    }
    let row = postgresql_data("", None);
    for end in 0..row.len() {
        assert!(shown(Shape::PostgreSql, &row[..end]).is_err(), "cut at {end}");
    }
    // The same cuts inside a string that is whole: JSON text that ends too early.
    let json = std::str::from_utf8(&row[3..]).unwrap();
    for end in (0..json.len()).filter(|&end| json.is_char_boundary(end)) {
        assert!(shown(Shape::PostgreSql, &postgresql_row(&json[..end])).is_err(), "cut at {end}");
    }
}

proptest! {
    #[test]
    fn bytes_changed_anywhere_are_read_or_refused_but_never_panic(
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..4),
        which in 0_usize..5,
    ) {
        for shape in SHAPES {
            let mut row = match (shape, which) {
                (Shape::GoogleSql, 0) => children_row(list([text("p")])),
                (Shape::GoogleSql, 1) => data_row(&data_fields()),
                (Shape::PostgreSql, 1) => postgresql_data("", None),
                _ => rows(&captured(shape, "partition")).swap_remove(which % 2),
            };
            for (at, byte) in &changes {
                *at.get_mut(&mut row) = *byte;
            }
            let _ = RecordReader::new(shape).read(&row, &mut |record| {
                if let Record::Data(data) = record {
                    let _ = wire::columns_of(&data);
                }
                Ok(())
            });
        }
    }

    #[test]
    fn any_bytes_are_refused_without_a_panic(row in prop::collection::vec(any::<u8>(), 0..80)) {
        for shape in SHAPES {
            let _ = shown(shape, &row);
        }
    }
}
