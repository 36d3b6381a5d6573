//! Partitions that pause at partition start and event records: nothing behind goes out before its
//! time, nothing is lost, nothing comes twice, wherever messages are cut and streams break.

mod support {
    pub mod change_streams;
    pub mod values;
}

use std::sync::Arc;
use std::time::Duration;

use proptest::prelude::*;
use spanwire_core::change::Timestamp;
use spanwire_core::choose::Choice;
use spanwire_core::envelope::{Values, read};
use spanwire_core::error::Error;
use spanwire_core::output::socket::{Receiver, Socket};
use spanwire_core::output::{Context, Flush, Kind, OutputSettings};
use spanwire_core::pipeline::{Batch, Lane, Partition, PartitionSettings, Pipeline, Pushed, Settings};
use spanwire_core::wire::Shape;

use support::change_streams::{
    change, data, data_fields, heartbeat, partition_end, partition_event, partition_start, row,
};
use support::values::{Choose, choices, message, messages};

/// Long enough for a slow machine, and never reached where all is well.
const PATIENCE: Duration = Duration::from_secs(20);

/// A pipeline with one output and one who takes everything from it.
struct Rig {
    pull: Socket,
    pipeline: Pipeline,
}

impl Rig {
    fn new() -> Self {
        let pipeline = pipeline();
        Self { pull: pull(&pipeline), pipeline }
    }

    fn partition(&self) -> Arc<Partition> {
        partition(&self.pipeline)
    }

    /// The sequences of the next changes, in the order in which they arrive.
    fn received(&mut self, count: usize) -> Vec<u64> {
        let mut found = Vec::new();
        while found.len() < count {
            let frames = self.pull.receive(PATIENCE).unwrap().expect("no message came");
            for record in read::records(&frames[3]) {
                let record = record.unwrap();
                let sequence = record.record_sequence().unwrap();
                found.push(u64::from_str_radix(&sequence[..16], 16).unwrap());
            }
        }
        assert_eq!(found.len(), count);
        found
    }

    fn position(&self, partition: &Partition) -> Option<i64> {
        assert!(self.pipeline.drain(PATIENCE));
        partition.position().map(|position| position.seconds)
    }
}

fn pipeline() -> Pipeline {
    let output = OutputSettings::new(Kind::Push, vec!["tcp://127.0.0.1:*".into()]);
    let lane = Lane {
        output,
        topic: None,
        choice: Choice::default(),
        values: Values::Json,
        batch: Batch::default(),
    };
    let (database, stream) = ("db".into(), "stream".into());
    Pipeline::new(Settings { database, stream, outputs: vec![lane], ..Settings::default() }).unwrap()
}

fn pull(pipeline: &Pipeline) -> Socket {
    let context = Arc::new(Context::new(1).unwrap());
    Socket::connect(&context, Receiver::Pull, &pipeline.endpoints()[0][0], 10_000, &[]).unwrap()
}

fn partition(pipeline: &Pipeline) -> Arc<Partition> {
    named(pipeline, "p")
}

fn named(pipeline: &Pipeline, token: &str) -> Arc<Partition> {
    let settings = PartitionSettings {
        token: token.into(),
        shape: Shape::ChangeStreamRecord,
        epoch: 1,
        start: second(0),
        resumed: false,
        parents: Vec::new(),
        known: None,
    };
    pipeline.partition(settings).unwrap()
}

fn second(seconds: i64) -> Timestamp {
    Timestamp { seconds, nanos: 0 }
}

/// One message with these records.
fn of(records: &[Vec<u8>], token: &[u8]) -> Vec<u8> {
    message(&records.iter().map(|record| row(record)).collect::<Vec<_>>(), false, token)
}

fn tokens(pushed: &Pushed) -> Vec<&str> {
    pushed.starts.iter().flat_map(|start| &start.tokens).map(String::as_str).collect()
}

