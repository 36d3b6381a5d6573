//! One flow: the messages of one topic from one partition under one epoch through one output, numbered
//! without holes.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use crate::change::{DataChangeRecord, Mod, RecordVersion};
use crate::envelope::{self, Body, Columns, Header, Kind, Misfits};
use crate::error::Result;
use crate::output::{Message, Pool};

use super::settings::{Batch, Lane};

/// What all flows of a partition say in their headers.
#[derive(Debug, Clone)]
pub struct Origin {
    /// What their messages are: changes, or rows of a snapshot.
    pub kind: Kind,
    /// The relay process.
    pub incarnation: u64,
    /// The partition.
    pub partition: [u8; 16],
    /// Its ownership.
    pub epoch: u64,
    /// How many moves of keys it has passed under it.
    pub stage: u32,
}

/// One flow, and the message that is being filled for it.
#[derive(Debug)]
pub struct Flow {
    /// Names the flow among all of a pipeline.
    id: u64,
    topic: Arc<[u8]>,
    /// Which of the pipeline's outputs it goes through.
    output: u16,
    /// Which of the output's senders: a topic always goes through the same one.
    pub sender: usize,
    sequence: u64,
    /// Kept between messages for what it has learned of the values' order.
    body: Body,
    open: Option<Open>,
    /// The sender's count at which this flow's last queued message has gone out.
    pub queued: u64,
}

/// A message that is being filled, in the flow's body.
#[derive(Debug)]
struct Open {
    columns: Arc<Columns>,
    first: RecordVersion,
    last: RecordVersion,
    opened: Instant,
    received_at: i64,
}

/// When the messages of a push left Spanner's channel, on both clocks.
#[derive(Debug, Clone, Copy)]
pub struct Received {
    /// For ages.
    pub at: Instant,
    /// For headers: nanoseconds since 1970 UTC.
    pub unix_nanos: i64,
}

/// Mods of one record, at least one.
pub struct Mods<I> {
    each: I,
    count: usize,
    first: u32,
    last: u32,
}

/// All mods of a record, numbered from `first` on; none where it has none.
pub fn all_mods<'m>(
    record: &DataChangeRecord<'m>,
    first: u32,
) -> Option<Mods<impl Iterator<Item = (u32, Mod<'m>)> + Clone>> {
    let count = record.mods.len();
    let last = first.saturating_add(u32::try_from(count.checked_sub(1)?).unwrap_or(u32::MAX));
    Some(Mods { each: (first..).zip(record.mods.iter().copied()), count, first, last })
}

/// Some mods of a record, each with its number in it; none where these are none.
pub fn some_mods<'m, I: Iterator<Item = (u32, Mod<'m>)> + Clone>(each: I) -> Option<Mods<I>> {
    let (first, _) = each.clone().next()?;
    let (count, last) = each.clone().fold((0, first), |(count, _), (number, _)| (count + 1, number));
    Some(Mods { each, count, first, last })
}

impl Flow {
    pub fn new(id: u64, topic: Arc<[u8]>, output: u16, sender: usize, on_misfit: Misfits) -> Self {
        Self { id, topic, output, sender, sequence: 0, body: Body::new(on_misfit), open: None, queued: 0 }
    }

    /// Whether a message is being filled.
    pub fn is_open(&self) -> bool {
        self.open.is_some()
    }

    /// Whether the open message must be closed before a record with these columns is written.
    pub fn must_close_for(&self, columns: &Arc<Columns>) -> bool {
        self.open
            .as_ref()
            .is_some_and(|open| !Arc::ptr_eq(&open.columns, columns) && open.columns.hash() != columns.hash())
    }

    /// Writes a record with these of its mods. On an error the flow is as it was before.
    pub fn write<'m>(
        &mut self,
        record: &DataChangeRecord<'_>,
        mods: Mods<impl Iterator<Item = (u32, Mod<'m>)> + Clone>,
        columns: &Arc<Columns>,
        lane: &Lane,
        pool: &Pool,
        received: Received,
    ) -> Result<()> {
        let Mods { each, count, first, last } = mods;
        if let Some(open) = &mut self.open {
            self.body.append_mods(record, each, count, columns, lane.values)?;
            set_version(&mut open.last, record, last);
            return Ok(());
        }
        self.body.replace_buffer(pool.take(lane.batch.bytes));
        if let Err(error) = self.body.append_mods(record, each, count, columns, lane.values) {
            pool.give(self.body.replace_buffer(Vec::new()));
            return Err(error);
        }
        self.open = Some(Open {
            columns: Arc::clone(columns),
            first: record.version(first),
            last: record.version(last),
            opened: received.at,
            received_at: received.unix_nanos,
        });
        Ok(())
    }

    /// Whether the open message has reached a bound.
    pub fn is_due(&self, batch: &Batch, now: Instant) -> bool {
        self.open.as_ref().is_some_and(|open| {
            self.body.len() >= batch.bytes
                || self.body.count() >= batch.changes
                || now.saturating_duration_since(open.opened) >= batch.delay
        })
    }

    /// How many messages it has made.
    pub fn messages(&self) -> u64 {
        self.sequence
    }

    /// Closes the open message, if there is one; counts values that did not fit their type.
    pub fn close(&mut self, origin: &Origin, lane: &Lane, misfits: &AtomicU64) -> Option<Message> {
        let Open { columns, first, last, received_at, .. } = self.open.take()?;
        let changes = self.body.count();
        misfits.fetch_add(self.body.misfits(), Ordering::Relaxed);
        let header = Header {
            kind: origin.kind,
            values: lane.values,
            incarnation: origin.incarnation,
            output: self.output,
            epoch: origin.epoch,
            stage: origin.stage,
            sequence: self.sequence,
            count: changes,
            received_at,
            partition: origin.partition,
            columns_hash: Some(columns.hash()),
            first: Some(first),
            last: Some(last),
            ..Header::default()
        };
        let frames = (columns.frame(), self.body.replace_buffer(Vec::new()));
        Some(self.message(&header, frames, changes))
    }

    /// A dead letter, as a message of this flow.
    pub fn dead_letter(
        &mut self,
        letter: &envelope::DeadLetter,
        origin: &Origin,
        received: Received,
    ) -> Message {
        let header = Header {
            kind: Kind::DeadLetter,
            incarnation: origin.incarnation,
            output: self.output,
            epoch: origin.epoch,
            stage: origin.stage,
            sequence: self.sequence,
            received_at: received.unix_nanos,
            partition: origin.partition,
            first: Some(letter.version.clone()),
            last: Some(letter.version.clone()),
            ..Header::default()
        };
        self.message(&header, (Arc::from([]), letter.encode()), 0)
    }

    fn message(&mut self, header: &Header, (columns, body): (Arc<[u8]>, Vec<u8>), changes: u32) -> Message {
        let message = Message {
            flow: self.id,
            sequence: self.sequence,
            topic: Arc::clone(&self.topic),
            header: header.encode(),
            columns,
            body,
            changes,
        };
        self.sequence += 1;
        message
    }
}

/// Writes a version over another one, in its buffers.
fn set_version(version: &mut RecordVersion, record: &DataChangeRecord<'_>, number: u32) {
    version.commit_timestamp = record.commit_timestamp;
    version.number = number;
    version.transaction.clear();
    version.transaction.push_str(&record.server_transaction_id);
    version.sequence.clear();
    version.sequence.push_str(&record.record_sequence);
}
