//! What an output must know of the wire format, which is not its own: told when it is made.

use crate::change::Timestamp;

/// Which partition a message comes from, and under which ownership: with its topic, its flow.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Origin {
    /// Names the partition.
    pub partition: [u8; 16],
    /// The number of its ownership.
    pub epoch: u64,
}

/// Looks into encoded headers.
#[derive(Debug, Clone, Copy)]
pub struct Format {
    /// Writes the time of sending, nanoseconds since 1970 UTC.
    pub stamp: fn(header: &mut [u8], unix_nanos: i64),
    /// Where its message comes from.
    pub origin: fn(header: &[u8]) -> Option<Origin>,
    /// The commit timestamp of its message's last change.
    pub last_commit: fn(header: &[u8]) -> Option<Timestamp>,
}
