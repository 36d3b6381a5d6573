//! The header frame: all that who only routes or audits needs.

use capnp::message::ReaderOptions;

use super::arena::{Arena, FRAMING, Pointer, WORD};
use super::envelope_capnp as schema;
use super::{Values, malformed, options_for};
use crate::change::{RecordVersion, Timestamp};
use crate::error::{Error, Result};

/// The format this build writes, and the greatest it reads.
pub const FORMAT_MAJOR: u16 = 1;
/// Feature bits of a header that this build knows: none yet.
const KNOWN_FEATURES: u64 = 0;

/// Words of the header's data section, then its pointers, as `capnp compile -ocapnp` lists them.
const DATA_WORDS: u16 = 9;
const POINTERS: u16 = 5;
/// Where `sentAt` is in an encoded header: framing, root pointer, seven words of data.
const SENT_AT: usize = FRAMING + WORD + 7 * WORD;
/// The size of an encoded record version without its texts.
const VERSION_WORDS: usize = 4;

/// What a message's body is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Kind {
    /// Changes as they happen.
    #[default]
    Changes,
    /// A tick of a sender.
    Tick,
    /// Rows as they were at a timestamp.
    Snapshot,
    /// Something a consumer must be told apart from any change.
    Notice,
    /// A change that could not be decoded.
    DeadLetter,
}

/// The header of a message.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Header {
    /// What the body is.
    pub kind: Kind,
    /// How the values of a changes body are written.
    pub values: Values,
    /// Random id of the relay process that sent this.
    pub incarnation: u64,
    /// Which output of the relay it goes through, from 0.
    pub output: u16,
    /// Which ownership of the partition.
    pub epoch: u64,
    /// Place in the flow: 0, 1, 2, … without holes.
    pub sequence: u64,
    /// How many moves of keys the partition had passed under this epoch.
    pub stage: u32,
    /// Which template and buckets made the topic.
    pub routing_generation: u32,
    /// Number of changes (mods) in the body.
    pub count: u32,
    /// Nanoseconds since 1970 UTC: first byte of the oldest change left Spanner's channel.
    pub received_at: i64,
    /// Nanoseconds since 1970 UTC: handed to the socket; see [`set_sent_at`].
    pub sent_at: i64,
    /// [`partition_hash`](super::partition_hash) of the partition; a tick names its sender here.
    pub partition: [u8; 16],
    /// [`Columns::hash`](super::Columns::hash); none where the columns frame is empty.
    pub columns_hash: Option<[u8; 16]>,
    /// The oldest change in the body.
    pub first: Option<RecordVersion>,
    /// The newest.
    pub last: Option<RecordVersion>,
    /// W3C trace context, empty where none.
    pub traceparent: String,
}

impl Header {
    /// The header frame.
    pub fn encode(&self) -> Vec<u8> {
        let mut frame = Vec::with_capacity(self.encoded_len());
        let mut arena = Arena::begin(&mut frame, DATA_WORDS, POINTERS);
        let kind: u64 = match self.kind {
            Kind::Changes => 0,
            Kind::Tick => 1,
            Kind::Snapshot => 2,
            Kind::Notice => 3,
            Kind::DeadLetter => 4,
        };
        let values: u64 = match self.values {
            Values::Typed => 0,
            Values::Json => 1,
        };
        let body_encoding: u64 = 0;
        arena.set(1, u64::from(FORMAT_MAJOR) | body_encoding << 16 | kind << 32 | values << 48);
        arena.set(3, self.incarnation);
        arena.set(4, self.epoch);
        arena.set(5, self.sequence);
        arena.set(6, u64::from(self.routing_generation) | u64::from(self.count) << 32);
        arena.set(7, self.received_at.cast_unsigned());
        arena.set(8, self.sent_at.cast_unsigned());
        arena.set(9, u64::from(self.output) | u64::from(self.stage) << 32);
        let pointers = 1 + u32::from(DATA_WORDS);
        let partition = arena.data(&self.partition);
        arena.set_pointer(pointers, partition);
        if let Some(hash) = &self.columns_hash {
            let hash = arena.data(hash);
            arena.set_pointer(pointers + 1, hash);
        }
        for (place, version) in (2..).zip([&self.first, &self.last]) {
            if let Some(version) = version {
                let version = write_version(&mut arena, version);
                arena.set_pointer(pointers + place, version);
            }
        }
        let traceparent = arena.text(self.traceparent.as_bytes());
        arena.set_pointer(pointers + 4, traceparent);
        arena.finish();
        debug_assert_eq!(frame.len(), self.encoded_len());
        frame
    }

