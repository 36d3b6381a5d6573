//! `Change`: one row change, decoded when looked at.

use std::sync::Arc;

use pyo3::prelude::*;
use pyo3::types::{PyDict, PyList};
use spanwire_core::change::Timestamp as Instant;
use spanwire_core::envelope::Values;
use spanwire_core::envelope::read::{self, Cells, Mod, OtherPlace, Record};

use crate::errors::OrRaise;
use crate::message::Inner;
use crate::records::column_dict;
use crate::timestamp::Timestamp;
use crate::values;
use crate::version::RecordVersion;

/// One row change, decoded when looked at.
#[pyclass(frozen, module = "spanwire._core")]
pub struct Change {
    message: Arc<Inner>,
    /// Where its record begins in the body, and which record of the body it is.
    position: usize,
    record: usize,
    /// Its place among the record's mods in this message.
    place: usize,
}

/// Tells records of one process apart: the message they came in, and where in it.
#[derive(PartialEq, Eq)]
pub struct RecordId(*const Inner, usize);

// SAFETY: the pointer is compared, never followed.
unsafe impl Send for RecordId {}
// SAFETY: as above.
unsafe impl Sync for RecordId {}

/// One of a mod's three objects.
type Object =
    for<'a, 'c> fn(&Mod<'a>, &'c spanwire_core::envelope::Columns) -> spanwire_core::Result<Cells<'a, 'c>>;

impl Change {
    /// All changes of a message, in order.
    pub fn all<'py>(py: Python<'py>, message: &Arc<Inner>) -> PyResult<Bound<'py, PyList>> {
        let mut changes = Vec::with_capacity(message.header.count.min(1 << 16) as usize);
        for (number, record) in read::records(&message.body).enumerate() {
            let record = record.or_raise(py)?;
            for place in 0..record.mods().or_raise(py)?.len() {
                let change =
                    Self { message: Arc::clone(message), position: record.position(), record: number, place };
                changes.push(Bound::new(py, change)?);
            }
        }
        PyList::new(py, changes)
    }

    pub fn record_id(&self) -> RecordId {
        RecordId(Arc::as_ptr(&self.message), self.position)
    }

    /// Hands on what names its record.
    pub fn with_identity<T>(
        &self,
        py: Python<'_>,
        with: impl FnOnce(Instant, &str, &str) -> T,
    ) -> PyResult<T> {
        let record = self.record(py)?;
        let commit = record.commit_timestamp().or_raise(py)?;
        let transaction = record.server_transaction_id().or_raise(py)?;
        Ok(with(commit, transaction, record.record_sequence().or_raise(py)?))
    }

    /// Its mod's number: the last part of its version.
    pub fn number(&self, py: Python<'_>) -> PyResult<u32> {
        Ok(self.mod_of(py, &self.record(py)?)?.number())
    }

    fn record(&self, py: Python<'_>) -> PyResult<Record<'_>> {
        read::record_at(&self.message.body, self.position).or_raise(py)
    }

    /// Its record and mod with typed values: of a json message, as the typed form of it has them.
    fn typed(&self, py: Python<'_>) -> PyResult<(Record<'_>, Mod<'_>)> {
        let record = if self.message.header.values == Values::Json {
            let typed = self.message.typed(py)?;
            read::record_at(&typed.body, typed.positions[self.record]).or_raise(py)?
        } else {
            self.record(py)?
        };
        let change = self.mod_of(py, &record)?;
        Ok((record, change))
    }

    fn mod_of<'a>(&self, py: Python<'_>, record: &Record<'a>) -> PyResult<Mod<'a>> {
        let found = record.mods().or_raise(py)?.get(self.place);
        found.ok_or_else(|| spanwire_core::Error::format("a record has fewer mods than it had")).or_raise(py)
    }

    fn object<'py>(&self, py: Python<'py>, of: Object, place: OtherPlace) -> PyResult<Bound<'py, PyDict>> {
        let (_, change) = self.typed(py)?;
        let columns = self.message.columns(py)?;
        values::object(py, &change, of(&change, columns).or_raise(py)?, self.message.names(py)?, place)
    }
}

