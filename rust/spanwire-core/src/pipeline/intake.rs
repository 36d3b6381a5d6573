//! What becomes of a partition's records: dropped if they were handed over before, else written
//! into the open messages of their topics.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use foldhash::fast::FixedState;

use crate::change::{DataChangeRecord, Mod, Record, RecordVersion, Timestamp};
use crate::dedup::{Taken, Window};
use crate::envelope::{Columns, DeadLetter, partition_hash};
use crate::error::{Error, Result};
use crate::output::{Enqueued, Message, Room, Sender};

use super::choosing::Choosing;
use super::flow::{Flow, Mods, Origin, Received, all_mods, some_mods};
use super::owned::{Children, PartitionEvent, PartitionStart};
use super::settings::OnUndecodable;
use super::shapes::Shapes;
use super::{Shared, SharedLane};

/// Behind the reason of a dead letter that does not hold its row.
const WITHOUT_ROW: &str = " (without the row: this output chooses what goes out of it)";

/// The flows of one output.
#[derive(Debug, Default)]
struct LaneFlows {
    by_table: HashMap<Box<str>, Flow, FixedState>,
    /// Of an output with buckets: table by table, each bucket that something fell into.
    by_bucket: HashMap<Box<str>, Vec<Option<Flow>>, FixedState>,
    /// By sender: nothing of these flows may overtake the messages that were queued up to this number.
    behind: Vec<u64>,
    dead_letters: Option<Flow>,
    choosing: Choosing,
}

impl LaneFlows {
    /// All flows of changes.
    fn flows(&self) -> impl Iterator<Item = &Flow> {
        self.by_table.values().chain(self.by_bucket.values().flatten().flatten())
    }

    fn flows_mut(&mut self) -> impl Iterator<Item = &mut Flow> {
        self.by_table.values_mut().chain(self.by_bucket.values_mut().flatten().flatten())
    }
}

/// A partition's way from records to messages.
#[derive(Debug)]
pub struct Intake {
    shared: Arc<Shared>,
    origin: Origin,
    window: Window,
    shapes: Shapes,
    /// One per output.
    lanes: Vec<LaneFlows>,
    /// All records with a commit timestamp up to here have been returned.
    complete: Option<Timestamp>,
    /// The newest timestamp seen, of whatever record.
    last: Option<Timestamp>,
    /// Children named so far. What a partition start record names is none: it is in the ticks before
    /// this partition goes on.
    pub children: Vec<[u8; 16]>,
}

/// What a push met.
#[derive(Debug, Default)]
pub struct Pushed {
    /// Data change records, those dropped included.
    pub records: u64,
    /// Row changes sent on.
    pub changes: u64,
    /// Row changes dropped: handed over before.
    pub duplicates: u64,
    /// The last heartbeat.
    pub heartbeat: Option<Timestamp>,
    /// The newest timestamp seen.
    pub last: Option<Timestamp>,
    /// Child partition records.
    pub children: Vec<Children>,
    /// Partition start records.
    pub starts: Vec<PartitionStart>,
    /// The end of the partition, where its end record was met.
    pub end: Option<Timestamp>,
    /// The partition event record that it pauses at, if it is one.
    pub event: Option<PartitionEvent>,
    /// It pauses at a partition start or event record: what was read behind it is held.
    pub paused: bool,
}

impl Intake {
    pub fn new(shared: Arc<Shared>, origin: Origin, window: Window) -> Self {
        Self {
            shapes: Shapes::new(Arc::clone(&shared.shapes)),
            lanes: shared.lanes.iter().map(|_| LaneFlows::default()).collect(),
            shared,
            origin,
            window,
            complete: None,
            last: None,
            children: Vec::new(),
        }
    }

    /// All records with a commit timestamp up to here have been returned.
    pub fn complete(&self) -> Option<Timestamp> {
        self.complete
    }

