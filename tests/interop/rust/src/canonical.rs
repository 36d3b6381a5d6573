//! The canonical form of a change, from its message alone.

use std::collections::{BTreeMap, HashMap};
use std::fmt::Write;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use time::OffsetDateTime;
use time::macros::format_description;

use crate::Result;
use crate::envelope_capnp::{array, columns, data_change_record, mod_, other, value};
use crate::json_text::{self, Form};

const NAN: u64 = 0x7ff8_0000_0000_0000;
const UNKNOWN: &str = "\"unknown\"";

/// The columns of a message by role, with how their JSON text is read.
pub struct Shape {
    table: String,
    keys: Role,
    rest: Role,
}

#[derive(Default)]
pub struct Role {
    names: Vec<String>,
    pub forms: HashMap<String, Form>,
}

/// The JSON of values, by name: sorted by UTF-8, as the form wants it.
pub type Object = BTreeMap<String, String>;

impl Shape {
    pub fn new(columns: columns::Reader) -> Result<Self> {
        let table = columns.get_table()?.to_string()?;
        let mut shape = Self { table, keys: Role::default(), rest: Role::default() };
        for column in columns.get_columns()? {
            let role = if column.get_is_primary_key() { &mut shape.keys } else { &mut shape.rest };
            let name = column.get_name()?.to_string()?;
            role.forms.insert(name.clone(), Form::of(column.get_type()?)?);
            role.names.push(name);
        }
        Ok(shape)
    }
}

/// One change.
pub fn line(record: data_change_record::Reader, change: mod_::Reader, shape: &Shape) -> Result<String> {
    let [keys, new, old] = match change.which() {
        Ok(mod_::Typed(typed)) => {
            let mut objects = [
                cells(typed.get_keys()?, &shape.keys)?,
                cells(typed.get_new_values()?, &shape.rest)?,
                cells(typed.get_old_values()?, &shape.rest)?,
            ];
            for other in typed.get_others()? {
                let object = match other.get_place() {
                    Ok(other::Place::Keys) => &mut objects[0],
                    Ok(other::Place::NewValues) => &mut objects[1],
                    Ok(other::Place::OldValues) => &mut objects[2],
                    Err(_) => continue,
                };
                let json = stand_in(other.get_json()?.to_str()?);
                object.entry(other.get_name()?.to_string()?).or_insert(json);
            }
            objects.map(|object| braced(&object))
        }
        Ok(mod_::Json(text)) => [
            braced(&json_text::typed(text.get_keys()?.to_str()?, &shape.keys)?),
            braced(&json_text::typed(text.get_new_values()?.to_str()?, &shape.rest)?),
            braced(&json_text::typed(text.get_old_values()?.to_str()?, &shape.rest)?),
        ],
        Err(_) => [UNKNOWN; 3].map(str::to_owned),
    };
    let mod_type = match record.get_mod_type() {
        Ok(data_change_record::ModType::Insert) => "INSERT",
        Ok(data_change_record::ModType::Update) => "UPDATE",
        Ok(data_change_record::ModType::Delete) => "DELETE",
        _ => "UNKNOWN",
    };
    let committed = record.get_commit_timestamp();
    let version = quote(&format!(
        "{}/{}/{}/{}",
        timestamp(committed.get_seconds(), committed.get_nanos())?,
        record.get_server_transaction_id()?.to_str()?,
        record.get_record_sequence()?.to_str()?,
        change.get_number()
    ));
    let table = quote(&shape.table);
    Ok(format!(
        r#"{{"keys":{keys},"mod_type":"{mod_type}","new":{new},"old":{old},"table":{table},"version":{version}}}"#
    ))
}

/// A list may be shorter than its columns: what is not there is missing.
fn cells(list: capnp::struct_list::Reader<value::Owned>, role: &Role) -> Result<Object> {
    let mut object = Object::new();
    for (name, cell) in role.names.iter().zip(list) {
        if !matches!(cell.which(), Ok(value::Missing(()))) {
            object.insert(name.clone(), value(cell)?);
        }
    }
    Ok(object)
}

