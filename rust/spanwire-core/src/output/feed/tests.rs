//! Peers, exchanges and credit, without sockets or clock.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use proptest::prelude::*;
use serde_json::{Value, json};

use super::super::format::{Format, Origin};
use super::super::kept::Kept;
use super::super::message::Message;
use super::super::pages::Pages;
use super::super::ring::{Policy, Ring};
use super::peers::{Blocked, Incoming, Limits, Peers, Port, Us};
use super::protocol::{Answer, Ask, Codec, MAX_REQUEST_BYTES, Reason, Reply, Request};
use crate::change::Timestamp;
use crate::error::Error;

const PARTITION: [u8; 16] = [7; 16];
const INCARNATION: u64 = 99;
const OUTPUT: u16 = 2;
const STREAM: [u8; 16] = [5; 16];
const BODY: usize = 1_000;
const SECOND: Duration = Duration::from_secs(1);
const ZERO: Duration = Duration::ZERO;
/// More than any test sends.
const ALL: u64 = 1 << 40;

const FORMAT: Format = Format {
    stamp: |_, _| {},
    origin: |header| Some(Origin { partition: PARTITION, epoch: u64::from(*header.first()?) }),
    last_commit: |header| Some(Timestamp { seconds: i64::from(*header.first()?), nanos: 0 }),
};

/// Requests and replies as JSON.
const CODEC: Codec = Codec {
    request: |frame| {
        let read: Value = serde_json::from_slice(frame).map_err(|_| Error::format("no JSON"))?;
        let number = |name: &str| read[name].as_u64().unwrap_or(0);
        Ok(Request {
            ask: match read["ask"].as_str().unwrap_or("") {
                "hello" => Ask::Hello,
                "credit" => Ask::Credit,
                "cancel" => Ask::Cancel,
                "ping" => Ask::Ping,
                "heads" => Ask::Heads,
                "repair" => Ask::Repair,
                "feed" => Ask::Feed,
                _ => Ask::Other("snapshot"),
            },
            id: number("id"),
            credit: number("credit"),
            output: u16::try_from(number("output")).unwrap(),
            topics: serde_json::from_value(read["topics"].clone()).unwrap_or_default(),
            stream: read["stream"].as_u64().map(|byte| [u8::try_from(byte).unwrap(); 16]),
            incarnation: number("incarnation"),
            partition: read["partition"].as_u64().map(|byte| [u8::try_from(byte).unwrap(); 16]),
            epoch: number("epoch"),
            first: number("first"),
            last: number("last"),
        })
    },
    reply: |reply: &Reply| {
        let name = |known: Reason| Reason::ALL.iter().find(|(reason, _)| *reason == known).unwrap().1;
        let answer = match reply.answer {
            Answer::Welcome => "welcome",
            Answer::Message => "message",
            Answer::Done => "done",
            Answer::Pong => "pong",
            Answer::Refused(reason) => name(reason),
        };
        json!([answer, reply.id]).to_string().into_bytes()
    },
};

/// A message as it was sent: flow and sequence, ticks as none.
type Named = Option<(u64, u64)>;

#[derive(Debug, Clone, PartialEq, Eq)]
struct Sent {
    answer: String,
    id: u64,
    message: Option<Named>,
}

/// Takes everything, but for those who are full or gone.
#[derive(Default)]
struct Socket {
    sent: HashMap<Vec<u8>, Vec<Sent>>,
    full: Vec<Vec<u8>>,
    gone: Vec<Vec<u8>>,
    /// So many more until everybody is full; none: nobody ever is.
    room: Option<usize>,
    tries: usize,
}

impl Port for Socket {
    fn send(&mut self, peer: &[u8], reply: &[u8], message: Option<&Arc<Kept>>) -> Result<(), Blocked> {
        self.tries += 1;
        if self.gone.iter().any(|gone| gone == peer) {
            return Err(Blocked::Gone);
        }
        if self.full.iter().any(|full| full == peer) {
            return Err(Blocked::Full);
        }
        if let Some(room) = &mut self.room {
            if *room == 0 {
                return Err(Blocked::Full);
            }
            *room -= 1;
        }
        let (answer, id): (String, u64) = serde_json::from_slice(reply).unwrap();
        let name = |kept: &Arc<Kept>| (!kept.tick).then_some((kept.message.flow, kept.message.sequence));
        self.sent.entry(peer.to_vec()).or_default().push(Sent { answer, id, message: message.map(name) });
        Ok(())
    }
}

