//! `ChangeStreamRecord`s as `prost` reads them.

use prost::Message;
use serde_json::{Map, Value as Json, json};
use spanwire_core::change::Timestamp;

use crate::proto::{self, ChangeStreamRecord, Kind, Record, Value};

/// What protobuf makes of a message: none where it is no message; then whether that is a record.
pub fn read(message: &[u8]) -> Option<Option<Vec<Json>>> {
    ChangeStreamRecord::decode(message).ok().map(|message| Some(vec![record(&message.record?)?]))
}

/// A record as [`crate::seen`] shows it, the JSON texts of its mods parsed: names that stand twice in an
/// object and the form of numbers are nobody's business.
pub fn parsed(record: &Json) -> Json {
    let mut record = record.clone();
    if let Some(mods) = record.get_mut("mods").and_then(Json::as_array_mut) {
        for text in mods.iter_mut().filter_map(Json::as_array_mut).flatten() {
            *text =
                serde_json::from_str(text.as_str().expect("a text")).expect("what the core writes is JSON");
        }
    }
    record
}

fn record(record: &Record) -> Option<Json> {
    Some(match record {
        Record::Data(data) => data_change(data)?,
        Record::Heartbeat(heartbeat) => json!({ "heartbeat": timestamp(&heartbeat.timestamp)? }),
        Record::Start(start) => json!({
            "start": timestamp(&start.start)?, "sequence": start.record_sequence,
            "tokens": start.tokens.iter().map(|token| named(token)).collect::<Option<Vec<_>>>()?,
        }),
        Record::End(end) => {
            json!({ "end": timestamp(&end.end)?, "sequence": end.record_sequence, "token": end.token })
        }
        Record::Event(event) => {
            let others = |moves: &[proto::Move]| {
                moves.iter().map(|each| named(&each.token).map(str::to_owned)).collect::<Option<Vec<_>>>()
            };
            json!({
                "at": timestamp(&event.commit_timestamp)?, "sequence": event.record_sequence, "token": event.token,
                "sources": others(&event.move_ins)?, "destinations": others(&event.move_outs)?,
            })
        }
    })
}

fn data_change(data: &proto::DataChangeRecord) -> Option<Json> {
    let names = data.column_metadata.iter().map(|column| named(&column.name)).collect::<Option<Vec<_>>>()?;
    let object = |values: &[proto::ModValue]| {
        let member = |value: &proto::ModValue| {
            let place = usize::try_from(value.index).ok();
            let name = place.and_then(|place| names.get(place)).map(ToString::to_string);
            Some((name.unwrap_or_else(|| format!("#{}", value.index)), json_of(value.value.as_ref()?)?))
        };
        values.iter().map(member).collect::<Option<Map<_, _>>>().map(Json::Object)
    };
    let mods = data
        .mods
        .iter()
        .map(|each| Some(json!([object(&each.keys)?, object(&each.new_values)?, object(&each.old_values)?])));
    let mod_type = [(10, "INSERT"), (20, "UPDATE"), (30, "DELETE")];
    let capture =
        [(10, "OLD_AND_NEW_VALUES"), (20, "NEW_VALUES"), (30, "NEW_ROW"), (40, "NEW_ROW_AND_OLD_VALUES")];
    Some(json!({
        "commit": timestamp(&data.commit_timestamp)?, "sequence": named(&data.record_sequence)?,
        "transaction": named(&data.server_transaction_id)?, "last": data.is_last_record,
        "table": named(&data.table)?, "columns": columns(data), "mods": mods.collect::<Option<Vec<_>>>()?,
        "mod_type": name_of(&mod_type, data.mod_type)?, "capture": name_of(&capture, data.value_capture_type)?,
        "records": data.number_of_records, "partitions": data.number_of_partitions, "tag": data.transaction_tag,
        "system": data.is_system_transaction,
    }))
}

fn columns(data: &proto::DataChangeRecord) -> Option<Vec<Json>> {
    let column = |column: &proto::ColumnMetadata| {
        column
            .column_type
            .as_ref()
            .is_none_or(is_type)
            .then(|| json!([column.name, column.is_primary_key, column.ordinal_position]))
    };
    data.column_metadata.iter().map(column).collect()
}

/// An array says of what.
fn is_type(of: &proto::Type) -> bool {
    const ARRAY: i32 = 8;
    of.array_element.as_ref().map_or(of.code != ARRAY, |element| is_type(element))
}

fn json_of(value: &Value) -> Option<Json> {
    Some(match value.kind.as_ref()? {
        Kind::Null(_) => Json::Null,
        Kind::Number(number) if number.is_nan() => "NaN".into(),
        Kind::Number(number) if *number == f64::INFINITY => "Infinity".into(),
        Kind::Number(number) if *number == f64::NEG_INFINITY => "-Infinity".into(),
        // As text and back: how a number is written decides whether serde takes it for an integer.
        Kind::Number(number) => serde_json::from_str(&written(*number)).ok()?,
        Kind::Text(text) => text.as_str().into(),
        Kind::Bool(truth) => (*truth).into(),
        Kind::Struct(of) => {
            let member = |(name, value): (&String, &Value)| Some((name.clone(), json_of(value)?));
            Json::Object(of.fields.iter().map(member).collect::<Option<_>>()?)
        }
        Kind::List(list) => Json::Array(list.values.iter().map(json_of).collect::<Option<_>>()?),
    })
}

fn written(number: f64) -> String {
    let mut text = String::new();
    spanwire_core::json::write_number(number, &mut text);
    assert_eq!(text.parse::<f64>().map(f64::to_bits), Ok(number.to_bits()), "a number reads back");
    text
}

fn named(name: &str) -> Option<&str> {
    if name.is_empty() { None } else { Some(name) }
}

fn name_of<'n>(names: &[(i32, &'n str)], number: i32) -> Option<&'n str> {
    names.iter().find(|(each, _)| *each == number).map(|(_, name)| *name)
}

fn timestamp(value: &Option<proto::Timestamp>) -> Option<String> {
    let value = value.as_ref()?;
    let timestamp = Timestamp { seconds: value.seconds, nanos: u32::try_from(value.nanos).ok()? };
    let is_one = timestamp.nanos < 1_000_000_000 && (Timestamp::MIN..=Timestamp::MAX).contains(&timestamp);
    is_one.then(|| timestamp.to_string())
}
