//! The body of changes: one framed message per data change record, one after the other, in the
//! buffer that the socket sends.

use super::arena::{Arena, MAX_WORDS, Pointer, WORD, tag};
use super::columns::Columns;
use super::object::{BrokenAt, Misfit, ModWriter, Place, Scratch};
use crate::change::{DataChangeRecord, Mod, ModType, ValueCaptureType};
use crate::error::{Error, Result};

/// How the values of changes are written.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Values {
    /// Typed cells.
    #[default]
    Typed,
    /// The JSON text as Spanner sent it.
    Json,
}

/// What becomes of a value that does not fit its column's type, whose type is not known, or whose
/// column the record does not describe. Only who types values can tell: [`Values::Json`] looks at none.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Misfits {
    /// It is carried as its JSON text.
    #[default]
    AsText,
    /// Its record is refused.
    Refused,
}

// Sizes and places as `capnp compile -ocapnp` lists them; the differential tests hold them.
const RECORD_DATA_WORDS: u16 = 5;
const RECORD_POINTERS: u16 = 4;
const MOD_DATA_WORDS: u16 = 1;
const MOD_POINTERS: u16 = 4;
const MOD_WORDS: u32 = 5;
const RECORD: u32 = 1;
const RECORD_TEXTS: u32 = RECORD + RECORD_DATA_WORDS as u32;
const MAX_MODS: usize = MAX_WORDS / 2 / MOD_WORDS as usize;
/// JSON text of a record beyond this is refused: values grow up to eightfold (an array of short
/// numbers), and a segment has its limit.
const MAX_JSON: usize = MAX_WORDS * WORD / 8;

/// A body that is being filled.
#[derive(Debug, Default)]
pub struct Body {
    buffer: Vec<u8>,
    count: u32,
    misfits: u64,
    on_misfits: Misfits,
    scratch: Scratch,
}

impl Body {
    /// An empty body that takes values that do not fit, or refuses them.
    pub fn new(on_misfits: Misfits) -> Self {
        Self { on_misfits, ..Self::default() }
    }

    /// An empty body that fills `buffer`, whose content is discarded.
    pub fn with_buffer(mut buffer: Vec<u8>) -> Self {
        buffer.clear();
        Self { buffer, ..Self::default() }
    }

    /// Its size in bytes.
    pub fn len(&self) -> usize {
        self.buffer.len()
    }

    /// Whether nothing was appended.
    pub fn is_empty(&self) -> bool {
        self.buffer.is_empty()
    }

    /// Number of changes (mods) in it.
    pub fn count(&self) -> u32 {
        self.count
    }

    /// Number of values in it that are JSON text because they did not fit their column's type, because
    /// their type is not known, or because their column is not described. An array of a type not known is
    /// one.
    pub fn misfits(&self) -> u64 {
        self.misfits
    }

    /// The frame.
    pub fn into_buffer(self) -> Vec<u8> {
        self.buffer
    }

    /// The frame; the body goes on, empty, in `next`, whose content is discarded.
    pub fn replace_buffer(&mut self, mut next: Vec<u8>) -> Vec<u8> {
        next.clear();
        self.count = 0;
        self.misfits = 0;
        std::mem::replace(&mut self.buffer, next)
    }

    /// Appends a record with all its mods.
    ///
    /// `columns` are the record's; a body's records share them. Where the JSON is broken:
    /// [`Error::Undecodable`], where a value does not fit and that is refused: [`Error::Misfit`], and the
    /// body is as it was before.
    pub fn append(&mut self, record: &DataChangeRecord<'_>, columns: &Columns, values: Values) -> Result<()> {
        self.append_mods(record, (0..).zip(record.mods.iter().copied()), record.mods.len(), columns, values)
    }

    /// Appends a record with these of its mods, `count` of them, each with its number in the record.
    pub fn append_mods<'m>(
        &mut self,
        record: &DataChangeRecord<'_>,
        mods: impl Iterator<Item = (u32, Mod<'m>)> + Clone,
        count: usize,
        columns: &Columns,
        values: Values,
    ) -> Result<()> {
        let before = (self.buffer.len(), self.misfits);
        let result = self.write(record, mods, count, columns, values);
        if result.is_err() {
            self.buffer.truncate(before.0);
            self.misfits = before.1;
        }
        result
    }

