//! The body of a tick: where a sender's partitions and flows are.

use capnp::message::{Builder, HeapAllocator, ReaderOptions};

use super::envelope_capnp as schema;
use super::header::{read_timestamp, read_version, set_timestamp, set_version};
use super::{malformed, options_for};
use crate::change::{RecordVersion, Timestamp};
use crate::error::Result;

/// A partition's name on the wire: [`partition_hash`](super::partition_hash) of its token.
pub type PartitionId = [u8; 16];

/// What a sender says at least once a second, behind its data.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tick {
    /// Which sender of this output, from 0.
    pub sender: u16,
    /// How many it has.
    pub senders: u16,
    /// The next tick is due after this.
    pub interval_ms: u32,
    /// Counts changes in who belongs to the stream's relays.
    pub membership_generation: u64,
    /// Every live one, and those that ended since the last tick.
    pub partitions: Vec<TickPartition>,
    /// Those of this sender that changed since the last tick, or all of them.
    pub flows: Vec<FlowHead>,
    /// The relays and where they send.
    pub relays: Vec<Relay>,
    /// It tells the head of every flow of its sender.
    pub complete: bool,
    /// No change newer than this was sent before this tick; none where none was.
    pub newest: Option<Timestamp>,
}

/// A partition as a tick tells of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TickPartition {
    /// Its name on the wire.
    pub id: PartitionId,
    /// Which ownership of it.
    pub epoch: u64,
    /// Where this epoch started: changes after it are sent under it.
    pub starts_at: Option<Timestamp>,
    /// All its changes up to here have been sent; none where nothing is known yet.
    pub position: Option<Timestamp>,
    /// What it came from.
    pub parents: Vec<PartitionId>,
    /// Whether it goes on.
    pub state: PartitionState,
    /// Of one that ended in children.
    pub children: Vec<PartitionId>,
    /// Keys that moved in or out.
    pub moves: Vec<Move>,
    /// How many moves of keys it has passed under this epoch.
    pub stage: u32,
}

/// Whether a partition goes on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PartitionState {
    /// It goes on.
    Live,
    /// Nothing will follow.
    Ended,
    /// This relay gave it up; another goes on.
    Released,
}

/// Keys that moved between partitions.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Move {
    /// When.
    pub at: Timestamp,
    /// From where.
    pub source: PartitionId,
    /// To where.
    pub destination: PartitionId,
}

/// Where a flow is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FlowHead {
    /// The flow's topic.
    pub topic: String,
    /// The flow's partition.
    pub partition: PartitionId,
    /// The flow's epoch.
    pub epoch: u64,
    /// Its next sequence when the last tick was sent.
    pub since: u64,
    /// Its next sequence now: `since..next` were sent between the two ticks.
    pub next: u64,
    /// The newest change sent in it.
    pub last: Option<RecordVersion>,
}

/// A relay process of the stream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Relay {
    /// Its random id.
    pub incarnation: u64,
    /// Where consumers connect.
    pub endpoints: Vec<String>,
    /// Where it takes requests for repair, replay and snapshots.
    pub replay: Vec<String>,
}

impl Tick {
    /// The body frame.
    pub fn encode(&self) -> Vec<u8> {
        let mut message = Builder::new(HeapAllocator::new().first_segment_words(self.words()));
        let mut root = message.init_root::<schema::tick::Builder<'_>>();
        root.set_sender(self.sender);
        root.set_senders(self.senders);
        root.set_interval_ms(self.interval_ms);
        root.set_membership_generation(self.membership_generation);
        let mut partitions = root.reborrow().init_partitions(count(self.partitions.len()));
        for (place, partition) in (0..).zip(&self.partitions) {
            partition.write(partitions.reborrow().get(place));
        }
        let mut flows = root.reborrow().init_flows(count(self.flows.len()));
        for (place, flow) in (0..).zip(&self.flows) {
            flow.write(flows.reborrow().get(place));
        }
        let mut relays = root.reborrow().init_relays(count(self.relays.len()));
        for (place, relay) in (0..).zip(&self.relays) {
            let mut builder = relays.reborrow().get(place);
            builder.set_incarnation(relay.incarnation);
            set_texts(builder.reborrow().init_endpoints(count(relay.endpoints.len())), &relay.endpoints);
            if !relay.replay.is_empty() {
                set_texts(builder.init_replay(count(relay.replay.len())), &relay.replay);
            }
        }
        root.set_complete(self.complete);
        if let Some(newest) = self.newest {
            set_timestamp(root.init_newest(), newest);
        }
        capnp::serialize::write_message_to_words(&message)
    }

