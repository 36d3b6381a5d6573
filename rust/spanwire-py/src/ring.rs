//! `Ring` and `RingReader`: what an output has handed over, for who missed it and for who follows.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyList};
use spanwire_core::output::{self, Kept, Origin};

use crate::errors::{OrRaise, detached};

/// What an output keeps of what it has handed over. Thread-safe.
#[pyclass(frozen, module = "spanwire._core")]
pub struct Ring(pub Arc<output::Ring>);

#[pymethods]
impl Ring {
    /// The messages `first` to `last` of a flow of this process; None where any is gone.
    fn find<'py>(
        &self,
        py: Python<'py>,
        partition: &[u8],
        epoch: u64,
        topic: &str,
        first: u64,
        last: u64,
    ) -> PyResult<Option<Bound<'py, PyList>>> {
        let partition = partition.try_into().map_err(|_| {
            PyValueError::new_err(format!("partition must be 16 bytes, is {}", partition.len()))
        })?;
        let found = py.detach(|| self.0.find(Origin { partition, epoch }, topic.as_bytes(), first, last));
        found.map(|found| messages(py, &found)).transpose()
    }

    /// One who reads all messages with these beginnings of topics, and all ticks.
    #[pyo3(signature = (topics=vec![String::new()], *, oldest=false))]
    fn reader(&self, py: Python<'_>, topics: Vec<String>, oldest: bool) -> PyResult<RingReader> {
        let topics = topics.into_iter().map(String::into_bytes).collect();
        self.0.reader(topics, oldest).or_raise(py).map(|reader| RingReader(Mutex::new(reader)))
    }
}

/// One who reads a ring, in order and at its own pace.
#[pyclass(frozen, module = "spanwire._core")]
pub struct RingReader(Mutex<output::Reader>);

#[pymethods]
impl RingReader {
    /// The next messages; [] when time is out.
    #[pyo3(signature = (timeout, max_bytes=1 << 20))]
    fn read<'py>(&self, py: Python<'py>, timeout: f64, max_bytes: usize) -> PyResult<Bound<'py, PyList>> {
        let timeout = Duration::try_from_secs_f64(timeout)
            .map_err(|_| PyValueError::new_err(format!("timeout must be 0 or more seconds, is {timeout}")))?;
        let read =
            detached(py, || self.0.lock().unwrap_or_else(PoisonError::into_inner).read(timeout, max_bytes))?;
        messages(py, &read)
    }

    /// Messages that fell off the ring before they were read, of whatever topic.
    #[getter]
    fn missed(&self, py: Python<'_>) -> u64 {
        py.detach(|| self.0.lock().unwrap_or_else(PoisonError::into_inner).missed())
    }
}

/// Four frames each.
fn messages<'py>(py: Python<'py>, kept: &[Arc<Kept>]) -> PyResult<Bound<'py, PyList>> {
    let frames = |kept: &Arc<Kept>| PyList::new(py, kept.frames().map(|frame| PyBytes::new(py, frame)));
    PyList::new(py, kept.iter().map(frames).collect::<PyResult<Vec<_>>>()?)
}
