//! In steady state a change costs no allocation, and the buffer that is sent is the one that was
//! given: nothing is built elsewhere and moved.

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

use spanwire_core::change::{
    Column, ColumnTypes, DataChangeRecord, Mod, ModType, Timestamp, Type, TypeAnnotation, TypeCode,
    ValueCaptureType,
};
use spanwire_core::choose::{Choice, Chooser, Condition, TableChoice};
use spanwire_core::envelope::{Body, Columns, Values};

struct Counting;

thread_local! {
    static ALLOCATIONS: Cell<usize> = const { Cell::new(0) };
}

fn count() {
    // A thread that ends may allocate when its locals are gone.
    let _ = ALLOCATIONS.try_with(|count| count.set(count.get() + 1));
}

// SAFETY: every call goes to the system's allocator as it came.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count();
        // SAFETY: the caller keeps the contract.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, at: *mut u8, layout: Layout) {
        // SAFETY: the caller keeps the contract.
        unsafe { System.dealloc(at, layout) }
    }

    unsafe fn realloc(&self, at: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        count();
        // SAFETY: the caller keeps the contract.
        unsafe { System.realloc(at, layout, size) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

fn columns() -> Columns {
    let of = |code, array_element: Option<Type>| Type {
        code,
        annotation: TypeAnnotation::None,
        array_element: array_element.map(Box::new),
        proto_type_fqn: String::new(),
        unknown: String::new(),
    };
    let many = |code| of(TypeCode::Array, Some(of(code, None)));
    let columns = [
        ("Id", of(TypeCode::Int64, None)),
        ("Text", of(TypeCode::String, None)),
        ("Number", of(TypeCode::Float64, None)),
        ("Bytes", of(TypeCode::Bytes, None)),
        ("At", of(TypeCode::Timestamp, None)),
        ("Texts", many(TypeCode::String)),
        ("Flags", many(TypeCode::Bool)),
        ("Times", many(TypeCode::Timestamp)),
        ("Vector", many(TypeCode::Float32)),
        ("Odd", of(TypeCode::Int64, None)),
    ];
    let column = |(ordinal_position, (name, column_type)): (i64, (&str, Type))| Column {
        name: name.into(),
        column_type,
        is_primary_key: name == "Id",
        ordinal_position,
    };
    Columns::new("orders", (1..).zip(columns).map(column).collect())
}

/// Names out of the columns' order, a stranger, a misfit, escapes: what is not on the shortest way too.
const NEW: &str = concat!(
    r#"{"Vector":[1.5,null,"NaN"],"Text":"a \"quoted\" é word","Number":2.5,"Bytes":"Zm9vYmFy","#,
    r#""At":"2026-11-23T17:50:32.669475Z","Texts":["x",null,"yz"],"Flags":[true,null,false],"#,
    r#""Times":["2026-11-23T17:50:32Z",null],"Odd":"no number","Stranger":{"a":[1,2]}}"#
);

#[test]
fn a_change_allocates_nothing_once_buffers_have_grown() {
    let columns = columns();
    let mods = [Mod { keys: r#"{"Id":"7"}"#, new_values: NEW, old_values: "{}" }; 20];
    let record = DataChangeRecord {
        commit_timestamp: Timestamp { seconds: 0, nanos: 0 },
        record_sequence: "00000000".into(),
        server_transaction_id: "transaction".into(),
        is_last_record_in_transaction_in_partition: true,
        table_name: "orders".into(),
        column_types: ColumnTypes::GoogleSql(&[]),
        mods: &mods,
        mod_type: ModType::Insert,
        value_capture_type: ValueCaptureType::NewRow,
        number_of_records_in_transaction: 1,
        number_of_partitions_in_transaction: 1,
        transaction_tag: "".into(),
        is_system_transaction: false,
    };
    choosing_allocates_nothing(&record, &columns);
    for values in [Values::Typed, Values::Json] {
        let mut body = Body::with_buffer(Vec::with_capacity(4 << 20));
        body.append(&record, &columns, values).unwrap(); // its scratch grows
        let buffer = body.replace_buffer(Vec::new());
        let place = buffer.as_ptr();

        let before = ALLOCATIONS.get();
        body.replace_buffer(buffer);
        for _ in 0..50 {
            body.append(&record, &columns, values).unwrap();
        }
        assert_eq!(body.count(), 1_000);
        let buffer = body.replace_buffer(Vec::new());
        assert_eq!(ALLOCATIONS.get() - before, 0, "{values:?}: allocations for 1,000 changes");
        assert_eq!(buffer.as_ptr(), place, "{values:?}: the buffer that was given is the one that is sent");
        assert!(buffer.len() > 1_000 * 100);
    }
}

/// Conditions, buckets and every form that values go out in; names that the record does not describe
/// and NUMERIC values may cost.
fn choosing_allocates_nothing(record: &DataChangeRecord<'_>, columns: &Columns) {
    let names = |names: &[&str]| names.iter().map(ToString::to_string).collect::<Vec<_>>();
    let rule = TableChoice {
        exclude_columns: names(&["Number", "Vector"]),
        conditions: vec![Condition::parse("id >= 7").unwrap(), Condition::parse("number < 3").unwrap()],
        mask: names(&["Flags"]),
        truncate: vec![("Bytes".into(), 2), ("Text".into(), 9)],
        hash: names(&["At", "Texts"]),
        ..TableChoice::default()
    };
    let rules = vec![("orders".to_owned(), rule)];
    let choice = Choice::new(&[], &[], Vec::new(), rules, Some(b"0123456789abcdef"), Some(16)).unwrap();
    let plan = choice.plan("orders", columns.columns()).unwrap();
    let new = NEW.replace(r#","Stranger":{"a":[1,2]}"#, "");
    let mods = [Mod { new_values: &new, ..record.mods[0] }; 20];
    let record = DataChangeRecord { mods: &mods, ..record.clone() };
    let mut chooser = Chooser::default();
    chooser.choose(&choice, &plan, &record).unwrap(); // its buffers grow
    let before = ALLOCATIONS.get();
    for _ in 0..50 {
        let left_out = chooser.choose(&choice, &plan, &record).unwrap();
        assert_eq!((left_out.filtered, left_out.undecided), (0, 0));
    }
    assert_eq!(ALLOCATIONS.get() - before, 0, "allocations for choosing among 1,000 changes");
    let [bucket] = chooser.buckets() else { panic!("one row, one bucket") };
    assert_eq!(chooser.mods(&record, *bucket).count(), 20);
}

#[test]
fn the_counter_counts() {
    let before = ALLOCATIONS.get();
    std::hint::black_box(vec![1_u8; 100]);
    assert_eq!(ALLOCATIONS.get() - before, 1);
}
