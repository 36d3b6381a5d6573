//! One partition under one epoch: what its reader pushes into, and what its senders ask for more.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use crate::change::Timestamp;
use crate::dedup::Window;
use crate::envelope::partition_hash;
use crate::error::{Error, Result};
use crate::output::{Flush, Message, OnFull, Room};
use crate::wire::{Dialect, RecordReader, ResultSetReader};

use super::Shared;
use super::flow::{Origin, Received};
use super::intake::{Intake, Pushed};
use super::mark::{Handed, Mark, What};

/// At the most so often a position is marked while data flows: each mark closes the open messages.
const MARK_EVERY: Duration = Duration::from_millis(50);

/// What a partition is opened with.
#[derive(Debug, Clone)]
pub struct PartitionSettings {
    /// Spanner's token.
    pub token: String,
    /// The shape of its records.
    pub dialect: Dialect,
    /// This ownership's number.
    pub epoch: u64,
    /// Where reading starts (inclusive).
    pub start: Timestamp,
    /// Whether everything up to and including `start` was handed over under an earlier epoch.
    pub resumed: bool,
    /// Tokens of its parents.
    pub parents: Vec<String>,
}

/// One partition under one epoch.
#[derive(Debug)]
pub struct Partition {
    token: String,
    origin: Origin,
    shared: Arc<Shared>,
    state: Mutex<State>,
    handed: Arc<Handed>,
    /// Per sender: it has been asked to come for what is open, and has not come yet.
    asked: Vec<AtomicBool>,
    itself: Weak<Self>,
}

#[derive(Debug)]
struct State {
    reader: ResultSetReader,
    records: RecordReader,
    intake: Intake,
    start: Timestamp,
    marked: Option<Timestamp>,
    marked_at: Instant,
    phase: Phase,
}

#[derive(Debug, PartialEq, Eq, Clone, Copy)]
enum Phase {
    Open,
    /// An error stopped it, or it ended: it takes nothing more.
    Done,
}

/// Where to go on reading.
#[derive(Debug, Clone)]
pub struct Resume {
    /// Continue the same query behind this token, if there is one.
    pub token: Option<Vec<u8>>,
    /// Else query afresh from here (inclusive).
    pub start: Timestamp,
}

impl Partition {
    pub(super) fn open(shared: Arc<Shared>, settings: PartitionSettings) -> Result<Arc<Self>> {
        let origin = Origin {
            incarnation: shared.incarnation,
            partition: partition_hash(&settings.token),
            epoch: settings.epoch,
        };
        let window = if settings.resumed { Window::after(settings.start) } else { Window::default() };
        let state = State {
            reader: ResultSetReader::new(shared.settings.max_record_bytes),
            records: RecordReader::new(settings.dialect),
            intake: Intake::new(Arc::clone(&shared), origin.clone(), window),
            start: settings.start,
            marked: None,
            marked_at: Instant::now(),
            phase: Phase::Open,
        };
        let holds = shared.lanes.iter().flat_map(|lane| {
            // One that may be set aside must not hold up the others.
            let holds = lane.settings.output.on_full == OnFull::Block;
            lane.output.senders().iter().map(move |_| holds)
        });
        let handed = Arc::new(Handed::new(holds));
        let partition = Arc::new_cyclic(|itself| Self {
            token: settings.token,
            origin,
            state: Mutex::new(state),
            handed,
            asked: (0..shared.senders()).map(|_| AtomicBool::new(false)).collect(),
            shared,
            itself: Weak::clone(itself),
        });
        partition.mark(What::Started {
            starts_at: settings.start,
            parents: settings.parents.iter().map(|parent| partition_hash(parent)).collect(),
        })?;
        Ok(partition)
    }

    /// Spanner's token.
    pub fn token(&self) -> &str {
        &self.token
    }

    /// Takes messages of the partition's query, in order. Waits while an output that blocks is full.
    /// After an error the partition takes nothing more.
    pub fn push<M: AsRef<[u8]>>(&self, messages: &[M]) -> Result<Pushed> {
        let received = now();
        let mut pushed = Pushed::default();
        let outcome = self.locked(|state| {
            if state.phase == Phase::Done {
                return Err(Error::Closed);
            }
            // Whatever leaves this by error or panic leaves the partition done.
            state.phase = Phase::Done;
            let taken = messages
                .iter()
                .try_for_each(|message| state.take(message.as_ref(), &mut pushed, received))
                .and_then(|()| self.settle(state, pushed.heartbeat.is_some(), received));
            match taken {
                Ok(()) => state.phase = Phase::Open,
                // What was read before the error still goes out: it was committed.
                Err(_) => drop(state.intake.close_all(Room::Exceed)),
            }
            taken
        });
        self.shared.counters.pushed(&pushed, messages.iter().map(|message| message.as_ref().len()).sum());
        outcome.map(|()| pushed)
    }

