//! The rows of a table, as a query of its columns returns them: what a snapshot is made of.
//!
//! The values of a result set come one behind the other, row by row; the first message says of what
//! type each column is. A row becomes a mod: JSON objects of its keys and of its other values, as an
//! insert of it would bring them.

use crate::change::{Column, Mod, Type};
use crate::error::{Error, Result};
use crate::json::write_string;

use super::column_metadata;
use super::protobuf::{Fields, Malformed};
use super::record::{Fault, In, utf8};
use super::{ResultSetReader, value_text};

/// Rows are handed on when their text has grown to this, so that a message is filled to its own bounds.
const BATCH_BYTES: usize = 32 << 10;
/// The same, in rows.
const BATCH_ROWS: usize = 1_024;

/// A column that a query of a table selects.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TableColumn {
    /// Its name.
    pub name: String,
    /// Whether it is part of the primary key.
    pub is_primary_key: bool,
    /// From 1, as in the table definition.
    pub ordinal_position: i64,
}

/// Rows that follow each other.
#[derive(Debug)]
pub struct Rows<'a> {
    /// Their columns.
    pub columns: &'a [Column],
    /// The first one's number in the result, from 0.
    pub first: u32,
    /// Each with its keys and values.
    pub rows: &'a [Mod<'a>],
}

/// Reads the messages of one query of a table.
#[derive(Debug)]
pub struct TableReader {
    selected: Vec<TableColumn>,
    values: ResultSetReader,
    /// Known from the first message on.
    columns: Vec<Column>,
    names: Vec<String>,
    row: Partial,
    /// The row that is not complete when the last resume token came, and its number.
    at_token: (Partial, u32),
    /// The number of the row that is being read.
    number: u32,
    batch: Batch,
}

/// A row as far as its values have come.
#[derive(Debug, Clone, Default)]
struct Partial {
    place: usize,
    keys: String,
    new_values: String,
}

/// Rows that are complete and have not been handed on.
#[derive(Debug, Default)]
struct Batch {
    /// The number of the next row that has not come before: those of lower numbers have been handed on.
    next: u32,
    text: String,
    /// Where the keys of each row end, and its values.
    ends: Vec<(usize, usize)>,
}

impl TableReader {
    /// A reader at the start of a query that selects these columns, at least one. No value may be larger than
    /// `max_record_bytes`, encoded.
    pub fn new(selected: Vec<TableColumn>, max_record_bytes: usize) -> Self {
        let name = |column: &TableColumn| {
            let mut name = String::new();
            write_string(&column.name, &mut name);
            name.push(':');
            name
        };
        Self {
            names: selected.iter().map(name).collect(),
            selected,
            values: ResultSetReader::new(max_record_bytes),
            columns: Vec::new(),
            row: Partial::default(),
            at_token: (Partial::default(), 0),
            number: 0,
            batch: Batch::default(),
        }
    }

    /// Takes one message and hands on the rows that it completes. [`Error::Corrupt`] where it is no message
    /// of such a query; then `resume` or `restart` is what can come next.
    pub fn message(&mut self, bytes: &[u8], sink: &mut dyn FnMut(Rows<'_>) -> Result<()>) -> Result<()> {
        let Self { selected, values, columns, names, row, at_token, number, batch } = self;
        if columns.is_empty()
            && let Some(row_type) = row_type(bytes).map_err(Fault::corrupt)?
        {
            *columns = described(selected, row_type)?;
        }
        values.message(bytes, &mut |value| {
            let Some(column) = columns.get(row.place) else {
                return Err(Error::corrupt("rows of a table before their columns were described"));
            };
            row.take(&names[row.place], column.is_primary_key, value)?;
            if row.place < columns.len() {
                return Ok(());
            }
            batch.take(row, *number);
            *number = number
                .checked_add(1)
                .ok_or_else(|| Error::corrupt("more than 4,294,967,295 rows in one part of a table"))?;
            if batch.is_due() { batch.hand_on(columns, sink) } else { Ok(()) }
        })?;
        batch.hand_on(columns, sink)?;
        if values.is_at_token() {
            at_token.0.clone_from(row);
            at_token.1 = *number;
        }
        Ok(())
    }

    /// After the stream broke: the last resume token, behind which the same query goes on. Rows that were
    /// handed on behind it are known, and not handed on again. With none, `restart` is to be called.
    pub fn resume(&mut self) -> Option<&[u8]> {
        self.row.clone_from(&self.at_token.0);
        self.number = self.at_token.1;
        self.batch.clear();
        self.values.resume()
    }

    /// Forgets everything: all rows come again, in whatever order.
    pub fn restart(&mut self) {
        self.values.restart();
        self.row = Partial::default();
        self.at_token = (Partial::default(), 0);
        self.number = 0;
        self.batch = Batch::default();
    }

    /// The stream ended cleanly: an error if that left a row half read.
    pub fn finish(&self) -> Result<()> {
        self.values.finish()?;
        if self.row.place == 0 {
            Ok(())
        } else {
            Err(Error::corrupt("the stream ended in the middle of a row"))
        }
    }
}

impl Partial {
    fn take(&mut self, name: &str, is_key: bool, value: &[u8]) -> Result<()> {
        let object = if is_key { &mut self.keys } else { &mut self.new_values };
        object.push(if object.is_empty() { '{' } else { ',' });
        object.push_str(name);
        value_text::write(value, object).map_err(malformed)?;
        self.place += 1;
        Ok(())
    }
}

impl Batch {
    /// Takes what stands in `row`, and empties it.
    fn take(&mut self, row: &mut Partial, number: u32) {
        row.place = 0;
        if number >= self.next {
            self.next = number.saturating_add(1);
            let ends = [&row.keys, &row.new_values].map(|object| {
                self.text.push_str(if object.is_empty() { "{" } else { object });
                self.text.push('}');
                self.text.len()
            });
            self.ends.push((ends[0], ends[1]));
        }
        row.keys.clear();
        row.new_values.clear();
    }

