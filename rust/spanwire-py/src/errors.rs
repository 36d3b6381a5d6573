//! Rust errors become the tree in `spanwire/errors.py`: defined there, raised here.

use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::{PyDict, PyType};
use spanwire_core::Error;

static ERRORS: PyOnceLock<Py<PyModule>> = PyOnceLock::new();

/// The Python exception of a core error.
pub fn raise(py: Python<'_>, error: &Error) -> PyErr {
    build(py, error).unwrap_or_else(|failure| failure)
}

fn build(py: Python<'_>, error: &Error) -> PyResult<PyErr> {
    if let Error::Paused = error {
        return Ok(PyValueError::new_err(error.to_string())); // wrong use, not something that went wrong
    }
    let fields = PyDict::new(py);
    let class = match error {
        Error::Corrupt { .. } => "CorruptError",
        Error::Undecodable { version, table, .. } | Error::Misfit { version, table, .. } => {
            fields.set_item("version", version)?;
            fields.set_item("table", table)?;
            "UndecodableError"
        }
        Error::Config { setting, .. } => {
            fields.set_item("setting", setting)?;
            "ConfigError"
        }
        Error::Socket { at, errno, .. } => {
            fields.set_item("endpoint", at)?;
            fields.set_item("errno", errno)?;
            "SocketError"
        }
        Error::Format { .. } => "FormatError",
        Error::Closed => "ClosedError",
        _ => "SpanwireError",
    };
    let module = ERRORS.get_or_try_init(py, || PyModule::import(py, "spanwire.errors").map(Bound::unbind))?;
    let class = module.bind(py).getattr(class)?.cast_into::<PyType>()?;
    let exception = class.call((error.to_string(),), Some(&fields))?;
    Ok(PyErr::from_value(exception))
}

/// Runs with the GIL released; an error becomes its Python exception.
pub fn detached<T: Send>(
    py: Python<'_>,
    work: impl FnOnce() -> spanwire_core::Result<T> + Send,
) -> PyResult<T> {
    py.detach(work).map_err(|error| raise(py, &error))
}

/// For work too short to release the GIL.
pub trait OrRaise<T> {
    /// An error becomes its Python exception.
    fn or_raise(self, py: Python<'_>) -> PyResult<T>;
}

impl<T> OrRaise<T> for spanwire_core::Result<T> {
    fn or_raise(self, py: Python<'_>) -> PyResult<T> {
        self.map_err(|error| raise(py, &error))
    }
}
