//! Reads the body of changes that was received, borrowing from it: a consumer decodes what it
//! looks at, and nothing else.
//!
//! A body is untrusted. [`records`] checks each record once: every pointer, every text, every
//! timestamp, and that a record does not use its space twice, so that reading all of it takes
//! time and memory in proportion to its size. Bytes need no alignment.

mod canonical;
mod mods;
mod record;
mod segment;
mod value;

pub use canonical::canonical;
pub use mods::{Cells, Mod, Mods, Other, OtherPlace};
pub use record::Record;
pub use value::{Array, Value};

use super::{Body, Columns};
use crate::error::Result;
use segment::{Segment, bad};

/// The records of a body of kind `changes` or `snapshot`, checked. Ends at the first error.
pub fn records(body: &[u8]) -> Records<'_> {
    Records { body, position: 0 }
}

/// The record at [`Record::position`] of one that [`records`] has given: not checked once more.
pub fn record_at(body: &[u8], position: usize) -> Result<Record<'_>> {
    Ok(Record::new(segment_at(body, position)?, position)?)
}

/// A body with JSON values as one with typed values, which can be looked at by column.
pub fn typed(body: &[u8], columns: &Columns) -> Result<Vec<u8>> {
    let mut out = Body::with_buffer(Vec::with_capacity(body.len() * 2));
    for record in records(body) {
        record?.append_typed(columns, &mut out)?;
    }
    Ok(out.into_buffer())
}

/// See [`records`].
#[derive(Debug, Clone)]
pub struct Records<'a> {
    body: &'a [u8],
    position: usize,
}

impl<'a> Iterator for Records<'a> {
    type Item = Result<Record<'a>>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.position >= self.body.len() {
            return None;
        }
        let position = self.position;
        let record = segment_at(self.body, position).and_then(|segment| {
            self.position += 8 + segment.words() * 8;
            let record = Record::new(segment, position)?;
            record.check(segment.words())?;
            Ok(record)
        });
        if record.is_err() {
            self.position = self.body.len();
        }
        Some(record.map_err(Into::into))
    }
}

/// A message in stream framing: one segment, and its number of words.
fn segment_at(body: &[u8], position: usize) -> segment::Result<Segment<'_>> {
    let rest = body.get(position..).unwrap_or_default();
    let Some((framing, rest)) = rest.split_first_chunk::<8>() else { return bad("a record cut short") };
    // The number of segments less one, and the words of the first.
    let framing = u64::from_le_bytes(*framing);
    if framing & 0xFFFF_FFFF != 0 {
        return bad("a record in more than one segment");
    }
    let words = (framing >> 32) as usize;
    match words.checked_mul(8).and_then(|bytes| rest.get(..bytes)) {
        Some(segment) => Ok(Segment::new(segment)),
        None => bad("a record cut short"),
    }
}
