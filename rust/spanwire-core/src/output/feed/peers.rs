//! Who is connected to a feed, what each has asked for, and what may be sent to whom now. No I/O and no clock:
//! a [`Port`] takes what is to be sent, `now` is the time since any moment.
//!
//! A peer is whoever is behind one connection. It names its exchanges by numbers that rise. In each it is sent
//! message bytes as long as they are fewer than the credit it gave, so the last message may go past it: one
//! may be larger than any credit. Nothing waits here but a place in the ring: a peer that takes nothing costs
//! no memory, and holds up nobody.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use super::super::kept::Kept;
use super::super::ring::Ring;
use super::exchange::{Feed, Repair, Step};
use super::protocol::{Answer, Ask, Codec, MAX_REQUEST_BYTES, Reason, Reply, Request};

/// Replies that wait for a peer whose connection takes nothing. Who asks on without reading loses the rest.
const REPLIES: usize = 64;
/// Message bytes that one peer is sent before it is the next one's turn.
const TURN_BYTES: usize = 256 << 10;
/// A connection that takes nothing is tried again after so long, then after twice that, and so on.
const AGAIN: Duration = Duration::from_millis(5);
const AGAIN_AT_MOST: Duration = Duration::from_millis(100);

/// What peers may take.
#[derive(Debug, Clone)]
pub struct Limits {
    /// Peers at a time.
    pub peers: usize,
    /// Exchanges of one peer at a time, beside its feed.
    pub exchanges: usize,
    /// A peer that says nothing for so long is forgotten.
    pub silence: Duration,
}

/// Who answers.
#[derive(Debug, Clone)]
pub struct Us {
    /// The number of the output.
    pub output: u16,
    /// The process.
    pub incarnation: u64,
    /// Names the stream, where it is known.
    pub stream: Option<[u8; 16]>,
    /// Reads and writes frames.
    pub codec: Codec,
}

/// Why a port did not take something.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Blocked {
    /// The peer's connection takes nothing at the moment.
    Full,
    /// The peer is not there any more.
    Gone,
}

/// Takes what is to be sent, without waiting.
pub trait Port {
    /// A reply's frame, and the message behind it where there is one.
    fn send(&mut self, peer: &[u8], reply: &[u8], message: Option<&Arc<Kept>>) -> Result<(), Blocked>;
}

/// What has come from a peer.
#[derive(Debug, Clone, Default)]
pub struct Incoming {
    /// Names the peer.
    pub peer: Vec<u8>,
    /// The first frame, where it may be a request.
    pub frame: Vec<u8>,
    /// How many frames came.
    pub frames: usize,
    /// Bytes of all.
    pub bytes: usize,
}

/// What was counted, from the beginning.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Counts {
    /// Requests taken.
    pub requests: u64,
    /// Requests refused, and exchanges broken off, in the order of [`Reason::ALL`].
    pub refused: [u64; Reason::ALL.len()],
    /// Peers forgotten for their silence.
    pub silent: u64,
    /// Messages sent.
    pub messages: u64,
    /// Bytes of them.
    pub bytes: u64,
    /// How often a feed had something to send and no credit.
    pub credit_waits: u64,
    /// How often a connection took nothing.
    pub full: u64,
    /// Messages that fell off the ring before a feed came to them, of whatever topic.
    pub missed: u64,
}

impl Counts {
    pub fn refuse(&mut self, reason: Reason) {
        self.refused[reason as usize] += 1;
    }

    pub fn sent(&mut self, bytes: usize) {
        self.messages += 1;
        self.bytes += bytes as u64;
    }
}

/// When there is something to do again.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Rest {
    /// At once.
    pub more: bool,
    /// When the ring has another message.
    pub on_message: bool,
    /// At this time.
    pub at: Option<Duration>,
}

/// Everybody who is connected.
pub struct Peers {
    us: Us,
    limits: Limits,
    ring: Arc<Ring>,
    known: BTreeMap<Box<[u8]>, Peer>,
    /// For those who are not among the peers; tried once.
    strays: Vec<(Vec<u8>, Vec<u8>)>,
    counts: Counts,
    heads_asked: bool,
}

#[derive(Default)]
struct Peer {
    heard: Duration,
    /// The newest exchange that it began.
    last: u64,
    replies: Vec<Vec<u8>>,
    feed: Option<Feed>,
    repairs: Vec<Repair>,
    full: Option<Full>,
}

/// A connection that takes nothing.
struct Full {
    until: Duration,
    pause: Duration,
}

impl Peers {
    pub fn new(us: Us, limits: Limits, ring: Arc<Ring>) -> Self {
        Self {
            us,
            limits,
            ring,
            known: BTreeMap::new(),
            strays: Vec::new(),
            counts: Counts::default(),
            heads_asked: false,
        }
    }

    /// How many are known.
    pub fn len(&self) -> usize {
        self.known.len()
    }

