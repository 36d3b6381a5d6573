//! What a choosing output sends is what a plain filter makes of the changes that another one sends.

use std::collections::BTreeMap;
use std::fmt::Write;

use proptest::prelude::*;
use serde_json::{Map, Value as Json, json};
use sha2::{Digest, Sha256};
use spanwire_core::change::{
    Column, ColumnTypes, DataChangeRecord, Mod, ModType, Timestamp, Type, TypeAnnotation, TypeCode,
    ValueCaptureType,
};
use spanwire_core::choose::{Choice, Chooser, Condition, LeftOut, MASK, TableChoice};
use spanwire_core::envelope::read::{self, canonical};
use spanwire_core::envelope::{Body, Columns, Values};

const KEY: &[u8] = b"0123456789abcdef";
/// Name, type, whether it is part of the key.
const COLUMNS: [(&str, TypeCode, bool); 6] = [
    ("Region", TypeCode::String, true),
    ("Id", TypeCode::Int64, true),
    ("Count", TypeCode::Int64, false),
    ("Note", TypeCode::String, false),
    ("Price", TypeCode::Numeric, false),
    ("Raw", TypeCode::Bytes, false),
];

fn columns() -> Vec<Column> {
    let column = |(place, (name, code, is_primary_key)): (i64, (&str, TypeCode, bool))| Column {
        name: name.into(),
        column_type: Type {
            code,
            annotation: TypeAnnotation::None,
            array_element: None,
            proto_type_fqn: String::new(),
            unknown: String::new(),
        },
        is_primary_key,
        ordinal_position: place,
    };
    (1..).zip(COLUMNS).map(column).collect()
}

// ---------------------------------------------------------------- what is generated

fn value(code: TypeCode) -> BoxedStrategy<Json> {
    match code {
        TypeCode::Int64 => (-3_i64..4).prop_map(|value| json!(value.to_string())).boxed(),
        TypeCode::Numeric => {
            prop::sample::select(vec!["1.5", "1.50", "-2", "0", "100"]).prop_map(|text| json!(text)).boxed()
        }
        TypeCode::Bytes => {
            prop::sample::select(vec!["", "AQ==", "AQI=", "AQIDBAU="]).prop_map(|text| json!(text)).boxed()
        }
        _ => {
            prop::sample::select(vec!["", "a", "eu", "us", "ä\"\\\n😀x"]).prop_map(|text| json!(text)).boxed()
        }
    }
}

/// Objects of a mod: the key in full, of the rest what happens to be there, and a stranger.
fn object(keys: bool) -> impl Strategy<Value = Json> {
    let members: Vec<_> = COLUMNS
        .iter()
        .filter(|(_, _, is_key)| *is_key == keys)
        .map(|&(name, code, _)| {
            let one = prop_oneof![6 => value(code), 1 => Just(Json::Null)].prop_map(Some);
            let one = if keys { one.boxed() } else { prop_oneof![2 => one, 1 => Just(None)].boxed() };
            one.prop_map(move |value| value.map(|value| (name.to_owned(), value)))
        })
        .collect();
    let stranger = prop::option::weighted(0.2, Just(("Stranger".to_owned(), json!("sentinel"))));
    (members, stranger).prop_map(move |(members, stranger)| {
        let stranger = stranger.filter(|_| !keys);
        Json::Object(members.into_iter().flatten().chain(stranger).collect::<Map<_, _>>())
    })
}