fn value(cell: value::Reader) -> Result<String> {
    Ok(match cell.which() {
        Ok(value::Missing(()) | value::Null(())) => "null".into(),
        Ok(value::Bool(truth)) => truth.to_string(),
        Ok(value::Int64(number)) => integer(number),
        Ok(value::Float64(number)) => float(number),
        Ok(value::Text(text)) => quote(text?.to_str()?),
        Ok(value::Json(text)) => stand_in(text?.to_str()?),
        Ok(value::Bytes(content)) => bytes(content?),
        Ok(value::Timestamp(moment)) => quote(&timestamp(moment.get_seconds(), moment.get_nanos())?),
        Ok(value::Array(array)) => elements(array?)?,
        Err(_) => UNKNOWN.into(),
    })
}

fn elements(array: array::Reader) -> Result<String> {
    let found: Vec<String> = match array.which() {
        Ok(array::Bool(list)) => list?.iter().map(|truth| truth.to_string()).collect(),
        Ok(array::Int64(list)) => list?.iter().map(integer).collect(),
        Ok(array::Float64(list)) => list?.iter().map(float).collect(),
        Ok(array::Text(list)) => {
            list?.iter().map(|text| Ok(quote(text?.to_str()?))).collect::<Result<_>>()?
        }
        Ok(array::Json(list)) => {
            list?.iter().map(|text| Ok(stand_in(text?.to_str()?))).collect::<Result<_>>()?
        }
        Ok(array::Bytes(list)) => list?.iter().map(|content| Ok(bytes(content?))).collect::<Result<_>>()?,
        Ok(array::Timestamp(list)) => list?
            .iter()
            .map(|moment| Ok(quote(&timestamp(moment.get_seconds(), moment.get_nanos())?)))
            .collect::<Result<_>>()?,
        Err(_) => return Ok(UNKNOWN.into()),
    };
    let nulls = array.get_nulls()?;
    let is_null = |place: usize| nulls.get(place / 8).is_some_and(|byte| byte >> (place % 8) & 1 == 1);
    let found = found.into_iter().enumerate();
    Ok(bracketed(found.map(|(place, element)| if is_null(place) { "null".into() } else { element })))
}

pub fn integer(number: i64) -> String {
    format!("\"{number}\"")
}

pub fn float(number: f64) -> String {
    format!("\"{:016x}\"", if number.is_nan() { NAN } else { number.to_bits() })
}

pub fn bytes(content: &[u8]) -> String {
    format!("\"{}\"", STANDARD.encode(content))
}

pub fn timestamp(seconds: i64, nanos: u32) -> Result<String> {
    let form = format_description!("[year]-[month]-[day]T[hour]:[minute]:[second]");
    Ok(format!("{}.{nanos:09}Z", OffsetDateTime::from_unix_timestamp(seconds)?.format(form)?))
}

pub fn bracketed(elements: impl Iterator<Item = String>) -> String {
    format!("[{}]", elements.collect::<Vec<_>>().join(","))
}

fn braced(object: &Object) -> String {
    let members: Vec<_> = object.iter().map(|(name, value)| format!("{}:{value}", quote(name))).collect();
    format!("{{{}}}", members.join(","))
}

/// JSON text in place of a value: no typed value is an object.
pub fn stand_in(text: &str) -> String {
    format!("{{\"json\":{}}}", quote(text))
}

/// A string with the escapes that JSON demands and no others.
pub fn quote(text: &str) -> String {
    let mut out = String::with_capacity(text.len() + 2);
    out.push('"');
    for letter in text.chars() {
        match letter {
            '"' | '\\' => out.extend(['\\', letter]),
            '\u{8}' => out.push_str("\\b"),
            '\t' => out.push_str("\\t"),
            '\n' => out.push_str("\\n"),
            '\u{c}' => out.push_str("\\f"),
            '\r' => out.push_str("\\r"),
            '\0'..' ' => write!(out, "\\u{:04x}", u32::from(letter)).expect("a String takes it"),
            _ => out.push(letter),
        }
    }
    out.push('"');
    out
}
