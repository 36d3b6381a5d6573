//! A ring: what an output has handed over, kept in memory up to a bound.
//!
//! Who missed a message asks for it by its flow and sequence ([`Ring::find`]); who follows reads all in
//! order, each at its own pace ([`Reader`]). With [`Policy::Overwrite`] the oldest messages make room for new
//! ones, and a reader that was passed goes on at the oldest. With [`Policy::Wait`] there is one reader, what
//! it has read leaves the ring, and the sender waits for room.
//!
//! Handed over is a message once it is here; where the sender waits for room, once it was read. So a
//! mark then waits here too, until all before it was read.

mod index;
mod log;
mod reader;

use std::collections::VecDeque;
use std::fmt;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use crate::change::Timestamp;
use crate::error::{Error, Result};

use super::format::{Format, Origin};
use super::kept::Kept;
use super::message::{Confirm, Mark};
pub use reader::Reader;

use log::Log;

/// How long a wait without a bound is: it is looked again then.
const LONG: Duration = Duration::from_secs(3_600);

/// Wakes one who sleeps elsewhere than in a ring.
pub(super) type Wake = Arc<dyn Fn() + Send + Sync>;

/// What becomes of the oldest messages when a ring is full.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Policy {
    /// They make room.
    Overwrite,
    /// They stay until they are read: whoever has more to put in waits.
    Wait,
}

/// What is in a ring at one moment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RingStats {
    /// The memory that its messages hold.
    pub bytes: usize,
    /// Its bound.
    pub max_bytes: usize,
    /// Messages, ticks included.
    pub messages: usize,
    /// Flows with a message in it.
    pub flows: usize,
    /// The commit timestamp up to which the oldest of its messages reaches.
    pub oldest: Option<Timestamp>,
}

/// The ring of one output, shared by its senders and all readers.
pub struct Ring {
    state: Mutex<State>,
    /// Readers wait for messages.
    arrived: Condvar,
    /// Senders wait for room, and who drains for all to be read.
    left: Condvar,
    policy: Policy,
    max_bytes: usize,
    format: Format,
}

struct State {
    log: Log,
    /// Each behind the messages before this place, in order. Only where those wait to be read.
    marks: VecDeque<(u64, Mark, Confirm)>,
    /// Threads that wait for messages.
    waiting: usize,
    /// The one reader is there. Only where the sender waits for it.
    taken: bool,
    /// Whoever sleeps elsewhere, and is to be woken by the next message.
    wake: Option<Wake>,
    /// Nothing comes any more.
    closed: bool,
}

impl Ring {
    /// An empty one that holds this many bytes, or one message.
    pub fn new(policy: Policy, max_bytes: usize, format: Format) -> Self {
        let state = State {
            log: Log::new(format),
            marks: VecDeque::new(),
            waiting: 0,
            taken: false,
            wake: None,
            closed: false,
        };
        Self {
            state: Mutex::new(state),
            arrived: Condvar::new(),
            left: Condvar::new(),
            policy,
            max_bytes,
            format,
        }
    }

    /// What becomes of the oldest.
    pub fn policy(&self) -> Policy {
        self.policy
    }

    /// Messages `first` to `last` of a flow of this process; `None` where any of them is not here.
    pub fn find(&self, origin: Origin, topic: &[u8], first: u64, last: u64) -> Option<Vec<Arc<Kept>>> {
        self.lock().log.find(origin, topic, first, last)
    }

    /// The first of them, if all are here.
    pub(super) fn find_first(
        &self,
        origin: Origin,
        topic: &[u8],
        first: u64,
        last: u64,
    ) -> Option<Arc<Kept>> {
        self.lock().log.find_first(origin, topic, first, last)
    }

    /// One who reads all messages whose topic has one of these beginnings, and all ticks: from the
    /// next one on, or from the oldest. Where the sender waits for its reader, that is always the oldest.
    ///
    /// Errors: `Config` where the one reader is there already.
    pub fn reader(self: &Arc<Self>, topics: Vec<Vec<u8>>, oldest: bool) -> Result<Reader> {
        let mut state = self.lock();
        if self.policy == Policy::Wait && std::mem::replace(&mut state.taken, true) {
            let what = "this ring waits for its one reader, which is there already: read with that one, or \
                        make the output with on_full \"detach\"";
            return Err(Error::Config { setting: "on_full", what: what.into() });
        }
        let from_oldest = oldest || self.policy == Policy::Wait;
        let place = if from_oldest { state.log.oldest() } else { state.log.end() };
        drop(state);
        Ok(Reader::new(Arc::clone(self), topics, place))
    }