    /// Exact, so that the frame can be handed to `ZeroMQ` without a copy.
    fn encoded_len(&self) -> usize {
        let text = |text: &str| if text.is_empty() { 0 } else { (text.len() + 1).next_multiple_of(WORD) };
        let version = |version: &Option<RecordVersion>| {
            version.as_ref().map_or(0, |version| {
                VERSION_WORDS * WORD + text(&version.transaction) + text(&version.sequence)
            })
        };
        FRAMING
            + (1 + usize::from(DATA_WORDS) + usize::from(POINTERS)) * WORD
            + 16
            + self.columns_hash.map_or(0, |hash| hash.len())
            + version(&self.first)
            + version(&self.last)
            + text(&self.traceparent)
    }

    /// Reads a header frame. [`Error::Format`] where it is not one, where its format is newer
    /// than this build, or where it asks for something that this build does not know.
    pub fn decode(frame: &[u8]) -> Result<Self> {
        let broken = |error: &capnp::Error| malformed("header frame", error);
        let mut rest = frame;
        let message = capnp::serialize::read_message_from_flat_slice(
            &mut rest,
            options_for(frame, ReaderOptions::new()),
        )
        .map_err(|error| broken(&error))?;
        let root = message.get_root::<schema::header::Reader<'_>>().map_err(|error| broken(&error))?;
        check_understood(root)?;
        read(root)
    }
}

/// Whether this build can read what the header announces.
fn check_understood(root: schema::header::Reader<'_>) -> Result<()> {
    let major = root.get_format_major();
    if major == 0 || major > FORMAT_MAJOR {
        return Err(Error::format(format!(
            "header frame: format {major}, and this build reads format {FORMAT_MAJOR}: update the consumer"
        )));
    }
    let unknown = root.get_required_features() & !KNOWN_FEATURES;
    if unknown != 0 {
        let bits: Vec<_> =
            (0..64).filter(|bit| unknown >> bit & 1 == 1).map(|bit: u32| bit.to_string()).collect();
        return Err(Error::format(format!(
            "header frame: requires feature bits {} that this build does not know: update the consumer",
            bits.join(", ")
        )));
    }
    match root.get_body_encoding() {
        Ok(schema::header::BodyEncoding::None) => Ok(()),
        Ok(schema::header::BodyEncoding::Zstd) => Err(Error::format(
            "header frame: a body compressed with zstd, which this build does not read yet",
        )),
        Err(capnp::NotInSchema(number)) => Err(Error::format(format!(
            "header frame: body encoding {number}, which this build does not know: update the consumer"
        ))),
    }
}

