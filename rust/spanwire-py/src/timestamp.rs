//! `Timestamp`.

use std::time::{SystemTime, UNIX_EPOCH};

use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use spanwire_core::change;

/// A Spanner timestamp: years 0001 to 9999, nanoseconds. Ordered and hashable.
#[pyclass(frozen, eq, ord, hash, from_py_object, module = "spanwire._core")]
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Timestamp(pub change::Timestamp);

#[pymethods]
impl Timestamp {
    #[new]
    #[pyo3(signature = (seconds, nanos=0))]
    fn new(seconds: i64, nanos: u32) -> PyResult<Self> {
        let range = change::Timestamp::MIN.seconds..=change::Timestamp::MAX.seconds;
        if !range.contains(&seconds) || nanos > 999_999_999 {
            return Err(PyValueError::new_err(format!(
                "{seconds} s and {nanos} ns lie outside of the years 0001 to 9999"
            )));
        }
        Ok(Self(change::Timestamp { seconds, nanos }))
    }

    /// Read RFC 3339 with Z and up to nine fraction digits; ValueError otherwise.
    #[staticmethod]
    fn parse(text: &str) -> PyResult<Self> {
        change::Timestamp::from_rfc3339(text.as_bytes()).map(Self).ok_or_else(|| {
            PyValueError::new_err(format!("{text:?} is not a timestamp like 2026-11-23T17:50:32.669475Z"))
        })
    }

    /// The local clock.
    #[staticmethod]
    fn now() -> Self {
        let unix = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let seconds = i64::try_from(unix.as_secs()).unwrap_or(change::Timestamp::MAX.seconds);
        Self(change::Timestamp { seconds, nanos: unix.subsec_nanos() })
    }

    /// Seconds since 1970 UTC.
    #[getter]
    fn seconds(&self) -> i64 {
        self.0.seconds
    }

    /// 0 to 999,999,999.
    #[getter]
    fn nanos(&self) -> u32 {
        self.0.nanos
    }

    fn __str__(&self) -> String {
        self.0.to_string()
    }

    fn __repr__(&self) -> String {
        format!("Timestamp.parse({:?})", self.0.to_string())
    }

    fn __reduce__(slf: &Bound<'_, Self>) -> (Py<PyAny>, (i64, u32)) {
        (slf.get_type().into_any().unbind(), (slf.get().0.seconds, slf.get().0.nanos))
    }
}
