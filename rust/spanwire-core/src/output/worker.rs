//! A sender's thread.

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use super::counters::Counters;
use super::format::Format;
use super::kept::Kept;
use super::message::{Companion, Confirm, Message};
use super::pages::Pages;
use super::queue::{Item, Next, Queue, Returned};
use super::ring::Ring;
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
    /// What errors name: the address bound, or `ring`.
    pub endpoint: String,
    /// None where the ring alone takes messages.
    pub socket: Option<Socket>,
    /// Where messages stay, or wait to be read.
    pub ring: Option<Arc<Ring>>,
    pub companion: Box<dyn Companion>,
    pub confirm: Confirm,
    pub format: Format,
    /// Where small bodies stay in the ring; and buffers, with or without one.
    pub pages: Pages,
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
                at: self.endpoint.clone(),
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
                Next::Tick => {
                    let wait = self.companion.is_urgent();
                    self.tell(queue, wait)?;
                }
                // The last one, so that a tail which is lost is noticed too.
                Next::Closed => return self.tell(queue, false),
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
                match &self.ring {
                    Some(ring) => ring.mark(mark, &self.confirm),
                    None => (self.confirm)(&mark),
                }
            }
            Item::Skipped(flow) => {
                if let Some(message) = queue.take_skipped(flow) {
                    self.companion.skipped(&message);
                }
            }
        }
        Ok(())
    }

    /// Tells what there is to be told. `wait`: even if the ring must have room for it first. A PUB socket takes
    /// everything, and so does a ring, unless it waits for its reader; a tick that nothing depends on is
    /// no reason to wait then.
    fn tell(&mut self, queue: &Queue, wait: bool) -> Result<()> {
        let mut out = Vec::new();
        self.companion.tick(&mut out);
        self.ticked = Instant::now();
        if !self.ticks {
            return Ok(());
        }
        for message in out {
            let mut outgoing = self.prepare(message, true)?;
            let mut kept = self.keep(&outgoing)?;
            if !kept && wait {
                self.wait(queue, |this| Ok(this.wait_for_ring()), |this| this.keep(&outgoing))?;
                kept = true;
            }
            if kept && self.try_send(&mut outgoing)? {
                count(&queue.counters, &outgoing);
                queue.counters.ticks.fetch_add(1, Relaxed);
            }
        }
        Ok(())
    }

    /// Hands a message over, and says how many bytes it was. Waits while there is no room for it.
    fn send(&mut self, queue: &Queue, message: Message) -> Result<u64> {
        if self.companion.is_urgent() {
            self.tell(queue, true)?;
        }
        let mut outgoing = self.prepare(message, false)?;
        // Into the ring first: whoever sees a message, or hears that there was one, can ask for it already.
        if !self.keep(&outgoing)? {
            self.wait(queue, |this| Ok(this.wait_for_ring()), |this| this.keep(&outgoing))?;
        }
        if !self.try_send(&mut outgoing)? {
            self.wait(queue, Self::wait_for_socket, |this| this.try_send(&mut outgoing))?;
        }
        count(&queue.counters, &outgoing);
        self.companion.sent(outgoing.message());
        Ok(outgoing.bytes() as u64)
    }

    fn prepare(&mut self, mut message: Message, tick: bool) -> Result<Outgoing> {
        (self.format.stamp)(&mut message.header, unix_nanos());
        match &self.ring {
            None => Outgoing::new(message, self.pages.pool()),
            Some(_) => Outgoing::kept(Arc::new(Kept::new(message, tick, &mut self.pages))),
        }
    }

    /// Puts a message into the ring, where there is one; false when that has no room.
    fn keep(&self, outgoing: &Outgoing) -> Result<bool> {
        match (&self.ring, outgoing.to_keep()) {
            (Some(ring), Some(kept)) => ring.try_push(kept),
            _ => Ok(true),
        }
    }

    /// Hands a message to the socket, where there is one; false when that takes none.
    fn try_send(&mut self, outgoing: &mut Outgoing) -> Result<bool> {
        self.socket.as_mut().map_or(Ok(true), |socket| socket.try_send(outgoing))
    }

    fn wait_for_ring(&self) -> bool {
        self.ring.as_ref().is_none_or(|ring| ring.wait_for_room(GLANCE))
    }

    fn wait_for_socket(&mut self) -> Result<bool> {
        self.socket.as_mut().map_or(Ok(true), |socket| socket.wait_for_room(GLANCE))
    }

    /// Waits for room and tries again, until that works.
    #[cold]
    fn wait(
        &mut self,
        queue: &Queue,
        room: impl Fn(&mut Self) -> Result<bool>,
        mut attempt: impl FnMut(&mut Self) -> Result<bool>,
    ) -> Result<()> {
        loop {
            let since = Instant::now();
            let room = room(self);
            Counters::add_time(&queue.counters.stuck, since.elapsed());
            if queue.is_closed() {
                return Err(Error::Closed);
            }
            if room? && attempt(self)? {
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

pub(super) fn panic_text(panic: &(dyn Any + Send)) -> &str {
    let text = panic.downcast_ref::<&str>().copied();
    text.or_else(|| panic.downcast_ref::<String>().map(String::as_str)).unwrap_or("no text")
}
