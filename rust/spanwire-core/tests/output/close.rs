//! Drain and close: prompt, whatever the peers do.

use std::sync::{Arc, Weak};
use std::thread;
use std::time::{Duration, Instant};

use super::support::{PATIENCE, Rig, eventually, message, next, publish, push, sequence_of};
use spanwire_core::output::{Flush, Message, OutputSettings};
use spanwire_core::{Error, Result};

/// Runs it and says how long it took.
fn timed<T>(run: impl FnOnce() -> T) -> (T, Duration) {
    let since = Instant::now();
    (run(), since.elapsed())
}

#[test]
fn drain_waits_for_all_and_says_when_time_ran_out() {
    let rig = Rig::new(&push());
    assert!(rig.output.drain(PATIENCE), "nothing to do");
    rig.enqueue(message(1, 0, b"x")).unwrap();
    let (drained, took) = timed(|| rig.output.drain(Duration::from_millis(100)));
    assert!(!drained);
    assert!((Duration::from_millis(95)..Duration::from_secs(2)).contains(&took), "took {took:?}");
    let mut pull = rig.pull();
    assert!(rig.output.drain(PATIENCE));
    next(&mut pull);
}

#[test]
fn close_is_prompt_without_a_peer_and_frees_who_waits() {
    let rig = Rig::new(&OutputSettings { queue_messages: 1, ..push() });
    rig.enqueue(message(1, 0, b"x")).unwrap();
    thread::scope(|scope| {
        let waiting = scope.spawn(|| rig.enqueue(message(1, 1, b"x")));
        thread::sleep(Duration::from_millis(50));
        let ((), took) = timed(|| rig.output.close());
        assert!(took < Duration::from_millis(500), "took {took:?}");
        assert_eq!(waiting.join().unwrap().unwrap_err(), Error::Closed);
    });
    assert_eq!(rig.enqueue(message(1, 2, b"x")).unwrap_err(), Error::Closed);
    assert_eq!(rig.output.senders()[0].mark(Arc::new(1_u32)).unwrap_err(), Error::Closed);
    assert!(!rig.output.drain(Duration::ZERO), "what was queued was not handed over");
    rig.output.close();
}

#[test]
fn a_peer_that_does_not_read_holds_nothing_up_beyond_the_linger_time() {
    let settings = OutputSettings { high_water_mark: 1, linger: Duration::from_millis(200), ..push() };
    let rig = Rig::new(&settings);
    let stuck = rig.pull_with_room(1);
    for sequence in 0..100 {
        rig.enqueue(Message { body: vec![0; 1 << 20], ..message(1, sequence, b"") })
            .unwrap_or_else(|_| unreachable!());
        if rig.output.senders()[0].stats().stuck > Duration::ZERO {
            break;
        }
    }
    eventually("the socket is stuck", || rig.output.senders()[0].stats().stuck > Duration::ZERO);
    let ((), took) = timed(|| {
        rig.output.close();
        drop(stuck);
        // The context goes with it.
        drop(rig);
    });
    assert!(took < Duration::from_secs(2), "took {took:?}");
}

#[test]
fn what_the_socket_has_accepted_is_delivered_after_close() {
    let settings = OutputSettings { linger: Duration::from_secs(10), ..push() };
    let rig = Rig::new(&settings);
    let mut pull = rig.pull();
    for sequence in 0..500 {
        rig.enqueue(message(1, sequence, &[7; 2_000])).unwrap();
    }
    assert!(rig.output.drain(PATIENCE));
    rig.output.close();
    for sequence in 0..500 {
        assert_eq!(sequence_of(&next(&mut pull)), sequence);
    }
}

/// Panics as a bug would.
struct Broken;

impl Flush for Broken {
    fn flush(&self, _: usize, _: &mut Vec<Message>) {
        panic!("planted");
    }
}

#[test]
fn a_panic_on_the_senders_thread_is_never_silent() {
    let rig = Rig::new(&publish());
    let sender = &rig.output.senders()[0];
    sender.mark_dirty(Arc::new(Broken));
    eventually("it has failed", || sender.failure().is_some());
    let refused: Result<_> = rig.enqueue(message(1, 0, b"x"));
    let text = refused.unwrap_err().to_string();
    assert!(text.contains("planted") && text.contains(sender.endpoint()), "{text}");
    assert!(!rig.output.drain(PATIENCE), "a failed sender has not drained");
    let ((), took) = timed(|| rig.output.close());
    assert!(took < Duration::from_secs(1));
    assert!(sender.failure().is_some(), "closing does not hide the reason");
}

/// Owns what owns the queue it waits in, as a partition owns its pipeline.
struct Owner {
    _rig: Arc<Rig>,
}

impl Flush for Owner {
    fn flush(&self, _: usize, _: &mut Vec<Message>) {}
}

#[test]
fn who_waits_to_be_flushed_is_let_go_on_close() {
    let rig = Arc::new(Rig::new(&push()));
    rig.enqueue(message(1, 0, b"x")).unwrap();
    let owner = Arc::new(Owner { _rig: Arc::clone(&rig) });
    let gone: Weak<Owner> = Arc::downgrade(&owner);
    rig.output.senders()[0].mark_dirty(owner);
    assert!(gone.upgrade().is_some());
    rig.output.close();
    assert!(gone.upgrade().is_none());
}

#[test]
fn the_last_owner_may_go_on_the_senders_own_thread() {
    let rig = Arc::new(Rig::new(&push()));
    let gone = Arc::downgrade(&rig);
    let owner = Arc::new(Owner { _rig: Arc::clone(&rig) });
    let sender = &rig.output.senders()[0];
    sender.mark_dirty(owner);
    // Now the sender's thread has the last one, or soon will: it drops the output it runs for.
    drop(rig);
    eventually("the output is gone", || gone.upgrade().is_none());
}
