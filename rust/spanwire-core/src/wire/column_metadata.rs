//! `google.spanner.v1.ChangeStreamRecord.DataChangeRecord.ColumnMetadata`: a record's columns, and
//! their names for its mods, which name columns by their place.
//!
//! Sources: `google/spanner/v1/change_stream.proto` and `type.proto`.

use std::fmt::Write;

use crate::change::{Column, Type, TypeAnnotation, TypeCode};
use crate::json::write_string;

use super::columns::MAX_TYPE_DEPTH;
use super::protobuf::{Fields, Payload};
use super::record::{Fault, In, once, utf8};

type Result<T> = std::result::Result<T, Fault>;

/// `DataChangeRecord.column_metadata`.
pub const COLUMN_METADATA: u32 = 6;

/// The columns of a record; `stretch` is what holds all its `column_metadata` fields.
pub fn columns(stretch: &[u8]) -> Result<Vec<Column>> {
    let mut columns = Vec::new();
    let mut fields = Fields::of(stretch);
    while let Some((number, payload)) = fields.next().within("column_metadata")? {
        if number == COLUMN_METADATA {
            columns.push(column(payload.bytes().within("column_metadata")?)?);
        }
    }
    Ok(columns)
}

/// The names of a record's columns, ready for JSON objects. Records of one shape mostly follow
/// each other: then the names are known already.
#[derive(Debug, Default)]
pub struct Names {
    /// What they were read from.
    stretch: Vec<u8>,
    /// `"name":` for each, one after the other, and where each ends.
    text: String,
    ends: Vec<usize>,
}

impl Names {
    /// Makes them those of the columns in `stretch`.
    pub fn read(&mut self, stretch: &[u8]) -> Result<()> {
        if self.stretch == stretch {
            return Ok(());
        }
        self.stretch.clear(); // of an error nothing may be left that looks known
        self.text.clear();
        self.ends.clear();
        let mut fields = Fields::of(stretch);
        while let Some((number, payload)) = fields.next().within("column_metadata")? {
            if number == COLUMN_METADATA {
                write_string(name(payload.bytes().within("column_metadata")?)?, &mut self.text);
                self.text.push(':');
                self.ends.push(self.text.len());
            }
        }
        self.stretch.extend_from_slice(stretch);
        Ok(())
    }

    /// Appends `"name":`. The value of a column that the record does not describe must not be lost,
    /// nor pass for that of another: it goes under its index, as `"#7":`, which no column can be
    /// called. Nothing in the record says of what type it is, so it travels on as JSON text.
    pub fn write(&self, index: i32, out: &mut String) {
        let place = usize::try_from(index).ok().filter(|&place| place < self.ends.len());
        if let Some(place) = place {
            let start = if place == 0 { 0 } else { self.ends[place - 1] };
            out.push_str(&self.text[start..self.ends[place]]);
        } else {
            let _ = write!(out, "\"#{index}\":"); // to a String: cannot fail
        }
    }
}

/// A column cannot be told from others without a name: an empty one is none.
fn name(encoded: &[u8]) -> Result<&str> {
    const AT: &str = "column_metadata.name";
    let mut name = "";
    let mut fields = Fields::of(encoded);
    while let Some((number, payload)) = fields.next().within(AT)? {
        if number == 1 {
            name = utf8(payload.bytes().within(AT)?, AT)?;
        }
    }
    if name.is_empty() { Err(Fault::new(AT, "missing")) } else { Ok(name) }
}

fn column(encoded: &[u8]) -> Result<Column> {
    const AT: &str = "column_metadata";
    let (mut column_type, mut is_primary_key, mut ordinal_position) = (None, false, 0);
    let mut fields = Fields::of(encoded);
    while let Some((number, payload)) = fields.next().within(AT)? {
        match number {
            2 => once(&mut column_type, payload.bytes().within(AT)?, "column_metadata.type")?,
            3 => is_primary_key = payload.varint().within(AT)? != 0,
            4 => ordinal_position = payload.varint().within(AT)?.cast_signed(),
            _ => {}
        }
    }
    Ok(Column {
        name: name(encoded)?.into(),
        column_type: read_type(column_type.unwrap_or_default())?,
        is_primary_key,
        ordinal_position,
    })
}

/// A `google.spanner.v1.Type`. A code or an annotation that is not known is no error: see [`Type::unknown`].
pub fn read_type(encoded: &[u8]) -> Result<Type> {
    Numbered::read(encoded, 0).map(Numbered::into_type)
}

