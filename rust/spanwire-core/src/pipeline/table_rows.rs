//! A part of a table as it was at one timestamp, on its way into messages of kind snapshot.
//!
//! A row goes out as an insert would, by the output's own topics, choice and values. It is handed over
//! in larger messages than changes are: nobody waits for one row of a snapshot.

use std::borrow::Cow;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::change::{ColumnTypes, DataChangeRecord, ModType, Timestamp, ValueCaptureType};
use crate::dedup::Window;
use crate::envelope::{Columns, Kind, partition_hash};
use crate::error::{Error, Result};
use crate::output::Room;
use crate::wire::{Rows, TableColumn, TableReader};

use super::Shared;
use super::flow::Origin;
use super::intake::Intake;
use super::partition::now;

/// What is read of a table.
#[derive(Debug, Clone)]
pub struct TableSettings {
    /// The table, with its schema where it has one.
    pub table: String,
    /// Names the part among all of the table: together with a row's number, unique in the snapshot.
    pub part: String,
    /// What the query selects, in this order; at least one.
    pub columns: Vec<TableColumn>,
    /// The rows are as they were at this timestamp.
    pub at: Timestamp,
}

/// The rows of one part of a table.
#[derive(Debug)]
pub struct TableRows {
    table: String,
    part: String,
    at: Timestamp,
    partition: [u8; 16],
    shared: Arc<Shared>,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    reader: TableReader,
    intake: Intake,
    columns: Option<Arc<Columns>>,
    is_done: bool,
}

impl TableRows {
    pub(super) fn open(shared: &Arc<Shared>, settings: TableSettings) -> Self {
        let TableSettings { table, part, columns, at } = settings;
        let partition = partition_hash(&format!("{table}\0{part}\0{at}"));
        let incarnation = shared.incarnation;
        let origin = Origin { kind: Kind::Snapshot, incarnation, partition, epoch: 0, stage: 0 };
        let state = State {
            reader: TableReader::new(columns, shared.settings.max_record_bytes),
            intake: Intake::new(Arc::clone(shared), origin, Window::default()),
            columns: None,
            is_done: false,
        };
        Self { table, part, at, partition, shared: Arc::clone(shared), state: Mutex::new(state) }
    }

    /// What its messages name as their partition.
    pub fn partition(&self) -> [u8; 16] {
        self.partition
    }

    /// Takes messages of the query, in order; how many rows of them go out. Waits while an output that blocks
    /// is full. After an
    /// error it takes nothing more.
    pub fn push<M: AsRef<[u8]>>(&self, messages: &[M]) -> Result<u64> {
        self.shared.counters.pushed(messages.iter().map(|message| message.as_ref().len()).sum());
        let received = now();
        let mut state = self.locked()?;
        state.is_done = true; // unless nothing goes wrong
        let State { reader, intake, columns, .. } = &mut *state;
        let mut sent = 0;
        for message in messages {
            reader.message(message.as_ref(), &mut |rows: Rows<'_>| {
                let columns = columns.get_or_insert_with(|| {
                    self.shared.shapes.intern(Columns::new(&self.table, rows.columns.to_vec()))
                });
                sent += intake.rows(&self.record(&rows), rows.first, columns, received)?;
                Ok(())
            })?;
        }
        intake.close_due(received)?;
        state.is_done = false;
        Ok(sent)
    }

    /// After the stream broke: the token behind which the same query goes on, if there is one. What was sent
    /// of what comes then is not sent again.
    pub fn resume(&self) -> Option<Vec<u8>> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.reader.resume().map(<[u8]>::to_vec)
    }

    /// The query is asked anew: all its rows come again, and are sent again.
    pub fn restart(&self) {
        self.state.lock().unwrap_or_else(PoisonError::into_inner).reader.restart();
    }

    /// All rows have come: hands over what is open. How many messages they went out in.
    pub fn finish(&self) -> Result<u64> {
        let mut state = self.locked()?;
        state.reader.finish()?;
        state.intake.close_all(Room::Wait)?;
        state.is_done = true;
        Ok(state.intake.messages())
    }

    fn locked(&self) -> Result<MutexGuard<'_, State>> {
        // A panic left it done.
        let state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        if state.is_done { Err(Error::Closed) } else { Ok(state) }
    }

    /// Rows as a record: an insert of each, at the snapshot's timestamp, by no transaction.
    fn record<'a>(&'a self, rows: &Rows<'a>) -> DataChangeRecord<'a> {
        DataChangeRecord {
            commit_timestamp: self.at,
            record_sequence: Cow::Borrowed(&self.part),
            server_transaction_id: Cow::Borrowed(""),
            is_last_record_in_transaction_in_partition: false,
            table_name: Cow::Borrowed(&self.table),
            column_types: ColumnTypes::PostgreSql(b"[]"), // they are given apart
            mods: rows.rows,
            mod_type: ModType::Insert,
            value_capture_type: ValueCaptureType::NewRow,
            number_of_records_in_transaction: 0,
            number_of_partitions_in_transaction: 0,
            transaction_tag: Cow::Borrowed(""),
            is_system_transaction: false,
        }
    }
}
