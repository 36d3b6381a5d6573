//! A query's stream of `google.spanner.v1.PartialResultSet`: complete values out of messages.
//!
//! A value that lies in one message is handed on in place. A chunked one is kept piece by piece
//! until its last piece has come. What has to be known at a resume token is which pieces stood
//! there: a resumed stream goes on behind the message that carried the token, which may be in
//! the middle of a value.

use crate::error::{Error, Result};

use super::assemble;
use super::protobuf::{Fields, Malformed};

/// What a piece costs besides its bytes, so that a value in endless empty pieces is bounded too.
const PIECE: usize = 16;

/// Reads the messages of one query.
#[derive(Debug)]
pub struct ResultSetReader {
    max_record_bytes: usize,
    /// The value that is not complete yet.
    partial: Pieces,
    token: Vec<u8>,
    at_token: AtToken,
    /// The last message carried a token.
    is_at_token: bool,
}

/// The pieces that stood when the last resume token came.
#[derive(Debug)]
enum AtToken {
    /// So many of the partial value now.
    First(usize),
    /// Those of a value that has become complete since.
    Kept(Pieces),
}

/// Pieces of a value, encoded `google.protobuf.Value`s, one after the other.
#[derive(Debug, Default)]
struct Pieces {
    bytes: Vec<u8>,
    ends: Vec<usize>,
}

/// What a message holds besides values.
#[derive(Debug, Default)]
struct Outline<'a> {
    values: usize,
    chunked: bool,
    token: &'a [u8],
}

// Fields of PartialResultSet. The others (metadata, stats, last, ...) say nothing about values.
const VALUES: u32 = 2;
const CHUNKED_VALUE: u32 = 3;
const RESUME_TOKEN: u32 = 4;

impl ResultSetReader {
    /// A reader at the start of a query. No value may be larger than `max_record_bytes`, encoded.
    pub fn new(max_record_bytes: usize) -> Self {
        Self {
            max_record_bytes,
            partial: Pieces::default(),
            token: Vec::new(),
            at_token: AtToken::First(0),
            is_at_token: false,
        }
    }

    /// Takes one message and calls `row` with each value that it completes, an encoded
    /// `google.protobuf.Value`. Nothing is handed on from a message that is itself malformed.
    /// After an error, `resume` or `restart` is what can come next.
    pub fn message(&mut self, bytes: &[u8], row: &mut dyn FnMut(&[u8]) -> Result<()>) -> Result<()> {
        let outline = Outline::of(bytes).map_err(malformed)?;
        self.is_at_token = !outline.token.is_empty();
        let mut fields = Fields::of(bytes);
        let mut seen = 0;
        while let Some((number, payload)) = fields.next().map_err(malformed)? {
            if number != VALUES {
                continue;
            }
            let value = payload.bytes().map_err(malformed)?;
            seen += 1;
            let chunked = outline.chunked && seen == outline.values;
            let continues = seen == 1 && !self.partial.ends.is_empty();
            self.check_size(value)?;
            if !chunked && !continues {
                row(value)?;
                continue;
            }
            self.partial.push(value);
            if !chunked {
                let merged = self.complete()?;
                row(&merged)?;
            }
        }
        if self.is_at_token {
            self.token.clear();
            self.token.extend_from_slice(outline.token);
            self.at_token = AtToken::First(self.partial.ends.len());
        }
        Ok(())
    }

    /// After the stream broke: goes back to where the last resume token stood, and gives it. With
    /// none, the query starts afresh and everything is forgotten.
    pub fn resume(&mut self) -> Option<&[u8]> {
        match &mut self.at_token {
            AtToken::First(count) => self.partial.truncate(*count),
            AtToken::Kept(pieces) => {
                self.partial = std::mem::take(pieces);
                self.at_token = AtToken::First(self.partial.ends.len());
            }
        }
        if self.token.is_empty() { None } else { Some(&self.token) }
    }

    /// Whether the last message carried a resume token: what it handed on will not come again.
    pub fn is_at_token(&self) -> bool {
        self.is_at_token
    }

    /// Forgets everything: the next message is the first of a query.
    pub fn restart(&mut self) {
        *self = Self::new(self.max_record_bytes);
    }

    /// The stream ended cleanly: an error if that left a value half read.
    pub fn finish(&self) -> Result<()> {
        if self.partial.ends.is_empty() {
            return Ok(());
        }
        Err(Error::corrupt("the stream ended in the middle of a chunked value"))
    }

    fn check_size(&self, value: &[u8]) -> Result<()> {
        let size = self.partial.bytes.len() + self.partial.ends.len() * PIECE + value.len();
        if size <= self.max_record_bytes {
            return Ok(());
        }
        let limit = self.max_record_bytes;
        Err(Error::corrupt(format!("a value of more than {limit} bytes: raise max_record_bytes to take it")))
    }

    /// Merges the pieces. Buffers of chunked values are large and rare: none is kept for the next.
    fn complete(&mut self) -> Result<Vec<u8>> {
        let merged = assemble::merge(&self.partial.all()).map_err(malformed)?;
        let mut pieces = std::mem::take(&mut self.partial);
        if let AtToken::First(count) = self.at_token
            && count > 0
        {
            pieces.truncate(count);
            self.at_token = AtToken::Kept(pieces);
        }
        Ok(merged)
    }
}

impl Pieces {
    fn push(&mut self, piece: &[u8]) {
        self.bytes.extend_from_slice(piece);
        self.ends.push(self.bytes.len());
    }

    fn truncate(&mut self, count: usize) {
        self.ends.truncate(count);
        self.bytes.truncate(self.ends.last().copied().unwrap_or(0));
    }

    fn all(&self) -> Vec<&[u8]> {
        let starts = std::iter::once(0).chain(self.ends.iter().copied());
        starts.zip(&self.ends).map(|(start, &end)| &self.bytes[start..end]).collect()
    }
}

impl<'a> Outline<'a> {
    /// Steps through all of a message: what comes after its values decides about the last of them.
    fn of(message: &'a [u8]) -> std::result::Result<Self, Malformed> {
        let mut outline = Self::default();
        let mut fields = Fields::of(message);
        while let Some((number, payload)) = fields.next()? {
            match number {
                VALUES => {
                    payload.bytes()?;
                    outline.values += 1;
                }
                CHUNKED_VALUE => outline.chunked = payload.varint()? != 0,
                RESUME_TOKEN => outline.token = payload.bytes()?,
                _ => {}
            }
        }
        Ok(outline)
    }
}

fn malformed(error: Malformed) -> Error {
    Error::corrupt(format!("PartialResultSet: {}", error.0))
}
