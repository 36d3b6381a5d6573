//! What a peer asks of a relay: one frame.

use capnp::message::{Builder, HeapAllocator, ReaderOptions};

use super::envelope_capnp as schema;
use super::header::{FORMAT_MAJOR, read_timestamp, set_timestamp};
use super::named::named;
use super::tick::{PartitionId, count, read_texts, set_texts};
use super::{malformed, options_for};
use crate::change::Timestamp;
use crate::error::{Error, Result};

/// The largest request that is taken.
pub const MAX_REQUEST_BYTES: usize = 64 << 10;

named! {
    /// What is asked.
    pub enum RequestKind {
        /// Nothing that this build knows.
        #[default]
        Unspecified = "unspecified",
        /// Who are you? A welcome.
        Hello = "hello",
        /// More bytes may come in an exchange.
        Credit = "credit",
        /// An exchange is over.
        Cancel = "cancel",
        /// Still there? A pong.
        Ping = "ping",
        /// The next tick of an output tells every head, and comes at once.
        Heads = "heads",
        /// Messages of one flow, by their sequences.
        Repair = "repair",
        /// The live flow.
        Feed = "feed",
        /// All changes between two timestamps, read again.
        Replay = "replay",
        /// The rows of tables at one timestamp.
        Snapshot = "snapshot",
        /// A member comes to a group.
        Join = "join",
        /// And goes.
        Leave = "leave",
        /// Changes of a delivery are done with.
        Ack = "ack",
        /// A change of a delivery cannot be done with.
        Reject = "reject",
    }
}

/// What a peer asks; its fields as in `envelope.capnp`. What a kind does not name is left at its default.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Request {
    /// What is asked. One that this build does not know reads as [`RequestKind::Unspecified`].
    pub kind: RequestKind,
    /// The exchange, by the peer's own number.
    pub id: u64,
    /// Bytes of message frames that the peer takes in this exchange, from its beginning.
    pub credit: u64,
    /// Which output of the relay, as in a header.
    pub output: u16,
    /// The beginnings of topics; of a repair, the flow's own.
    pub topics: Vec<String>,
    /// First 16 bytes of SHA-256 of the stream's resource path; none: whatever it is.
    pub stream: Option<[u8; 16]>,
    /// The relay process of a flow.
    pub incarnation: u64,
    /// The partition of a flow.
    pub partition: Option<PartitionId>,
    /// The epoch of a flow.
    pub epoch: u64,
    /// The first message that is asked for.
    pub first: u64,
    /// The last one.
    pub last: u64,
    /// All changes later than this…
    pub after: Option<Timestamp>,
    /// …up to and including this.
    pub until: Option<Timestamp>,
    /// Changes a second; 0: no limit.
    pub rate: u32,
    /// Changes; 0: no limit.
    pub limit: u64,
    /// Tables of a snapshot.
    pub tables: Vec<String>,
    /// A snapshot's timestamp; none: one that the relay chooses.
    pub at: Option<Timestamp>,
    /// A group's name.
    pub group: String,
    /// The name of one of its members.
    pub member: String,
    /// The number of a delivery.
    pub delivery: u64,
    /// How many of its changes are done with, from its first.
    pub handled: u32,
    /// Why the first one that is not cannot be.
    pub reason: String,
}

impl Request {
    /// The frame. [`Error::Format`] where it is larger than a relay takes.
    pub fn encode(&self) -> Result<Vec<u8>> {
        let mut message = Builder::new(HeapAllocator::new().first_segment_words(self.words()));
        let mut root = message.init_root::<schema::request::Builder<'_>>();
        root.set_format_major(FORMAT_MAJOR);
        root.set_kind(
            schema::request::Kind::try_from(self.kind as u16).unwrap_or(schema::request::Kind::Unspecified),
        );
        root.set_id(self.id);
        root.set_credit(self.credit);
        root.set_output(self.output);
        if !self.topics.is_empty() {
            set_texts(root.reborrow().init_topics(count(self.topics.len())), &self.topics);
        }
        if let Some(stream) = &self.stream {
            root.set_stream(stream);
        }
        root.set_incarnation(self.incarnation);
        if let Some(partition) = &self.partition {
            root.set_partition(partition);
        }
        root.set_epoch(self.epoch);
        root.set_first(self.first);
        root.set_last(self.last);
        if let Some(after) = self.after {
            set_timestamp(root.reborrow().init_after(), after);
        }
        if let Some(until) = self.until {
            set_timestamp(root.reborrow().init_until(), until);
        }
        root.set_rate(self.rate);
        root.set_limit(self.limit);
        if !self.tables.is_empty() {
            set_texts(root.reborrow().init_tables(count(self.tables.len())), &self.tables);
        }
        if let Some(at) = self.at {
            set_timestamp(root.reborrow().init_at(), at);
        }
        root.set_group(&self.group);
        root.set_member(&self.member);
        root.set_delivery(self.delivery);
        root.set_handled(self.handled);
        root.set_reason(&self.reason);
        let frame = capnp::serialize::write_message_to_words(&message);
        check_size(frame.len())?;
        Ok(frame)
    }

