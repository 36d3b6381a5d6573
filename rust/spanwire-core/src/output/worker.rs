//! A sender's thread.

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use super::Stamp;
use super::counters::Counters;
use super::message::{Companion, Message};
use super::pool::Pool;
use super::queue::{Item, Next, Queue, Returned};
use super::socket::{Outgoing, Socket};
use crate::error::{Error, Result};

/// While the socket takes nothing, the thread looks this often whether it should stop. A socket
/// that takes something again is noticed at once.
const GLANCE: Duration = Duration::from_millis(20);

/// What is urgent is told so long after the last tick at the earliest, where no message waits for it: when
/// many partitions are opened one after the other, few ticks tell them all.
const URGENT: Duration = Duration::from_millis(10);

/// What the thread owns.
pub(super) struct Worker {
    pub index: usize,
    pub socket: Socket,
    pub companion: Box<dyn Companion>,
    pub stamp: Stamp,
    pub pool: Arc<Pool>,
    pub tick: Duration,
    /// Whether ticks go out.
    pub ticks: bool,
    /// When the last one did.
    pub ticked: Instant,
}

impl Worker {
    /// Sends until the queue is closed. An error or a panic closes it, with the reason.
    pub fn run(mut self, queue: &Queue) {
        let outcome = catch_unwind(AssertUnwindSafe(|| self.work(queue)));
        let failure = match outcome {
            Ok(Ok(()) | Err(Error::Closed)) => None,
            Ok(Err(error)) => {
                queue.counters.errors.fetch_add(1, Relaxed);
                Some(error)
            }
            Err(panic) => Some(Error::Socket {
                at: self.socket.endpoint().to_owned(),
                errno: 0,
                what: format!("the sender stopped on an internal error: {}", panic_text(panic.as_ref())),
            }),
        };
        queue.close(failure);
    }

    fn work(&mut self, queue: &Queue) -> Result<()> {
        let mut chunk = Vec::new();
        let mut out = Vec::new();
        let mut returned = Returned::default();
        self.ticked = Instant::now();
        loop {
            let wait = if self.companion.is_urgent() { URGENT.min(self.tick) } else { self.tick };
            match queue.next(&mut chunk, &mut returned, self.ticked + wait) {
                Next::Items => {
                    for item in chunk.drain(..) {
                        self.item(queue, item, &mut returned)?;
                    }
                }
                Next::Flush(dirty) => {
                    for flush in dirty {
                        flush.flush(self.index, &mut out);
                        for message in out.drain(..) {
                            self.send(queue, message)?;
                        }
                    }
                }
                Next::Tick => self.tell(queue)?,
                // The last one, so that a tail which is lost is noticed too.
                Next::Closed => return self.tell(queue),
            }
        }
    }

    fn item(&mut self, queue: &Queue, item: Item, returned: &mut Returned) -> Result<()> {
        match item {
            Item::Message(message) => {
                let bytes = self.send(queue, message)?;
                returned.messages += 1;
                returned.bytes += bytes;
                queue.handed_over();
            }
            Item::Mark(mark) => {
                self.companion.reached(&mark);
                queue.handed_over();
            }
            Item::Skipped(flow) => {
                if let Some(message) = queue.take_skipped(flow) {
                    self.companion.skipped(&message);
                }
            }
        }
        Ok(())
    }

    fn tell(&mut self, queue: &Queue) -> Result<()> {
        let mut out = Vec::new();
        self.companion.tick(&mut out);
        self.ticked = Instant::now();
        for message in out.into_iter().filter(|_| self.ticks) {
            let mut outgoing = self.prepare(message)?;
            // PUB takes everything. Were it not so, a tick is no reason to wait.
            if self.socket.try_send(&mut outgoing)? {
                count(&queue.counters, &outgoing);
                queue.counters.ticks.fetch_add(1, Relaxed);
            }
        }
        Ok(())
    }

    /// Hands a message over, and says how many bytes it was. Waits while the socket takes nothing.
    fn send(&mut self, queue: &Queue, message: Message) -> Result<u64> {
        if self.companion.is_urgent() {
            self.tell(queue)?;
        }
        let mut outgoing = self.prepare(message)?;
        if !self.socket.try_send(&mut outgoing)? {
            self.wait_and_send(queue, &mut outgoing)?;
        }
        count(&queue.counters, &outgoing);
        self.companion.sent(outgoing.message());
        Ok(outgoing.bytes() as u64)
    }

    fn prepare(&self, mut message: Message) -> Result<Outgoing> {
        (self.stamp)(&mut message.header, unix_nanos());
        Outgoing::new(message, &self.pool)
    }

    #[cold]
    fn wait_and_send(&mut self, queue: &Queue, outgoing: &mut Outgoing) -> Result<()> {
        loop {
            let since = Instant::now();
            let room = self.socket.wait_for_room(GLANCE);
            Counters::add_time(&queue.counters.stuck, since.elapsed());
            if queue.is_closed() {
                return Err(Error::Closed);
            }
            if room? && self.socket.try_send(outgoing)? {
                return Ok(());
            }
        }
    }
}

fn count(counters: &Counters, outgoing: &Outgoing) {
    counters.messages.fetch_add(1, Relaxed);
    counters.bytes.fetch_add(outgoing.bytes() as u64, Relaxed);
    counters.changes.fetch_add(u64::from(outgoing.message().changes), Relaxed);
}

fn unix_nanos() -> i64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(now.as_nanos()).unwrap_or(i64::MAX)
}

fn panic_text(panic: &(dyn Any + Send)) -> &str {
    let text = panic.downcast_ref::<&str>().copied();
    text.or_else(|| panic.downcast_ref::<String>().map(String::as_str)).unwrap_or("no text")
}
