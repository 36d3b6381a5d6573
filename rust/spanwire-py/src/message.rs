//! `Message`: four frames, decoded as far as they are looked at.

use std::sync::{Arc, OnceLock};

use pyo3::prelude::*;
use pyo3::pybacked::PyBackedBytes;
use pyo3::sync::PyOnceLock;
use pyo3::types::{PyBytes, PyDict, PyList, PyString};
use spanwire_core::Error;
use spanwire_core::change::RecordVersion as Version;
use spanwire_core::envelope::{self, Columns, DeadLetter, Header, Kind, PartitionState, Tick, Values, read};

use crate::change::Change;
use crate::errors::{OrRaise, raise};
use crate::timestamp::Timestamp;
use crate::version::RecordVersion;

/// One message, decoded as far as it is looked at.
#[pyclass(frozen, module = "spanwire._core")]
pub struct Message(pub Arc<Inner>);

/// What a message and its changes share.
pub struct Inner {
    pub topic: PyBackedBytes,
    pub header: Header,
    columns_frame: PyBackedBytes,
    columns: OnceLock<Columns>,
    names: PyOnceLock<Vec<Py<PyString>>>,
    pub body: PyBackedBytes,
    typed: OnceLock<Typed>,
}

/// The typed form of a body with JSON values.
pub struct Typed {
    pub body: Vec<u8>,
    /// Where each of its records begins.
    pub positions: Vec<usize>,
}

impl Inner {
    /// The columns, parsed once.
    pub fn columns(&self, py: Python<'_>) -> PyResult<&Columns> {
        if let Some(columns) = self.columns.get() {
            return Ok(columns);
        }
        let columns = Columns::decode(&self.columns_frame).or_raise(py)?;
        Ok(self.columns.get_or_init(|| columns))
    }

    /// The columns' names, by place: a list for each message, of strings that all share.
    pub fn names(&self, py: Python<'_>) -> PyResult<&[Py<PyString>]> {
        let names = self.names.get_or_try_init(py, || {
            let columns = self.columns(py)?.columns().iter();
            Ok::<_, PyErr>(columns.map(|column| PyString::intern(py, &column.name).unbind()).collect())
        })?;
        Ok(names)
    }

    /// Of a message with JSON values: its typed form, made once.
    pub fn typed(&self, py: Python<'_>) -> PyResult<&Typed> {
        if let Some(typed) = self.typed.get() {
            return Ok(typed);
        }
        let body = read::typed(&self.body, self.columns(py)?).or_raise(py)?;
        let positions = read::records(&body).map(|record| record.map(|record| record.position()));
        let positions = positions.collect::<spanwire_core::Result<_>>().or_raise(py)?;
        Ok(self.typed.get_or_init(|| Typed { body, positions }))
    }

    pub fn topic(&self) -> String {
        String::from_utf8_lossy(&self.topic).into_owned()
    }
}

#[pymethods]
impl Message {
    /// Four frames: topic, header, columns, body. FormatError where they are not that.
    #[staticmethod]
    fn decode(py: Python<'_>, frames: Vec<PyBackedBytes>) -> PyResult<Self> {
        let frames: [PyBackedBytes; 4] = frames.try_into().map_err(|frames: Vec<_>| {
            raise(
                py,
                &Error::Format { what: format!("a message has four frames, this one {}", frames.len()) },
            )
        })?;
        let [topic, header, columns_frame, body] = frames;
        let header = Header::decode(&header).or_raise(py)?;
        Ok(Self(Arc::new(Inner {
            topic,
            header,
            columns_frame,
            columns: OnceLock::new(),
            names: PyOnceLock::new(),
            body,
            typed: OnceLock::new(),
        })))
    }

    #[getter]
    fn topic(&self) -> String {
        self.0.topic()
    }

