//! The queue in front of a sender: bounded, first in first out, one lock.

use std::collections::{HashMap, VecDeque};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use foldhash::fast::FixedState;

use super::counters::Counters;
use super::message::{Enqueued, Flush, Mark, Message, Room};
use super::settings::{OnFull, OutputSettings};
use crate::error::{Error, Result};

/// What a sender takes at once, for one lock: enough to make the lock cheap, little enough that
/// room in the queue comes back steadily.
const CHUNK_MESSAGES: u64 = 64;
/// Those who hold something open wait this long at the most while the queue is never empty.
const PATIENCE: Duration = Duration::from_millis(5);

/// One place in the queue.
pub(super) enum Item {
    Message(Message),
    Mark(Mark),
    /// Messages of this flow were left out here; `Queue::skipped` has the last of them.
    Skipped(u64),
}

/// What a sender does next.
pub(super) enum Next {
    /// Send what is in the chunk.
    Items,
    /// Ask those who hold something open.
    Flush(Vec<Arc<dyn Flush>>),
    /// Tell.
    Tick,
    /// Stop.
    Closed,
}

/// The queue of one sender.
pub(super) struct Queue {
    inner: Mutex<Inner>,
    /// The sender waits for work.
    work: Condvar,
    /// Callers wait for room.
    room: Condvar,
    /// Callers wait until the sender sleeps.
    asleep: Condvar,
    closed: AtomicBool,
    taken: AtomicU64,
    max_bytes: u64,
    max_messages: u64,
    on_full: OnFull,
    pub counters: Counters,
}

struct Inner {
    items: VecDeque<Item>,
    dirty: Vec<Arc<dyn Flush>>,
    /// Since when the sender has known of someone in `dirty` and gone on with the queue.
    dirty_since: Option<Instant>,
    /// The last message left out, by flow; each has its place in `items`.
    skipped: HashMap<u64, Message, FixedState>,
    /// Queued or in the sender's hands, until handed over.
    messages: u64,
    bytes: u64,
    enqueued: u64,
    detached: bool,
    /// The sender waits for work. Cleared by whoever wakes it.
    sleeping: bool,
    /// Callers waiting for room.
    waiting: usize,
    failed: Option<Error>,
}

impl Queue {
    pub fn new(settings: &OutputSettings) -> Self {
        Self {
            inner: Mutex::new(Inner {
                items: VecDeque::new(),
                dirty: Vec::new(),
                dirty_since: None,
                skipped: HashMap::default(),
                messages: 0,
                bytes: 0,
                enqueued: 0,
                detached: false,
                sleeping: false,
                waiting: 0,
                failed: None,
            }),
            work: Condvar::new(),
            room: Condvar::new(),
            asleep: Condvar::new(),
            closed: AtomicBool::new(false),
            taken: AtomicU64::new(0),
            max_bytes: settings.queue_bytes as u64,
            max_messages: settings.queue_messages as u64,
            on_full: settings.queue_on_full(),
            counters: Counters::default(),
        }
    }

    /// Puts a message in; see [`super::Sender::enqueue`].
    pub fn enqueue(&self, message: Message, room: Room) -> Result<Enqueued> {
        let mut inner = self.lock();
        if self.is_full(&inner) || inner.detached {
            match (self.on_full, room) {
                (OnFull::Detach, _) => return self.skip(inner, message),
                (OnFull::Block, Room::Wait) => inner = self.wait_for_room(inner),
                (OnFull::Block, Room::Exceed) => {}
            }
        }
        self.check(&inner)?;
        inner.bytes += message.bytes() as u64;
        inner.messages += 1;
        inner.enqueued += 1;
        let ordinal = inner.enqueued;
        self.publish(&inner);
        inner.items.push_back(Item::Message(message));
        // Whoever was let in passes the word on: so a change in room wakes no more than can enter.
        if inner.waiting > 0 && !self.is_full(&inner) {
            self.room.notify_one();
        }
        self.wake(inner);
        Ok(Enqueued::Queued(ordinal))
    }

    /// Puts a mark in. It weighs nothing and never waits.
    pub fn mark(&self, mark: Mark) -> Result<()> {
        let mut inner = self.lock();
        self.check(&inner)?;
        inner.enqueued += 1;
        inner.items.push_back(Item::Mark(mark));
        self.wake(inner);
        Ok(())
    }

    /// Somebody holds something open: the sender comes for it when it has nothing queued.
    pub fn mark_dirty(&self, flush: Arc<dyn Flush>) {
        let mut inner = self.lock();
        if self.check(&inner).is_ok() {
            inner.dirty.push(flush);
            self.wake(inner);
        }
    }

    /// Messages handed over and marks reached, in the order of [`Enqueued::Queued`].
    pub fn taken(&self) -> u64 {
        self.taken.load(Ordering::Acquire)
    }

    /// Messages and marks put in so far: the number of the last.
    pub fn enqueued(&self) -> u64 {
        self.lock().enqueued
    }

    pub fn is_closed(&self) -> bool {
        self.closed.load(Ordering::Acquire)
    }

    /// Nothing is taken from now on, nothing more is sent. The first reason given stays.
    pub fn close(&self, failure: Option<Error>) {
        let mut inner = self.lock();
        if inner.failed.is_none() && !self.is_closed() {
            inner.failed = failure;
        }
        self.closed.store(true, Ordering::Release);
        inner.sleeping = false;
        // Who waits to be flushed may own this queue: a cycle that ends here, behind the lock.
        let left = (std::mem::take(&mut inner.items), std::mem::take(&mut inner.dirty));
        drop(inner);
        self.work.notify_all();
        self.room.notify_all();
        self.asleep.notify_all();
        drop(left);
    }

