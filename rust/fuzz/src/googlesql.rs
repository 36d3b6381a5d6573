//! Rows of a `GoogleSQL` query as `prost` reads them: structs are lists of their fields.

use prost::Message;
use serde_json::{Value as Json, json};
use spanwire_core::change::Timestamp;
use spanwire_core::wire::read_type;

use crate::proto::{Kind, Value};

/// What protobuf makes of a row: none where it is no value; then whether that is a record.
pub fn read(row: &[u8]) -> Option<Option<Vec<Json>>> {
    Value::decode(row).ok().map(|row| records(&row))
}

fn records(row: &Value) -> Option<Vec<Json>> {
    let mut found = Vec::new();
    for record in array(row)? {
        let [data, heartbeats, children, ..] = fields(record)? else { return None };
        let [data, heartbeats, children] = [array(data)?, array(heartbeats)?, array(children)?];
        for record in present(data) {
            found.push(data_change(record)?);
        }
        for record in present(heartbeats) {
            found.push(json!({ "heartbeat": timestamp(fields(record)?.first()?)? }));
        }
        for record in present(children) {
            found.push(child_partitions(record)?);
        }
    }
    Some(found)
}

fn data_change(record: &Value) -> Option<Json> {
    let fields = fields(record)?;
    let mod_type = text(fields.get(7)?)?;
    let capture = text(fields.get(8)?)?;
    if !["INSERT", "UPDATE", "DELETE"].contains(&mod_type)
        || !["OLD_AND_NEW_VALUES", "NEW_ROW", "NEW_VALUES", "NEW_ROW_AND_OLD_VALUES"].contains(&capture)
    {
        return None;
    }
    Some(json!({
        "commit": timestamp(fields.first()?)?, "sequence": text(fields.get(1)?)?,
        "transaction": text(fields.get(2)?)?, "last": boolean(fields.get(3)?)?, "table": text(fields.get(4)?)?,
        "columns": columns(fields.get(5)?),
        "mods": array(fields.get(6)?)?.iter().map(row_change).collect::<Option<Vec<_>>>()?,
        "mod_type": mod_type, "capture": capture, "records": count(fields.get(9)?)?,
        "partitions": count(fields.get(10)?)?, "tag": text(fields.get(11)?)?, "system": boolean(fields.get(12)?)?,
    }))
}

fn columns(value: &Value) -> Option<Vec<Json>> {
    let column = |column: &Value| {
        let fields = fields(column)?;
        read_type(text(fields.get(1)?)?).ok()?;
        Some(json!([text(fields.first()?)?, boolean(fields.get(2)?)?, count(fields.get(3)?)?]))
    };
    array(value)?.iter().map(column).collect()
}

fn row_change(value: &Value) -> Option<Json> {
    let json =
        |value: &Value| if is_null(value) { Some("{}".to_owned()) } else { text(value).map(str::to_owned) };
    let [keys, new_values, old_values, ..] = fields(value)? else { return None };
    Some(json!([json(keys)?, json(new_values)?, json(old_values)?]))
}

fn child_partitions(record: &Value) -> Option<Json> {
    let [start, sequence, children, ..] = fields(record)? else { return None };
    let child = |child: &Value| {
        let [token, parents, ..] = fields(child)? else { return None };
        let parents = present(array(parents)?).map(text).collect::<Option<Vec<_>>>()?;
        Some(json!([text(token)?, parents]))
    };
    Some(json!({
        "children": present(array(children)?).map(child).collect::<Option<Vec<_>>>()?,
        "sequence": text(sequence)?, "start": timestamp(start)?,
    }))
}

fn is_null(value: &Value) -> bool {
    matches!(value.kind, Some(Kind::Null(_)))
}

fn fields(value: &Value) -> Option<&[Value]> {
    if let Some(Kind::List(list)) = &value.kind { Some(&list.values) } else { None }
}

fn array(value: &Value) -> Option<&[Value]> {
    if is_null(value) { Some(&[]) } else { fields(value) }
}

fn present(values: &[Value]) -> impl Iterator<Item = &Value> {
    values.iter().filter(|value| !is_null(value))
}

fn text(value: &Value) -> Option<&str> {
    if let Some(Kind::Text(text)) = &value.kind { Some(text) } else { None }
}

fn boolean(value: &Value) -> Option<bool> {
    if let Some(Kind::Bool(truth)) = value.kind { Some(truth) } else { None }
}

fn count(value: &Value) -> Option<i64> {
    text(value)?.parse().ok()
}

fn timestamp(value: &Value) -> Option<String> {
    Timestamp::from_rfc3339(text(value)?.as_bytes()).map(|timestamp| timestamp.to_string())
}