    fn write<'m>(
        &mut self,
        record: &DataChangeRecord<'_>,
        mods: impl Iterator<Item = (u32, Mod<'m>)> + Clone,
        count: usize,
        columns: &Columns,
        values: Values,
    ) -> Result<()> {
        let json: usize = mods
            .clone()
            .map(|(_, each)| each.keys.len() + each.new_values.len() + each.old_values.len())
            .sum();
        let (Some(count), true) = (self.more(count), json <= MAX_JSON) else {
            return Err(undecodable(record, 0, "a record too large for a message".into()));
        };
        self.buffer.reserve(json + (count - self.count) as usize * (MOD_WORDS as usize + 3) * WORD + 256);
        if self.scratch.hash != columns.hash() {
            self.scratch.hash = columns.hash();
            self.scratch.key_order.reset(columns.key.fields.len());
            self.scratch.rest_order.reset(columns.rest.fields.len());
        }
        let mut arena = Arena::begin(&mut self.buffer, RECORD_DATA_WORDS, RECORD_POINTERS);
        let mut position = write_record(&mut arena, record, count - self.count);
        let misfits = self.misfits;
        let mut first_misfit = None;
        for (number, each) in mods {
            match values {
                Values::Json => write_json(&mut arena, position, number, &each),
                Values::Typed => {
                    let mut writer = ModWriter::new(&mut arena, &mut self.scratch);
                    let lists = write_lists(&mut writer, &each, columns)
                        .map_err(|broken| broken_json(record, number, broken))?;
                    self.misfits += writer.misfits;
                    first_misfit = first_misfit.or(writer.first_misfit.map(|misfit| (number, misfit)));
                    arena.set(position, u64::from(number));
                    for (place, list) in (1..).zip(lists) {
                        arena.set_pointer(position + place, list);
                    }
                }
            }
            position += MOD_WORDS;
            if arena.position() as usize > MAX_WORDS {
                return Err(undecodable(record, number, "a record too large for a message".into()));
            }
        }
        arena.finish();
        if let (Some((number, misfit)), Misfits::Refused) = (first_misfit, self.on_misfits) {
            return Err(refused(record, number, misfit, columns, self.misfits - misfits));
        }
        self.count = count;
        Ok(())
    }

    /// The count with this many mods more; none where a record cannot hold them.
    fn more(&self, mods: usize) -> Option<u32> {
        let mods = u32::try_from(mods).ok().filter(|&mods| mods as usize <= MAX_MODS)?;
        self.count.checked_add(mods)
    }
}

/// All of a record but its mods; returns where the first mod is.
fn write_record(arena: &mut Arena<'_>, record: &DataChangeRecord<'_>, mods: u32) -> u32 {
    let mod_type: u64 = match record.mod_type {
        ModType::Insert => 1,
        ModType::Update => 2,
        ModType::Delete => 3,
    };
    let capture: u64 = match record.value_capture_type {
        ValueCaptureType::OldAndNewValues => 1,
        ValueCaptureType::NewRow => 2,
        ValueCaptureType::NewValues => 3,
        ValueCaptureType::NewRowAndOldValues => 4,
    };
    arena.set(RECORD, record.commit_timestamp.seconds.cast_unsigned());
    arena.set(RECORD + 1, u64::from(record.commit_timestamp.nanos) | mod_type << 32 | capture << 48);
    let flags = u64::from(record.is_last_record_in_transaction_in_partition)
        | u64::from(record.is_system_transaction) << 1;
    arena.set(RECORD + 2, flags);
    arena.set(RECORD + 3, record.number_of_records_in_transaction.cast_unsigned());
    arena.set(RECORD + 4, record.number_of_partitions_in_transaction.cast_unsigned());
    for (place, text) in (RECORD_TEXTS..).zip([
        &record.server_transaction_id,
        &record.record_sequence,
        &record.transaction_tag,
    ]) {
        let text = arena.text(text.as_bytes());
        arena.set_pointer(place, text);
    }
    let position = arena.position();
    arena.push(tag(mods, MOD_DATA_WORDS, MOD_POINTERS));
    let words = mods * MOD_WORDS;
    arena.set_pointer(RECORD_TEXTS + 3, Pointer::structures(position, words));
    arena.zeros(words)
}

