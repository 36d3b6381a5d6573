//! The core of spanwire: bytes of Spanner's `PartialResultSet` in, messages on `ZeroMQ` sockets out.
//!
//! A change walks through these modules from left to right:
//!
//! ```text
//! wire ▶ dedup ▶ choose ▶ envelope ▶ output        (pipeline joins them)
//! ```
//!
//! `change`, `error`, `json` and `base64` are known to all of them; none of the five knows its neighbour.

mod base64;
pub mod change;
pub mod choose;
pub mod dedup;
pub mod envelope;
pub mod error;
pub mod json;
pub mod output;
pub mod pipeline;
pub mod wire;

pub use change::{RecordVersion, Timestamp};
pub use error::{Error, Result};
