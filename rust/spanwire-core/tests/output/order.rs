//! Order, numbers and marks.

use std::collections::HashMap;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use super::support::{
    ANY_PORT, PATIENCE, Rig, TICK_TOPIC, Told, flow_of, message, next, publish, push, sequence_of, topic,
};
use spanwire_core::output::{Enqueued, OutputSettings, Room};

#[test]
fn a_topic_goes_through_one_sender_and_keeps_its_order() {
    const TOPICS: u64 = 24;
    const EACH: u64 = 300;
    let bind = vec![ANY_PORT.to_owned(); 3];
    // Nothing may be dropped here: room for all of it.
    let settings = OutputSettings { bind, high_water_mark: 100_000, ..publish() };
    let rig = Rig::ticking(&settings, Duration::from_millis(20));
    let subscribers = rig.subscribe();
    // Several threads, each with topics of its own, as partitions have.
    thread::scope(|scope| {
        for first in 0..4 {
            let output = &rig.output;
            scope.spawn(move || {
                for sequence in 0..EACH {
                    for flow in (first..TOPICS).step_by(4) {
                        let sender = &output.senders()[output.sender_for(&topic(flow))];
                        sender.enqueue(message(flow, sequence, b"x"), Room::Wait).unwrap();
                    }
                }
            });
        }
    });
    assert!(rig.output.drain(PATIENCE));
    for (number, mut subscriber) in subscribers.into_iter().enumerate() {
        let here = (0..TOPICS).filter(|&flow| rig.output.sender_for(&topic(flow)) == number);
        let mut expected: HashMap<u64, u64> = here.map(|flow| (flow, 0)).collect();
        assert!(!expected.is_empty(), "topics are spread over all senders");
        while expected.values().any(|&next| next < EACH) {
            let frames = next(&mut subscriber);
            if frames[0] == TICK_TOPIC {
                continue;
            }
            let flow = flow_of(&frames);
            let sequence = expected.get_mut(&flow).expect("a topic of another sender");
            assert_eq!(sequence_of(&frames), *sequence, "flow {flow}");
            *sequence += 1;
        }
    }
}

#[test]
fn a_topic_has_the_same_sender_in_every_process() {
    let rig = Rig::new(&OutputSettings { bind: vec![ANY_PORT.to_owned(); 5], ..publish() });
    let senders: Vec<usize> = (0..8).map(|flow| rig.output.sender_for(&topic(flow))).collect();
    // Frozen: a relay that restarts must not move topics between endpoints.
    assert_eq!(senders, FROZEN);
}

const FROZEN: [usize; 8] = [1, 2, 2, 3, 4, 4, 3, 4];

#[test]
fn a_queued_message_has_a_number_that_taken_reaches_when_it_is_handed_over() {
    let rig = Rig::new(&push());
    let sender = &rig.output.senders()[0];
    for number in 1..=5 {
        assert_eq!(sender.enqueue(message(1, number, b"x"), Room::Wait).unwrap(), Enqueued::Queued(number));
    }
    thread::sleep(Duration::from_millis(50));
    assert_eq!(sender.taken(), 0, "no peer has taken anything");
    let mut pull = rig.pull();
    for number in 1..=5 {
        assert_eq!(sequence_of(&next(&mut pull)), number);
    }
    assert!(rig.output.drain(PATIENCE));
    assert_eq!(sender.taken(), 5);
    assert_eq!(sender.stats().queued_messages, 0);
    assert_eq!(sender.stats().queued_bytes, 0);
}

#[test]
fn a_mark_is_reached_behind_every_message_before_it_and_before_any_behind_it() {
    let rig = Rig::new(&push());
    let sender = &rig.output.senders()[0];
    let mut expected = Vec::new();
    for sequence in 0..300 {
        sender.enqueue(message(1, sequence, b"x"), Room::Wait).unwrap();
        expected.push(Told::Sent { flow: 1, sequence });
        if sequence % 7 == 0 {
            let mark = u32::try_from(sequence).unwrap();
            sender.mark(Arc::new(mark)).unwrap();
            expected.push(Told::Reached(mark));
        }
    }
    thread::sleep(Duration::from_millis(30));
    assert_eq!(rig.told(), [], "nobody has taken anything, so no mark is true");
    let mut pull = rig.pull();
    for _ in 0..300 {
        next(&mut pull);
    }
    assert!(rig.output.drain(PATIENCE));
    assert_eq!(rig.told(), expected);
}
