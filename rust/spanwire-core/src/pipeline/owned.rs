//! Records about partitions, owned: what a push tells its caller.

use crate::change::{ChildPartitionsRecord, PartitionEventRecord, PartitionStartRecord, Timestamp};

/// A child partitions record, owned.
#[derive(Debug, Clone)]
pub struct Children {
    /// Read each child from here.
    pub start: Timestamp,
    /// Order among records of one timestamp.
    pub record_sequence: String,
    /// Token and parents' tokens.
    pub partitions: Vec<(String, Vec<String>)>,
}

impl From<&ChildPartitionsRecord<'_>> for Children {
    fn from(record: &ChildPartitionsRecord<'_>) -> Self {
        Self {
            start: record.start_timestamp,
            record_sequence: record.record_sequence.to_string(),
            partitions: record
                .child_partitions
                .iter()
                .map(|child| {
                    let parents = child.parent_partition_tokens.iter().map(ToString::to_string).collect();
                    (child.token.to_string(), parents)
                })
                .collect(),
        }
    }
}

/// A partition start record, owned.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PartitionStart {
    /// Read each of the partitions from here.
    pub start: Timestamp,
    /// Order among records of one timestamp.
    pub record_sequence: String,
    /// The partitions.
    pub tokens: Vec<String>,
}

impl From<&PartitionStartRecord<'_>> for PartitionStart {
    fn from(record: &PartitionStartRecord<'_>) -> Self {
        Self {
            start: record.start_timestamp,
            record_sequence: record.record_sequence.to_string(),
            tokens: record.partition_tokens.iter().map(ToString::to_string).collect(),
        }
    }
}

/// A partition event record, owned.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PartitionEvent {
    /// When keys moved.
    pub commit_timestamp: Timestamp,
    /// Order among records of one timestamp.
    pub record_sequence: String,
    /// Tokens of the partitions that keys came from.
    pub sources: Vec<String>,
    /// Tokens of the partitions that keys went to.
    pub destinations: Vec<String>,
}

impl From<&PartitionEventRecord<'_>> for PartitionEvent {
    fn from(record: &PartitionEventRecord<'_>) -> Self {
        Self {
            commit_timestamp: record.commit_timestamp,
            record_sequence: record.record_sequence.to_string(),
            sources: record.sources.iter().map(ToString::to_string).collect(),
            destinations: record.destinations.iter().map(ToString::to_string).collect(),
        }
    }
}
