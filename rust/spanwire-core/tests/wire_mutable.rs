//! Rows of `MUTABLE_KEY_RANGE` streams to records: what protobuf would read, and nothing else. The
//! official client's own types are the oracle of another test, in Python.

mod support {
    pub mod change_streams;
    pub mod values;
}

use proptest::prelude::*;
use spanwire_core::change::{DataChangeRecord, Record, Type, TypeAnnotation, TypeCode};
use spanwire_core::error::{Error, Result};
use spanwire_core::wire::{self, RecordReader, Shape};

use support::change_streams::{
    array_of, column, data, data_fields, heartbeat, mod_value, number, partition_end, partition_event,
    partition_start, row, timestamp,
};
use support::values::{Tree, field, list, text};

/// Reads one record.
fn read(record: &[u8], take: impl FnOnce(Record<'_>)) -> Result<()> {
    let mut take = Some(take);
    RecordReader::new(Shape::ChangeStreamRecord).read(&row(record).encode(), &mut |record| {
        take.take().expect("one record")(record);
        Ok(())
    })
}

/// A record in its Debug text, columns parsed: it shows every field.
fn shown(record: &[u8]) -> Result<String> {
    let mut shown = Ok(String::new());
    read(record, |record| {
        shown = match &record {
            Record::Data(data) => wire::columns_of(data).map(|columns| format!("{record:?} {columns:?}")),
            _ => Ok(format!("{record:?}")),
        };
    })?;
    shown
}

fn with_data<T>(fields: &[Vec<u8>], look: impl FnOnce(&DataChangeRecord<'_>) -> T) -> T {
    let mut looked = None;
    let take = |record: Record<'_>| {
        let Record::Data(data) = record else { panic!("{record:?}") };
        looked = Some(look(&data));
    };
    read(&data(fields), take).unwrap();
    looked.unwrap()
}

fn type_of(encoded: &[u8]) -> Type {
    let mut fields = data_fields();
    fields[5] = column("id", encoded, true, 1);
    with_data(&fields, |data| wire::columns_of(data).unwrap().remove(0).column_type)
}

/// The JSON text that a value of the column `id` becomes.
fn value_text(value: &Tree) -> String {
    let mut fields = data_fields();
    fields[6] = field(7, &mod_value(1, 0, value));
    let keys = with_data(&fields, |data| data.mods[0].keys.to_owned());
    keys.strip_prefix(r#"{"id":"#).and_then(|keys| keys.strip_suffix('}')).unwrap().to_owned()
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
fn every_field_of_a_data_change_record_is_read() {
    with_data(&data_fields(), |data| {
        assert_eq!(
            data.version(0).to_string(),
            "2025-11-23T17:50:32.669475000Z/tx1/83365be2414b3aae-00000000/0"
        );
        assert_eq!((&*data.table_name, &*data.transaction_tag), ("orders", "tag"));
        assert_eq!((data.mod_type.name(), data.value_capture_type.name()), ("UPDATE", "OLD_AND_NEW_VALUES"));
        assert_eq!((data.number_of_records_in_transaction, data.number_of_partitions_in_transaction), (3, 2));
        assert!(data.is_last_record_in_transaction_in_partition && !data.is_system_transaction);
        let [values] = data.mods else { panic!("{:?}", data.mods) };
        assert_eq!((values.keys, values.new_values), (r#"{"id":"1"}"#, r#"{"a":[1.5,null]}"#));
        assert_eq!(values.old_values, "{}");
        let columns = wire::columns_of(data).unwrap();
        let [id, a] = columns.as_slice() else { panic!("{columns:?}") };
        assert_eq!((id.name.as_str(), id.is_primary_key, id.ordinal_position), ("id", true, 1));
        assert_eq!((a.name.as_str(), a.is_primary_key, a.ordinal_position), ("a", false, 2));
        assert_eq!((id.column_type.code, a.column_type.code), (TypeCode::Int64, TypeCode::Array));
        assert_eq!(a.column_type.array_element.as_ref().unwrap().code, TypeCode::Float64);
    });
}

#[test]
fn records_about_partitions_are_read() {
    let shown = |record: &[u8]| shown(record).unwrap();
    let at = |second: i64| format!("Timestamp {{ seconds: {second}, nanos: 0 }}");
    assert_eq!(shown(&heartbeat(7)), format!("Heartbeat({})", at(7)));
    assert_eq!(
        shown(&partition_start(-1, &["a", "ü"])),
        format!(
            r#"PartitionStart(PartitionStartRecord {{ start_timestamp: {}, record_sequence: "83365be2414b3aae-00000001", partition_tokens: ["a", "ü"] }})"#,
            at(-1)
        )
    );
    assert_eq!(
        shown(&partition_end(3, "p")),
        format!(
            r#"PartitionEnd(PartitionEndRecord {{ end_timestamp: {}, record_sequence: "83365be2414b3aae-00000002", partition_token: "p" }})"#,
            at(3)
        )
    );
    assert_eq!(
        shown(&partition_event(3, "p", &["q", "r"], &["s"])),
        format!(
            r#"PartitionEvent(PartitionEventRecord {{ commit_timestamp: {}, record_sequence: "83365be2414b3aae-00000003", partition_token: "p", sources: ["q", "r"], destinations: ["s"] }})"#,
            at(3)
        )
    );
}

#[test]
fn fields_come_in_any_order_and_unknown_ones_are_stepped_over() {
    let fields = data_fields();
    let plain = shown(&data(&fields)).unwrap();
    let mut turned = fields.clone();
    turned.reverse(); // the mods before the columns they name
    assert_eq!(shown(&data(&turned)).unwrap(), plain);
    let unknown =
        [number(99, 1), field(98, b"x"), vec![0xbd, 6, 1, 2, 3, 4], vec![0xb9, 6, 1, 2, 3, 4, 5, 6, 7, 8]];
    let noisy: Vec<_> = fields.iter().flat_map(|each| [each.clone(), unknown.concat()]).collect();
    assert_eq!(shown(&[unknown.concat(), data(&noisy), unknown.concat()].concat()).unwrap(), plain);
}

#[test]
fn columns_that_do_not_follow_each_other_are_found_all() {
    let mut fields = data_fields();
    let plain = with_data(&fields, |data| wire::columns_of(data).unwrap());
    fields[5] = column("id", &number(1, 2), true, 1);
    fields.push(column("a", &array_of(&number(1, 3)), false, 2));
    with_data(&fields, |data| {
        assert_eq!(wire::columns_of(data).unwrap(), plain);
        assert_eq!(data.mods[0].new_values, r#"{"a":[1.5,null]}"#);
    });
}

#[test]
fn of_a_scalar_written_twice_the_last_counts_and_of_one_not_written_the_default() {
    let mut fields = data_fields();
    fields.extend([number(8, 30), field(5, b"other"), number(10, 9), number(4, 0)]);
    with_data(&fields, |data| {
        assert_eq!((data.mod_type.name(), &*data.table_name), ("DELETE", "other"));
        assert_eq!(data.number_of_records_in_transaction, 9);
        assert!(!data.is_last_record_in_transaction_in_partition);
    });
    for place in [3, 5, 6, 9, 10, 11, 12] {
        let mut fields = data_fields();
        fields[place].clear();
        with_data(&fields, |data| match place {
            3 => assert!(!data.is_last_record_in_transaction_in_partition),
            5 => assert!(wire::columns_of(data).unwrap().is_empty()),
            6 => assert!(data.mods.is_empty()),
            9 => assert_eq!(data.number_of_records_in_transaction, 0),
            10 => assert_eq!(data.number_of_partitions_in_transaction, 0),
            11 => assert_eq!(data.transaction_tag, ""),
            _ => assert!(!data.is_system_transaction),
        });
    }
    // An empty Timestamp is 1970; a negative int32 takes ten bytes.
    let mut fields = data_fields();
    fields[0] = field(1, b"");
    fields[9] = number(10, (-2_i64).cast_unsigned());
    with_data(&fields, |data| {
        assert_eq!((data.commit_timestamp.seconds, data.number_of_records_in_transaction), (0, -2));
    });
}

#[test]
fn what_tells_records_apart_must_be_there() {
    for (place, what) in [
        (0, "commit_timestamp: missing"),
        (1, "record_sequence: missing"),
        (2, "server_transaction_id: missing"),
        (4, "table: missing"),
        (7, "mod_type: not INSERT, UPDATE or DELETE"),
        (8, "value_capture_type: a number that this version does not know"),
    ] {
        let mut fields = data_fields();
        fields[place].clear();
        assert_eq!(undecodable(shown(&data(&fields))).2, what);
    }
    for (record, what) in [
        (field(2, b""), "heartbeat_record.timestamp: missing"),
        (field(3, b""), "partition_start_record.start_timestamp: missing"),
        (field(4, b""), "partition_end_record.end_timestamp: missing"),
        (field(5, b""), "partition_event_record.commit_timestamp: missing"),
        (partition_start(1, &[""]), "partition_start_record.partition_tokens: missing"),
        (partition_event(1, "p", &[""], &[]), "partition_event_record.move_in_events: missing"),
        (partition_event(1, "p", &[], &[""]), "partition_event_record.move_out_events: missing"),
        (b"".to_vec(), "ChangeStreamRecord: a record of a kind that this version does not know"),
        (field(6, b""), "ChangeStreamRecord: a record of a kind that this version does not know"),
        ([heartbeat(1), heartbeat(1)].concat(), "ChangeStreamRecord: written twice"),
        ([heartbeat(1), data(&data_fields())].concat(), "ChangeStreamRecord: written twice"),
    ] {
        assert_eq!(corrupt(shown(&record)), what);
    }
}

#[test]
fn a_record_that_cannot_be_read_says_who_it_is() {
    let mut fields = data_fields();
    let row_change = |value: &[u8]| field(7, &field(1, &[number(1, 0), value.to_vec()].concat()));
    for (place, with, what) in [
        (0, timestamp(1, 253_402_300_800, 0), "commit_timestamp: not a timestamp"),
        (0, timestamp(1, 0, 1_000_000_000), "commit_timestamp: not a timestamp"),
        (0, [timestamp(1, 0, 0), timestamp(1, 0, 0)].concat(), "commit_timestamp: written twice"),
        (4, field(5, b"\xff"), "table: not UTF-8 at byte 0"),
        (4, number(5, 1), "table: a field of the wrong wire type"),
        (5, column("", b"", true, 1), "column_metadata.name: missing"),
        (5, field(6, &field(1, b"a\xff")), "column_metadata.name: not UTF-8 at byte 1"),
        (6, row_change(b""), "mods.keys: a value of no known kind"),
        (6, row_change(&field(2, b"")), "mods.keys: a value of no known kind"),
        (6, row_change(&field(2, &field(3, b"\xff"))), "mods.keys: text that is not UTF-8"),
        (6, row_change(&[field(2, &[8, 0]), field(2, &[8, 0])].concat()), "mods.keys: written twice"),
        (7, number(8, 40), "mod_type: not INSERT, UPDATE or DELETE"),
        (8, number(9, 50), "value_capture_type: a number that this version does not know"),
    ] {
        let before = std::mem::replace(&mut fields[place], with);
        let (version, table, found) = undecodable(shown(&data(&fields)));
        assert_eq!(found, what);
        let commit = if place == 0 { "" } else { "2025-11-23T17:50:32.669475000Z" };
        if !found.starts_with("commit_timestamp: written twice") {
            assert_eq!(version, format!("{commit}/tx1/83365be2414b3aae-00000000/0"));
        }
        assert_eq!(table, if place == 4 { "" } else { "orders" });
        fields[place] = before;
    }
}

#[test]
fn what_is_not_base64_of_a_message_is_corrupt() {
    let mut reader = RecordReader::new(Shape::ChangeStreamRecord);
    let mut read = |value: &Tree| corrupt(reader.read(&value.encode(), &mut |_| Ok(())));
    assert_eq!(read(&list([])), "row: expected a string of base64");
    assert_eq!(read(&text("AA=")), "row: not base64");
    assert_eq!(read(&text("_-AA")), "row: not base64");
    assert_eq!(read(&text("CA==")), "ChangeStreamRecord: truncated");
    assert_eq!(read(&text("CAE=")), "data_change_record: a field of the wrong wire type");
}

#[test]
fn values_become_the_text_that_the_other_shapes_carry() {
    for (value, json) in [
        (Tree::Null, "null"),
        (Tree::Bool(true), "true"),
        (Tree::Number(0.1), "0.1"),
        (Tree::Number(-1e300), "-1e300"),
        (Tree::Number(f64::NAN), r#""NaN""#),
        (Tree::Number(f64::NEG_INFINITY), r#""-Infinity""#),
        (text("a\"\\\n\u{1}ü😀"), r#""a\"\\\n\u0001ü😀""#),
        (text(""), r#""""#),
        (list([]), "[]"),
        (list([text("1"), Tree::Null, list([])]), r#"["1",null,[]]"#),
        (Tree::Struct(vec![]), "{}"),
        (
            Tree::Struct(vec![("a\"".into(), Tree::Null), ("b".into(), list([Tree::Bool(false)]))]),
            r#"{"a\"":null,"b":[false]}"#,
        ),
    ] {
        assert_eq!(value_text(&value), json);
    }
}

/// Protobuf would merge the two; no writer writes them.
#[test]
fn a_value_that_stands_twice_in_a_structs_entry_is_refused() {
    let value = field(2, &text("1").encode());
    let entry = [field(1, b"a"), value.clone(), value].concat();
    let mut fields = data_fields();
    fields[6] = field(7, &field(1, &[number(1, 0), field(2, &field(5, &field(1, &entry)))].concat()));
    let (_, _, what) = undecodable(shown(&data(&fields)));
    assert_eq!(what, "mods.keys: a struct's value, written twice");
}

#[test]
fn values_nest_so_deep_and_no_deeper() {
    let nested = |depth: usize| (0..depth).fold(Tree::Null.encode(), |inner, _| field(6, &field(1, &inner)));
    let of = |depth: usize| {
        let mut fields = data_fields();
        fields[6] = field(7, &field(1, &field(2, &nested(depth))));
        shown(&data(&fields))
    };
    assert!(of(100).unwrap().contains(&"[".repeat(100)));
    for depth in [101, 5_000] {
        assert_eq!(undecodable(of(depth)).2, "mods.keys: a value nested too deep");
    }
}

#[test]
fn a_value_of_a_column_that_the_record_does_not_describe_goes_under_its_index() {
    let mut fields = data_fields();
    let beyond = mod_value(3, 2, &text("x"));
    let negative = mod_value(3, (-1_i64).cast_unsigned(), &Tree::Null);
    let known = mod_value(3, 1, &list([]));
    fields[6] = field(7, &[beyond, negative, known].concat());
    with_data(&fields, |data| {
        assert_eq!(data.mods[0].new_values, r##"{"#2":"x","#-1":null,"a":[]}"##);
    });
}

#[test]
fn the_objects_of_a_mod_may_be_written_in_turns() {
    let mut fields = data_fields();
    let (keys, new, old) = (mod_value(1, 0, &text("1")), |n| mod_value(3, 1, &n), |n| mod_value(2, 1, &n));
    let turns = [old(text("o")), new(text("n")), keys, old(text("p"))];
    fields[6] = [field(7, &turns.concat()), field(7, b"")].concat();
    with_data(&fields, |data| {
        let [first, second] = data.mods else { panic!("{:?}", data.mods) };
        assert_eq!((first.keys, first.new_values), (r#"{"id":"1"}"#, r#"{"a":"n"}"#));
        assert_eq!(first.old_values, r#"{"a":"o","a":"p"}"#);
        assert_eq!((second.keys, second.new_values, second.old_values), ("{}", "{}", "{}"));
    });
}

#[test]
fn names_are_those_of_the_record_and_not_of_the_one_before() {
    let mut reader = RecordReader::new(Shape::ChangeStreamRecord);
    for (name, fails) in [("x", false), ("", true), ("", true), ("x", false), ("y", false), ("y", false)] {
        let mut fields = data_fields();
        fields[5] = column(name, &number(1, 6), true, 1);
        let mut keys = String::new();
        let outcome = reader.read(&row(&data(&fields)).encode(), &mut |record| {
            let Record::Data(data) = record else { panic!("{record:?}") };
            keys = data.mods[0].keys.to_owned();
            Ok(())
        });
        assert_eq!(outcome.is_err(), fails);
        assert_eq!(keys, if fails { String::new() } else { format!(r#"{{"{name}":"1"}}"#) });
    }
}

#[test]
fn a_type_is_read_with_what_bends_it_and_one_not_known_is_kept_as_its_text() {
    let plain = |code: u64| type_of(&number(1, code));
    for (number, code) in
        [(1, TypeCode::Bool), (13, TypeCode::Proto), (15, TypeCode::Float32), (17, TypeCode::Uuid)]
    {
        assert_eq!((plain(number).code, plain(number).unknown.as_str()), (code, ""));
    }
    let numeric = type_of(&array_of(&[number(1, 10), number(4, 2)].concat()));
    let element = numeric.array_element.unwrap();
    assert_eq!((element.code, element.annotation), (TypeCode::Numeric, TypeAnnotation::PgNumeric));
    let proto = type_of(&[number(1, 13), field(5, b"shop.Order"), field(9, b"later")].concat());
    assert_eq!((proto.code, proto.proto_type_fqn.as_str()), (TypeCode::Proto, "shop.Order"));
    for (encoded, json) in [
        (number(1, 99), r#"{"code":99}"#),
        (Vec::new(), r#"{"code":"TYPE_CODE_UNSPECIFIED"}"#),
        ([number(1, 6), number(4, 7)].concat(), r#"{"code":"STRING","type_annotation":7}"#),
        (
            [number(1, 12), number(4, 3), field(2, &number(1, 5)), field(5, b"a\"b")].concat(),
            r#"{"code":12,"type_annotation":"PG_JSONB","array_element_type":{"code":"DATE"},"proto_type_fqn":"a\"b"}"#,
        ),
    ] {
        let read = type_of(&encoded);
        assert_eq!((read.code, read.unknown.as_str()), (TypeCode::Unspecified, json));
    }
    let unknown_element = type_of(&array_of(&number(1, 99)));
    assert_eq!((unknown_element.code, unknown_element.unknown.as_str()), (TypeCode::Array, ""));
    assert_eq!(unknown_element.array_element.unwrap().unknown, r#"{"code":99}"#);
    let of = |encoded: &[u8]| {
        let mut fields = data_fields();
        fields[5] = column("id", encoded, true, 1);
        undecodable(shown(&data(&fields))).2
    };
    assert_eq!(of(&number(1, 8)), "column_metadata.type: an array without an element type");
    let nested = (0..9).fold(number(1, 2), |element, _| array_of(&element));
    assert_eq!(of(&nested), "column_metadata.type: nested too deep");
}

#[test]
fn a_record_cut_short_anywhere_is_refused() {
    let record = data(&data_fields());
    for end in 0..record.len() {
        assert!(shown(&record[..end]).is_err(), "cut at {end}");
    }
}

proptest! {
    #[test]
    fn bytes_changed_anywhere_are_read_or_refused_but_never_panic(
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..6),
        which in 0_usize..4,
    ) {
        let mut record = match which {
            0 => partition_event(1, "p", &["q"], &["r"]),
            1 => partition_start(1, &["q"]),
            _ => data(&data_fields()),
        };
        for (at, byte) in &changes {
            *at.get_mut(&mut record) = *byte;
        }
        let _ = shown(&record);
    }

    #[test]
    fn any_bytes_are_refused_without_a_panic(record in prop::collection::vec(any::<u8>(), 0..80)) {
        let _ = shown(&record);
        let _ = RecordReader::new(Shape::ChangeStreamRecord).read(&record, &mut |_| Ok(()));
    }
}