    /// The newest timestamp seen.
    pub fn last(&self) -> Option<Timestamp> {
        self.last
    }

    /// A move of keys has been passed: what follows is of the next stage. Nothing may be open.
    pub fn pass_move(&mut self) -> u32 {
        self.origin.stage += 1;
        self.origin.stage
    }

    /// From now on nothing overtakes what is queued now, of whatever partition: keys of this one may
    /// have been changed there before. Nor does it overtake this partition's own marks.
    pub fn follow_what_is_queued(&mut self) {
        for (lane, shared) in self.lanes.iter_mut().zip(&self.shared.lanes) {
            lane.behind = shared.output.senders().iter().map(Sender::enqueued).collect();
        }
    }

    /// The partition was read to its end.
    pub fn complete_at(&mut self, end: Option<Timestamp>) {
        self.complete = self.last.max(end).max(self.complete);
    }

    /// Takes one record; `raw` is what a dead letter of it would hold.
    pub fn record(
        &mut self,
        record: &Record<'_>,
        raw: &[u8],
        pushed: &mut Pushed,
        received: Received,
    ) -> Result<()> {
        match record {
            Record::Data(data) => self.data(data, raw, pushed, received)?,
            Record::Heartbeat(timestamp) => {
                pushed.heartbeat = Some(*timestamp);
                self.complete = self.complete.max(Some(*timestamp));
                self.last = self.last.max(Some(*timestamp));
            }
            Record::Children(children) => {
                self.last = self.last.max(Some(children.start_timestamp));
                for child in &children.child_partitions {
                    let id = partition_hash(&child.token);
                    if !self.children.contains(&id) {
                        self.children.push(id);
                    }
                }
                pushed.children.push(children.into());
            }
            Record::PartitionStart(start) => {
                self.reach(start.start_timestamp);
                pushed.starts.push(start.into());
                pushed.paused = true;
            }
            Record::PartitionEvent(event) => {
                self.reach(event.commit_timestamp);
                pushed.event = Some(event.into());
                pushed.paused = true;
            }
            Record::PartitionEnd(end) => {
                self.reach(end.end_timestamp);
                pushed.end = Some(end.end_timestamp);
            }
        }
        pushed.last = self.last;
        Ok(())
    }

    /// A record of this timestamp has come. A partition returns its records in commit order: what
    /// was seen before a newer one is complete now.
    fn reach(&mut self, timestamp: Timestamp) {
        if self.last.is_none_or(|last| timestamp > last) {
            self.complete = self.complete.max(self.last);
            self.last = Some(timestamp);
        }
    }

    fn data(
        &mut self,
        record: &DataChangeRecord<'_>,
        raw: &[u8],
        pushed: &mut Pushed,
        received: Received,
    ) -> Result<()> {
        let commit = record.commit_timestamp;
        let mods = record.mods.len() as u64;
        self.reach(commit);
        let asked = self.window.ask(commit, &record.server_transaction_id, &record.record_sequence);
        if asked.taken != Taken::New {
            pushed.records += 1;
            pushed.duplicates += mods;
            return Ok(());
        }
        let columns = match self.shapes.of(record) {
            Ok(columns) => columns,
            Err(error) => return self.undecodable(&error, raw, pushed, received),
        };
        let mut failed = Vec::new();
        let mut sent = 0;
        for lane in 0..self.lanes.len() {
            match self.write(lane, record, 0, &columns, received) {
                Err(error @ (Error::Undecodable { .. } | Error::Misfit { .. })) => failed.push((lane, error)),
                written => sent = sent.max(written?),
            }
        }
        // An output that takes the values as they are sends them, also where another cannot type them, or
        // refuses to carry as text what does not fit.
        for (lane, error) in &failed {
            self.dead_letter(*lane, error, raw, received)?;
        }
        self.window.admit_new(commit, &record.server_transaction_id, &record.record_sequence, asked);
        pushed.records += 1;
        pushed.changes += sent;
        Ok(())
    }

