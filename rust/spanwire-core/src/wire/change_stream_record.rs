//! The `MUTABLE_KEY_RANGE` shape, the same in both dialects: a row is one string, base64 of the
//! protobuf message `google.spanner.v1.ChangeStreamRecord`.
//!
//! Source: `google/spanner/v1/change_stream.proto`. What is read is what protobuf would read: of a
//! scalar field written twice the last counts, of one not written the default, unknown fields are
//! stepped over. A message written twice where there is one, which protobuf would merge and no
//! writer writes, is refused.
//!
//! The other shapes carry the values of a mod as JSON text, this one as protobuf values beside the
//! numbers of their columns. They are written as that JSON text here, so that everything behind
//! knows one form.

use std::borrow::Cow;
use std::ops::Range;

use crate::base64;
use crate::change::{
    ColumnTypes, DataChangeRecord, Mod, ModType, PartitionEndRecord, PartitionEventRecord,
    PartitionStartRecord, Record, Timestamp, ValueCaptureType,
};
use crate::error::{Error, Result as CoreResult};

use super::column_metadata::{COLUMN_METADATA, Names, int32};
use super::protobuf::{Fields, Payload, Value};
use super::record::{Fault, Identity, In, Scratch, Sink, once, utf8};
use super::value_text;

type Result<T> = std::result::Result<T, Fault>;

/// So much space is kept; what a larger record needed is given back.
const KEPT: usize = 4 << 20;

/// The most text that a record's objects may become. Names are repeated for every value, so that a
/// corrupt record could become far more than it was.
const MOST_TEXT: usize = if cfg!(test) { 1 << 20 } else { 1 << 30 };

/// Space that is used again for every record.
#[derive(Debug, Default)]
pub struct Buffers {
    message: Vec<u8>,
    objects: Objects,
}

/// The objects of a record's mods as JSON text.
#[derive(Debug, Default)]
struct Objects {
    names: Names,
    text: String,
    /// Three for a mod, in the order of [`OBJECTS`].
    stretches: Vec<Range<usize>>,
}

/// `Mod.keys`, `old_values` and `new_values`, in the order of their numbers, from 1: so they are written.
const OBJECTS: [&str; 3] = ["mods.keys", "mods.old_values", "mods.new_values"];

const DATA: &str = "data_change_record";
const HEARTBEAT: &str = "heartbeat_record";
const START: &str = "partition_start_record";
const END: &str = "partition_end_record";
const EVENT: &str = "partition_event_record";

/// Calls `sink` with the record of a row.
pub fn read(row: &[u8], buffers: &mut Buffers, scratch: &mut Scratch, sink: &mut Sink<'_>) -> CoreResult<()> {
    let Value::Text(text) = Value::read(row).within("row").map_err(Fault::corrupt)? else {
        return Err(Error::corrupt("row: expected a string of base64"));
    };
    let Buffers { message, objects } = buffers;
    message.clear();
    if !base64::decode(text, message) {
        return Err(Error::corrupt("row: not base64"));
    }
    let (kind, body) = kind(message).map_err(Fault::corrupt)?;
    let outcome = match kind {
        DATA => scratch.data(row, |mods| data_change(body, objects, mods), || identify(body), sink),
        HEARTBEAT => sink(Ok(Record::Heartbeat(heartbeat(body).map_err(Fault::corrupt)?))),
        START => sink(Ok(Record::PartitionStart(start(body).map_err(Fault::corrupt)?))),
        END => sink(Ok(Record::PartitionEnd(end(body).map_err(Fault::corrupt)?))),
        _ => sink(Ok(Record::PartitionEvent(event(body).map_err(Fault::corrupt)?))),
    };
    buffers.give_back();
    outcome
}

/// Which record a message holds.
fn kind(message: &[u8]) -> Result<(&'static str, &[u8])> {
    const AT: &str = "ChangeStreamRecord";
    let mut found = None;
    let mut fields = Fields::of(message);
    while let Some((number, payload)) = fields.next().within(AT)? {
        let kind = match number {
            1 => DATA,
            2 => HEARTBEAT,
            3 => START,
            4 => END,
            5 => EVENT,
            _ => continue,
        };
        once(&mut found, (kind, payload.bytes().within(kind)?), AT)?;
    }
    found.ok_or(Fault::new(AT, "a record of a kind that this version does not know"))
}

