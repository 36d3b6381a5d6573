//! Rows of a `PostgreSQL` query as `serde_json` reads their text.

use serde_json::value::RawValue;
use serde_json::{Value as Json, json};
use spanwire_core::change::Timestamp;
use spanwire_core::wire::read_type;

/// An object's members in their order, a name as often as it stands there.
struct Members<'a>(Vec<(String, &'a RawValue)>);

impl<'de: 'a, 'a> serde::Deserialize<'de> for Members<'a> {
    fn deserialize<D: serde::Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        struct Visit;
        impl<'de> serde::de::Visitor<'de> for Visit {
            type Value = Vec<(String, &'de RawValue)>;
            fn expecting(&self, to: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                to.write_str("an object")
            }
            fn visit_map<A: serde::de::MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut members = Vec::new();
                while let Some(member) = map.next_entry()? {
                    members.push(member);
                }
                Ok(members)
            }
        }
        from.deserialize_map(Visit).map(Members)
    }
}

impl<'a> Members<'a> {
    fn of(value: &'a RawValue) -> Option<Self> {
        serde_json::from_str(value.get()).ok()
    }

    /// The last of a name counts.
    fn get(&self, name: &str) -> Option<&'a RawValue> {
        self.0.iter().rev().find(|(key, _)| key == name).map(|(_, value)| *value)
    }
}

/// What `serde_json` makes of a row's text: none where it is no JSON; then whether that is a record.
pub fn read(text: &str) -> Option<Option<Vec<Json>>> {
    let row: &RawValue = serde_json::from_str(text).ok()?;
    Some(records(row))
}

fn records(row: &RawValue) -> Option<Vec<Json>> {
    let mut found = Vec::new();
    for (kind, record) in Members::of(row)?.0 {
        if record.get() == "null" {
            continue;
        }
        found.push(match kind.as_str() {
            "data_change_record" => data_change(record)?,
            "heartbeat_record" => json!({ "heartbeat": timestamp(Members::of(record)?.get("timestamp")?)? }),
            "child_partitions_record" => child_partitions(record)?,
            _ => return None,
        });
    }
    if found.is_empty() { None } else { Some(found) }
}

fn data_change(record: &RawValue) -> Option<Json> {
    let fields = Members::of(record)?;
    let mod_type = text(fields.get("mod_type")?)?;
    let capture = text(fields.get("value_capture_type")?)?;
    if !["INSERT", "UPDATE", "DELETE"].contains(&mod_type.as_str())
        || !["OLD_AND_NEW_VALUES", "NEW_ROW", "NEW_VALUES", "NEW_ROW_AND_OLD_VALUES"]
            .contains(&capture.as_str())
    {
        return None;
    }
    Some(json!({
        "commit": timestamp(fields.get("commit_timestamp")?)?, "sequence": text(fields.get("record_sequence")?)?,
        "transaction": text(fields.get("server_transaction_id")?)?,
        "last": boolean(fields.get("is_last_record_in_transaction_in_partition")?)?,
        "table": text(fields.get("table_name")?)?, "columns": columns(fields.get("column_types")?),
        "mods": list(fields.get("mods")?)?.into_iter().map(row_change).collect::<Option<Vec<_>>>()?,
        "mod_type": mod_type, "capture": capture, "records": count(fields.get("number_of_records_in_transaction")?)?,
        "partitions": count(fields.get("number_of_partitions_in_transaction")?)?,
        "tag": match fields.get("transaction_tag") { Some(tag) => text(tag)?, None => String::new() },
        "system": match fields.get("is_system_transaction") { Some(value) => boolean(value)?, None => false },
    }))
}

fn columns(value: &RawValue) -> Option<Vec<Json>> {
    let column = |column: &RawValue| {
        let fields = Members::of(column)?;
        let of_type = fields.get("type")?;
        read_type(&text(of_type).unwrap_or_else(|| of_type.get().to_owned())).ok()?;
        let name = text(fields.get("name")?)?;
        Some(json!([name, boolean(fields.get("is_primary_key")?)?, count(fields.get("ordinal_position")?)?]))
    };
    list(value)?.into_iter().map(column).collect()
}

fn row_change(value: &RawValue) -> Option<Json> {
    let fields = Members::of(value)?;
    let object = |name| match fields.get(name).map(RawValue::get) {
        None | Some("null") => Some("{}"),
        Some(text) if text.starts_with('{') => Some(text),
        Some(_) => None,
    };
    Some(json!([object("keys")?, object("new_values")?, object("old_values")?]))
}

fn child_partitions(record: &RawValue) -> Option<Json> {
    let fields = Members::of(record)?;
    let child = |child: &RawValue| {
        let fields = Members::of(child)?;
        let parents = match fields.get("parent_partition_tokens") {
            Some(parents) => present(parents)?.into_iter().map(text).collect::<Option<Vec<_>>>()?,
            None => Vec::new(),
        };
        Some(json!([text(fields.get("token")?)?, parents]))
    };
    Some(json!({
        "children": present(fields.get("child_partitions")?)?.into_iter().map(child).collect::<Option<Vec<_>>>()?,
        "sequence": text(fields.get("record_sequence")?)?, "start": timestamp(fields.get("start_timestamp")?)?,
    }))
}

fn list(value: &RawValue) -> Option<Vec<&RawValue>> {
    serde_json::from_str(value.get()).ok()
}

/// The elements that are not null; of null none.
fn present(value: &RawValue) -> Option<Vec<&RawValue>> {
    if value.get() == "null" {
        return Some(Vec::new());
    }
    Some(list(value)?.into_iter().filter(|value| value.get() != "null").collect())
}

fn text(value: &RawValue) -> Option<String> {
    serde_json::from_str(value.get()).ok()
}

fn boolean(value: &RawValue) -> Option<bool> {
    serde_json::from_str(value.get()).ok()
}

fn count(value: &RawValue) -> Option<i64> {
    text(value).unwrap_or_else(|| value.get().to_owned()).parse().ok()
}

fn timestamp(value: &RawValue) -> Option<String> {
    Timestamp::from_rfc3339(text(value)?.as_bytes()).map(|timestamp| timestamp.to_string())
}