    /// Takes rows of a snapshot: a record whose mods are numbered from `first` on. How many went out at the
    /// most in an output. Rows that cannot be written are named in the dead letters, or stop it, as the
    /// settings say.
    pub fn rows(
        &mut self,
        record: &DataChangeRecord<'_>,
        first: u32,
        columns: &Arc<Columns>,
        received: Received,
    ) -> Result<u64> {
        let mut sent = 0;
        for lane in 0..self.lanes.len() {
            let written = match self.write(lane, record, first, columns, received) {
                Err(Error::Undecodable { .. } | Error::Misfit { .. }) => {
                    self.row_by_row(lane, record, first, columns, received)?
                }
                written => written?,
            };
            sent = sent.max(written);
        }
        self.shared.counters.changes.fetch_add(sent, Ordering::Relaxed);
        Ok(sent)
    }

    /// One row that cannot be written does not take others with it.
    fn row_by_row(
        &mut self,
        lane: usize,
        record: &DataChangeRecord<'_>,
        first: u32,
        columns: &Arc<Columns>,
        received: Received,
    ) -> Result<u64> {
        let mut sent = 0;
        for (number, row) in (first..).zip(record.mods.chunks(1)) {
            let record = DataChangeRecord { mods: row, ..record.clone() };
            match self.write(lane, &record, number, columns, received) {
                Err(error @ (Error::Undecodable { .. } | Error::Misfit { .. })) => {
                    self.dead_letter(lane, &error, &[], received)?;
                }
                written => sent += written?,
            }
        }
        Ok(sent)
    }

    /// How many messages have been made.
    pub fn messages(&self) -> u64 {
        let letters = self.lanes.iter().flat_map(|lane| &lane.dead_letters);
        self.lanes.iter().flat_map(LaneFlows::flows).chain(letters).map(Flow::messages).sum()
    }

    /// Writes a record into the open message of its table in one output: how many mods of it.
    fn write(
        &mut self,
        lane: usize,
        record: &DataChangeRecord<'_>,
        first: u32,
        columns: &Arc<Columns>,
        received: Received,
    ) -> Result<u64> {
        if self.shared.lanes[lane].choice.is_some() {
            return self.write_chosen(lane, record, first, columns, received);
        }
        let Self { shared, origin, lanes, .. } = self;
        let Some(mods) = all_mods(record, first) else { return Ok(0) };
        let flow = flow_of_table(shared, lane, &mut lanes[lane].by_table, &record.table_name);
        write_into(flow, shared, origin, lane, record, mods, columns, received)?;
        Ok(record.mods.len() as u64)
    }

    /// The same for an output that chooses: what it takes, in the form that it takes it.
    fn write_chosen(
        &mut self,
        lane: usize,
        record: &DataChangeRecord<'_>,
        first: u32,
        columns: &Arc<Columns>,
        received: Received,
    ) -> Result<u64> {
        let Self { shared, origin, lanes, .. } = self;
        let SharedLane { choice: Some(choice), template, .. } = &shared.lanes[lane] else { return Ok(0) };
        let LaneFlows { by_table, by_bucket, choosing, .. } = &mut lanes[lane];
        let mods = record.mods.len() as u64;
        let Some(planned) = choosing.planned(choice, record, columns, &shared.shapes) else {
            shared.counters.filtered.fetch_add(mods, Ordering::Relaxed);
            return Ok(0);
        };
        let chooser = &mut choosing.chooser;
        let left_out = chooser.choose(choice, &planned.plan, record)?;
        for &bucket in chooser.buckets() {
            let mods = chooser.mods(record, bucket);
            let mods = mods.map(|(number, each)| (first.saturating_add(number), each));
            let Some(mods) = some_mods(mods) else { continue };
            let flow = match choice.buckets() {
                None => flow_of_table(shared, lane, by_table, &record.table_name),
                Some(buckets) => {
                    let flows = match by_bucket.get_mut(&*record.table_name) {
                        Some(flows) => flows,
                        None => by_bucket.entry((*record.table_name).into()).or_default(),
                    };
                    if flows.is_empty() {
                        flows.resize_with(buckets as usize, || None);
                    }
                    flows[bucket as usize].get_or_insert_with(|| {
                        shared.flow(lane, template.topic(&record.table_name, bucket).into())
                    })
                }
            };
            write_into(flow, shared, origin, lane, record, mods, &planned.columns, received)?;
        }
        shared.counters.filtered.fetch_add(left_out.filtered, Ordering::Relaxed);
        shared.counters.undecided.fetch_add(left_out.undecided, Ordering::Relaxed);
        Ok(mods - left_out.filtered)
    }

