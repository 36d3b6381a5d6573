//! Peers that come late, go away, or are slow.

use std::thread;
use std::time::Duration;

use super::support::{PATIENCE, Rig, eventually, flow_of, message, next, push, sequence_of};
use spanwire_core::output::{Message, OutputSettings};

#[test]
fn push_waits_for_its_first_peer() {
    let rig = Rig::new(&push());
    for sequence in 0..10 {
        rig.enqueue(message(1, sequence, b"x")).unwrap();
    }
    thread::sleep(Duration::from_millis(100));
    let mut pull = rig.pull();
    for sequence in 0..10 {
        assert_eq!(sequence_of(&next(&mut pull)), sequence);
    }
}

#[test]
fn work_is_spread_over_all_who_pull() {
    let rig = Rig::new(&push());
    let mut pulls = [rig.pull(), rig.pull()];
    // Both are connected once each has had something.
    let mut sequence = 0;
    let mut had = [false, false];
    while had != [true, true] {
        rig.enqueue(message(1, sequence, b"x")).unwrap();
        sequence += 1;
        for (pull, had) in pulls.iter_mut().zip(&mut had) {
            *had |= pull.receive(Duration::from_millis(50)).unwrap().is_some();
        }
    }
}

/// A worker with a full plate reads nothing, not even a ping. To disconnect it would lose what it
/// was given.
#[test]
fn a_worker_slower_than_the_heartbeat_loses_nothing() {
    const MESSAGES: u64 = 40;
    let settings = OutputSettings {
        heartbeat: Duration::from_millis(50),
        high_water_mark: 2,
        queue_messages: 100,
        ..push()
    };
    let rig = Rig::new(&settings);
    let mut slow = rig.pull_with_room(1);
    for sequence in 0..MESSAGES {
        rig.enqueue(Message { body: vec![0; 512 << 10], ..message(1, sequence, b"") }).unwrap();
    }
    for sequence in 0..MESSAGES {
        if sequence % 10 == 0 {
            thread::sleep(Duration::from_millis(600));
        }
        assert_eq!(sequence_of(&next(&mut slow)), sequence);
    }
}

/// A peer may go away between the frames of a message: the message goes to another, whole.
#[test]
fn messages_stay_whole_while_peers_come_and_go() {
    let rig = Rig::new(&OutputSettings { high_water_mark: 3, queue_messages: 50, ..push() });
    let mut received = 0_u64;
    thread::scope(|scope| {
        let sending = scope.spawn(|| {
            for sequence in 0..4_000 {
                let body = sequence.to_string().repeat(if sequence % 3 == 0 { 4_000 } else { 1 });
                rig.enqueue(message(sequence % 5, sequence, body.as_bytes()))?;
            }
            Ok::<_, spanwire_core::Error>(())
        });
        while !sending.is_finished() {
            let mut pull = rig.pull_with_room(3);
            for _ in 0..50 {
                let Some(frames) = pull.receive(Duration::from_millis(100)).unwrap() else { break };
                assert_eq!(frames.len(), 4);
                let sequence = sequence_of(&frames);
                assert_eq!(flow_of(&frames), sequence % 5);
                let text = sequence.to_string();
                assert!(frames[3].starts_with(text.as_bytes()) && frames[3].len() % text.len() == 0);
                received += 1;
            }
        }
        sending.join().unwrap().unwrap();
    });
    assert!(received > 100, "{received}");
    // What was handed over to a peer that is going away goes with it: so more than one try.
    let mut last = rig.pull();
    eventually("the output is still at work", || {
        rig.enqueue(message(1, 9_999, b"last")).unwrap();
        last.receive(Duration::from_millis(100)).unwrap().is_some_and(|frames| sequence_of(&frames) == 9_999)
    });
    assert!(rig.output.drain(PATIENCE));
    assert_eq!(rig.output.senders()[0].failure(), None);
}