    /// Room for all in one segment.
    fn words(&self) -> u32 {
        let ids = |of: &[PartitionId]| of.len() * 3;
        let partitions: usize = self
            .partitions
            .iter()
            .map(|partition| {
                16 + ids(&partition.parents) + ids(&partition.children) + partition.moves.len() * 12
            })
            .sum();
        let flows: usize = self
            .flows
            .iter()
            .map(|flow| {
                let last = |last: &RecordVersion| 8 + (last.transaction.len() + last.sequence.len()) / 8;
                12 + flow.topic.len() / 8 + flow.last.as_ref().map_or(0, last)
            })
            .sum();
        let relays: usize = self
            .relays
            .iter()
            .flat_map(|relay| relay.endpoints.iter().chain(&relay.replay))
            .map(|endpoint| 4 + endpoint.len() / 8)
            .sum();
        count(32 + partitions + flows + relays + self.relays.len() * 4)
    }

    /// Reads a body frame. [`Error::Format`](crate::Error::Format) where it is not a tick.
    pub fn decode(frame: &[u8]) -> Result<Self> {
        read(frame).map_err(|error| malformed("tick", &error))
    }
}

pub(super) fn count(of: usize) -> u32 {
    u32::try_from(of).unwrap_or(u32::MAX)
}

pub(super) fn set_texts(mut list: capnp::text_list::Builder<'_>, texts: &[String]) {
    for (place, text) in (0..).zip(texts) {
        list.set(place, text);
    }
}

pub(super) fn read_texts(list: capnp::text_list::Reader<'_>) -> capnp::Result<Vec<String>> {
    list.iter().map(|text| Ok(text?.to_string()?)).collect()
}

fn set_ids(mut list: capnp::data_list::Builder<'_>, ids: &[PartitionId]) {
    for (place, id) in (0..).zip(ids) {
        list.set(place, id);
    }
}

impl TickPartition {
    fn write(&self, mut builder: schema::tick::partition::Builder<'_>) {
        builder.set_id(&self.id);
        builder.set_epoch(self.epoch);
        builder.set_stage(self.stage);
        if let Some(starts_at) = self.starts_at {
            set_timestamp(builder.reborrow().init_starts_at(), starts_at);
        }
        if let Some(position) = self.position {
            set_timestamp(builder.reborrow().init_position(), position);
        }
        if !self.parents.is_empty() {
            set_ids(builder.reborrow().init_parents(count(self.parents.len())), &self.parents);
        }
        builder.set_state(match self.state {
            PartitionState::Live => schema::tick::partition::State::Live,
            PartitionState::Ended => schema::tick::partition::State::Ended,
            PartitionState::Released => schema::tick::partition::State::Released,
        });
        if !self.children.is_empty() {
            set_ids(builder.reborrow().init_children(count(self.children.len())), &self.children);
        }
        if !self.moves.is_empty() {
            let mut moves = builder.init_moves(count(self.moves.len()));
            for (place, step) in (0..).zip(&self.moves) {
                let mut builder = moves.reborrow().get(place);
                set_timestamp(builder.reborrow().init_at(), step.at);
                builder.set_source(&step.source);
                builder.set_destination(&step.destination);
            }
        }
    }
}

impl FlowHead {
    fn write(&self, mut builder: schema::tick::flow_head::Builder<'_>) {
        builder.set_topic(&self.topic);
        builder.set_partition(&self.partition);
        builder.set_epoch(self.epoch);
        builder.set_since(self.since);
        builder.set_next(self.next);
        if let Some(last) = &self.last {
            set_version(builder.init_last(), last);
        }
    }
}

fn read(mut frame: &[u8]) -> capnp::Result<Tick> {
    let options = options_for(frame, ReaderOptions::new());
    let message = capnp::serialize::read_message_from_flat_slice(&mut frame, options)?;
    let root = message.get_root::<schema::tick::Reader<'_>>()?;
    Ok(Tick {
        sender: root.get_sender(),
        senders: root.get_senders(),
        interval_ms: root.get_interval_ms(),
        membership_generation: root.get_membership_generation(),
        partitions: root.get_partitions()?.iter().map(read_partition).collect::<capnp::Result<_>>()?,
        flows: root.get_flows()?.iter().map(read_flow).collect::<capnp::Result<_>>()?,
        relays: root.get_relays()?.iter().map(read_relay).collect::<capnp::Result<_>>()?,
        complete: root.get_complete(),
        newest: root.has_newest().then(|| read_timestamp(root.get_newest()?)).transpose()?,
    })
}

