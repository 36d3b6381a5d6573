//! The `PostgreSQL` shape: a row is one JSONB value, which travels as a string of JSON text, an
//! object with the record under the name of its kind. Fields have names; those that Spanner may
//! add one day are stepped over.
//!
//! Source: <https://cloud.google.com/spanner/docs/change-streams/details#change_streams_record_format>.

use std::borrow::Cow;

use crate::change::{
    ChildPartition, ChildPartitionsRecord, ColumnTypes, DataChangeRecord, Mod, ModType, Record, Timestamp,
    ValueCaptureType,
};
use crate::error::{Error, Result as CoreResult};
use crate::json::{self, Kind, Scanner};

use super::protobuf::Value;
use super::record::{Fault, Identity, In, Scratch, Sink, count, timestamp, utf8};

type Result<T> = std::result::Result<T, Fault>;

/// Calls `sink` with the record of a row.
pub fn read(row: &[u8], scratch: &mut Scratch, sink: &mut Sink<'_>) -> CoreResult<()> {
    let text = match Value::read(row).within("row").map_err(Fault::corrupt)? {
        Value::Text(bytes) => utf8(bytes, "row").map_err(Fault::corrupt)?,
        _ => return Err(Error::corrupt("row: expected a string of JSON text")),
    };
    let mut scanner = Scanner::new(text);
    scanner.object_start().within("row").map_err(Fault::corrupt)?;
    let mut found = false;
    while let Some(key) = scanner.next_key().within("row").map_err(Fault::corrupt)? {
        if scanner.kind() == Ok(Kind::Null) {
            scanner.null().within("row").map_err(Fault::corrupt)?;
            continue;
        }
        if key.is("data_change_record") {
            let mut failed = false;
            let read = |mods: &mut Vec<_>| data_change(&mut scanner, mods).inspect_err(|_| failed = true);
            scratch.data(row, read, || identify(text), sink)?;
            if failed {
                return Ok(()); // what follows cannot be found any more, and nothing does follow
            }
        } else if key.is("heartbeat_record") {
            sink(Ok(Record::Heartbeat(heartbeat(&mut scanner).map_err(Fault::corrupt)?)))?;
        } else if key.is("child_partitions_record") {
            sink(Ok(Record::Children(child_partitions(&mut scanner).map_err(Fault::corrupt)?)))?;
        } else {
            return Err(Error::corrupt("row: a record of a kind that this version does not know"));
        }
        found = true;
    }
    scanner.end().within("row").map_err(Fault::corrupt)?;
    if found { Ok(()) } else { Err(Error::corrupt("row: no record in it")) }
}

/// A data change record as far as its fields have come.
#[derive(Default)]
struct Partly<'a> {
    commit_timestamp: Option<Timestamp>,
    record_sequence: Option<Cow<'a, str>>,
    server_transaction_id: Option<Cow<'a, str>>,
    is_last_record: Option<bool>,
    table_name: Option<Cow<'a, str>>,
    column_types: Option<&'a str>,
    has_mods: bool,
    mod_type: Option<ModType>,
    value_capture_type: Option<ValueCaptureType>,
    number_of_records: Option<i64>,
    number_of_partitions: Option<i64>,
    transaction_tag: Option<Cow<'a, str>>,
    is_system_transaction: Option<bool>,
}

fn data_change<'a>(scanner: &mut Scanner<'a>, mods: &mut Vec<Mod<'a>>) -> Result<DataChangeRecord<'a>> {
    let mut partly = Partly::default();
    scanner.object_start().within("data_change_record")?;
    while let Some(key) = scanner.next_key().within("data_change_record")? {
        match &*key.to_cow().within("data_change_record")? {
            "commit_timestamp" => partly.commit_timestamp = Some(timestamp_of(scanner, "commit_timestamp")?),
            "record_sequence" => partly.record_sequence = Some(text(scanner, "record_sequence")?),
            "server_transaction_id" => {
                partly.server_transaction_id = Some(text(scanner, "server_transaction_id")?);
            }
            "is_last_record_in_transaction_in_partition" => {
                let value = scanner.boolean().within("is_last_record_in_transaction_in_partition")?;
                partly.is_last_record = Some(value);
            }
            "table_name" => partly.table_name = Some(text(scanner, "table_name")?),
            "column_types" => partly.column_types = Some(scanner.raw_value().within("column_types")?),
            "mods" => {
                mods.clear();
                read_mods(scanner, mods)?;
                partly.has_mods = true;
            }
            "mod_type" => {
                let value = ModType::from_name(&text(scanner, "mod_type")?);
                partly.mod_type = Some(value.ok_or(Fault::new("mod_type", "not INSERT, UPDATE or DELETE"))?);
            }
            "value_capture_type" => {
                let unknown = Fault::new("value_capture_type", "a name that this version does not know");
                let value = ValueCaptureType::from_name(&text(scanner, "value_capture_type")?);
                partly.value_capture_type = Some(value.ok_or(unknown)?);
            }
            "number_of_records_in_transaction" => {
                partly.number_of_records = Some(count_of(scanner, "number_of_records_in_transaction")?);
            }
            "number_of_partitions_in_transaction" => {
                partly.number_of_partitions = Some(count_of(scanner, "number_of_partitions_in_transaction")?);
            }
            "transaction_tag" => partly.transaction_tag = Some(text(scanner, "transaction_tag")?),
            "is_system_transaction" => {
                partly.is_system_transaction = Some(scanner.boolean().within("is_system_transaction")?);
            }
            _ => _ = scanner.raw_value().within("data_change_record")?,
        }
    }
    partly.complete()
}