struct Rig {
    ring: Arc<Ring>,
    pages: Pages,
    peers: Peers,
    socket: Socket,
    now: Duration,
    next: HashMap<u64, u64>,
}

impl Rig {
    fn new() -> Self {
        Self::with(1 << 30, 3)
    }

    fn with(ring_bytes: usize, peers: usize) -> Self {
        let ring = Arc::new(Ring::new(Policy::Overwrite, ring_bytes, FORMAT));
        let us = Us { output: OUTPUT, incarnation: INCARNATION, stream: Some(STREAM), codec: CODEC };
        let limits = Limits { peers, exchanges: 4, silence: 30 * SECOND };
        let peers = Peers::new(us, limits, Arc::clone(&ring));
        let (pages, socket) = (Pages::new(Arc::default()), Socket::default());
        Self { ring, pages, peers, socket, now: ZERO, next: HashMap::new() }
    }

    /// The next message of a flow is handed over.
    #[allow(clippy::unnecessary_wraps)] // as what was sent is named
    fn put(&mut self, flow: u64) -> Named {
        let next = self.next.entry(flow).or_default();
        let sequence = *next;
        *next += 1;
        self.push(flow, sequence, format!("t{flow}/").as_bytes(), false);
        Some((flow, sequence))
    }

    fn tick(&mut self) {
        self.push(u64::MAX, 0, b"_tick/", true);
    }

    fn push(&mut self, flow: u64, sequence: u64, topic: &[u8], tick: bool) {
        let message = Message {
            flow,
            sequence,
            topic: Arc::from(topic),
            header: vec![u8::try_from(flow.min(200)).unwrap()],
            columns: Arc::from(*b"c"),
            body: vec![0; BODY],
            changes: 1,
        };
        assert!(self.ring.try_push(&Arc::new(Kept::new(message, tick, &mut self.pages))).unwrap());
    }

    fn says(&mut self, peer: &str, request: &Value) {
        self.frames(peer, request.to_string().into_bytes(), 1);
    }

    fn frames(&mut self, peer: &str, frame: Vec<u8>, frames: usize) {
        let bytes = frame.len();
        self.peers.take(&Incoming { peer: peer.into(), frame, frames, bytes }, self.now);
    }

    fn serve(&mut self) {
        while self.peers.serve(&mut self.socket, self.now).more {}
    }

    /// What a peer was sent since this was asked last.
    fn hears(&mut self, peer: &str) -> Vec<Sent> {
        self.serve();
        self.socket.sent.remove(peer.as_bytes()).unwrap_or_default()
    }

    /// The same, in short: answers with their exchange.
    fn answers(&mut self, peer: &str) -> Vec<(String, u64)> {
        self.hears(peer).into_iter().map(|sent| (sent.answer, sent.id)).collect()
    }

    fn messages(&mut self, peer: &str) -> Vec<Named> {
        self.hears(peer).into_iter().filter_map(|sent| sent.message).collect()
    }

    fn refused(&self, reason: Reason) -> u64 {
        self.peers.counts().refused[reason as usize]
    }
}

fn feed(id: u64, credit: u64) -> Value {
    json!({"ask": "feed", "id": id, "credit": credit, "topics": ["t1/", "t2/"]})
}

fn repair(id: u64, flow: u64, first: u64, last: u64, credit: u64) -> Value {
    json!({"ask": "repair", "id": id, "credit": credit, "topics": [format!("t{flow}/")], "output": OUTPUT,
           "incarnation": INCARNATION, "partition": 7, "epoch": flow, "first": first, "last": last})
}

fn is(answer: &str, id: u64) -> (String, u64) {
    (answer.to_owned(), id)
}