    /// Room for all in one segment.
    fn words(&self) -> u32 {
        let texts = self.topics.iter().chain(&self.tables).chain([&self.group, &self.member, &self.reason]);
        count(64 + texts.map(|text| 3 + text.len() / 8).sum::<usize>())
    }

    /// Reads a frame. [`Error::Format`] where it is not a request, is larger than one may be, or is of a
    /// newer format than this build's.
    pub fn decode(frame: &[u8]) -> Result<Self> {
        check_size(frame.len())?;
        let broken = |error: &capnp::Error| malformed("request", error);
        let mut rest = frame;
        let options = options_for(frame, ReaderOptions::new());
        let message = capnp::serialize::read_message_from_flat_slice(&mut rest, options)
            .map_err(|error| broken(&error))?;
        let root = message.get_root::<schema::request::Reader<'_>>().map_err(|error| broken(&error))?;
        check_major("request", root.get_format_major())?;
        read(root).map_err(|error| broken(&error))
    }
}

fn check_size(bytes: usize) -> Result<()> {
    if bytes > MAX_REQUEST_BYTES {
        let what = format!("request: {bytes} bytes, and {MAX_REQUEST_BYTES} are taken: ask for less at once");
        return Err(Error::format(what));
    }
    Ok(())
}

/// Whether a request or a reply is of a format that this build reads.
pub(super) fn check_major(what: &str, major: u16) -> Result<()> {
    if major == 0 || major > FORMAT_MAJOR {
        return Err(Error::format(format!(
            "{what}: format {major}, and this build reads format {FORMAT_MAJOR}: update it"
        )));
    }
    Ok(())
}

/// A hash of 16 bytes; none where it is empty.
pub(super) fn read_hash(what: &str, data: &[u8]) -> capnp::Result<Option<[u8; 16]>> {
    if data.is_empty() {
        return Ok(None);
    }
    let wrong = |_| capnp::Error::failed(format!("a {what} of {} bytes, not 16", data.len()));
    data.try_into().map(Some).map_err(wrong)
}