impl<'a> Partly<'a> {
    fn complete(self) -> Result<DataChangeRecord<'a>> {
        let missing = |at| Fault::new(at, "missing");
        if !self.has_mods {
            return Err(missing("mods"));
        }
        Ok(DataChangeRecord {
            commit_timestamp: self.commit_timestamp.ok_or(missing("commit_timestamp"))?,
            record_sequence: self.record_sequence.ok_or(missing("record_sequence"))?,
            server_transaction_id: self.server_transaction_id.ok_or(missing("server_transaction_id"))?,
            is_last_record_in_transaction_in_partition: self
                .is_last_record
                .ok_or(missing("is_last_record_in_transaction_in_partition"))?,
            table_name: self.table_name.ok_or(missing("table_name"))?,
            column_types: ColumnTypes::PostgreSql(
                self.column_types.ok_or(missing("column_types"))?.as_bytes(),
            ),
            mods: &[], // they stay in the scratch space, whose owner puts them here
            mod_type: self.mod_type.ok_or(missing("mod_type"))?,
            value_capture_type: self.value_capture_type.ok_or(missing("value_capture_type"))?,
            number_of_records_in_transaction: self
                .number_of_records
                .ok_or(missing("number_of_records_in_transaction"))?,
            number_of_partitions_in_transaction: self
                .number_of_partitions
                .ok_or(missing("number_of_partitions_in_transaction"))?,
            // The two that describe the transaction rather than the record, and whose absence
            // can only mean that there is nothing to say.
            transaction_tag: self.transaction_tag.unwrap_or_default(),
            is_system_transaction: self.is_system_transaction.unwrap_or_default(),
        })
    }
}

fn read_mods<'a>(scanner: &mut Scanner<'a>, mods: &mut Vec<Mod<'a>>) -> Result<()> {
    scanner.array_start().within("mods")?;
    while scanner.next().within("mods")? {
        let mut values = Mod { keys: "{}", new_values: "{}", old_values: "{}" };
        scanner.object_start().within("mods")?;
        while let Some(key) = scanner.next_key().within("mods")? {
            if key.is("keys") {
                values.keys = object(scanner, "mods.keys")?;
            } else if key.is("new_values") {
                values.new_values = object(scanner, "mods.new_values")?;
            } else if key.is("old_values") {
                values.old_values = object(scanner, "mods.old_values")?;
            } else {
                scanner.raw_value().within("mods")?;
            }
        }
        mods.push(values);
    }
    Ok(())
}

/// The text of an object; null is an empty one.
fn object<'a>(scanner: &mut Scanner<'a>, at: &'static str) -> Result<&'a str> {
    match scanner.kind().within(at)? {
        Kind::Object => scanner.raw_value().within(at),
        Kind::Null => scanner.null().within(at).map(|()| "{}"),
        _ => Err(Fault::new(at, "expected an object")),
    }
}

/// What can be read of a record that otherwise cannot: whatever its fields are, as long as the
/// text is JSON up to them.
fn identify(row: &str) -> Identity {
    let mut identity = Identity::default();
    // The first thing that is not JSON ends it, and that is no fault here.
    let _ = identify_into(&mut identity, &mut Scanner::new(row));
    identity
}