/// What settings say of the table, as data that the reference understands too.
#[derive(Debug, Clone)]
struct Said {
    columns: Vec<&'static str>,
    exclude: Vec<&'static str>,
    mask: Vec<&'static str>,
    truncate: Vec<(&'static str, usize)>,
    hash: Vec<&'static str>,
    conditions: Vec<&'static str>,
    leave_out: bool,
    mod_types: Vec<ModType>,
    buckets: Option<u32>,
}

const CONDITIONS: [&str; 8] = [
    "count >= 1",
    "Region in ('eu', 'us')",
    "price = 1.5",
    "note is null",
    "raw is not null",
    "id not in (1, 2)",
    "note < 'b'",
    "count = 'a text'",
];

prop_compose! {
    fn said()(
        fates in proptest::collection::vec(0..9_u8, 7),
        include in proptest::option::weighted(0.4, proptest::collection::vec(any::<bool>(), 7)),
        conditions in prop::sample::subsequence(CONDITIONS.to_vec(), 0..3),
        leave_out in any::<bool>(),
        mod_types in prop::sample::subsequence(vec![ModType::Insert, ModType::Update, ModType::Delete], 0..3),
        buckets in proptest::option::of(1..6_u32),
        most in 0..3_usize,
    ) -> Said {
        let names: Vec<&str> = COLUMNS.iter().map(|(name, ..)| *name).chain(["Stranger"]).collect();
        let of = |fate: u8| names.iter().zip(&fates).filter(move |(_, one)| **one == fate).map(|(name, _)| *name);
        Said {
            columns: include.map_or(Vec::new(), |include| names.iter().zip(include).filter(|(_, is)| *is).map(|(name, _)| *name).collect()),
            exclude: of(0).collect(), mask: of(1).collect(), hash: of(2).collect(),
            truncate: of(3).map(|name| (name, most)).collect(),
            conditions, leave_out, mod_types, buckets,
        }
    }
}

// ---------------------------------------------------------------- the reference

/// What goes out for a canonical change, and its bucket; none where it does not. Written from the
/// documentation, over plain JSON.
fn reference(change: &Json, said: &Said) -> Option<(Json, u32)> {
    let mod_type = ModType::from_name(change["mod_type"].as_str()?)?;
    if !said.mod_types.is_empty() && !said.mod_types.contains(&mod_type) {
        return None;
    }
    let image = if mod_type == ModType::Delete { "old" } else { "new" };
    for condition in &said.conditions {
        let column = COLUMNS
            .iter()
            .map(|(name, ..)| *name)
            .find(|name| condition.to_lowercase().starts_with(&name.to_lowercase()))?;
        let value = change[image].get(column).or_else(|| change["keys"].get(column));
        match value.and_then(|value| met(condition, value)) {
            Some(true) => {}
            None if !said.leave_out => {}
            _ => return None,
        }
    }
    let mut out = change.clone();
    for place in ["keys", "new", "old"] {
        let object = change[place].as_object()?;
        let object: Map<String, Json> = object
            .iter()
            .filter_map(|(name, value)| Some((name.clone(), sent(name, value, said)?)))
            .collect();
        out[place] = Json::Object(object);
    }
    Some((out, bucket(&change["keys"], said.buckets)))
}

fn met(condition: &str, value: &Json) -> Option<bool> {
    let text = value.as_str();
    let number = || text.and_then(|text| text.parse::<f64>().ok()); // small ones, here
    if value.is_null() {
        return Some(condition == "note is null");
    }
    match condition {
        "count >= 1" => Some(number()? >= 1.0),
        "Region in ('eu', 'us')" => Some(matches!(text?, "eu" | "us")),
        "price = 1.5" => Some(number()?.total_cmp(&1.5).is_eq()),
        "note is null" => Some(false),
        "raw is not null" => Some(true),
        "id not in (1, 2)" => Some(number()?.total_cmp(&1.0).is_ne() && number()?.total_cmp(&2.0).is_ne()),
        "note < 'b'" => Some(text? < "b"),
        _ => None,
    }
}

fn sent(name: &str, value: &Json, said: &Said) -> Option<Json> {
    let described = COLUMNS.iter().find(|(known, ..)| *known == name);
    let is_key = described.is_some_and(|(_, _, is_key)| *is_key);
    // A stranger's canonical value is an object that holds its JSON text.
    let described_text = value.as_str().or_else(|| value["json"].as_str()).unwrap_or_default();
    let as_text = |text: &str| {
        if described.is_some() { json!(text) } else { json!({ "json": json!(text).to_string() }) }
    };
    if said.exclude.contains(&name) || !(said.columns.is_empty() || is_key || said.columns.contains(&name)) {
        return None;
    }
    if said.mask.contains(&name) {
        return Some(as_text(MASK));
    }
    if said.hash.contains(&name) {
        return Some(if value.is_null() { Json::Null } else { as_text(&hmac(&plain(name, described_text))) });
    }
    let Some((_, most)) = said.truncate.iter().find(|(cut, _)| *cut == name) else {
        return Some(value.clone());
    };
    Some(match (name, described_text) {
        ("Region" | "Note" | "Raw", _) if value.is_null() => Json::Null,
        ("Region" | "Note", text) => json!(text.chars().take(*most).collect::<String>()),
        ("Raw", "") => json!(""),
        ("Raw", text) => json!(["", "AQ==", if text == "AQ==" { "AQ==" } else { "AQI=" }][*most]),
        _ => as_text(MASK),
    })
}

fn plain(name: &str, text: &str) -> Vec<u8> {
    match (name, text) {
        ("Price", "1.50") => b"1.5".to_vec(),
        ("Raw", text) => {
            vec![1, 2, 3, 4, 5][..[0, 1, 2, 2, 5][text.trim_end_matches('=').len().div_ceil(2)]].to_vec()
        }
        _ => text.as_bytes().to_vec(),
    }
}

/// RFC 2104, written out.
fn hmac(message: &[u8]) -> String {
    let pad = |byte: u8| {
        let mut block = [byte; 64];
        for (place, key) in KEY.iter().enumerate() {
            block[place] ^= key;
        }
        block
    };
    let inner = Sha256::new().chain_update(pad(0x36)).chain_update(message).finalize();
    let outer = Sha256::new().chain_update(pad(0x5c)).chain_update(inner).finalize();
    outer.iter().fold(String::new(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

fn bucket(keys: &Json, buckets: Option<u32>) -> u32 {
    let mut hashed = Sha256::new();
    for name in ["Id", "Region"] {
        match keys[name].as_str() {
            None => hashed.update([0]),
            Some(text) => {
                hashed.update([1]);
                hashed.update(u32::try_from(text.len()).unwrap().to_be_bytes());
                hashed.update(text);
            }
        }
    }
    let first: [u8; 8] = hashed.finalize()[..8].try_into().unwrap();
    buckets.map_or(0, |buckets| u32::try_from(u64::from_be_bytes(first) % u64::from(buckets)).unwrap())
}

// ---------------------------------------------------------------- what is compared

fn canonicals(body: &[u8], columns: &Columns) -> Vec<Json> {
    let mut found = Vec::new();
    for record in read::records(body) {
        let record = record.unwrap();
        for each in record.mods().unwrap() {
            let line = canonical(&record, &each, columns).unwrap();
            found.push(serde_json::from_str(&line).unwrap());
        }
    }
    found
}

/// A body as its consumers see it: typed.
fn read_back(body: &[u8], columns: &Columns, values: Values) -> Vec<Json> {
    match values {
        Values::Typed => canonicals(body, columns),
        Values::Json => canonicals(&read::typed(body, columns).unwrap(), columns),
    }
}

fn choice(said: &Said) -> Choice {
    let owned = |names: &[&str]| names.iter().map(|name| name.to_uppercase()).collect::<Vec<_>>();
    let rule = TableChoice {
        columns: owned(&said.columns),
        exclude_columns: owned(&said.exclude),
        conditions: said.conditions.iter().map(|text| Condition::parse(text).unwrap()).collect(),
        leave_out_undecided: said.leave_out,
        mask: owned(&said.mask),
        truncate: said.truncate.iter().map(|(name, most)| (name.to_uppercase(), *most)).collect(),
        hash: owned(&said.hash),
    };
    let rules = vec![("sales.*".to_owned(), rule)];
    Choice::new(&[], &[], said.mod_types.clone(), rules, Some(KEY), said.buckets).unwrap()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn what_is_chosen_is_what_a_plain_filter_leaves(
        said in said(),
        objects in proptest::collection::vec((object(true), object(false), object(false)), 1..6),
        mod_type in prop::sample::select(vec![ModType::Insert, ModType::Update, ModType::Delete]),
        json in any::<bool>(),
    ) {
        let texts: Vec<_> = objects.iter().map(|(keys, new, old)| [keys.to_string(), new.to_string(), old.to_string()]).collect();
        let mods: Vec<_> = texts.iter().map(|[keys, new_values, old_values]| Mod { keys, new_values, old_values }).collect();
        let record = DataChangeRecord {
            commit_timestamp: Timestamp { seconds: 1_795_456_232, nanos: 5 },
            record_sequence: "00000001".into(),
            server_transaction_id: "tx".into(),
            is_last_record_in_transaction_in_partition: true,
            table_name: "sales.orders".into(),
            column_types: ColumnTypes::GoogleSql(&[]),
            mods: &mods,
            mod_type,
            value_capture_type: ValueCaptureType::OldAndNewValues,
            number_of_records_in_transaction: 1,
            number_of_partitions_in_transaction: 1,
            transaction_tag: "".into(),
            is_system_transaction: false,
        };
        let values = if json { Values::Json } else { Values::Typed };
        let all = Columns::new("sales.orders", columns());
        let mut body = Body::default();
        body.append(&record, &all, values).unwrap();
        let unchosen = read_back(&body.into_buffer(), &all, values);

        let mut expected: BTreeMap<u32, Vec<Json>> = BTreeMap::new();
        for (change, bucket) in unchosen.iter().filter_map(|change| reference(change, &said)) {
            expected.entry(bucket).or_default().push(change);
        }
        let choice = choice(&said);
        let plan = choice.plan("sales.orders", all.columns()).unwrap();
        let chosen = Columns::new("sales.orders", plan.columns().to_vec());
        let mut chooser = Chooser::default();
        let mut found: BTreeMap<u32, Vec<Json>> = BTreeMap::new();
        for _ in 0..2 { // its buffers hold nothing over
            let LeftOut { filtered, .. } = chooser.choose(&choice, &plan, &record).unwrap();
            found = chooser.buckets().iter().map(|&bucket| {
                let mods = chooser.mods(&record, bucket);
                let mut body = Body::default();
                body.append_mods(&record, mods.clone(), mods.count(), &chosen, values).unwrap();
                (bucket, read_back(&body.into_buffer(), &chosen, values))
            }).collect();
            let sent: usize = found.values().map(Vec::len).sum();
            prop_assert_eq!(filtered, (mods.len() - sent) as u64);
        }
        prop_assert_eq!(found, expected);
    }
}
