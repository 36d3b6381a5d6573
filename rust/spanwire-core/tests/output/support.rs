//! An output with a companion that writes down what it is told, and peers for it.

use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use spanwire_core::Result;
use spanwire_core::output::socket::{Receiver, Socket};
use spanwire_core::output::{
    Companion, Context, Enqueued, Kind, Mark, Message, Output, OutputSettings, Pool, Room,
};

pub const ANY_PORT: &str = "tcp://127.0.0.1:*";
/// Long enough for a slow machine, and never reached where all is well.
pub const PATIENCE: Duration = Duration::from_secs(20);
/// Ticks that no test sees unless it asks for them.
const NEVER: Duration = Duration::from_secs(3_600);
pub const TICK_TOPIC: &[u8] = b"db/stream/_tick/";

/// What a companion was told, in order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Told {
    Sent { flow: u64, sequence: u64 },
    Skipped { flow: u64, sequence: u64 },
    Reached(u32),
    Tick,
}

/// Writes down what it is told. A mark is a `u32`.
pub struct Notes(Arc<Mutex<Vec<Told>>>, bool);

/// A mark that is told soon.
pub const URGENT: u32 = 1_000_001;

impl Companion for Notes {
    fn sent(&mut self, message: &Message) {
        self.0.lock().unwrap().push(Told::Sent { flow: message.flow, sequence: message.sequence });
    }

    fn skipped(&mut self, message: &Message) {
        self.0.lock().unwrap().push(Told::Skipped { flow: message.flow, sequence: message.sequence });
    }

    fn reached(&mut self, mark: &Mark) {
        let mark = *mark.downcast_ref().unwrap();
        self.0.lock().unwrap().push(Told::Reached(mark));
        self.1 |= mark == URGENT;
    }

    fn is_urgent(&self) -> bool {
        self.1
    }

    fn tick(&mut self, out: &mut Vec<Message>) {
        self.0.lock().unwrap().push(Told::Tick);
        self.1 = false;
        out.push(Message { topic: Arc::from(TICK_TOPIC), changes: 0, ..message(u64::MAX, 0, b"tick") });
    }
}

/// An output under test.
pub struct Rig {
    pub output: Output,
    pub context: Arc<Context>,
    pub pool: Arc<Pool>,
    pub notes: Arc<Mutex<Vec<Told>>>,
}

impl Rig {
    pub fn new(settings: &OutputSettings) -> Self {
        Self::ticking(settings, NEVER)
    }

    pub fn ticking(settings: &OutputSettings, tick: Duration) -> Self {
        Self::try_new(settings, tick).unwrap()
    }

    pub fn try_new(settings: &OutputSettings, tick: Duration) -> Result<Self> {
        let context = Arc::new(Context::new(1)?);
        let pool = Arc::new(Pool::default());
        let notes = Arc::new(Mutex::new(Vec::new()));
        let companion = |_| -> Box<dyn Companion> { Box::new(Notes(Arc::clone(&notes), false)) };
        let output = Output::bind(&context, settings, 0, tick, &pool, &companion, stamp)?;
        Ok(Self { output, context, pool, notes })
    }

    pub fn enqueue(&self, message: Message) -> Result<Enqueued> {
        self.output.senders()[0].enqueue(message, Room::Wait)
    }

    pub fn told(&self) -> Vec<Told> {
        self.notes.lock().unwrap().clone()
    }

    pub fn pull(&self) -> Socket {
        self.pull_with_room(1_000)
    }

    pub fn pull_with_room(&self, messages: i32) -> Socket {
        let endpoint = &self.output.endpoints()[0];
        Socket::connect(&self.context, Receiver::Pull, endpoint, messages, &[]).unwrap()
    }

    /// One subscriber per endpoint, each known to be subscribed: it has seen a tick.
    pub fn subscribe(&self) -> Vec<Socket> {
        let endpoints = self.output.endpoints();
        let mut subscribers: Vec<Socket> = endpoints
            .iter()
            .map(|endpoint| Socket::connect(&self.context, Receiver::Sub, endpoint, 100_000, &[b""]).unwrap())
            .collect();
        for subscriber in &mut subscribers {
            assert_eq!(subscriber.receive(PATIENCE).unwrap().expect("a tick")[0], TICK_TOPIC);
        }
        subscribers
    }
}

pub fn push() -> OutputSettings {
    OutputSettings::new(Kind::Push, vec![ANY_PORT.to_owned()])
}

pub fn publish() -> OutputSettings {
    OutputSettings::new(Kind::Pub, vec![ANY_PORT.to_owned()])
}

/// The header's first eight bytes are the time of sending.
fn stamp(header: &mut [u8], unix_nanos: i64) {
    header[..8].copy_from_slice(&unix_nanos.to_ne_bytes());
}

/// One change. The header says flow and sequence behind the time.
pub fn message(flow: u64, sequence: u64, body: &[u8]) -> Message {
    let mut header = vec![0; 8];
    header.extend_from_slice(&flow.to_ne_bytes());
    header.extend_from_slice(&sequence.to_ne_bytes());
    Message {
        flow,
        sequence,
        topic: topic(flow),
        header,
        columns: Arc::from(*b"columns"),
        body: body.to_vec(),
        changes: 1,
    }
}

pub fn topic(flow: u64) -> Arc<[u8]> {
    format!("db/stream/table{flow}/").into_bytes().into()
}

/// What a received header says.
pub fn sequence_of(frames: &[Vec<u8>]) -> u64 {
    u64::from_ne_bytes(frames[1][16..24].try_into().unwrap())
}

pub fn flow_of(frames: &[Vec<u8>]) -> u64 {
    u64::from_ne_bytes(frames[1][8..16].try_into().unwrap())
}

/// The next message, which must come.
pub fn next(socket: &mut Socket) -> Vec<Vec<u8>> {
    let frames = socket.receive(PATIENCE).unwrap().expect("no message came");
    assert_eq!(frames.len(), 4);
    frames
}

/// Waits until something is so.
pub fn eventually(what: &str, mut holds: impl FnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !holds() {
        assert!(Instant::now() < deadline, "never: {what}");
        std::thread::sleep(Duration::from_millis(2));
    }
}
