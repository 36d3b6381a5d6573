//! A data change record of a received body.

use super::mods::Mods;
use super::segment::{self, Segment, Struct, bad};
use super::value::{spend, text_words, timestamp};
use crate::change::{ColumnTypes, DataChangeRecord, ModType, RecordVersion, Timestamp, ValueCaptureType};
use crate::envelope::{Body, Columns, Values};
use crate::error::Result;

/// One record, borrowed from the body.
#[derive(Debug, Clone, Copy)]
pub struct Record<'a> {
    root: Struct<'a>,
    position: usize,
}

impl<'a> Record<'a> {
    pub(super) fn new(segment: Segment<'a>, position: usize) -> segment::Result<Self> {
        Ok(Self { root: segment.root()?, position })
    }

    /// Byte offset in the body, for [`record_at`](super::record_at).
    pub fn position(&self) -> usize {
        self.position
    }

    /// When its transaction was committed.
    pub fn commit_timestamp(&self) -> Result<Timestamp> {
        Ok(timestamp(self.root.word(0), self.root.word(1))?)
    }

    /// INSERT, UPDATE or DELETE.
    pub fn mod_type(&self) -> Result<ModType> {
        match self.root.word(1) >> 32 & 0xFFFF {
            1 => Ok(ModType::Insert),
            2 => Ok(ModType::Update),
            3 => Ok(ModType::Delete),
            _ => Ok(bad("a modification that this build does not know: update the consumer")?),
        }
    }

    /// What values the stream captures.
    pub fn value_capture_type(&self) -> Result<ValueCaptureType> {
        match self.root.word(1) >> 48 {
            1 => Ok(ValueCaptureType::OldAndNewValues),
            2 => Ok(ValueCaptureType::NewRow),
            3 => Ok(ValueCaptureType::NewValues),
            4 => Ok(ValueCaptureType::NewRowAndOldValues),
            _ => Ok(bad("a capture of values that this build does not know: update the consumer")?),
        }
    }

    /// Whether this is the transaction's last record in its partition.
    pub fn is_last_record_in_transaction_in_partition(&self) -> bool {
        self.root.word(2) & 1 == 1
    }

    /// TTL deletes and other changes no user made.
    pub fn is_system_transaction(&self) -> bool {
        self.root.word(2) & 2 == 2
    }

    /// Over all partitions.
    pub fn number_of_records_in_transaction(&self) -> i64 {
        self.root.word(3).cast_signed()
    }

    /// How many partitions the transaction's records came from.
    pub fn number_of_partitions_in_transaction(&self) -> i64 {
        self.root.word(4).cast_signed()
    }

    /// The transaction's identity.
    pub fn server_transaction_id(&self) -> Result<&'a str> {
        Ok(self.root.text(0)?)
    }

    /// Unique within a transaction; never a number.
    pub fn record_sequence(&self) -> Result<&'a str> {
        Ok(self.root.text(1)?)
    }

    /// The tag the writer gave its transaction; empty where none.
    pub fn transaction_tag(&self) -> Result<&'a str> {
        Ok(self.root.text(2)?)
    }

    /// The version of the mod with this number.
    pub fn version(&self, number: u32) -> Result<RecordVersion> {
        Ok(RecordVersion {
            commit_timestamp: self.commit_timestamp()?,
            transaction: self.server_transaction_id()?.to_owned(),
            sequence: self.record_sequence()?.to_owned(),
            number,
        })
    }

    /// The row changes.
    pub fn mods(&self) -> Result<Mods<'a>> {
        Ok(Mods::new(self.root.structs(3)?))
    }

    /// Appends this record to a body with typed values: as it is written where it came as JSON.
    /// Nothing is appended, and [`Error::Format`](crate::Error::Format) returned, where it is
    /// typed already.
    pub fn append_typed(&self, columns: &Columns, body: &mut Body) -> Result<()> {
        let mods = self.mods()?;
        let json = mods.map(|each| Ok((each.number(), each.json()?))).collect::<Result<Vec<_>>>()?;
        let record = DataChangeRecord {
            commit_timestamp: self.commit_timestamp()?,
            record_sequence: self.record_sequence()?.into(),
            server_transaction_id: self.server_transaction_id()?.into(),
            is_last_record_in_transaction_in_partition: self.is_last_record_in_transaction_in_partition(),
            table_name: columns.table().into(),
            column_types: ColumnTypes::GoogleSql(&[]),
            mods: &[],
            mod_type: self.mod_type()?,
            value_capture_type: self.value_capture_type()?,
            number_of_records_in_transaction: self.number_of_records_in_transaction(),
            number_of_partitions_in_transaction: self.number_of_partitions_in_transaction(),
            transaction_tag: self.transaction_tag()?.into(),
            is_system_transaction: self.is_system_transaction(),
        };
        body.append_mods(&record, json.iter().copied(), json.len(), columns, Values::Typed)
    }

    /// Checks everything that can be reached from it once: what is there, is there only once.
    pub(super) fn check(&self, mut left: usize) -> segment::Result<()> {
        let left = &mut left;
        timestamp(self.root.word(0), self.root.word(1))?;
        spend(left, 1 + self.root.words())?;
        for place in 0..3 {
            spend(left, text_words(self.root.text(place)?))?;
        }
        Mods::new(self.root.structs(3)?).check(left)
    }
}
