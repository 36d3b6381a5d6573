//! What one sender has sent: the heads of its flows and the positions of its partitions, told in
//! ticks.
//!
//! Everything here happens on the sender's own thread, between two sends. So a tick says exactly
//! what went out before it, and needs no lock.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use foldhash::fast::FixedState;

use crate::change::Timestamp;
use crate::envelope::{self, Header, Kind, PartitionState, Tick};
use crate::output;
use crate::output::{Companion, Confirm, Message};

use super::mark::{Asked, Mark, What};

/// The flow of a sender's own ticks.
const TICKS: u64 = u64::MAX;

/// Every flow's head is told once in so many ticks, also of one that rests: a tick may be lost, too.
const ROUND: u64 = 16;

/// Up to so many flows every tick tells all.
const FEW_FLOWS: usize = 256;

/// In so many ticks the end of a partition is told, and a move into it: two rounds, so that each
/// head is told after it.
const ENDS: u64 = 2 * ROUND;

/// Moves told of one partition in one tick at the most, lest ticks grow without bounds.
const MOST_MOVES: usize = 1_024;

/// Who a sender is, for its ticks.
#[derive(Debug, Clone)]
pub struct Identity {
    pub incarnation: u64,
    pub topic: Arc<[u8]>,
    /// Which of the pipeline's outputs.
    pub output: u16,
    /// Which of all senders of the pipeline.
    pub number: usize,
    /// Which of its output's senders, and how many there are.
    pub sender: usize,
    pub senders: usize,
    /// Names the sender in a tick's header.
    pub name: [u8; 16],
    pub interval: Duration,
    /// The output's endpoints, once they are bound.
    pub endpoints: Arc<OnceLock<Vec<String>>>,
    /// Where the relay takes requests.
    pub replay: Arc<[String]>,
}

/// The companion of one sender.
#[derive(Debug)]
pub struct Heads {
    identity: Identity,
    sequence: u64,
    flows: HashMap<u64, Head, FixedState>,
    partitions: BTreeMap<[u8; 16], Progress>,
    /// No change newer than this has been sent.
    newest: Option<Timestamp>,
    /// Which partitions there are, or what they have passed, is not told yet.
    urgent: bool,
    /// The next tick tells every head.
    asked: bool,
}

#[derive(Debug)]
struct Head {
    topic: Arc<[u8]>,
    partition: [u8; 16],
    /// The header of the last message sent: read when a tick is made, not for every message.
    header: Vec<u8>,
    /// Messages sent, and how many of them the last tick knew of.
    sent: u64,
    told: u64,
}

#[derive(Debug)]
struct Progress {
    epoch: u64,
    stage: u32,
    starts_at: Timestamp,
    position: Option<Timestamp>,
    parents: Vec<[u8; 16]>,
    children: Vec<[u8; 16]>,
    /// Into it, the newest last.
    moves: Vec<ToldMove>,
    state: PartitionState,
    /// Ticks that told of its end.
    ends_told: u64,
}

#[derive(Debug)]
struct ToldMove {
    step: envelope::Move,
    /// Ticks that told of it.
    told: u64,
}

impl Progress {
    /// Keys have moved in. The same may be said again, when a partition is read again.
    fn moved(&mut self, moves: &[envelope::Move]) {
        for step in moves {
            self.moves.retain(|known| known.step != *step);
            self.moves.push(ToldMove { step: step.clone(), told: 0 });
        }
        let excess = self.moves.len().saturating_sub(MOST_MOVES);
        self.moves.drain(..excess);
    }
}

impl Heads {
    pub fn new(identity: Identity) -> Self {
        Self {
            identity,
            sequence: 0,
            flows: HashMap::default(),
            partitions: BTreeMap::new(),
            newest: None,
            urgent: false,
            asked: false,
        }
    }

    fn mark(&mut self, mark: &Mark) {
        if let What::Started { starts_at, parents, known } = &mark.what {
            let progress = Progress {
                epoch: mark.epoch,
                stage: 0,
                starts_at: *starts_at,
                position: None,
                parents: parents.clone(),
                children: Vec::new(),
                moves: Vec::new(),
                state: PartitionState::Live,
                ends_told: 0,
            };
            self.partitions.insert(mark.partition, progress);
            self.newest = self.newest.max(*known);
        } else if let Some(progress) =
            self.partitions.get_mut(&mark.partition).filter(|p| p.epoch == mark.epoch)
        {
            match &mark.what {
                What::Position(position) => progress.position = Some(*position),
                What::Paused { position, moves } => {
                    progress.position = progress.position.max(*position);
                    progress.moved(moves);
                }
                What::Ended { position, children } => {
                    progress.position = progress.position.max(*position);
                    progress.children.clone_from(children);
                    progress.state = PartitionState::Ended;
                }
                What::Passed { stage } => progress.stage = *stage,
                What::Released => progress.state = PartitionState::Released,
                What::Started { .. } => {}
            }
            self.newest = self.newest.max(progress.position);
        }
        self.urgent |= !matches!(mark.what, What::Position(_) | What::Paused { .. });
    }