fn read(root: schema::header::Reader<'_>) -> Result<Header> {
    let broken = |error: capnp::Error| malformed("header frame", &error);
    let unknown = |what: &str, number: u16| {
        Error::format(format!(
            "header frame: {what} {number}, which this build does not know: update the consumer"
        ))
    };
    let hash = |what: &str, data: &[u8]| {
        data.try_into()
            .map_err(|_| Error::format(format!("header frame: {what} of {} bytes, not 16", data.len())))
    };
    let columns_hash = match root.get_columns_hash().map_err(broken)? {
        [] => None,
        data => Some(hash("a columns hash", data)?),
    };
    let first = root.has_first().then(|| read_version(root.get_first()?)).transpose().map_err(broken)?;
    let last = root.has_last().then(|| read_version(root.get_last()?)).transpose().map_err(broken)?;
    Ok(Header {
        kind: match root.get_kind() {
            Ok(schema::header::Kind::Changes) => Kind::Changes,
            Ok(schema::header::Kind::Tick) => Kind::Tick,
            Ok(schema::header::Kind::Snapshot) => Kind::Snapshot,
            Ok(schema::header::Kind::Notice) => Kind::Notice,
            Ok(schema::header::Kind::DeadLetter) => Kind::DeadLetter,
            Err(capnp::NotInSchema(number)) => return Err(unknown("kind", number)),
        },
        values: match root.get_values() {
            Ok(schema::header::Values::Typed) => Values::Typed,
            Ok(schema::header::Values::Json) => Values::Json,
            Err(capnp::NotInSchema(number)) => return Err(unknown("values", number)),
        },
        incarnation: root.get_incarnation(),
        output: root.get_output(),
        epoch: root.get_epoch(),
        sequence: root.get_sequence(),
        stage: root.get_stage(),
        routing_generation: root.get_routing_generation(),
        count: root.get_count(),
        received_at: root.get_received_at(),
        sent_at: root.get_sent_at(),
        partition: hash("a partition", root.get_partition().map_err(broken)?)?,
        columns_hash,
        first,
        last,
        traceparent: root.get_traceparent().and_then(|text| Ok(text.to_string()?)).map_err(broken)?,
    })
}

/// Stamps an encoded header with the time at which it is handed to the socket, in nanoseconds
/// since 1970 UTC. What is too short to be a header stays as it is.
pub fn set_sent_at(header_frame: &mut [u8], nanos: i64) {
    if let Some(place) = header_frame.get_mut(SENT_AT..SENT_AT + WORD) {
        place.copy_from_slice(&nanos.to_le_bytes());
    }
}

fn write_version(arena: &mut Arena<'_>, version: &RecordVersion) -> Pointer {
    let position = arena.zeros(4);
    let Timestamp { seconds, nanos } = version.commit_timestamp;
    arena.set(position, seconds.cast_unsigned());
    arena.set(position + 1, u64::from(nanos) | u64::from(version.number) << 32);
    let transaction = arena.text(version.transaction.as_bytes());
    arena.set_pointer(position + 2, transaction);
    let sequence = arena.text(version.sequence.as_bytes());
    arena.set_pointer(position + 3, sequence);
    Pointer::structure(position, 2, 2)
}

/// For the frames that are encoded with the generated builders.
pub(super) fn set_version(mut builder: schema::record_version::Builder<'_>, version: &RecordVersion) {
    builder.set_mod(version.number);
    builder.set_transaction(&version.transaction);
    builder.set_sequence(&version.sequence);
    let mut commit = builder.get_commit_timestamp();
    commit.set_seconds(version.commit_timestamp.seconds);
    commit.set_nanos(version.commit_timestamp.nanos);
}

pub(super) fn read_version(reader: schema::record_version::Reader<'_>) -> capnp::Result<RecordVersion> {
    let commit = reader.get_commit_timestamp();
    Ok(RecordVersion {
        commit_timestamp: timestamp(commit.get_seconds(), commit.get_nanos())?,
        transaction: reader.get_transaction()?.to_string()?,
        sequence: reader.get_sequence()?.to_string()?,
        number: reader.get_mod(),
    })
}

pub(super) fn set_timestamp(mut builder: schema::timestamp::Builder<'_>, timestamp: Timestamp) {
    builder.set_seconds(timestamp.seconds);
    builder.set_nanos(timestamp.nanos);
}

pub(super) fn read_timestamp(reader: schema::timestamp::Reader<'_>) -> capnp::Result<Timestamp> {
    timestamp(reader.get_seconds(), reader.get_nanos())
}

