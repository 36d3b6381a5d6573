//! A message that more than one may send or read: the body is shared, never copied.

use std::fmt;
use std::sync::Arc;

use super::frame::ZERO_COPY;
use super::message::Message;
use super::pages::{Pages, Slice};
use super::pool::Pool;

/// What a message in a ring costs beside its bytes: its own struct and its place in the ring and the index.
const OVERHEAD: usize = 256;

/// The fourth frame.
pub struct Body(Memory);

enum Memory {
    /// The buffer that it was written in, which goes back to its pool when everybody has let go of it: ring,
    /// readers and libzmq.
    Buffer(Vec<u8>, Arc<Pool>),
    /// A place in a page.
    Page(Slice),
    /// Memory of its own and of its size, which the pool has no use for.
    Own(Box<[u8]>),
}

impl Body {
    /// Takes a buffer over. A small one, or one that would tie up much more memory than it fills, is copied
    /// and goes back to the pool at once.
    fn new(buffer: Vec<u8>, pages: &mut Pages) -> Self {
        let pool = Arc::clone(pages.pool());
        if buffer.len() >= ZERO_COPY && buffer.len() >= buffer.capacity() / 4 {
            return Self(Memory::Buffer(buffer, pool));
        }
        let memory = pages.put(&buffer).map_or_else(|| Memory::Own(buffer.as_slice().into()), Memory::Page);
        pool.give(buffer);
        Self(memory)
    }

    /// The frame.
    pub fn bytes(&self) -> &[u8] {
        match &self.0 {
            Memory::Buffer(buffer, _) => buffer,
            Memory::Page(place) => place.bytes(),
            Memory::Own(bytes) => bytes,
        }
    }

    /// Whether libzmq may hold it for as long as a slow peer takes: not where it would hold its neighbours, too.
    pub(super) fn is_alone(&self) -> bool {
        !matches!(self.0, Memory::Page(_))
    }

    fn memory(&self) -> usize {
        match &self.0 {
            Memory::Buffer(buffer, _) => buffer.capacity(),
            Memory::Page(place) => place.memory,
            Memory::Own(bytes) => bytes.len(),
        }
    }
}

impl Drop for Body {
    fn drop(&mut self) {
        if let Memory::Buffer(buffer, pool) = &mut self.0 {
            pool.give(std::mem::take(buffer));
        }
    }
}

/// A message as a ring keeps it.
pub struct Kept {
    /// All of it but the body.
    pub(super) message: Message,
    /// The body.
    pub(super) body: Arc<Body>,
    /// It is a tick: for every reader, whatever its topics, and in no flow.
    pub(super) tick: bool,
}

impl Kept {
    /// Takes a message over, its time of sending written already.
    pub fn new(mut message: Message, tick: bool, pages: &mut Pages) -> Self {
        let body = Arc::new(Body::new(std::mem::take(&mut message.body), pages));
        Self { message, body, tick }
    }

    /// The four frames: topic, header, columns, body.
    pub fn frames(&self) -> [&[u8]; 4] {
        let Message { topic, header, columns, .. } = &self.message;
        [topic, header, columns, self.body.bytes()]
    }

    /// The bytes of its four frames.
    pub fn bytes(&self) -> usize {
        self.message.bytes() + self.body.bytes().len()
    }

    /// The memory that it holds, or nearly: what it shares with others (topic, columns) is not in it.
    pub fn memory(&self) -> usize {
        OVERHEAD + self.message.header.capacity() + self.body.memory()
    }

    /// Whether somebody who follows these beginnings of topics is to have it.
    pub fn is_for<T: AsRef<[u8]>>(&self, topics: &[T]) -> bool {
        self.tick || topics.iter().any(|topic| self.message.topic.starts_with(topic.as_ref()))
    }
}

/// Sizes only: no row data in a log.
impl fmt::Debug for Kept {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Kept")
            .field("flow", &self.message.flow)
            .field("sequence", &self.message.sequence)
            .field("bytes", &self.bytes())
            .finish_non_exhaustive()
    }
}
