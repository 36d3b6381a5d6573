//! Buffers that were sent, kept for the next messages: a fresh one of 64 KiB or more costs a page
//! fault for every 4 KiB of it.

use std::collections::VecDeque;
use std::sync::{Mutex, PoisonError};

/// Smaller buffers are not worth the lock.
const SMALLEST: usize = 4 << 10;
/// Room behind what was asked for, so that the record which closes a message does not make its
/// buffer grow, and so be copied.
const SLACK: usize = 8 << 10;
/// Buffers looked at in search of one that fits.
const SEARCH: usize = 16;

/// Keeps buffers, up to a bound.
#[derive(Debug)]
pub struct Pool {
    kept: Mutex<Kept>,
    limit: usize,
}

#[derive(Debug, Default)]
struct Kept {
    buffers: VecDeque<Vec<u8>>,
    bytes: usize,
}

impl Default for Pool {
    fn default() -> Self {
        Self::with_limit(32 << 20)
    }
}

impl Pool {
    /// Keeps up to `limit` bytes.
    pub fn with_limit(limit: usize) -> Self {
        Self { kept: Mutex::default(), limit }
    }

    /// An empty buffer with room for `capacity` bytes and a little more.
    pub fn take(&self, capacity: usize) -> Vec<u8> {
        let wanted = capacity.max(SMALLEST) + SLACK;
        let found = {
            let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
            // The newest first: it is still in the processor's cache. None that is far too large.
            let from = kept.buffers.len().saturating_sub(SEARCH);
            let fits = |buffer: &Vec<u8>| (wanted..=wanted.saturating_mul(4)).contains(&buffer.capacity());
            let place = (from..kept.buffers.len()).rev().find(|&place| fits(&kept.buffers[place]));
            let found = place.and_then(|place| kept.buffers.swap_remove_back(place));
            kept.bytes -= found.as_ref().map_or(0, Vec::capacity);
            found
        };
        found.unwrap_or_else(|| Vec::with_capacity(wanted))
    }

    /// Takes a buffer back. The oldest go when the pool is full.
    pub fn give(&self, mut buffer: Vec<u8>) {
        if buffer.capacity() < SMALLEST || buffer.capacity() > self.limit {
            return;
        }
        buffer.clear();
        let mut surplus = Vec::new();
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        kept.bytes += buffer.capacity();
        kept.buffers.push_back(buffer);
        while kept.bytes > self.limit {
            let Some(oldest) = kept.buffers.pop_front() else { break };
            kept.bytes -= oldest.capacity();
            surplus.push(oldest);
        }
        // Freed behind the lock.
        drop(kept);
        drop(surplus);
    }

    /// Bytes kept.
    pub fn bytes(&self) -> usize {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner).bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_buffer_comes_back_empty_and_with_its_memory() {
        let pool = Pool::default();
        let mut buffer = pool.take(64 << 10);
        buffer.extend_from_slice(b"row data");
        let (address, capacity) = (buffer.as_ptr(), buffer.capacity());
        pool.give(buffer);
        assert_eq!(pool.bytes(), capacity);
        let again = pool.take(64 << 10);
        assert_eq!((again.as_ptr(), again.len()), (address, 0));
        assert_eq!(pool.bytes(), 0);
    }

    #[test]
    fn it_keeps_no_more_than_its_limit_and_lets_the_oldest_go() {
        let pool = Pool::with_limit(1 << 20);
        for _ in 0..40 {
            pool.give(Vec::with_capacity(64 << 10));
        }
        assert_eq!(pool.bytes(), 1 << 20);
        pool.give(Vec::with_capacity(300 << 10));
        assert!(pool.bytes() <= 1 << 20);
        assert!(pool.take(280 << 10).capacity() == 300 << 10, "the newest is kept");
        pool.give(Vec::with_capacity(2 << 20));
        assert!(pool.bytes() <= 1 << 20, "one beyond the limit is not kept");
    }

    #[test]
    fn a_buffer_far_too_large_is_left_for_who_needs_it() {
        let pool = Pool::default();
        pool.give(Vec::with_capacity(8 << 20));
        assert!(pool.take(64 << 10).capacity() < 1 << 20);
        assert_eq!(pool.take(7 << 20).capacity(), 8 << 20);
    }
}