    /// Of all flows, or of those that moved since the last tick.
    fn flow_heads(&mut self, all: bool) -> Vec<envelope::FlowHead> {
        let mut heads = Vec::new();
        for head in self.flows.values_mut() {
            if head.sent == head.told && !all {
                continue;
            }
            // Headers are our own: one that does not read is a bug that tests find, and costs a tick line.
            let Ok(header) = Header::decode(&head.header) else { continue };
            self.newest = self.newest.max(header.last.as_ref().map(|last| last.commit_timestamp));
            heads.push(envelope::FlowHead {
                topic: String::from_utf8_lossy(&head.topic).into_owned(),
                partition: head.partition,
                epoch: header.epoch,
                since: head.told,
                next: head.sent,
                last: header.last,
            });
            head.told = head.sent;
        }
        heads
    }

    fn partitions(&self) -> Vec<envelope::TickPartition> {
        self.partitions
            .iter()
            .map(|(id, progress)| envelope::TickPartition {
                id: *id,
                epoch: progress.epoch,
                stage: progress.stage,
                starts_at: Some(progress.starts_at),
                position: progress.position,
                parents: progress.parents.clone(),
                state: progress.state,
                children: progress.children.clone(),
                moves: progress.moves.iter().map(|told| told.step.clone()).collect(),
            })
            .collect()
    }

    /// Forgets what ended and what moved once it was told often enough: a tick may be lost, too. With
    /// what ended go its flows, whose last heads are told until then.
    fn forget_told(&mut self) {
        let partitions = &mut self.partitions;
        let before = partitions.len();
        partitions.retain(|_, progress| {
            let ended = !matches!(progress.state, PartitionState::Live);
            progress.ends_told += u64::from(ended);
            progress.moves.retain_mut(|known| {
                known.told += 1;
                known.told < ENDS
            });
            progress.ends_told < ENDS
        });
        if partitions.len() != before {
            self.flows.retain(|_, head| partitions.contains_key(&head.partition));
        }
    }
}

impl Companion for Heads {
    fn sent(&mut self, message: &Message) {
        if message.flow == TICKS {
            return;
        }
        let head = self.flows.entry(message.flow).or_insert_with(|| Head {
            topic: Arc::clone(&message.topic),
            partition: Header::decode(&message.header).map(|header| header.partition).unwrap_or_default(),
            header: Vec::new(),
            sent: 0,
            told: 0,
        });
        // The word of what was left out may come behind a later message that went out: never back.
        if message.sequence >= head.sent {
            head.header.clear();
            head.header.extend_from_slice(&message.header);
            head.sent = message.sequence + 1;
        }
    }

    fn reached(&mut self, mark: &output::Mark) {
        if let Some(mark) = mark.downcast_ref::<Mark>() {
            self.mark(mark);
        } else if let Some(asked) = mark.downcast_ref::<Asked>() {
            asked.reached();
            self.asked = true;
        }
    }

    fn confirm(&self) -> Confirm {
        let sender = self.identity.number;
        Arc::new(move |mark| {
            if let Some(mark) = mark.downcast_ref::<Mark>() {
                mark.reached(sender);
            }
        })
    }

    fn is_urgent(&self) -> bool {
        self.urgent || self.asked
    }

