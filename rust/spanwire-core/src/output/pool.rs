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
/// What was not needed while so many came back is not needed.
const PATIENCE: usize = 1_024;

/// What is kept where nothing else is said.
pub const POOL_BYTES: usize = 32 << 20;

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
    /// The largest buffer that anybody who has asked so far would have been given.
    largest: usize,
    /// So many have come back since it was looked what is needed.
    came: usize,
    /// The fewest there were since then.
    idle: usize,
}

impl Default for Pool {
    fn default() -> Self {
        Self::with_limit(POOL_BYTES)
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
            // The smallest that fits, so that large ones stay for who needs them or go; of those the newest, which
            // is still in the processor's cache. None that is far too large.
            let largest = wanted.saturating_mul(4);
            kept.largest = kept.largest.max(largest);
            let from = kept.buffers.len().saturating_sub(SEARCH);
            let fits = |buffer: &Vec<u8>| (wanted..=largest).contains(&buffer.capacity());
            let fitting = (from..kept.buffers.len()).rev().filter(|&place| fits(&kept.buffers[place]));
            let place = fitting.min_by_key(|&place| kept.buffers[place].capacity());
            let found = place.and_then(|place| kept.buffers.swap_remove_back(place));
            kept.bytes -= found.as_ref().map_or(0, Vec::capacity);
            kept.idle = kept.idle.min(kept.buffers.len());
            found
        };
        found.unwrap_or_else(|| Vec::with_capacity(wanted))
    }

    /// Takes a buffer back. The oldest go when the pool is full, or has more than was needed for long; one that
    /// nobody would be given goes at once. Else those that grew for large records would fill it in time.
    pub fn give(&self, mut buffer: Vec<u8>) {
        if buffer.capacity() < SMALLEST || buffer.capacity() > self.limit {
            return;
        }
        buffer.clear();
        let mut surplus = Vec::new();
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        if buffer.capacity() <= kept.largest {
            kept.bytes += buffer.capacity();
            kept.buffers.push_back(buffer);
        } else {
            surplus.push(buffer);
        }
        kept.came += 1;
        if kept.came == PATIENCE {
            for _ in 0..kept.idle {
                surplus.extend(kept.drop_oldest());
            }
            (kept.came, kept.idle) = (0, kept.buffers.len());
        }
        while kept.bytes > self.limit {
            surplus.extend(kept.drop_oldest());
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

impl Kept {
    fn drop_oldest(&mut self) -> Option<Vec<u8>> {
        let oldest = self.buffers.pop_front()?;
        self.bytes -= oldest.capacity();
        Some(oldest)
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
        drop(pool.take(280 << 10));
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
        drop(pool.take(7 << 20));
        pool.give(Vec::with_capacity(8 << 20));
        assert!(pool.take(64 << 10).capacity() < 1 << 20);
        assert_eq!(pool.take(7 << 20).capacity(), 8 << 20);
    }

    #[test]
    fn a_buffer_that_nobody_would_be_given_is_not_kept() {
        let pool = Pool::default();
        let buffer = pool.take(64 << 10);
        pool.give(Vec::with_capacity(1 << 20));
        assert_eq!(pool.bytes(), 0);
        pool.give(buffer);
        assert!(pool.bytes() >= 64 << 10);
    }

    #[test]
    fn what_is_not_needed_for_long_is_given_up_and_what_is_stays() {
        let pool = Pool::default();
        let burst: Vec<_> = (0..100).map(|_| pool.take(64 << 10)).collect();
        for buffer in burst {
            pool.give(buffer);
        }
        let all = pool.bytes();
        for _ in 0..PATIENCE {
            let few: Vec<_> = (0..3).map(|_| pool.take(64 << 10)).collect();
            for buffer in few {
                pool.give(buffer);
            }
        }
        assert_eq!(pool.bytes(), all / 100 * 3);
    }
}
