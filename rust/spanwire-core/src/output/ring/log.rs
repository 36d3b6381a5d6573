//! The messages of a ring in order, numbered by place, with their index: no locks, no policy.

use std::collections::VecDeque;
use std::sync::Arc;

use super::super::format::{Format, Origin};
use super::super::kept::Kept;
use super::index::Index;

/// Messages in the order they were handed over.
#[derive(Debug)]
pub struct Log {
    messages: VecDeque<Arc<Kept>>,
    index: Index,
    /// The place of the oldest.
    oldest: u64,
    memory: usize,
    /// Those that are no ticks.
    data: usize,
    format: Format,
}

impl Log {
    pub fn new(format: Format) -> Self {
        Self { messages: VecDeque::new(), index: Index::default(), oldest: 0, memory: 0, data: 0, format }
    }

    /// Puts a message behind all others.
    pub fn push(&mut self, kept: Arc<Kept>) {
        self.memory += kept.memory();
        if !kept.tick {
            self.data += 1;
            let place = self.end();
            let message = &kept.message;
            self.index.push(message.flow, &message.topic, message.sequence, place, || {
                (self.format.origin)(&message.header)
            });
        }
        self.messages.push_back(kept);
    }

    /// Takes the oldest out.
    pub fn pop(&mut self) -> Option<Arc<Kept>> {
        let kept = self.messages.pop_front()?;
        self.oldest += 1;
        self.memory -= kept.memory();
        if !kept.tick {
            self.data -= 1;
            self.index.pop(kept.message.flow);
        }
        Some(kept)
    }

    /// The place of the oldest message.
    pub fn oldest(&self) -> u64 {
        self.oldest
    }

    /// The place that the next message will have.
    pub fn end(&self) -> u64 {
        self.oldest + self.messages.len() as u64
    }

    /// The message at a place, if it is here.
    pub fn get(&self, place: u64) -> Option<&Arc<Kept>> {
        let offset = usize::try_from(place.checked_sub(self.oldest)?).ok()?;
        self.messages.get(offset)
    }

    /// Messages `first` to `last` of a flow; `None` where any of them is not here.
    pub fn find(&self, origin: Origin, topic: &[u8], first: u64, last: u64) -> Option<Vec<Arc<Kept>>> {
        self.index.find(origin, topic, first, last)?.map(|place| self.get(place).cloned()).collect()
    }

    /// The first of them, if all are here.
    pub fn find_first(&self, origin: Origin, topic: &[u8], first: u64, last: u64) -> Option<Arc<Kept>> {
        self.index.find(origin, topic, first, last)?.next().and_then(|place| self.get(place).cloned())
    }

    /// The oldest that is no tick.
    pub fn oldest_data(&self) -> Option<&Arc<Kept>> {
        self.messages.iter().find(|kept| !kept.tick)
    }

    /// The memory that all hold; see [`Kept::memory`].
    pub fn memory(&self) -> usize {
        self.memory
    }

    pub fn len(&self) -> usize {
        self.messages.len()
    }

    /// How many are no ticks.
    pub fn data(&self) -> usize {
        self.data
    }

    /// Flows with a message here.
    pub fn flows(&self) -> usize {
        self.index.flows()
    }
}
