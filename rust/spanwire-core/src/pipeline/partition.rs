//! One partition under one epoch: what its reader pushes into, and what its senders ask for more.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use crate::change::Timestamp;
use crate::dedup::Window;
use crate::envelope::{Kind, Move, PartitionId, partition_hash};
use crate::error::{Error, Result};
use crate::output::{Flush, Message, OnFull, Room};
use crate::wire::{RecordReader, ResultSetReader, Shape};

use super::Shared;
use super::flow::{Origin, Received};
use super::held::Held;
use super::intake::{Intake, Pushed};
use super::mark::{Handed, Mark, What};
use super::owned::PartitionEvent;

/// At the most so often a position is marked while data flows: each mark closes the open messages.
const MARK_EVERY: Duration = Duration::from_millis(50);

/// What a partition is opened with.
#[derive(Debug, Clone)]
pub struct PartitionSettings {
    /// Spanner's token.
    pub token: String,
    /// The shape of its records.
    pub shape: Shape,
    /// This ownership's number.
    pub epoch: u64,
    /// Where reading starts (inclusive).
    pub start: Timestamp,
    /// Whether everything up to and including `start` was handed over under an earlier epoch.
    pub resumed: bool,
    /// Tokens of its parents.
    pub parents: Vec<String>,
    /// No change of partitions that are over, or that wait to be opened, is newer; None: there are none.
    pub known: Option<Timestamp>,
}

/// One partition under one epoch.
#[derive(Debug)]
pub struct Partition {
    token: String,
    id: PartitionId,
    epoch: u64,
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
    held: Held,
    start: Timestamp,
    marked: Option<Timestamp>,
    marked_at: Instant,
    phase: Phase,
    /// What it pauses at is a partition event record: keys move.
    at_move: bool,
}

