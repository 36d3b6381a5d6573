//! `RecordVersion`.

use std::cmp::Ordering;

use pyo3::prelude::*;
use spanwire_core::change;

use crate::timestamp::Timestamp;

/// Names one row change for ever. Ordered by commit timestamp, transaction, sequence, number.
#[pyclass(frozen, eq, ord, hash, module = "spanwire._core")]
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct RecordVersion(pub change::RecordVersion);

impl PartialOrd for RecordVersion {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for RecordVersion {
    fn cmp(&self, other: &Self) -> Ordering {
        fn key(version: &change::RecordVersion) -> (change::Timestamp, &str, &str, u32) {
            (version.commit_timestamp, &version.transaction, &version.sequence, version.number)
        }
        key(&self.0).cmp(&key(&other.0))
    }
}

#[pymethods]
impl RecordVersion {
    /// When its transaction was committed.
    #[getter]
    fn commit_timestamp(&self) -> Timestamp {
        Timestamp(self.0.commit_timestamp)
    }

    /// Spanner's server_transaction_id.
    #[getter]
    fn transaction(&self) -> &str {
        &self.0.transaction
    }

    /// Spanner's record_sequence; never a number.
    #[getter]
    fn sequence(&self) -> &str {
        &self.0.sequence
    }

    /// The mod's place in its record, from 0.
    #[getter]
    fn number(&self) -> u32 {
        self.0.number
    }

    fn __str__(&self) -> String {
        self.0.to_string()
    }

    fn __repr__(&self) -> String {
        format!("<RecordVersion {}>", self.0)
    }
}
