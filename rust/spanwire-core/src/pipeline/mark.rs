//! Marks: what a partition tells in band, behind its data.
//!
//! A mark waits in a sender's queue like a message and weighs nothing. When a sender reaches it,
//! everything put into that queue before it has been handed to the socket. So a position is
//! stored, and told in ticks, only when it is true.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use crate::change::Timestamp;

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
    /// Senders that have not reached it yet.
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
    },
    /// All its changes up to here lie before this mark.
    Position(Timestamp),
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

/// What has been handed over of one partition by all senders.
#[derive(Debug, Default)]
pub struct Handed(Mutex<(Option<Timestamp>, bool)>);

impl Handed {
    /// All changes up to here have been handed over.
    pub fn position(&self) -> Option<Timestamp> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).0
    }

    /// The partition has ended and everything before its end has been handed over.
    pub fn finished(&self) -> bool {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).1
    }
}

impl Mark {
    pub fn new(partition: [u8; 16], epoch: u64, what: What, handed: Arc<Handed>, senders: usize) -> Self {
        Self { partition, epoch, what, handed, remaining: AtomicUsize::new(senders) }
    }

    /// A sender has reached it. The last one makes it true for the partition.
    pub fn reached(&self) {
        // AcqRel: what every sender did before is visible to the one that counts down to zero.
        if self.remaining.fetch_sub(1, Ordering::AcqRel) > 1 {
            return;
        }
        let mut handed = self.handed.0.lock().unwrap_or_else(PoisonError::into_inner);
        match self.what {
            What::Position(position) => handed.0 = handed.0.max(Some(position)),
            What::Ended { position, .. } => *handed = (handed.0.max(position), true),
            What::Started { .. } | What::Released => {}
        }
    }
}
