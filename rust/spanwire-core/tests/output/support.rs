//! An output with a companion that writes down what it is told, and peers for it.

use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use spanwire_core::Result;
use spanwire_core::change::Timestamp;
use spanwire_core::output::socket::{Receiver, Socket};
use spanwire_core::output::{
    Companion, Confirm, Context, Enqueued, Format, Kept, Kind, Mark, Message, OnFull, Origin, Output,
    OutputSettings, Pool, Ring, Room, Wire,
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
pub struct Notes {
    told: Arc<Mutex<Vec<Told>>>,
    confirmed: Arc<Mutex<Vec<u32>>>,
    urgent: bool,
}

/// A mark that is told soon.
pub const URGENT: u32 = 1_000_001;

impl Companion for Notes {
    fn sent(&mut self, message: &Message) {
        self.told.lock().unwrap().push(Told::Sent { flow: message.flow, sequence: message.sequence });
    }

    fn skipped(&mut self, message: &Message) {
        self.told.lock().unwrap().push(Told::Skipped { flow: message.flow, sequence: message.sequence });
    }

    fn reached(&mut self, mark: &Mark) {
        let mark = *mark.downcast_ref().unwrap();
        self.told.lock().unwrap().push(Told::Reached(mark));
        self.urgent |= mark == URGENT;
    }

    fn confirm(&self) -> Confirm {
        let confirmed = Arc::clone(&self.confirmed);
        Arc::new(move |mark| confirmed.lock().unwrap().push(*mark.downcast_ref().unwrap()))
    }

    fn is_urgent(&self) -> bool {
        self.urgent
    }

    fn tick(&mut self, out: &mut Vec<Message>) {
        self.told.lock().unwrap().push(Told::Tick);
        self.urgent = false;
        out.push(Message { topic: Arc::from(TICK_TOPIC), changes: 0, ..message(u64::MAX, 0, b"tick") });
    }
}

/// An output under test.
pub struct Rig {
    pub output: Output,
    pub context: Arc<Context>,
    pub pool: Arc<Pool>,
    pub notes: Arc<Mutex<Vec<Told>>>,
    /// Marks before which everything was handed over.
    pub confirmed: Arc<Mutex<Vec<u32>>>,
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
        let confirmed = Arc::new(Mutex::new(Vec::new()));
        let companion = |_| -> Box<dyn Companion> {
            Box::new(Notes { told: Arc::clone(&notes), confirmed: Arc::clone(&confirmed), urgent: false })
        };
        let output = Output::bind(
            &context,
            settings,
            0,
            tick,
            &pool,
            &companion,
            &Wire { format: FORMAT, feed: None },
        )?;
        Ok(Self { output, context, pool, notes, confirmed })
    }

    pub fn enqueue(&self, message: Message) -> Result<Enqueued> {
        self.output.senders()[0].enqueue(message, Room::Wait)
    }

    pub fn told(&self) -> Vec<Told> {
        self.notes.lock().unwrap().clone()
    }

    pub fn confirmed(&self) -> Vec<u32> {
        self.confirmed.lock().unwrap().clone()
    }

    pub fn ring(&self) -> &Arc<Ring> {
        self.output.ring().expect("a ring")
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

/// An output that is a ring alone, with room for about so many messages of [`RING_BODY`] bytes.
pub fn ring(on_full: OnFull, messages: usize) -> OutputSettings {
    let ring_bytes = messages * (RING_BODY + 512);
    OutputSettings { on_full, ring_bytes, ..OutputSettings::new(Kind::Ring, Vec::new()) }
}

/// So large that what a message costs beside its body hardly counts.
pub const RING_BODY: usize = 16 << 10;

/// A message for such a ring.
pub fn large(flow: u64, sequence: u64) -> Message {
    message(flow, sequence, &vec![u8::try_from(sequence % 251).unwrap(); RING_BODY])
}

/// What readers of a ring are given, by flow and sequence; ticks as `None`.
pub fn named(kept: &[Arc<Kept>]) -> Vec<Option<(u64, u64)>> {
    let name = |kept: &Arc<Kept>| {
        let frames: Vec<Vec<u8>> = kept.frames().iter().map(|frame| frame.to_vec()).collect();
        (frames[0] != TICK_TOPIC).then(|| (flow_of(&frames), sequence_of(&frames)))
    };
    kept.iter().map(name).collect()
}

/// Reads the headers that [`message`] makes: the epoch is the flow's number.
pub const FORMAT: Format = Format {
    stamp,
    origin: |header| {
        let epoch = u64::from_ne_bytes(header.get(8..16)?.try_into().ok()?);
        Some(Origin { partition: PARTITION, epoch })
    },
    last_commit: |header| {
        let seconds = i64::from_ne_bytes(header.get(16..24)?.try_into().ok()?);
        Some(Timestamp { seconds, nanos: 0 })
    },
};
pub const PARTITION: [u8; 16] = [7; 16];

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
