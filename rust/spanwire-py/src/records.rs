//! `RecordReader` and `reassemble`: what a query returns, without sending anything.

use std::borrow::Cow;

use pyo3::prelude::*;
use pyo3::pybacked::PyBackedBytes;
use pyo3::types::{PyBytes, PyDict, PyList};
use spanwire_core::change::{Column, Record, Type, TypeAnnotation};
use spanwire_core::wire::{self, ResultSetReader, Shape};

use crate::errors::{OrRaise, raise};
use crate::timestamp::Timestamp;

/// The largest value taken when no pipeline says otherwise.
const MAX_RECORD_BYTES: usize = 256 << 20;

/// Reads a query's messages into plain records: the initial query, tests, tools.
#[pyclass(module = "spanwire._core")]
pub struct RecordReader {
    chunks: ResultSetReader,
    records: wire::RecordReader,
}

/// The shape in which records arrive, by the dialect and the mode of partitions.
pub fn shape(py: Python<'_>, dialect: &str, mode: &str) -> PyResult<Shape> {
    let wrong = |setting, what| Err(raise(py, &spanwire_core::Error::Config { setting, what }));
    let immutable = match dialect {
        "googlesql" => Shape::GoogleSql,
        "postgresql" => Shape::PostgreSql,
        other => {
            return wrong("dialect", format!("must be \"googlesql\" or \"postgresql\", is {other:?}"));
        }
    };
    match mode {
        "immutable" => Ok(immutable),
        "mutable" => Ok(Shape::ChangeStreamRecord),
        other => wrong("mode", format!("must be \"immutable\" or \"mutable\", is {other:?}")),
    }
}

#[pymethods]
impl RecordReader {
    #[new]
    #[pyo3(signature = (dialect, mode="immutable"))]
    fn new(py: Python<'_>, dialect: &str, mode: &str) -> PyResult<Self> {
        let shape = shape(py, dialect, mode)?;
        Ok(Self { chunks: ResultSetReader::new(MAX_RECORD_BYTES), records: wire::RecordReader::new(shape) })
    }

    /// One dict a record, fields as Spanner names them.
    fn read(&mut self, py: Python<'_>, messages: Vec<PyBackedBytes>) -> PyResult<Py<PyList>> {
        let list = PyList::empty(py);
        let mut failed = None;
        for message in &messages {
            let Self { chunks, records } = self;
            let outcome = chunks.message(message, &mut |row| {
                records.read(row, &mut |record| {
                    if let Err(error) = to_dict(py, &record).and_then(|dict| list.append(dict)) {
                        failed.get_or_insert(error);
                    }
                    Ok(())
                })
            });
            if let Some(error) = failed {
                return Err(error);
            }
            outcome.or_raise(py)?;
        }
        Ok(list.unbind())
    }
}

/// The values of a result set as encoded google.protobuf.Value, chunks merged by the official rules.
#[pyfunction]
pub fn reassemble(py: Python<'_>, messages: Vec<PyBackedBytes>) -> PyResult<Vec<Py<PyBytes>>> {
    let mut reader = ResultSetReader::new(MAX_RECORD_BYTES);
    let mut values = Vec::new();
    for message in &messages {
        let mut take = |value: &[u8]| {
            values.push(PyBytes::new(py, value).unbind());
            Ok(())
        };
        reader.message(message, &mut take).or_raise(py)?;
    }
    reader.finish().or_raise(py)?;
    Ok(values)
}