#[test]
fn a_feed_is_everything_of_its_topics_and_every_tick_from_now_on() {
    let mut rig = Rig::new();
    rig.put(1);
    rig.says("a", &feed(1, ALL));
    assert_eq!(rig.answers("a"), [is("welcome", 1)]);
    assert!(rig.peers.take_heads_asked(), "it must hear soon where everything stands");
    assert!(!rig.peers.take_heads_asked());
    let (one, _, two) = (rig.put(1), rig.put(3), rig.put(2));
    rig.tick();
    let heard = rig.hears("a");
    assert!(heard.iter().all(|sent| (sent.answer.as_str(), sent.id) == ("message", 1)));
    assert_eq!(heard.into_iter().filter_map(|sent| sent.message).collect::<Vec<_>>(), [one, two, None]);
}

#[test]
fn a_connection_that_takes_a_few_at_a_time_is_come_back_to_soon() {
    let mut rig = Rig::new();
    rig.says("a", &feed(1, ALL));
    assert_eq!(rig.answers("a"), [is("welcome", 1)]);
    for _ in 0..100 {
        rig.put(1);
    }
    let mut heard = 0;
    for _ in 0..50 {
        rig.socket.room = Some(2);
        heard += rig.messages("a").len();
        rig.now += Duration::from_millis(5);
    }
    assert_eq!(heard, 100, "the pause grew although something went out each time");
}

#[test]
fn nothing_is_sent_once_the_credit_is_used_up() {
    let mut rig = Rig::new();
    // Frames: topic 3, header 1, columns 1.
    let each = BODY as u64 + 5;
    rig.says("a", &feed(1, 2 * each));
    let sent: Vec<Named> = (0..10).map(|_| rig.put(1)).collect();
    assert_eq!(rig.messages("a"), sent[..2]);
    assert_eq!(rig.peers.counts().credit_waits, 1);
    rig.says("a", &json!({"ask": "credit", "id": 1, "credit": 2 * each}));
    assert_eq!(rig.messages("a"), []);
    rig.says("a", &json!({"ask": "credit", "id": 1, "credit": 2 * each + 1}));
    assert_eq!(rig.messages("a"), sent[2..3], "one may go past it, as it may be larger than any");
    rig.says("a", &json!({"ask": "credit", "id": 1, "credit": ALL}));
    assert_eq!(rig.messages("a"), sent[3..]);
    assert_eq!(rig.peers.counts().credit_waits, 2);
    assert_eq!((rig.peers.counts().messages, rig.peers.counts().bytes), (10, 10 * each));
}

#[test]
fn a_feed_that_the_ring_has_passed_goes_on_at_the_oldest_and_is_counted() {
    let mut rig = Rig::with(20 * BODY, 3);
    rig.says("a", &feed(1, 0));
    rig.serve();
    for _ in 0..100 {
        rig.put(1);
    }
    rig.says("a", &json!({"ask": "credit", "id": 1, "credit": ALL}));
    let heard = rig.messages("a");
    assert_eq!(*heard.last().unwrap(), Some((1, 99)));
    assert_eq!(heard.len() as u64 + rig.peers.counts().missed, 100);
}

#[test]
fn a_repair_gives_the_very_messages_and_says_that_it_is_done() {
    let mut rig = Rig::new();
    for _ in 0..10 {
        rig.put(1);
        rig.put(2);
    }
    rig.says("a", &repair(1, 1, 3, 5, ALL));
    rig.says("a", &repair(2, 2, 9, 9, 1));
    let heard: Vec<_> = rig.hears("a").into_iter().map(|sent| (sent.id, sent.message.flatten())).collect();
    let expected =
        [(1, Some((1, 3))), (1, Some((1, 4))), (1, Some((1, 5))), (1, None), (2, Some((2, 9))), (2, None)];
    assert_eq!(heard, expected);
    assert_eq!(rig.peers.exchanges(), 0);
}

#[test]
fn one_repair_without_credit_does_not_hold_up_another() {
    let mut rig = Rig::new();
    rig.put(1);
    rig.says("a", &repair(1, 1, 0, 0, 0));
    rig.says("a", &repair(2, 1, 0, 0, ALL));
    rig.says("a", &repair(3, 1, 7, 8, 0));
    assert_eq!(rig.answers("a"), [is("message", 2), is("done", 2), is("gone", 3)]);
    rig.says("a", &json!({"ask": "credit", "id": 1, "credit": 1}));
    assert_eq!(rig.answers("a"), [is("message", 1), is("done", 1)]);
}