    fn is_due(&self) -> bool {
        self.text.len() >= BATCH_BYTES || self.ends.len() >= BATCH_ROWS
    }

    fn hand_on(&mut self, columns: &[Column], sink: &mut dyn FnMut(Rows<'_>) -> Result<()>) -> Result<()> {
        let Some(count) = u32::try_from(self.ends.len()).ok().filter(|&count| count > 0) else {
            return Ok(());
        };
        let starts = std::iter::once(0).chain(self.ends.iter().map(|&(_, end)| end));
        let rows: Vec<Mod<'_>> = starts
            .zip(&self.ends)
            .map(|(start, &(keys, end))| Mod {
                keys: &self.text[start..keys],
                new_values: &self.text[keys..end],
                old_values: "{}",
            })
            .collect();
        sink(Rows { columns, first: self.next - count, rows: &rows })?;
        self.clear();
        Ok(())
    }

    fn clear(&mut self) {
        self.text.clear();
        self.text.shrink_to(2 * BATCH_BYTES); // one large row is no reason to keep its room
        self.ends.clear();
    }
}

/// The columns that were selected, with the types that the answer says they have.
fn described(selected: &[TableColumn], row_type: Vec<(String, Type)>) -> Result<Vec<Column>> {
    let as_asked = selected.len() == row_type.len()
        && selected.iter().zip(&row_type).all(|(column, (name, _))| column.name == *name);
    if !as_asked {
        return Err(Error::corrupt("the columns of the answer are not those that were selected"));
    }
    let column = |(column, (_, column_type)): (&TableColumn, (String, Type))| Column {
        name: column.name.clone(),
        column_type,
        is_primary_key: column.is_primary_key,
        ordinal_position: column.ordinal_position,
    };
    Ok(selected.iter().zip(row_type).map(column).collect())
}

/// `PartialResultSet.metadata.row_type`: names and types; none where the message has no metadata.
fn row_type(message: &[u8]) -> std::result::Result<Option<Vec<(String, Type)>>, Fault> {
    const AT: &str = "PartialResultSet.metadata";
    let Some(metadata) = field(message, 1)? else { return Ok(None) };
    let Some(row_type) = field(metadata, 1)? else { return Ok(None) };
    let mut columns = Vec::new();
    let mut fields = Fields::of(row_type);
    while let Some((number, payload)) = fields.next().within(AT)? {
        if number == 1 {
            let column = payload.bytes().within(AT)?;
            let name = utf8(field(column, 1)?.unwrap_or_default(), AT)?;
            columns.push((name.into(), column_metadata::read_type(field(column, 2)?.unwrap_or_default())?));
        }
    }
    Ok(Some(columns))
}

/// The last field of a number, a message or text.
fn field(message: &[u8], wanted: u32) -> std::result::Result<Option<&[u8]>, Fault> {
    const AT: &str = "PartialResultSet.metadata";
    let mut found = None;
    let mut fields = Fields::of(message);
    while let Some((number, payload)) = fields.next().within(AT)? {
        if number == wanted {
            found = Some(payload.bytes().within(AT)?);
        }
    }
    Ok(found)
}

fn malformed(error: Malformed) -> Error {
    Error::corrupt(format!("PartialResultSet: {}", error.0))
}
