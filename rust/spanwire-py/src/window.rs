//! `Window`.

use std::sync::{Mutex, PoisonError};

use pyo3::prelude::*;
use spanwire_core::dedup;

use crate::change::{Change, RecordId};

/// The record versions handed over at one place, as far as a repetition could bring them back:
/// exact, by position and the identities at it.
#[pyclass(frozen, module = "spanwire._core")]
pub struct Window(Mutex<dedup::Window>);

#[pymethods]
impl Window {
    #[new]
    fn new() -> Self {
        Self(Mutex::default())
    }

    /// Those not handed over before, in order; they count as handed over from now on.
    fn admit(&self, py: Python<'_>, changes: Vec<Py<Change>>) -> PyResult<Vec<Py<Change>>> {
        let mut window = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let mut fresh = Vec::with_capacity(changes.len());
        // The mods of a record come together: they are new or known together.
        let mut record: Option<(RecordId, bool)> = None;
        for change in changes {
            let inner = change.get();
            let id = inner.record_id();
            if record.as_ref().is_none_or(|(last, _)| *last != id) {
                let known = inner.with_identity(py, |commit, transaction, sequence| {
                    let known = window.contains(commit, transaction, sequence);
                    if !known {
                        window.admit(commit, transaction, sequence);
                    }
                    known
                })?;
                record = Some((id, known));
            }
            if record.as_ref().is_some_and(|(_, known)| !known) {
                fresh.push(change);
            }
        }
        Ok(fresh)
    }
}