fn data_change<'a>(
    record: &'a [u8],
    objects: &'a mut Objects,
    mods: &mut Vec<Mod<'a>>,
) -> Result<DataChangeRecord<'a>> {
    let mut commit_timestamp = None;
    let (mut sequence, mut transaction, mut table, mut tag) = ("", "", "", "");
    let (mut is_last, mut is_system) = (false, false);
    let (mut mod_type, mut capture_type, mut records, mut partitions) = (0, 0, 0, 0);
    // From where to where the fields of column_metadata lie.
    let mut metadata: Option<(usize, usize)> = None;
    let mut fields = Fields::of(record);
    let mut at = 0;
    while let Some((number, payload)) = fields.next().within(DATA)? {
        let next = record.len() - fields.left();
        match number {
            1 => once(&mut commit_timestamp, payload.bytes().within(DATA)?, "commit_timestamp")?,
            2 => sequence = text(payload, "record_sequence")?,
            3 => transaction = text(payload, "server_transaction_id")?,
            4 => is_last = boolean(payload, "is_last_record_in_transaction_in_partition")?,
            5 => table = text(payload, "table")?,
            COLUMN_METADATA => metadata = Some((metadata.map_or(at, |(start, _)| start), next)),
            8 => mod_type = int32(payload, "mod_type")?,
            9 => capture_type = int32(payload, "value_capture_type")?,
            10 => records = int32(payload, "number_of_records_in_transaction")?,
            11 => partitions = int32(payload, "number_of_partitions_in_transaction")?,
            12 => tag = text(payload, "transaction_tag")?,
            13 => is_system = boolean(payload, "is_system_transaction")?,
            _ => {} // the mods among them, for which the names of the columns are needed
        }
        at = next;
    }
    let metadata = metadata.map_or(&[][..], |(start, end)| &record[start..end]);
    objects.read(record, metadata)?;
    objects.hand_on(mods);
    Ok(DataChangeRecord {
        commit_timestamp: timestamp(commit_timestamp, "commit_timestamp")?,
        record_sequence: identity(sequence, "record_sequence")?,
        server_transaction_id: identity(transaction, "server_transaction_id")?,
        is_last_record_in_transaction_in_partition: is_last,
        table_name: identity(table, "table")?,
        column_types: ColumnTypes::ChangeStreamRecord(metadata),
        mods: &[], // they stay in the scratch space, whose owner puts them here
        mod_type: match mod_type {
            10 => ModType::Insert,
            20 => ModType::Update,
            30 => ModType::Delete,
            _ => return Err(Fault::new("mod_type", "not INSERT, UPDATE or DELETE")),
        },
        value_capture_type: match capture_type {
            10 => ValueCaptureType::OldAndNewValues,
            20 => ValueCaptureType::NewValues,
            30 => ValueCaptureType::NewRow,
            40 => ValueCaptureType::NewRowAndOldValues,
            _ => return Err(Fault::new("value_capture_type", "a number that this version does not know")),
        },
        number_of_records_in_transaction: records.into(),
        number_of_partitions_in_transaction: partitions.into(),
        transaction_tag: Cow::Borrowed(tag),
        is_system_transaction: is_system,
    })
}

impl Objects {
    /// Writes the objects of all mods of a record.
    fn read(&mut self, record: &[u8], metadata: &[u8]) -> Result<()> {
        self.text.clear();
        self.stretches.clear();
        self.names.read(metadata)?;
        let mut fields = Fields::of(record);
        while let Some((number, payload)) = fields.next().within(DATA)? {
            if number != 7 {
                continue;
            }
            let row_change = payload.bytes().within("mods")?;
            let (text, stretches) = (self.text.len(), self.stretches.len());
            if !self.in_order(row_change)? {
                self.text.truncate(text);
                self.stretches.truncate(stretches);
                self.one_by_one(row_change)?;
            }
        }
        Ok(())
    }

    /// Writes the objects of a mod whose fields come in the order of their numbers, as every protobuf library
    /// writes them; false where they do not.
    fn in_order(&mut self, row_change: &[u8]) -> Result<bool> {
        let mut object = 0;
        let mut start = self.text.len();
        let mut open = "{";
        let mut fields = Fields::of(row_change);
        while let Some((number, payload)) = fields.next().within("mods")? {
            let this = (number as usize).checked_sub(1);
            let Some(this) = this.filter(|&this| this < OBJECTS.len()) else { continue };
            if this < object {
                return Ok(false);
            }
            while object < this {
                start = self.close(open, start);
                open = "{";
                object += 1;
            }
            self.value(payload, open, OBJECTS[object])?;
            open = ",";
        }
        while object < OBJECTS.len() {
            start = self.close(open, start);
            open = "{";
            object += 1;
        }
        Ok(true)
    }