    /// How many exchanges are open.
    pub fn exchanges(&self) -> usize {
        self.known.values().map(|peer| usize::from(peer.feed.is_some()) + peer.repairs.len()).sum()
    }

    /// What was counted so far.
    pub fn counts(&self) -> &Counts {
        &self.counts
    }

    /// Whether somebody has asked for every head since this was asked last.
    pub fn take_heads_asked(&mut self) -> bool {
        std::mem::take(&mut self.heads_asked)
    }

    /// A peer has said something. Whatever it does wrong is answered to it alone.
    pub fn take(&mut self, incoming: &Incoming, now: Duration) {
        self.counts.requests += 1;
        let Incoming { peer, frame, frames, bytes } = incoming;
        if *bytes > MAX_REQUEST_BYTES {
            let text = format!("a request has {MAX_REQUEST_BYTES} bytes at the most, this one has {bytes}");
            return self.refuse(peer, 0, Reason::TooLarge, text);
        }
        if *frames != 1 {
            let text = format!("a request is one frame, this one has {frames}");
            return self.refuse(peer, 0, Reason::Malformed, text);
        }
        let request = match (self.us.codec.request)(frame) {
            Ok(request) => request,
            Err(error) => return self.refuse(peer, 0, Reason::Malformed, error.to_string()),
        };
        if !self.known.contains_key(peer.as_slice()) {
            if self.known.len() >= self.limits.peers {
                let text = format!(
                    "{} peers are connected, the most that are allowed; try later",
                    self.limits.peers
                );
                return self.refuse(peer, request.id, Reason::TooMany, text);
            }
            self.known.insert(peer.as_slice().into(), Peer::default());
        }
        if let Some(known) = self.known.get_mut(peer.as_slice()) {
            known.heard = now;
        }
        let id = request.id;
        match self.obey(peer, &request) {
            Ok(None) => {}
            Ok(Some(answer)) => {
                let reply = self.reply(answer, id, String::new());
                self.answer(peer, reply);
            }
            Err((reason, text)) => self.refuse(peer, id, reason, text),
        }
    }

    /// Sends whatever may be sent now, some of it to each, and says when to come again.
    pub fn serve(&mut self, port: &mut impl Port, now: Duration) -> Rest {
        self.expire(now);
        for (peer, reply) in self.strays.drain(..) {
            // Whom it does not reach asks again, or is gone.
            let _ = port.send(&peer, &reply, None);
        }
        let mut rest = Rest::default();
        let Self { known, us, counts, limits, ring, .. } = self;
        known.retain(|id, peer| {
            if peer.full.as_ref().is_none_or(|full| full.until <= now) {
                let sent = counts.messages;
                match peer.turn(id, us, ring, port, counts, &mut rest) {
                    Ok(()) => peer.full = None,
                    Err(Blocked::Full) => peer.set_full(now, counts.messages > sent, counts),
                    Err(Blocked::Gone) => return false,
                }
            }
            let silent = peer.heard.saturating_add(limits.silence);
            let next = peer.full.as_ref().map_or(silent, |full| full.until.min(silent));
            rest.at = Some(rest.at.map_or(next, |at| at.min(next)));
            true
        });
        rest
    }

    /// Forgets who fell silent.
    fn expire(&mut self, now: Duration) {
        let silence = self.limits.silence;
        let silent: Vec<Box<[u8]>> = self
            .known
            .iter()
            .filter(|(_, peer)| now >= peer.heard.saturating_add(silence))
            .map(|(id, _)| id.clone())
            .collect();
        for id in silent {
            let Some(peer) = self.known.remove(&id) else { continue };
            self.counts.silent += 1;
            // It may be there all the same, so it is told.
            let open =
                peer.feed.iter().map(|feed| feed.id).chain(peer.repairs.iter().map(|repair| repair.id));
            for exchange in open {
                let text = format!("nothing was heard for {} s; ask again", silence.as_secs());
                self.refuse(&id, exchange, Reason::Busy, text);
            }
        }
    }

