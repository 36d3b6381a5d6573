//! What the arena writes, read back by others: the generated readers of the `capnp` crate and the
//! core's own, against a plain decoding of the same JSON by `serde_json`.

#![allow(clippy::format_collect, clippy::format_push_string)] // as plain as can be is the point

mod plain;

use plain::decode::{expected, is_unknown};
use plain::{Plain, PlainMod, PlainValues, by_generated_readers, by_own_readers};
use proptest::prelude::*;
use spanwire_core::change::{
    Column, ColumnTypes, DataChangeRecord, Mod, ModType, Timestamp, Type, TypeAnnotation, TypeCode,
    ValueCaptureType,
};
use spanwire_core::envelope::{Body, Columns, Values, read};

// ---------------------------------------------------------------- random records

fn scalar_type() -> impl Strategy<Value = Type> {
    use TypeCode::*;
    let code = prop::sample::select(vec![
        Bool,
        Int64,
        Float64,
        Timestamp,
        Date,
        String,
        Bytes,
        Numeric,
        Json,
        Proto,
        Enum,
        Float32,
        Interval,
        Uuid,
        Struct,
        Unspecified,
    ]);
    let annotation = prop_oneof![9 => Just(TypeAnnotation::None), 1 => Just(TypeAnnotation::PgOid)];
    (code, annotation).prop_map(|(code, annotation)| Type {
        code,
        annotation: match code {
            Numeric if annotation == TypeAnnotation::PgOid => TypeAnnotation::PgNumeric,
            Int64 => annotation,
            _ => TypeAnnotation::None,
        },
        array_element: None,
        proto_type_fqn: if matches!(code, Proto | Enum) {
            "shop.Order".into()
        } else {
            std::string::String::new()
        },
        unknown: if code == Unspecified { r#"{"code":"VECTOR"}"#.into() } else { std::string::String::new() },
    })
}

fn column_type() -> impl Strategy<Value = Type> {
    prop_oneof![
        2 => scalar_type(),
        1 => scalar_type().prop_map(|element| Type {
            code: TypeCode::Array,
            annotation: TypeAnnotation::None,
            array_element: Some(Box::new(element)),
            proto_type_fqn: String::new(),
            unknown: String::new(),
        }),
    ]
}

/// A string as JSON, plainly, or with every character escaped by its number.
fn quoted(text: &str, by_number: bool) -> String {
    if by_number {
        let units: String = text.encode_utf16().map(|unit| format!("\\u{unit:04X}")).collect();
        format!("\"{units}\"")
    } else {
        serde_json::to_string(text).unwrap()
    }
}

fn string() -> impl Strategy<Value = String> {
    (
        prop_oneof![".{0,30}", "[ -~]{0,60}", Just("\"\\/\u{8}\u{c}\n\r\t\u{1f}\u{0}é€😀".to_owned())],
        prop::bool::weighted(0.2),
    )
        .prop_map(|(text, by_number)| quoted(&text, by_number))
}

fn base64() -> impl Strategy<Value = String> {
    prop::collection::vec(any::<u8>(), 0..40).prop_map(|bytes| {
        let alphabet: Vec<char> =
            "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/".chars().collect();
        let bits: String = bytes.iter().map(|byte| format!("{byte:08b}")).collect();
        let mut text: String = bits
            .as_bytes()
            .chunks(6)
            .map(|six| {
                let six = format!("{:0<6}", std::str::from_utf8(six).unwrap());
                alphabet[usize::from_str_radix(&six, 2).unwrap()]
            })
            .collect();
        while !text.len().is_multiple_of(4) {
            text.push('=');
        }
        format!("\"{text}\"").replace('/', if bytes.len() % 5 == 0 { "\\/" } else { "/" })
    })
}

/// Any JSON, nested a little.
fn any_json() -> impl Strategy<Value = String> {
    let leaf = prop_oneof![
        Just("null".to_owned()),
        any::<bool>().prop_map(|value| value.to_string()),
        any::<i64>().prop_map(|value| value.to_string()),
        any::<f64>().prop_filter("JSON", |value| value.is_finite()).prop_map(|value| format!("{value:e}")),
        string(),
    ];
    leaf.prop_recursive(3, 12, 4, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(|each| format!("[ {} ]", each.join(" ,"))),
            prop::collection::vec((string(), inner), 0..4).prop_map(|members| {
                let members: Vec<_> =
                    members.iter().map(|(name, value)| format!("{name} :{value}")).collect();
                format!("{{{}}}", members.join(","))
            }),
        ]
    })
}

