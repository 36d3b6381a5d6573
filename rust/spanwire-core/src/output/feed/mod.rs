//! A feed: one thread that serves each peer at its own pace from the output's ring.
//!
//! The thread owns a ROUTER socket. It takes requests, sends what peers have credit for, and sleeps until a
//! request comes, the ring has another message for somebody, or it is time: see [`peers::Rest`]. What may be
//! done is decided in [`Peers`]; here is the socket and the clock.

mod exchange;
mod peers;
mod protocol;
#[cfg(test)]
mod tests;
mod wake;

use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Instant;

use super::context::Context;
use super::kept::Kept;
use super::message::Mark;
use super::queue::Queue;
use super::ring::{Ring, Wake};
use super::settings::OutputSettings;
use super::socket::{Socket, wait_for_either};
use super::worker::panic_text;
use crate::error::{Error, Result};

pub(super) use peers::Blocked;
use peers::{Counts, Incoming, Limits, Peers, Port, Rest, Us};
pub use protocol::{Answer, Ask, Codec, MAX_REQUEST_BYTES, Reason, Reply, Request};
use wake::{Alarm, Waker};

/// Requests taken before messages are sent again.
const REQUESTS: usize = 256;
/// Exchanges of one peer beside its feed.
const EXCHANGES: usize = 16;
/// Passes over all peers when the output is closed: what they have credit for still goes out.
const LAST_PASSES: usize = 64;

/// What a feed is told by its pipeline.
#[derive(Clone)]
pub struct FeedSetup {
    /// The number of the output.
    pub output: u16,
    /// The process, as in headers.
    pub incarnation: u64,
    /// Names the stream, where that is known: the first 16 bytes of SHA-256 of its resource path.
    pub stream: Option<[u8; 16]>,
    /// Reads requests and writes replies.
    pub codec: Codec,
    /// A mark that has the sender tell every head at once; none where one is on its way.
    pub ask_heads: Arc<dyn Fn() -> Option<Mark> + Send + Sync>,
}

impl fmt::Debug for FeedSetup {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FeedSetup").field("output", &self.output).finish_non_exhaustive()
    }
}

/// A feed's counters at one moment.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct FeedStats {
    /// Peers that are known.
    pub peers: usize,
    /// Exchanges that are open.
    pub exchanges: usize,
    /// How often the thread had something to look at.
    pub wakes: u64,
    /// Requests taken.
    pub requests: u64,
    /// Requests refused and exchanges broken off, by reason.
    pub refused: Vec<(&'static str, u64)>,
    /// Peers forgotten for their silence.
    pub silent: u64,
    /// Messages sent, to whatever peer.
    pub messages: u64,
    /// Bytes of them.
    pub bytes: u64,
    /// How often a peer's feed had something to send and no credit.
    pub credit_waits: u64,
    /// How often a peer's connection took nothing.
    pub full: u64,
    /// Messages that fell off the ring before a peer's feed came to them, of whatever topic.
    pub missed: u64,
}

/// The thread of one feed.
pub struct Feed {
    stop: Arc<AtomicBool>,
    /// Given up by `close`: its socket holds the context, which waits for its sockets to be closed.
    waker: Mutex<Option<Arc<Waker>>>,
    stats: Arc<Mutex<FeedStats>>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

/// What the thread owns.
struct Service {
    socket: Socket,
    alarm: Alarm,
    wake: Wake,
    ring: Arc<Ring>,
    queue: Arc<Queue>,
    setup: FeedSetup,
    peers: Peers,
    stop: Arc<AtomicBool>,
    stats: Arc<Mutex<FeedStats>>,
    began: Instant,
    wakes: u64,
}

impl Feed {
    /// Starts to serve. `queue` is that of the sender which fills the ring.
    pub fn start(
        context: &Arc<Context>,
        socket: Socket,
        ring: &Arc<Ring>,
        queue: &Arc<Queue>,
        setup: &FeedSetup,
        settings: &OutputSettings,
    ) -> Result<Self> {
        let (waker, alarm) = wake::pair(context)?;
        let waker = Arc::new(waker);
        let us = Us {
            output: setup.output,
            incarnation: setup.incarnation,
            stream: setup.stream,
            codec: setup.codec,
        };
        let limits = Limits { peers: settings.connections, exchanges: EXCHANGES, silence: settings.silence };
        let (stop, stats) = (Arc::new(AtomicBool::new(false)), Arc::new(Mutex::default()));
        let endpoint = socket.endpoint().to_owned();
        let service = Service {
            socket,
            alarm,
            wake: Arc::new({
                let waker = Arc::clone(&waker);
                move || waker.wake()
            }),
            ring: Arc::clone(ring),
            queue: Arc::clone(queue),
            setup: setup.clone(),
            peers: Peers::new(us, limits, Arc::clone(ring)),
            stop: Arc::clone(&stop),
            stats: Arc::clone(&stats),
            began: Instant::now(),
            wakes: 0,
        };
        let thread = thread::Builder::new()
            .name(format!("spanwire-feed-{}", setup.output))
            .spawn(move || service.run())
            .map_err(|error| Error::Socket {
                at: endpoint,
                errno: error.raw_os_error().unwrap_or(0),
                what: format!("cannot start the feed's thread: {error}"),
            })?;
        let waker = Mutex::new(Some(waker));
        Ok(Self { stop, waker, stats, thread: Mutex::new(Some(thread)) })
    }