    #[getter]
    fn kind(&self) -> &'static str {
        match self.0.header.kind {
            Kind::Changes => "changes",
            Kind::Tick => "tick",
            Kind::Snapshot => "snapshot",
            Kind::Notice => "notice",
            Kind::DeadLetter => "deadLetter",
        }
    }

    #[getter]
    fn values(&self) -> &'static str {
        match self.0.header.values {
            Values::Typed => "typed",
            Values::Json => "json",
        }
    }

    #[getter]
    fn incarnation(&self) -> u64 {
        self.0.header.incarnation
    }

    #[getter]
    fn output(&self) -> u16 {
        self.0.header.output
    }

    #[getter]
    fn epoch(&self) -> u64 {
        self.0.header.epoch
    }

    #[getter]
    fn sequence(&self) -> u64 {
        self.0.header.sequence
    }

    #[getter]
    fn stage(&self) -> u32 {
        self.0.header.stage
    }

    #[getter]
    fn routing_generation(&self) -> u32 {
        self.0.header.routing_generation
    }

    #[getter]
    fn count(&self) -> u32 {
        self.0.header.count
    }

    /// Bytes of its frames.
    #[getter]
    fn size(&self) -> usize {
        let Inner { topic, columns_frame, body, .. } = &*self.0;
        topic.len() + columns_frame.len() + body.len()
    }

    #[getter]
    fn received_at(&self) -> i64 {
        self.0.header.received_at
    }

    #[getter]
    fn sent_at(&self) -> i64 {
        self.0.header.sent_at
    }

    #[getter]
    fn partition<'py>(&self, py: Python<'py>) -> Bound<'py, PyBytes> {
        PyBytes::new(py, &self.0.header.partition)
    }

    #[getter]
    fn first(&self) -> Option<RecordVersion> {
        self.0.header.first.clone().map(RecordVersion)
    }

    #[getter]
    fn last(&self) -> Option<RecordVersion> {
        self.0.header.last.clone().map(RecordVersion)
    }

    #[getter]
    fn traceparent(&self) -> &str {
        &self.0.header.traceparent
    }

    #[getter]
    fn table(&self, py: Python<'_>) -> PyResult<String> {
        Ok(self.0.columns(py)?.table().to_owned())
    }

    /// The changes of the body, in order, each decoded when looked at.
    fn changes<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyList>> {
        Change::all(py, &self.0)
    }

    /// Of kind tick: the Tick struct as dicts, lists, bytes, ints, Timestamp, RecordVersion.
    fn tick<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyDict>> {
        tick_dict(py, &Tick::decode(&self.0.body).or_raise(py)?)
    }

    /// Of kind deadLetter: version, table, reason, raw.
    fn dead_letter<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyDict>> {
        let letter = DeadLetter::decode(&self.0.body).or_raise(py)?;
        let dict = PyDict::new(py);
        dict.set_item("version", RecordVersion(letter.version))?;
        dict.set_item("table", letter.table)?;
        dict.set_item("reason", letter.reason)?;
        dict.set_item("raw", PyBytes::new(py, &letter.raw))?;
        Ok(dict)
    }
}

fn version(version: Option<Version>) -> Option<RecordVersion> {
    version.map(RecordVersion)
}

fn ids<'py>(py: Python<'py>, ids: &[envelope::PartitionId]) -> PyResult<Bound<'py, PyList>> {
    PyList::new(py, ids.iter().map(|id| PyBytes::new(py, id)))
}

fn tick_dict<'py>(py: Python<'py>, tick: &Tick) -> PyResult<Bound<'py, PyDict>> {
    let dict = PyDict::new(py);
    dict.set_item("sender", tick.sender)?;
    dict.set_item("senders", tick.senders)?;
    dict.set_item("interval_ms", tick.interval_ms)?;
    dict.set_item("membership_generation", tick.membership_generation)?;
    let partitions = PyList::empty(py);
    for partition in &tick.partitions {
        let item = PyDict::new(py);
        item.set_item("id", PyBytes::new(py, &partition.id))?;
        item.set_item("epoch", partition.epoch)?;
        item.set_item("starts_at", partition.starts_at.map(Timestamp))?;
        item.set_item("position", partition.position.map(Timestamp))?;
        item.set_item("parents", ids(py, &partition.parents)?)?;
        let state = match partition.state {
            PartitionState::Live => "live",
            PartitionState::Ended => "ended",
            PartitionState::Released => "released",
        };
        item.set_item("state", state)?;
        item.set_item("children", ids(py, &partition.children)?)?;
        let moves = PyList::empty(py);
        for movement in &partition.moves {
            let entry = PyDict::new(py);
            entry.set_item("at", Timestamp(movement.at))?;
            entry.set_item("source", PyBytes::new(py, &movement.source))?;
            entry.set_item("destination", PyBytes::new(py, &movement.destination))?;
            moves.append(entry)?;
        }
        item.set_item("moves", moves)?;
        item.set_item("stage", partition.stage)?;
        partitions.append(item)?;
    }
    dict.set_item("partitions", partitions)?;
    let flows = PyList::empty(py);
    for head in &tick.flows {
        let item = PyDict::new(py);
        item.set_item("topic", &head.topic)?;
        item.set_item("partition", PyBytes::new(py, &head.partition))?;
        item.set_item("epoch", head.epoch)?;
        item.set_item("since", head.since)?;
        item.set_item("next", head.next)?;
        item.set_item("last", version(head.last.clone()))?;
        flows.append(item)?;
    }
    dict.set_item("flows", flows)?;
    let relays = PyList::empty(py);
    for relay in &tick.relays {
        let item = PyDict::new(py);
        item.set_item("incarnation", relay.incarnation)?;
        item.set_item("endpoints", &relay.endpoints)?;
        item.set_item("replay", &relay.replay)?;
        relays.append(item)?;
    }
    dict.set_item("relays", relays)?;
    dict.set_item("complete", tick.complete)?;
    dict.set_item("newest", tick.newest.map(Timestamp))?;
    Ok(dict)
}
