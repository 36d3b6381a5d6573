//! One sender: a queue and the thread that empties it into a socket.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use super::counters::Stats;
use super::message::{Enqueued, Flush, Mark, Message, Room};
use super::queue::Queue;
use super::settings::OutputSettings;
use super::worker::Worker;
use crate::error::{Error, Result};

/// One endpoint of an output. Any thread may use it.
pub struct Sender {
    endpoint: String,
    queue: Arc<Queue>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

impl Sender {
    pub(super) fn start(worker: Worker, settings: &OutputSettings) -> Result<Self> {
        let endpoint = worker.endpoint.clone();
        let queue = Arc::new(Queue::new(settings));
        let thread = thread::Builder::new()
            .name(format!("spanwire-out-{}", worker.index))
            .spawn({
                let queue = Arc::clone(&queue);
                move || worker.run(&queue)
            })
            .map_err(|error| Error::Socket {
                at: endpoint.clone(),
                errno: error.raw_os_error().unwrap_or(0),
                what: format!("cannot start the sender's thread: {error}"),
            })?;
        Ok(Self { endpoint, queue, thread: Mutex::new(Some(thread)) })
    }

    /// The address bound; `ring` where there is none.
    pub fn endpoint(&self) -> &str {
        &self.endpoint
    }

    /// Queues a message behind all that are queued already.
    ///
    /// While the queue is full this waits (`OnFull::Block`; with [`Room::Exceed`] it does not), or the
    /// message is left out (`OnFull::Detach`), and so are all that follow until everything queued was
    /// handed over.
    ///
    /// Errors: `Closed`, or what the sender failed with; nothing is sent after either.
    pub fn enqueue(&self, message: Message, room: Room) -> Result<Enqueued> {
        self.queue.enqueue(message, room)
    }

    /// Queues a mark behind all that is queued already. Never waits. Errors as `enqueue`.
    pub fn mark(&self, mark: Mark) -> Result<()> {
        self.queue.mark(mark)
    }

    /// Has the sender call `flush` once, as soon as it has nothing queued.
    pub fn mark_dirty(&self, flush: Arc<dyn Flush>) {
        self.queue.mark_dirty(flush);
    }

    /// How many queued messages were handed over, and marks reached: a message that was
    /// [`Enqueued::Queued`] under a number was, once this has reached it. What `Flush` gave is not counted
    /// here.
    pub fn taken(&self) -> u64 {
        self.queue.taken()
    }

    /// How many messages and marks were queued so far: `taken` comes up to it.
    pub fn enqueued(&self) -> u64 {
        self.queue.enqueued()
    }

    /// What was counted so far. Takes no lock.
    pub fn stats(&self) -> Stats {
        self.queue.counters.stats()
    }

    /// What it failed with, if it has. It sends nothing any more then.
    pub fn failure(&self) -> Option<Error> {
        self.queue.failure()
    }

    /// Waits until all is handed over; false when time ran out or it has failed.
    pub fn drain(&self, timeout: Duration) -> bool {
        self.queue.drain(timeout)
    }

    pub(super) fn queue(&self) -> &Arc<Queue> {
        &self.queue
    }

    pub(super) fn stop(&self) {
        self.queue.close(None);
    }

    pub(super) fn join(&self) {
        let thread = self.thread.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(thread) = thread
            && thread.thread().id() != thread::current().id()
        {
            // The thread's own panics end inside it.
            let _ = thread.join();
        }
    }
}

impl Drop for Sender {
    fn drop(&mut self) {
        self.stop();
        self.join();
    }
}

impl fmt::Debug for Sender {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sender")
            .field("endpoint", &self.endpoint)
            .field("stats", &self.stats())
            .finish_non_exhaustive()
    }
}
