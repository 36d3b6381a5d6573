//! A message that more than one may send or read: the body is shared, never copied.

use std::fmt;
use std::sync::Arc;

use super::frame::ZERO_COPY;
use super::message::Message;
use super::pool::Pool;

/// What a message in a ring costs beside its bytes: its own struct and its place in the ring and the index.
const OVERHEAD: usize = 256;

/// The fourth frame. Its buffer goes back to its pool when everybody has let go of it: ring, readers and
/// libzmq.
pub struct Body {
    buffer: Vec<u8>,
    pool: Arc<Pool>,
}

impl Body {
    /// Takes a buffer over. A small one, or one that would tie up much more memory than it fills, is copied
    /// and goes back to the pool at once.
    pub fn new(buffer: Vec<u8>, pool: &Arc<Pool>) -> Self {
        let pool = Arc::clone(pool);
        if buffer.len() < ZERO_COPY || buffer.len() < buffer.capacity() / 4 {
            let exact = buffer.as_slice().to_vec();
            pool.give(buffer);
            return Self { buffer: exact, pool };
        }
        Self { buffer, pool }
    }

    /// The frame.
    pub fn bytes(&self) -> &[u8] {
        &self.buffer
    }
}

impl Drop for Body {
    fn drop(&mut self) {
        self.pool.give(std::mem::take(&mut self.buffer));
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
    pub fn new(mut message: Message, tick: bool, pool: &Arc<Pool>) -> Self {
        let body = Arc::new(Body::new(std::mem::take(&mut message.body), pool));
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
        OVERHEAD + self.message.header.capacity() + self.body.buffer.capacity()
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