/// A value that fits this type.
fn fitting(of: &Type) -> BoxedStrategy<String> {
    let quote = |text: &dyn ToString| format!("\"{}\"", text.to_string());
    match of.code {
        TypeCode::Array => {
            let element = of.array_element.as_deref().map_or_else(|| any_json().boxed(), fitting);
            let element = prop_oneof![
                4 => element, 1 => Just("null".to_owned()),
                1 => Just("\"NULL\"".to_owned())
            ];
            prop::collection::vec(element, 0..20).prop_map(|each| format!("[{}]", each.join(","))).boxed()
        }
        TypeCode::Bool => any::<bool>().prop_map(|value| value.to_string()).boxed(),
        TypeCode::Int64 | TypeCode::Enum => prop_oneof![
            any::<i64>().prop_map(move |value| quote(&value)),
            any::<i64>().prop_map(|value| value.to_string()),
            prop::sample::select(vec!["\"9223372036854775807\"", "\"-9223372036854775808\"", "\"-0\"", "0"])
                .prop_map(str::to_owned),
        ]
        .boxed(),
        TypeCode::Float64 | TypeCode::Float32 => prop_oneof![
            any::<f64>().prop_map(|value| match value {
                value if value.is_nan() => "\"NaN\"".to_owned(),
                value if value.is_infinite() =>
                    if value > 0.0 { "\"Infinity\"" } else { "\"-Infinity\"" }.to_owned(),
                value => format!("{value:?}"),
            }),
            any::<f32>()
                .prop_filter("JSON", |value| value.is_finite())
                .prop_map(|value| format!("{:?}", f64::from(value))),
            any::<i32>().prop_map(|value| value.to_string()),
        ]
        .boxed(),
        TypeCode::Timestamp => {
            (Timestamp::MIN.seconds..=Timestamp::MAX.seconds, 0..1_000_000_000_u32, 0..10_usize)
                .prop_map(move |(seconds, nanos, digits)| {
                    let whole = Timestamp { seconds, nanos }.to_string();
                    let cut = if digits == 0 { 19 } else { 20 + digits };
                    quote(&format!("{}Z", &whole[..cut]))
                })
                .boxed()
        }
        TypeCode::Bytes | TypeCode::Proto => base64().boxed(),
        TypeCode::Json => prop_oneof![any_json().prop_map(|json| quoted(&json, false)), any_json()].boxed(),
        TypeCode::Date => (1..=9999_i64, 1..=12_u8, 1..=29_u8)
            .prop_map(move |(year, month, day)| quote(&format!("{year:04}-{month:02}-{day:02}")))
            .boxed(),
        TypeCode::Uuid => "[0-9a-fA-F]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}".prop_map(move |text| quote(&text)).boxed(),
        TypeCode::Interval => "P(-?[0-9]{1,3}Y)?(-?[0-9]{1,3}M)?(-?[0-9]{1,3}D)?(T-?[0-9]{1,3}H(-?[0-9]{1,3}M)?(-?[0-9]{1,2}(\\.[0-9]{1,9})?S)?)?"
            .prop_map(move |text| quote(&text))
            .boxed(),
        TypeCode::Numeric => prop_oneof!["-?[1-9][0-9]{0,28}(\\.[0-9]{1,9})?", Just("NaN".to_owned())]
            .prop_map(move |text| quote(&text))
            .boxed(),
        _ => string().boxed(),
    }
}

fn value(of: &Type) -> BoxedStrategy<String> {
    prop_oneof![6 => fitting(of), 1 => Just("null".to_owned()), 1 => any_json()].boxed()
}

fn columns() -> impl Strategy<Value = Vec<Column>> {
    prop::collection::vec((column_type(), any::<bool>(), "[A-Za-z_\"\\\\ é]{0,3}"), 0..8).prop_map(
        |columns| {
            (1..)
                .zip(columns)
                .map(|(ordinal_position, (column_type, is_primary_key, prefix))| Column {
                    name: format!("{prefix}{ordinal_position}"),
                    column_type,
                    is_primary_key,
                    ordinal_position,
                })
                .collect()
        },
    )
}

type Members = Vec<(String, String)>;