    /// Writes the objects of a mod whatever the order of its fields.
    fn one_by_one(&mut self, row_change: &[u8]) -> Result<()> {
        for (object, at) in (1..).zip(OBJECTS) {
            let start = self.text.len();
            let mut open = "{";
            let mut fields = Fields::of(row_change);
            while let Some((number, payload)) = fields.next().within("mods")? {
                if number == object {
                    self.value(payload, open, at)?;
                    open = ",";
                }
            }
            self.close(open, start);
        }
        Ok(())
    }

    /// Ends an object, which may be empty; where the next one starts.
    fn close(&mut self, open: &str, start: usize) -> usize {
        self.text.push_str(if open == "{" { "{}" } else { "}" });
        let end = self.text.len();
        self.stretches.push(start..end);
        end
    }

    /// Writes a member of an object, a `ModValue`.
    fn value(&mut self, payload: Payload<'_>, open: &str, at: &'static str) -> Result<()> {
        let (mut index, mut value) = (0, None);
        let mut fields = Fields::of(payload.bytes().within(at)?);
        while let Some((number, payload)) = fields.next().within(at)? {
            match number {
                1 => index = int32(payload, at)?,
                2 => once(&mut value, payload.bytes().within(at)?, at)?,
                _ => {}
            }
        }
        self.text.push_str(open);
        self.names.write(index, &mut self.text);
        value_text::write(value.unwrap_or_default(), &mut self.text).within(at)?;
        if self.text.len() > MOST_TEXT {
            return Err(Fault::new(at, "more text than any record of Spanner's could become"));
        }
        Ok(())
    }

    /// The mods, in the text that was written.
    fn hand_on<'a>(&'a self, mods: &mut Vec<Mod<'a>>) {
        mods.extend(self.stretches.as_chunks::<3>().0.iter().map(|[keys, old_values, new_values]| Mod {
            keys: &self.text[keys.clone()],
            new_values: &self.text[new_values.clone()],
            old_values: &self.text[old_values.clone()],
        }));
    }
}

impl Buffers {
    fn give_back(&mut self) {
        if self.message.capacity() + self.objects.text.capacity() > KEPT {
            *self = Self::default();
        }
    }
}

/// What can be read of a record that otherwise cannot.
fn identify(record: &[u8]) -> Identity {
    let mut found = Identity::default();
    let string = |payload: Payload<'_>| text(payload, "").unwrap_or_default().to_owned();
    let mut fields = Fields::of(record);
    // The first thing that is no field ends it, and that is no fault here.
    while let Ok(Some((number, payload))) = fields.next() {
        match number {
            1 => found.commit_timestamp = timestamp(payload.bytes().ok(), "").ok(),
            2 => found.sequence = string(payload),
            3 => found.transaction = string(payload),
            5 => found.table = string(payload),
            _ => {}
        }
    }
    found
}

fn heartbeat(record: &[u8]) -> Result<Timestamp> {
    let mut found = None;
    let mut fields = Fields::of(record);
    while let Some((number, payload)) = fields.next().within(HEARTBEAT)? {
        if number == 1 {
            once(&mut found, payload.bytes().within(HEARTBEAT)?, "heartbeat_record.timestamp")?;
        }
    }
    timestamp(found, "heartbeat_record.timestamp")
}

fn start(record: &[u8]) -> Result<PartitionStartRecord<'_>> {
    let mut head = Head::default();
    let mut tokens = Vec::new();
    let mut fields = Fields::of(record);
    while let Some((number, payload)) = fields.next().within(START)? {
        match number {
            3 => tokens.push(identity(text(payload, START)?, "partition_start_record.partition_tokens")?),
            _ => head.field(number, payload, START)?,
        }
    }
    Ok(PartitionStartRecord {
        start_timestamp: timestamp(head.timestamp, "partition_start_record.start_timestamp")?,
        record_sequence: Cow::Borrowed(head.sequence),
        partition_tokens: tokens,
    })
}

