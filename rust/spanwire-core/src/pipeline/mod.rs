//! The pipeline: joins wire, dedup, envelope and output.
//!
//! Threads: a partition's reader calls [`Partition::push`] and does all the work up to the queue;
//! each sender's own thread takes messages from its queue, sends them, and when the queue is empty
//! asks the partitions for what they hold open. Locks, in the order they are taken: a partition's
//! state, then a queue. A sender never waits for a partition's lock (a reader may hold it while it
//! waits for that very sender's queue): it tries, and the reader asks again when it lets go.

mod choosing;
mod counters;
mod flow;
mod heads;
mod held;
mod intake;
mod mark;
mod owned;
mod partition;
mod serving;
mod settings;
mod shapes;
mod table_rows;
mod topic;

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use crate::choose::Choice;
use crate::envelope;
use crate::error::{Error, Result};
use crate::output::{Context, FeedSetup, Format, Origin, Output, POOL_BYTES, Pool, Wire};

pub use counters::Counters;
pub use intake::Pushed;
pub use owned::{Children, PartitionEvent, PartitionStart};
pub use partition::{Partition, PartitionSettings, Resume};
pub use settings::{Batch, Lane, MAX_BATCH_BYTES, OnUndecodable, Settings};
pub use table_rows::{TableRows, TableSettings};
pub use topic::DEFAULT as DEFAULT_TOPIC;

use flow::Flow;
use heads::{Heads, Identity};
use mark::Asked;

/// What outputs must know of headers.
const FORMAT: Format = Format {
    stamp: envelope::set_sent_at,
    origin: |header| {
        let header = envelope::Header::decode(header).ok()?;
        Some(Origin { partition: header.partition, epoch: header.epoch })
    },
    last_commit: |header| Some(envelope::Header::decode(header).ok()?.last?.commit_timestamp),
};

/// Bytes of `PartialResultSet` in, `ZeroMQ` messages out.
#[derive(Debug)]
pub struct Pipeline {
    shared: Arc<Shared>,
}

/// What all partitions of a pipeline share.
#[derive(Debug)]
struct Shared {
    settings: Settings,
    incarnation: u64,
    dead_letter_topic: Arc<[u8]>,
    lanes: Vec<SharedLane>,
    shapes: Arc<shapes::Shared>,
    pool: Arc<Pool>,
    counters: Counters,
    next_flow: AtomicU64,
}

/// One output, and where its senders stand among all.
#[derive(Debug)]
struct SharedLane {
    settings: Lane,
    /// Its place in the settings: named in headers.
    number: u16,
    template: topic::Template,
    /// None where all goes out.
    choice: Option<Choice>,
    output: Output,
    first_sender: usize,
    /// One per sender: whether it has been asked to tell every head.
    asked: Vec<Arc<Asked>>,
}

impl Shared {
    fn senders(&self) -> usize {
        self.lanes.last().map_or(0, |lane| lane.first_sender + lane.output.senders().len())
    }

    /// The lane of a sender counted over all lanes, and its number there.
    fn lane_of(&self, sender: usize) -> (usize, usize) {
        let lane = self.lanes.partition_point(|lane| lane.first_sender <= sender) - 1;
        (lane, sender - self.lanes[lane].first_sender)
    }

    fn flow(&self, lane: usize, topic: Arc<[u8]>) -> Flow {
        let lane = &self.lanes[lane];
        let sender = lane.output.sender_for(&topic);
        let id = self.next_flow.fetch_add(1, Ordering::Relaxed);
        Flow::new(id, topic, lane.number, sender, self.settings.on_misfit)
    }
}

