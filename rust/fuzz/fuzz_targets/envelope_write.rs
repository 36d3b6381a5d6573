//! Any three texts as a mod's objects: refused as not JSON, or written so that it reads back.

#![no_main]

use libfuzzer_sys::fuzz_target;
use spanwire_core::Error;
use spanwire_core::change::{
    Column, ColumnTypes, DataChangeRecord, Mod, ModType, Timestamp, Type, TypeAnnotation, TypeCode,
    ValueCaptureType,
};
use spanwire_core::envelope::{Body, Columns, Values, read};

/// A column of each type, `a` to `n`, arrays of them `A` to `N`; `a` and `A` are the key.
fn columns() -> Columns {
    use TypeCode::{
        Bool, Bytes, Date, Enum, Float64, Int64, Json, Numeric, Proto, String, Struct, Unspecified, Uuid,
    };
    let codes = [
        Int64,
        String,
        Bool,
        Float64,
        TypeCode::Timestamp,
        Bytes,
        Numeric,
        Json,
        Date,
        Uuid,
        Enum,
        Proto,
        Struct,
        Unspecified,
    ];
    let of = |code, array_element| Type {
        code,
        annotation: TypeAnnotation::None,
        array_element,
        proto_type_fqn: std::string::String::new(),
        unknown: std::string::String::new(),
    };
    let one = ('a'..).zip(codes).map(|(name, code)| (name, of(code, None)));
    let many =
        ('A'..).zip(codes).map(|(name, code)| (name, of(TypeCode::Array, Some(Box::new(of(code, None))))));
    let column = |(ordinal_position, (name, column_type)): (i64, (char, Type))| Column {
        name: name.into(),
        column_type,
        is_primary_key: matches!(name, 'a' | 'A'),
        ordinal_position,
    };
    Columns::new("t", (1..).zip(one.chain(many)).map(column).collect())
}

fuzz_target!(|texts: (&str, &str, &str)| {
    let columns = columns();
    let mods = [Mod { keys: texts.0, new_values: texts.1, old_values: texts.2 }; 2];
    let record = DataChangeRecord {
        commit_timestamp: Timestamp { seconds: 0, nanos: 0 },
        record_sequence: "00000000".into(),
        server_transaction_id: "t".into(),
        is_last_record_in_transaction_in_partition: true,
        table_name: "t".into(),
        column_types: ColumnTypes::GoogleSql(&[]),
        mods: &mods,
        mod_type: ModType::Update,
        value_capture_type: ValueCaptureType::OldAndNewValues,
        number_of_records_in_transaction: 1,
        number_of_partitions_in_transaction: 1,
        transaction_tag: "".into(),
        is_system_transaction: false,
    };
    let (mut typed, mut json) = (Body::default(), Body::default());
    json.append(&record, &columns, Values::Json).expect("JSON is not looked at");
    let written = typed.append(&record, &columns, Values::Typed);
    let json = json.into_buffer();
    match written {
        Ok(()) => {
            let typed = typed.into_buffer();
            assert_eq!(read::typed(&json, &columns).expect("the same JSON"), typed);
            for record in read::records(&typed) {
                let mods = record.expect("it was written so").mods().expect("they were written so");
                for each in mods {
                    for cells in [each.keys(&columns), each.new_values(&columns), each.old_values(&columns)] {
                        cells.expect("they were written so").for_each(|cell| {
                            cell.expect("it was written so");
                        });
                    }
                }
            }
        }
        Err(Error::Undecodable { .. }) => assert!(typed.is_empty()),
        Err(error) => panic!("{error}"),
    }
});
