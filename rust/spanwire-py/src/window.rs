//! `Window`.

use std::sync::{Mutex, MutexGuard, PoisonError};

use pyo3::prelude::*;
use spanwire_core::dedup::{self, Taken};

use crate::change::{Change, RecordId};
use crate::timestamp::Timestamp;
use crate::version::RecordVersion;

/// The record versions handed over at one place, as far as a repetition could bring them back.
#[pyclass(frozen, module = "spanwire._core")]
pub struct Window(Mutex<dedup::Window>);

/// Everything before the timestamp, and of each record at it (transaction, sequence) the mods up to a number.
type State = (Timestamp, Vec<(String, String, u32)>);

impl Window {
    fn lock(&self) -> MutexGuard<'_, dedup::Window> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[pymethods]
impl Window {
    #[new]
    #[pyo3(signature = (after=None))]
    fn new(after: Option<Timestamp>) -> Self {
        Self(Mutex::new(after.map_or_else(dedup::Window::default, |after| dedup::Window::after(after.0))))
    }

    /// Those not handed over before, in order; they count as handed over from now on.
    fn admit(&self, py: Python<'_>, changes: Vec<Py<Change>>) -> PyResult<Vec<Py<Change>>> {
        let mut window = self.lock();
        let mut fresh = Vec::with_capacity(changes.len());
        // The mods of a record come together: one look for all of them.
        let mut current: Option<(RecordId, Taken)> = None;
        let mut changes = changes.into_iter().peekable();
        while let Some(change) = changes.next() {
            let inner = change.get();
            let id = inner.record_id();
            let taken = match &current {
                Some((known, taken)) if *known == id => *taken,
                _ => inner.with_identity(py, |commit, transaction, sequence| {
                    window.taken(commit, transaction, sequence)
                })?,
            };
            let ends = changes.peek().is_none_or(|next| next.get().record_id() != id);
            let new = taken == Taken::New || taken.is_new(inner.number(py)?);
            if ends && new {
                let number = inner.number(py)?;
                inner.with_identity(py, |commit, transaction, sequence| {
                    window.admit_up_to(commit, transaction, sequence, number);
                })?;
            }
            current = Some((id, taken));
            if new {
                fresh.push(change);
            }
        }
        Ok(fresh)
    }

    /// Whether it was not handed over before; it counts as handed over from now on.
    fn admit_version(&self, version: PyRef<'_, RecordVersion>) -> bool {
        let mut window = self.lock();
        let of = &version.0;
        let new = window.taken(of.commit_timestamp, &of.transaction, &of.sequence).is_new(of.number);
        if new {
            window.admit_up_to(of.commit_timestamp, &of.transaction, &of.sequence, of.number);
        }
        new
    }

    /// All of it, in few words; None where nothing was handed over.
    fn state(&self) -> Option<State> {
        let window = self.lock();
        let owned =
            |(transaction, sequence, last): (&str, &str, u32)| (transaction.into(), sequence.into(), last);
        let mut records: Vec<(String, String, u32)> = window.at_newest().map(owned).collect();
        records.sort_unstable();
        Some((Timestamp(window.newest()?), records))
    }

    /// One that knows what the other knew when it gave its state.
    #[staticmethod]
    fn restore(state: Option<State>) -> Self {
        let Some((newest, records)) = state else { return Self::new(None) };
        let mut window = dedup::Window::at(newest.0);
        for (transaction, sequence, last) in records {
            window.admit_up_to(newest.0, &transaction, &sequence, last);
        }
        Self(Mutex::new(window))
    }
}
