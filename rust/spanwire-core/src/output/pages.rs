//! Pages: small bodies of a ring, one behind the other in buffers of one size.
//!
//! A ring's messages live long and are of every size. Had each memory of its own, then what leaves would not fit
//! what comes: the holes between make a process grow although what it holds does not. A page is a buffer of the
//! pool, like those that messages are written in, and goes back there as a whole: a full ring goes round in the
//! memory it has.

use std::fmt;
use std::mem::ManuallyDrop;
use std::sync::Arc;

use super::pool::Pool;

/// The least that a page holds.
const PAGE: usize = 64 << 10;
/// Larger bodies have memory of their own: a page that has no room for one would be left too empty.
const LARGEST: usize = PAGE / 2;

/// Where the next small body goes. One sender's.
#[derive(Debug)]
pub struct Pages {
    pool: Arc<Pool>,
    page: Option<Arc<Page>>,
    /// So much of it is filled.
    filled: usize,
}

/// Bytes in a page, which lives as long as any of them.
#[derive(Debug)]
pub(super) struct Slice {
    page: Arc<Page>,
    start: usize,
    len: usize,
    /// The bytes, and what the page before was left empty.
    pub memory: usize,
}

/// A buffer that is written once, front to back, while what is written already is read.
struct Page {
    memory: *mut u8,
    capacity: usize,
    pool: Arc<Pool>,
}

impl Pages {
    /// None yet; `pool` is where they come from and go to.
    pub fn new(pool: Arc<Pool>) -> Self {
        Self { pool, page: None, filled: 0 }
    }

    /// Where their buffers come from.
    pub fn pool(&self) -> &Arc<Pool> {
        &self.pool
    }

    /// These bytes, copied into a page; None where they are too many for one.
    pub(super) fn put(&mut self, bytes: &[u8]) -> Option<Slice> {
        if bytes.len() > LARGEST {
            return None;
        }
        let mut left_empty = 0;
        let page = match &self.page {
            Some(page) if page.capacity - self.filled >= bytes.len() => Arc::clone(page),
            full => {
                left_empty = full.as_ref().map_or(0, |page| page.capacity - self.filled);
                let page = Arc::new(Page::new(self.pool.take(PAGE), &self.pool));
                self.page = Some(Arc::clone(&page));
                self.filled = 0;
                page
            }
        };
        let start = self.filled;
        // SAFETY: there is room for them behind what is filled, as was looked at above. Nobody but this, which
        // is borrowed exclusively, writes into the page, and no slice reaches behind what is filled.
        unsafe { page.memory.add(start).copy_from_nonoverlapping(bytes.as_ptr(), bytes.len()) };
        self.filled += bytes.len();
        Some(Slice { page, start, len: bytes.len(), memory: bytes.len() + left_empty })
    }
}

impl Slice {
    pub fn bytes(&self) -> &[u8] {
        // SAFETY: `put` wrote these bytes before it made the slice; nothing writes there again while it lives,
        // and it keeps the page.
        unsafe { std::slice::from_raw_parts(self.page.memory.add(self.start), self.len) }
    }
}

impl Page {
    fn new(buffer: Vec<u8>, pool: &Arc<Pool>) -> Self {
        let mut buffer = ManuallyDrop::new(buffer);
        Self { memory: buffer.as_mut_ptr(), capacity: buffer.capacity(), pool: Arc::clone(pool) }
    }
}

impl Drop for Page {
    fn drop(&mut self) {
        // SAFETY: they are the parts of the vector taken apart in `new`, put together once; bytes need no
        // dropping, so its length may be 0.
        self.pool.give(unsafe { Vec::from_raw_parts(self.memory, 0, self.capacity) });
    }
}

// SAFETY: it owns its memory. What is shared of it is only read: `Pages` writes where no slice is.
unsafe impl Send for Page {}
// SAFETY: as above.
unsafe impl Sync for Page {}

/// Sizes only: no row data in a log.
impl fmt::Debug for Page {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Page").field("capacity", &self.capacity).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::VecDeque;

    use proptest::prelude::*;

    use super::*;

    fn body(number: usize, len: usize) -> Vec<u8> {
        let first = number % 251;
        let ramp: Vec<u8> = (0..251).collect();
        ramp.repeat((first + len) / 251 + 1)[first..][..len].to_vec()
    }

    #[test]
    fn a_page_goes_back_when_the_last_of_its_bodies_has_gone() {
        let pool = Arc::new(Pool::default());
        let mut pages = Pages::new(Arc::clone(&pool));
        let mut held: Vec<_> = (0..20).map(|number| pages.put(&body(number, 10_000)).unwrap()).collect();
        assert_eq!(pool.bytes(), 0);
        // Seven fit into a page.
        let last = held.pop().unwrap();
        drop(held);
        let back = pool.bytes();
        assert!(back >= 2 * PAGE, "{back} bytes of two pages");
        drop(pages);
        assert_eq!((pool.bytes(), last.bytes()), (back, body(19, 10_000).as_slice()));
        drop(last);
        assert!(pool.bytes() > back);
    }

    #[test]
    fn what_bodies_count_is_what_their_pages_take() {
        let mut pages = Pages::new(Arc::default());
        let held: Vec<_> = (0..100).map(|number| pages.put(&body(number, 9_000 + number)).unwrap()).collect();
        let counted: usize = held.iter().map(|slice| slice.memory).sum();
        let mut taken: Vec<_> = held.iter().map(|slice| (slice.page.memory, slice.page.capacity)).collect();
        taken.dedup();
        let taken: usize = taken.iter().map(|(_, capacity)| capacity).sum();
        assert!(counted <= taken && taken - counted < 2 * PAGE, "{counted} of {taken}");
    }

    #[test]
    fn a_large_body_is_not_for_a_page() {
        let mut pages = Pages::new(Arc::default());
        assert!(pages.put(&body(1, LARGEST + 1)).is_none());
        assert!(pages.page.is_none());
    }

    proptest! {
        #[test]
        fn whatever_comes_and_goes_stays_as_it_was_put(
            steps in prop::collection::vec((0..=LARGEST, 0_usize..4), 1..200),
        ) {
            let mut pages = Pages::new(Arc::new(Pool::with_limit(256 << 10)));
            let mut held = VecDeque::new();
            for (number, (len, gone)) in steps.into_iter().enumerate() {
                held.push_back((number, pages.put(&body(number, len)).unwrap()));
                for _ in 0..gone {
                    held.pop_front();
                }
                for (number, slice) in &held {
                    prop_assert!(slice.bytes() == body(*number, slice.len));
                }
            }
        }
    }
}
