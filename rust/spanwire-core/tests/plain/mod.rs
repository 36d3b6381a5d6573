//! A changes body as plain values, read in two ways that share no code: with the readers that
//! the `capnp` crate generates from the schema, and with the core's own.

#![allow(dead_code)] // each test uses its part

pub mod decode;

use spanwire_core::envelope::envelope_capnp as schema;
use spanwire_core::envelope::read::{self, OtherPlace, Value};
use spanwire_core::envelope::{Columns, Values};

#[derive(Debug, Clone, PartialEq)]
pub enum Plain {
    Missing,
    Null,
    Bool(bool),
    Int64(i64),
    /// The bits: NaN is what it is.
    Float64(u64),
    Text(String),
    Bytes(Vec<u8>),
    Timestamp(i64, u32),
    Array(Vec<Plain>),
    Json(String),
}

#[derive(Debug, Clone, PartialEq)]
pub enum PlainValues {
    /// Keys, new and old values without trailing missing ones, and the others (place, name, JSON).
    Typed([Vec<Plain>; 3], Vec<(u8, String, String)>),
    Json([String; 3]),
}

#[derive(Debug, Clone, PartialEq)]
pub struct PlainMod {
    pub number: u32,
    pub values: PlainValues,
}

/// All of a record but its mods comes as one text.
pub type PlainRecord = (String, Vec<PlainMod>);

pub fn by_generated_readers(mut body: &[u8]) -> capnp::Result<Vec<PlainRecord>> {
    let mut records = Vec::new();
    while !body.is_empty() {
        let mut options = capnp::message::ReaderOptions::new();
        options.traversal_limit_in_words(Some(body.len()));
        let message = capnp::serialize::read_message_from_flat_slice(&mut body, options)?;
        let record = message.get_root::<schema::data_change_record::Reader<'_>>()?;
        let commit = record.get_commit_timestamp();
        let head = format!(
            "{}.{:09} {:?} {:?} {} {} {} {} {:?} {:?} {:?}",
            commit.get_seconds(),
            commit.get_nanos(),
            record.get_mod_type()?,
            record.get_value_capture_type()?,
            record.get_is_last_record_in_transaction_in_partition(),
            record.get_is_system_transaction(),
            record.get_number_of_records_in_transaction(),
            record.get_number_of_partitions_in_transaction(),
            record.get_server_transaction_id()?.to_str()?,
            record.get_record_sequence()?.to_str()?,
            record.get_transaction_tag()?.to_str()?,
        );
        let mods = record.get_mods()?.iter().map(generated_mod).collect::<capnp::Result<_>>()?;
        records.push((head, mods));
    }
    Ok(records)
}

fn generated_mod(each: schema::mod_::Reader<'_>) -> capnp::Result<PlainMod> {
    let values = match each.which()? {
        schema::mod_::Which::Typed(typed) => {
            let list = |list: capnp::struct_list::Reader<'_, schema::value::Owned>| {
                list.iter().map(generated_value).collect::<capnp::Result<Vec<_>>>()
            };
            let lists =
                [list(typed.get_keys()?)?, list(typed.get_new_values()?)?, list(typed.get_old_values()?)?];
            let others = typed
                .get_others()?
                .iter()
                .map(|other| {
                    let (name, json) = (other.get_name()?.to_string()?, other.get_json()?.to_string()?);
                    Ok((other.get_place()? as u8, name, json))
                })
                .collect::<capnp::Result<_>>()?;
            PlainValues::Typed(lists, others)
        }
        schema::mod_::Which::Json(json) => PlainValues::Json([
            json.get_keys()?.to_string()?,
            json.get_new_values()?.to_string()?,
            json.get_old_values()?.to_string()?,
        ]),
    };
    Ok(PlainMod { number: each.get_number(), values })
}

fn generated_value(value: schema::value::Reader<'_>) -> capnp::Result<Plain> {
    use schema::value::Which;
    Ok(match value.which()? {
        Which::Missing(()) => Plain::Missing,
        Which::Null(()) => Plain::Null,
        Which::Bool(value) => Plain::Bool(value),
        Which::Int64(value) => Plain::Int64(value),
        Which::Float64(value) => Plain::Float64(value.to_bits()),
        Which::Text(value) => Plain::Text(value?.to_string()?),
        Which::Bytes(value) => Plain::Bytes(value?.to_vec()),
        Which::Timestamp(value) => Plain::Timestamp(value.get_seconds(), value.get_nanos()),
        Which::Array(value) => Plain::Array(generated_array(value?)?),
        Which::Json(value) => Plain::Json(value?.to_string()?),
    })
}

