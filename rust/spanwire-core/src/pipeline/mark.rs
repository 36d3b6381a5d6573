//! Marks: what a partition tells in band, behind its data.
//!
//! A mark waits in a sender's queue like a message and weighs nothing. When a sender reaches it,
//! everything put into that queue before it has been handed to the socket. So a position is
//! stored, and told in ticks, only when it is true.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use crate::change::Timestamp;
use crate::envelope::Move;

/// Something a partition says behind its data.
#[derive(Debug)]
pub struct Mark {
    /// Which partition.
    pub partition: [u8; 16],
    /// Under which ownership.
    pub epoch: u64,
    /// What.
    pub what: What,
    handed: Arc<Handed>,
    /// Senders that hold it up and have not reached it yet.
    remaining: AtomicUsize,
}

/// What a mark says.
#[derive(Debug)]
pub enum What {
    /// The partition is read from here on.
    Started {
        /// Where this epoch starts.
        starts_at: Timestamp,
        /// Its parents.
        parents: Vec<[u8; 16]>,
        /// No change that an earlier process sent of partitions that are over by now is newer.
        known: Option<Timestamp>,
    },
    /// All its changes up to here lie before this mark.
    Position(Timestamp),
    /// It pauses. Told at every pause, whatever waits in the queue: another partition may wait for
    /// this very position, and this one for the other.
    Paused {
        /// All its changes up to here lie before this mark.
        position: Option<Timestamp>,
        /// The moves that it pauses for.
        moves: Vec<Move>,
    },
    /// It goes on behind a move of keys: its messages from here on are of this stage.
    Passed {
        /// How many moves it has passed under this epoch.
        stage: u32,
    },
    /// It has ended: nothing follows.
    Ended {
        /// Where.
        position: Option<Timestamp>,
        /// Who goes on.
        children: Vec<[u8; 16]>,
    },
    /// It is given up under this epoch; somebody else goes on.
    Released,
}

/// Somebody asks a sender to tell every head, at once. It waits in the queue like any mark, and at most once
/// in each: whoever asks meanwhile is answered by the same tick.
#[derive(Debug, Default)]
pub struct Asked(AtomicBool);

impl Asked {
    /// Whether it is to be queued now; it is from now on if it says so.
    pub fn ask(&self) -> bool {
        !self.0.swap(true, Ordering::AcqRel)
    }

    /// The sender has reached it.
    pub fn reached(&self) {
        self.0.store(false, Ordering::Release);
    }
}

/// What has been handed over of one partition.
#[derive(Debug)]
pub struct Handed {
    state: Mutex<(Option<Timestamp>, bool)>,
    senders: Vec<Sender>,
}

/// One sender, as a partition's marks see it.
#[derive(Debug)]
struct Sender {
    /// What it has not sent holds up the position. Not so with an output that may be set aside.
    holds: bool,
    /// A position waits in its queue: another one would only follow it there. So an output that is
    /// stuck keeps one position a partition, and not one a heartbeat.
    waits: AtomicBool,
}

impl Handed {
    /// Of a new partition; `holds` says of each sender whether it holds up the position. If none
    /// does, all do.
    pub fn new(holds: impl Iterator<Item = bool>) -> Self {
        let holds: Vec<bool> = holds.collect();
        let any = holds.contains(&true);
        let sender = |holds| Sender { holds: holds || !any, waits: AtomicBool::new(false) };
        Self { state: Mutex::default(), senders: holds.into_iter().map(sender).collect() }
    }

    /// All changes up to here have been handed over.
    pub fn position(&self) -> Option<Timestamp> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner).0
    }

    /// The partition has ended and everything before its end has been handed over.
    pub fn finished(&self) -> bool {
        self.state.lock().unwrap_or_else(PoisonError::into_inner).1
    }

    /// Whether another position may be marked: the one before has come through where it counts.
    pub fn takes_position(&self) -> bool {
        !self.senders.iter().any(|sender| sender.holds && sender.waits.load(Ordering::Acquire))
    }

    /// Whether this sender takes another position; it does from now on if it says so.
    pub fn offer_position(&self, sender: usize) -> bool {
        !self.senders[sender].waits.swap(true, Ordering::AcqRel)
    }
}

impl Mark {
    pub fn new(partition: [u8; 16], epoch: u64, what: What, handed: Arc<Handed>) -> Self {
        let remaining = handed.senders.iter().filter(|sender| sender.holds).count();
        Self { partition, epoch, what, handed, remaining: AtomicUsize::new(remaining) }
    }

    /// A sender has reached it. The last one that counts makes it true for the partition.
    pub fn reached(&self, sender: usize) {
        let sender = &self.handed.senders[sender];
        if matches!(self.what, What::Position(_)) {
            sender.waits.store(false, Ordering::Release);
        }
        // AcqRel: what every sender did before is visible to the one that counts down to zero.
        if !sender.holds || self.remaining.fetch_sub(1, Ordering::AcqRel) > 1 {
            return;
        }
        let mut state = self.handed.state.lock().unwrap_or_else(PoisonError::into_inner);
        match self.what {
            What::Position(position) => state.0 = state.0.max(Some(position)),
            What::Paused { position, .. } => state.0 = state.0.max(position),
            What::Ended { position, .. } => *state = (state.0.max(position), true),
            What::Started { .. } | What::Passed { .. } | What::Released => {}
        }
    }
}
