//! A data change record of a received body, and its mods.

use super::segment::{Segment, Struct, Structs, bad};
use super::value::{Value, spend, text_words, timestamp};
use crate::change::{
    self, Column, ColumnTypes, DataChangeRecord, ModType, RecordVersion, Timestamp, ValueCaptureType,
};
use crate::envelope::columns::Role;
use crate::envelope::{Body, Columns, Values};
use crate::error::Result;

/// One record, borrowed from the body.
#[derive(Debug, Clone, Copy)]
pub struct Record<'a> {
    root: Struct<'a>,
    position: usize,
}

impl<'a> Record<'a> {
    pub(super) fn new(segment: Segment<'a>, position: usize) -> Result<Self> {
        Ok(Self { root: segment.root()?, position })
    }

    /// Byte offset in the body, for [`record_at`](super::record_at).
    pub fn position(&self) -> usize {
        self.position
    }

    /// When its transaction was committed.
    pub fn commit_timestamp(&self) -> Result<Timestamp> {
        timestamp(self.root.word(0), self.root.word(1))
    }

    /// INSERT, UPDATE or DELETE.
    pub fn mod_type(&self) -> Result<ModType> {
        match self.root.word(1) >> 32 & 0xFFFF {
            1 => Ok(ModType::Insert),
            2 => Ok(ModType::Update),
            3 => Ok(ModType::Delete),
            _ => bad("a modification that this build does not know"),
        }
    }

    /// What values the stream captures.
    pub fn value_capture_type(&self) -> Result<ValueCaptureType> {
        match self.root.word(1) >> 48 {
            1 => Ok(ValueCaptureType::OldAndNewValues),
            2 => Ok(ValueCaptureType::NewRow),
            3 => Ok(ValueCaptureType::NewValues),
            4 => Ok(ValueCaptureType::NewRowAndOldValues),
            _ => bad("a capture of values that this build does not know"),
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
        self.root.text(0)
    }

    /// Unique within a transaction; never a number.
    pub fn record_sequence(&self) -> Result<&'a str> {
        self.root.text(1)
    }

    /// The tag the writer gave its transaction; empty where none.
    pub fn transaction_tag(&self) -> Result<&'a str> {
        self.root.text(2)
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
        Ok(Mods { structs: self.root.structs(3)?, next: 0 })
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
    pub(super) fn check(&self, mut left: usize) -> Result<()> {
        let left = &mut left;
        self.commit_timestamp()?;
        spend(left, 1 + self.root.words())?;
        for place in 0..3 {
            spend(left, text_words(self.root.text(place)?))?;
        }
        let mods = self.mods()?;
        spend(left, mods.structs.words())?;
        for each in mods {
            each.check(left)?;
        }
        Ok(())
    }
}

/// The mods of a record.
#[derive(Debug, Clone)]
pub struct Mods<'a> {
    structs: Structs<'a>,
    next: usize,
}

impl<'a> Mods<'a> {
    /// One of them, by its place in the message (which may differ from [`Mod::number`]).
    pub fn get(&self, place: usize) -> Option<Mod<'a>> {
        self.structs.get(place).map(|root| Mod { root })
    }
}

impl<'a> Iterator for Mods<'a> {
    type Item = Mod<'a>;

    #[inline]
    fn next(&mut self) -> Option<Mod<'a>> {
        let found = self.get(self.next)?;
        self.next += 1;
        Some(found)
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        let left = self.structs.len() - self.next;
        (left, Some(left))
    }
}

impl ExactSizeIterator for Mods<'_> {}

/// One row change.
#[derive(Debug, Clone, Copy)]
pub struct Mod<'a> {
    root: Struct<'a>,
}

/// A value whose column the record does not describe, or describes with another role.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Other<'a> {
    /// The object it was in.
    pub place: OtherPlace,
    /// Its name there.
    pub name: &'a str,
    /// Its JSON text as Spanner sent it.
    pub json: &'a str,
}

/// One of a mod's objects.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum OtherPlace {
    Keys,
    NewValues,
    OldValues,
}

impl<'a> Mod<'a> {
    /// Its place in Spanner's record, from 0: the last part of the record version.
    #[allow(clippy::cast_possible_truncation)] // the low half
    pub fn number(&self) -> u32 {
        self.root.word(0) as u32
    }