#[test]
fn what_lies_behind_a_pause_waits_also_that_of_later_messages() {
    let mut rig = Rig::new();
    let partition = rig.partition();
    let first = of(&[change(1, "t", 1), partition_start(2, &["a", "b"]), change(2, "t", 2)], b"");
    let second_message =
        of(&[partition_event(3, "p", &["q"], &["r"]), heartbeat(4), partition_end(5, "p")], b"");
    let pushed = partition.push(&[first, second_message]).unwrap();
    assert_eq!((pushed.paused, pushed.changes, pushed.last), (true, 1, Some(second(2))));
    assert_eq!((tokens(&pushed), pushed.starts[0].start), (vec!["a", "b"], second(2)));
    assert_eq!(pushed.starts[0].record_sequence, "83365be2414b3aae-00000001");
    assert!(pushed.event.is_none() && pushed.heartbeat.is_none());
    assert_eq!((rig.received(1), rig.position(&partition)), (vec![1], Some(1)));

    let pushed = partition.proceed().unwrap();
    assert_eq!((pushed.paused, pushed.changes, pushed.starts.len()), (true, 1, 0));
    let event = pushed.event.unwrap();
    assert_eq!(
        (event.commit_timestamp, event.record_sequence.as_str()),
        (second(3), "83365be2414b3aae-00000003")
    );
    assert_eq!((event.sources, event.destinations), (vec!["q".into()], vec!["r".into()]));
    assert_eq!((rig.received(1), rig.position(&partition)), (vec![2], Some(2)));

    let pushed = partition.proceed().unwrap();
    assert_eq!((pushed.paused, pushed.heartbeat, pushed.end), (false, Some(second(4)), Some(second(5))));
    assert!(pushed.event.is_none());
    assert_eq!(rig.position(&partition), Some(4));
    partition.finish(None).unwrap();
    assert_eq!((rig.position(&partition), partition.finished()), (Some(5), true));
}

#[test]
fn while_it_pauses_it_takes_nothing_and_does_not_end() {
    let rig = Rig::new();
    let partition = rig.partition();
    assert!(partition.push(&[of(&[partition_start(1, &["a"]), change(1, "t", 1)], b"")]).unwrap().paused);
    assert_eq!(partition.push(&[of(&[heartbeat(9)], b"")]).unwrap_err(), Error::Paused);
    assert_eq!(partition.finish(Some(second(9))).unwrap_err(), Error::Paused);
    assert_eq!(rig.position(&partition), None);
    assert_eq!(partition.proceed().unwrap().changes, 1);
    let pushed = partition.proceed().unwrap();
    assert_eq!((pushed.paused, pushed.changes), (false, 0));
    partition.finish(Some(second(9))).unwrap();
    assert_eq!(partition.proceed().unwrap_err(), Error::Closed);
}

/// A sender that has been busy for long takes what is open ahead of its queue. What a partition has
/// behind a pause may be newer changes of keys whose older ones another partition has queued.
#[test]
fn what_lies_behind_a_pause_overtakes_nothing_that_was_queued() {
    let pipeline = pipeline(); // PUSH without a peer: what is queued stays
    let (source, destination) = (named(&pipeline, "source"), named(&pipeline, "destination"));
    assert!(
        destination.push(&[of(&[partition_event(3, "destination", &["source"], &[])], b"")]).unwrap().paused
    );
    let moved_out = partition_event(3, "source", &[], &["destination"]);
    assert!(source.push(&[of(&[change(1, "t", 1), moved_out], b"")]).unwrap().paused);
    assert!(!destination.proceed().unwrap().paused);
    destination.push(&[of(&[change(4, "t", 4)], b"")]).unwrap();
    let mut taken = Vec::new();
    destination.flush(0, &mut taken);
    assert!(taken.is_empty(), "it went ahead of the source's change");

    let mut rig = Rig { pull: pull(&pipeline), pipeline };
    assert_eq!(rig.received(2), [1, 4]);
}

/// Its parents may have queued older changes of its keys, and the mark that ticks tell it by is queued, too.
#[test]
fn a_partition_that_is_opened_overtakes_nothing_that_was_queued() {
    let pipeline = pipeline(); // PUSH without a peer: what is queued stays
    let parent = named(&pipeline, "parent");
    parent.push(&[of(&[change(1, "t", 1), heartbeat(2)], b"")]).unwrap();
    let child = named(&pipeline, "child");
    child.push(&[of(&[change(3, "t", 3)], b"")]).unwrap();
    let mut taken = Vec::new();
    child.flush(0, &mut taken);
    assert!(taken.is_empty(), "it went ahead of its parent's change");

    let mut rig = Rig { pull: pull(&pipeline), pipeline };
    assert_eq!(rig.received(2), [1, 3]);
}

#[test]
fn given_up_while_it_pauses_it_forgets_what_it_holds() {
    let rig = Rig::new();
    let partition = rig.partition();
    assert!(partition.push(&[of(&[partition_start(1, &["a"]), change(1, "t", 1)], b"")]).unwrap().paused);
    partition.release().unwrap();
    assert_eq!(partition.proceed().unwrap_err(), Error::Closed);
    assert_eq!(rig.pipeline.counters().changes.load(std::sync::atomic::Ordering::Relaxed), 0);
}

