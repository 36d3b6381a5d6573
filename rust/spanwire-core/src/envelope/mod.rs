//! The wire format: what a consumer receives, as `envelope.capnp` lays it out.
//!
//! | frame | here |
//! |---|---|
//! | header | [`Header`], [`set_sent_at`] |
//! | columns | [`Columns`] |
//! | body: changes | [`Body`] writes, [`read`] reads |
//! | body: tick, dead letter | [`Tick`], [`DeadLetter`] |
//! | what a peer asks, and a relay answers | [`Request`], [`Reply`] |
//!
//! Changes are written by an arena of our own, straight into the buffer that the socket sends;
//! the frames of which there is one a message, or fewer, by the generated builders of the
//! `capnp` crate. Nothing outside this module knows Cap'n Proto.

mod arena;
mod array;
mod body;
mod columns;
mod cursor;
mod dead_letter;
mod form;
mod header;
mod named;
mod object;
pub mod read;
mod reply;
mod request;
mod tick;
mod value;

#[rustfmt::skip]
#[doc(hidden)]
#[allow(missing_docs, unreachable_patterns, clippy::all, clippy::pedantic)]
pub mod envelope_capnp;

pub use body::{Body, Misfits, Values};
pub use columns::{Columns, partition_hash};
pub use dead_letter::DeadLetter;
pub use header::{FORMAT_MAJOR, Header, Kind, set_sent_at};
pub use reply::{Reason, Reply, ReplyKind};
pub use request::{MAX_REQUEST_BYTES, Request, RequestKind};
pub use tick::{FlowHead, Move, PartitionId, PartitionState, Relay, Tick, TickPartition};

use capnp::message::ReaderOptions;
use capnp::{ErrorKind, NotInSchema};

use crate::error::Error;

/// Limits for reading one frame with the generated readers: a message may look at each of its
/// words a few times, not more, and lists and structs nest as deep as the schema can.
fn options_for(frame: &[u8], mut options: ReaderOptions) -> ReaderOptions {
    options.traversal_limit_in_words(Some(frame.len() / 8 * 4 + 64));
    options.nesting_limit(32);
    options
}

/// A frame that the generated readers refuse.
fn malformed(what: &str, error: &capnp::Error) -> Error {
    if let ErrorKind::EnumValueOrUnionDiscriminantNotPresent(NotInSchema(number)) = error.kind {
        return Error::format(format!(
            "{what}: a name or kind of number {number} that this build does not know: update the consumer"
        ));
    }
    Error::format(format!("{what}: {error}"))
}

#[cfg(test)]
mod tests {
    use sha2::{Digest, Sha256};

    #[test]
    fn the_generated_code_is_of_the_schema_as_it_is() {
        let schema = concat!(env!("CARGO_MANIFEST_DIR"), "/../../python/spanwire/envelope.capnp");
        let schema = std::fs::read(schema).expect("the schema is in the repository");
        let digest: Vec<String> = Sha256::digest(&schema).iter().map(|byte| format!("{byte:02x}")).collect();
        assert_eq!(
            digest.concat(),
            include_str!("envelope_capnp.sha256").trim(),
            "envelope.capnp was changed: run `make schema`"
        );
    }
}