#[test]
fn what_a_repair_cannot_have_is_refused_by_its_reason() {
    let mut rig = Rig::with(20 * BODY, 3);
    for _ in 0..100 {
        rig.put(1);
    }
    rig.says("a", &repair(1, 1, 0, 99, ALL));
    let mut other = repair(2, 1, 99, 99, ALL);
    other["incarnation"] = json!(1);
    rig.says("a", &other);
    other = repair(3, 1, 99, 99, ALL);
    other["output"] = json!(0);
    rig.says("a", &other);
    other = repair(4, 1, 99, 99, ALL);
    other["topics"] = json!(["t1/", "t2/"]);
    rig.says("a", &other);
    other = repair(5, 1, 99, 99, ALL);
    other["partition"] = Value::Null;
    rig.says("a", &other);
    rig.says("a", &repair(6, 1, 9, 8, ALL));
    let mut heard = rig.answers("a");
    heard.sort_by_key(|(_, id)| *id);
    let expected = [
        is("gone", 1),
        is("gone", 2),
        is("unknownOutput", 3),
        is("malformed", 4),
        is("malformed", 5),
        is("malformed", 6),
    ];
    assert_eq!(heard, expected);
    assert_eq!((rig.refused(Reason::Gone), rig.refused(Reason::Malformed)), (2, 3));
}

#[test]
fn a_repair_whose_messages_go_while_it_has_no_credit_is_told_so() {
    let mut rig = Rig::with(20 * BODY, 3);
    for _ in 0..5 {
        rig.put(1);
    }
    rig.says("a", &repair(1, 1, 0, 4, 1));
    assert_eq!(rig.answers("a"), [is("message", 1)]);
    for _ in 0..50 {
        rig.put(1);
    }
    assert_eq!(rig.answers("a"), [is("gone", 1)]);
    assert_eq!(rig.peers.exchanges(), 0);
}

#[test]
fn whatever_is_no_request_is_refused_and_changes_nothing() {
    let mut rig = Rig::new();
    rig.frames("a", b"garbage".to_vec(), 1);
    rig.frames("a", b"{}".to_vec(), 2);
    rig.frames("a", Vec::new(), 0);
    rig.frames("a", vec![b' '; MAX_REQUEST_BYTES + 1], 1);
    assert_eq!(
        rig.answers("a"),
        [is("malformed", 0), is("malformed", 0), is("malformed", 0), is("tooLarge", 0)]
    );
    assert_eq!(rig.peers.len(), 0, "who says nothing sensible is no peer");
    rig.says("a", &json!({"ask": "something", "id": 9}));
    assert_eq!(rig.answers("a"), [is("unknownKind", 9)]);
}

#[test]
fn a_peer_is_told_who_we_are_and_that_we_are_there() {
    let mut rig = Rig::new();
    rig.says("a", &json!({"ask": "hello", "id": 1, "stream": 5}));
    rig.says("a", &json!({"ask": "hello", "id": 2, "stream": 6}));
    rig.says("a", &json!({"ask": "ping", "id": 0}));
    rig.says("a", &json!({"ask": "heads", "id": 3}));
    assert_eq!(rig.answers("a"), [is("welcome", 1), is("otherStream", 2), is("pong", 0), is("done", 3)]);
    assert!(rig.peers.take_heads_asked());
}

#[test]
fn exchanges_out_of_order_are_refused_and_over() {
    let mut rig = Rig::new();
    rig.says("a", &feed(5, ALL));
    rig.says("a", &feed(6, ALL));
    rig.says("a", &json!({"ask": "credit", "id": 9, "credit": 1}));
    rig.says("a", &json!({"ask": "cancel", "id": 9}));
    rig.says("a", &json!({"ask": "cancel", "id": 3}));
    assert_eq!(
        rig.answers("a"),
        [is("welcome", 5), is("tooMany", 6), is("neverSent", 9), is("neverSent", 9)]
    );
    rig.says("a", &json!({"ask": "credit", "id": 5, "credit": 1}));
    assert_eq!(rig.answers("a"), [is("outOfOrder", 5)]);
    rig.put(1);
    assert_eq!(rig.answers("a"), [], "a refusal is the end of an exchange");
    rig.says("a", &feed(7, ALL));
    rig.says("a", &json!({"ask": "cancel", "id": 7}));
    rig.put(1);
    rig.says("a", &feed(7, ALL));
    assert_eq!(rig.answers("a"), [is("welcome", 7), is("outOfOrder", 7)]);
    assert_eq!(rig.peers.exchanges(), 0);
}