    /// A record that cannot be decoded: an error, or a dead letter in every output, as the settings say.
    pub fn undecodable(
        &mut self,
        error: &Error,
        raw: &[u8],
        pushed: &mut Pushed,
        received: Received,
    ) -> Result<()> {
        let Error::Undecodable { version, .. } = error else { return Err(error.clone()) };
        let version = RecordVersion::read_partly(version);
        let commit = version.commit_timestamp;
        // Where the version could not be read, nothing says that the record came before: it is sent again.
        let complete = commit > Timestamp::MIN && !version.sequence.is_empty();
        if !complete || !self.window.contains(commit, &version.transaction, &version.sequence) {
            for lane in 0..self.lanes.len() {
                self.dead_letter(lane, error, raw, received)?;
            }
        }
        if complete {
            self.last = self.last.max(Some(commit));
            self.window.admit(commit, &version.transaction, &version.sequence);
        }
        pushed.records += 1;
        Ok(())
    }

    /// Sends a record raw on one output; an error where the settings say to stop instead. A misfit comes
    /// here only where they say to send its record raw.
    fn dead_letter(&mut self, lane: usize, error: &Error, raw: &[u8], received: Received) -> Result<()> {
        let shared = &self.shared;
        let (Error::Undecodable { version, table, what } | Error::Misfit { version, table, what, .. }) =
            error
        else {
            return Err(error.clone());
        };
        let choice = shared.lanes[lane].choice.as_ref();
        if choice.is_some_and(|choice| !table.is_empty() && !choice.takes_table(table)) {
            shared.counters.filtered.fetch_add(1, Ordering::Relaxed);
            return Ok(());
        }
        // The row holds all that the output leaves out.
        let with_row = choice.is_none_or(|choice| choice.allows_raw(table));
        if let Error::Misfit { values, .. } = error {
            shared.counters.misfits.fetch_add(*values, Ordering::Relaxed);
        } else {
            shared.counters.undecodable.fetch_add(1, Ordering::Relaxed);
            if shared.settings.on_undecodable == OnUndecodable::Stop {
                return Err(error.clone());
            }
        }
        shared.counters.dead_letters.fetch_add(1, Ordering::Relaxed);
        let letter = DeadLetter {
            version: RecordVersion::read_partly(version),
            table: table.clone(),
            reason: if with_row { what.clone() } else { format!("{what}{WITHOUT_ROW}") },
            raw: if with_row { raw.to_vec() } else { Vec::new() },
        };
        let flow = self.lanes[lane]
            .dead_letters
            .get_or_insert_with(|| shared.flow(lane, Arc::clone(&shared.dead_letter_topic)));
        let message = flow.dead_letter(&letter, &self.origin, received);
        enqueue(shared, lane, flow, message, Room::Wait)
    }

    /// Closes every open message and puts it into its queue.
    pub fn close_all(&mut self, room: Room) -> Result<()> {
        for (index, lane) in self.lanes.iter_mut().enumerate() {
            for flow in lane.flows_mut() {
                close(&self.shared, &self.origin, index, flow, room)?;
            }
        }
        Ok(())
    }