    /// Why the sender stopped by itself, if it did.
    pub fn failure(&self) -> Option<Error> {
        self.lock().failed.clone()
    }

    /// Waits until the sender has nothing left to do.
    pub fn drain(&self, timeout: Duration) -> bool {
        let deadline = Instant::now() + timeout;
        let mut inner = self.lock();
        loop {
            let empty = inner.items.is_empty() && inner.messages == 0 && inner.dirty.is_empty();
            if self.is_closed() {
                return empty && inner.failed.is_none();
            }
            if empty && inner.sleeping {
                return true;
            }
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return false;
            }
            inner = self.asleep.wait_timeout(inner, left).unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    // ------------------------------------------------------------- the sender's side

    /// One message of the queue was handed over, or one mark reached.
    pub fn handed_over(&self) {
        // The sender alone writes it. Release: what it did before is seen by who reads the number.
        self.taken.store(self.taken.load(Ordering::Relaxed) + 1, Ordering::Release);
    }

    /// Gives back the room of the messages handed over, and says what to do next; waits until
    /// `tick` for it. Items are put into `chunk`.
    pub fn next(&self, chunk: &mut Vec<Item>, returned: &mut Returned, tick: Instant) -> Next {
        let mut inner = self.lock();
        self.give_room(&mut inner, &std::mem::take(returned));
        loop {
            let now = Instant::now();
            if self.is_closed() {
                return Next::Closed;
            }
            if now >= tick {
                return Next::Tick;
            }
            if !inner.dirty.is_empty() {
                let since = *inner.dirty_since.get_or_insert(now);
                if inner.items.is_empty() || now.duration_since(since) >= PATIENCE {
                    inner.dirty_since = None;
                    return Next::Flush(std::mem::take(&mut inner.dirty));
                }
            }
            if !inner.items.is_empty() {
                self.take_chunk(&mut inner.items, chunk);
                return Next::Items;
            }
            inner.sleeping = true;
            self.asleep.notify_all();
            inner = self.work.wait_timeout(inner, tick - now).unwrap_or_else(PoisonError::into_inner).0;
            inner.sleeping = false;
        }
    }

    /// An eighth of the bound at the most: the rest of it keeps callers going meanwhile.
    fn take_chunk(&self, items: &mut VecDeque<Item>, chunk: &mut Vec<Item>) {
        let (mut messages, mut bytes) = (0, 0);
        while messages < CHUNK_MESSAGES.min(self.max_messages.div_ceil(8))
            && bytes < self.max_bytes.div_ceil(8)
        {
            let Some(item) = items.pop_front() else { break };
            if let Item::Message(message) = &item {
                messages += 1;
                bytes += message.bytes() as u64;
            }
            chunk.push(item);
        }
    }

    /// The last message of a flow that was left out at this place.
    pub fn take_skipped(&self, flow: u64) -> Option<Message> {
        self.lock().skipped.remove(&flow)
    }

    // ------------------------------------------------------------- within

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn is_full(&self, inner: &Inner) -> bool {
        inner.messages >= self.max_messages || inner.bytes >= self.max_bytes
    }

    fn check(&self, inner: &Inner) -> Result<()> {
        match (&inner.failed, self.is_closed()) {
            (Some(failed), _) => Err(failed.clone()),
            (None, true) => Err(Error::Closed),
            (None, false) => Ok(()),
        }
    }

    fn wake(&self, mut inner: MutexGuard<'_, Inner>) {
        let sleeping = std::mem::take(&mut inner.sleeping);
        drop(inner);
        if sleeping {
            self.work.notify_one();
        }
    }

    fn wait_for_room<'a>(&self, mut inner: MutexGuard<'a, Inner>) -> MutexGuard<'a, Inner> {
        let since = Instant::now();
        while self.is_full(&inner) && !self.is_closed() {
            inner.waiting += 1;
            inner = self.room.wait(inner).unwrap_or_else(PoisonError::into_inner);
            inner.waiting -= 1;
        }
        Counters::add_time(&self.counters.blocked, since.elapsed());
        inner
    }

    fn skip(&self, mut inner: MutexGuard<'_, Inner>, mut message: Message) -> Result<Enqueued> {
        self.check(&inner)?;
        if !inner.detached {
            inner.detached = true;
            self.counters.detachments.fetch_add(1, Ordering::Relaxed);
            self.counters.detached.store(true, Ordering::Relaxed);
        }
        self.counters.skipped_messages.fetch_add(1, Ordering::Relaxed);
        self.counters.skipped_changes.fetch_add(u64::from(message.changes), Ordering::Relaxed);
        let body = std::mem::take(&mut message.body);
        let flow = message.flow;
        // One place per flow however many messages: what is kept is bounded by the flows.
        if inner.skipped.insert(flow, message).is_none() {
            inner.items.push_back(Item::Skipped(flow));
        }
        drop(inner);
        drop(body);
        Ok(Enqueued::Skipped)
    }

    fn give_room(&self, inner: &mut Inner, returned: &Returned) {
        if returned.messages == 0 {
            return;
        }
        inner.messages -= returned.messages;
        inner.bytes -= returned.bytes;
        if inner.detached && inner.messages == 0 {
            inner.detached = false;
            self.counters.detached.store(false, Ordering::Relaxed);
        }
        self.publish(inner);
        if inner.waiting > 0 && !self.is_full(inner) {
            self.room.notify_one();
        }
    }

    fn publish(&self, inner: &Inner) {
        self.counters.queued_messages.store(inner.messages, Ordering::Relaxed);
        self.counters.queued_bytes.store(inner.bytes, Ordering::Relaxed);
    }
}

/// Room in the queue that handed-over messages leave.
#[derive(Debug, Default)]
pub(super) struct Returned {
    pub messages: u64,
    pub bytes: u64,
}
