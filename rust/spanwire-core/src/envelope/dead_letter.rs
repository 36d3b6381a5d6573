//! The body of a dead letter: a change that could not be decoded, raw.

use capnp::message::{Builder, HeapAllocator, ReaderOptions};

use super::envelope_capnp as schema;
use super::header::{read_version, set_version};
use super::{malformed, options_for};
use crate::change::RecordVersion;
use crate::error::Result;

/// A change that could not be decoded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeadLetter {
    /// Its version, as far as it could be read: texts are empty where not, and the commit
    /// timestamp is 1970 then.
    pub version: RecordVersion,
    /// Its table, as far as it could be read.
    pub table: String,
    /// Why it could not be decoded; never row data.
    pub reason: String,
    /// The row as Spanner sent it: an encoded `google.protobuf.Value`.
    pub raw: Vec<u8>,
}

impl DeadLetter {
    /// The body frame.
    pub fn encode(&self) -> Vec<u8> {
        let words = 64 + (self.raw.len() + self.table.len() + self.reason.len()) / 8;
        let words = u32::try_from(words).unwrap_or(u32::MAX);
        let mut message = Builder::new(HeapAllocator::new().first_segment_words(words));
        let mut root = message.init_root::<schema::dead_letter::Builder<'_>>();
        set_version(root.reborrow().init_version(), &self.version);
        root.set_table(&self.table);
        root.set_reason(&self.reason);
        root.set_raw(&self.raw);
        capnp::serialize::write_message_to_words(&message)
    }

    /// Reads a body frame. [`Error::Format`](crate::Error::Format) where it is not a dead letter.
    pub fn decode(frame: &[u8]) -> Result<Self> {
        read(frame).map_err(|error| malformed("dead letter", &error))
    }
}

fn read(mut frame: &[u8]) -> capnp::Result<DeadLetter> {
    let options = options_for(frame, ReaderOptions::new());
    let message = capnp::serialize::read_message_from_flat_slice(&mut frame, options)?;
    let root = message.get_root::<schema::dead_letter::Reader<'_>>()?;
    Ok(DeadLetter {
        version: read_version(root.get_version()?)?,
        table: root.get_table()?.to_string()?,
        reason: root.get_reason()?.to_string()?,
        raw: root.get_raw()?.to_vec(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::change::Timestamp;

    #[test]
    fn a_dead_letter_survives_its_frame_and_a_cut_one_is_refused() {
        let letter = DeadLetter {
            version: RecordVersion {
                commit_timestamp: Timestamp::MAX,
                transaction: "t".into(),
                sequence: "00000001".into(),
                number: 3,
            },
            table: "sales.orders".into(),
            reason: "new_values is not a JSON object".into(),
            raw: (0..=255).collect(),
        };
        let frame = letter.encode();
        assert_eq!(DeadLetter::decode(&frame).unwrap(), letter);
        for cut in 0..frame.len() {
            assert!(DeadLetter::decode(&frame[..cut]).is_err(), "cut at {cut}");
        }
        let version = RecordVersion {
            commit_timestamp: Timestamp { seconds: 0, nanos: 0 },
            transaction: String::new(),
            sequence: String::new(),
            number: 0,
        };
        let bare = DeadLetter { version, table: String::new(), reason: String::new(), raw: Vec::new() };
        assert_eq!(DeadLetter::decode(&bare.encode()).unwrap(), bare);
    }
}