/// A timestamp that Spanner can hold.
pub(super) fn timestamp(seconds: i64, nanos: u32) -> capnp::Result<Timestamp> {
    let timestamp = Timestamp { seconds, nanos };
    if nanos > 999_999_999 || !(Timestamp::MIN..=Timestamp::MAX).contains(&timestamp) {
        return Err(capnp::Error::failed("a timestamp outside the years 0001 to 9999".into()));
    }
    Ok(timestamp)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn version() -> impl Strategy<Value = RecordVersion> {
        (
            Timestamp::MIN.seconds..=Timestamp::MAX.seconds,
            0..1_000_000_000_u32,
            ".{0,20}",
            ".{0,30}",
            any::<u32>(),
        )
            .prop_map(|(seconds, nanos, transaction, sequence, number)| RecordVersion {
                commit_timestamp: Timestamp { seconds, nanos },
                transaction,
                sequence,
                number,
            })
    }

    prop_compose! {
        fn header()(
            kind in prop_oneof![
                Just(Kind::Changes), Just(Kind::Tick), Just(Kind::Snapshot), Just(Kind::Notice), Just(Kind::DeadLetter)
            ],
            json in any::<bool>(),
            numbers in any::<(u64, u16, u64, u64, u32, u32, u32, i64, i64)>(),
            partition in any::<[u8; 16]>(),
            columns_hash in any::<Option<[u8; 16]>>(),
            first in proptest::option::of(version()),
            last in proptest::option::of(version()),
            traceparent in ".{0,60}",
        ) -> Header {
            let (incarnation, output, epoch, sequence, stage, routing_generation, count, received_at, sent_at) = numbers;
            let values = if json { Values::Json } else { Values::Typed };
            Header {
                kind, values, incarnation, output, epoch, sequence, stage, routing_generation, count, received_at,
                sent_at, partition, columns_hash, first, last, traceparent,
            }
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        #[test]
        fn a_header_survives_its_frame_wherever_that_lies(header in header(), shift in 0_usize..8) {
            let frame = header.encode();
            prop_assert_eq!(frame.len(), frame.capacity(), "handed to ZeroMQ without a copy");
            let mut shifted = vec![0; shift];
            shifted.extend_from_slice(&frame);
            prop_assert_eq!(Header::decode(&shifted[shift..]).unwrap(), header);
        }

        #[test]
        fn stamping_changes_the_time_sent_and_nothing_else(header in header(), nanos in any::<i64>()) {
            let mut frame = header.encode();
            set_sent_at(&mut frame, nanos);
            prop_assert_eq!(Header::decode(&frame).unwrap(), Header { sent_at: nanos, ..header });
        }

        #[test]
        fn any_bytes_are_refused_or_read(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = Header::decode(&bytes);
            set_sent_at(&mut bytes.clone(), 1);
        }

        #[test]
        fn a_header_with_broken_bytes_is_refused_or_read(header in header(), at in any::<prop::sample::Index>(), byte in any::<u8>(), cut in any::<prop::sample::Index>()) {
            let mut frame = header.encode();
            let place = at.index(frame.len());
            frame[place] = byte;
            let _ = Header::decode(&frame);
            let _ = Header::decode(&frame[..cut.index(frame.len())]);
        }
    }

    /// A header as somebody else's, newer relay might send it.
    fn foreign(change: impl FnOnce(schema::header::Builder<'_>)) -> Result<Header> {
        let mut message = capnp::message::Builder::new_default();
        let mut root = message.init_root::<schema::header::Builder<'_>>();
        root.set_format_major(FORMAT_MAJOR);
        root.set_partition(&[7; 16]);
        change(root);
        Header::decode(&capnp::serialize::write_message_to_words(&message))
    }

    #[test]
    fn what_this_build_does_not_know_is_refused_by_name() {
        assert!(foreign(|_| ()).is_ok());
        let text = |result: Result<Header>| result.unwrap_err().to_string();
        assert!(text(foreign(|mut root| root.set_format_major(2))).contains("format 2"));
        assert!(text(foreign(|mut root| root.set_format_major(0))).contains("format 0"));
        let features = text(foreign(|mut root| root.set_required_features(1 << 63 | 1 << 3)));
        assert!(features.contains("feature bits 3, 63"), "{features}");
        let zstd = text(foreign(|mut root| root.set_body_encoding(schema::header::BodyEncoding::Zstd)));
        assert!(zstd.contains("zstd"), "{zstd}");
        assert!(text(foreign(|mut root| root.set_partition(&[1; 3]))).contains("3 bytes"));
    }
}