    /// Closes what is old enough.
    pub fn close_due(&mut self, received: Received) -> Result<()> {
        for (index, lane) in self.lanes.iter_mut().enumerate() {
            let batch = &self.shared.lanes[index].settings.batch;
            for flow in lane.flows_mut().filter(|flow| flow.is_due(batch, received.at)) {
                close(&self.shared, &self.origin, index, flow, Room::Wait)?;
            }
        }
        Ok(())
    }

    /// Which senders have something open here: output, and sender in it.
    pub fn open(&self) -> Vec<(usize, usize)> {
        let mut found = Vec::new();
        for (index, lane) in self.lanes.iter().enumerate() {
            for flow in lane.flows().filter(|flow| flow.is_open()) {
                if !found.contains(&(index, flow.sender)) {
                    found.push((index, flow.sender));
                }
            }
        }
        found
    }

    /// Closes for an idle sender what is open for it: the messages go out at once. A flow that
    /// still has a message in the queue waits, or it would overtake itself, and so do all while there
    /// is something that they must follow; true when one does.
    pub fn close_for(&mut self, lane: usize, sender: usize, out: &mut Vec<Message>) -> bool {
        let sending = &self.shared.lanes[lane].output.senders()[sender];
        let taken = sending.taken();
        let behind = self.lanes[lane].behind.get(sender).copied().unwrap_or(0);
        let mut waiting = false;
        for flow in self.lanes[lane].flows_mut().filter(|flow| flow.is_open() && flow.sender == sender) {
            if flow.queued.max(behind) > taken {
                waiting = true;
            } else if let Some(message) =
                flow.close(&self.origin, &self.shared.lanes[lane].settings, &self.shared.counters.misfits)
            {
                out.push(message);
            }
        }
        waiting
    }
}

/// The flow of a table's changes, in an output without buckets.
fn flow_of_table<'f>(
    shared: &Shared,
    lane: usize,
    flows: &'f mut HashMap<Box<str>, Flow, FixedState>,
    table: &str,
) -> &'f mut Flow {
    if !flows.contains_key(table) {
        let topic = shared.lanes[lane].template.topic(table, 0).into();
        flows.insert(table.into(), shared.flow(lane, topic));
    }
    flows.get_mut(table).expect("inserted above")
}

/// Writes mods of a record into a flow's open message; closes it before or after where it must be.
#[allow(clippy::too_many_arguments)] // two callers, and no two of these belong together
fn write_into<'m>(
    flow: &mut Flow,
    shared: &Shared,
    origin: &Origin,
    lane: usize,
    record: &DataChangeRecord<'_>,
    mods: Mods<impl Iterator<Item = (u32, Mod<'m>)> + Clone>,
    columns: &Arc<Columns>,
    received: Received,
) -> Result<()> {
    let settings = &shared.lanes[lane].settings;
    if flow.must_close_for(columns) {
        close(shared, origin, lane, flow, Room::Wait)?;
    }
    flow.write(record, mods, columns, settings, &shared.pool, received)?;
    if flow.is_due(&settings.batch, received.at) {
        close(shared, origin, lane, flow, Room::Wait)?;
    }
    Ok(())
}

/// Closes a flow's open message, if there is one, and puts it into its sender's queue.
fn close(shared: &Shared, origin: &Origin, lane: usize, flow: &mut Flow, room: Room) -> Result<()> {
    match flow.close(origin, &shared.lanes[lane].settings, &shared.counters.misfits) {
        Some(message) => enqueue(shared, lane, flow, message, room),
        None => Ok(()),
    }
}

/// Puts a message into its sender's queue.
fn enqueue(shared: &Shared, lane: usize, flow: &mut Flow, message: Message, room: Room) -> Result<()> {
    if let Enqueued::Queued(ordinal) =
        shared.lanes[lane].output.senders()[flow.sender].enqueue(message, room)?
    {
        flow.queued = ordinal;
    }
    Ok(())
}