fn read_id(data: &[u8]) -> capnp::Result<PartitionId> {
    data.try_into().map_err(|_| capnp::Error::failed(format!("a partition of {} bytes, not 16", data.len())))
}

fn read_ids(list: capnp::data_list::Reader<'_>) -> capnp::Result<Vec<PartitionId>> {
    list.iter().map(|id| read_id(id?)).collect()
}

fn read_partition(reader: schema::tick::partition::Reader<'_>) -> capnp::Result<TickPartition> {
    Ok(TickPartition {
        id: read_id(reader.get_id()?)?,
        epoch: reader.get_epoch(),
        starts_at: reader.has_starts_at().then(|| read_timestamp(reader.get_starts_at()?)).transpose()?,
        position: reader.has_position().then(|| read_timestamp(reader.get_position()?)).transpose()?,
        parents: read_ids(reader.get_parents()?)?,
        state: match reader.get_state()? {
            schema::tick::partition::State::Live => PartitionState::Live,
            schema::tick::partition::State::Ended => PartitionState::Ended,
            schema::tick::partition::State::Released => PartitionState::Released,
        },
        children: read_ids(reader.get_children()?)?,
        moves: reader.get_moves()?.iter().map(read_move).collect::<capnp::Result<_>>()?,
        stage: reader.get_stage(),
    })
}

fn read_move(reader: schema::tick::move_::Reader<'_>) -> capnp::Result<Move> {
    Ok(Move {
        at: read_timestamp(reader.get_at()?)?,
        source: read_id(reader.get_source()?)?,
        destination: read_id(reader.get_destination()?)?,
    })
}

fn read_flow(reader: schema::tick::flow_head::Reader<'_>) -> capnp::Result<FlowHead> {
    Ok(FlowHead {
        topic: reader.get_topic()?.to_string()?,
        partition: read_id(reader.get_partition()?)?,
        epoch: reader.get_epoch(),
        since: reader.get_since(),
        next: reader.get_next(),
        last: reader.has_last().then(|| read_version(reader.get_last()?)).transpose()?,
    })
}

fn read_relay(reader: schema::tick::relay::Reader<'_>) -> capnp::Result<Relay> {
    Ok(Relay {
        incarnation: reader.get_incarnation(),
        endpoints: read_texts(reader.get_endpoints()?)?,
        replay: read_texts(reader.get_replay()?)?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Of a relay with many partitions. The golden messages hold every field.
    fn large() -> Tick {
        let id = |number: u16| {
            let mut id = [7; 16];
            id[..2].copy_from_slice(&number.to_le_bytes());
            id
        };
        let at = Timestamp { seconds: 5, nanos: 6 };
        let partition = |number| TickPartition {
            id: id(number),
            epoch: 1,
            starts_at: Some(at),
            position: (number % 2 == 0).then_some(at),
            parents: vec![id(number / 2)],
            state: PartitionState::Released,
            children: vec![id(number + 1), id(number + 2)],
            moves: vec![Move { at, source: id(1), destination: id(2) }],
            stage: u32::from(number),
        };
        let version = RecordVersion {
            commit_timestamp: at,
            transaction: "t".repeat(33),
            sequence: "s".repeat(20),
            number: 1,
        };
        let flow = |number| FlowHead {
            topic: "x".repeat(usize::from(number % 50)),
            partition: id(number),
            epoch: 1,
            since: 2,
            next: 3,
            last: (number % 3 == 0).then(|| version.clone()),
        };
        Tick {
            sender: 0,
            senders: 1,
            interval_ms: 1_000,
            membership_generation: 0,
            partitions: (0..1_000).map(partition).collect(),
            flows: (0..3_000).map(flow).collect(),
            relays: vec![
                Relay {
                    incarnation: 1,
                    endpoints: vec!["tcp://127.0.0.1:5555".into(); 30],
                    replay: vec!["tcp://127.0.0.1:5557".into(); 2],
                };
                9
            ],
            complete: true,
            newest: Some(at),
        }
    }

    #[test]
    fn a_large_tick_survives_its_frame_in_one_segment() {
        let tick = large();
        let frame = tick.encode();
        assert_eq!(frame[..4], [0; 4], "the number of segments less one");
        assert_eq!(Tick::decode(&frame).unwrap(), tick);
    }

    #[test]
    fn a_cut_tick_is_refused() {
        let frame = large().encode();
        for cut in (0..frame.len()).step_by(frame.len() / 100) {
            assert!(Tick::decode(&frame[..cut]).is_err(), "cut at {cut}");
        }
    }
}
