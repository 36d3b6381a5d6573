//! From the bytes of a change stream query to records.
//!
//! ```text
//! messages ── ResultSetReader ──▶ rows ── RecordReader ──▶ records
//!              (result_set,              (googlesql | postgresql | change_stream_record,
//!               assemble)                 columns on demand)
//! ```
//!
//! Rows of a table, for snapshots, take the same way through `table_rows` in place of `RecordReader`.
//!
//! Everything is read in place: a record borrows from its row, and a row from its message unless
//! its value was chunked. Nothing outside this module knows protobuf.

mod assemble;
mod change_stream_record;
mod column_metadata;
mod columns;
mod googlesql;
mod postgresql;
mod protobuf;
mod record;
mod result_set;
mod table_rows;
mod value_text;

pub use columns::{column_types, columns_of, read_type};
pub use record::Undecodable;
pub use result_set::ResultSetReader;
pub use table_rows::{Rows, TableColumn, TableReader};

use crate::change::Record;
use crate::error::Result;
use change_stream_record::Buffers;
use record::Scratch;

/// The shape in which the records of a change stream arrive.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Shape {
    /// `IMMUTABLE_KEY_RANGE` in `GoogleSQL`: a list of structs whose fields have places, not names.
    GoogleSql,
    /// `IMMUTABLE_KEY_RANGE` in `PostgreSQL`: one JSON object.
    PostgreSql,
    /// `MUTABLE_KEY_RANGE` in either dialect: base64 of the protobuf message
    /// `google.spanner.v1.ChangeStreamRecord`. A row holds one record.
    ChangeStreamRecord,
}

/// Reads the rows of a change stream query. Keeps its scratch space: no allocation per change.
#[derive(Debug)]
pub struct RecordReader {
    shape: Shape,
    scratch: Scratch,
    buffers: Buffers,
}

impl RecordReader {
    /// A reader for one shape.
    pub fn new(shape: Shape) -> Self {
        Self { shape, scratch: Scratch::default(), buffers: Buffers::default() }
    }

    /// Calls `sink` with the records of one row (an encoded `google.protobuf.Value`), in order,
    /// and stops at the first error, its own or the sink's. `Undecodable` where a data change
    /// record cannot be read, `Corrupt` where the row itself, or what else is in it, cannot.
    pub fn read(&mut self, row: &[u8], sink: &mut dyn FnMut(Record<'_>) -> Result<()>) -> Result<()> {
        self.read_each(row, &mut |read| match read {
            Ok(record) => sink(record),
            Err(undecodable) => Err(undecodable.error),
        })
    }

    /// As [`Self::read`], but a data change record that cannot be read goes to the sink too, in
    /// its place: where the sink takes it, reading goes on behind it.
    pub fn read_each(
        &mut self,
        row: &[u8],
        sink: &mut dyn FnMut(std::result::Result<Record<'_>, Undecodable<'_>>) -> Result<()>,
    ) -> Result<()> {
        match self.shape {
            Shape::GoogleSql => googlesql::read(row, &mut self.scratch, sink),
            Shape::PostgreSql => postgresql::read(row, &mut self.scratch, sink),
            Shape::ChangeStreamRecord => {
                change_stream_record::read(row, &mut self.buffers, &mut self.scratch, sink)
            }
        }
    }
}