fn end(record: &[u8]) -> Result<PartitionEndRecord<'_>> {
    let mut head = Head::default();
    let mut token = "";
    let mut fields = Fields::of(record);
    while let Some((number, payload)) = fields.next().within(END)? {
        match number {
            3 => token = text(payload, "partition_end_record.partition_token")?,
            _ => head.field(number, payload, END)?,
        }
    }
    Ok(PartitionEndRecord {
        end_timestamp: timestamp(head.timestamp, "partition_end_record.end_timestamp")?,
        record_sequence: Cow::Borrowed(head.sequence),
        partition_token: Cow::Borrowed(token),
    })
}

fn event(record: &[u8]) -> Result<PartitionEventRecord<'_>> {
    let mut head = Head::default();
    let mut token = "";
    let (mut sources, mut destinations) = (Vec::new(), Vec::new());
    let mut fields = Fields::of(record);
    while let Some((number, payload)) = fields.next().within(EVENT)? {
        match number {
            3 => token = text(payload, "partition_event_record.partition_token")?,
            4 => sources.push(other(payload, "partition_event_record.move_in_events")?),
            5 => destinations.push(other(payload, "partition_event_record.move_out_events")?),
            _ => head.field(number, payload, EVENT)?,
        }
    }
    Ok(PartitionEventRecord {
        commit_timestamp: timestamp(head.timestamp, "partition_event_record.commit_timestamp")?,
        record_sequence: Cow::Borrowed(head.sequence),
        partition_token: Cow::Borrowed(token),
        sources,
        destinations,
    })
}

/// The token in a `MoveInEvent` or a `MoveOutEvent`.
fn other<'a>(payload: Payload<'a>, at: &'static str) -> Result<Cow<'a, str>> {
    let mut token = "";
    let mut fields = Fields::of(payload.bytes().within(at)?);
    while let Some((number, payload)) = fields.next().within(at)? {
        if number == 1 {
            token = text(payload, at)?;
        }
    }
    identity(token, at)
}

/// What the records about partitions begin with.
#[derive(Default)]
struct Head<'a> {
    timestamp: Option<&'a [u8]>,
    sequence: &'a str,
}

impl<'a> Head<'a> {
    fn field(&mut self, number: u32, payload: Payload<'a>, at: &'static str) -> Result<()> {
        match number {
            1 => once(&mut self.timestamp, payload.bytes().within(at)?, at)?,
            2 => self.sequence = text(payload, at)?,
            _ => {}
        }
        Ok(())
    }
}

/// A `google.protobuf.Timestamp`.
fn timestamp(encoded: Option<&[u8]>, at: &'static str) -> Result<Timestamp> {
    let (mut seconds, mut nanos) = (0, 0);
    let mut fields = Fields::of(encoded.ok_or(Fault::new(at, "missing"))?);
    while let Some((number, payload)) = fields.next().within(at)? {
        match number {
            1 => seconds = payload.varint().within(at)?.cast_signed(),
            2 => nanos = int32(payload, at)?,
            _ => {}
        }
    }
    match u32::try_from(nanos) {
        Ok(nanos @ 0..1_000_000_000)
            if (Timestamp::MIN.seconds..=Timestamp::MAX.seconds).contains(&seconds) =>
        {
            Ok(Timestamp { seconds, nanos })
        }
        _ => Err(Fault::new(at, "not a timestamp")),
    }
}

#[inline]
fn text<'a>(payload: Payload<'a>, at: &'static str) -> Result<&'a str> {
    utf8(payload.bytes().within(at)?, at)
}

fn boolean(payload: Payload<'_>, at: &'static str) -> Result<bool> {
    payload.varint().within(at).map(|value| value != 0)
}

/// A name by which things are told apart: protobuf writes none for an empty one, and two records
/// without would be taken for the same.
fn identity<'a>(name: &'a str, at: &'static str) -> Result<Cow<'a, str>> {
    if name.is_empty() { Err(Fault::new(at, "missing")) } else { Ok(Cow::Borrowed(name)) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_does_not_become_text_without_bounds() {
        // One column with a name of 100 bytes, and mods with one null in each.
        let metadata = [&[0x32, 102, 0x0a, 100][..], &[b'n'; 100]].concat();
        let row_change = [0x3a, 6, 0x0a, 4, 0x12, 2, 0x08, 0];
        let mut objects = Objects::default();
        let mut read = |mods: usize| objects.read(&row_change.repeat(mods), &metadata);
        assert!(read(9_000).is_ok());
        assert_eq!(
            read(10_000).unwrap_err().to_string(),
            "mods.keys: more text than any record of Spanner's could become"
        );
    }
}
