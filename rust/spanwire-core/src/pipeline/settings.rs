//! What a pipeline is told when it is made.

use std::time::Duration;

use crate::choose::Choice;
use crate::envelope::{Misfits, Values};
use crate::error::{Error, Result};
use crate::output::OutputSettings;

/// A pipeline's settings.
#[derive(Debug, Clone)]
pub struct Settings {
    /// The database's name, for topics.
    pub database: String,
    /// The change stream's name, for topics.
    pub stream: String,
    /// The topic template of outputs that have none of their own.
    pub topic: String,
    /// What to do with a change that cannot be decoded.
    pub on_undecodable: OnUndecodable,
    /// What becomes of a value that does not fit its column; where it is refused, its record goes raw to the
    /// dead letters.
    pub on_misfit: Misfits,
    /// Threads that `ZeroMQ` does its network work on.
    pub io_threads: u16,
    /// Time between two ticks; 1 s at the most.
    pub tick: Duration,
    /// The largest record taken, in bytes of Spanner's response.
    pub max_record_bytes: usize,
    /// Where messages go.
    pub outputs: Vec<Lane>,
    /// Where this relay takes requests for repair, replay and snapshots: told in ticks.
    pub replay_endpoints: Vec<String>,
    /// The first 16 bytes of SHA-256 of the stream's resource path, for feeds: who asks for another stream is
    /// refused. None takes every one for ours.
    pub stream_id: Option<[u8; 16]>,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            database: String::new(),
            stream: String::new(),
            topic: super::DEFAULT_TOPIC.into(),
            on_undecodable: OnUndecodable::Stop,
            on_misfit: Misfits::AsText,
            io_threads: 1,
            tick: Duration::from_secs(1),
            max_record_bytes: 256 << 20,
            outputs: Vec::new(),
            replay_endpoints: Vec::new(),
            stream_id: None,
        }
    }
}

/// One output and how messages for it are made.
#[derive(Debug, Clone)]
pub struct Lane {
    /// The sockets.
    pub output: OutputSettings,
    /// How values are written.
    pub values: Values,
    /// What goes out.
    pub choice: Choice,
    /// The topic template, where it is not that of all.
    pub topic: Option<String>,
    /// When a message is closed.
    pub batch: Batch,
}

/// When an open message is closed although its sender is busy. An idle sender closes it at once.
#[derive(Debug, Clone, Copy)]
pub struct Batch {
    /// At this size of its body; a single larger record makes a larger message.
    pub bytes: usize,
    /// At this number of changes.
    pub changes: u32,
    /// At this age.
    pub delay: Duration,
}

impl Default for Batch {
    fn default() -> Self {
        Self { bytes: 64 << 10, changes: 10_000, delay: Duration::from_millis(5) }
    }
}

/// The largest body a message is closed at, whatever the settings say.
pub const MAX_BATCH_BYTES: usize = 8 << 20;

/// What to do with a change that cannot be decoded: it is never skipped in silence.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OnUndecodable {
    /// Stop its partition; the error names the version.
    Stop,
    /// Send it raw to `{database}/{stream}/_dead/`.
    DeadLetter,
}

impl Settings {
    /// Refuses what cannot work, with the setting's name.
    pub fn validate(&self) -> Result<()> {
        let wrong = |setting, what: String| Err(Error::Config { setting, what });
        if self.outputs.is_empty() {
            return wrong("outputs", "at least one output is needed".into());
        }
        if self.outputs.len() > usize::from(u16::MAX) {
            return wrong("outputs", format!("at most {} outputs", u16::MAX));
        }
        if self.tick.is_zero() || self.tick > Duration::from_secs(1) {
            return wrong("tick_ms", format!("must be 1 to 1000, is {}", self.tick.as_millis()));
        }
        if !(1..=64).contains(&self.io_threads) {
            return wrong("io_threads", format!("must be 1 to 64, is {}", self.io_threads));
        }
        if self.max_record_bytes == 0 {
            return wrong("max_record_bytes", "must be 1 or more".into());
        }
        for lane in &self.outputs {
            if !(1..=MAX_BATCH_BYTES).contains(&lane.batch.bytes) {
                return wrong(
                    "batch_bytes",
                    format!("must be 1 to {MAX_BATCH_BYTES}, is {}", lane.batch.bytes),
                );
            }
            if lane.batch.changes == 0 {
                return wrong("batch_changes", "must be 1 or more".into());
            }
        }
        Ok(())
    }
}
