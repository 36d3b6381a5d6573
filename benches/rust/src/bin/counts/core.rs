//! From the bytes of a query to messages in a sender's queue: what a partition's reader does.

use std::thread::sleep;
use std::time::{Duration, Instant};

use spanwire_benches::workload::Plan;
use spanwire_core::change::Timestamp;
use spanwire_core::choose::Choice;
use spanwire_core::envelope::Values;
use spanwire_core::output::{Kind, OnFull, OutputSettings};
use spanwire_core::pipeline::{Batch, Lane, PartitionSettings, Pipeline, Settings};
use spanwire_core::wire::Shape;

use crate::Prepared;

/// How changes come.
#[derive(Clone, Copy)]
pub enum Feed {
    /// 20 in a record, messages of 64 KiB.
    Full,
    /// One in a record, and one record in a message.
    Single,
}

/// What a reader hands over at a time: what has arrived, at the most so many bytes and messages.
const AT_ONCE: (usize, usize) = (1 << 20, 256);

pub fn prepare(shape: Shape, values: Values, feed: Feed) -> Prepared {
    let (records, changes_per_record, message_bytes) = match feed {
        Feed::Full => (200, 20, 64 << 10),
        Feed::Single => (1_000, 1, 1),
    };
    let plan = Plan { shape, records, changes_per_record, message_bytes };
    let pipeline = pipeline(values);
    let partition = pipeline
        .partition(PartitionSettings {
            token: "token".into(),
            shape,
            epoch: 1,
            start: Timestamp { seconds: 1_795_456_232, nanos: 0 },
            resumed: false,
            parents: Vec::new(),
            known: None,
        })
        .expect("a partition opens");
    let mut warm_up = plan.build(0).messages;
    let rest = warm_up.split_off(warm_up.len() / 2);
    partition.push(&warm_up).expect("the workload is well formed");
    hold_up(&pipeline);
    partition.push(&rest).expect("the workload is well formed");
    let workload = plan.build(records);
    let pushes = pushes(&workload.messages);
    let work = move || {
        let _ = &pipeline; // it lives as long as what is measured
        for (start, end) in &pushes {
            partition.push(&workload.messages[*start..*end]).expect("the workload is well formed");
        }
    };
    (workload.changes, Box::new(work))
}

/// An output whose sender is stuck from its second message on. A free one would take whatever is open
/// when it happens to come by, and no two counts would be the same.
fn pipeline(values: Values) -> Pipeline {
    let output = OutputSettings {
        ring_bytes: 1,
        on_full: OnFull::Block,
        queue_bytes: usize::MAX,
        queue_messages: usize::MAX,
        ..OutputSettings::new(Kind::Ring, Vec::new())
    };
    let batch = Batch { delay: Duration::from_secs(3_600), ..Batch::default() };
    let lane = Lane { output, values, choice: Choice::default(), topic: None, batch };
    let settings =
        Settings { database: "d".into(), stream: "s".into(), outputs: vec![lane], ..Settings::default() };
    Pipeline::new(settings).expect("a pipeline starts")
}

/// Waits until the sender is stuck.
fn hold_up(pipeline: &Pipeline) {
    let sender = &pipeline.outputs().next().expect("there is one output").senders()[0];
    let deadline = Instant::now() + Duration::from_secs(30);
    while sender.stats().stuck.is_zero() {
        assert!(Instant::now() < deadline, "the sender goes on sending");
        sleep(Duration::from_millis(1));
    }
}

/// From which message to which each push goes.
fn pushes(messages: &[Vec<u8>]) -> Vec<(usize, usize)> {
    let (most_bytes, most_messages) = AT_ONCE;
    let mut found = Vec::new();
    let (mut start, mut bytes) = (0, 0);
    for (place, message) in messages.iter().enumerate() {
        if place > start && (bytes + message.len() > most_bytes || place - start >= most_messages) {
            found.push((start, place));
            (start, bytes) = (place, 0);
        }
        bytes += message.len();
    }
    found.push((start, messages.len()));
    found
}