/// The members of one object: the columns' in any order, some missing, some strangers.
fn members(columns: &[Column], is_key: bool) -> BoxedStrategy<Members> {
    let own: Vec<_> = columns
        .iter()
        .map(|column| {
            let chance = if column.is_primary_key == is_key { 0.8 } else { 0.05 };
            (Just(column.name.clone()), prop::option::weighted(chance, value(&column.column_type)))
        })
        .collect();
    let strangers = prop::collection::vec(("[a-z]{1,3}", any_json()), 0..2);
    let again = prop::option::weighted(0.1, any::<prop::sample::Index>());
    (own, prop_oneof![8 => Just(Vec::new()).boxed(), 1 => strangers.boxed()], again, any::<bool>())
        .prop_map(|(own, strangers, again, is_sorted)| {
            let mut members: Members =
                own.into_iter().filter_map(|(name, value)| Some((name, value?))).collect();
            members.extend(strangers);
            if let (Some(again), false) = (again, members.is_empty()) {
                members.push(members[again.index(members.len())].clone());
            }
            if is_sorted {
                members.sort();
            }
            members
        })
        .boxed()
}

fn object(members: &Members, has_space: bool) -> String {
    let space = if has_space { " \n" } else { "" };
    let members: Vec<_> = members
        .iter()
        .map(|(name, value)| {
            format!("{space}{}{space}:{space}{value}{space}", serde_json::to_string(name).unwrap())
        })
        .collect();
    format!("{space}{{{}{space}}}{space}", members.join(","))
}

type Objects = [Members; 3];

fn table() -> impl Strategy<Value = (Vec<Column>, Vec<Vec<(Objects, bool)>>)> {
    columns().prop_flat_map(|columns| {
        let objects = (members(&columns, true), members(&columns, false), members(&columns, false))
            .prop_map(|(keys, new, old)| [keys, new, old]);
        let mods = prop::collection::vec((objects, prop::bool::weighted(0.1)), 0..5);
        (Just(columns), prop::collection::vec(mods, 1..4))
    })
}

prop_compose! {
    fn head()(
        commit in (Timestamp::MIN.seconds..=Timestamp::MAX.seconds, 0..1_000_000_000_u32),
        texts in (".{0,20}", "[0-9]{8}", ".{0,9}"),
        flags in any::<(bool, bool)>(),
        numbers in any::<(i64, i64)>(),
        mod_type in prop::sample::select(vec![ModType::Insert, ModType::Update, ModType::Delete]),
        capture in prop::sample::select(vec![
            ValueCaptureType::OldAndNewValues, ValueCaptureType::NewRow, ValueCaptureType::NewValues,
            ValueCaptureType::NewRowAndOldValues,
        ]),
    ) -> DataChangeRecord<'static> {
        DataChangeRecord {
            commit_timestamp: Timestamp { seconds: commit.0, nanos: commit.1 },
            server_transaction_id: texts.0.into(),
            record_sequence: texts.1.into(),
            transaction_tag: texts.2.into(),
            is_last_record_in_transaction_in_partition: flags.0,
            is_system_transaction: flags.1,
            number_of_records_in_transaction: numbers.0,
            number_of_partitions_in_transaction: numbers.1,
            mod_type,
            value_capture_type: capture,
            table_name: "sales.orders".into(),
            column_types: ColumnTypes::GoogleSql(&[]),
            mods: &[],
        }
    }
}

