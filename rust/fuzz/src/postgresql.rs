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

    /// The last of a name counts, and all must be what is expected.
    fn take<T>(&self, name: &str, read: impl Fn(&'a RawValue) -> Option<T>) -> Option<Option<T>> {
        let mut last = None;
        for (_, value) in self.0.iter().filter(|(key, _)| key == name) {
            last = Some(read(value)?);
        }
        Some(last)
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
            "heartbeat_record" => {
                json!({ "heartbeat": Members::of(record)?.take("timestamp", timestamp)?? })
            }
            "child_partitions_record" => child_partitions(record)?,
            _ => return None,
        });
    }
    if found.is_empty() { None } else { Some(found) }
}

fn data_change(record: &RawValue) -> Option<Json> {
    let fields = Members::of(record)?;
    Some(json!({
        "commit": fields.take("commit_timestamp", timestamp)??, "sequence": fields.take("record_sequence", text)??,
        "transaction": fields.take("server_transaction_id", text)??,
        "last": fields.take("is_last_record_in_transaction_in_partition", boolean)??,
        "table": fields.take("table_name", text)??, "columns": columns(fields.take("column_types", Some)??),
        "mods": fields.take("mods", mods)??,
        "mod_type": fields.take("mod_type", |value| one_of(value, &["INSERT", "UPDATE", "DELETE"]))??,
        "capture": fields.take("value_capture_type", |value| {
            one_of(value, &["OLD_AND_NEW_VALUES", "NEW_ROW", "NEW_VALUES", "NEW_ROW_AND_OLD_VALUES"])
        })??,
        "records": fields.take("number_of_records_in_transaction", count)??,
        "partitions": fields.take("number_of_partitions_in_transaction", count)??,
        "tag": fields.take("transaction_tag", text)?.unwrap_or_default(),
        "system": fields.take("is_system_transaction", boolean)?.unwrap_or_default(),
    }))
}

fn one_of(value: &RawValue, names: &[&str]) -> Option<String> {
    text(value).filter(|name| names.contains(&name.as_str()))
}

fn columns(value: &RawValue) -> Option<Vec<Json>> {
    let is_type = |value: &RawValue| {
        read_type(&text(value).unwrap_or_else(|| value.get().to_owned())).is_ok().then_some(())
    };
    let column = |column: &RawValue| {
        let fields = Members::of(column)?;
        fields.take("type", is_type)??;
        let is_primary_key = fields.take("is_primary_key", boolean)??;
        Some(json!([fields.take("name", text)??, is_primary_key, fields.take("ordinal_position", count)??]))
    };
    list(value)?.into_iter().map(column).collect()
}

fn mods(value: &RawValue) -> Option<Vec<Json>> {
    let each = |value: &RawValue| {
        let fields = Members::of(value)?;
        let object = |name| Some(fields.take(name, object)?.unwrap_or("{}"));
        Some(json!([object("keys")?, object("new_values")?, object("old_values")?]))
    };
    list(value)?.into_iter().map(each).collect()
}

fn object(value: &RawValue) -> Option<&str> {
    match value.get() {
        "null" => Some("{}"),
        text if text.starts_with('{') => Some(text),
        _ => None,
    }
}

fn child_partitions(record: &RawValue) -> Option<Json> {
    let fields = Members::of(record)?;
    let child = |child: &RawValue| {
        let fields = Members::of(child)?;
        let parents = fields.take("parent_partition_tokens", texts)?.unwrap_or_default();
        Some(json!([fields.take("token", text)??, parents]))
    };
    let children = |value| present(value)?.into_iter().map(child).collect::<Option<Vec<_>>>();
    Some(json!({
        "children": fields.take("child_partitions", children)??,
        "sequence": fields.take("record_sequence", text)??, "start": fields.take("start_timestamp", timestamp)??,
    }))
}

fn texts(value: &RawValue) -> Option<Vec<String>> {
    present(value)?.into_iter().map(text).collect()
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