#[derive(Debug, PartialEq, Eq, Clone, Copy)]
enum Phase {
    Open,
    /// It waits for [`Partition::proceed`].
    Paused,
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
        let (id, epoch) = (partition_hash(&settings.token), settings.epoch);
        let kind = Kind::Changes;
        let origin = Origin { kind, incarnation: shared.incarnation, partition: id, epoch, stage: 0 };
        let window = if settings.resumed { Window::after(settings.start) } else { Window::default() };
        let state = State {
            reader: ResultSetReader::new(shared.settings.max_record_bytes),
            records: RecordReader::new(settings.shape),
            intake: Intake::new(Arc::clone(&shared), origin, window),
            held: Held::default(),
            start: settings.start,
            marked: None,
            marked_at: Instant::now(),
            phase: Phase::Open,
            at_move: false,
        };
        let holds = shared.lanes.iter().flat_map(|lane| {
            // One that may be set aside must not hold up the others.
            let holds = lane.settings.output.on_full == OnFull::Block;
            lane.output.senders().iter().map(move |_| holds)
        });
        let handed = Arc::new(Handed::new(holds));
        let partition = Arc::new_cyclic(|itself| Self {
            token: settings.token,
            id,
            epoch,
            state: Mutex::new(state),
            handed,
            asked: (0..shared.senders()).map(|_| AtomicBool::new(false)).collect(),
            shared,
            itself: Weak::clone(itself),
        });
        partition.mark(What::Started {
            starts_at: settings.start,
            parents: settings.parents.iter().map(|parent| partition_hash(parent)).collect(),
            known: settings.known,
        })?;
        // Its first message comes behind the tick that tells of it.
        partition.locked(|state| state.intake.follow_what_is_queued());
        Ok(partition)
    }

    /// Spanner's token.
    pub fn token(&self) -> &str {
        &self.token
    }

    /// Takes messages of the partition's query, in order. Waits while an output that blocks is full.
    /// After an error the partition takes nothing more.
    ///
    /// At a partition start or event record it pauses: what came before it is closed and queued,
    /// what comes behind it is held, also of the messages that follow. Once what the record asks has
    /// been done, [`Self::proceed`] goes on; until then there is no other push.
    pub fn push<M: AsRef<[u8]>>(&self, messages: &[M]) -> Result<Pushed> {
        self.shared.counters.pushed(messages.iter().map(|message| message.as_ref().len()).sum());
        self.work(Phase::Open, |state, pushed, received| {
            messages.iter().try_for_each(|message| state.take(message.as_ref(), pushed, received))
        })
    }

    /// Goes on behind the record that it pauses at, with what is held, up to the next such record.
    /// Where it does not pause nothing happens.
    pub fn proceed(&self) -> Result<Pushed> {
        if self.locked(|state| state.phase == Phase::Open) {
            return Ok(Pushed::default());
        }
        self.work(Phase::Paused, |state, pushed, received| {
            if std::mem::take(&mut state.at_move) {
                let stage = state.intake.pass_move();
                self.mark(What::Passed { stage })?;
            }
            state.intake.follow_what_is_queued();
            state.take_held(pushed, received)
        })
    }

    /// Takes records in one phase, and leaves another.
    fn work(
        &self,
        phase: Phase,
        take: impl FnOnce(&mut State, &mut Pushed, Received) -> Result<()>,
    ) -> Result<Pushed> {
        let received = now();
        let mut pushed = Pushed::default();
        let outcome = self.locked(|state| {
            state.expect(phase)?;
            // Whatever leaves this by error or panic leaves the partition done.
            state.phase = Phase::Done;
            let taken =
                take(state, &mut pushed, received).and_then(|()| self.settle(state, &pushed, received));
            match taken {
                Ok(()) if pushed.paused => state.phase = Phase::Paused,
                Ok(()) => state.phase = Phase::Open,
                // What was read before the error still goes out: it was committed.
                Err(_) => drop(state.intake.close_all(Room::Exceed)),
            }
            taken
        });
        self.shared.counters.met(&pushed);
        outcome.map(|()| pushed)
    }

    /// Marks the position where it has moved, and closes what is old.
    fn settle(&self, state: &mut State, pushed: &Pushed, received: Received) -> Result<()> {
        let complete = state.intake.complete();
        if pushed.paused {
            state.intake.close_all(Room::Wait)?;
            state.marked = complete;
            state.marked_at = received.at;
            state.at_move = pushed.event.is_some();
            return self.mark(What::Paused { position: complete, moves: self.moves(pushed) });
        }
        let due = pushed.heartbeat.is_some() || received.at.duration_since(state.marked_at) >= MARK_EVERY;
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

    /// The moves into this partition that a push has met.
    fn moves(&self, pushed: &Pushed) -> Vec<Move> {
        let destination = self.id;
        let of = |event: &PartitionEvent| {
            let at = event.commit_timestamp;
            let from = |source: &String| Move { at, source: partition_hash(source), destination };
            event.sources.iter().map(from).collect()
        };
        pushed.event.as_ref().map(of).unwrap_or_default()
    }

    /// After the stream broke: where to go on. Forgets what followed the last resume token, of what
    /// is held too. A pause stays: [`Self::proceed`] is still to be called.
    pub fn resume(&self) -> Resume {
        self.locked(|state| {
            let token = state.reader.resume().map(<[u8]>::to_vec);
            state.held.resume();
            Resume { token, start: state.from() }
        })
    }

    /// As [`Self::resume`], but forgets the token too, and with it all that is held and the pause:
    /// the record it paused at comes again.
    pub fn restart(&self) -> Timestamp {
        self.locked(|state| {
            state.reader.restart();
            state.held.clear();
            if state.phase == Phase::Paused {
                state.phase = Phase::Open;
                state.at_move = false;
            }
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
            state.expect(Phase::Open)?;
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
        let mark = Arc::new(Mark::new(self.id, self.epoch, what, handed));
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
    fn expect(&self, phase: Phase) -> Result<()> {
        match self.phase {
            current if current == phase => Ok(()),
            Phase::Paused => Err(Error::Paused),
            _ => Err(Error::Closed),
        }
    }

    fn take(&mut self, message: &[u8], pushed: &mut Pushed, received: Received) -> Result<()> {
        let Self { reader, records, intake, held, .. } = self;
        reader.message(message, &mut |row| {
            if pushed.paused {
                held.push(row);
                return Ok(());
            }
            take_row(row, records, intake, pushed, received)
        })?;
        if reader.is_at_token() {
            held.token();
        }
        Ok(())
    }

    /// Takes what is held, up to the next record that pauses.
    fn take_held(&mut self, pushed: &mut Pushed, received: Received) -> Result<()> {
        let Self { records, intake, held, .. } = self;
        while !pushed.paused {
            let Some(row) = held.take() else {
                held.clear();
                break;
            };
            take_row(row, records, intake, pushed, received)?;
        }
        Ok(())
    }

    /// From where a fresh query must start: the newest timestamp seen. What was taken at it is
    /// known, and dropped when it comes again.
    fn from(&self) -> Timestamp {
        self.intake.last().map_or(self.start, |last| last.max(self.start))
    }
}

fn take_row(
    row: &[u8],
    records: &mut RecordReader,
    intake: &mut Intake,
    pushed: &mut Pushed,
    received: Received,
) -> Result<()> {
    records.read_each(row, &mut |read| match read {
        Ok(record) => intake.record(&record, row, pushed, received),
        Err(undecodable) => intake.undecodable(&undecodable.error, undecodable.raw, pushed, received),
    })
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

/// Now, on both clocks.
pub(super) fn now() -> Received {
    let unix = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Received { at: Instant::now(), unix_nanos: i64::try_from(unix.as_nanos()).unwrap_or(i64::MAX) }
}
