//! What the readers of the different shapes share: faults, identities, scratch space.

use std::fmt;

use crate::change::{DataChangeRecord, Mod, Record, Timestamp};
use crate::error::{Error, Result};
use crate::json::JsonError;

use super::protobuf::{self, Malformed};

/// A data change record that cannot be read.
#[derive(Debug)]
pub struct Undecodable<'a> {
    /// [`Error::Undecodable`] with as much of the record's version as could be read.
    pub error: Error,
    /// The encoded `google.protobuf.Value` it came in: in `GoogleSQL` the record's struct, in
    /// the other shapes the row.
    pub raw: &'a [u8],
}

/// Where records go.
pub type Sink<'s> = dyn FnMut(std::result::Result<Record<'_>, Undecodable<'_>>) -> Result<()> + 's;

/// Why a record cannot be read: of which field, what is wrong. Never what stands there.
#[derive(Debug, Clone, Copy)]
pub struct Fault {
    pub at: &'static str,
    pub what: &'static str,
    pub position: Option<usize>,
}

impl Fault {
    pub fn new(at: &'static str, what: &'static str) -> Self {
        Self { at, what, position: None }
    }

    /// For what is no data change record.
    pub fn corrupt(self) -> Error {
        Error::corrupt(self.to_string())
    }
}

/// Names the field in which something lower down went wrong.
pub trait In<T> {
    fn within(self, at: &'static str) -> std::result::Result<T, Fault>;
}

impl<T> In<T> for std::result::Result<T, Malformed> {
    #[inline]
    fn within(self, at: &'static str) -> std::result::Result<T, Fault> {
        self.map_err(|error| Fault::new(at, error.0))
    }
}

impl<T> In<T> for std::result::Result<T, JsonError> {
    #[inline]
    fn within(self, at: &'static str) -> std::result::Result<T, Fault> {
        self.map_err(|error| Fault { at, what: error.what, position: Some(error.position) })
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.at, self.what)?;
        self.position.map_or(Ok(()), |position| write!(f, " at byte {position}"))
    }
}

/// As much of a record's identity as can be read of one that otherwise cannot.
#[derive(Debug, Default)]
pub struct Identity {
    pub commit_timestamp: Option<Timestamp>,
    pub transaction: String,
    pub sequence: String,
    pub table: String,
}

impl Identity {
    pub fn error(self, fault: Fault) -> Error {
        let commit = self.commit_timestamp.map(|timestamp| timestamp.to_string()).unwrap_or_default();
        Error::Undecodable {
            version: format!("{commit}/{}/{}/0", self.transaction, self.sequence),
            table: self.table,
            what: fault.to_string(),
        }
    }
}

/// Space that is used again for every record.
#[derive(Debug, Default)]
pub struct Scratch {
    mods: Vec<Mod<'static>>,
}

/// Room for so many mods is kept; what a larger record needed is given back.
const KEPT_MODS: usize = 4_096;

impl Scratch {
    /// Reads one data change record and hands it on. `read` leaves the mods in the vector it is
    /// given; `identify` is asked when it fails.
    pub fn data<'a>(
        &mut self,
        raw: &'a [u8],
        read: impl FnOnce(&mut Vec<Mod<'a>>) -> std::result::Result<DataChangeRecord<'a>, Fault>,
        identify: impl FnOnce() -> Identity,
        sink: &mut Sink<'_>,
    ) -> Result<()> {
        let mut mods = emptied(std::mem::take(&mut self.mods));
        let outcome = match read(&mut mods) {
            Ok(record) => sink(Ok(Record::Data(DataChangeRecord { mods: &mods, ..record }))),
            Err(fault) => sink(Err(Undecodable { error: identify().error(fault), raw })),
        };
        if mods.capacity() <= KEPT_MODS {
            self.mods = emptied(mods);
        }
        outcome
    }
}

/// The same allocation, empty, for mods of another lifetime: `collect` reuses the vector it
/// drains where the element types agree in layout. (Were it not to, this would be slower, not
/// wrong; a test counts the allocations.)
fn emptied<'a>(mut mods: Vec<Mod<'_>>) -> Vec<Mod<'a>> {
    mods.clear();
    mods.into_iter().map(|_| unreachable!("cleared above")).collect()
}

/// Takes a message of which there may be one. Protobuf would merge two; no writer writes them.
pub fn once<T>(place: &mut Option<T>, found: T, at: &'static str) -> std::result::Result<(), Fault> {
    if place.replace(found).is_some() { Err(Fault::new(at, "written twice")) } else { Ok(()) }
}

/// Text that must be UTF-8.
#[inline]
pub fn utf8<'a>(bytes: &'a [u8], at: &'static str) -> std::result::Result<&'a str, Fault> {
    protobuf::utf8(bytes).map_err(|error| Fault {
        at,
        what: "not UTF-8",
        position: Some(error.valid_up_to()),
    })
}

/// A timestamp as Spanner writes it.
pub fn timestamp(text: &str, at: &'static str) -> std::result::Result<Timestamp, Fault> {
    Timestamp::from_rfc3339(text.as_bytes()).ok_or(Fault::new(at, "not a timestamp"))
}

/// A count as a decimal number.
pub fn count(text: &str, at: &'static str) -> std::result::Result<i64, Fault> {
    text.parse().map_err(|_| Fault::new(at, "not a 64-bit integer"))
}
