//! Spanner's change records as the core sees them: one model for every shape they arrive in,
//! borrowed from the bytes they arrived in.
//!
//! Source of names and meanings: <https://cloud.google.com/spanner/docs/change-streams/details>.

use std::borrow::Cow;
use std::fmt;
use std::str::FromStr;

use crate::error::{Error, Result};

/// A Spanner timestamp: years 0001 to 9999, nanoseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Timestamp {
    /// Seconds since 1970 UTC.
    pub seconds: i64,
    /// 0 to 999,999,999.
    pub nanos: u32,
}

/// Names one row change for ever.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct RecordVersion {
    /// When its transaction was committed.
    pub commit_timestamp: Timestamp,
    /// Spanner's `server_transaction_id`.
    pub transaction: String,
    /// Spanner's `record_sequence`; never a number.
    pub sequence: String,
    /// The mod's place in its record, from 0.
    pub number: u32,
}

/// One record of a change stream.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub enum Record<'a> {
    /// Rows of one table changed in one transaction.
    Data(DataChangeRecord<'a>),
    /// Every record with a commit timestamp up to here has been returned on this partition.
    Heartbeat(Timestamp),
    /// The partition splits, merges, or (initial query) is where the stream starts.
    Children(ChildPartitionsRecord<'a>),
    /// New partitions to be read (`MUTABLE_KEY_RANGE`).
    PartitionStart(PartitionStartRecord<'a>),
    /// The partition's last record (`MUTABLE_KEY_RANGE`).
    PartitionEnd(PartitionEndRecord<'a>),
    /// Keys moved into the partition or out of it (`MUTABLE_KEY_RANGE`).
    PartitionEvent(PartitionEventRecord<'a>),
}

/// Rows of one table changed in one transaction. Slices of columns and mods live in the
/// reader's scratch space.
#[derive(Debug, Clone)]
pub struct DataChangeRecord<'a> {
    /// When the transaction was committed.
    pub commit_timestamp: Timestamp,
    /// Unique within a transaction; never a number.
    pub record_sequence: Cow<'a, str>,
    /// The transaction's identity.
    pub server_transaction_id: Cow<'a, str>,
    /// Whether this is the transaction's last record in this partition.
    pub is_last_record_in_transaction_in_partition: bool,
    /// With its schema where it has one: `sales.orders`.
    pub table_name: Cow<'a, str>,
    /// The columns' descriptions, not yet parsed: parse on a cache miss only.
    pub column_types: ColumnTypes<'a>,
    /// The row changes, in Spanner's order.
    pub mods: &'a [Mod<'a>],
    /// INSERT, UPDATE or DELETE.
    pub mod_type: ModType,
    /// What values the stream captures.
    pub value_capture_type: ValueCaptureType,
    /// Over all partitions.
    pub number_of_records_in_transaction: i64,
    /// How many partitions the transaction's records came from.
    pub number_of_partitions_in_transaction: i64,
    /// The tag the writer gave its transaction; empty where none.
    pub transaction_tag: Cow<'a, str>,
    /// TTL deletes and other changes no user made.
    pub is_system_transaction: bool,
}

/// The columns of a record in the bytes they arrived in: the bytes are the cache key of the
/// parsed form.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum ColumnTypes<'a> {
    /// `google.protobuf.ListValue` of the struct fields `name, type, is_primary_key,
    /// ordinal_position`: the encoded `google.protobuf.Value`.
    GoogleSql(&'a [u8]),
    /// A JSON array of objects.
    PostgreSql(&'a [u8]),
    /// The stretch of a `google.spanner.v1.ChangeStreamRecord.DataChangeRecord` that holds all its
    /// `column_metadata` fields, with their tags; should other fields lie between them, those too.
    ChangeStreamRecord(&'a [u8]),
}

/// One column of a record, parsed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Column {
    /// Its name.
    pub name: String,
    /// Its type.
    pub column_type: Type,
    /// Whether it is part of the primary key.
    pub is_primary_key: bool,
    /// From 1, as in the table definition.
    pub ordinal_position: i64,
}

/// A Spanner type.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Type {
    /// What it is.
    pub code: TypeCode,
    /// How a dialect bends it.
    pub annotation: TypeAnnotation,
    /// Of an ARRAY.
    pub array_element: Option<Box<Type>>,
    /// Of a PROTO or ENUM; empty otherwise.
    pub proto_type_fqn: String,
    /// The type's JSON text where its code is not known; empty otherwise.
    pub unknown: String,
}

/// Its name, as people write it: `INT64`, `PG_NUMERIC`, `ARRAY<STRING>`; of a type not known, its JSON text.
impl fmt::Display for Type {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.array_element {
            _ if !self.unknown.is_empty() => f.write_str(&self.unknown),
            Some(element) if self.code == TypeCode::Array => write!(f, "ARRAY<{element}>"),
            _ if self.annotation != TypeAnnotation::None => f.write_str(self.annotation.name()),
            _ => f.write_str(self.code.name()),
        }
    }
}

/// `google.spanner.v1.TypeCode`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum TypeCode {
    Unspecified,
    Bool,
    Int64,
    Float64,
    Timestamp,
    Date,
    String,
    Bytes,
    Array,
    Struct,
    Numeric,
    Json,
    Proto,
    Enum,
    Float32,
    Interval,
    Uuid,
}

