//! The `GoogleSQL` shape: `ARRAY<STRUCT<data ARRAY<…>, heartbeat ARRAY<…>, child ARRAY<…>>>`, each
//! struct a list of its fields by place.
//!
//! Source: <https://cloud.google.com/spanner/docs/change-streams/details#change_streams_record_format>.
//! Fields that Spanner may append to a struct one day are stepped over.

use std::borrow::Cow;

use crate::change::{
    ChildPartition, ChildPartitionsRecord, ColumnTypes, DataChangeRecord, Mod, ModType, Record, Timestamp,
    ValueCaptureType,
};
use crate::error::Result as CoreResult;

use super::protobuf::{Elements, List, Value, alone, tag};
use super::record::{Fault, Identity, In, Scratch, Sink, count, timestamp, utf8};

type Result<T> = std::result::Result<T, Fault>;

/// Calls `sink` with each record of a row.
pub fn read(row: &[u8], scratch: &mut Scratch, sink: &mut Sink<'_>) -> CoreResult<()> {
    let mut records = array(row, "ChangeRecord").map_err(Fault::corrupt)?;
    while let Some(record) = records.next().within("ChangeRecord").map_err(Fault::corrupt)? {
        let Kinds { mut data, mut heartbeats, mut children } = kinds(record).map_err(Fault::corrupt)?;
        while let Some(raw) = present(&mut data, "data_change_record").map_err(Fault::corrupt)? {
            scratch.data(raw, |mods| data_change(raw, mods), || identify(raw), sink)?;
        }
        while let Some(raw) = present(&mut heartbeats, "heartbeat_record").map_err(Fault::corrupt)? {
            sink(Ok(Record::Heartbeat(heartbeat(raw).map_err(Fault::corrupt)?)))?;
        }
        while let Some(raw) = present(&mut children, "child_partitions_record").map_err(Fault::corrupt)? {
            sink(Ok(Record::Children(child_partitions(raw).map_err(Fault::corrupt)?)))?;
        }
    }
    Ok(())
}

/// The three arrays of a change record, of which one has something in it.
struct Kinds<'a> {
    data: Elements<'a>,
    heartbeats: Elements<'a>,
    children: Elements<'a>,
}

fn kinds(record: &[u8]) -> Result<Kinds<'_>> {
    let mut fields = Struct::of(record, "ChangeRecord")?;
    let kinds = Kinds {
        data: fields.array("data_change_record")?,
        heartbeats: fields.array("heartbeat_record")?,
        children: fields.array("child_partitions_record")?,
    };
    let nothing = kinds.data.left() + kinds.heartbeats.left() + kinds.children.left() == 0;
    if nothing && fields.elements.left() > 0 {
        return Err(Fault::new("ChangeRecord", "a record of a kind that this version does not know"));
    }
    Ok(kinds)
}

fn data_change<'a>(record: &'a [u8], mods: &mut Vec<Mod<'a>>) -> Result<DataChangeRecord<'a>> {
    let mut fields = Struct::of(record, "data_change_record")?;
    Ok(DataChangeRecord {
        commit_timestamp: fields.timestamp("commit_timestamp")?,
        record_sequence: Cow::Borrowed(fields.text("record_sequence")?),
        server_transaction_id: Cow::Borrowed(fields.text("server_transaction_id")?),
        is_last_record_in_transaction_in_partition: fields
            .boolean("is_last_record_in_transaction_in_partition")?,
        table_name: Cow::Borrowed(fields.text("table_name")?),
        column_types: ColumnTypes::GoogleSql(fields.encoded("column_types")?),
        mods: {
            let mut elements = fields.array("mods")?;
            while let Some(element) = elements.next().within("mods")? {
                mods.push(row_change(element)?);
            }
            &[] // they stay in the scratch space, whose owner puts them here
        },
        mod_type: ModType::from_name(fields.text("mod_type")?)
            .ok_or(Fault::new("mod_type", "not INSERT, UPDATE or DELETE"))?,
        value_capture_type: ValueCaptureType::from_name(fields.text("value_capture_type")?)
            .ok_or(Fault::new("value_capture_type", "a name that this version does not know"))?,
        number_of_records_in_transaction: fields.count("number_of_records_in_transaction")?,
        number_of_partitions_in_transaction: fields.count("number_of_partitions_in_transaction")?,
        transaction_tag: Cow::Borrowed(fields.text("transaction_tag")?),
        is_system_transaction: fields.boolean("is_system_transaction")?,
    })
}

#[inline]
fn row_change(element: &[u8]) -> Result<Mod<'_>> {
    let mut fields = Struct::of(element, "mods")?;
    Ok(Mod {
        keys: fields.json("mods.keys")?,
        new_values: fields.json("mods.new_values")?,
        old_values: fields.json("mods.old_values")?,
    })
}

/// What can be read of a record that otherwise cannot.
fn identify(record: &[u8]) -> Identity {
    let mut identity = Identity::default();
    let Ok(mut fields) = Struct::of(record, "") else { return identity };
    identity.commit_timestamp = fields.timestamp("").ok();
    identity.sequence = fields.text("").unwrap_or_default().into();
    identity.transaction = fields.text("").unwrap_or_default().into();
    let _ = fields.encoded("");
    identity.table = fields.text("").unwrap_or_default().into();
    identity
}