#[test]
fn after_a_break_what_came_up_to_the_token_stays_and_what_came_behind_it_comes_again() {
    let mut rig = Rig::new();
    let partition = rig.partition();
    let before = of(&[change(1, "t", 1), partition_start(2, &["a"]), change(2, "t", 2)], b"token");
    let behind = of(&[change(3, "t", 3), partition_start(4, &["b"])], b"");
    assert!(partition.push(&[before, behind.clone()]).unwrap().paused);
    assert_eq!(partition.resume().token.as_deref(), Some(&b"token"[..]));
    let pushed = partition.proceed().unwrap();
    assert_eq!((pushed.paused, pushed.changes), (false, 1));
    let pushed = partition.push(&[behind]).unwrap();
    assert_eq!((pushed.paused, pushed.changes, tokens(&pushed)), (true, 1, vec!["b"]));
    assert_eq!(rig.received(3), [1, 2, 3]);
}

#[test]
fn without_a_token_all_that_is_held_comes_again_and_the_pause_too() {
    let mut rig = Rig::new();
    let partition = rig.partition();
    let records = [change(1, "t", 1), change(2, "t", 2), partition_start(2, &["a"]), change(2, "t", 3)];
    assert!(partition.push(&[of(&records, b"")]).unwrap().paused);
    let resume = partition.resume();
    assert_eq!((resume.token, resume.start), (None, second(2)));
    assert_eq!(partition.proceed().unwrap().changes, 0);
    let pushed = partition.push(&[of(&records[1..], b"")]).unwrap();
    assert_eq!((pushed.paused, pushed.changes, pushed.duplicates), (true, 0, 1));
    assert_eq!(tokens(&pushed), ["a"]);
    // The same, but the pause is forgotten with what is held.
    assert_eq!(partition.restart(), second(2));
    assert!(partition.push(&[of(&records[1..], b"")]).unwrap().paused);
    assert_eq!(partition.proceed().unwrap().changes, 1);
    assert_eq!(rig.received(3), [1, 2, 3]);
}

#[test]
fn a_position_is_told_at_each_pause_whatever_waits_in_the_queue() {
    let pipeline = pipeline();
    let partition = partition(&pipeline);
    for at in [2, 4, 6] {
        // Without a peer nothing leaves the queue.
        let records = [change(at - 1, "t", 1), heartbeat(at), partition_event(at + 1, "p", &["q"], &[])];
        assert!(partition.push(&[of(&records, b"")]).unwrap().paused);
        assert!(!partition.proceed().unwrap().paused);
    }
    assert_eq!(partition.position(), None);
    let mut rig = Rig { pull: pull(&pipeline), pipeline };
    assert_eq!(rig.received(3), [1, 1, 1]);
    assert_eq!(rig.position(&partition), Some(6));
}

#[test]
fn a_held_record_that_cannot_be_read_stops_the_partition_when_its_turn_comes() {
    let mut rig = Rig::new();
    let partition = rig.partition();
    let mut fields = data_fields();
    fields[7].clear(); // no mod_type
    let records = [partition_start(1, &["a"]), change(1, "t", 1), data(&fields), change(2, "t", 2)];
    assert!(partition.push(&[of(&records, b"")]).unwrap().paused);
    assert!(matches!(partition.proceed().unwrap_err(), Error::Undecodable { .. }));
    assert_eq!(partition.proceed().unwrap_err(), Error::Closed);
    assert_eq!(rig.received(1), [1]);
}

// ---------------------------------------------------------------- any stream, any cuts, any breaks

/// A stream's record: its second, and what it is.
#[derive(Debug, Clone, Copy, PartialEq)]
enum What {
    Data,
    Start,
    Event,
    Heartbeat,
}

#[derive(Debug)]
struct Stream(Vec<(i64, What)>);

impl Stream {
    /// Seconds never go back, and a heartbeat's is its own. The end record comes last.
    fn new(steps: &[(What, bool)]) -> Self {
        let (mut now, mut alone) = (1, true);
        let mut records = Vec::new();
        for &(what, later) in steps {
            let heartbeat = what == What::Heartbeat;
            now += i64::from(later || heartbeat || alone);
            alone = heartbeat;
            records.push((now, what));
        }
        Self(records)
    }

