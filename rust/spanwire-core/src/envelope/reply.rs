//! What a relay answers: one frame, and behind it the four of a message where there is one.

use capnp::message::{Builder, HeapAllocator, ReaderOptions};

use super::envelope_capnp as schema;
use super::header::{FORMAT_MAJOR, read_timestamp, set_timestamp};
use super::named::named;
use super::request::{check_major, read_hash};
use super::tick::count;
use super::{malformed, options_for};
use crate::change::Timestamp;
use crate::error::Result;

named! {
    /// What is answered.
    pub enum ReplyKind {
        /// Nothing that this build knows.
        #[default]
        Unspecified = "unspecified",
        /// The relay says who it is, or that an exchange begins.
        Welcome = "welcome",
        /// A message, in the frames that follow.
        Message = "message",
        /// An exchange has come this far.
        Progress = "progress",
        /// It is over: all has been sent.
        Done = "done",
        /// It is over, or never began; why.
        Refused = "refused",
        /// The answer to a ping.
        Pong = "pong",
        /// Changes for a member of a group, in the frames that follow.
        Work = "work",
    }
}

named! {
    /// Why something was refused.
    pub enum Reason {
        /// None that this build knows.
        #[default]
        Unspecified = "unspecified",
        /// The bytes are not a request, or say what cannot be.
        Malformed = "malformed",
        /// A kind that the relay does not know.
        UnknownKind = "unknownKind",
        /// It has no such output.
        UnknownOutput = "unknownOutput",
        /// That output has no such topic.
        UnknownTopic = "unknownTopic",
        /// It cannot be had any more.
        Gone = "gone",
        /// It lies in the future.
        Future = "future",
        /// It was asked of another stream.
        OtherStream = "otherStream",
        /// Too many peers, exchanges or topics.
        TooMany = "tooMany",
        /// Not now: ask again later.
        Busy = "busy",
        /// Nothing like it was ever sent.
        NeverSent = "neverSent",
        /// Something else had to come first.
        OutOfOrder = "outOfOrder",
        /// Too large.
        TooLarge = "tooLarge",
        /// It was begun, and failed.
        Failed = "failed",
        /// The relay stops.
        Stopping = "stopping",
        /// Not a member of that group.
        NotMember = "notMember",
    }
}

/// What a relay answers; its fields as in `envelope.capnp`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Reply {
    /// What is answered. One that this build does not know reads as [`ReplyKind::Unspecified`].
    pub kind: ReplyKind,
    /// The exchange, by the peer's own number.
    pub id: u64,
    /// First 16 bytes of SHA-256 of the stream's resource path.
    pub stream: Option<[u8; 16]>,
    /// All up to here has been sent in this exchange.
    pub position: Option<Timestamp>,
    /// The oldest that can still be had.
    pub oldest: Option<Timestamp>,
    /// Why it was refused.
    pub reason: Reason,
    /// The same in words.
    pub text: String,
    /// The number of a delivery.
    pub delivery: u64,
    /// How many of its changes were handled before, from its first.
    pub handled: u32,
    /// How often the first that was not has been delivered.
    pub deliveries: u32,
    /// Rows of a snapshot that were sent.
    pub rows_done: u64,
    /// Of how many; 0 where it is not known.
    pub rows_total: u64,
    /// Where work ends, before this one of its changes; 0: with the last.
    pub until: u32,
}

impl Reply {
    /// The frame.
    pub fn encode(&self) -> Vec<u8> {
        let words = count(48 + self.text.len() / 8);
        let mut message = Builder::new(HeapAllocator::new().first_segment_words(words));
        let mut root = message.init_root::<schema::reply::Builder<'_>>();
        root.set_format_major(FORMAT_MAJOR);
        root.set_kind(
            schema::reply::Kind::try_from(self.kind as u16).unwrap_or(schema::reply::Kind::Unspecified),
        );
        root.set_id(self.id);
        if let Some(stream) = &self.stream {
            root.set_stream(stream);
        }
        if let Some(position) = self.position {
            set_timestamp(root.reborrow().init_position(), position);
        }
        if let Some(oldest) = self.oldest {
            set_timestamp(root.reborrow().init_oldest(), oldest);
        }
        root.set_reason(
            schema::reply::Reason::try_from(self.reason as u16).unwrap_or(schema::reply::Reason::Unspecified),
        );
        root.set_text(&self.text);
        root.set_delivery(self.delivery);
        root.set_handled(self.handled);
        root.set_deliveries(self.deliveries);
        root.set_rows_done(self.rows_done);
        root.set_rows_total(self.rows_total);
        root.set_until(self.until);
        capnp::serialize::write_message_to_words(&message)
    }

