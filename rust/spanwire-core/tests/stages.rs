//! What a consumer may rely on however busy a sender is: the first message of a partition comes behind a
//! tick that tells of it, and a message of a stage behind a tick that tells that stage.

mod support {
    pub mod change_streams;
    pub mod values;
}

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use spanwire_core::change::Timestamp;
use spanwire_core::choose::Choice;
use spanwire_core::envelope::{Header, Kind as Of, Tick, Values, partition_hash};
use spanwire_core::output::socket::{Receiver, Socket};
use spanwire_core::output::{Context, Kind, OutputSettings};
use spanwire_core::pipeline::{Batch, Lane, Partition, PartitionSettings, Pipeline, Settings};
use spanwire_core::wire::Shape;

use support::change_streams::{change, partition_event, row};
use support::values::message;

/// Long enough for a slow machine, and never reached where all is well.
const PATIENCE: Duration = Duration::from_secs(20);
/// Ticks that come by their time are rare, so that those seen here come by what happens.
const TICK: Duration = Duration::from_millis(200);
const NEWCOMERS: u64 = 40;
const MOVES: u32 = 3;

fn pipeline() -> Pipeline {
    let output = OutputSettings {
        high_water_mark: 1_000_000,
        ..OutputSettings::new(Kind::Pub, vec!["tcp://127.0.0.1:*".into()])
    };
    // Two messages a push: the queue is seldom empty, and what newcomers hold open is taken ahead of it.
    let batch = Batch { changes: 100, delay: Duration::from_secs(9), ..Batch::default() };
    let lane = Lane { output, topic: None, choice: Choice::default(), values: Values::Json, batch };
    let (database, stream) = ("db".into(), "stream".into());
    let settings = Settings {
        database,
        stream,
        tick: TICK,
        outputs: vec![lane],
        replay_endpoints: vec!["tcp://127.0.0.1:5557".into()],
        ..Settings::default()
    };
    Pipeline::new(settings).unwrap()
}

fn subscriber(pipeline: &Pipeline) -> Socket {
    let context = Arc::new(Context::new(1).unwrap());
    let endpoint = &pipeline.endpoints()[0][0];
    let mut socket = Socket::connect(&context, Receiver::Sub, endpoint, 1_000_000, &[b""]).unwrap();
    socket.receive(PATIENCE).unwrap().expect("a tick"); // from now on it misses nothing
    socket
}

fn open(pipeline: &Pipeline, token: &str) -> Arc<Partition> {
    let settings = PartitionSettings {
        token: token.into(),
        shape: Shape::ChangeStreamRecord,
        epoch: 1,
        start: Timestamp { seconds: 0, nanos: 0 },
        resumed: false,
        parents: Vec::new(),
        known: None,
    };
    pipeline.partition(settings).unwrap()
}

fn of(records: &[Vec<u8>]) -> Vec<u8> {
    message(&records.iter().map(|record| row(record)).collect::<Vec<_>>(), false, b"")
}

/// Stops those who flood, also when the test fails.
struct Stopping<'a>(&'a AtomicBool);

impl Drop for Stopping<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// Sends many messages of its own until it is told to stop.
fn flood(pipeline: &Pipeline, token: &str, stop: &AtomicBool) {
    let partition = open(pipeline, token);
    let mut sequence = 0;
    while !stop.load(Ordering::Relaxed) {
        let records: Vec<_> = (0..200).map(|each| change(sequence + 1, "flood", each)).collect();
        sequence += 1;
        partition.push(&[of(&records)]).unwrap();
    }
}

#[test]
fn a_partition_and_its_stage_are_told_before_its_messages_however_busy_the_sender_is() {
    let pipeline = pipeline();
    let mut socket = subscriber(&pipeline);
    let stop = AtomicBool::new(false);
    let newcomers: HashSet<_> =
        (0..NEWCOMERS).map(|number| partition_hash(&format!("new-{number}"))).collect();
    let mut told: HashMap<[u8; 16], u32> = HashMap::new();
    let mut seen: HashMap<[u8; 16], HashSet<u32>> = HashMap::new();
    thread::scope(|scope| {
        let stopping = Stopping(&stop);
        let floods: Vec<_> =
            ["a", "b"].map(|token| scope.spawn(|| flood(&pipeline, token, &stop))).into_iter().collect();
        let newcomer = scope.spawn(|| {
            for number in 0..NEWCOMERS {
                let token = format!("new-{number}");
                let partition = open(&pipeline, &token);
                for stage in 0..MOVES {
                    let second = i64::from(stage) + 1;
                    let event = partition_event(second, &token, &["elsewhere"], &[]);
                    partition.push(&[of(&[change(second, "rare", 1), event])]).unwrap();
                    partition.proceed().unwrap();
                }
                partition.push(&[of(&[change(9, "rare", 1)])]).unwrap();
                thread::sleep(Duration::from_millis(7)); // what it holds open is taken ahead of the queue
            }
        });
        let mut complete = 0;
        while complete < NEWCOMERS {
            let frames = socket.receive(PATIENCE).unwrap().expect("no message came");
            let header = Header::decode(&frames[1]).unwrap();
            if header.kind == Of::Tick {
                let tick = Tick::decode(&frames[3]).unwrap();
                assert!(tick.complete, "few flows");
                assert_eq!(tick.relays[0].replay, ["tcp://127.0.0.1:5557"]);
                told.extend(tick.partitions.iter().map(|each| (each.id, each.stage)));
                continue;
            }
            let known = told.get(&header.partition).copied();
            assert!(known >= Some(header.stage), "stage {} and {known:?} was told", header.stage);
            if newcomers.contains(&header.partition) {
                let stages = seen.entry(header.partition).or_default();
                assert!(stages.insert(header.stage), "one message a stage");
                complete += u64::from(stages.len() == MOVES as usize + 1);
            }
        }
        drop(stopping);
        newcomer.join().unwrap();
        for flood in floods {
            flood.join().unwrap();
        }
    });
}

#[test]
fn who_asks_for_the_heads_is_told_them_behind_all_that_was_sent() {
    let pipeline = pipeline();
    let mut socket = subscriber(&pipeline);
    let partition = open(&pipeline, "p");
    for second in 1..=20 {
        partition.push(&[of(&[change(second, "t", 1)])]).unwrap();
        pipeline.tell(0).unwrap();
    }
    assert!(pipeline.tell(1).unwrap_err().to_string().contains("there is no output 1"));
    assert!(pipeline.drain(PATIENCE));
    pipeline.tell(0).unwrap();
    let mut next = 0;
    loop {
        let frames = socket.receive(PATIENCE).unwrap().expect("no message came");
        if Header::decode(&frames[1]).unwrap().kind == Of::Tick {
            let tick = Tick::decode(&frames[3]).unwrap();
            assert_eq!(tick.flows.iter().map(|head| head.next).sum::<u64>(), next);
            let newest = tick.newest.map_or(0, |newest| newest.seconds);
            assert_eq!(
                newest,
                tick.flows.first().map_or(0, |head| head.last.as_ref().unwrap().commit_timestamp.seconds)
            );
            if newest == 20 {
                return;
            }
        } else {
            next += 1;
        }
    }
}