    fn obey(&mut self, peer: &[u8], request: &Request) -> Result<Option<Answer>, (Reason, String)> {
        let Some(known) = self.known.get_mut(peer) else { return Ok(None) };
        match request.ask {
            Ask::Ping => return Ok(Some(Answer::Pong)),
            Ask::Credit | Ask::Cancel => return known.go_on(request).map(|()| None),
            Ask::Other(name) => {
                let text = format!("{name} is not served here; a feed takes hello, heads, repair and feed");
                return Err((Reason::UnknownKind, text));
            }
            Ask::Hello | Ask::Heads | Ask::Repair | Ask::Feed => {}
        }
        if request.id <= known.last {
            let text = format!("ids of exchanges rise: {} does not follow {}", request.id, known.last);
            known.end(request.id);
            return Err((Reason::OutOfOrder, text));
        }
        known.last = request.id;
        if request.stream.is_some() && self.us.stream.is_some() && request.stream != self.us.stream {
            let text = "this relay reads another stream than the one that was asked for".to_owned();
            return Err((Reason::OtherStream, text));
        }
        match request.ask {
            Ask::Heads => {
                self.heads_asked = true;
                Ok(Some(Answer::Done))
            }
            Ask::Feed if known.feed.is_some() => {
                Err((Reason::TooMany, "a peer has one feed at a time; cancel the other one first".to_owned()))
            }
            Ask::Feed => {
                known.feed = Some(Feed::new(request, &self.ring, &self.us));
                self.heads_asked = true;
                Ok(Some(Answer::Welcome))
            }
            Ask::Repair if known.repairs.len() >= self.limits.exchanges => {
                let most = self.limits.exchanges;
                Err((Reason::TooMany, format!("{most} exchanges are open, the most that a peer may have")))
            }
            Ask::Repair => {
                known.repairs.push(Repair::new(request, &self.us)?);
                Ok(None)
            }
            _ => Ok(Some(Answer::Welcome)),
        }
    }

    fn refuse(&mut self, peer: &[u8], id: u64, reason: Reason, text: String) {
        self.counts.refuse(reason);
        let reply = self.reply(Answer::Refused(reason), id, text);
        self.answer(peer, reply);
    }

    fn reply(&self, answer: Answer, id: u64, text: String) -> Vec<u8> {
        let oldest = match answer {
            Answer::Welcome => self.ring.stats().oldest,
            _ => None,
        };
        (self.us.codec.reply)(&Reply { answer, id, stream: self.us.stream, oldest, text })
    }

    fn answer(&mut self, peer: &[u8], reply: Vec<u8>) {
        match self.known.get_mut(peer) {
            Some(known) if known.replies.len() < REPLIES => known.replies.push(reply),
            None if self.strays.len() < REPLIES => self.strays.push((peer.to_vec(), reply)),
            Some(_) | None => {}
        }
    }
}

impl Peer {
    /// Credit, or the end of an exchange.
    fn go_on(&mut self, request: &Request) -> Result<(), (Reason, String)> {
        let id = request.id;
        if request.ask == Ask::Cancel && id <= self.last {
            self.end(id);
            return Ok(());
        }
        let known = match &mut self.feed {
            Some(feed) if feed.id == id => Some(&mut feed.credit),
            _ => self.repairs.iter_mut().find(|repair| repair.id == id).map(|repair| &mut repair.credit),
        };
        match known.map(|credit| credit.raise(request.credit)) {
            Some(true) => Ok(()),
            Some(false) => {
                self.end(id);
                Err((
                    Reason::OutOfOrder,
                    format!("credit only rises: {} is less than before", request.credit),
                ))
            }
            // It crossed with the end of the exchange.
            None if id <= self.last => Ok(()),
            None => Err((Reason::NeverSent, format!("no exchange {id} was begun"))),
        }
    }

    /// An exchange is over.
    fn end(&mut self, id: u64) {
        self.feed.take_if(|feed| feed.id == id);
        self.repairs.retain(|repair| repair.id != id);
    }

    /// It is this peer's turn.
    fn turn(
        &mut self,
        id: &[u8],
        us: &Us,
        ring: &Ring,
        port: &mut impl Port,
        counts: &mut Counts,
        rest: &mut Rest,
    ) -> Result<(), Blocked> {
        while let Some(reply) = self.replies.first() {
            port.send(id, reply, None)?;
            self.replies.remove(0);
        }
        let mut left = TURN_BYTES;
        let mut next = 0;
        while let Some(repair) = self.repairs.get_mut(next) {
            match repair.step(id, us, ring, port, counts)? {
                Step::Sent(bytes) if bytes < left => left -= bytes,
                Step::Sent(_) => {
                    rest.more = true;
                    return Ok(());
                }
                Step::Over => drop(self.repairs.remove(next)),
                Step::NoCredit | Step::Nothing => next += 1,
            }
        }
        while let Some(feed) = &mut self.feed {
            match feed.step(id, port, counts)? {
                Step::Sent(bytes) if bytes < left => left -= bytes,
                Step::Sent(_) => {
                    rest.more = true;
                    return Ok(());
                }
                Step::Nothing => {
                    rest.on_message = true;
                    break;
                }
                Step::NoCredit | Step::Over => break,
            }
        }
        Ok(())
    }

    /// Tried again after a pause, a longer one each time that nothing went out: a connection that holds a few
    /// small messages is full again and again, and takes more all the same.
    fn set_full(&mut self, now: Duration, takes_some: bool, counts: &mut Counts) {
        counts.full += u64::from(self.full.is_none());
        let longer = |full: &Full| (full.pause * 2).min(AGAIN_AT_MOST);
        let pause = self.full.as_ref().filter(|_| !takes_some).map_or(AGAIN, longer);
        self.full = Some(Full { until: now.saturating_add(pause), pause });
    }
}
