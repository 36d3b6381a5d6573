//! What goes through an output, and whom a sender talks to.

use std::any::Any;
use std::fmt;
use std::sync::Arc;

/// Something that waits in a queue behind the messages it speaks of. It weighs nothing.
pub type Mark = Arc<dyn Any + Send + Sync>;

/// Called with a mark once everything before it has been handed over, on whatever thread that happens.
pub type Confirm = Arc<dyn Fn(&Mark) + Send + Sync>;

/// One message of four frames.
pub struct Message {
    /// Names its flow: order holds within one.
    pub flow: u64,
    /// Its place in its flow.
    pub sequence: u64,
    /// The first frame.
    pub topic: Arc<[u8]>,
    /// The second; the time of sending is written into it.
    pub header: Vec<u8>,
    /// The third; shared by all messages of that shape.
    pub columns: Arc<[u8]>,
    /// The fourth; its buffer goes back to the pool.
    pub body: Vec<u8>,
    /// How many changes it carries, for the counters.
    pub changes: u32,
}

impl Message {
    /// The bytes of its four frames.
    pub fn bytes(&self) -> usize {
        self.topic.len() + self.header.len() + self.columns.len() + self.body.len()
    }
}

/// Sizes only: no row data in a log.
impl fmt::Debug for Message {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Message")
            .field("flow", &self.flow)
            .field("sequence", &self.sequence)
            .field("changes", &self.changes)
            .field("bytes", &self.bytes())
            .finish_non_exhaustive()
    }
}

/// What became of a message that was put into a queue.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Enqueued {
    /// It is queued. Once the sender's `taken()` has reached this number, it was handed over.
    Queued(u64),
    /// The output is set aside: the message was counted and left out.
    Skipped,
}

/// What a message does that finds the queue full.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Room {
    /// It waits, where the output blocks.
    Wait,
    /// It passes the bound: for the last messages of a partition, which are few, and whose caller must
    /// not be held up by an output that is stuck.
    Exceed,
}

/// One who holds messages open for a sender that is busy.
pub trait Flush: Send + Sync {
    /// The sender has nothing queued: put what should go out now into `out`, in order. Called on
    /// the sender's thread, which holds no lock; must not wait for one that a caller of `enqueue`
    /// may hold.
    ///
    /// What is put into `out` is sent before anything that is queued from now on. Whoever has a
    /// message of the same flow in the queue, though (`taken()` tells), would overtake itself.
    fn flush(&self, sender: usize, out: &mut Vec<Message>);
}

/// What a sender keeps beside its socket. Called on the sender's thread, between two sends.
pub trait Companion: Send {
    /// This message has been handed over. Its body is gone.
    fn sent(&mut self, message: &Message);

    /// Messages of this flow were left out while the output was set aside; this is the last of
    /// them. It counts as sent by default: whoever is told so notices the hole.
    fn skipped(&mut self, message: &Message) {
        self.sent(message);
    }

    /// Everything queued before this mark has gone out (or was left out): what is told from now on is
    /// told behind it.
    fn reached(&mut self, mark: &Mark);

    /// What is to be done with each mark once everything before it has been handed over: with most outputs
    /// right behind `reached`, but a ring that waits for its reader has it read first. Asked once.
    fn confirm(&self) -> Confirm {
        Arc::new(|_| {})
    }

    /// Something was reached that is to be told soon: before the next message, and when none comes without
    /// waiting for the tick's time.
    fn is_urgent(&self) -> bool {
        false
    }

    /// It is time to tell: put messages into `out`. On PUSH this is called too, and what it puts
    /// there is dropped: one worker among many has no use for it.
    fn tick(&mut self, out: &mut Vec<Message>);
}
