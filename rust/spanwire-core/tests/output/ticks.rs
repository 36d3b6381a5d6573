//! Ticks: how often, where, and how they count.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::support::{PATIENCE, Rig, TICK_TOPIC, Told, URGENT, eventually, message, next, publish, push};

#[test]
fn ticks_go_out_at_their_interval_and_carry_no_change() {
    let rig = Rig::ticking(&publish(), Duration::from_millis(50));
    let mut subscriber = rig.subscribe().remove(0);
    let since = Instant::now();
    for _ in 0..10 {
        assert_eq!(next(&mut subscriber)[0], TICK_TOPIC);
    }
    let took = since.elapsed();
    assert!((Duration::from_millis(400)..Duration::from_secs(3)).contains(&took), "ten in {took:?}");
    let stats = rig.output.senders()[0].stats();
    assert!(stats.ticks >= 10);
    assert_eq!((stats.messages, stats.changes), (stats.ticks, 0));
}

#[test]
fn a_busy_sender_ticks_too() {
    let rig = Rig::ticking(&publish(), Duration::from_millis(20));
    let since = Instant::now();
    let mut sequence = 0;
    while since.elapsed() < Duration::from_millis(500) {
        rig.enqueue(message(1, sequence, &[0; 256])).unwrap();
        sequence += 1;
    }
    let ticks = rig.told().iter().filter(|told| **told == Told::Tick).count();
    assert!(ticks >= 5, "{ticks} in half a second");
}

#[test]
fn a_tick_is_behind_what_was_sent_before_it_and_one_more_comes_at_the_end() {
    let rig = Rig::new(&publish());
    for sequence in 0..100 {
        rig.enqueue(message(1, sequence, b"x")).unwrap();
    }
    assert!(rig.output.drain(PATIENCE));
    rig.output.close();
    let told = rig.told();
    assert_eq!(told.len(), 101);
    assert_eq!(told.last(), Some(&Told::Tick), "a lost tail is noticed by it");
}

#[test]
fn push_sends_no_ticks_but_its_companion_is_told_the_time() {
    let rig = Rig::ticking(&push(), Duration::from_millis(10));
    let mut pull = rig.pull();
    assert_eq!(pull.receive(Duration::from_millis(200)).unwrap(), None);
    assert!(rig.told().contains(&Told::Tick));
    // Without a peer there is nothing that a drain would have to wait for either.
    drop(pull);
    assert!(rig.output.drain(PATIENCE));
    assert_eq!(rig.output.senders()[0].stats().messages, 0);
}

#[test]
fn what_is_urgent_is_told_before_the_next_message_and_all_of_it_by_one_tick() {
    let rig = Rig::new(&push());
    let mark = |mark: u32| rig.output.senders()[0].mark(Arc::new(mark)).unwrap();
    // Without a peer the sender is busy with this one, and all that follows waits together.
    rig.enqueue(message(1, 0, b"x")).unwrap();
    for number in [1, URGENT, 2, URGENT] {
        mark(number);
    }
    rig.enqueue(message(1, 1, b"x")).unwrap();
    mark(3);
    rig.enqueue(message(1, 2, b"x")).unwrap();
    let mut pull = rig.pull();
    for _ in 0..3 {
        next(&mut pull);
    }
    assert!(rig.output.drain(PATIENCE));
    let sent = |sequence| Told::Sent { flow: 1, sequence };
    let [one, urgent, two, three] = [1, URGENT, 2, 3].map(Told::Reached);
    let told = [sent(0), one, urgent.clone(), two, urgent, Told::Tick, sent(1), three, sent(2)];
    assert_eq!(rig.told(), told);
}

#[test]
fn what_is_urgent_waits_for_no_message() {
    let rig = Rig::new(&publish());
    rig.output.senders()[0].mark(Arc::new(URGENT)).unwrap();
    eventually("a tick", || rig.told().len() == 2);
    assert_eq!(rig.told(), [Told::Reached(URGENT), Told::Tick]);
}