    /// What was counted so far.
    pub fn stats(&self) -> FeedStats {
        self.stats.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Stops it. What is in the ring goes to who has credit for it, as far as connections take it at once.
    pub fn close(&self) {
        self.stop.store(true, Ordering::Release);
        if let Some(waker) = self.waker.lock().unwrap_or_else(PoisonError::into_inner).take() {
            waker.wake();
        }
        let thread = self.thread.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(thread) = thread
            && thread.thread().id() != thread::current().id()
        {
            // The thread's own panics end inside it.
            let _ = thread.join();
        }
    }
}

impl Drop for Feed {
    fn drop(&mut self) {
        self.close();
    }
}

impl Service {
    /// Serves until it is told to stop. An error or a panic closes the output's queue, with the reason.
    fn run(mut self) {
        let outcome = catch_unwind(AssertUnwindSafe(|| self.work()));
        let failure = match outcome {
            Ok(Ok(())) => return,
            Ok(Err(error)) => error,
            Err(panic) => Error::Socket {
                at: self.socket.endpoint().to_owned(),
                errno: 0,
                what: format!("the feed stopped on an internal error: {}", panic_text(panic.as_ref())),
            },
        };
        self.queue.counters.errors.fetch_add(1, Ordering::Relaxed);
        self.queue.close(Some(failure));
    }

    fn work(&mut self) -> Result<()> {
        while !self.stop.load(Ordering::Acquire) {
            self.wakes += 1;
            let all_taken = self.take_requests()?;
            let end = self.ring.end();
            let rest = self.serve()?;
            if self.peers.take_heads_asked()
                && let Some(mark) = (self.setup.ask_heads)()
            {
                // A queue that is closed tells nobody anything; the thread is about to be stopped.
                let _ = self.queue.mark(mark);
            }
            self.publish();
            if all_taken && !rest.more {
                self.sleep(rest, end)?;
            }
        }
        for _ in 0..LAST_PASSES {
            if !self.serve()?.more {
                break;
            }
        }
        self.publish();
        Ok(())
    }

    /// Takes what peers have asked; false where there may be more.
    fn take_requests(&mut self) -> Result<bool> {
        for _ in 0..REQUESTS {
            let mut incoming = Incoming::default();
            let received = self.socket.try_each_frame(|frame| {
                incoming.bytes += frame.len();
                match incoming.frames {
                    0 => incoming.peer = frame.to_vec(),
                    1 if frame.len() <= MAX_REQUEST_BYTES => incoming.frame = frame.to_vec(),
                    _ => {}
                }
                incoming.frames += 1;
            })?;
            if !received {
                return Ok(true);
            }
            // The first frame is the socket's own word of who it was.
            incoming.frames -= 1;
            incoming.bytes -= incoming.peer.len();
            let now = self.began.elapsed();
            self.peers.take(&incoming, now);
        }
        Ok(false)
    }

    fn serve(&mut self) -> Result<Rest> {
        let mut port = Sending { socket: &mut self.socket, error: None };
        let rest = self.peers.serve(&mut port, self.began.elapsed());
        port.error.map_or(Ok(rest), Err)
    }

    /// Sleeps until there is something to do. `end` is where the ring ended before peers were served.
    fn sleep(&mut self, rest: Rest, end: u64) -> Result<()> {
        if rest.on_message && !self.ring.wake_at(end, &self.wake) {
            // With a closed ring there is nothing to wait for there, and the word to stop is about to come.
            if self.ring.end() != end {
                return Ok(());
            }
        }
        let timeout = rest.at.map(|at| at.saturating_sub(self.began.elapsed()));
        wait_for_either(&mut self.socket, &mut self.alarm.0, timeout)?;
        self.alarm.clear()
    }

    fn publish(&self) {
        let Counts { requests, refused, silent, messages, bytes, credit_waits, full, missed } =
            self.peers.counts().clone();
        let refused = Reason::ALL.iter().zip(refused).map(|((_, name), count)| (*name, count)).collect();
        *self.stats.lock().unwrap_or_else(PoisonError::into_inner) = FeedStats {
            peers: self.peers.len(),
            exchanges: self.peers.exchanges(),
            wakes: self.wakes,
            requests,
            refused,
            silent,
            messages,
            bytes,
            credit_waits,
            full,
            missed,
        };
    }
}

/// The socket, as peers see it.
struct Sending<'s> {
    socket: &'s mut Socket,
    /// What went wrong, other than with one peer.
    error: Option<Error>,
}

impl Port for Sending<'_> {
    fn send(
        &mut self,
        peer: &[u8],
        reply: &[u8],
        message: Option<&Arc<Kept>>,
    ) -> std::result::Result<(), Blocked> {
        match self.socket.try_send_to(peer, reply, message) {
            Ok(sent) => sent,
            Err(error) => {
                self.error = Some(error);
                // Nothing more is tried in this pass.
                Err(Blocked::Full)
            }
        }
    }
}