fn read(root: schema::request::Reader<'_>) -> capnp::Result<Request> {
    let number = root.get_kind().map_or(0, |kind| kind as usize);
    Ok(Request {
        kind: RequestKind::of_number(number),
        id: root.get_id(),
        credit: root.get_credit(),
        output: root.get_output(),
        topics: read_texts(root.get_topics()?)?,
        stream: read_hash("stream", root.get_stream()?)?,
        incarnation: root.get_incarnation(),
        partition: read_hash("partition", root.get_partition()?)?,
        epoch: root.get_epoch(),
        first: root.get_first(),
        last: root.get_last(),
        after: root.has_after().then(|| read_timestamp(root.get_after()?)).transpose()?,
        until: root.has_until().then(|| read_timestamp(root.get_until()?)).transpose()?,
        rate: root.get_rate(),
        limit: root.get_limit(),
        tables: read_texts(root.get_tables()?)?,
        at: root.has_at().then(|| read_timestamp(root.get_at()?)).transpose()?,
        group: root.get_group()?.to_string()?,
        member: root.get_member()?.to_string()?,
        delivery: root.get_delivery(),
        handled: root.get_handled(),
        reason: root.get_reason()?.to_string()?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn timestamp() -> impl Strategy<Value = Option<Timestamp>> {
        let seconds = Timestamp::MIN.seconds..=Timestamp::MAX.seconds;
        let timestamp = (seconds, 0..1_000_000_000_u32);
        proptest::option::of(timestamp.prop_map(|(seconds, nanos)| Timestamp { seconds, nanos }))
    }

    prop_compose! {
        fn request()(
            kind in (0..RequestKind::ALL.len()).prop_map(|number| RequestKind::ALL[number].0),
            (id, credit, output, incarnation, epoch) in any::<(u64, u64, u16, u64, u64)>(),
            (first, last, rate, limit, delivery, handled) in any::<(u64, u64, u32, u64, u64, u32)>(),
            (topics, tables) in (proptest::collection::vec(".{0,20}", 0..5), proptest::collection::vec(".{0,20}", 0..5)),
            (stream, partition) in any::<(Option<[u8; 16]>, Option<[u8; 16]>)>(),
            (after, until, at) in (timestamp(), timestamp(), timestamp()),
            (group, member, reason) in (".{0,20}", ".{0,20}", ".{0,40}"),
        ) -> Request {
            Request {
                kind, id, credit, output, topics, stream, incarnation, partition, epoch, first, last, after,
                until, rate, limit, tables, at, group, member, delivery, handled, reason,
            }
        }
    }

    #[test]
    fn kinds_are_those_of_the_schema() {
        for (number, (kind, name)) in (0_u16..).zip(RequestKind::ALL) {
            let of_schema = schema::request::Kind::try_from(number).unwrap();
            assert_eq!((kind as u16, kind.name()), (number, name));
            assert_eq!(format!("{of_schema:?}").to_lowercase(), name.to_lowercase());
            assert_eq!(RequestKind::of_name(name), Some(kind));
        }
        let more = u16::try_from(RequestKind::ALL.len()).unwrap();
        assert!(schema::request::Kind::try_from(more).is_err());
        assert_eq!(RequestKind::of_name("Hello"), None);
    }

    #[test]
    fn one_that_is_too_large_is_neither_written_nor_read() {
        let request = |topics| Request { topics: vec!["x".repeat(1_000); topics], ..Request::default() };
        assert!(request(60).encode().is_ok());
        assert!(request(70).encode().unwrap_err().to_string().contains("65536"));
        assert!(Request::decode(&vec![0; MAX_REQUEST_BYTES + 8]).unwrap_err().to_string().contains("65536"));
    }

    /// A request as somebody else's build might send it.
    fn foreign(change: impl FnOnce(schema::request::Builder<'_>)) -> Result<Request> {
        let mut message = Builder::new_default();
        let mut root = message.init_root::<schema::request::Builder<'_>>();
        root.set_format_major(FORMAT_MAJOR);
        root.set_id(7);
        change(root);
        Request::decode(&capnp::serialize::write_message_to_words(&message))
    }

    #[test]
    fn what_cannot_be_meant_is_refused_by_name() {
        assert_eq!(foreign(|_| ()).unwrap(), Request { id: 7, ..Request::default() });
        let text = |result: Result<Request>| result.unwrap_err().to_string();
        assert!(text(foreign(|mut root| root.set_format_major(2))).contains("format 2"));
        assert!(text(foreign(|mut root| root.set_format_major(0))).contains("format 0"));
        assert!(text(foreign(|mut root| root.set_stream(&[1; 3]))).contains("a stream of 3 bytes"));
        assert!(text(foreign(|mut root| root.set_partition(&[1; 17]))).contains("a partition of 17 bytes"));
        assert!(text(foreign(|root| root.init_after().set_nanos(1_000_000_000))).contains("timestamp"));
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        #[test]
        fn a_request_survives_its_frame_wherever_that_lies(request in request(), shift in 0_usize..8) {
            let frame = request.encode().unwrap();
            prop_assert_eq!(&frame[..4], [0; 4], "one segment");
            let mut shifted = vec![0; shift];
            shifted.extend_from_slice(&frame);
            prop_assert_eq!(Request::decode(&shifted[shift..]).unwrap(), request);
        }

        #[test]
        fn any_bytes_are_refused_or_read(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
            let _ = Request::decode(&bytes);
        }

        #[test]
        fn a_broken_one_is_refused_or_read_and_a_cut_one_refused(
            request in request(), at in any::<prop::sample::Index>(), byte in any::<u8>(),
        ) {
            let mut frame = request.encode().unwrap();
            prop_assert!(Request::decode(&frame[..at.index(frame.len())]).is_err());
            let place = at.index(frame.len());
            frame[place] = byte;
            let _ = Request::decode(&frame);
        }
    }
}