    fn tick(&mut self, out: &mut Vec<Message>) {
        let complete = self.asked || self.flows.len() <= FEW_FLOWS || self.sequence.is_multiple_of(ROUND);
        (self.asked, self.urgent) = (false, false);
        let tick = Tick {
            sender: u16::try_from(self.identity.sender).unwrap_or(u16::MAX),
            senders: u16::try_from(self.identity.senders).unwrap_or(u16::MAX),
            interval_ms: u32::try_from(self.identity.interval.as_millis()).unwrap_or(u32::MAX),
            membership_generation: 0,
            partitions: self.partitions(),
            flows: self.flow_heads(complete),
            relays: vec![envelope::Relay {
                incarnation: self.identity.incarnation,
                endpoints: self.identity.endpoints.get().cloned().unwrap_or_default(),
                replay: self.identity.replay.to_vec(),
            }],
            complete,
            newest: self.newest,
        };
        let header = Header {
            kind: Kind::Tick,
            incarnation: self.identity.incarnation,
            output: self.identity.output,
            sequence: self.sequence,
            partition: self.identity.name,
            ..Header::default()
        };
        out.push(Message {
            flow: TICKS,
            sequence: self.sequence,
            topic: Arc::clone(&self.identity.topic),
            header: header.encode(),
            columns: Arc::from([]),
            body: tick.encode(),
            changes: 0,
        });
        self.sequence += 1;
        self.forget_told();
    }
}

#[cfg(test)]
mod tests {
    use super::super::mark::Handed;
    use super::*;

    fn message(sequence: u64) -> Message {
        let header = Header { sequence, epoch: 3, partition: [7; 16], ..Header::default() };
        Message {
            flow: 1,
            sequence,
            topic: Arc::from(*b"topic/"),
            header: header.encode(),
            columns: Arc::from([]),
            body: Vec::new(),
            changes: 1,
        }
    }

    fn heads() -> Heads {
        Heads::new(Identity {
            incarnation: 1,
            topic: Arc::from(*b"_tick/"),
            output: 0,
            number: 0,
            sender: 0,
            senders: 1,
            name: [0; 16],
            interval: Duration::from_secs(1),
            endpoints: Arc::default(),
            replay: Arc::from(["tcp://127.0.0.1:5557".to_owned()]),
        })
    }

    fn told(heads: &mut Heads) -> Vec<(u64, u64)> {
        let mut out = Vec::new();
        heads.tick(&mut out);
        let tick = Tick::decode(&out[0].body).unwrap();
        tick.flows.iter().map(|head| (head.since, head.next)).collect()
    }

    #[test]
    fn a_head_never_goes_back() {
        let mut heads = heads();
        heads.sent(&message(1));
        heads.skipped(&message(0));
        assert_eq!(told(&mut heads), [(0, 2)]);
    }

    fn tick(heads: &mut Heads) -> Tick {
        let mut out = Vec::new();
        heads.tick(&mut out);
        Tick::decode(&out[0].body).unwrap()
    }

    /// A message of a flow, that has sent none before.
    fn first_of(flow: u64) -> Message {
        Message { flow, ..message(0) }
    }

    #[test]
    fn while_there_are_few_flows_each_tick_tells_all() {
        let mut heads = heads();
        for flow in 0..FEW_FLOWS as u64 {
            heads.sent(&first_of(flow));
        }
        for since in [0, 1, 1] {
            let tick = tick(&mut heads);
            assert!(tick.complete);
            assert_eq!(tick.flows.len(), FEW_FLOWS);
            assert!(tick.flows.iter().all(|head| (head.since, head.next) == (since, 1)));
        }
    }

    #[test]
    fn of_many_flows_those_at_rest_are_told_once_in_a_round_and_when_asked_for() {
        let mut heads = heads();
        let many = FEW_FLOWS as u64 + 1;
        for flow in 0..many {
            heads.sent(&first_of(flow));
        }
        let told = |heads: &mut Heads| {
            let tick = tick(heads);
            assert_eq!(tick.complete, tick.flows.len() as u64 == many);
            tick.flows.len() as u64
        };
        assert_eq!(told(&mut heads), many);
        heads.sent(&message(1));
        assert_eq!(told(&mut heads), 1);
        let asked = Arc::new(Asked::default());
        assert!(asked.ask() && !asked.ask(), "it waits in the queue once");
        heads.reached(&(Arc::clone(&asked) as _));
        assert!(heads.is_urgent() && asked.ask());
        assert_eq!(told(&mut heads), many);
        assert!(!heads.is_urgent());
        let round: Vec<_> = (3..ROUND).map(|_| told(&mut heads)).collect();
        assert_eq!(round, [0; 13]);
        assert_eq!(told(&mut heads), many);
    }

