//! What a sender counts: written by whoever does the thing, read without a lock.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::time::Duration;

/// A sender's counters.
#[derive(Debug, Default)]
pub struct Counters {
    pub messages: AtomicU64,
    pub bytes: AtomicU64,
    pub changes: AtomicU64,
    pub ticks: AtomicU64,
    pub skipped_messages: AtomicU64,
    pub skipped_changes: AtomicU64,
    pub detachments: AtomicU64,
    pub detached: AtomicBool,
    pub queued_messages: AtomicU64,
    pub queued_bytes: AtomicU64,
    /// Nanoseconds that callers of `enqueue` waited.
    pub blocked: AtomicU64,
    /// Nanoseconds that the socket took nothing.
    pub stuck: AtomicU64,
    pub errors: AtomicU64,
}

/// A sender's counters at one moment. All of them count from its start, but for what is queued.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stats {
    /// Messages handed over, ticks included.
    pub messages: u64,
    /// Bytes of their frames.
    pub bytes: u64,
    /// Changes in them.
    pub changes: u64,
    /// Ticks among them.
    pub ticks: u64,
    /// Messages left out while the output was set aside.
    pub skipped_messages: u64,
    /// Changes in them.
    pub skipped_changes: u64,
    /// How often it was set aside.
    pub detachments: u64,
    /// Whether it is set aside now.
    pub detached: bool,
    /// Messages in the queue now, the one being sent included.
    pub queued_messages: u64,
    /// Bytes in the queue now.
    pub queued_bytes: u64,
    /// How long callers have waited for room in the queue, added up.
    pub blocked: Duration,
    /// How long the socket took nothing although something was there for it.
    pub stuck: Duration,
    /// `ZeroMQ` calls that failed.
    pub errors: u64,
}

impl Counters {
    pub fn add_time(counter: &AtomicU64, elapsed: Duration) {
        counter.fetch_add(u64::try_from(elapsed.as_nanos()).unwrap_or(u64::MAX), Relaxed);
    }

    pub fn stats(&self) -> Stats {
        Stats {
            messages: self.messages.load(Relaxed),
            bytes: self.bytes.load(Relaxed),
            changes: self.changes.load(Relaxed),
            ticks: self.ticks.load(Relaxed),
            skipped_messages: self.skipped_messages.load(Relaxed),
            skipped_changes: self.skipped_changes.load(Relaxed),
            detachments: self.detachments.load(Relaxed),
            detached: self.detached.load(Relaxed),
            queued_messages: self.queued_messages.load(Relaxed),
            queued_bytes: self.queued_bytes.load(Relaxed),
            blocked: Duration::from_nanos(self.blocked.load(Relaxed)),
            stuck: Duration::from_nanos(self.stuck.load(Relaxed)),
            errors: self.errors.load(Relaxed),
        }
    }
}