/// `google.spanner.v1.Type`, its codes still numbers.
#[derive(Default)]
struct Numbered<'a> {
    code: i32,
    annotation: i32,
    array_element: Option<Box<Numbered<'a>>>,
    proto_type_fqn: &'a str,
}

impl<'a> Numbered<'a> {
    fn read(encoded: &'a [u8], depth: usize) -> Result<Self> {
        const AT: &str = "column_metadata.type";
        if depth == MAX_TYPE_DEPTH {
            return Err(Fault::new(AT, "nested too deep"));
        }
        let mut found = Self::default();
        let mut element = None;
        let mut fields = Fields::of(encoded);
        while let Some((number, payload)) = fields.next().within(AT)? {
            match number {
                1 => found.code = int32(payload, AT)?,
                2 => once(&mut element, payload.bytes().within(AT)?, AT)?,
                4 => found.annotation = int32(payload, AT)?,
                5 => found.proto_type_fqn = utf8(payload.bytes().within(AT)?, AT)?,
                _ => {} // struct_type (3): no column of a table is a struct
            }
        }
        if let Some(element) = element {
            found.array_element = Some(Box::new(Self::read(element, depth + 1)?));
        }
        if code(found.code) == Some(TypeCode::Array) && found.array_element.is_none() {
            return Err(Fault::new(AT, "an array without an element type"));
        }
        Ok(found)
    }

    fn into_type(self) -> Type {
        let code = code(self.code).filter(|&code| code != TypeCode::Unspecified);
        // An annotation bends how values are written: without knowing it, nothing is known.
        let unknown = if let (Some(_), Some(_)) = (code, annotation(self.annotation)) {
            String::new()
        } else {
            let mut text = String::new();
            self.write(&mut text);
            text
        };
        Type {
            code: code.filter(|_| unknown.is_empty()).unwrap_or(TypeCode::Unspecified),
            annotation: annotation(self.annotation).unwrap_or(TypeAnnotation::None),
            array_element: self.array_element.map(|element| Box::new(element.into_type())),
            proto_type_fqn: self.proto_type_fqn.into(),
            unknown,
        }
    }

    /// As JSON, as the other shapes have it: numbers that have no name here stay numbers.
    fn write(&self, out: &mut String) {
        out.push_str("{\"code\":");
        match code(self.code) {
            Some(code) => write_string(code.name(), out),
            None => _ = write!(out, "{}", self.code), // to a String: cannot fail
        }
        match annotation(self.annotation) {
            Some(TypeAnnotation::None) => {}
            Some(annotation) => {
                out.push_str(",\"type_annotation\":");
                write_string(annotation.name(), out);
            }
            None => _ = write!(out, ",\"type_annotation\":{}", self.annotation),
        }
        if let Some(element) = &self.array_element {
            out.push_str(",\"array_element_type\":");
            element.write(out);
        }
        if !self.proto_type_fqn.is_empty() {
            out.push_str(",\"proto_type_fqn\":");
            write_string(self.proto_type_fqn, out);
        }
        out.push('}');
    }
}

/// An int32 or an enum: the lower half of a varint.
pub fn int32(payload: Payload<'_>, at: &'static str) -> Result<i32> {
    #[allow(clippy::cast_possible_truncation)] // as every protobuf library does
    payload.varint().within(at).map(|value| value as i32)
}

/// `google.spanner.v1.TypeCode`.
fn code(number: i32) -> Option<TypeCode> {
    Some(match number {
        0 => TypeCode::Unspecified,
        1 => TypeCode::Bool,
        2 => TypeCode::Int64,
        3 => TypeCode::Float64,
        4 => TypeCode::Timestamp,
        5 => TypeCode::Date,
        6 => TypeCode::String,
        7 => TypeCode::Bytes,
        8 => TypeCode::Array,
        9 => TypeCode::Struct,
        10 => TypeCode::Numeric,
        11 => TypeCode::Json,
        13 => TypeCode::Proto,
        14 => TypeCode::Enum,
        15 => TypeCode::Float32,
        16 => TypeCode::Interval,
        17 => TypeCode::Uuid,
        _ => return None,
    })
}

/// `google.spanner.v1.TypeAnnotationCode`.
fn annotation(number: i32) -> Option<TypeAnnotation> {
    Some(match number {
        0 => TypeAnnotation::None,
        2 => TypeAnnotation::PgNumeric,
        3 => TypeAnnotation::PgJsonb,
        4 => TypeAnnotation::PgOid,
        _ => return None,
    })
}
