//! Outputs: sender threads that own their `ZeroMQ` sockets, and the queues in front of them.
//!
//! An output has one sender per endpoint, and a topic always goes through the same one, so order
//! holds. A sender's thread, over and over:
//!
//! 1. sends what is queued, in order;
//! 2. when nothing is, asks whoever called [`Sender::mark_dirty`] for what they hold open
//!    ([`Flush`]) and sends that at once;
//! 3. sleeps when there is neither.
//!
//! So nothing waits while the socket is idle, and messages grow by themselves while it is busy.
//! What else belongs to a sender (the heads of its flows, its ticks) is its [`Companion`]'s, called
//! on the sender's thread between two sends. What the companion calls urgent goes out before the next message.
//!
//! **Handed over** means that the socket has accepted the message. PUB accepts always; PUSH when it
//! has a peer with room for it, and until then its message stays at the head of the queue. What a
//! peer had not read when it went away is lost with it.
//!
//! **Locks.** A caller may hold locks of its own while it waits in [`Sender::enqueue`]. So a sender
//! holds none while it calls [`Flush::flush`], and `flush` must not wait for a lock that is held
//! around `enqueue`: it tries, and comes back by `mark_dirty`.
//!
//! **Fork.** A forked child has the sockets' descriptors but none of the threads: it must not use
//! or drop a [`Context`] it inherited. Start outputs after forking.

mod context;
mod counters;
mod feed;
mod format;
mod frame;
mod kept;
mod message;
mod pages;
mod pool;
mod queue;
mod ring;
mod sender;
mod settings;
pub mod socket;
mod worker;

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use crate::error::{Error, Result};

pub use context::Context;
pub use counters::Stats;
use feed::Feed;
pub use feed::{Answer, Ask, Codec, FeedSetup, FeedStats, Reason, Reply, Request};
pub use format::{Format, Origin};
pub use kept::{Body, Kept};
pub use message::{Companion, Confirm, Enqueued, Flush, Mark, Message, Room};
pub use pages::Pages;
pub use pool::{POOL_BYTES, Pool};
pub use ring::{Policy, Reader, Ring, RingStats};
pub use sender::Sender;
pub use settings::{Kind, OnFull, OutputSettings, RING_BYTES};

use socket::Socket;
use worker::Worker;

/// What outputs must know of the wire format, which is not their own.
#[derive(Debug)]
pub struct Wire {
    /// Of headers.
    pub format: Format,
    /// Of requests and replies, and of who is asked: for outputs of kind `feed`.
    pub feed: Option<FeedSetup>,
}

/// One output: its senders, one per endpoint, its ring, and who serves peers from it.
pub struct Output {
    settings: OutputSettings,
    senders: Vec<Sender>,
    endpoints: Vec<String>,
    ring: Option<Arc<Ring>>,
    feed: Option<Feed>,
    /// Given back by `close`, so that waiting for the sockets' linger happens there.
    context: Mutex<Option<Arc<Context>>>,
}

