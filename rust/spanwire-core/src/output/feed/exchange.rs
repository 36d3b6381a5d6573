//! The exchanges of a peer: a feed and repairs. Each knows its place in the ring and its credit, and holds no
//! message.

use std::sync::Arc;

use super::super::format::Origin;
use super::super::ring::{Reader, Ring};
use super::peers::{Blocked, Counts, Port, Us};
use super::protocol::{Answer, Reason, Reply, Request};

/// What came of one step of an exchange.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// A message of so many bytes was sent.
    Sent(usize),
    /// There is nothing to send yet.
    Nothing,
    /// There is, but no credit for it.
    NoCredit,
    /// The exchange is over.
    Over,
}

/// Message bytes that a peer takes in an exchange.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Credit {
    given: u64,
    sent: u64,
}

impl Credit {
    fn new(given: u64) -> Self {
        Self { given, sent: 0 }
    }

    /// Whether a message may be sent. The last one may go past what was given: it can be larger than a window.
    pub fn is_left(self) -> bool {
        self.sent < self.given
    }

    /// The peer takes so much in all; false where it said more before.
    pub fn raise(&mut self, given: u64) -> bool {
        let rises = given >= self.given;
        self.given = self.given.max(given);
        rises
    }

    fn spend(&mut self, bytes: usize) {
        self.sent = self.sent.saturating_add(bytes as u64);
    }
}

/// Everything from a place in the ring on.
pub struct Feed {
    pub id: u64,
    pub credit: Credit,
    reader: Reader,
    /// What the reader had missed when it was counted last.
    missed: u64,
    /// The reply in front of every message.
    heading: Vec<u8>,
    /// Its want of credit has been counted.
    waits: bool,
}

impl Feed {
    pub fn new(request: &Request, ring: &Arc<Ring>, us: &Us) -> Self {
        let topics = request.topics.iter().map(|topic| topic.clone().into_bytes()).collect();
        Self {
            id: request.id,
            credit: Credit::new(request.credit),
            reader: ring.follow(topics),
            missed: 0,
            heading: heading(request.id, us),
            waits: false,
        }
    }

    /// Sends the next message, if there is one and credit for it.
    pub fn step(&mut self, peer: &[u8], port: &mut impl Port, counts: &mut Counts) -> Result<Step, Blocked> {
        if self.waits && !self.credit.is_left() {
            return Ok(Step::NoCredit);
        }
        self.waits = false;
        let next = self.reader.peek();
        counts.missed += self.reader.missed() - self.missed;
        self.missed = self.reader.missed();
        let Some(kept) = next else { return Ok(Step::Nothing) };
        if !self.credit.is_left() {
            self.waits = true;
            counts.credit_waits += 1;
            return Ok(Step::NoCredit);
        }
        port.send(peer, &self.heading, Some(&kept))?;
        self.reader.pass();
        self.credit.spend(kept.bytes());
        counts.sent(kept.bytes());
        Ok(Step::Sent(kept.bytes()))
    }
}

/// Messages of one flow, by their sequences.
pub struct Repair {
    pub id: u64,
    pub credit: Credit,
    origin: Origin,
    topic: String,
    next: u64,
    last: u64,
    /// Another process sent them.
    gone: bool,
    heading: Vec<u8>,
}

impl Repair {
    pub fn new(request: &Request, us: &Us) -> Result<Self, (Reason, String)> {
        let malformed = |text: &str| Err((Reason::Malformed, text.to_owned()));
        let [topic] = request.topics.as_slice() else {
            return malformed("a repair names the one topic of its flow");
        };
        let Some(partition) = request.partition else {
            return malformed("a repair names a partition by its 16 bytes");
        };
        if request.last < request.first {
            return malformed("a repair's last message is not before its first");
        }
        if request.output != us.output {
            let text = format!("this is output {}, not {}", us.output, request.output);
            return Err((Reason::UnknownOutput, text));
        }
        Ok(Self {
            id: request.id,
            credit: Credit::new(request.credit),
            origin: Origin { partition, epoch: request.epoch },
            topic: topic.clone(),
            next: request.first,
            last: request.last,
            gone: request.incarnation != us.incarnation,
            heading: heading(request.id, us),
        })
    }

    /// Sends the next message, or the end.
    pub fn step(
        &mut self,
        peer: &[u8],
        us: &Us,
        ring: &Ring,
        port: &mut impl Port,
        counts: &mut Counts,
    ) -> Result<Step, Blocked> {
        if self.next > self.last {
            port.send(peer, &end(self.id, Answer::Done, String::new(), us, ring), None)?;
            return Ok(Step::Over);
        }
        // Only with all that follow it: who cannot have the end has no use for the beginning.
        let found =
            (!self.gone).then(|| ring.find_first(self.origin, self.topic.as_bytes(), self.next, self.last));
        let Some(kept) = found.flatten() else {
            let text = format!("messages {} to {} are not kept any more", self.next, self.last);
            port.send(peer, &end(self.id, Answer::Refused(Reason::Gone), text, us, ring), None)?;
            counts.refuse(Reason::Gone);
            return Ok(Step::Over);
        };
        if !self.credit.is_left() {
            return Ok(Step::NoCredit);
        }
        port.send(peer, &self.heading, Some(&kept))?;
        self.credit.spend(kept.bytes());
        counts.sent(kept.bytes());
        self.next += 1; // no flow has so many messages that this could overflow: it was just found
        Ok(Step::Sent(kept.bytes()))
    }
}

/// The reply in front of every message of an exchange.
fn heading(id: u64, us: &Us) -> Vec<u8> {
    let reply = Reply { answer: Answer::Message, id, stream: None, oldest: None, text: String::new() };
    (us.codec.reply)(&reply)
}

/// The last reply of an exchange.
fn end(id: u64, answer: Answer, text: String, us: &Us, ring: &Ring) -> Vec<u8> {
    let oldest = matches!(answer, Answer::Refused(_)).then(|| ring.stats().oldest).flatten();
    (us.codec.reply)(&Reply { answer, id, stream: us.stream, oldest, text })
}