    /// As [`Self::reader`], from the next message on, of a ring that has any number of readers.
    pub(super) fn follow(self: &Arc<Self>, topics: Vec<Vec<u8>>) -> Reader {
        let place = self.lock().log.end();
        Reader::new(Arc::clone(self), topics, place)
    }

    /// The place that the next message will have.
    pub(super) fn end(&self) -> u64 {
        self.lock().log.end()
    }

    /// Has `wake` called once, as soon as there is a message at this place or nothing comes any more; false where
    /// that is so already.
    pub(super) fn wake_at(&self, place: u64, wake: &Wake) -> bool {
        let mut state = self.lock();
        let sleep = state.log.end() == place && !state.closed;
        if sleep {
            state.wake = Some(Arc::clone(wake));
        }
        sleep
    }

    /// What is in it now.
    pub fn stats(&self) -> RingStats {
        let state = self.lock();
        let log = &state.log;
        let oldest = log.oldest_data().cloned();
        let (bytes, messages, flows) = (log.memory(), log.len(), log.flows());
        drop(state);
        let oldest = oldest.and_then(|kept| (self.format.last_commit)(&kept.message.header));
        RingStats { bytes, max_bytes: self.max_bytes, messages, flows, oldest }
    }

    // ------------------------------------------------------------- the senders' side

    /// Puts a message in; false where there is no room, and it can be tried again. Errors: `Closed`.
    pub fn try_push(&self, kept: &Arc<Kept>) -> Result<bool> {
        let mut state = self.lock();
        if state.closed {
            return Err(Error::Closed);
        }
        if self.policy == Policy::Wait && self.is_full(&state) {
            return Ok(false);
        }
        state.log.push(Arc::clone(kept));
        let mut evicted = Vec::new();
        while self.policy == Policy::Overwrite && state.log.memory() > self.max_bytes && state.log.len() > 1 {
            evicted.extend(state.log.pop());
        }
        let (waiting, wake) = (state.waiting > 0, state.wake.take());
        drop(state);
        if waiting {
            self.arrived.notify_all();
        }
        if let Some(wake) = wake {
            wake();
        }
        // Freed behind the lock.
        drop(evicted);
        Ok(true)
    }

    /// Waits until there may be room; false when time ran out.
    pub(super) fn wait_for_room(&self, timeout: Duration) -> bool {
        let state = self.lock();
        let full = |state: &mut State| self.is_full(state) && !state.closed;
        let waited = self.left.wait_timeout_while(state, timeout, full);
        !waited.unwrap_or_else(PoisonError::into_inner).1.timed_out()
    }

    /// A sender has put everything before this mark in: it is confirmed once that is handed over.
    pub(super) fn mark(&self, mark: Mark, confirm: &Confirm) {
        if self.policy == Policy::Wait {
            let mut state = self.lock();
            if state.log.data() > 0 || !state.marks.is_empty() {
                let place = state.log.end();
                state.marks.push_back((place, mark, Arc::clone(confirm)));
                return;
            }
        }
        confirm(&mark);
    }

    /// Waits until everything that waits to be read was; false when time ran out.
    pub(super) fn drain(&self, timeout: Duration) -> bool {
        if self.policy == Policy::Overwrite {
            return true;
        }
        let unread = |state: &mut State| state.log.data() > 0 && !state.closed;
        let waited = self.left.wait_timeout_while(self.lock(), timeout, unread);
        waited.unwrap_or_else(PoisonError::into_inner).0.log.data() == 0
    }

    /// Nothing comes any more. What is in it can still be read.
    pub(super) fn close(&self) {
        let mut state = self.lock();
        state.closed = true;
        let wake = state.wake.take();
        drop(state);
        if let Some(wake) = wake {
            wake();
        }
        self.arrived.notify_all();
        self.left.notify_all();
    }

    // ------------------------------------------------------------- within

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn is_full(&self, state: &State) -> bool {
        state.log.memory() >= self.max_bytes
    }

    /// Waits for messages behind this place, or for the end.
    fn wait<'s>(&self, mut state: MutexGuard<'s, State>, deadline: Option<Instant>) -> MutexGuard<'s, State> {
        state.waiting += 1;
        let left = deadline.map_or(LONG, |deadline| deadline.saturating_duration_since(Instant::now()));
        let mut state = self.arrived.wait_timeout(state, left).unwrap_or_else(PoisonError::into_inner).0;
        state.waiting -= 1;
        state
    }
}

impl fmt::Debug for Ring {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Ring")
            .field("policy", &self.policy)
            .field("stats", &self.stats())
            .finish_non_exhaustive()
    }
}
