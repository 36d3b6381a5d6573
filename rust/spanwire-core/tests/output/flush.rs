//! Smart batching: what is held open goes out at once when the sender is idle, and grows while it
//! is busy.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use super::support::{PATIENCE, Rig, eventually, message, next, publish, push};
use spanwire_core::output::{Flush, Message};

/// Holds one message open, as a partition does.
#[derive(Default)]
struct Holder {
    open: Mutex<Vec<u8>>,
    sequence: AtomicU64,
    calls: AtomicU64,
}

impl Holder {
    fn append(&self, byte: u8) {
        self.open.lock().unwrap().push(byte);
    }
}

impl Flush for Holder {
    fn flush(&self, sender: usize, out: &mut Vec<Message>) {
        assert_eq!(sender, 0);
        self.calls.fetch_add(1, Ordering::Relaxed);
        let body = std::mem::take(&mut *self.open.lock().unwrap());
        if !body.is_empty() {
            let sequence = self.sequence.fetch_add(1, Ordering::Relaxed);
            out.push(Message { changes: u32::try_from(body.len()).unwrap(), ..message(9, sequence, &body) });
        }
    }
}

#[test]
fn an_idle_sender_comes_at_once() {
    let rig = Rig::new(&push());
    let mut pull = rig.pull();
    let holder = Arc::new(Holder::default());
    for byte in 0..20 {
        holder.append(byte);
        rig.output.senders()[0].mark_dirty(Arc::clone(&holder) as _);
        assert_eq!(next(&mut pull)[3], [byte], "nothing waits for company");
    }
    assert!(rig.output.drain(PATIENCE));
    assert_eq!(rig.output.senders()[0].stats().changes, 20);
}

#[test]
fn what_is_appended_while_the_sender_is_busy_goes_out_as_one_message() {
    let rig = Rig::new(&push());
    // Without a peer the sender is busy with this one.
    rig.enqueue(message(1, 0, b"first")).unwrap();
    let holder = Arc::new(Holder::default());
    for byte in 0..50 {
        holder.append(byte);
        if byte % 10 == 0 {
            rig.output.senders()[0].mark_dirty(Arc::clone(&holder) as _);
        }
    }
    rig.enqueue(message(1, 1, b"second")).unwrap();
    thread::sleep(Duration::from_millis(30));
    assert_eq!(holder.calls.load(Ordering::Relaxed), 0, "not asked while something is queued");
    let mut pull = rig.pull();
    let mut bodies: Vec<Vec<u8>> = (0..3).map(|_| next(&mut pull).swap_remove(3)).collect();
    bodies.sort_by_key(Vec::len);
    assert_eq!(bodies, [b"first".to_vec(), b"second".to_vec(), (0..50).collect()]);
    assert!(rig.output.drain(PATIENCE));
    assert_eq!(rig.output.senders()[0].taken(), 2, "what flush gave has no number");
}

#[test]
fn a_queue_that_is_never_empty_does_not_keep_it_waiting() {
    let rig = Rig::new(&publish());
    let waited = AtomicBool::new(false);
    thread::scope(|scope| {
        for flow in 0..2 {
            let (rig, waited) = (&rig, &waited);
            scope.spawn(move || {
                let since = Instant::now();
                let mut sequences = 0..;
                while !waited.load(Ordering::Relaxed) && since.elapsed() < PATIENCE {
                    rig.enqueue(message(flow, sequences.next().unwrap(), &[0; 512])).unwrap();
                }
            });
        }
        let holder = Arc::new(Holder::default());
        for _ in 0..10 {
            let before = holder.calls.load(Ordering::Relaxed);
            holder.append(1);
            rig.output.senders()[0].mark_dirty(Arc::clone(&holder) as _);
            let since = Instant::now();
            eventually("asked", || holder.calls.load(Ordering::Relaxed) > before);
            assert!(since.elapsed() < Duration::from_millis(500), "waited {:?}", since.elapsed());
        }
        waited.store(true, Ordering::Relaxed);
    });
}

/// Flushes by asking to be asked again, for ever.
struct Restless {
    rig: Mutex<Option<Arc<Rig>>>,
    itself: Mutex<Option<Arc<Restless>>>,
    calls: AtomicU64,
}

impl Flush for Restless {
    fn flush(&self, _: usize, _: &mut Vec<Message>) {
        self.calls.fetch_add(1, Ordering::Relaxed);
        if let (Some(rig), Some(itself)) = (&*self.rig.lock().unwrap(), &*self.itself.lock().unwrap()) {
            rig.output.senders()[0].mark_dirty(Arc::clone(itself) as _);
        }
    }
}

#[test]
fn flush_may_ask_again_from_within() {
    let rig = Arc::new(Rig::new(&push()));
    let mut pull = rig.pull();
    let restless =
        Arc::new(Restless { rig: Mutex::default(), itself: Mutex::default(), calls: AtomicU64::new(0) });
    *restless.rig.lock().unwrap() = Some(Arc::clone(&rig));
    *restless.itself.lock().unwrap() = Some(Arc::clone(&restless));
    rig.output.senders()[0].mark_dirty(Arc::clone(&restless) as _);
    eventually("asked again and again", || restless.calls.load(Ordering::Relaxed) > 100);
    rig.enqueue(message(1, 0, b"x")).unwrap();
    assert_eq!(next(&mut pull)[3], b"x", "the queue is still served");
    restless.itself.lock().unwrap().take();
    restless.rig.lock().unwrap().take();
    assert!(rig.output.drain(PATIENCE));
}
