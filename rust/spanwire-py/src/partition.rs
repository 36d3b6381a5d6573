//! `Partition`, and what its pushes and resumes answer.

use std::sync::Arc;

use pyo3::prelude::*;
use pyo3::pybacked::PyBackedBytes;
use spanwire_core::pipeline;

use crate::errors::detached;
use crate::timestamp::Timestamp;

/// One partition under one epoch. One thread at a time pushes.
#[pyclass(frozen, module = "spanwire._core")]
pub struct Partition(pub Arc<pipeline::Partition>);

#[pymethods]
impl Partition {
    #[getter]
    fn token(&self) -> &str {
        self.0.token()
    }

    /// Take messages of the partition's query, in order. Blocks while an output with
    /// on_full="block" is full. After an error the partition takes nothing more. ValueError while
    /// it is paused.
    fn push(&self, py: Python<'_>, messages: Vec<PyBackedBytes>) -> PyResult<Pushed> {
        detached(py, || self.0.push(&messages)).map(Pushed)
    }

    /// Go on behind the record that it pauses at, up to the next such record. Nothing happens where
    /// it does not pause.
    fn proceed(&self, py: Python<'_>) -> PyResult<Pushed> {
        detached(py, || self.0.proceed()).map(Pushed)
    }

    /// After the stream broke: where to go on. Forgets what followed the last resume token, of what
    /// is held too. A pause stays: proceed() is still to be called.
    fn resume(&self, py: Python<'_>) -> Resume {
        Resume(py.detach(|| self.0.resume()))
    }

    /// As resume, but forgets the token too, and with it all that is held and the pause: query
    /// afresh from this start_timestamp (inclusive).
    fn restart(&self, py: Python<'_>) -> Timestamp {
        Timestamp(py.detach(|| self.0.restart()))
    }

    /// The stream ended cleanly: CorruptError if that left a value half read.
    fn end_of_stream(&self, py: Python<'_>) -> PyResult<()> {
        detached(py, || self.0.end_of_stream())
    }

    /// It has ended: in children, at its end record, or (end given) at the requested end timestamp.
    /// ValueError while it is paused.
    #[pyo3(signature = (end=None))]
    fn finish(&self, py: Python<'_>, end: Option<Timestamp>) -> PyResult<()> {
        detached(py, || self.0.finish(end.map(|end| end.0)))
    }

    /// Given up under this epoch, not ended: it leaves the ticks.
    fn release(&self, py: Python<'_>) -> PyResult<()> {
        detached(py, || self.0.release())
    }

    /// All its changes up to here have been handed over; None where nothing is known yet.
    #[getter]
    fn position(&self) -> Option<Timestamp> {
        self.0.position().map(Timestamp)
    }

    /// finish() was called and everything before it has been handed over.
    #[getter]
    fn finished(&self) -> bool {
        self.0.finished()
    }
}

/// What a push met.
#[pyclass(frozen, module = "spanwire._core")]
pub struct Pushed(pipeline::Pushed);

#[pymethods]
impl Pushed {
    /// Data change records, duplicates included.
    #[getter]
    fn records(&self) -> u64 {
        self.0.records
    }

    /// Mods sent on.
    #[getter]
    fn changes(&self) -> u64 {
        self.0.changes
    }

    /// Mods dropped: handed over before.
    #[getter]
    fn duplicates(&self) -> u64 {
        self.0.duplicates
    }

    /// The last one.
    #[getter]
    fn heartbeat(&self) -> Option<Timestamp> {
        self.0.heartbeat.map(Timestamp)
    }

    /// The newest timestamp seen, of whatever record.
    #[getter]
    fn last(&self) -> Option<Timestamp> {
        self.0.last.map(Timestamp)
    }

    #[getter]
    fn children(&self) -> Vec<ChildPartitions> {
        self.0.children.iter().cloned().map(ChildPartitions).collect()
    }

    /// It pauses at a partition start or event record, and holds what was read behind it.
    #[getter]
    fn paused(&self) -> bool {
        self.0.paused
    }

    #[getter]
    fn starts(&self) -> Vec<PartitionStart> {
        self.0.starts.iter().cloned().map(PartitionStart).collect()
    }

    /// The end record's timestamp, where it was met.
    #[getter]
    fn end(&self) -> Option<Timestamp> {
        self.0.end.map(Timestamp)
    }

    /// The partition event record that it pauses at.
    #[getter]
    fn event(&self) -> Option<PartitionEvent> {
        self.0.event.clone().map(PartitionEvent)
    }
}

/// A child partitions record.
#[pyclass(frozen, module = "spanwire._core")]
pub struct ChildPartitions(pub pipeline::Children);

#[pymethods]
impl ChildPartitions {
    /// Read each child from here.
    #[getter]
    fn start(&self) -> Timestamp {
        Timestamp(self.0.start)
    }

    #[getter]
    fn record_sequence(&self) -> &str {
        &self.0.record_sequence
    }

    /// (token, parent tokens); parents are [] for the initial query.
    #[getter]
    fn partitions(&self) -> Vec<(String, Vec<String>)> {
        self.0.partitions.clone()
    }
}

/// A partition start record.
#[pyclass(frozen, module = "spanwire._core")]
pub struct PartitionStart(pipeline::PartitionStart);

#[pymethods]
impl PartitionStart {
    /// Read each of the partitions from here.
    #[getter]
    fn start(&self) -> Timestamp {
        Timestamp(self.0.start)
    }

    #[getter]
    fn record_sequence(&self) -> &str {
        &self.0.record_sequence
    }

    #[getter]
    fn tokens(&self) -> Vec<String> {
        self.0.tokens.clone()
    }
}

/// A partition event record.
#[pyclass(frozen, module = "spanwire._core")]
pub struct PartitionEvent(pipeline::PartitionEvent);

#[pymethods]
impl PartitionEvent {
    /// When keys moved.
    #[getter]
    fn commit_timestamp(&self) -> Timestamp {
        Timestamp(self.0.commit_timestamp)
    }

    #[getter]
    fn record_sequence(&self) -> &str {
        &self.0.record_sequence
    }

    /// Tokens of the partitions that keys came from.
    #[getter]
    fn sources(&self) -> Vec<String> {
        self.0.sources.clone()
    }

    /// Tokens of the partitions that keys went to.
    #[getter]
    fn destinations(&self) -> Vec<String> {
        self.0.destinations.clone()
    }
}

/// Where to go on.
#[pyclass(frozen, module = "spanwire._core")]
pub struct Resume(pipeline::Resume);

#[pymethods]
impl Resume {
    /// Continue the same query behind this token, if there is one.
    #[getter]
    fn token(&self) -> Option<&[u8]> {
        self.0.token.as_deref()
    }

    /// Else query afresh from here (inclusive).
    #[getter]
    fn start(&self) -> Timestamp {
        Timestamp(self.0.start)
    }
}
