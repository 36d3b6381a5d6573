//! What an output is told when it is made.

use std::time::Duration;

use super::ring::Policy;
use crate::error::{Error, Result};

/// What kind of output.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Kind {
    /// Fan-out to whoever subscribes; never waits.
    Pub,
    /// Spreads messages over whoever pulls; waits for one.
    Push,
    /// Keeps messages in memory for readers in this process; has no socket.
    Ring,
    /// Serves each peer at its own pace, from a ring.
    Feed,
}

impl Kind {
    /// Whether it is its ring that takes messages, not a socket: so it never takes long, unless its ring waits
    /// for the reader.
    pub(super) fn is_ring(self) -> bool {
        matches!(self, Self::Ring | Self::Feed)
    }
}

/// What a ring holds where nothing else is said.
pub const RING_BYTES: usize = 64 << 20;

/// What happens when a sender's queue is full.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OnFull {
    /// Whoever has something for it waits.
    Block,
    /// It is set aside: what comes is counted and left out, until it has sent what it has.
    Detach,
}

/// An output's settings.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OutputSettings {
    /// What kind.
    pub kind: Kind,
    /// One endpoint per sender, e.g. `tcp://127.0.0.1:5556`; port `*` takes any free one. A feed has
    /// one, a ring none.
    pub bind: Vec<String>,
    /// What happens when a queue is full. Of a ring: when the ring is; with `Block` its sender waits for its
    /// one reader, with `Detach` the oldest messages make room.
    pub on_full: OnFull,
    /// The number that its headers tell; `None`: its place among the outputs. A replay stands for an output
    /// of another pipeline.
    pub number: Option<u16>,
    /// How much memory messages may hold that stay for who missed them; 0 keeps none.
    pub ring_bytes: usize,
    /// A queue is full at this many bytes. It passes the bound by one message at the most.
    pub queue_bytes: usize,
    /// A queue is full at this many messages.
    pub queue_messages: usize,
    /// Of a feed: peers at a time; more are refused.
    pub connections: usize,
    /// Of a feed: a peer that says nothing for so long is forgotten.
    pub silence: Duration,
    /// Messages that `ZeroMQ` holds for one peer. PUB drops for a peer that is past it.
    pub high_water_mark: i32,
    /// How long closing waits for peers to take what the sockets have accepted.
    pub linger: Duration,
    /// TCP keepalive: probes after this much silence; zero leaves it off.
    pub keepalive: Duration,
    /// ZMTP heartbeats: a ping this often; zero leaves them off. A subscriber that does not answer
    /// for three of them is disconnected. A worker is not: one that is slow does not read, so it
    /// cannot answer either, and with its connection its messages would go.
    pub heartbeat: Duration,
}

impl OutputSettings {
    /// Defaults for everything but the kind and the endpoints.
    pub fn new(kind: Kind, bind: Vec<String>) -> Self {
        let (on_full, ring_bytes) =
            if kind.is_ring() { (OnFull::Detach, RING_BYTES) } else { (OnFull::Block, 0) };
        Self {
            kind,
            bind,
            on_full,
            number: None,
            ring_bytes,
            queue_bytes: 32 << 20,
            queue_messages: 10_000,
            connections: 1_000,
            silence: Duration::from_secs(30),
            high_water_mark: 1_000,
            linger: Duration::from_secs(1),
            keepalive: Duration::from_secs(30),
            heartbeat: Duration::from_secs(10),
        }
    }

    /// How many senders it has.
    pub fn senders(&self) -> usize {
        if self.kind.is_ring() { 1 } else { self.bind.len() }
    }

    /// What a full queue does. In front of a ring it waits for the sender's thread alone, so there
    /// is nothing to set aside.
    pub(super) fn queue_on_full(&self) -> OnFull {
        if self.kind.is_ring() { OnFull::Block } else { self.on_full }
    }

    /// What its ring does when it is full.
    pub(super) fn ring_policy(&self) -> Policy {
        match (self.kind, self.on_full) {
            (Kind::Ring, OnFull::Block) => Policy::Wait,
            _ => Policy::Overwrite,
        }
    }

    /// Refuses what cannot work, with the setting's name.
    pub fn validate(&self) -> Result<()> {
        let wrong = |setting, what: String| Err(Error::Config { setting, what });
        match (self.kind, self.bind.len()) {
            (Kind::Ring, 0) | (Kind::Feed, 1) => {}
            (Kind::Ring, _) => return wrong("bind", "must be empty: a ring has no socket".into()),
            (Kind::Feed, bound) => {
                return wrong(
                    "bind",
                    format!("a feed has one endpoint, not {bound}, like tcp://127.0.0.1:5556"),
                );
            }
            (_, 0) => {
                return wrong("bind", "at least one endpoint is needed, like tcp://127.0.0.1:5556".into());
            }
            _ => {}
        }
        match (self.kind, self.ring_bytes) {
            (Kind::Push, 1..) => {
                return wrong("ring_bytes", "must be 0: what push sends is not repaired".into());
            }
            (Kind::Ring | Kind::Feed, 0) => return wrong("ring_bytes", "must be 1 or more".into()),
            _ => {}
        }
        for (index, endpoint) in self.bind.iter().enumerate() {
            if endpoint.contains('\0') {
                return wrong("bind", format!("{endpoint:?} has a zero byte in it"));
            }
            let any_port = endpoint.ends_with(":*") || endpoint.ends_with(":0");
            if !any_port && self.bind[..index].contains(endpoint) {
                return wrong(
                    "bind",
                    format!("{endpoint} is there twice; each sender needs an endpoint of its own"),
                );
            }
        }
        if self.queue_bytes == 0 {
            return wrong("queue_bytes", "must be 1 or more".into());
        }
        if self.queue_messages == 0 {
            return wrong("queue_messages", "must be 1 or more".into());
        }
        if self.connections == 0 {
            return wrong("connections", "must be 1 or more".into());
        }
        if self.silence.is_zero() {
            return wrong("silence_ms", "must be 1 or more".into());
        }
        if self.high_water_mark < 1 {
            return wrong(
                "high_water_mark",
                format!("must be 1 or more, is {} (0 would be no bound at all)", self.high_water_mark),
            );
        }
        for (setting, value, limit) in [
            ("silence_ms", self.silence, Duration::from_secs(86_400)),
            ("linger_ms", self.linger, Duration::from_secs(3_600)),
            ("keepalive_s", self.keepalive, Duration::from_secs(32_767)),
            // ZeroMQ tells three of them to the peer in 16 bits of tenths of a second.
            ("heartbeat_ms", self.heartbeat, Duration::from_secs(2_000)),
        ] {
            if value > limit {
                return wrong(setting, format!("is more than {} s", limit.as_secs()));
            }
        }
        Ok(())
    }
}
