//! Bodies of changes as the generated readers of the `capnp` crate read them, and as the core's own
//! reader does.

use capnp::message::ReaderOptions;
use serde_json::{Value as Json, json};
use spanwire_core::Result;
use spanwire_core::envelope::envelope_capnp as schema;
use spanwire_core::envelope::read::{Mod, Record, Value};
use spanwire_core::envelope::{Columns, Values};

/// A record that the core has read and checked. None where it has more values than columns, which
/// the check does not know.
pub fn ours(record: &Record<'_>, columns: &Columns) -> Result<Option<Json>> {
    let mut mods = Vec::new();
    for each in record.mods()? {
        let Some(each) = our_mod(&each, columns)? else { return Ok(None) };
        mods.push(each);
    }
    Ok(Some(json!({
        "commit": record.commit_timestamp()?.to_string(), "transaction": record.server_transaction_id()?,
        "sequence": record.record_sequence()?, "tag": record.transaction_tag()?,
        "last": record.is_last_record_in_transaction_in_partition(), "system": record.is_system_transaction(),
        "records": record.number_of_records_in_transaction(),
        "partitions": record.number_of_partitions_in_transaction(),
        "mod_type": record.mod_type().ok().map(|of| of.name()),
        "capture": record.value_capture_type().ok().map(|of| of.name()), "mods": mods,
    })))
}

fn our_mod(each: &Mod<'_>, columns: &Columns) -> Result<Option<Json>> {
    if each.values()? == Values::Json {
        let json = each.json()?;
        return Ok(Some(json!([each.number(), json.keys, json.new_values, json.old_values])));
    }
    let mut lists = Vec::new();
    for cells in [each.keys(columns), each.new_values(columns), each.old_values(columns)] {
        let Ok(cells) = cells else { return Ok(None) };
        lists.push(Json::Array(cells.map(|cell| our_value(cell?.1)).collect::<Result<_>>()?));
    }
    let others = each.others()?.map(|other| {
        let other = other?;
        Ok(json!([format!("{:?}", other.place), other.name, other.json]))
    });
    Ok(Some(json!([each.number(), lists, others.collect::<Result<Vec<_>>>()?])))
}

fn our_value(value: Value<'_>) -> Result<Json> {
    Ok(match value {
        Value::Missing => json!("missing"),
        Value::Null => Json::Null,
        Value::Bool(truth) => json!(truth),
        Value::Int64(number) => json!(number),
        Value::Float64(number) => json!({ "bits": number.to_bits() }),
        Value::Text(text) => json!({ "text": text }),
        Value::Bytes(bytes) => json!({ "bytes": bytes }),
        Value::Timestamp(timestamp) => json!({ "seconds": timestamp.seconds, "nanos": timestamp.nanos }),
        Value::Array(array) => Json::Array(array.iter().map(|each| our_value(each?)).collect::<Result<_>>()?),
        Value::Json(text) => json!({ "json": text }),
    })
}

/// The next record of a body, for who trusts its writer.
pub fn theirs(body: &mut &[u8]) -> capnp::Result<Json> {
    let mut options = ReaderOptions::new();
    options.traversal_limit_in_words(Some(1 << 24)).nesting_limit(64);
    let message = capnp::serialize::read_message_from_flat_slice(body, options)?;
    let record = message.get_root::<schema::data_change_record::Reader<'_>>()?;
    let commit = record.get_commit_timestamp();
    let commit = spanwire_core::Timestamp { seconds: commit.get_seconds(), nanos: commit.get_nanos() };
    use schema::data_change_record::{ModType, ValueCaptureType};
    Ok(json!({
        "commit": commit.to_string(), "transaction": record.get_server_transaction_id()?.to_str()?,
        "sequence": record.get_record_sequence()?.to_str()?, "tag": record.get_transaction_tag()?.to_str()?,
        "last": record.get_is_last_record_in_transaction_in_partition(),
        "system": record.get_is_system_transaction(), "records": record.get_number_of_records_in_transaction(),
        "partitions": record.get_number_of_partitions_in_transaction(),
        "mod_type": match record.get_mod_type() {
            Ok(ModType::Insert) => Some("INSERT"),
            Ok(ModType::Update) => Some("UPDATE"),
            Ok(ModType::Delete) => Some("DELETE"),
            Ok(ModType::Unspecified) | Err(_) => None,
        },
        "capture": match record.get_value_capture_type() {
            Ok(ValueCaptureType::OldAndNewValues) => Some("OLD_AND_NEW_VALUES"),
            Ok(ValueCaptureType::NewRow) => Some("NEW_ROW"),
            Ok(ValueCaptureType::NewValues) => Some("NEW_VALUES"),
            Ok(ValueCaptureType::NewRowAndOldValues) => Some("NEW_ROW_AND_OLD_VALUES"),
            Ok(ValueCaptureType::Unspecified) | Err(_) => None,
        },
        "mods": record.get_mods()?.iter().map(their_mod).collect::<capnp::Result<Vec<_>>>()?,
    }))
}