fn generated_array(array: schema::array::Reader<'_>) -> capnp::Result<Vec<Plain>> {
    use schema::array::Which;
    let nulls = array.get_nulls()?;
    let elements: Vec<Plain> = match array.which()? {
        Which::Bool(list) => list?.iter().map(Plain::Bool).collect(),
        Which::Int64(list) => list?.iter().map(Plain::Int64).collect(),
        Which::Float64(list) => list?.iter().map(|value| Plain::Float64(value.to_bits())).collect(),
        Which::Text(list) => {
            list?.iter().map(|text| Ok(Plain::Text(text?.to_string()?))).collect::<capnp::Result<_>>()?
        }
        Which::Bytes(list) => {
            list?.iter().map(|bytes| Ok(Plain::Bytes(bytes?.to_vec()))).collect::<capnp::Result<_>>()?
        }
        Which::Timestamp(list) => {
            list?.iter().map(|value| Plain::Timestamp(value.get_seconds(), value.get_nanos())).collect()
        }
        Which::Json(list) => {
            list?.iter().map(|text| Ok(Plain::Json(text?.to_string()?))).collect::<capnp::Result<_>>()?
        }
    };
    let is_null = |place: usize| nulls.get(place / 8).is_some_and(|byte| byte >> (place % 8) & 1 == 1);
    Ok(elements
        .into_iter()
        .enumerate()
        .map(|(i, each)| if is_null(i) { Plain::Null } else { each })
        .collect())
}

pub fn by_own_readers(body: &[u8], columns: &Columns) -> spanwire_core::Result<Vec<PlainRecord>> {
    let mut records = Vec::new();
    for record in read::records(body) {
        // By way of its position, as a consumer does that decodes when looked at.
        let record = read::record_at(body, record?.position())?;
        let commit = record.commit_timestamp()?;
        let head = format!(
            "{}.{:09} {:?} {:?} {} {} {} {} {:?} {:?} {:?}",
            commit.seconds,
            commit.nanos,
            record.mod_type()?,
            record.value_capture_type()?,
            record.is_last_record_in_transaction_in_partition(),
            record.is_system_transaction(),
            record.number_of_records_in_transaction(),
            record.number_of_partitions_in_transaction(),
            record.server_transaction_id()?,
            record.record_sequence()?,
            record.transaction_tag()?,
        );
        let mods =
            record.mods()?.map(|each| own_mod(&each, columns)).collect::<spanwire_core::Result<_>>()?;
        records.push((head, mods));
    }
    Ok(records)
}

fn own_mod(each: &read::Mod<'_>, columns: &Columns) -> spanwire_core::Result<PlainMod> {
    let values = if each.values()? == Values::Json {
        let json = each.json()?;
        PlainValues::Json([json.keys, json.new_values, json.old_values].map(str::to_owned))
    } else {
        let cells = |cells: read::Cells<'_, '_>, is_key: bool| {
            let of_role = columns.columns().iter().filter(|column| column.is_primary_key == is_key);
            cells
                .zip(of_role)
                .map(|(cell, expected)| {
                    let (column, value) = cell?;
                    assert_eq!(column, expected, "a value comes with its column");
                    own_value(value)
                })
                .collect::<spanwire_core::Result<Vec<_>>>()
        };
        let lists = [
            cells(each.keys(columns)?, true)?,
            cells(each.new_values(columns)?, false)?,
            cells(each.old_values(columns)?, false)?,
        ];
        let others = each
            .others()?
            .map(|other| {
                let other = other?;
                let place = match other.place {
                    OtherPlace::Keys => 0,
                    OtherPlace::NewValues => 1,
                    OtherPlace::OldValues => 2,
                };
                Ok((place, other.name.to_owned(), other.json.to_owned()))
            })
            .collect::<spanwire_core::Result<_>>()?;
        PlainValues::Typed(lists, others)
    };
    Ok(PlainMod { number: each.number(), values })
}

fn own_value(value: Value<'_>) -> spanwire_core::Result<Plain> {
    Ok(match value {
        Value::Missing => Plain::Missing,
        Value::Null => Plain::Null,
        Value::Bool(value) => Plain::Bool(value),
        Value::Int64(value) => Plain::Int64(value),
        Value::Float64(value) => Plain::Float64(value.to_bits()),
        Value::Text(text) => Plain::Text(text.to_owned()),
        Value::Bytes(bytes) => Plain::Bytes(bytes.to_owned()),
        Value::Timestamp(value) => Plain::Timestamp(value.seconds, value.nanos),
        Value::Array(array) => {
            Plain::Array(array.iter().map(|each| own_value(each?)).collect::<spanwire_core::Result<_>>()?)
        }
        Value::Json(json) => Plain::Json(json.to_owned()),
    })
}