    /// How its values are written.
    pub fn values(&self) -> Result<Values> {
        match self.root.word(0) >> 32 & 0xFFFF {
            0 => Ok(Values::Typed),
            1 => Ok(Values::Json),
            _ => bad("a kind of mod that this build does not know"),
        }
    }

    /// Of a mod with JSON values: their text as Spanner sent it.
    pub fn json(&self) -> Result<change::Mod<'a>> {
        if self.values()? != Values::Json {
            return bad("JSON values were expected, and these are typed");
        }
        Ok(change::Mod {
            keys: self.root.text(0)?,
            new_values: self.root.text(1)?,
            old_values: self.root.text(2)?,
        })
    }

    /// Of a mod with typed values: the primary key's. Trailing missing ones may be cut.
    pub fn keys<'c>(&self, columns: &'c Columns) -> Result<Cells<'a, 'c>> {
        self.cells(0, &columns.key, columns)
    }

    /// Of a mod with typed values: those after the change.
    pub fn new_values<'c>(&self, columns: &'c Columns) -> Result<Cells<'a, 'c>> {
        self.cells(1, &columns.rest, columns)
    }

    /// Of a mod with typed values: those before the change.
    pub fn old_values<'c>(&self, columns: &'c Columns) -> Result<Cells<'a, 'c>> {
        self.cells(2, &columns.rest, columns)
    }

    fn cells<'c>(&self, place: usize, role: &'c Role, columns: &'c Columns) -> Result<Cells<'a, 'c>> {
        if self.values()? != Values::Typed {
            return bad("typed values were expected, and these are JSON");
        }
        let cells = self.root.structs(place)?;
        if cells.len() > role.fields.len() {
            return bad("more values than columns");
        }
        Ok(Cells { list: cells, role, columns, next: 0 })
    }

    /// Of a mod with typed values: what has no place in the lists.
    pub fn others(&self) -> Result<impl ExactSizeIterator<Item = Result<Other<'a>>> + use<'a>> {
        if self.values()? != Values::Typed {
            return bad("typed values were expected, and these are JSON");
        }
        let structs = self.root.structs(3)?;
        Ok((0..structs.len()).map(move |place| {
            let Some(other) = structs.get(place) else { return bad("a list shorter than it says") };
            let place = match other.word(0) & 0xFFFF {
                0 => OtherPlace::Keys,
                1 => OtherPlace::NewValues,
                2 => OtherPlace::OldValues,
                _ => return bad("a place of a value that this build does not know"),
            };
            Ok(Other { place, name: other.text(0)?, json: other.text(1)? })
        }))
    }

    fn check(&self, left: &mut usize) -> Result<()> {
        if self.values()? == Values::Json {
            let json = self.json()?;
            return [json.keys, json.new_values, json.old_values]
                .iter()
                .try_for_each(|text| spend(left, text_words(text)));
        }
        for place in 0..3 {
            let cells = self.root.structs(place)?;
            spend(left, cells.words())?;
            (0..cells.len())
                .filter_map(|cell| cells.get(cell))
                .try_for_each(|cell| Value::check(&cell, left))?;
        }
        spend(left, self.root.structs(3)?.words())?;
        self.others()?.try_for_each(|other| {
            let other = other?;
            spend(left, text_words(other.name) + text_words(other.json))
        })
    }
}

/// A list of values with their columns.
#[derive(Debug, Clone)]
pub struct Cells<'a, 'c> {
    list: Structs<'a>,
    role: &'c Role,
    columns: &'c Columns,
    next: usize,
}

impl<'a, 'c> Iterator for Cells<'a, 'c> {
    type Item = Result<(&'c Column, Value<'a>)>;

    #[inline]
    fn next(&mut self) -> Option<Self::Item> {
        let cell = self.list.get(self.next)?;
        let column = &self.columns.columns()[self.role.fields[self.next].column];
        self.next += 1;
        Some(Value::read(&cell).map(|value| (column, value)))
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        let left = self.list.len() - self.next;
        (left, Some(left))
    }
}

impl ExactSizeIterator for Cells<'_, '_> {}