fn heartbeat(record: &[u8]) -> Result<Timestamp> {
    Struct::of(record, "heartbeat_record")?.timestamp("heartbeat_record.timestamp")
}

fn child_partitions(record: &[u8]) -> Result<ChildPartitionsRecord<'_>> {
    let mut fields = Struct::of(record, "child_partitions_record")?;
    let start_timestamp = fields.timestamp("child_partitions_record.start_timestamp")?;
    let record_sequence = Cow::Borrowed(fields.text("child_partitions_record.record_sequence")?);
    let mut children = fields.array("child_partitions")?;
    let mut child_partitions = Vec::new();
    while let Some(child) = present(&mut children, "child_partitions")? {
        let mut fields = Struct::of(child, "child_partitions")?;
        let token = Cow::Borrowed(fields.text("child_partitions.token")?);
        let mut parents = fields.array("child_partitions.parent_partition_tokens")?;
        let mut parent_partition_tokens = Vec::new();
        // A partition of the initial query has no parents, or one that is NULL.
        while let Some(parent) = present(&mut parents, "child_partitions.parent_partition_tokens")? {
            let value = Value::read(parent).within("child_partitions.parent_partition_tokens")?;
            parent_partition_tokens
                .push(Cow::Borrowed(text(value, "child_partitions.parent_partition_tokens")?));
        }
        child_partitions.push(ChildPartition { token, parent_partition_tokens });
    }
    Ok(ChildPartitionsRecord { start_timestamp, record_sequence, child_partitions })
}

/// A struct: its fields one after the other.
pub struct Struct<'a> {
    elements: Elements<'a>,
}

impl<'a> Struct<'a> {
    #[inline]
    pub fn of(encoded: &'a [u8], at: &'static str) -> Result<Self> {
        if let Some(list) = alone(tag::LIST, encoded) {
            return Ok(Self { elements: List(list).elements() });
        }
        match Value::read(encoded).within(at)? {
            Value::List(list) => Ok(Self { elements: list.elements() }),
            _ => Err(Fault::new(at, "expected a struct")),
        }
    }

    /// The next field as it is encoded.
    #[inline]
    pub fn encoded(&mut self, at: &'static str) -> Result<&'a [u8]> {
        self.elements.next().within(at)?.ok_or(Fault::new(at, "missing"))
    }

    #[inline]
    fn value(&mut self, at: &'static str) -> Result<Value<'a>> {
        Value::read(self.encoded(at)?).within(at)
    }

    #[inline]
    pub fn text(&mut self, at: &'static str) -> Result<&'a str> {
        let encoded = self.encoded(at)?;
        match alone(tag::TEXT, encoded) {
            Some(bytes) => utf8(bytes, at),
            None => text(Value::read(encoded).within(at)?, at),
        }
    }

    /// JSON text of an object; NULL is an empty one, and so is JSON's null, which the emulator writes
    /// for the old values of an update that changed none.
    #[inline]
    fn json(&mut self, at: &'static str) -> Result<&'a str> {
        let encoded = self.encoded(at)?;
        match alone(tag::TEXT, encoded) {
            Some(b"{}" | b"null") => Ok("{}"),
            Some(bytes) => utf8(bytes, at),
            None => match Value::read(encoded).within(at)? {
                Value::Null | Value::Text(b"null") => Ok("{}"),
                value => text(value, at),
            },
        }
    }

    pub fn boolean(&mut self, at: &'static str) -> Result<bool> {
        match self.value(at)? {
            Value::Bool(value) => Ok(value),
            _ => Err(Fault::new(at, "expected a bool")),
        }
    }

    /// An INT64, which travels as text.
    pub fn count(&mut self, at: &'static str) -> Result<i64> {
        count(self.text(at)?, at)
    }

    fn timestamp(&mut self, at: &'static str) -> Result<Timestamp> {
        timestamp(self.text(at)?, at)
    }

    fn array(&mut self, at: &'static str) -> Result<Elements<'a>> {
        array(self.encoded(at)?, at)
    }
}

#[inline]
fn text<'a>(value: Value<'a>, at: &'static str) -> Result<&'a str> {
    match value {
        Value::Text(bytes) => utf8(bytes, at),
        _ => Err(Fault::new(at, "expected a string")),
    }
}

/// An array; NULL is an empty one.
pub fn array<'a>(encoded: &'a [u8], at: &'static str) -> Result<Elements<'a>> {
    match Value::read(encoded).within(at)? {
        Value::List(list) => Ok(list.elements()),
        Value::Null => Ok(List(&[]).elements()),
        _ => Err(Fault::new(at, "expected an array")),
    }
}

/// The next element that is not NULL.
fn present<'a>(elements: &mut Elements<'a>, at: &'static str) -> Result<Option<&'a [u8]>> {
    while let Some(element) = elements.next().within(at)? {
        if alone(tag::LIST, element).is_some() || Value::read(element) != Ok(Value::Null) {
            return Ok(Some(element));
        }
    }
    Ok(None)
}