impl Output {
    /// Binds every endpoint, then starts the senders.
    ///
    /// `first_sender` is what [`Flush::flush`] hears from the first of them, the next one more, and
    /// so on. `companion` makes each sender's companion, by its number in this output; its ticks go
    /// out every `tick`, not on PUSH. `feed` is what an output of that kind must know.
    ///
    /// Errors: `Config` for a setting or an endpoint that cannot work, `Socket` for one that
    /// cannot be bound, a port in use above all. Nothing is left bound then.
    pub fn bind(
        context: &Arc<Context>,
        settings: &OutputSettings,
        first_sender: usize,
        tick: Duration,
        pool: &Arc<Pool>,
        companion: &dyn Fn(usize) -> Box<dyn Companion>,
        wire: &Wire,
    ) -> Result<Self> {
        settings.validate()?;
        let Wire { format, feed } = wire;
        let mut bound: Vec<Socket> = settings
            .bind
            .iter()
            .map(|endpoint| Socket::bind(context, settings, endpoint))
            .collect::<Result<_>>()?;
        let endpoints: Vec<String> = bound.iter().map(|socket| socket.endpoint().to_owned()).collect();
        let ring = (settings.ring_bytes > 0)
            .then(|| Arc::new(Ring::new(settings.ring_policy(), settings.ring_bytes, *format)));
        let served = if settings.kind == Kind::Feed { bound.pop() } else { None };
        let sockets: Vec<Option<Socket>> =
            if settings.kind.is_ring() { vec![None] } else { bound.into_iter().map(Some).collect() };
        let mut senders = Vec::with_capacity(sockets.len());
        for (number, socket) in sockets.into_iter().enumerate() {
            let companion = companion(number);
            let worker = Worker {
                index: first_sender + number,
                endpoint: endpoints.get(number).map_or("ring", String::as_str).to_owned(),
                socket,
                ring: ring.clone(),
                confirm: companion.confirm(),
                companion,
                format: *format,
                pages: Pages::new(Arc::clone(pool)),
                tick,
                ticks: settings.kind != Kind::Push,
                ticked: Instant::now(),
            };
            senders.push(Sender::start(worker, settings)?);
        }
        let feed = match (served, &ring, feed) {
            (None, ..) => None,
            (Some(socket), Some(ring), Some(setup)) => {
                Some(Feed::start(context, socket, ring, senders[0].queue(), setup, settings)?)
            }
            _ => {
                let what = "a feed must be told how to read requests".to_owned();
                return Err(Error::Config { setting: "kind", what });
            }
        };
        let context = Mutex::new(Some(Arc::clone(context)));
        Ok(Self { settings: settings.clone(), senders, endpoints, ring, feed, context })
    }

    /// What it was made with.
    pub fn settings(&self) -> &OutputSettings {
        &self.settings
    }

    /// One per endpoint.
    pub fn senders(&self) -> &[Sender] {
        &self.senders
    }

    /// The number of the sender that a topic goes through: its 64-bit FNV-1a hash modulo the number
    /// of senders, so the same one in every process and version.
    pub fn sender_for(&self, topic: &[u8]) -> usize {
        let hash = topic.iter().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
            (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3)
        });
        usize::try_from(hash % self.senders.len() as u64).unwrap_or(0)
    }

    /// The addresses bound, wildcard ports resolved.
    pub fn endpoints(&self) -> Vec<String> {
        self.endpoints.clone()
    }

    /// What stays of what was handed over, where something does.
    pub fn ring(&self) -> Option<&Arc<Ring>> {
        self.ring.as_ref()
    }

    /// What its feed has counted, where it is one.
    pub fn feed_stats(&self) -> Option<FeedStats> {
        self.feed.as_ref().map(Feed::stats)
    }

    /// Waits until every sender has handed over all that it has and could ask for; false when time
    /// ran out or a sender has failed.
    pub fn drain(&self, timeout: Duration) -> bool {
        let deadline = Instant::now() + timeout;
        let left = || deadline.saturating_duration_since(Instant::now());
        self.senders.iter().all(|sender| sender.drain(left()))
            && self.ring.as_ref().is_none_or(|ring| ring.drain(left()))
    }

    /// Stops all senders. What is queued is not sent. What the sockets have accepted is, within the
    /// linger time; the last output of a context waits for that here.
    pub fn close(&self) {
        for sender in &self.senders {
            sender.stop();
        }
        for sender in &self.senders {
            sender.join();
        }
        if let Some(ring) = &self.ring {
            ring.close();
        }
        if let Some(feed) = &self.feed {
            feed.close();
        }
        let context = self.context.lock().unwrap_or_else(PoisonError::into_inner).take();
        drop(context);
    }
}

impl Drop for Output {
    fn drop(&mut self) {
        self.close();
    }
}

impl fmt::Debug for Output {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Output")
            .field("kind", &self.settings.kind)
            .field("senders", &self.senders)
            .finish_non_exhaustive()
    }
}
