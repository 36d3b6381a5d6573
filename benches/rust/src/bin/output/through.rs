//! The same through a sender: queue, thread, pool.

use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use spanwire_core::output::{
    Companion, Context, Format, Kind, Mark, Message, Output, OutputSettings, Pool, Room, Wire,
};

use super::{Frames, Subscriber};

/// Writes down when a message has been handed over.
#[derive(Default)]
struct Clock(Arc<Mutex<Option<Instant>>>);

impl Companion for Clock {
    fn sent(&mut self, _: &Message) {
        *self.0.lock().expect("no panic") = Some(Instant::now());
    }

    fn reached(&mut self, _: &Mark) {}

    fn tick(&mut self, _: &mut Vec<Message>) {}
}

/// An output with one sender.
pub struct Publisher {
    subscriber: Subscriber,
    output: Output,
    pool: Arc<Pool>,
    topic: Arc<[u8]>,
    columns: Arc<[u8]>,
    frames: Arc<Frames>,
    sent: Arc<Mutex<Option<Instant>>>,
}

impl Publisher {
    pub fn new(frames: &Arc<Frames>) -> Self {
        let context = Arc::new(Context::new(1).expect("a context"));
        let pool = Arc::new(Pool::default());
        let sent = Arc::default();
        let settings = OutputSettings {
            high_water_mark: 10_000,
            ..OutputSettings::new(Kind::Pub, vec!["tcp://127.0.0.1:*".to_owned()])
        };
        let companion = |_| -> Box<dyn Companion> { Box::new(Clock(Arc::clone(&sent))) };
        let format = Format {
            stamp: |header, nanos| header[..8].copy_from_slice(&nanos.to_ne_bytes()),
            origin: |_| None,
            last_commit: |_| None,
        };
        let tick = Duration::from_secs(1);
        let output =
            Output::bind(&context, &settings, 0, tick, &pool, &companion, &Wire { format, feed: None })
                .expect("binds");
        let publisher = Self {
            subscriber: Subscriber::connect(output.senders()[0].endpoint()),
            output,
            pool,
            topic: Arc::from(&*frames.topic),
            columns: Arc::from(&*frames.columns),
            frames: Arc::clone(frames),
            sent,
        };
        publisher.subscriber.wait_until_subscribed(|| publisher.send());
        publisher
    }

    pub fn measure(&self, count: u64) -> f64 {
        self.subscriber.measure(count, || self.send())
    }

    fn send(&self) {
        let mut body = self.pool.take(self.frames.body.len());
        body.extend_from_slice(&self.frames.body);
        let message = Message {
            flow: 0,
            sequence: 0,
            topic: Arc::clone(&self.topic),
            header: self.frames.header.clone(),
            columns: Arc::clone(&self.columns),
            body,
            changes: 1,
        };
        self.output.senders()[0].enqueue(message, Room::Wait).expect("open");
    }
}

/// How long an idle sender takes to hand a message over, and a subscriber to have it.
pub fn idle() {
    let publisher = Publisher::new(&Arc::new(Frames::with_body(400)));
    let (mut handed, mut received) = (Vec::new(), Vec::new());
    for _ in 0..2_000 {
        thread::sleep(Duration::from_millis(1));
        *publisher.sent.lock().expect("no panic") = None;
        let before = publisher.subscriber.received();
        let since = Instant::now();
        publisher.send();
        while publisher.subscriber.received() == before {
            thread::yield_now();
        }
        received.push(since.elapsed().as_secs_f64() * 1e6);
        publisher.output.drain(Duration::from_secs(1));
        let sent = publisher.sent.lock().expect("no panic").expect("was sent");
        handed.push(sent.duration_since(since).as_secs_f64() * 1e6);
    }
    println!("one message a millisecond, sender idle:");
    for (name, mut micros) in [("handed over", handed), ("received", received)] {
        micros.sort_by(f64::total_cmp);
        let at = |percent: usize| micros[micros.len() * percent / 100];
        println!("  {name:<16} p50 {:>6.1} µs  p99 {:>6.1} µs", at(50), at(99));
    }
}