    #[test]
    fn what_partitions_there_are_and_what_they_passed_is_urgent() {
        let mut heads = heads();
        let handed = Arc::new(Handed::new(std::iter::once(true)));
        let at = Timestamp { seconds: 1, nanos: 0 };
        let mut urgent_after = |what| {
            heads.mark(&Mark::new([7; 16], 3, what, Arc::clone(&handed)));
            let urgent = heads.is_urgent();
            let partition = tick(&mut heads).partitions.remove(0);
            assert!(!heads.is_urgent());
            (urgent, partition.stage, partition.state)
        };
        let live = PartitionState::Live;
        let paused = || What::Paused { position: Some(at), moves: Vec::new() };
        assert_eq!(
            urgent_after(What::Started { starts_at: at, parents: Vec::new(), known: None }),
            (true, 0, live)
        );
        assert_eq!(urgent_after(What::Position(at)), (false, 0, live));
        assert_eq!(urgent_after(paused()), (false, 0, live));
        assert_eq!(urgent_after(What::Passed { stage: 1 }), (true, 1, live));
        assert_eq!(urgent_after(What::Passed { stage: 2 }), (true, 2, live));
        let ended = What::Ended { position: Some(at), children: Vec::new() };
        assert_eq!(urgent_after(ended), (true, 2, PartitionState::Ended));
        assert_eq!(urgent_after(What::Released), (true, 2, PartitionState::Released));
    }

    #[test]
    fn nothing_newer_was_sent_than_a_tick_says() {
        let mut heads = heads();
        let handed = Arc::new(Handed::new(std::iter::once(true)));
        let at = |seconds| Timestamp { seconds, nanos: 0 };
        let mut newest_after = |partition: u8, what, last: Option<i64>| {
            heads.mark(&Mark::new([partition; 16], 3, what, Arc::clone(&handed)));
            if let Some(seconds) = last {
                let last = crate::change::RecordVersion {
                    commit_timestamp: at(seconds),
                    transaction: "t".into(),
                    sequence: "0".into(),
                    number: 0,
                };
                let header = Header { last: Some(last), partition: [partition; 16], ..Header::default() };
                let flow = u64::from(partition);
                heads.sent(&Message { flow, header: header.encode(), ..message(seconds.unsigned_abs()) });
            }
            tick(&mut heads).newest.map(|newest| newest.seconds)
        };
        let started = || What::Started { starts_at: at(9), parents: Vec::new(), known: None };
        assert_eq!(newest_after(1, started(), None), None);
        assert_eq!(newest_after(1, What::Position(at(3)), Some(5)), Some(5));
        assert_eq!(newest_after(2, started(), Some(4)), Some(5));
        assert_eq!(newest_after(2, What::Position(at(7)), None), Some(7));
        assert_eq!(newest_after(2, What::Ended { position: Some(at(8)), children: vec![] }, None), Some(8));
        for _ in 0..ENDS {
            assert_eq!(newest_after(1, What::Position(at(6)), Some(6)), Some(8), "also when it is forgotten");
        }
        let known = What::Started { starts_at: at(9), parents: Vec::new(), known: Some(at(10)) };
        assert_eq!(newest_after(3, known, None), Some(10), "by a process before this one");
    }

    #[test]
    fn moves_are_told_for_two_rounds_and_each_once_a_tick() {
        let mut heads = heads();
        let handed = Arc::new(Handed::new(std::iter::once(true)));
        let reach = |heads: &mut Heads, what| heads.mark(&Mark::new([7; 16], 3, what, Arc::clone(&handed)));
        let at = |seconds| Timestamp { seconds, nanos: 0 };
        let step =
            |seconds, source| envelope::Move { at: at(seconds), source: [source; 16], destination: [7; 16] };
        let moved = |moves: &[envelope::Move]| What::Paused { position: Some(at(4)), moves: moves.to_vec() };
        let told = |heads: &mut Heads| {
            let mut out = Vec::new();
            heads.tick(&mut out);
            let partition = Tick::decode(&out[0].body).unwrap().partitions.remove(0);
            assert_eq!(partition.position, Some(at(4)));
            partition.moves
        };
        reach(&mut heads, What::Started { starts_at: at(1), parents: Vec::new(), known: None });
        reach(&mut heads, moved(&[step(5, 1), step(5, 2)]));
        assert_eq!(told(&mut heads), [step(5, 1), step(5, 2)]);
        reach(&mut heads, moved(&[step(5, 1)])); // read again
        for _ in 1..ENDS {
            assert_eq!(told(&mut heads), [step(5, 2), step(5, 1)]);
        }
        assert_eq!(told(&mut heads), [step(5, 1)]);
        assert_eq!(told(&mut heads), []);
        let many: Vec<_> = (0..2_000).map(|second| step(second, 1)).collect();
        reach(&mut heads, moved(&many));
        assert_eq!(told(&mut heads), many[many.len() - MOST_MOVES..]);
    }
}