#[pymethods]
impl Change {
    /// Names it for ever.
    #[getter]
    fn version(&self, py: Python<'_>) -> PyResult<RecordVersion> {
        let record = self.record(py)?;
        let number = self.mod_of(py, &record)?.number();
        Ok(RecordVersion(record.version(number).or_raise(py)?))
    }

    #[getter]
    fn topic(&self) -> String {
        self.message.topic()
    }

    #[getter]
    fn table(&self, py: Python<'_>) -> PyResult<&str> {
        Ok(self.message.columns(py)?.table())
    }

    #[getter]
    fn mod_type(&self, py: Python<'_>) -> PyResult<&'static str> {
        Ok(self.record(py)?.mod_type().or_raise(py)?.name())
    }

    #[getter]
    fn value_capture_type(&self, py: Python<'_>) -> PyResult<&'static str> {
        Ok(self.record(py)?.value_capture_type().or_raise(py)?.name())
    }

    #[getter]
    fn commit_timestamp(&self, py: Python<'_>) -> PyResult<Timestamp> {
        Ok(Timestamp(self.record(py)?.commit_timestamp().or_raise(py)?))
    }

    #[getter]
    fn transaction(&self, py: Python<'_>) -> PyResult<&str> {
        self.record(py)?.server_transaction_id().or_raise(py)
    }

    #[getter]
    fn transaction_tag(&self, py: Python<'_>) -> PyResult<&str> {
        self.record(py)?.transaction_tag().or_raise(py)
    }

    #[getter]
    fn is_system_transaction(&self, py: Python<'_>) -> PyResult<bool> {
        Ok(self.record(py)?.is_system_transaction())
    }

    #[getter]
    fn is_last_record_in_transaction_in_partition(&self, py: Python<'_>) -> PyResult<bool> {
        Ok(self.record(py)?.is_last_record_in_transaction_in_partition())
    }

    #[getter]
    fn number_of_records_in_transaction(&self, py: Python<'_>) -> PyResult<i64> {
        Ok(self.record(py)?.number_of_records_in_transaction())
    }

    #[getter]
    fn number_of_partitions_in_transaction(&self, py: Python<'_>) -> PyResult<i64> {
        Ok(self.record(py)?.number_of_partitions_in_transaction())
    }

    /// The record's columns: name, type, is_primary_key, ordinal_position.
    #[getter]
    fn columns<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyList>> {
        let columns = self.message.columns(py)?.columns();
        let dicts = columns.iter().map(|column| column_dict(py, column)).collect::<PyResult<Vec<_>>>()?;
        PyList::new(py, dicts)
    }

    /// The primary key, by column name.
    #[getter]
    fn keys<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyDict>> {
        self.object(py, |change, columns| change.keys(columns), OtherPlace::Keys)
    }

    /// Values after the change, by column name; a column missing from the record is not there.
    #[getter]
    fn new<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyDict>> {
        self.object(py, |change, columns| change.new_values(columns), OtherPlace::NewValues)
    }

    /// Values before the change, by column name.
    #[getter]
    fn old<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyDict>> {
        self.object(py, |change, columns| change.old_values(columns), OtherPlace::OldValues)
    }

    /// Values whose column the record does not describe, or whose name came twice in one object:
    /// ("keys", "new" or "old"; name; value). `keys`, `new` and `old` have the former too.
    #[getter]
    fn others<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyList>> {
        let (_, change) = self.typed(py)?;
        values::others(py, &change)
    }

    /// One line of JSON that is the same in every language.
    fn canonical(&self, py: Python<'_>) -> PyResult<String> {
        let (record, change) = self.typed(py)?;
        read::canonical(&record, &change, self.message.columns(py)?).or_raise(py)
    }

    fn __repr__(&self, py: Python<'_>) -> PyResult<String> {
        Ok(format!("<Change {} {} {}>", self.version(py)?.0, self.table(py)?, self.mod_type(py)?))
    }
}
