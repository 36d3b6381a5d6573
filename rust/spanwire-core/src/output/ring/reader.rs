//! One who reads a ring, in order and at its own pace.

use std::fmt;
use std::sync::{Arc, MutexGuard};
use std::time::{Duration, Instant};

use super::super::kept::Kept;
use super::super::message::{Confirm, Mark};
use super::{Policy, Ring, State};
use crate::error::{Error, Result};

/// Messages looked at for one lock: senders wait meanwhile.
const GLANCE: usize = 1_024;

/// Reads a ring from its place on.
pub struct Reader {
    ring: Arc<Ring>,
    topics: Vec<Vec<u8>>,
    place: u64,
    missed: u64,
}

/// What a look at the ring gave.
#[derive(Default)]
struct Taken {
    messages: Vec<Arc<Kept>>,
    bytes: usize,
    /// Read, and not for this reader.
    others: Vec<Arc<Kept>>,
    marks: Vec<(Mark, Confirm)>,
}

impl Reader {
    pub(super) fn new(ring: Arc<Ring>, topics: Vec<Vec<u8>>, place: u64) -> Self {
        Self { ring, topics, place, missed: 0 }
    }

    /// The next messages, up to this many bytes of frames but one at least; none when time ran out.
    /// Errors: `Closed` once the output is closed and all was read.
    pub fn read(&mut self, timeout: Duration, max_bytes: usize) -> Result<Vec<Arc<Kept>>> {
        let deadline = Instant::now().checked_add(timeout);
        let ring = Arc::clone(&self.ring);
        let mut state = ring.lock();
        loop {
            let taken = self.take(&mut state, max_bytes);
            let (at_end, closed) = (self.place == state.log.end(), state.closed);
            if !taken.messages.is_empty() || !at_end {
                drop(state);
                let messages = self.settle(taken);
                if !messages.is_empty() {
                    return Ok(messages);
                }
                state = ring.lock();
                continue;
            }
            if !(taken.others.is_empty() && taken.marks.is_empty()) {
                drop(state);
                self.settle(taken);
                state = ring.lock();
                continue;
            }
            if closed {
                return Err(Error::Closed);
            }
            if deadline.is_some_and(|deadline| Instant::now() >= deadline) {
                return Ok(Vec::new());
            }
            state = ring.wait(state, deadline);
        }
    }

    /// Messages that made room before this reader came to them, of whatever topic.
    pub fn missed(&self) -> u64 {
        self.missed
    }

    /// The next message, which stays the next one until `pass`; none where there is none yet. Only of
    /// a ring that has any number of readers.
    pub(in super::super) fn peek(&mut self) -> Option<Arc<Kept>> {
        loop {
            let state = self.ring.lock();
            let oldest = state.log.oldest();
            self.missed += oldest.saturating_sub(self.place);
            self.place = self.place.max(oldest);
            for _ in 0..GLANCE {
                let kept = state.log.get(self.place)?;
                if kept.is_for(&self.topics) {
                    return Some(Arc::clone(kept));
                }
                self.place += 1;
            }
        }
    }

    /// Goes on behind what `peek` gave.
    pub(in super::super) fn pass(&mut self) {
        self.place += 1;
    }

    /// Takes what is next, for one lock.
    fn take(&mut self, state: &mut MutexGuard<'_, State>, max_bytes: usize) -> Taken {
        let mut taken = Taken::default();
        let oldest = state.log.oldest();
        self.missed += oldest.saturating_sub(self.place);
        self.place = self.place.max(oldest);
        for _ in 0..GLANCE {
            let Some(kept) = state.log.get(self.place) else { break };
            let mine = kept.is_for(&self.topics);
            if mine && !taken.messages.is_empty() && taken.bytes.saturating_add(kept.bytes()) > max_bytes {
                break;
            }
            let kept = match self.ring.policy {
                Policy::Overwrite => Arc::clone(kept),
                Policy::Wait => state.log.pop().expect("it was looked at just now"),
            };
            self.place += 1;
            if mine {
                taken.bytes += kept.bytes();
                taken.messages.push(kept);
            } else if self.ring.policy == Policy::Wait {
                taken.others.push(kept);
            }
        }
        while let Some((place, ..)) = state.marks.front()
            && (*place <= self.place || state.log.data() == 0)
        {
            taken.marks.extend(state.marks.pop_front().map(|(_, mark, confirm)| (mark, confirm)));
        }
        taken
    }

    /// With the lock free: who waits for what was read hears of it.
    fn settle(&self, taken: Taken) -> Vec<Arc<Kept>> {
        if self.ring.policy == Policy::Wait {
            self.ring.left.notify_all();
        }
        for (mark, confirm) in taken.marks {
            confirm(&mark);
        }
        taken.messages
    }
}

impl Drop for Reader {
    fn drop(&mut self) {
        self.ring.lock().taken = false;
    }
}

impl fmt::Debug for Reader {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Reader")
            .field("place", &self.place)
            .field("missed", &self.missed)
            .finish_non_exhaustive()
    }
}