fn identify_into(identity: &mut Identity, scanner: &mut Scanner<'_>) -> json::Result<()> {
    scanner.object_start()?;
    while let Some(kind) = scanner.next_key()? {
        if !kind.is("data_change_record") {
            scanner.raw_value()?;
            continue;
        }
        scanner.object_start()?;
        while let Some(key) = scanner.next_key()? {
            let value = scanner.raw_value()?;
            let Ok(string) = Scanner::new(value).string().and_then(|string| string.to_cow()) else {
                continue;
            };
            match key.text {
                "commit_timestamp" => {
                    identity.commit_timestamp = Timestamp::from_rfc3339(string.as_bytes());
                }
                "server_transaction_id" => identity.transaction = string.into_owned(),
                "record_sequence" => identity.sequence = string.into_owned(),
                "table_name" => identity.table = string.into_owned(),
                _ => {}
            }
        }
    }
    Ok(())
}

fn heartbeat(scanner: &mut Scanner<'_>) -> Result<Timestamp> {
    let mut found = None;
    scanner.object_start().within("heartbeat_record")?;
    while let Some(key) = scanner.next_key().within("heartbeat_record")? {
        if key.is("timestamp") {
            found = Some(timestamp_of(scanner, "heartbeat_record.timestamp")?);
        } else {
            scanner.raw_value().within("heartbeat_record")?;
        }
    }
    found.ok_or(Fault::new("heartbeat_record.timestamp", "missing"))
}

fn child_partitions<'a>(scanner: &mut Scanner<'a>) -> Result<ChildPartitionsRecord<'a>> {
    let (mut start, mut sequence, mut children) = (None, None, None);
    scanner.object_start().within("child_partitions_record")?;
    while let Some(key) = scanner.next_key().within("child_partitions_record")? {
        if key.is("start_timestamp") {
            start = Some(timestamp_of(scanner, "child_partitions_record.start_timestamp")?);
        } else if key.is("record_sequence") {
            sequence = Some(text(scanner, "child_partitions_record.record_sequence")?);
        } else if key.is("child_partitions") {
            children = Some(array_of(scanner, "child_partitions", child)?);
        } else {
            scanner.raw_value().within("child_partitions_record")?;
        }
    }
    let missing = |at| Fault::new(at, "missing");
    Ok(ChildPartitionsRecord {
        start_timestamp: start.ok_or(missing("child_partitions_record.start_timestamp"))?,
        record_sequence: sequence.ok_or(missing("child_partitions_record.record_sequence"))?,
        child_partitions: children.ok_or(missing("child_partitions"))?,
    })
}

fn child<'a>(scanner: &mut Scanner<'a>) -> Result<ChildPartition<'a>> {
    let (mut token, mut parents) = (None, Vec::new());
    scanner.object_start().within("child_partitions")?;
    while let Some(key) = scanner.next_key().within("child_partitions")? {
        if key.is("token") {
            token = Some(text(scanner, "child_partitions.token")?);
        } else if key.is("parent_partition_tokens") {
            const AT: &str = "child_partitions.parent_partition_tokens";
            parents = array_of(scanner, AT, |scanner| text(scanner, AT))?;
        } else {
            scanner.raw_value().within("child_partitions")?;
        }
    }
    let token = token.ok_or(Fault::new("child_partitions.token", "missing"))?;
    Ok(ChildPartition { token, parent_partition_tokens: parents })
}

/// The elements of an array that are not null; null is an empty array.
fn array_of<'a, T>(
    scanner: &mut Scanner<'a>,
    at: &'static str,
    read: impl Fn(&mut Scanner<'a>) -> Result<T>,
) -> Result<Vec<T>> {
    let mut elements = Vec::new();
    if scanner.kind().within(at)? == Kind::Null {
        scanner.null().within(at)?;
        return Ok(elements);
    }
    scanner.array_start().within(at)?;
    while scanner.next().within(at)? {
        if scanner.kind().within(at)? == Kind::Null {
            scanner.null().within(at)?;
        } else {
            elements.push(read(scanner)?);
        }
    }
    Ok(elements)
}

fn text<'a>(scanner: &mut Scanner<'a>, at: &'static str) -> Result<Cow<'a, str>> {
    scanner.string().within(at)?.to_cow().within(at)
}

fn timestamp_of(scanner: &mut Scanner<'_>, at: &'static str) -> Result<Timestamp> {
    timestamp(&text(scanner, at)?, at)
}

/// A number, or one in a string.
fn count_of(scanner: &mut Scanner<'_>, at: &'static str) -> Result<i64> {
    match scanner.kind().within(at)? {
        Kind::String => count(&text(scanner, at)?, at),
        _ => count(scanner.number().within(at)?, at),
    }
}