fn head_text(record: &DataChangeRecord<'_>) -> String {
    let Timestamp { seconds, nanos } = record.commit_timestamp;
    format!(
        "{seconds}.{nanos:09} {:?} {:?} {} {} {} {} {:?} {:?} {:?}",
        record.mod_type,
        record.value_capture_type,
        record.is_last_record_in_transaction_in_partition,
        record.is_system_transaction,
        record.number_of_records_in_transaction,
        record.number_of_partitions_in_transaction,
        record.server_transaction_id,
        record.record_sequence,
        record.transaction_tag,
    )
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(192))]

    #[test]
    fn every_reader_finds_what_the_json_says((columns, tables) in table(), heads in prop::collection::vec(head(), 3), shift in 0_usize..8) {
        let shape = Columns::new("sales.orders", columns.clone());
        let (mut typed, mut json) = (Body::default(), Body::default());
        let (mut as_typed, mut as_json) = (Vec::new(), Vec::new());
        for (mods, head) in tables.iter().zip(heads) {
            let texts: Vec<_> = mods.iter().map(|(objects, has_space)| objects.each_ref().map(|each| object(each, *has_space))).collect();
            let mods_of: Vec<_> = texts.iter().map(|[keys, new, old]| Mod { keys, new_values: new, old_values: old }).collect();
            let record = DataChangeRecord { mods: &mods_of, ..head };
            typed.append(&record, &shape, Values::Typed).unwrap();
            json.append(&record, &shape, Values::Json).unwrap();
            let numbered = || (0..).zip(mods);
            as_typed.push((head_text(&record), numbered().map(|(number, (objects, _))| expected(&columns, objects, number)).collect::<Vec<_>>()));
            as_json.push((
                head_text(&record),
                (0..).zip(&texts).map(|(number, texts)| PlainMod { number, values: PlainValues::Json(texts.clone()) }).collect::<Vec<_>>(),
            ));
        }
        prop_assert_eq!(typed.count() as usize, tables.iter().map(Vec::len).sum::<usize>());
        prop_assert_eq!(json.misfits(), 0);
        let misfits = typed.misfits();
        let (typed, json) = (typed.into_buffer(), json.into_buffer());

        let generated = by_generated_readers(&typed).unwrap();
        prop_assert_eq!(&generated, &as_typed);
        prop_assert_eq!(misfits, count_misfits(&generated, &columns));
        prop_assert_eq!(by_generated_readers(&json).unwrap(), as_json.clone());

        // Wherever in memory the frames lie.
        let shifted: Vec<u8> = std::iter::repeat_n(0, shift).chain(typed.iter().copied()).collect();
        let shape_read = Columns::decode(&shape.frame()).unwrap();
        prop_assert_eq!(shape_read.columns(), columns.as_slice());
        prop_assert_eq!(shape_read.table(), "sales.orders");
        prop_assert_eq!(shape_read.hash(), shape.hash());
        prop_assert_eq!(by_own_readers(&shifted[shift..], &shape_read).unwrap(), as_typed);
        prop_assert_eq!(by_own_readers(&json, &shape_read).unwrap(), as_json);
        prop_assert_eq!(read::typed(&json, &shape_read).unwrap(), typed, "JSON is typed by the same code");
    }

    #[test]
    fn a_body_with_broken_bytes_is_refused_or_means_the_same_to_both_readers(
        (columns, tables) in table(), head in head(),
        breaks in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..4),
        cut in prop::option::weighted(0.2, any::<prop::sample::Index>()),
    ) {
        let shape = Columns::new("t", columns);
        let mut body = Body::default();
        for mods in &tables {
            let texts: Vec<_> = mods.iter().map(|(objects, _)| objects.each_ref().map(|each| object(each, false))).collect();
            let mods: Vec<_> = texts.iter().map(|[keys, new, old]| Mod { keys, new_values: new, old_values: old }).collect();
            body.append(&DataChangeRecord { mods: &mods, ..head.clone() }, &shape, Values::Typed).unwrap();
        }
        let mut body = body.into_buffer();
        for (at, byte) in breaks {
            let at = at.index(body.len());
            body[at] = byte;
        }
        if let Some(cut) = cut {
            body.truncate(cut.index(body.len()));
        }
        if let Ok(own) = by_own_readers(&body, &shape) {
            let generated = by_generated_readers(&body);
            prop_assert_eq!(generated.as_ref().map_err(ToString::to_string), Ok(&own));
        }
    }
}

/// Values that are JSON text, and arrays of it, and those without a place.
fn count_misfits(records: &[plain::PlainRecord], columns: &[Column]) -> u64 {
    let of_role = |is_key: bool| columns.iter().filter(move |column| column.is_primary_key == is_key);
    let count = |list: &[Plain], is_key: bool| {
        list.iter()
            .zip(of_role(is_key))
            .filter(|(value, column)| match value {
                Plain::Json(_) => true,
                Plain::Array(_) => column.column_type.array_element.as_deref().is_some_and(is_unknown),
                _ => false,
            })
            .count()
    };
    let mods = records.iter().flat_map(|(_, mods)| mods);
    mods.map(|each| match &each.values {
        PlainValues::Typed([keys, new, old], others) => {
            count(keys, true) + count(new, false) + count(old, false) + others.len()
        }
        PlainValues::Json(_) => 0,
    })
    .sum::<usize>() as u64
}