fn write_json(arena: &mut Arena<'_>, position: u32, number: u32, each: &Mod<'_>) {
    arena.set(position, u64::from(number) | 1 << 32);
    for (place, text) in (1..).zip([each.keys, each.new_values, each.old_values]) {
        // The most common one: a delete's new, an insert's old values.
        let text = if text == "{}" { arena.short_text(b"{}") } else { arena.text(text.as_bytes()) };
        arena.set_pointer(position + place, text);
    }
}

fn write_lists(
    writer: &mut ModWriter<'_, '_>,
    each: &Mod<'_>,
    columns: &Columns,
) -> std::result::Result<[Pointer; 4], BrokenAt> {
    Ok([
        writer.object(each.keys, &columns.key, Place::Keys)?,
        writer.object(each.new_values, &columns.rest, Place::NewValues)?,
        writer.object(each.old_values, &columns.rest, Place::OldValues)?,
        writer.others(),
    ])
}

#[cold]
fn broken_json(record: &DataChangeRecord<'_>, number: u32, broken: BrokenAt) -> Error {
    let BrokenAt { broken, place, at } = broken;
    undecodable(record, number, format!("{} is not JSON: {} at byte {at}", place.name(), broken.what()))
}

/// The error names a column and its type, never a value.
#[cold]
fn refused(
    record: &DataChangeRecord<'_>,
    number: u32,
    misfit: Misfit,
    columns: &Columns,
    values: u64,
) -> Error {
    let Misfit { place, field } = misfit;
    let role = if place == Place::Keys { &columns.key } else { &columns.rest };
    let which = match field.and_then(|field| columns.columns().get(role.fields.get(field)?.column)) {
        Some(column) => format!("that of column {:?}, which is {}", column.name, column.column_type),
        None => "one without a column that the record describes, or under a name that came twice".into(),
    };
    let are = if values == 1 { "value does not fit its column" } else { "values do not fit their columns" };
    Error::Misfit {
        version: record.version(number).to_string(),
        table: record.table_name.clone().into_owned(),
        what: format!("{values} {are}: in {} {which}", place.name()),
        values,
    }
}

#[cold]
fn undecodable(record: &DataChangeRecord<'_>, number: u32, what: String) -> Error {
    Error::Undecodable {
        version: record.version(number).to_string(),
        table: record.table_name.clone().into_owned(),
        what,
    }
}

#[cfg(test)]
mod tests {
    use super::super::arena::copied;
    use super::super::read::{self, OtherPlace, Value};
    use super::*;
    use crate::change::{Column, ColumnTypes, Timestamp, Type, TypeAnnotation, TypeCode};

    fn columns() -> Columns {
        let of = |code, array_element: Option<Type>| Type {
            code,
            annotation: TypeAnnotation::None,
            array_element: array_element.map(Box::new),
            proto_type_fqn: String::new(),
            unknown: String::new(),
        };
        let columns = [
            ("Id", of(TypeCode::Int64, None)),
            ("Text", of(TypeCode::String, None)),
            ("Bytes", of(TypeCode::Bytes, None)),
            ("List", of(TypeCode::Array, Some(of(TypeCode::String, None)))),
        ];
        let column = |(ordinal_position, (name, column_type)): (i64, (&str, Type))| Column {
            name: name.into(),
            column_type,
            is_primary_key: name == "Id",
            ordinal_position,
        };
        Columns::new("shop.orders", (1..).zip(columns).map(column).collect())
    }

    fn record<'a>(mods: &'a [Mod<'a>]) -> DataChangeRecord<'a> {
        DataChangeRecord {
            commit_timestamp: Timestamp { seconds: 0, nanos: 0 },
            record_sequence: "00000007".into(),
            server_transaction_id: "tx".into(),
            is_last_record_in_transaction_in_partition: true,
            table_name: "shop.orders".into(),
            column_types: ColumnTypes::GoogleSql(&[]),
            mods,
            mod_type: ModType::Update,
            value_capture_type: ValueCaptureType::OldAndNewValues,
            number_of_records_in_transaction: 1,
            number_of_partitions_in_transaction: 1,
            transaction_tag: "tag".into(),
            is_system_transaction: false,
        }
    }

    fn one<'a>(keys: &'a str, new_values: &'a str) -> [Mod<'a>; 1] {
        [Mod { keys, new_values, old_values: "{}" }]
    }

