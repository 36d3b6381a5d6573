//! One error type for the whole core. No variant carries row data.

use std::fmt;

/// What went wrong, in the words a user can act on.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Error {
    /// The bytes are not a well-formed `PartialResultSet` (truncated, corrupt, too deep, too large).
    Corrupt {
        /// What is wrong, and where it was met.
        what: String,
    },
    /// A change that cannot be decoded. Its partition stops, or it goes raw to the dead letters.
    Undecodable {
        /// The record's version as text, as far as it could be read; empty parts where not.
        version: String,
        /// The table, as far as it could be read.
        table: String,
        /// Why.
        what: String,
    },
    /// A change with values that do not fit their columns, where the settings refuse those: it goes raw to
    /// the dead letters.
    Misfit {
        /// The record's version, that of its first such mod.
        version: String,
        /// The table.
        table: String,
        /// Which.
        what: String,
        /// How many.
        values: u64,
    },
    /// A setting that cannot work.
    Config {
        /// The setting's name, e.g. `bind`.
        setting: &'static str,
        /// What is wrong and what to write instead.
        what: String,
    },
    /// A `ZeroMQ` call failed.
    Socket {
        /// The endpoint or the call.
        at: String,
        /// The errno of the call.
        errno: i32,
        /// What `zmq_strerror` says of it.
        what: String,
    },
    /// A message frame that is not in spanwire's format, or asks for a feature this build does not know.
    Format {
        /// What is wrong.
        what: String,
    },
    /// The partition waits at a partition start or event record, and holds what was read behind it.
    Paused,
    /// The pipeline or partition was closed, or stopped by an earlier error.
    Closed,
}

/// The core's result.
pub type Result<T> = std::result::Result<T, Error>;

impl Error {
    /// A `Corrupt` error.
    pub fn corrupt(what: impl Into<String>) -> Self {
        Self::Corrupt { what: what.into() }
    }

    /// A `Format` error.
    pub fn format(what: impl Into<String>) -> Self {
        Self::Format { what: what.into() }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Corrupt { what } => write!(f, "corrupt response from Spanner: {what}"),
            Self::Undecodable { version, table, what } => {
                write!(f, "cannot decode change {version} of table {table:?}: {what}")
            }
            Self::Misfit { version, table, what, .. } => {
                write!(f, "change {version} of table {table:?}: {what}")
            }
            Self::Config { setting, what } => write!(f, "{setting}: {what}"),
            Self::Socket { at, errno, what } => write!(f, "{at}: {what} (errno {errno})"),
            Self::Format { what } => write!(f, "cannot read the message: {what}"),
            Self::Paused => f.write_str(
                "the partition is paused at a partition start or event record: call proceed() first",
            ),
            Self::Closed => f.write_str("closed"),
        }
    }
}

impl std::error::Error for Error {}