    /// Marks the position where it has moved, and closes what is old.
    fn settle(&self, state: &mut State, heartbeat: bool, received: Received) -> Result<()> {
        let complete = state.intake.complete();
        let due = heartbeat || received.at.duration_since(state.marked_at) >= MARK_EVERY;
        match complete {
            Some(position) if due && complete > state.marked && self.handed.takes_position() => {
                state.intake.close_all(Room::Wait)?;
                self.mark(What::Position(position))?;
                state.marked = complete;
                state.marked_at = received.at;
                Ok(())
            }
            _ => state.intake.close_due(received),
        }
    }

    /// After the stream broke: where to go on. Forgets what followed the last resume token.
    pub fn resume(&self) -> Resume {
        self.locked(|state| {
            let token = state.reader.resume().map(<[u8]>::to_vec);
            Resume { token, start: state.from() }
        })
    }

    /// As [`Self::resume`], but forgets the token too.
    pub fn restart(&self) -> Timestamp {
        self.locked(|state| {
            state.reader.restart();
            state.from()
        })
    }

    /// The stream ended cleanly: an error if that left a value half read.
    pub fn end_of_stream(&self) -> Result<()> {
        self.locked(|state| state.reader.finish())
    }

    /// It has ended, in its children or at the requested end timestamp. Never waits for an output.
    pub fn finish(&self, end: Option<Timestamp>) -> Result<()> {
        self.locked(|state| {
            if state.phase == Phase::Done {
                return Err(Error::Closed);
            }
            state.phase = Phase::Done;
            state.intake.complete_at(end);
            state.intake.close_all(Room::Exceed)?;
            let children = std::mem::take(&mut state.intake.children);
            self.mark(What::Ended { position: state.intake.complete(), children })
        })
    }

    /// Given up under this epoch: it leaves the ticks. Nothing happens where it has ended already.
    /// Never waits for an output.
    pub fn release(&self) -> Result<()> {
        self.locked(|state| {
            if state.phase == Phase::Done && self.handed.finished() {
                return Ok(());
            }
            state.phase = Phase::Done;
            state.intake.close_all(Room::Exceed)?;
            self.mark(What::Released)
        })
    }

    /// All its changes up to here have been handed over.
    pub fn position(&self) -> Option<Timestamp> {
        self.handed.position()
    }

    /// It has ended and everything before its end has been handed over.
    pub fn finished(&self) -> bool {
        self.handed.finished()
    }

    fn mark(&self, what: What) -> Result<()> {
        let position = matches!(what, What::Position(_));
        let handed = Arc::clone(&self.handed);
        let mark = Arc::new(Mark::new(self.origin.partition, self.origin.epoch, what, handed));
        for lane in &self.shared.lanes {
            for (number, sender) in (lane.first_sender..).zip(lane.output.senders()) {
                if !position || self.handed.offer_position(number) {
                    sender.mark(Arc::clone(&mark) as _)?;
                }
            }
        }
        Ok(())
    }

    /// Asks a sender to come for what is open, once.
    fn ask(&self, lane: usize, sender: usize) {
        let lane = &self.shared.lanes[lane];
        if !self.asked[lane.first_sender + sender].swap(true, Ordering::AcqRel)
            && let Some(itself) = self.itself.upgrade()
        {
            lane.output.senders()[sender].mark_dirty(itself);
        }
    }

    /// Works on the state. Asks the senders for what is open only afterwards, with the lock free: one
    /// that came meanwhile, found it held and went away relies on this.
    fn locked<T>(&self, work: impl FnOnce(&mut State) -> T) -> T {
        // A panic left the phase at `Done`: the state behind a poisoned lock is still sound.
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let answer = work(&mut state);
        let open = state.intake.open();
        drop(state);
        for (lane, sender) in open {
            self.ask(lane, sender);
        }
        answer
    }
}

impl State {
    fn take(&mut self, message: &[u8], pushed: &mut Pushed, received: Received) -> Result<()> {
        let Self { reader, records, intake, .. } = self;
        reader.message(message, &mut |row| {
            records.read_each(row, &mut |read| match read {
                Ok(record) => intake.record(&record, row, pushed, received),
                Err(undecodable) => intake.undecodable(&undecodable.error, undecodable.raw, pushed, received),
            })
        })
    }

    /// From where a fresh query must start: the newest timestamp seen. What was taken at it is
    /// known, and dropped when it comes again.
    fn from(&self) -> Timestamp {
        self.intake.last().map_or(self.start, |last| last.max(self.start))
    }
}

impl Flush for Partition {
    fn flush(&self, sender: usize, out: &mut Vec<Message>) {
        // Cleared first: a reader that holds the lock now asks again when it lets go.
        self.asked[sender].store(false, Ordering::Release);
        let Ok(mut state) = self.state.try_lock() else { return };
        let (lane, local) = self.shared.lane_of(sender);
        if state.intake.close_for(lane, local, out) {
            drop(state);
            self.ask(lane, local);
        }
    }
}

fn now() -> Received {
    let unix = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Received { at: Instant::now(), unix_nanos: i64::try_from(unix.as_nanos()).unwrap_or(i64::MAX) }
}
