//! Rings: what stays of what was handed over, and what waits until it is read.

use std::sync::Arc;
use std::thread;
use std::time::Duration;

use super::support::{
    PARTITION, PATIENCE, RING_BODY, Rig, eventually, large, message, named, next, publish, ring, topic,
};
use spanwire_core::Error;
use spanwire_core::output::{Enqueued, Kept, Message, OnFull, Origin, OutputSettings, RING_BYTES};

const SOON: Duration = Duration::from_millis(50);
const ALL: usize = usize::MAX;

fn origin(flow: u64) -> Origin {
    Origin { partition: PARTITION, epoch: flow }
}

fn numbers(flow: u64, sequences: std::ops::RangeInclusive<u64>) -> Vec<Option<(u64, u64)>> {
    sequences.map(|sequence| Some((flow, sequence))).collect()
}

impl Rig {
    fn find(&self, flow: u64, first: u64, last: u64) -> Option<Vec<Arc<Kept>>> {
        self.ring().find(origin(flow), &topic(flow), first, last)
    }

    fn fill(&self, flow: u64, sequences: std::ops::Range<u64>) {
        for sequence in sequences {
            assert!(matches!(self.enqueue(large(flow, sequence)).unwrap(), Enqueued::Queued(_)));
        }
        assert!(self.output.drain(PATIENCE));
    }
}

#[test]
fn what_pub_sent_can_be_had_again_with_the_very_bytes() {
    let rig =
        Rig::ticking(&OutputSettings { ring_bytes: RING_BYTES, ..publish() }, Duration::from_millis(20));
    let mut subscriber = rig.subscribe().remove(0);
    let mut sent = Vec::new();
    for sequence in 0..20 {
        let body = if sequence % 2 == 0 { RING_BODY } else { 20 };
        rig.enqueue(Message { body: vec![3; body], ..message(1, sequence, b"") }).unwrap();
    }
    while sent.len() < 20 {
        let frames = next(&mut subscriber);
        if frames[0] == *topic(1) {
            sent.push(frames);
        }
    }
    let found = rig.find(1, 0, 19).expect("all are there");
    let found: Vec<Vec<Vec<u8>>> =
        found.iter().map(|kept| kept.frames().iter().map(|frame| frame.to_vec()).collect()).collect();
    assert_eq!(found, sent, "the time of sending too");
    assert_eq!(named(&rig.find(1, 7, 9).unwrap()), numbers(1, 7..=9));
}

#[test]
fn only_what_is_there_in_full_is_found() {
    let rig = Rig::new(&ring(OnFull::Detach, 100));
    rig.fill(1, 0..10);
    assert!(rig.find(1, 0, 9).is_some());
    assert!(rig.find(1, 9, 10).is_none(), "the last was never sent");
    assert!(rig.find(1, 10, 10).is_none());
    assert!(rig.find(1, 0, u64::MAX).is_none());
    assert!(rig.find(1, u64::MAX, u64::MAX).is_none());
    assert!(rig.find(1, 5, 4).is_none(), "the wrong way round");
    assert!(rig.find(2, 0, 0).is_none(), "no such flow");
    assert!(rig.ring().find(origin(1), b"db/stream/table", 0, 0).is_none(), "a topic in full, or none");
    let elsewhere = Origin { partition: [8; 16], epoch: 1 };
    assert!(rig.ring().find(elsewhere, &topic(1), 0, 0).is_none());
}

#[test]
fn the_oldest_make_room_and_memory_stays_within_the_bound() {
    let rig = Rig::new(&ring(OnFull::Detach, 10));
    rig.fill(1, 0..100);
    rig.fill(2, 0..3);
    let stats = rig.ring().stats();
    assert!(stats.bytes <= stats.max_bytes, "{stats:?}");
    assert!((9..=12).contains(&stats.messages), "{stats:?}");
    assert_eq!(stats.flows, 2);
    let oldest = 103 - stats.messages as u64;
    assert_eq!(stats.oldest.unwrap().seconds, i64::try_from(oldest).unwrap());
    assert!(rig.find(1, oldest, 99).is_some());
    assert!(rig.find(1, oldest - 1, 99).is_none());
    assert!(rig.find(2, 0, 2).is_some());
    rig.fill(2, 3..30);
    assert_eq!(rig.ring().stats().flows, 1, "nothing is kept of a flow whose messages have all gone");
}

#[test]
fn a_message_larger_than_the_ring_is_there_alone() {
    let rig = Rig::new(&OutputSettings { ring_bytes: 1, ..ring(OnFull::Detach, 1) });
    rig.fill(1, 0..3);
    assert!(rig.find(1, 2, 2).is_some());
    assert!(rig.find(1, 1, 1).is_none());
}