/// `google.spanner.v1.TypeAnnotationCode`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum TypeAnnotation {
    None,
    PgNumeric,
    PgJsonb,
    PgOid,
}

/// One row change: JSON text of three objects, as Spanner sent them; `{}` where it sent none.
#[derive(Debug, Clone, Copy)]
pub struct Mod<'a> {
    /// The primary key's columns.
    pub keys: &'a str,
    /// Values after the change.
    pub new_values: &'a str,
    /// Values before the change.
    pub old_values: &'a str,
}

/// What happened to the rows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum ModType {
    Insert,
    Update,
    Delete,
}

/// What values a change stream captures.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum ValueCaptureType {
    OldAndNewValues,
    NewRow,
    NewValues,
    NewRowAndOldValues,
}

/// New partitions, and when they start.
#[derive(Debug, Clone)]
pub struct ChildPartitionsRecord<'a> {
    /// Read each child from here.
    pub start_timestamp: Timestamp,
    /// Order among records of one timestamp.
    pub record_sequence: Cow<'a, str>,
    /// The children.
    pub child_partitions: Vec<ChildPartition<'a>>,
}

/// A partition to be read once all its parents have finished.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ChildPartition<'a> {
    /// The token to query with.
    pub token: Cow<'a, str>,
    /// Empty for a partition of the initial query.
    pub parent_partition_tokens: Vec<Cow<'a, str>>,
}

/// New partitions, to be read from a timestamp on.
#[derive(Debug, Clone)]
pub struct PartitionStartRecord<'a> {
    /// Read each of them from here.
    pub start_timestamp: Timestamp,
    /// Order among records of one timestamp.
    pub record_sequence: Cow<'a, str>,
    /// The tokens to query with.
    pub partition_tokens: Vec<Cow<'a, str>>,
}

/// The end of a partition.
#[derive(Debug, Clone)]
pub struct PartitionEndRecord<'a> {
    /// None of its changes is younger.
    pub end_timestamp: Timestamp,
    /// Order among records of one timestamp.
    pub record_sequence: Cow<'a, str>,
    /// The partition's own token.
    pub partition_token: Cow<'a, str>,
}

/// Keys that moved between partitions. What moved in must wait until the partitions it came from
/// have been read up to the commit timestamp, if changes of a key are to stay in order.
#[derive(Debug, Clone)]
pub struct PartitionEventRecord<'a> {
    /// When they moved.
    pub commit_timestamp: Timestamp,
    /// Order among records of one timestamp.
    pub record_sequence: Cow<'a, str>,
    /// The partition's own token.
    pub partition_token: Cow<'a, str>,
    /// Tokens of the partitions that keys came from (`move_in_events`).
    pub sources: Vec<Cow<'a, str>>,
    /// Tokens of the partitions that keys went to (`move_out_events`).
    pub destinations: Vec<Cow<'a, str>>,
}

impl Timestamp {
    /// The first instant Spanner can hold: `0001-01-01T00:00:00Z`.
    pub const MIN: Self = Self { seconds: -62_135_596_800, nanos: 0 };
    /// The last one: `9999-12-31T23:59:59.999999999Z`.
    pub const MAX: Self = Self { seconds: 253_402_300_799, nanos: 999_999_999 };