impl Pipeline {
    /// Binds all outputs and starts their senders.
    pub fn new(settings: Settings) -> Result<Self> {
        settings.validate()?;
        let template = |lane: &Lane| {
            let template = lane.topic.as_ref().unwrap_or(&settings.topic);
            topic::Template::new(template, &settings.database, &settings.stream, lane.choice.buckets())
        };
        let context = Arc::new(Context::new(i32::from(settings.io_threads))?);
        let incarnation = random();
        let pool = Arc::new(pool_for(&settings));
        let mut lanes = Vec::with_capacity(settings.outputs.len());
        let mut first_sender = 0;
        for (index, lane) in (0..).zip(&settings.outputs) {
            let index = lane.output.number.unwrap_or(index);
            let endpoints = Arc::new(OnceLock::new());
            let senders = lane.output.senders();
            let identity = Identity {
                incarnation,
                topic: topic::tick(&settings.database, &settings.stream).into(),
                output: index,
                number: 0,
                sender: 0,
                senders,
                name: [0; 16],
                interval: settings.tick,
                endpoints: Arc::clone(&endpoints),
                replay: settings.replay_endpoints.as_slice().into(),
            };
            let companion = |sender: usize| -> Box<dyn crate::output::Companion> {
                let name = sender_name(index, sender);
                let number = first_sender + sender;
                Box::new(Heads::new(Identity { number, sender, name, ..identity.clone() }))
            };
            let asked: Vec<Arc<Asked>> = (0..senders).map(|_| Arc::default()).collect();
            let feed =
                asked.first().map(|asked| feed_setup(index, incarnation, &settings, Arc::clone(asked)));
            let output = Output::bind(
                &context,
                &lane.output,
                first_sender,
                settings.tick,
                &pool,
                &companion,
                &Wire { format: FORMAT, feed },
            )?;
            // Set once, right here.
            let _ = endpoints.set(output.endpoints());
            let choice = (!lane.choice.is_all()).then(|| lane.choice.clone());
            let template = template(lane)?;
            let settings = lane.clone();
            lanes.push(SharedLane { settings, number: index, template, choice, output, first_sender, asked });
            first_sender += senders;
        }
        let dead_letter_topic = topic::dead_letters(&settings.database, &settings.stream).into();
        let shared = Shared {
            settings,
            incarnation,
            dead_letter_topic,
            lanes,
            shapes: Arc::default(),
            pool,
            counters: Counters::default(),
            next_flow: AtomicU64::new(0),
        };
        Ok(Self { shared: Arc::new(shared) })
    }

    /// This process, in headers and ticks.
    pub fn incarnation(&self) -> u64 {
        self.shared.incarnation
    }

    /// Per output, per sender: the address bound.
    pub fn endpoints(&self) -> Vec<Vec<String>> {
        self.shared.lanes.iter().map(|lane| lane.output.endpoints()).collect()
    }

    /// Opens a partition under an epoch.
    pub fn partition(&self, settings: PartitionSettings) -> Result<Arc<Partition>> {
        Partition::open(Arc::clone(&self.shared), settings)
    }

    /// Opens a read of a part of a table, for a snapshot.
    pub fn table(&self, settings: TableSettings) -> TableRows {
        TableRows::open(&self.shared, settings)
    }

    /// What was counted so far.
    pub fn counters(&self) -> &Counters {
        &self.shared.counters
    }

    /// The outputs, in the order of the settings.
    pub fn outputs(&self) -> impl Iterator<Item = &Output> {
        self.shared.lanes.iter().map(|lane| &lane.output)
    }

    /// Has each sender of an output tell every head at once, behind what it has queued. Never waits.
    ///
    /// Errors: `Config` where there is no such output, `Closed`, or what a sender failed with.
    pub fn tell(&self, output: usize) -> Result<()> {
        let Some(lane) = self.shared.lanes.get(output) else {
            let what = format!("there is no output {output}: there are {}", self.shared.lanes.len());
            return Err(Error::Config { setting: "output", what });
        };
        for (sender, asked) in lane.output.senders().iter().zip(&lane.asked) {
            if asked.ask() {
                sender.mark(Arc::clone(asked) as _)?;
            }
        }
        Ok(())
    }

    /// Waits until all that was pushed is handed over; false when time ran out. What is open needs no
    /// closing: its sender has been asked to come for it, and has not drained before it did.
    pub fn drain(&self, timeout: Duration) -> bool {
        let deadline = Instant::now() + timeout;
        let mut drained = true;
        for output in self.outputs() {
            drained &= output.drain(deadline.saturating_duration_since(Instant::now()));
        }
        drained
    }

    /// Stops all senders. What is still queued is not sent: drain first.
    pub fn close(&self) {
        for output in self.outputs() {
            output.close();
        }
    }
}

impl Drop for Pipeline {
    fn drop(&mut self) {
        self.close();
    }
}

/// Free buffers are kept for what may come back at once: no more than queues and rings can hold.
fn pool_for(settings: &Settings) -> Pool {
    let held =
        settings.outputs.iter().map(|lane| lane.output.queue_bytes.saturating_add(lane.output.ring_bytes));
    Pool::with_limit(held.fold(0, usize::saturating_add).min(POOL_BYTES))
}

/// What an output of kind `feed` is told, whose one sender is asked by `asked`.
fn feed_setup(output: u16, incarnation: u64, settings: &Settings, asked: Arc<Asked>) -> FeedSetup {
    FeedSetup {
        output,
        incarnation,
        stream: settings.stream_id,
        codec: serving::CODEC,
        ask_heads: Arc::new(move || asked.ask().then(|| Arc::clone(&asked) as _)),
    }
}

/// Names a sender in its ticks' headers: output and sender, each in eight bytes, big-endian.
fn sender_name(output: u16, sender: usize) -> [u8; 16] {
    (u128::from(output) << 64 | sender as u128).to_be_bytes()
}

/// A random number, from the keys that the standard library draws from the operating system.
fn random() -> u64 {
    use std::hash::{BuildHasher, Hasher, RandomState};
    RandomState::new().build_hasher().finish()
}
