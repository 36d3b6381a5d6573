//! `Pipeline`: bytes of `PartialResultSet` in, `ZeroMQ` messages out.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use pyo3::exceptions::{PyIndexError, PyValueError};
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyList};
use spanwire_core::Error;
use spanwire_core::envelope::Misfits;
use spanwire_core::output::FeedStats;
use spanwire_core::pipeline::{self, OnUndecodable, PartitionSettings, Settings, TableSettings};
use spanwire_core::wire::TableColumn;

use crate::errors::{OrRaise, detached, raise};
use crate::output::{Options, Output};
use crate::partition::Partition;
use crate::records::shape;
use crate::ring::Ring;
use crate::table_rows::TableRows;
use crate::timestamp::Timestamp;

/// Bytes of PartialResultSet in, ZeroMQ messages out. Thread-safe; a context manager.
#[pyclass(frozen, module = "spanwire._core")]
pub struct Pipeline(pipeline::Pipeline);

#[pymethods]
impl Pipeline {
    #[new]
    #[pyo3(signature = (database, stream, outputs, *, topic="{database}/{stream}/{table}/", on_undecodable="stop", on_misfit="text", replay_endpoints=Vec::new(), stream_id=None, options=None))]
    fn new(
        py: Python<'_>,
        database: String,
        stream: String,
        outputs: Vec<Output>,
        topic: &str,
        on_undecodable: &str,
        on_misfit: &str,
        replay_endpoints: Vec<String>,
        stream_id: Option<&[u8]>,
        options: Option<HashMap<String, i64>>,
    ) -> PyResult<Self> {
        let on_undecodable = match on_undecodable {
            "stop" => OnUndecodable::Stop,
            "dead-letter" => OnUndecodable::DeadLetter,
            other => {
                let what = format!("must be \"stop\" or \"dead-letter\", is {other:?}");
                return Err(raise(py, &Error::Config { setting: "on_undecodable", what }));
            }
        };
        let on_misfit = match on_misfit {
            "text" => Misfits::AsText,
            "dead-letter" => Misfits::Refused,
            other => {
                let what = format!("must be \"text\" or \"dead-letter\", is {other:?}");
                return Err(raise(py, &Error::Config { setting: "on_misfit", what }));
            }
        };
        let stream_id = stream_id.map(<[u8; 16]>::try_from).transpose().map_err(|_| {
            let what = "must be 16 bytes: the first of SHA-256 of the stream's resource path".to_owned();
            raise(py, &Error::Config { setting: "stream_id", what })
        })?;
        let mut settings = Settings {
            database,
            stream,
            topic: topic.to_owned(),
            on_undecodable,
            on_misfit,
            outputs: outputs.into_iter().map(|output| output.0).collect(),
            replay_endpoints,
            stream_id,
            ..Settings::default()
        };
        let mut options = Options::new(py, options);
        options.take("io_threads", &mut settings.io_threads)?;
        options.take_time("tick_ms", 1, &mut settings.tick)?;
        options.take("max_record_bytes", &mut settings.max_record_bytes)?;
        options.finish()?;
        detached(py, || pipeline::Pipeline::new(settings)).map(Self)
    }

    /// The random id of this relay process, in every header.
    #[getter]
    fn incarnation(&self) -> u64 {
        self.0.incarnation()
    }

    /// Per output, per sender: the address bound, wildcard ports resolved.
    #[getter]
    fn endpoints(&self) -> Vec<Vec<String>> {
        self.0.endpoints()
    }

    /// Open a partition under an epoch.
    #[pyo3(signature = (token, *, dialect, mode="immutable", epoch, start, resumed=false, parents=Vec::new(), known=None))]
    fn partition(
        &self,
        py: Python<'_>,
        token: String,
        dialect: &str,
        mode: &str,
        epoch: u64,
        start: Timestamp,
        resumed: bool,
        parents: Vec<String>,
        known: Option<Timestamp>,
    ) -> PyResult<Partition> {
        let shape = shape(py, dialect, mode)?;
        let settings = PartitionSettings {
            token,
            shape,
            epoch,
            start: start.0,
            resumed,
            parents,
            known: known.map(|at| at.0),
        };
        detached(py, || self.0.partition(settings)).map(Partition)
    }

    /// Open a read of a part of a table, for a snapshot. Columns are (name, is_primary_key, ordinal_position).
    #[pyo3(signature = (table, columns, *, part, at))]
    fn table(
        &self,
        table: String,
        columns: Vec<(String, bool, i64)>,
        part: String,
        at: Timestamp,
    ) -> PyResult<TableRows> {
        if columns.is_empty() {
            return Err(PyValueError::new_err(
                "columns must name at least one: without any there are no rows",
            ));
        }
        let column =
            |(name, is_primary_key, ordinal_position)| TableColumn { name, is_primary_key, ordinal_position };
        let columns = columns.into_iter().map(column).collect();
        Ok(TableRows(self.0.table(TableSettings { table, part, columns, at: at.0 })))
    }

    /// What an output keeps of what it has handed over.
    fn ring(&self, py: Python<'_>, output: usize) -> PyResult<Ring> {
        let Some(found) = self.0.outputs().nth(output) else {
            let outputs = self.0.outputs().count();
            return Err(PyIndexError::new_err(format!("output {output} of {outputs}")));
        };
        found.ring().map(|ring| Ring(Arc::clone(ring))).ok_or_else(|| {
            let what = format!("output {output} keeps no messages: give it more than 0");
            raise(py, &Error::Config { setting: "ring_bytes", what })
        })
    }