    /// Reads RFC 3339 in UTC with a fraction of up to nine digits, as Spanner writes it: with `Z`,
    /// or in the `PostgreSQL` shape's child partitions with `+00:00`.
    pub fn from_rfc3339(text: &[u8]) -> Option<Self> {
        const DIGITS: [usize; 14] = [0, 1, 2, 3, 5, 6, 8, 9, 11, 12, 14, 15, 17, 18];
        const SEPARATORS: [(usize, u8); 5] = [(4, b'-'), (7, b'-'), (10, b'T'), (13, b':'), (16, b':')];
        let (head, rest) = text.split_first_chunk::<19>()?;
        let digit = |at: usize| head[at].wrapping_sub(b'0'); // above 9: none
        // Looked at all at once: a branch for each would cost more than the rest.
        let wrong = DIGITS.iter().fold(0, |wrong, &at| wrong | u8::from(digit(at) > 9))
            | SEPARATORS.iter().fold(0, |wrong, &(at, byte)| wrong | (head[at] ^ byte));
        let two = |at: usize| u32::from(digit(at)) * 10 + u32::from(digit(at + 1));
        if wrong != 0 {
            return None;
        }
        let (year, month, day) = (two(0) * 100 + two(2), two(5), two(8));
        let (hour, minute, second) = (two(11), two(14), two(17));
        if !(1..=12).contains(&month)
            || !(1..=days_in_month(year, month)).contains(&day)
            || year == 0
            || hour > 23
            || minute > 59
            || second > 59
        {
            return None;
        }
        let nanos = match rest.strip_suffix(b"Z").or_else(|| rest.strip_suffix(b"+00:00"))? {
            [] => 0,
            [b'.', fraction @ ..] if (1..=9).contains(&fraction.len()) => nanos(fraction)?,
            _ => return None,
        };
        let second_of_day = i64::from(hour * 3_600 + minute * 60 + second);
        let seconds = days_from_civil(year, month, day) * 86_400 + second_of_day;
        Some(Self { seconds, nanos })
    }

    /// Nanoseconds since 1970 UTC, which fit for the years 1678 to 2262 only.
    pub fn unix_nanos(self) -> Option<i64> {
        self.seconds.checked_mul(1_000_000_000)?.checked_add(i64::from(self.nanos))
    }
}

/// Nanoseconds of one to nine fraction digits.
fn nanos(fraction: &[u8]) -> Option<u32> {
    const SCALE: [u32; 9] = [100_000_000, 10_000_000, 1_000_000, 100_000, 10_000, 1_000, 100, 10, 1];
    let mut value = 0;
    for byte in fraction {
        let digit = byte.wrapping_sub(b'0');
        if digit > 9 {
            return None;
        }
        value = value * 10 + u32::from(digit);
    }
    Some(value * SCALE.get(fraction.len().wrapping_sub(1))?)
}

/// Days since 1970-01-01 of a date in the proleptic Gregorian calendar, from the year 1 on. Years begin in March
/// here, so that a leap day is a year's last, and a month's days before it are a line's steps.
fn days_from_civil(year: u32, month: u32, day: u32) -> i64 {
    let year = year - u32::from(month <= 2);
    let day_of_year = (153 * (if month <= 2 { month + 9 } else { month - 3 }) + 2) / 5 + day - 1;
    i64::from(year * 365 + year / 4 - year / 100 + year / 400 + day_of_year) - 719_468
}

/// The inverse of [`days_from_civil`].
/// Algorithm: Howard Hinnant, "chrono-Compatible Low-Level Date Algorithms".
fn civil_from_days(days: i64) -> (i64, i64, i64) {
    let days = days + 719_468;
    let era = days.div_euclid(146_097);
    let day_of_era = days.rem_euclid(146_097);
    let year_of_era = (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted_month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * shifted_month + 2) / 5 + 1;
    let month = if shifted_month < 10 { shifted_month + 3 } else { shifted_month - 9 };
    (year_of_era + era * 400 + i64::from(month <= 2), month, day)
}

pub(crate) fn days_in_month(year: u32, month: u32) -> u32 {
    match month {
        4 | 6 | 9 | 11 => 30,
        2 if year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400)) => 29,
        2 => 28,
        _ => 31,
    }
}

/// Always nine fraction digits, so that it sorts.
impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (year, month, day) = civil_from_days(self.seconds.div_euclid(86_400));
        let second = self.seconds.rem_euclid(86_400);
        let (hour, minute, second) = (second / 3_600, second / 60 % 60, second % 60);
        write!(f, "{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{:09}Z", self.nanos)
    }
}

