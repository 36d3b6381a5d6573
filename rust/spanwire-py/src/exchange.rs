//! `encode_request`, `decode_request`, `encode_reply`, `decode_reply`: what peers and relays ask and answer.

use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyDict};
use spanwire_core::envelope::{Reason, Reply, ReplyKind, Request, RequestKind};

use crate::errors::OrRaise;
use crate::timestamp::Timestamp;

/// One frame, root Request.
#[pyfunction]
#[pyo3(signature = (
    kind, id, *, credit=0, output=0, topics=Vec::new(), stream=b"".as_slice(), incarnation=0, partition=b"".as_slice(), epoch=0, first=0,
    last=0, after=None, until=None, rate=0, limit=0, tables=Vec::new(), at=None, group=String::new(),
    member=String::new(), delivery=0, handled=0, reason=String::new(),
))]
pub fn encode_request<'py>(
    py: Python<'py>,
    kind: &str,
    id: u64,
    credit: u64,
    output: u16,
    topics: Vec<String>,
    stream: &[u8],
    incarnation: u64,
    partition: &[u8],
    epoch: u64,
    first: u64,
    last: u64,
    after: Option<Timestamp>,
    until: Option<Timestamp>,
    rate: u32,
    limit: u64,
    tables: Vec<String>,
    at: Option<Timestamp>,
    group: String,
    member: String,
    delivery: u64,
    handled: u32,
    reason: String,
) -> PyResult<Bound<'py, PyBytes>> {
    let request = Request {
        kind: known("kind", kind, RequestKind::of_name(kind))?,
        id,
        credit,
        output,
        topics,
        stream: hash("stream", stream)?,
        incarnation,
        partition: hash("partition", partition)?,
        epoch,
        first,
        last,
        after: after.map(|after| after.0),
        until: until.map(|until| until.0),
        rate,
        limit,
        tables,
        at: at.map(|at| at.0),
        group,
        member,
        delivery,
        handled,
        reason,
    };
    Ok(PyBytes::new(py, &request.encode().or_raise(py)?))
}

/// Every field of a request by its name, as encode_request takes them.
#[pyfunction]
pub fn decode_request<'py>(py: Python<'py>, data: &[u8]) -> PyResult<Bound<'py, PyDict>> {
    let request = Request::decode(data).or_raise(py)?;
    let dict = PyDict::new(py);
    dict.set_item("kind", request.kind.name())?;
    dict.set_item("id", request.id)?;
    dict.set_item("credit", request.credit)?;
    dict.set_item("output", request.output)?;
    dict.set_item("topics", request.topics)?;
    dict.set_item("stream", bytes(py, request.stream))?;
    dict.set_item("incarnation", request.incarnation)?;
    dict.set_item("partition", bytes(py, request.partition))?;
    dict.set_item("epoch", request.epoch)?;
    dict.set_item("first", request.first)?;
    dict.set_item("last", request.last)?;
    dict.set_item("after", request.after.map(Timestamp))?;
    dict.set_item("until", request.until.map(Timestamp))?;
    dict.set_item("rate", request.rate)?;
    dict.set_item("limit", request.limit)?;
    dict.set_item("tables", request.tables)?;
    dict.set_item("at", request.at.map(Timestamp))?;
    dict.set_item("group", request.group)?;
    dict.set_item("member", request.member)?;
    dict.set_item("delivery", request.delivery)?;
    dict.set_item("handled", request.handled)?;
    dict.set_item("reason", request.reason)?;
    Ok(dict)
}

/// One frame, root Reply.
#[pyfunction]
#[pyo3(signature = (
    kind, id, *, stream=b"".as_slice(), position=None, oldest=None, reason="unspecified", text=String::new(), delivery=0,
    handled=0, deliveries=0, rows_done=0, rows_total=0, until=0,
))]
pub fn encode_reply<'py>(
    py: Python<'py>,
    kind: &str,
    id: u64,
    stream: &[u8],
    position: Option<Timestamp>,
    oldest: Option<Timestamp>,
    reason: &str,
    text: String,
    delivery: u64,
    handled: u32,
    deliveries: u32,
    rows_done: u64,
    rows_total: u64,
    until: u32,
) -> PyResult<Bound<'py, PyBytes>> {
    let reply = Reply {
        kind: known("kind", kind, ReplyKind::of_name(kind))?,
        id,
        stream: hash("stream", stream)?,
        position: position.map(|position| position.0),
        oldest: oldest.map(|oldest| oldest.0),
        reason: known("reason", reason, Reason::of_name(reason))?,
        text,
        delivery,
        handled,
        deliveries,
        rows_done,
        rows_total,
        until,
    };
    Ok(PyBytes::new(py, &reply.encode()))
}

/// Every field of a reply by its name, as encode_reply takes them.
#[pyfunction]
pub fn decode_reply<'py>(py: Python<'py>, data: &[u8]) -> PyResult<Bound<'py, PyDict>> {
    let reply = Reply::decode(data).or_raise(py)?;
    let dict = PyDict::new(py);
    dict.set_item("kind", reply.kind.name())?;
    dict.set_item("id", reply.id)?;
    dict.set_item("stream", bytes(py, reply.stream))?;
    dict.set_item("position", reply.position.map(Timestamp))?;
    dict.set_item("oldest", reply.oldest.map(Timestamp))?;
    dict.set_item("reason", reply.reason.name())?;
    dict.set_item("text", reply.text)?;
    dict.set_item("delivery", reply.delivery)?;
    dict.set_item("handled", reply.handled)?;
    dict.set_item("deliveries", reply.deliveries)?;
    dict.set_item("rows_done", reply.rows_done)?;
    dict.set_item("rows_total", reply.rows_total)?;
    dict.set_item("until", reply.until)?;
    Ok(dict)
}

fn known<T>(field: &str, name: &str, found: Option<T>) -> PyResult<T> {
    found.ok_or_else(|| PyValueError::new_err(format!("{field}: envelope.capnp has no {name:?}")))
}

/// Empty where there is none.
fn hash(field: &str, data: &[u8]) -> PyResult<Option<[u8; 16]>> {
    if data.is_empty() {
        return Ok(None);
    }
    let wrong = |_| PyValueError::new_err(format!("{field}: must be 16 bytes or none, is {}", data.len()));
    data.try_into().map(Some).map_err(wrong)
}

fn bytes(py: Python<'_>, hash: Option<[u8; 16]>) -> Bound<'_, PyBytes> {
    PyBytes::new(py, hash.as_ref().map_or(&[], |hash| hash.as_slice()))
}
