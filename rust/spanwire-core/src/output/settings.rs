//! What an output is told when it is made.

use std::time::Duration;

use crate::error::{Error, Result};

/// What kind of output.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Kind {
    /// Fan-out to whoever subscribes; never waits.
    Pub,
    /// Spreads messages over whoever pulls; waits for one.
    Push,
}

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
    /// One endpoint per sender, e.g. `tcp://127.0.0.1:5556`; port `*` takes any free one.
    pub bind: Vec<String>,
    /// What happens when a queue is full.
    pub on_full: OnFull,
    /// A queue is full at this many bytes. It passes the bound by one message at the most.
    pub queue_bytes: usize,
    /// A queue is full at this many messages.
    pub queue_messages: usize,
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
        Self {
            kind,
            bind,
            on_full: OnFull::Block,
            queue_bytes: 32 << 20,
            queue_messages: 10_000,
            high_water_mark: 1_000,
            linger: Duration::from_secs(1),
            keepalive: Duration::from_secs(30),
            heartbeat: Duration::from_secs(10),
        }
    }

    /// Refuses what cannot work, with the setting's name.
    pub fn validate(&self) -> Result<()> {
        let wrong = |setting, what: String| Err(Error::Config { setting, what });
        if self.bind.is_empty() {
            return wrong("bind", "at least one endpoint is needed, like tcp://127.0.0.1:5556".into());
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
        if self.high_water_mark < 1 {
            return wrong(
                "high_water_mark",
                format!("must be 1 or more, is {} (0 would be no bound at all)", self.high_water_mark),
            );
        }
        for (setting, value, limit) in [
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