#[test]
fn more_than_is_allowed_is_refused_and_the_others_go_on() {
    let mut rig = Rig::with(1 << 20, 2);
    rig.says("a", &feed(1, ALL));
    rig.says("b", &json!({"ask": "ping", "id": 0}));
    rig.says("c", &feed(1, ALL));
    rig.put(1);
    assert_eq!(rig.answers("c"), [is("tooMany", 1)]);
    assert_eq!(rig.peers.len(), 2);
    for id in 1..=5 {
        rig.says("b", &repair(id, 1, 0, 0, 0));
    }
    assert_eq!(rig.answers("b"), [is("pong", 0), is("tooMany", 5)]);
    assert_eq!(rig.messages("a").len(), 1);
    rig.socket.gone.push(b"b".to_vec());
    rig.says("b", &json!({"ask": "ping", "id": 0}));
    rig.serve();
    rig.says("c", &feed(2, ALL));
    assert_eq!(
        rig.answers("c"),
        [is("welcome", 2)],
        "a peer that is gone is forgotten, and leaves its place"
    );
}

#[test]
fn a_connection_that_takes_nothing_holds_up_nobody_and_is_tried_ever_more_rarely() {
    let mut rig = Rig::new();
    rig.says("a", &feed(1, ALL));
    rig.says("b", &feed(1, ALL));
    rig.serve();
    rig.socket.full.push(b"a".to_vec());
    let sent: Vec<Named> = (0..10).map(|_| rig.put(1)).collect();
    assert_eq!(rig.messages("b"), sent);
    rig.socket.sent.clear();
    rig.socket.tries = 0;
    let mut waits = 0;
    while rig.now < SECOND {
        let rest = rig.peers.serve(&mut rig.socket, rig.now);
        assert!(!rest.more);
        let at = rest.at.expect("it is tried again");
        assert!(at > rig.now && at <= rig.now + Duration::from_millis(100));
        rig.now = at;
        waits += 1;
    }
    assert!(rig.socket.tries <= waits && waits < 20, "{waits}");
    assert_eq!(rig.peers.counts().full, 1);
    rig.socket.full.clear();
    rig.now += SECOND;
    assert_eq!(rig.messages("a")[..], sent[..], "nothing was lost");
}

#[test]
fn who_falls_silent_is_told_and_forgotten() {
    let mut rig = Rig::new();
    rig.says("a", &feed(1, 0));
    rig.says("b", &json!({"ask": "ping", "id": 0}));
    rig.serve();
    rig.socket.sent.clear();
    rig.now = 29 * SECOND;
    rig.says("b", &json!({"ask": "ping", "id": 0}));
    let rest = rig.peers.serve(&mut rig.socket, rig.now);
    assert_eq!(rest.at, Some(30 * SECOND));
    rig.now = 30 * SECOND;
    assert_eq!(rig.answers("a"), [is("busy", 1)]);
    assert_eq!((rig.peers.len(), rig.peers.counts().silent), (1, 1));
}

#[test]
fn with_nothing_to_do_there_is_nothing_to_wait_for() {
    let mut rig = Rig::new();
    let rest = rig.peers.serve(&mut rig.socket, rig.now);
    assert_eq!((rest.more, rest.on_message, rest.at), (false, false, None));
    rig.says("a", &feed(1, 0));
    rig.put(1);
    rig.peers.serve(&mut rig.socket, rig.now);
    let rest = rig.peers.serve(&mut rig.socket, rig.now);
    assert!(!rest.on_message, "what comes is not for who has no credit");
    rig.says("a", &json!({"ask": "credit", "id": 1, "credit": ALL}));
    assert!(rig.peers.serve(&mut rig.socket, rig.now).on_message);
}