    /// Have each sender of an output tell every head in a tick, at once.
    fn tell(&self, py: Python<'_>, output: usize) -> PyResult<()> {
        self.0.tell(output).or_raise(py)
    }

    /// Counters: see docs/metrics.md.
    fn stats<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyDict>> {
        let dict = PyDict::new(py);
        let counters = self.0.counters();
        for (name, counter) in [
            ("pushes", &counters.pushes),
            ("bytes", &counters.bytes),
            ("records", &counters.records),
            ("changes", &counters.changes),
            ("duplicates", &counters.duplicates),
            ("filtered", &counters.filtered),
            ("undecided", &counters.undecided),
            ("heartbeats", &counters.heartbeats),
            ("undecodable", &counters.undecodable),
            ("misfits", &counters.misfits),
            ("dead_letters", &counters.dead_letters),
        ] {
            dict.set_item(name, counter.load(Relaxed))?;
        }
        let outputs = PyList::empty(py);
        for output in self.0.outputs() {
            let senders = PyList::empty(py);
            for sender in output.senders() {
                senders.append(sender_stats(py, sender)?)?;
            }
            outputs.append(senders)?;
        }
        dict.set_item("outputs", outputs)?;
        let rings = PyList::empty(py);
        for output in self.0.outputs() {
            rings.append(output.ring().map(|ring| ring_stats(py, ring)).transpose()?)?;
        }
        dict.set_item("rings", rings)?;
        let feeds = PyList::empty(py);
        for output in self.0.outputs() {
            feeds.append(output.feed_stats().map(|stats| feed_stats(py, &stats)).transpose()?)?;
        }
        dict.set_item("feeds", feeds)?;
        Ok(dict)
    }

    /// Wait until all that was pushed is handed over; False when time ran out. Seconds.
    fn drain(&self, py: Python<'_>, timeout: f64) -> PyResult<bool> {
        let timeout = Duration::try_from_secs_f64(timeout)
            .map_err(|_| PyValueError::new_err(format!("timeout must be 0 or more seconds, is {timeout}")))?;
        Ok(py.detach(|| self.0.drain(timeout)))
    }

    /// Stop all senders. What is still queued is not sent: drain first.
    fn close(&self, py: Python<'_>) {
        py.detach(|| self.0.close());
    }

    fn __enter__(slf: Py<Self>) -> Py<Self> {
        slf
    }

    fn __exit__(
        &self,
        py: Python<'_>,
        _kind: Option<&Bound<'_, PyAny>>,
        _value: Option<&Bound<'_, PyAny>>,
        _trace: Option<&Bound<'_, PyAny>>,
    ) {
        self.close(py);
    }
}

fn ring_stats<'py>(py: Python<'py>, ring: &spanwire_core::output::Ring) -> PyResult<Bound<'py, PyDict>> {
    let stats = ring.stats();
    let dict = PyDict::new(py);
    dict.set_item("bytes", stats.bytes)?;
    dict.set_item("max_bytes", stats.max_bytes)?;
    dict.set_item("messages", stats.messages)?;
    dict.set_item("flows", stats.flows)?;
    dict.set_item("oldest", stats.oldest.map(Timestamp))?;
    Ok(dict)
}

fn feed_stats<'py>(py: Python<'py>, stats: &FeedStats) -> PyResult<Bound<'py, PyDict>> {
    let dict = PyDict::new(py);
    dict.set_item("peers", stats.peers)?;
    dict.set_item("exchanges", stats.exchanges)?;
    dict.set_item("wakes", stats.wakes)?;
    dict.set_item("requests", stats.requests)?;
    dict.set_item("silent", stats.silent)?;
    dict.set_item("messages", stats.messages)?;
    dict.set_item("bytes", stats.bytes)?;
    dict.set_item("credit_waits", stats.credit_waits)?;
    dict.set_item("full", stats.full)?;
    dict.set_item("missed", stats.missed)?;
    let refused = PyDict::new(py);
    for (reason, count) in &stats.refused {
        refused.set_item(reason, count)?;
    }
    dict.set_item("refused", refused)?;
    Ok(dict)
}

fn sender_stats<'py>(
    py: Python<'py>,
    sender: &spanwire_core::output::Sender,
) -> PyResult<Bound<'py, PyDict>> {
    let stats = sender.stats();
    let dict = PyDict::new(py);
    dict.set_item("endpoint", sender.endpoint())?;
    for (name, number) in [
        ("messages", stats.messages),
        ("bytes", stats.bytes),
        ("changes", stats.changes),
        ("ticks", stats.ticks),
        ("skipped_messages", stats.skipped_messages),
        ("skipped_changes", stats.skipped_changes),
        ("detachments", stats.detachments),
        ("queued_messages", stats.queued_messages),
        ("queued_bytes", stats.queued_bytes),
        ("errors", stats.errors),
    ] {
        dict.set_item(name, number)?;
    }
    dict.set_item("blocked_seconds", stats.blocked.as_secs_f64())?;
    dict.set_item("stuck_seconds", stats.stuck.as_secs_f64())?;
    dict.set_item("detached", stats.detached)?;
    dict.set_item("failure", sender.failure().map(|error| error.to_string()))?;
    Ok(dict)
}
