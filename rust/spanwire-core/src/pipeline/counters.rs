//! What a pipeline counts. Written once a push, read without a lock.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use super::intake::Pushed;

/// A pipeline's counters.
#[derive(Debug, Default)]
pub struct Counters {
    /// Messages taken from Spanner.
    pub pushes: AtomicU64,
    /// Bytes taken from Spanner.
    pub bytes: AtomicU64,
    /// Data change records, those dropped included.
    pub records: AtomicU64,
    /// Row changes sent on.
    pub changes: AtomicU64,
    /// Row changes dropped: handed over before.
    pub duplicates: AtomicU64,
    /// Row changes that outputs left out by choice, summed over outputs; of a record that could not be
    /// decoded one.
    pub filtered: AtomicU64,
    /// Row changes that were sent because a condition on their row could not be decided, summed likewise.
    pub undecided: AtomicU64,
    /// Pushes that met a heartbeat.
    pub heartbeats: AtomicU64,
    /// Changes that could not be decoded.
    pub undecodable: AtomicU64,
    /// Values that did not fit their column's type, whose type is not known, or whose column is not
    /// described: sent as JSON text, or with their record raw. Of each output with typed values.
    pub misfits: AtomicU64,
    /// Records sent raw to the dead letters, of each output.
    pub dead_letters: AtomicU64,
}

impl Counters {
    /// Counts a push.
    pub fn pushed(&self, bytes: usize) {
        self.pushes.fetch_add(1, Relaxed);
        self.bytes.fetch_add(bytes as u64, Relaxed);
    }

    /// Counts what it met, or what was met behind a pause.
    pub fn met(&self, pushed: &Pushed) {
        self.records.fetch_add(pushed.records, Relaxed);
        self.changes.fetch_add(pushed.changes, Relaxed);
        self.duplicates.fetch_add(pushed.duplicates, Relaxed);
        self.heartbeats.fetch_add(u64::from(pushed.heartbeat.is_some()), Relaxed);
    }
}