#[test]
fn replies_to_who_does_not_read_are_bounded() {
    let mut rig = Rig::new();
    rig.socket.full.push(b"a".to_vec());
    for _ in 0..10_000 {
        rig.says("a", &json!({"ask": "ping", "id": 0}));
        rig.frames("stranger", b"garbage".to_vec(), 1);
    }
    rig.serve();
    rig.socket.full.clear();
    rig.now += SECOND;
    assert!((1..=100).contains(&rig.answers("a").len()));
    assert!(rig.answers("stranger").len() <= 100);
}

#[derive(Debug, Clone)]
enum Step {
    Put(u64),
    Tick,
    Credit(usize, u64),
    Full(usize, bool),
    Serve(u64),
    Garbage(usize),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        6 => (1..4_u64).prop_map(Step::Put),
        1 => Just(Step::Tick),
        4 => (0..3_usize, 0..4_000_u64).prop_map(|(peer, more)| Step::Credit(peer, more)),
        2 => (0..3_usize, any::<bool>()).prop_map(|(peer, full)| Step::Full(peer, full)),
        4 => (0..100_u64).prop_map(Step::Serve),
        1 => (0..3_usize).prop_map(Step::Garbage),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]
    #[test]
    fn whatever_happens_each_peer_has_all_in_order_within_its_credit(
        steps in proptest::collection::vec(step(), 1..200)
    ) {
        let names = ["a", "b", "c"];
        let topics = [json!(["t1/", "t2/"]), json!([""]), json!(["t3/"])];
        let wanted = |peer: usize, name: &Named| match (peer, name) {
            (_, None) | (1, _) => true,
            (0, Some((flow, _))) => *flow < 3,
            (_, Some((flow, _))) => *flow == 3,
        };
        let mut rig = Rig::new();
        let mut credit = [0_u64; 3];
        let mut heard: [Vec<Named>; 3] = Default::default();
        let mut put: Vec<Named> = Vec::new();
        for (name, topics) in names.iter().zip(&topics) {
            rig.says(name, &json!({"ask": "feed", "id": 1, "topics": topics}));
        }
        let collect = |rig: &mut Rig, heard: &mut [Vec<Named>; 3]| {
            for (name, heard) in names.iter().zip(heard) {
                let sent = rig.socket.sent.remove(name.as_bytes()).unwrap_or_default();
                heard.extend(sent.into_iter().filter_map(|sent| sent.message));
            }
        };
        let check = |heard: &[Vec<Named>; 3], put: &[Named], credit: &[u64; 3]| {
            for peer in 0..3 {
                let mine: Vec<Named> = put.iter().copied().filter(|name| wanted(peer, name)).collect();
                assert!(mine.starts_with(&heard[peer]));
                // All frames but the last were within the credit. A tick's topic is three bytes longer.
                let bytes = |name: &Named| BODY as u64 + if name.is_some() { 5 } else { 8 };
                let before: u64 = heard[peer].iter().rev().skip(1).map(bytes).sum();
                assert!(heard[peer].is_empty() || before < credit[peer]);
            }
        };
        for step in steps {
            match step {
                Step::Put(flow) => put.push(rig.put(flow)),
                Step::Tick => { rig.tick(); put.push(None); }
                Step::Credit(peer, more) => {
                    credit[peer] += more;
                    rig.says(names[peer], &json!({"ask": "credit", "id": 1, "credit": credit[peer]}));
                }
                Step::Full(peer, full) => {
                    rig.socket.full.retain(|name| name != names[peer].as_bytes());
                    if full { rig.socket.full.push(names[peer].into()); }
                }
                Step::Serve(milliseconds) => {
                    rig.now += Duration::from_millis(milliseconds);
                    rig.serve();
                    collect(&mut rig, &mut heard);
                    check(&heard, &put, &credit);
                }
                Step::Garbage(peer) => rig.frames(names[peer], b"garbage".to_vec(), 1),
            }
        }
        rig.socket.full.clear();
        for (name, credit) in names.iter().zip(&mut credit) {
            *credit = ALL;
            rig.says(name, &json!({"ask": "credit", "id": 1, "credit": ALL}));
        }
        rig.now += SECOND;
        rig.serve();
        collect(&mut rig, &mut heard);
        check(&heard, &put, &credit);
        for (peer, heard) in heard.iter().enumerate() {
            prop_assert_eq!(heard.len(), put.iter().filter(|name| wanted(peer, name)).count());
        }
    }
}