#[test]
fn a_buffer_goes_back_to_the_pool_when_the_ring_and_all_readers_let_go() {
    let rig = Rig::new(&ring(OnFull::Detach, 4));
    let pooled = |sequence| {
        let mut body = rig.pool.take(RING_BODY);
        body.resize(RING_BODY, 1);
        Message { body, ..message(1, sequence, b"") }
    };
    rig.enqueue(pooled(0)).unwrap();
    assert!(rig.output.drain(PATIENCE));
    let held = rig.find(1, 0, 0).unwrap();
    rig.fill(1, 1..10);
    assert!(rig.find(1, 0, 0).is_none());
    let before = rig.pool.bytes();
    assert_eq!(held[0].frames()[3], [1; RING_BODY], "it is out of the ring, and still whole");
    drop(held);
    assert!(rig.pool.bytes() >= before + RING_BODY);
}

#[test]
fn a_full_ring_goes_round_in_the_buffers_it_has() {
    const RING: usize = 2 << 20;
    let rig = Rig::new(&OutputSettings { ring_bytes: RING, ..ring(OnFull::Detach, 1) });
    // Sizes on both sides of every bound, and in stretches, as load comes: small ones, large ones, both.
    let sizes = [300, 5_000, 9_000, 17_000, 30_000, 33_000, 66_000, 90_000, 400_000];
    for sequence in 0..4_000 {
        let stretch = usize::try_from(sequence).unwrap() / 250;
        let size = sizes[(usize::try_from(sequence).unwrap() * 5 % 7 * stretch + stretch) % sizes.len()];
        let mut body = rig.pool.take(64 << 10);
        body.resize(size, 1);
        rig.enqueue(Message { body, ..message(1, sequence, b"") }).unwrap();
        assert!(rig.output.drain(PATIENCE));
    }
    let free = rig.pool.bytes();
    assert!(free <= RING, "{free} bytes are kept free beside a ring of {RING}");
}

#[test]
fn a_reader_has_its_topics_and_every_tick_in_order() {
    let rig = Rig::ticking(&ring(OnFull::Detach, 1_000), Duration::from_millis(2));
    let mut early = rig.ring().reader(vec![b"db/stream/table1/".to_vec()], false).unwrap();
    rig.fill(1, 0..20);
    rig.fill(2, 0..20);
    let mut read = Vec::new();
    while read.iter().flatten().count() < 20 || !read.contains(&None) {
        read.extend(named(&early.read(PATIENCE, 3 * RING_BODY).unwrap()));
    }
    read.retain(Option::is_some);
    assert_eq!(read, numbers(1, 0..=19));
    assert_eq!(early.missed(), 0);
    let late = rig.ring().reader(vec![Vec::new()], true).unwrap().read(PATIENCE, ALL).unwrap();
    assert_eq!(named(&late).into_iter().flatten().count(), 40, "from the oldest on");
    let mut latest = rig.ring().reader(vec![Vec::new()], false).unwrap();
    assert_eq!(named(&latest.read(PATIENCE, ALL).unwrap())[0], None, "from now on there are only ticks");
}

#[test]
fn a_read_gives_no_more_bytes_than_asked_for_but_one_message_at_least() {
    let rig = Rig::new(&ring(OnFull::Detach, 100));
    rig.fill(1, 0..10);
    let mut reader = rig.ring().reader(vec![Vec::new()], true).unwrap();
    assert_eq!(named(&reader.read(SOON, 0).unwrap()), numbers(1, 0..=0));
    assert_eq!(named(&reader.read(SOON, 3 * (RING_BODY + 100)).unwrap()), numbers(1, 1..=3));
    assert_eq!(named(&reader.read(SOON, ALL).unwrap()), numbers(1, 4..=9));
    assert_eq!(reader.read(Duration::ZERO, ALL).unwrap().len(), 0);
}

#[test]
fn a_reader_that_was_passed_goes_on_at_the_oldest_and_knows_how_many_it_missed() {
    let rig = Rig::new(&ring(OnFull::Detach, 10));
    let mut reader = rig.ring().reader(vec![b"none of these".to_vec(), topic(1).to_vec()], false).unwrap();
    rig.fill(1, 0..50);
    let read = named(&reader.read(PATIENCE, ALL).unwrap());
    let first = read[0].unwrap().1;
    assert_eq!(read, numbers(1, first..=49));
    assert_eq!(reader.missed(), first);
}

#[test]
fn a_ring_that_waits_holds_the_sender_until_its_reader_has_read() {
    let rig = Rig::new(&OutputSettings { queue_messages: 4, ..ring(OnFull::Block, 10) });
    let stats = || rig.output.senders()[0].stats();
    thread::scope(|scope| {
        scope
            .spawn(|| (0..100).try_for_each(|sequence| rig.enqueue(large(1, sequence)).map(|_| ())).unwrap());
        eventually("the ring and the queue are full", || stats().queued_messages >= 4);
        thread::sleep(Duration::from_millis(100));
        assert!(stats().stuck >= SOON, "{:?}", stats().stuck);
        let held = rig.ring().stats();
        assert!(held.bytes < held.max_bytes + 2 * RING_BODY, "{held:?}");
        assert!(!rig.output.drain(SOON), "not all was read");
        let mut reader = rig.ring().reader(vec![Vec::new()], false).unwrap();
        let mut read = Vec::new();
        while read.len() < 100 {
            read.extend(named(&reader.read(PATIENCE, 2 * RING_BODY).unwrap()));
        }
        assert_eq!(read, numbers(1, 0..=99), "it begins at the oldest, whatever it asks for");
        assert_eq!(reader.missed(), 0);
    });
    assert!(rig.output.drain(PATIENCE));
    let left = rig.ring().stats();
    assert_eq!((left.bytes, left.messages, left.flows), (0, 0, 0), "what was read is dropped");
}

