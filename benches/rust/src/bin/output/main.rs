//! What a sender costs beside libzmq alone: PUB to one subscriber over TCP on loopback, the same four
//! frames in the same run.
//!
//! `cargo run --release -p spanwire-benches --bin output`
//!
//! Method: both sides run in this process, each with a context of its own with one I/O thread. PUB
//! drops what a subscriber cannot take, so whoever sends stays at the most `WINDOW` messages ahead
//! of the subscriber. In both cases the sender copies the body's bytes into a buffer of their own,
//! which libzmq then takes as it is; `raw, one buffer` leaves even that out. Rounds alternate, the
//! median counts. `idle` is the time from `enqueue` to the moment the socket has taken the message.

mod raw;
mod through;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use spanwire_core::output::Context;
use spanwire_core::output::socket::{Receiver, Socket};

/// How far a sender may be ahead of its subscriber.
const WINDOW: u64 = 400;
const ROUNDS: usize = 7;

/// The frames of every message of a round.
struct Frames {
    topic: Vec<u8>,
    header: Vec<u8>,
    columns: Vec<u8>,
    body: Vec<u8>,
}

impl Frames {
    fn with_body(bytes: usize) -> Self {
        Self {
            topic: b"shop/all/orders/".to_vec(),
            header: vec![1; 256],
            columns: vec![2; 400],
            body: (0..=255).cycle().take(bytes).collect(),
        }
    }

    fn bytes(&self) -> usize {
        self.topic.len() + self.header.len() + self.columns.len() + self.body.len()
    }
}

/// A subscriber on a thread of its own, which counts messages.
struct Subscriber {
    received: Arc<AtomicU64>,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Subscriber {
    fn connect(endpoint: &str) -> Self {
        let (received, stop) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicBool::new(false)));
        let context = Arc::new(Context::new(1).expect("a context"));
        let mut socket =
            Socket::connect(&context, Receiver::Sub, endpoint, 10_000, &[b""]).expect("connects");
        let thread = thread::spawn({
            let (received, stop) = (Arc::clone(&received), Arc::clone(&stop));
            move || {
                while !stop.load(Ordering::Relaxed) {
                    while socket.try_each_frame(|_| {}).expect("receives") {
                        received.fetch_add(1, Ordering::Release);
                    }
                    socket.wait_for_message(Duration::from_millis(20)).expect("waits");
                }
            }
        });
        Self { received, stop, thread: Some(thread) }
    }

    fn received(&self) -> u64 {
        self.received.load(Ordering::Acquire)
    }

    /// Until the subscription has reached the publisher: what `send` sends arrives.
    fn wait_until_subscribed(&self, mut send: impl FnMut()) {
        while self.received() == 0 {
            send();
            thread::sleep(Duration::from_millis(10));
        }
        thread::sleep(Duration::from_millis(100));
    }

    /// Sends `count` messages and says how many arrive a second.
    fn measure(&self, count: u64, mut send: impl FnMut()) -> f64 {
        let before = self.received();
        let since = Instant::now();
        for sent in 0..count {
            while before + sent >= self.received() + WINDOW {
                thread::yield_now();
            }
            send();
        }
        while self.received() < before + count {
            thread::yield_now();
        }
        #[allow(clippy::cast_precision_loss)]
        let rate = count as f64 / since.elapsed().as_secs_f64();
        rate
    }
}

impl Drop for Subscriber {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

fn report(name: &str, rate: f64, frames: &Frames) {
    #[allow(clippy::cast_precision_loss)]
    let gigabytes = rate * frames.bytes() as f64 / 1e9;
    println!("  {name:<16} {rate:>10.0} messages/s  {gigabytes:>6.2} GB/s");
}

fn compare(body: usize, count: u64) {
    let frames = Arc::new(Frames::with_body(body));
    println!("{body} B bodies, {} B a message:", frames.bytes());
    let (mut raw, mut one_buffer, mut sender) = (Vec::new(), Vec::new(), Vec::new());
    let mut copying = raw::Publisher::new(&frames, true);
    let mut sharing = raw::Publisher::new(&frames, false);
    let through = through::Publisher::new(&frames);
    for _ in 0..ROUNDS {
        raw.push(copying.measure(count));
        sender.push(through.measure(count));
        one_buffer.push(sharing.measure(count));
    }
    let (raw, sender) = (median(raw), median(sender));
    report("raw", raw, &frames);
    report("raw, one buffer", median(one_buffer), &frames);
    report("sender", sender, &frames);
    println!("  sender / raw     {:>9.1} %", 100.0 * sender / raw);
}

fn main() {
    if cfg!(debug_assertions) {
        eprintln!("a debug build says nothing: run with --release");
        std::process::exit(2);
    }
    compare(64 << 10, 15_000);
    compare(400, 150_000);
    through::idle();
}