    /// Reads a frame. [`Error::Format`](crate::Error::Format) where it is not a reply, or of a newer format
    /// than this build's.
    pub fn decode(frame: &[u8]) -> Result<Self> {
        let broken = |error: &capnp::Error| malformed("reply", error);
        let mut rest = frame;
        let options = options_for(frame, ReaderOptions::new());
        let message = capnp::serialize::read_message_from_flat_slice(&mut rest, options)
            .map_err(|error| broken(&error))?;
        let root = message.get_root::<schema::reply::Reader<'_>>().map_err(|error| broken(&error))?;
        check_major("reply", root.get_format_major())?;
        read(root).map_err(|error| broken(&error))
    }
}

fn read(root: schema::reply::Reader<'_>) -> capnp::Result<Reply> {
    let kind = root.get_kind().map_or(0, |kind| kind as usize);
    let reason = root.get_reason().map_or(0, |reason| reason as usize);
    Ok(Reply {
        kind: ReplyKind::of_number(kind),
        id: root.get_id(),
        stream: read_hash("stream", root.get_stream()?)?,
        position: root.has_position().then(|| read_timestamp(root.get_position()?)).transpose()?,
        oldest: root.has_oldest().then(|| read_timestamp(root.get_oldest()?)).transpose()?,
        reason: Reason::of_number(reason),
        text: root.get_text()?.to_string()?,
        delivery: root.get_delivery(),
        handled: root.get_handled(),
        deliveries: root.get_deliveries(),
        rows_done: root.get_rows_done(),
        rows_total: root.get_rows_total(),
        until: root.get_until(),
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
        fn reply()(
            kind in (0..ReplyKind::ALL.len()).prop_map(|number| ReplyKind::ALL[number].0),
            reason in (0..Reason::ALL.len()).prop_map(|number| Reason::ALL[number].0),
            (id, delivery, handled, deliveries, rows_done, rows_total) in any::<(u64, u64, u32, u32, u64, u64)>(),
            stream in any::<Option<[u8; 16]>>(),
            (position, oldest) in (timestamp(), timestamp()),
            text in ".{0,60}",
            until in any::<u32>(),
        ) -> Reply {
            Reply {
                kind, id, stream, position, oldest, reason, text, delivery, handled, deliveries, rows_done,
                rows_total, until,
            }
        }
    }

    #[test]
    fn kinds_and_reasons_are_those_of_the_schema() {
        for (number, (kind, name)) in (0_u16..).zip(ReplyKind::ALL) {
            let of_schema = schema::reply::Kind::try_from(number).unwrap();
            assert_eq!((kind as u16, kind.name()), (number, name));
            assert_eq!(format!("{of_schema:?}").to_lowercase(), name.to_lowercase());
            assert_eq!(ReplyKind::of_name(name), Some(kind));
        }
        for (number, (reason, name)) in (0_u16..).zip(Reason::ALL) {
            let of_schema = schema::reply::Reason::try_from(number).unwrap();
            assert_eq!((reason as u16, reason.name()), (number, name));
            assert_eq!(format!("{of_schema:?}").to_lowercase(), name.to_lowercase());
            assert_eq!(Reason::of_name(name), Some(reason));
        }
        assert!(schema::reply::Kind::try_from(u16::try_from(ReplyKind::ALL.len()).unwrap()).is_err());
        assert!(schema::reply::Reason::try_from(u16::try_from(Reason::ALL.len()).unwrap()).is_err());
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        #[test]
        fn a_reply_survives_its_frame_wherever_that_lies(reply in reply(), shift in 0_usize..8) {
            let frame = reply.encode();
            prop_assert_eq!(&frame[..4], [0; 4], "one segment");
            let mut shifted = vec![0; shift];
            shifted.extend_from_slice(&frame);
            prop_assert_eq!(Reply::decode(&shifted[shift..]).unwrap(), reply);
        }

        #[test]
        fn any_bytes_are_refused_or_read(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
            let _ = Reply::decode(&bytes);
        }

        #[test]
        fn a_broken_one_is_refused_or_read_and_a_cut_one_refused(
            reply in reply(), at in any::<prop::sample::Index>(), byte in any::<u8>(),
        ) {
            let mut frame = reply.encode();
            prop_assert!(Reply::decode(&frame[..at.index(frame.len())]).is_err());
            let place = at.index(frame.len());
            frame[place] = byte;
            let _ = Reply::decode(&frame);
        }
    }
}
