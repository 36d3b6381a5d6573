//! `Untyped`.

use pyo3::prelude::*;
use spanwire_core::change::Type;

/// A value that is not of its column's type, as the JSON text that Spanner sent: it did not fit, its type
/// is not known to this version, or the record does not describe its column. Of no type that a typed value
/// has, so that none is taken for the other. Frozen and hashable.
#[pyclass(frozen, eq, hash, module = "spanwire._core")]
#[derive(PartialEq, Eq, Hash)]
pub struct Untyped {
    /// The JSON text.
    #[pyo3(get)]
    json: String,
    /// The column's type, such as "INT64" or "ARRAY<PG_NUMERIC>"; of a type not known, Spanner's JSON
    /// text of it; empty where the record describes no column for the value.
    #[pyo3(get, name = "type")]
    of: String,
}

impl Untyped {
    pub fn of(json: &str, column_type: Option<&Type>) -> Self {
        Self { json: json.to_owned(), of: column_type.map(ToString::to_string).unwrap_or_default() }
    }
}

#[pymethods]
impl Untyped {
    #[new]
    #[pyo3(signature = (json, r#type=""))]
    fn new(json: String, r#type: &str) -> Self {
        Self { json, of: r#type.to_owned() }
    }

    fn __repr__(&self) -> String {
        format!("Untyped({:?}, {:?})", self.json, self.of)
    }

    fn __reduce__(slf: &Bound<'_, Self>) -> (Py<PyAny>, (String, String)) {
        (slf.get_type().into_any().unbind(), (slf.get().json.clone(), slf.get().of.clone()))
    }
}