#[test]
fn a_mark_is_confirmed_once_all_before_it_was_read() {
    let rig = Rig::new(&ring(OnFull::Block, 100));
    let sender = &rig.output.senders()[0];
    sender.mark(Arc::new(1_u32)).unwrap();
    eventually("nothing is before it", || rig.confirmed() == [1]);
    for sequence in 0..10 {
        rig.enqueue(large(1, sequence)).unwrap();
        sender.mark(Arc::new(100 + u32::try_from(sequence).unwrap())).unwrap();
    }
    eventually("all is in the ring", || rig.ring().stats().messages == 10 && sender.taken() == 21);
    assert_eq!(rig.confirmed(), [1], "nothing was read");
    let mut reader = rig.ring().reader(vec![Vec::new()], false).unwrap();
    for sequence in 0..9_u32 {
        assert_eq!(reader.read(PATIENCE, 0).unwrap().len(), 1);
        assert_eq!(rig.confirmed().last(), Some(&(100 + sequence)), "at once, and in order");
    }
    assert_eq!(rig.confirmed().len(), 10);
    drop(reader);
    let mut other = rig.ring().reader(vec![b"nobody's".to_vec()], false).unwrap();
    assert_eq!(other.read(SOON, ALL).unwrap().len(), 0);
    assert_eq!(rig.confirmed().last(), Some(&109), "what is not for the reader counts as read by it");
    assert!(rig.output.drain(PATIENCE));
}

#[test]
fn a_ring_that_overwrites_confirms_at_once() {
    let rig = Rig::new(&ring(OnFull::Detach, 2));
    rig.fill(1, 0..10);
    rig.output.senders()[0].mark(Arc::new(5_u32)).unwrap();
    eventually("it does not wait for readers", || rig.confirmed() == [5]);
}

#[test]
fn a_ring_that_waits_has_one_reader_at_a_time() {
    let rig = Rig::new(&ring(OnFull::Block, 10));
    let first = rig.ring().reader(vec![Vec::new()], false).unwrap();
    let text = rig.ring().reader(vec![Vec::new()], false).unwrap_err().to_string();
    assert!(text.starts_with("on_full: "), "{text}");
    drop(first);
    rig.ring().reader(vec![Vec::new()], false).unwrap();
}

#[test]
fn closing_frees_the_sender_that_waits_and_readers_read_to_the_end() {
    let rig = Rig::new(&OutputSettings { queue_messages: 2, ..ring(OnFull::Block, 4) });
    let mut reader = rig.ring().reader(vec![Vec::new()], false).unwrap();
    thread::scope(|scope| {
        let sending =
            scope.spawn(|| (0..100).try_for_each(|sequence| rig.enqueue(large(1, sequence)).map(|_| ())));
        eventually("the sender waits", || rig.output.senders()[0].stats().stuck > SOON);
        rig.output.close();
        assert_eq!(sending.join().unwrap().unwrap_err(), Error::Closed);
    });
    let read = reader.read(PATIENCE, ALL).unwrap();
    assert_eq!(named(&read)[..3], numbers(1, 0..=2));
    assert_eq!(reader.read(PATIENCE, ALL).unwrap_err(), Error::Closed);
    assert!(!rig.output.drain(SOON), "not all was handed over");
}

#[test]
fn a_reader_that_waits_hears_of_the_end() {
    let rig = Rig::new(&ring(OnFull::Detach, 4));
    let mut reader = rig.ring().reader(vec![b"none".to_vec()], false).unwrap();
    thread::scope(|scope| {
        let waiting = scope.spawn(move || {
            loop {
                // The last tick is for everybody.
                if let Err(error) = reader.read(PATIENCE, ALL) {
                    return error;
                }
            }
        });
        thread::sleep(SOON);
        rig.output.close();
        assert_eq!(waiting.join().unwrap(), Error::Closed);
    });
}

#[test]
fn settings_that_cannot_work_are_refused() {
    let refused = |settings: OutputSettings| match settings.validate() {
        Err(Error::Config { setting, .. }) => setting,
        other => panic!("{other:?}"),
    };
    let good = ring(OnFull::Detach, 1);
    assert_eq!(refused(OutputSettings { bind: vec!["tcp://127.0.0.1:*".into()], ..good.clone() }), "bind");
    assert_eq!(refused(OutputSettings { ring_bytes: 0, ..good }), "ring_bytes");
    assert_eq!(refused(OutputSettings { ring_bytes: 1, ..super::support::push() }), "ring_bytes");
}
