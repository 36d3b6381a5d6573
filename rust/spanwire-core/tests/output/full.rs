//! A full queue: who waits, and what is left out.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::Duration;

use super::support::{PATIENCE, Rig, Told, eventually, message, next, push, sequence_of};
use spanwire_core::output::{Enqueued, Message, OnFull, OutputSettings};

#[test]
fn block_holds_the_caller_and_loses_nothing() {
    const MESSAGES: u64 = 200;
    let rig = Rig::new(&OutputSettings { queue_messages: 4, ..push() });
    let queued = AtomicU64::new(0);
    thread::scope(|scope| {
        scope.spawn(|| {
            for sequence in 0..MESSAGES {
                rig.enqueue(message(1, sequence, b"x")).unwrap();
                queued.fetch_add(1, Ordering::Relaxed);
            }
        });
        eventually("the queue is full", || queued.load(Ordering::Relaxed) == 4);
        thread::sleep(Duration::from_millis(100));
        assert_eq!(
            queued.load(Ordering::Relaxed),
            4,
            "without a peer nothing leaves, so nothing more comes in"
        );
        assert_eq!(rig.output.senders()[0].stats().queued_messages, 4);
        let mut pull = rig.pull();
        for sequence in 0..MESSAGES {
            assert_eq!(sequence_of(&next(&mut pull)), sequence);
        }
    });
    let stats = rig.output.senders()[0].stats();
    assert!(stats.blocked >= Duration::from_millis(90), "blocked {:?}", stats.blocked);
    assert!(stats.stuck >= Duration::from_millis(90), "stuck {:?}", stats.stuck);
    assert_eq!((stats.messages, stats.skipped_messages), (MESSAGES, 0));
}

#[test]
fn bytes_bound_the_queue_too_and_one_message_may_pass_the_bound() {
    let rig = Rig::new(&OutputSettings { queue_bytes: 100_000, on_full: OnFull::Detach, ..push() });
    let large = |sequence| Message { body: vec![0; 60_000], ..message(1, sequence, b"") };
    assert_eq!(rig.enqueue(large(0)).unwrap(), Enqueued::Queued(1));
    assert_eq!(rig.enqueue(large(1)).unwrap(), Enqueued::Queued(2));
    assert_eq!(rig.enqueue(message(1, 2, b"x")).unwrap(), Enqueued::Skipped);
    let rig = Rig::new(&OutputSettings { queue_bytes: 1, ..push() });
    assert_eq!(rig.enqueue(large(0)).unwrap(), Enqueued::Queued(1), "larger than the bound, but alone");
}

#[test]
fn many_blocked_callers_all_get_in() {
    const CALLERS: u64 = 16;
    const EACH: u64 = 50;
    let rig = Rig::new(&OutputSettings { queue_messages: 2, ..push() });
    thread::scope(|scope| {
        for flow in 0..CALLERS {
            let rig = &rig;
            scope.spawn(move || {
                for sequence in 0..EACH {
                    rig.enqueue(message(flow, sequence, b"x")).unwrap();
                }
            });
        }
        let mut pull = rig.pull();
        for _ in 0..CALLERS * EACH {
            next(&mut pull);
        }
    });
}

#[test]
fn detach_sets_aside_counts_and_takes_part_again_when_the_backlog_is_gone() {
    let rig = Rig::new(&OutputSettings { queue_messages: 4, on_full: OnFull::Detach, ..push() });
    let sender = &rig.output.senders()[0];
    for sequence in 0..4 {
        assert!(matches!(rig.enqueue(message(1, sequence, b"x")).unwrap(), Enqueued::Queued(_)));
    }
    assert!(!sender.stats().detached);
    for sequence in 4..10 {
        assert_eq!(
            rig.enqueue(Message { changes: 3, ..message(1, sequence, b"x") }).unwrap(),
            Enqueued::Skipped
        );
    }
    sender.mark(Arc::new(1_u32)).unwrap();
    let stats = sender.stats();
    assert!(stats.detached);
    assert_eq!((stats.skipped_messages, stats.skipped_changes, stats.detachments), (6, 18, 1));

    let mut pull = rig.pull();
    for sequence in 0..4 {
        assert_eq!(sequence_of(&next(&mut pull)), sequence, "what was queued before is not lost");
    }
    eventually("it takes part again", || !sender.stats().detached);
    assert_eq!(rig.enqueue(message(1, 10, b"x")).unwrap(), Enqueued::Queued(6), "behind the mark");
    assert_eq!(sequence_of(&next(&mut pull)), 10);
    assert!(rig.output.drain(PATIENCE));
    let mut expected: Vec<Told> = (0..4).map(|sequence| Told::Sent { flow: 1, sequence }).collect();
    // Told before the mark behind it: a position must not pass over a hole that nobody knows of.
    expected.extend([
        Told::Skipped { flow: 1, sequence: 9 },
        Told::Reached(1),
        Told::Sent { flow: 1, sequence: 10 },
    ]);
    assert_eq!(rig.told(), expected);
}

#[test]
fn what_is_kept_of_left_out_messages_is_bounded_by_the_flows() {
    let rig = Rig::new(&OutputSettings { queue_messages: 1, on_full: OnFull::Detach, ..push() });
    for sequence in 0..10_000 {
        rig.enqueue(message(sequence % 3, sequence, b"x")).unwrap();
    }
    let mut pull = rig.pull();
    next(&mut pull);
    assert!(rig.output.drain(PATIENCE));
    let skipped: Vec<Told> =
        rig.told().into_iter().filter(|told| matches!(told, Told::Skipped { .. })).collect();
    assert_eq!(skipped.len(), 3, "one for each flow: {skipped:?}");
}