impl FromStr for Timestamp {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        Self::from_rfc3339(text.as_bytes()).ok_or_else(|| {
            Error::format(format!("{text:?} is not a timestamp like 2026-11-23T17:50:32.669475000Z"))
        })
    }
}

/// `<commit timestamp>/<transaction>/<sequence>/<mod>`.
impl fmt::Display for RecordVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}/{}/{}", self.commit_timestamp, self.transaction, self.sequence, self.number)
    }
}

impl RecordVersion {
    /// Reads the text of a version as far as it goes: what is missing or wrong stays empty, as in
    /// the version of a record that could not be read to its end.
    pub fn read_partly(text: &str) -> Self {
        let (timestamp, rest) = text.split_once('/').unwrap_or((text, ""));
        let (rest, number) = rest.rsplit_once('/').unwrap_or((rest, ""));
        let (transaction, sequence) = rest.rsplit_once('/').unwrap_or((rest, ""));
        Self {
            commit_timestamp: timestamp.parse().unwrap_or(Timestamp::MIN),
            transaction: transaction.into(),
            sequence: sequence.into(),
            number: number.parse().unwrap_or(0),
        }
    }
}

impl TypeCode {
    const NAMES: &[(&str, Self)] = &[
        ("BOOL", Self::Bool),
        ("INT64", Self::Int64),
        ("FLOAT64", Self::Float64),
        ("TIMESTAMP", Self::Timestamp),
        ("DATE", Self::Date),
        ("STRING", Self::String),
        ("BYTES", Self::Bytes),
        ("ARRAY", Self::Array),
        ("STRUCT", Self::Struct),
        ("NUMERIC", Self::Numeric),
        ("JSON", Self::Json),
        ("PROTO", Self::Proto),
        ("ENUM", Self::Enum),
        ("FLOAT32", Self::Float32),
        ("INTERVAL", Self::Interval),
        ("UUID", Self::Uuid),
        ("TYPE_CODE_UNSPECIFIED", Self::Unspecified),
    ];

    /// From Spanner's name of it, e.g. `INT64`.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::NAMES.iter().find(|(known, _)| *known == name).map(|(_, value)| *value)
    }

    /// Spanner's name of it, e.g. `INT64`.
    pub fn name(self) -> &'static str {
        Self::NAMES.iter().find(|(_, value)| *value == self).map_or("", |(name, _)| name)
    }
}

impl TypeAnnotation {
    const NAMES: &[(&str, Self)] = &[
        ("PG_NUMERIC", Self::PgNumeric),
        ("PG_JSONB", Self::PgJsonb),
        ("PG_OID", Self::PgOid),
        ("TYPE_ANNOTATION_CODE_UNSPECIFIED", Self::None),
    ];

    /// From Spanner's name of it, e.g. `PG_NUMERIC`.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::NAMES.iter().find(|(known, _)| *known == name).map(|(_, value)| *value)
    }

    /// Spanner's name of it, e.g. `PG_NUMERIC`.
    pub fn name(self) -> &'static str {
        Self::NAMES.iter().find(|(_, value)| *value == self).map_or("", |(name, _)| name)
    }
}

impl ModType {
    const NAMES: &[(&str, Self)] =
        &[("INSERT", Self::Insert), ("UPDATE", Self::Update), ("DELETE", Self::Delete)];

    /// From Spanner's name of it, e.g. `INSERT`.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::NAMES.iter().find(|(known, _)| *known == name).map(|(_, value)| *value)
    }

    /// Spanner's name of it, e.g. `INSERT`.
    pub fn name(self) -> &'static str {
        Self::NAMES.iter().find(|(_, value)| *value == self).map_or("", |(name, _)| name)
    }
}

impl ValueCaptureType {
    const NAMES: &[(&str, Self)] = &[
        ("OLD_AND_NEW_VALUES", Self::OldAndNewValues),
        ("NEW_ROW", Self::NewRow),
        ("NEW_VALUES", Self::NewValues),
        ("NEW_ROW_AND_OLD_VALUES", Self::NewRowAndOldValues),
    ];

    /// From Spanner's name of it, e.g. `NEW_ROW`.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::NAMES.iter().find(|(known, _)| *known == name).map(|(_, value)| *value)
    }

    /// Spanner's name of it, e.g. `NEW_ROW`.
    pub fn name(self) -> &'static str {
        Self::NAMES.iter().find(|(_, value)| *value == self).map_or("", |(name, _)| name)
    }
}

