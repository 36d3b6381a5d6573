//! What arrives is what was sent, and buffers come back.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use super::support::{PATIENCE, Rig, eventually, message, next, push};
use spanwire_core::output::{Message, OutputSettings};

#[test]
fn frames_of_every_size_arrive_as_they_were_sent() {
    let rig = Rig::new(&push());
    let mut pull = rig.pull();
    // Both sides of the bound between copied and zero-copy, and larger than any batch.
    for (number, size) in [0, 1, 33, 8_191, 8_192, 65_536, 1 << 20, 9 << 20].into_iter().enumerate() {
        let pattern: Vec<u8> = (0..size).map(|i| u8::try_from((i * 31 + number) % 251).unwrap()).collect();
        let sent = Message { columns: pattern.clone().into(), ..message(1, number as u64, &pattern) };
        rig.enqueue(sent).unwrap();
        let frames = next(&mut pull);
        assert_eq!(frames[0], b"db/stream/table1/");
        assert_eq!(frames[1][16..24], (number as u64).to_ne_bytes());
        assert!(frames[2] == pattern, "columns of {size} bytes");
        assert!(frames[3] == pattern, "body of {size} bytes");
    }
}

#[test]
fn the_time_of_sending_is_written_when_the_message_is_sent() {
    let rig = Rig::new(&push());
    rig.enqueue(message(1, 0, b"x")).unwrap();
    let now = || SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_nanos();
    let before = now();
    let frames = next(&mut rig.pull());
    let sent_at = i64::from_ne_bytes(frames[1][..8].try_into().unwrap());
    // It was stamped when it was prepared for the socket, before the peer came or just after.
    let sent_at = u128::try_from(sent_at).unwrap();
    assert!(sent_at > before - 5_000_000_000 && sent_at <= now());
}

#[test]
fn ipc_and_inproc_endpoints_work() {
    let folder = std::env::temp_dir().join(format!("spanwire-output-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    let ipc = format!("ipc://{}", folder.join("socket").display());
    for endpoint in [ipc, "inproc://here".to_owned()] {
        let rig = Rig::new(&OutputSettings { bind: vec![endpoint.clone()], ..push() });
        assert_eq!(rig.output.endpoints(), [endpoint]);
        rig.enqueue(message(1, 7, b"x")).unwrap();
        assert_eq!(next(&mut rig.pull())[3], b"x");
    }
    std::fs::remove_dir_all(folder).unwrap();
}

#[test]
fn a_hundred_megabytes_go_through_a_few_recycled_buffers() {
    const BODY: usize = 64 << 10;
    const MESSAGES: u64 = 1_600;
    let rig = Rig::new(&OutputSettings { queue_messages: 8, high_water_mark: 8, ..push() });
    let mut pull = rig.pull_with_room(8);
    let reader = std::thread::spawn(move || {
        let mut bytes = 0;
        for _ in 0..MESSAGES {
            bytes += next(&mut pull)[3].len();
        }
        (bytes, pull)
    });
    let mut buffers = HashSet::new();
    for sequence in 0..MESSAGES {
        let mut body = rig.pool.take(BODY);
        body.resize(BODY, 1);
        buffers.insert(body.as_ptr() as usize);
        rig.enqueue(Message { body, ..message(1, sequence, b"") }).unwrap();
    }
    let (bytes, pull) = reader.join().unwrap();
    assert_eq!(bytes, BODY * usize::try_from(MESSAGES).unwrap());
    assert!(buffers.len() <= 64, "{} buffers for {MESSAGES} messages", buffers.len());
    assert!(rig.output.drain(PATIENCE));
    drop(pull);
    eventually("every buffer is back", || rig.pool.bytes() >= BODY);
    let stats = rig.output.senders()[0].stats();
    assert_eq!((stats.messages, stats.changes), (MESSAGES, MESSAGES));
    assert!(stats.bytes > bytes as u64 && stats.blocked > Duration::ZERO);
}

#[test]
fn a_body_much_smaller_than_its_buffer_gives_the_buffer_back_at_once() {
    // Nobody takes the message: whatever it holds, it holds for long.
    let rig = Rig::new(&push());
    let _peer = rig.pull_with_room(1);
    let mut body = rig.pool.take(8 << 20);
    body.resize(64 << 10, 1);
    let capacity = body.capacity();
    rig.enqueue(Message { body, ..message(1, 0, b"") }).unwrap();
    eventually("the buffer is in the pool", || rig.pool.bytes() == capacity);
    assert_eq!(Arc::strong_count(&rig.pool), 2, "the rig and the worker");
}
