//! `TableRows`: a part of a table on its way into a snapshot.

use pyo3::prelude::*;
use pyo3::pybacked::PyBackedBytes;
use pyo3::types::PyBytes;
use spanwire_core::pipeline;

use crate::errors::detached;

/// The rows of one part of a table. One thread at a time pushes.
#[pyclass(frozen, module = "spanwire._core")]
pub struct TableRows(pub pipeline::TableRows);

#[pymethods]
impl TableRows {
    /// What its messages name as their partition: 16 bytes.
    #[getter]
    fn partition(&self, py: Python<'_>) -> Py<PyBytes> {
        PyBytes::new(py, &self.0.partition()).unbind()
    }

    /// Take messages of the query, in order; how many rows of them go out. Blocks while an output with
    /// on_full="block" is full. After an error it takes nothing more.
    fn push(&self, py: Python<'_>, messages: Vec<PyBackedBytes>) -> PyResult<u64> {
        detached(py, || self.0.push(&messages))
    }

    /// After the stream broke: the token behind which the same query goes on, None where there is none.
    /// What was sent of what comes then is not sent again.
    fn resume(&self, py: Python<'_>) -> Option<Py<PyBytes>> {
        let token = py.detach(|| self.0.resume())?;
        Some(PyBytes::new(py, &token).unbind())
    }

    /// The query is asked anew: all its rows come again, and are sent again.
    fn restart(&self, py: Python<'_>) {
        py.detach(|| self.0.restart());
    }

    /// All rows have come: hand over what is open. How many messages they went out in. CorruptError where
    /// a row is half read.
    fn finish(&self, py: Python<'_>) -> PyResult<u64> {
        detached(py, || self.0.finish())
    }
}