fn to_dict<'py>(py: Python<'py>, record: &Record<'_>) -> PyResult<Bound<'py, PyDict>> {
    let fields = PyDict::new(py);
    let name = match record {
        Record::Data(data) => {
            fields.set_item("commit_timestamp", Timestamp(data.commit_timestamp))?;
            fields.set_item("record_sequence", &*data.record_sequence)?;
            fields.set_item("server_transaction_id", &*data.server_transaction_id)?;
            fields.set_item(
                "is_last_record_in_transaction_in_partition",
                data.is_last_record_in_transaction_in_partition,
            )?;
            fields.set_item("table_name", &*data.table_name)?;
            let columns = wire::column_types(data.column_types).or_raise(py)?;
            let columns =
                columns.iter().map(|column| column_dict(py, column)).collect::<PyResult<Vec<_>>>()?;
            fields.set_item("column_types", columns)?;
            let mods = PyList::empty(py);
            for values in data.mods {
                let item = PyDict::new(py);
                item.set_item("keys", values.keys)?;
                item.set_item("new_values", values.new_values)?;
                item.set_item("old_values", values.old_values)?;
                mods.append(item)?;
            }
            fields.set_item("mods", mods)?;
            fields.set_item("mod_type", data.mod_type.name())?;
            fields.set_item("value_capture_type", data.value_capture_type.name())?;
            fields.set_item("number_of_records_in_transaction", data.number_of_records_in_transaction)?;
            fields
                .set_item("number_of_partitions_in_transaction", data.number_of_partitions_in_transaction)?;
            fields.set_item("transaction_tag", &*data.transaction_tag)?;
            fields.set_item("is_system_transaction", data.is_system_transaction)?;
            "data_change_record"
        }
        Record::Heartbeat(timestamp) => {
            fields.set_item("timestamp", Timestamp(*timestamp))?;
            "heartbeat_record"
        }
        Record::Children(children) => {
            fields.set_item("start_timestamp", Timestamp(children.start_timestamp))?;
            fields.set_item("record_sequence", &*children.record_sequence)?;
            let partitions = PyList::empty(py);
            for child in &children.child_partitions {
                let item = PyDict::new(py);
                item.set_item("token", &*child.token)?;
                let parents: Vec<&str> = child.parent_partition_tokens.iter().map(|token| &**token).collect();
                item.set_item("parent_partition_tokens", parents)?;
                partitions.append(item)?;
            }
            fields.set_item("child_partitions", partitions)?;
            "child_partitions_record"
        }
        Record::PartitionStart(start) => {
            fields.set_item("start_timestamp", Timestamp(start.start_timestamp))?;
            fields.set_item("record_sequence", &*start.record_sequence)?;
            let tokens: Vec<&str> = start.partition_tokens.iter().map(|token| &**token).collect();
            fields.set_item("partition_tokens", tokens)?;
            "partition_start_record"
        }
        Record::PartitionEnd(end) => {
            fields.set_item("end_timestamp", Timestamp(end.end_timestamp))?;
            fields.set_item("record_sequence", &*end.record_sequence)?;
            fields.set_item("partition_token", &*end.partition_token)?;
            "partition_end_record"
        }
        Record::PartitionEvent(event) => {
            fields.set_item("commit_timestamp", Timestamp(event.commit_timestamp))?;
            fields.set_item("record_sequence", &*event.record_sequence)?;
            fields.set_item("partition_token", &*event.partition_token)?;
            let sources = move_dicts(py, "source_partition_token", &event.sources)?;
            fields.set_item("move_in_events", sources)?;
            let destinations = move_dicts(py, "destination_partition_token", &event.destinations)?;
            fields.set_item("move_out_events", destinations)?;
            "partition_event_record"
        }
        _ => "unknown_record",
    };
    let dict = PyDict::new(py);
    dict.set_item(name, fields)?;
    Ok(dict)
}

fn move_dicts<'py>(py: Python<'py>, name: &str, tokens: &[Cow<'_, str>]) -> PyResult<Bound<'py, PyList>> {
    let list = PyList::empty(py);
    for token in tokens {
        let item = PyDict::new(py);
        item.set_item(name, &**token)?;
        list.append(item)?;
    }
    Ok(list)
}

/// A column as a dict: name, type, is_primary_key, ordinal_position.
pub fn column_dict<'py>(py: Python<'py>, column: &Column) -> PyResult<Bound<'py, PyDict>> {
    let dict = PyDict::new(py);
    dict.set_item("name", &column.name)?;
    dict.set_item("type", type_dict(py, &column.column_type)?)?;
    dict.set_item("is_primary_key", column.is_primary_key)?;
    dict.set_item("ordinal_position", column.ordinal_position)?;
    Ok(dict)
}

fn type_dict<'py>(py: Python<'py>, column_type: &Type) -> PyResult<Bound<'py, PyDict>> {
    let dict = PyDict::new(py);
    dict.set_item("code", column_type.code.name())?;
    if column_type.annotation != TypeAnnotation::None {
        dict.set_item("type_annotation", column_type.annotation.name())?;
    }
    if let Some(element) = &column_type.array_element {
        dict.set_item("array_element_type", type_dict(py, element)?)?;
    }
    if !column_type.proto_type_fqn.is_empty() {
        dict.set_item("proto_type_fqn", &column_type.proto_type_fqn)?;
    }
    if !column_type.unknown.is_empty() {
        dict.set_item("unknown", &column_type.unknown)?;
    }
    Ok(dict)
}