    fn end(&self) -> i64 {
        self.0.last().map_or(1, |(second, _)| second + 1)
    }

    fn pauses(&self, place: usize) -> bool {
        matches!(self.0[place].1, What::Start | What::Event)
    }

    /// What a query from a second on answers with.
    fn query(&self, from: i64, choose: &mut Choose<'_>) -> Vec<Vec<u8>> {
        let rows = self.0.iter().enumerate().filter(|(_, (second, _))| *second >= from);
        let rows = rows.map(|(place, &(second, what))| {
            let name = place.to_string();
            row(&match what {
                What::Data => change(second, "t", place as u64),
                What::Start => partition_start(second, &[&name]),
                What::Event => partition_event(second, "p", &[&name], &[]),
                What::Heartbeat => heartbeat(second),
            })
        });
        let rows: Vec<_> = rows.chain([row(&partition_end(self.end(), "p"))]).collect();
        messages(&rows, choose)
    }

    /// The places of the changes before a place.
    fn changes(&self, before: usize) -> Vec<u64> {
        let data = |place: &usize| self.0[*place].1 == What::Data;
        (0..before).filter(data).map(|place| place as u64).collect()
    }
}

/// Reads a stream to its end as a relay would, with breaks where `choose` says so.
fn follow(rig: &mut Rig, stream: &Stream, choose: &mut Choose<'_>) {
    let partition = rig.partition();
    let mut answer = stream.query(0, choose);
    let mut next = 0;
    let mut breaks = 0;
    let mut changes = 0;
    // The record it pauses at, and the first that it has not gone beyond yet.
    let mut paused: Option<usize> = None;
    let mut frontier = 0;
    let mut ended = false;
    loop {
        if breaks < 8 && choose(4) == 0 {
            breaks += 1;
            let (from, token) = if choose(2) == 0 {
                paused = None;
                (partition.restart(), None)
            } else {
                let resume = partition.resume();
                (resume.start, resume.token)
            };
            next = match token {
                Some(token) => std::str::from_utf8(&token).unwrap().parse().unwrap(),
                None => 0,
            };
            if next == 0 {
                answer = stream.query(from.seconds, choose);
            }
        }
        let pushed = if let Some(place) = paused {
            frontier = frontier.max(place + 1);
            partition.proceed().unwrap()
        } else if next < answer.len() {
            let upto = answer.len().min(next + 1 + choose(4));
            let some = &answer[next..upto];
            next = upto;
            partition.push(some).unwrap()
        } else {
            break;
        };
        changes += usize::try_from(pushed.changes).unwrap();
        ended |= pushed.end.is_some();
        let asks = pushed.starts.iter().map(|start| &start.tokens[0]);
        let asks = asks.chain(pushed.event.iter().map(|event| &event.sources[0]));
        let asks: Vec<usize> = asks.map(|name| name.parse().unwrap()).collect();
        assert_eq!(asks.len(), usize::from(pushed.paused));
        paused = asks.first().copied();
        let Some(place) = paused else { continue };
        // None was left out, and what has gone out is all that came before it and nothing else.
        assert!((frontier..place).all(|place| !stream.pauses(place)));
        if place >= frontier {
            assert_eq!(changes, stream.changes(place).len());
            let at = stream.0[place].0;
            let before = stream.0.iter().map(|&(second, _)| second).filter(|&second| second < at).max();
            assert_eq!(rig.position(&partition), before);
        }
    }
    assert!(ended && (frontier..stream.0.len()).all(|place| !stream.pauses(place)));
    partition.end_of_stream().unwrap();
    partition.finish(None).unwrap();
    let all = stream.changes(stream.0.len());
    assert_eq!(changes, all.len());
    assert_eq!(rig.received(changes), all);
    assert_eq!((rig.position(&partition), partition.finished()), (Some(stream.end()), true));
}

fn steps() -> impl Strategy<Value = Vec<(What, bool)>> {
    let what = prop_oneof![
        3 => Just(What::Data),
        1 => Just(What::Start),
        1 => Just(What::Event),
        1 => Just(What::Heartbeat),
    ];
    prop::collection::vec((what, any::<bool>()), 0..14)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(100))]

    #[test]
    fn whatever_the_cuts_pauses_and_breaks_the_same_records_go_out_in_the_same_order(
        steps in steps(),
        bytes in prop::collection::vec(any::<u8>(), 1..60),
    ) {
        follow(&mut Rig::new(), &Stream::new(&steps), &mut choices(&bytes));
    }
}