fn their_mod(each: schema::mod_::Reader<'_>) -> capnp::Result<Json> {
    let number = each.get_number();
    match each.which()? {
        schema::mod_::Json(json) => Ok(json!([
            number,
            json.get_keys()?.to_str()?,
            json.get_new_values()?.to_str()?,
            json.get_old_values()?.to_str()?
        ])),
        schema::mod_::Typed(typed) => {
            let values = |list: capnp::struct_list::Reader<'_, schema::value::Owned>| {
                list.iter().map(their_value).collect::<capnp::Result<Vec<_>>>()
            };
            let lists = [
                values(typed.get_keys()?)?,
                values(typed.get_new_values()?)?,
                values(typed.get_old_values()?)?,
            ];
            let others = typed.get_others()?.iter().map(|other| {
                Ok(json!([
                    format!("{:?}", other.get_place()?),
                    other.get_name()?.to_str()?,
                    other.get_json()?.to_str()?
                ]))
            });
            Ok(json!([number, lists, others.collect::<capnp::Result<Vec<_>>>()?]))
        }
    }
}

fn their_value(value: schema::value::Reader<'_>) -> capnp::Result<Json> {
    use schema::value::Which;
    Ok(match value.which()? {
        Which::Missing(()) => json!("missing"),
        Which::Null(()) => Json::Null,
        Which::Bool(truth) => json!(truth),
        Which::Int64(number) => json!(number),
        Which::Float64(number) => json!({ "bits": number.to_bits() }),
        Which::Text(text) => json!({ "text": text?.to_str()? }),
        Which::Bytes(bytes) => json!({ "bytes": bytes? }),
        Which::Timestamp(of) => json!({ "seconds": of.get_seconds(), "nanos": of.get_nanos() }),
        Which::Array(array) => their_array(array?)?,
        Which::Json(text) => json!({ "json": text?.to_str()? }),
    })
}

fn their_array(array: schema::array::Reader<'_>) -> capnp::Result<Json> {
    use schema::array::Which;
    let elements: Vec<Json> = match array.which()? {
        Which::Bool(list) => list?.iter().map(|truth| json!(truth)).collect(),
        Which::Int64(list) => list?.iter().map(|number| json!(number)).collect(),
        Which::Float64(list) => list?.iter().map(|number| json!({ "bits": number.to_bits() })).collect(),
        Which::Text(list) => {
            list?.iter().map(|text| Ok(json!({ "text": text?.to_str()? }))).collect::<capnp::Result<_>>()?
        }
        Which::Bytes(list) => {
            list?.iter().map(|bytes| Ok(json!({ "bytes": bytes? }))).collect::<capnp::Result<_>>()?
        }
        Which::Timestamp(list) => {
            let of = |of: schema::timestamp::Reader<'_>| json!({ "seconds": of.get_seconds(), "nanos": of.get_nanos() });
            list?.iter().map(of).collect()
        }
        Which::Json(list) => {
            list?.iter().map(|text| Ok(json!({ "json": text?.to_str()? }))).collect::<capnp::Result<_>>()?
        }
    };
    let nulls = array.get_nulls()?;
    let is_null = |place: usize| nulls.get(place / 8).is_some_and(|byte| byte >> (place % 8) & 1 == 1);
    let element = |(place, element)| if is_null(place) { Json::Null } else { element };
    Ok(Json::Array(elements.into_iter().enumerate().map(element).collect()))
}