impl DataChangeRecord<'_> {
    /// The version of one of its mods.
    pub fn version(&self, number: u32) -> RecordVersion {
        RecordVersion {
            commit_timestamp: self.commit_timestamp,
            transaction: self.server_transaction_id.clone().into_owned(),
            sequence: self.record_sequence.clone().into_owned(),
            number,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn text_has_nine_digits_and_the_range_has_ends() {
        assert_eq!(Timestamp { seconds: 0, nanos: 5 }.to_string(), "1970-01-01T00:00:00.000000005Z");
        assert_eq!(Timestamp::from_rfc3339(b"0001-01-01T00:00:00Z"), Some(Timestamp::MIN));
        assert_eq!(Timestamp::from_rfc3339(b"9999-12-31T23:59:59.999999999Z"), Some(Timestamp::MAX));
        assert_eq!(Timestamp::from_rfc3339(b"2024-02-29T00:00:00.5Z").map(|t| t.nanos), Some(500_000_000));
        let with_offset = Timestamp::from_rfc3339(b"2026-11-23T21:48:13.480785+00:00");
        assert_eq!(with_offset, Timestamp::from_rfc3339(b"2026-11-23T21:48:13.480785Z"));
        for wrong in [
            "",
            "2023-02-29T00:00:00Z",
            "2026-11-23T17:50:32",
            "2026-11-23 17:50:32Z",
            "2026-11-23T24:00:00Z",
            "2026-11-23T17:50:32.Z",
            "2026-11-23T17:50:32.1234567890Z",
            "2026-11-23T17:50:32+01:00",
            "2026-11-23T17:50:32Z+00:00",
        ] {
            assert_eq!(Timestamp::from_rfc3339(wrong.as_bytes()), None, "{wrong}");
        }
    }

    #[test]
    fn a_version_is_read_as_far_as_it_goes() {
        let text = "2026-11-23T17:50:32.669475000Z/a/b/00000001/3";
        assert_eq!(RecordVersion::read_partly(text).to_string(), text);
        let partly = RecordVersion::read_partly("2026-11-23T17:50:32.669475000Z///0");
        assert_eq!((partly.sequence.as_str(), partly.commit_timestamp.nanos), ("", 669_475_000));
        assert_eq!(RecordVersion::read_partly("").commit_timestamp, Timestamp::MIN);
    }

    proptest! {
        #[test]
        fn a_timestamp_survives_its_text(seconds in Timestamp::MIN.seconds..=Timestamp::MAX.seconds, nanos in 0_u32..1_000_000_000) {
            let timestamp = Timestamp { seconds, nanos };
            prop_assert_eq!(timestamp.to_string().parse::<Timestamp>().unwrap(), timestamp);
        }

        #[test]
        fn what_is_read_is_what_stands_there(
            seconds in Timestamp::MIN.seconds..=Timestamp::MAX.seconds,
            nanos in 0_u32..1_000_000_000,
            digits in 0_usize..=9,
            offset: bool,
            (at, byte) in (any::<prop::sample::Index>(), prop_oneof![Just(b'0'), Just(b':'), Just(b'9'), any::<u8>()]),
        ) {
            let mut text = Timestamp { seconds, nanos }.to_string().into_bytes();
            text.truncate(if digits == 0 { 19 } else { 20 + digits });
            text.extend_from_slice(if offset { b"+00:00" } else { b"Z" });
            let at = at.index(text.len());
            text[at] = byte;
            if let Some(read) = Timestamp::from_rfc3339(&text) {
                let again = read.to_string().into_bytes();
                let end = if digits == 0 { 19 } else { 20 + digits };
                prop_assert_eq!(&text[..end], &again[..end]);
                prop_assert!(again[end..].iter().all(|&byte| matches!(byte, b'0' | b'.' | b'Z')));
                prop_assert!(matches!(&text[end..], b"Z" | b"+00:00"));
            }
        }

        #[test]
        fn text_sorts_as_the_timestamps_do(a in any::<(u32, u32)>(), b in any::<(u32, u32)>()) {
            let of = |(seconds, nanos): (u32, u32)| Timestamp { seconds: i64::from(seconds), nanos: nanos % 1_000_000_000 };
            prop_assert_eq!(of(a).cmp(&of(b)), of(a).to_string().cmp(&of(b).to_string()));
        }

        #[test]
        fn any_bytes_are_refused_or_read_but_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..40)) {
            let _ = Timestamp::from_rfc3339(&bytes);
        }
    }
}