    #[test]
    fn broken_json_is_named_without_its_content_and_leaves_the_body_as_it_was() {
        let columns = columns();
        let mut body = Body::default();
        body.append(&record(&one(r#"{"Id":"1"}"#, "{}")), &columns, Values::Typed).unwrap();
        let before = body.buffer.clone();
        let good = Mod { keys: r#"{"Id":"1"}"#, new_values: r#"{"Text":5}"#, old_values: "{}" };
        let deep = format!(r#"{{"x":{}1{}}}"#, "[".repeat(200), "]".repeat(200));
        for broken in [
            "",
            " ",
            "null",
            "[]",
            "{",
            "{\"",
            r#"{"Text"}"#,
            r#"{"Text":}"#,
            r#"{"Text":"secret}"#,
            r#"{"Text":"secret",}"#,
            r#"{"Text":"secret"}}"#,
            r#"{"Text":"secret"} x"#,
            r#"{"Text" "secret"}"#,
            r#"{"Text":"secret" "Bytes":""}"#,
            r#"{"Text":"\x"}"#,
            r#"{"Text":"\u12G4"}"#,
            "{\"Text\":\"\n\"}",
            r#"{"Text":nul}"#,
            r#"{"Text":truth}"#,
            r#"{"Text":-}"#,
            r#"{"Text":01}"#,
            r#"{"Text":1.}"#,
            r#"{"Text":1e}"#,
            r#"{"List":["a","b"}"#,
            r#"{"List":["a",]}"#,
            r#"{"List":[,]}"#,
            r#"{"Bytes":"Zg==}"#,
            r#"{"\ud800":1}"#,
            &deep,
        ] {
            let mods = [good, Mod { new_values: broken, ..good }];
            let error = body.append(&record(&mods), &columns, Values::Typed).unwrap_err();
            let text = error.to_string();
            assert!(
                text.starts_with(
                    "cannot decode change 1970-01-01T00:00:00.000000000Z/tx/00000007/1 of table \"shop.orders\": \
                     new_values is not JSON: "
                ),
                "{broken}: {text}"
            );
            assert!(!text.contains("secret"));
            assert_eq!((&body.buffer, body.count(), body.misfits()), (&before, 1, 0), "{broken}");
        }
    }

    #[test]
    fn a_name_twice_loses_neither_value() {
        let columns = columns();
        let mut body = Body::default();
        let mods = one(r#"{"Id":"1","Id":"2"}"#, r#"{"Text":"a","Text":null,"Id":"3"}"#);
        body.append(&record(&mods), &columns, Values::Typed).unwrap();
        let buffer = body.into_buffer();
        let record = read::records(&buffer).next().unwrap().unwrap();
        let each = record.mods().unwrap().next().unwrap();
        let (_, key) = each.keys(&columns).unwrap().next().unwrap().unwrap();
        assert!(matches!(key, Value::Int64(1)));
        let others: Vec<_> =
            each.others().unwrap().map(|other| other.unwrap()).map(|o| (o.place, o.name, o.json)).collect();
        assert_eq!(
            others,
            [
                (OtherPlace::Keys, "Id", r#""2""#),
                (OtherPlace::NewValues, "Text", "null"),
                (OtherPlace::NewValues, "Id", r#""3""#)
            ]
        );
    }

    #[test]
    fn what_no_text_can_hold_stays_json_and_is_counted() {
        let columns = columns();
        let mut body = Body::default();
        let mods = one("{}", r#"{"Text":"half \ud83d a pair","List":["fine","\udc00"],"Bytes":"Zg"}"#);
        body.append(&record(&mods), &columns, Values::Typed).unwrap();
        assert_eq!(body.misfits(), 3);
        let buffer = body.into_buffer();
        let record = read::records(&buffer).next().unwrap().unwrap();
        let each = record.mods().unwrap().next().unwrap();
        let texts: Vec<_> = each
            .new_values(&columns)
            .unwrap()
            .map(|cell| match cell.unwrap().1 {
                Value::Json(text) => text,
                other => panic!("{other:?}"),
            })
            .collect();
        assert_eq!(texts, [r#""half \ud83d a pair""#, r#""Zg""#, r#"["fine","\udc00"]"#]);
    }

    #[test]
    fn where_misfits_are_refused_the_error_counts_them_and_names_the_first_without_its_value() {
        let columns = columns();
        let good = Mod { keys: r#"{"Id":"1"}"#, new_values: r#"{"Text":"a"}"#, old_values: "{}" };
        let misfit = |new_values| [good, Mod { new_values, ..good }];
        let at = "1970-01-01T00:00:00.000000000Z/tx/00000007/1 of table \"shop.orders\"";
        for (mods, values, which) in [
            (
                misfit(r#"{"Text":"x","List":["SECRET",5]}"#),
                1,
                "that of column \"List\", which is ARRAY<STRING>",
            ),
            (misfit(r#"{"Bytes":"SECRET!","Text":5}"#), 2, "that of column \"Text\", which is STRING"),
            (
                misfit(r#"{"SECRET":{"a":"SECRET"}}"#),
                1,
                "one without a column that the record describes, or under a name that came twice",
            ),
            (
                misfit(r#"{"Text":"x","Text":"SECRET"}"#),
                1,
                "one without a column that the record describes, or under a name that came twice",
            ),
        ] {
            let mut body = Body::new(Misfits::Refused);
            body.append(&record(&mods[..1]), &columns, Values::Typed).unwrap();
            let before = body.buffer.clone();
            let error = body.append(&record(&mods), &columns, Values::Typed).unwrap_err();
            let are =
                if values == 1 { "value does not fit its column" } else { "values do not fit their columns" };
            assert_eq!(error.to_string(), format!("change {at}: {values} {are}: in new_values {which}"));
            assert!(matches!(error, Error::Misfit { values: counted, .. } if counted == values));
            assert_eq!((&body.buffer, body.count(), body.misfits()), (&before, 1, 0));
            // Who looks at no value refuses none.
            body.append(&record(&mods), &columns, Values::Json).unwrap();
            assert_eq!((body.count(), body.misfits()), (3, 0));
        }
    }

    #[test]
    fn a_record_too_large_for_a_message_is_refused_before_it_is_written() {
        let big = format!(r#"{{"Text":"{}"}}"#, "x".repeat(1 << 20));
        let mods = [Mod { keys: "{}", new_values: &big, old_values: "{}" }; 260];
        for values in [Values::Typed, Values::Json] {
            let mut body = Body::default();
            let error = body.append(&record(&mods), &columns(), values).unwrap_err();
            assert!(error.to_string().contains("too large"), "{error}");
            assert_eq!(body.buffer.capacity(), 0);
        }
    }

    #[test]
    fn a_payload_byte_is_copied_once() {
        let columns = columns();
        let head = "tx00000007tag".len();
        let new = r#"{"Text":"a\n\u00e9😀","Bytes":"Zm9v","List":["x",null,"yz"]}"#;
        let mods = one(r#"{"Id":"123"}"#, new);
        let mut body = Body::default();

        copied::take();
        body.append(&record(&mods), &columns, Values::Typed).unwrap();
        let nulls = 1; // a byte of bits
        assert_eq!(copied::take(), head + "a\né😀".len() + "foo".len() + "xyz".len() + nulls);

        body.append(&record(&mods), &columns, Values::Json).unwrap();
        assert_eq!(copied::take(), head + mods[0].keys.len() + new.len()); // an empty object is no payload
    }

    #[test]
    fn a_body_goes_on_in_another_buffer() {
        let columns = columns();
        let mods = one(r#"{"Id":"1"}"#, r#"{"Text":"a"}"#);
        let mut body = Body::with_buffer(vec![1, 2, 3]);
        assert!(body.is_empty());
        body.append(&record(&mods), &columns, Values::Typed).unwrap();
        let first = body.replace_buffer(vec![9; 100]);
        assert_eq!((body.len(), body.count()), (0, 0));
        body.append(&record(&mods), &columns, Values::Typed).unwrap();
        assert_eq!(body.into_buffer(), first);
    }
}
