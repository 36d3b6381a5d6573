//! The columns of a record: parsed once for all messages of that shape, encoded once for all of them.

use std::sync::Arc;

use capnp::message::{Builder, HeapAllocator, ReaderOptions};
use sha2::{Digest, Sha256};

use super::cursor::Token;
use super::envelope_capnp as schema;
use super::value::Kind;
use super::{malformed, options_for};
use crate::change::{Column, Type, TypeAnnotation, TypeCode};
use crate::error::{Error, Result};

/// A type in a type in a type: Spanner knows no array of arrays, so this is generous.
const MAX_TYPE_DEPTH: usize = 16;

/// A record's columns with their frame, and the order in which values are laid out.
#[derive(Debug, Clone)]
pub struct Columns {
    table: Arc<str>,
    all: Arc<[Column]>,
    frame: Arc<[u8]>,
    hash: [u8; 16],
    pub(super) key: Role,
    pub(super) rest: Role,
}

/// The columns that are part of the primary key, or those that are not, in the order of the
/// columns frame: the order of the values in a list.
#[derive(Debug, Clone)]
pub(super) struct Role {
    pub(super) fields: Arc<[Field]>,
    /// Positions in `fields`, by name.
    by_name: Arc<[u16]>,
}

/// What the writer of values knows of a column.
#[derive(Debug)]
pub(super) struct Field {
    /// Its name in a JSON object, with quotes and colon, as Spanner writes it.
    pub(super) token: Token,
    pub(super) name: Box<str>,
    pub(super) kind: Kind,
    /// Its place in the columns frame.
    pub(super) column: usize,
}

impl Role {
    fn new(columns: &[Column], is_key: bool) -> Self {
        let fields: Arc<[Field]> = columns
            .iter()
            .enumerate()
            .filter(|(_, column)| column.is_primary_key == is_key)
            .map(|(place, column)| Field {
                token: token(&column.name),
                name: column.name.as_str().into(),
                kind: Kind::of(&column.column_type),
                column: place,
            })
            .collect();
        // Spanner allows 1,024 columns in a table.
        let mut by_name: Vec<u16> = (0..=u16::MAX).take(fields.len()).collect();
        by_name.sort_by(|&a, &b| fields[usize::from(a)].name.cmp(&fields[usize::from(b)].name));
        Self { fields, by_name: by_name.into() }
    }

    /// The place of a column in the value lists of this role.
    pub(super) fn find(&self, name: &[u8]) -> Option<usize> {
        let name_of = |place: &u16| self.fields[usize::from(*place)].name.as_bytes();
        let at = self.by_name.partition_point(|place| name_of(place) < name);
        let place = self.by_name.get(at).filter(|place| name_of(place) == name)?;
        Some(usize::from(*place))
    }
}

/// `"name":`, with the escapes that JSON demands.
fn token(name: &str) -> Token {
    let mut token = String::with_capacity(name.len() + 3);
    token.push('"');
    for letter in name.chars() {
        match letter {
            '"' | '\\' => token.extend(['\\', letter]),
            _ => token.push(letter),
        }
    }
    token.push_str("\":");
    Token::new(token.as_bytes())
}

impl Columns {
    /// Encodes the columns of `table` (with its schema where it has one: `sales.orders`).
    pub fn new(table: &str, columns: Vec<Column>) -> Self {
        let frame = encode(table, &columns);
        Self::from_parts(table, columns, frame)
    }

    fn from_parts(table: &str, columns: Vec<Column>, frame: Vec<u8>) -> Self {
        Self {
            table: table.into(),
            hash: first_16(&Sha256::digest(&frame)),
            key: Role::new(&columns, true),
            rest: Role::new(&columns, false),
            all: columns.into(),
            frame: frame.into(),
        }
    }

    /// Reads a columns frame. [`Error::Format`] where it is not one.
    pub fn decode(frame: &[u8]) -> Result<Self> {
        let mut rest = frame;
        let message = capnp::serialize::read_message_from_flat_slice(
            &mut rest,
            options_for(frame, ReaderOptions::new()),
        )
        .map_err(|error| malformed("columns frame", &error))?;
        let (table, columns) = read(&message).map_err(|error| malformed("columns frame", &error))?;
        if columns.len() > usize::from(u16::MAX) {
            return Err(Error::format("columns frame: more than 65,535 columns"));
        }
        Ok(Self::from_parts(&table, columns, frame.to_vec()))
    }

    /// The table's name, with its schema where it has one.
    pub fn table(&self) -> &str {
        &self.table
    }

    /// All columns, in the order of the frame.
    pub fn columns(&self) -> &[Column] {
        &self.all
    }

    /// The encoded frame, shared by all messages of this shape.
    pub fn frame(&self) -> Arc<[u8]> {
        Arc::clone(&self.frame)
    }

    /// First 16 bytes of the frame's SHA-256: its name in the header.
    pub fn hash(&self) -> [u8; 16] {
        self.hash
    }
}

/// First 16 bytes of SHA-256 of a partition's token: its name on the wire.
pub fn partition_hash(token: &str) -> [u8; 16] {
    first_16(&Sha256::digest(token))
}

fn first_16(digest: &[u8]) -> [u8; 16] {
    let mut hash = [0; 16];
    hash.copy_from_slice(&digest[..16]);
    hash
}

fn encode(table: &str, columns: &[Column]) -> Vec<u8> {
    // One segment, whatever the size: a generous guess costs nothing, this is done once a shape.
    let text: usize = columns.iter().map(|column| column.name.len() + text_in(&column.column_type)).sum();
    let words = 16 + table.len() / 8 + columns.len() * 24 + text / 4;
    let mut message =
        Builder::new(HeapAllocator::new().first_segment_words(u32::try_from(words).unwrap_or(u32::MAX)));
    let mut root = message.init_root::<schema::columns::Builder<'_>>();
    root.set_table(table);
    let mut list = root.init_columns(u32::try_from(columns.len()).expect("Spanner allows 1,024 columns"));
    for (place, column) in (0..).zip(columns) {
        let mut builder = list.reborrow().get(place);
        builder.set_name(&column.name);
        builder.set_is_primary_key(column.is_primary_key);
        builder.set_ordinal_position(column.ordinal_position);
        write_type(builder.init_type(), &column.column_type);
    }
    capnp::serialize::write_message_to_words(&message)
}

fn text_in(of: &Type) -> usize {
    32 + of.proto_type_fqn.len() + of.unknown.len() + of.array_element.as_deref().map_or(0, text_in)
}

fn write_type(mut builder: schema::type_::Builder<'_>, from: &Type) {
    builder.set_code(code_to_wire(from.code));
    builder.set_annotation(match from.annotation {
        TypeAnnotation::None => schema::TypeAnnotation::None,
        TypeAnnotation::PgNumeric => schema::TypeAnnotation::PgNumeric,
        TypeAnnotation::PgJsonb => schema::TypeAnnotation::PgJsonb,
        TypeAnnotation::PgOid => schema::TypeAnnotation::PgOid,
    });
    if !from.proto_type_fqn.is_empty() {
        builder.set_proto_type_fqn(&from.proto_type_fqn);
    }
    if !from.unknown.is_empty() {
        builder.set_unknown(&from.unknown);
    }
    if let Some(element) = &from.array_element {
        write_type(builder.init_array_element(), element);
    }
}

fn code_to_wire(code: TypeCode) -> schema::TypeCode {
    match code {
        TypeCode::Unspecified => schema::TypeCode::Unspecified,
        TypeCode::Bool => schema::TypeCode::Bool,
        TypeCode::Int64 => schema::TypeCode::Int64,
        TypeCode::Float64 => schema::TypeCode::Float64,
        TypeCode::Timestamp => schema::TypeCode::Timestamp,
        TypeCode::Date => schema::TypeCode::Date,
        TypeCode::String => schema::TypeCode::String,
        TypeCode::Bytes => schema::TypeCode::Bytes,
        TypeCode::Array => schema::TypeCode::Array,
        TypeCode::Struct => schema::TypeCode::Struct,
        TypeCode::Numeric => schema::TypeCode::Numeric,
        TypeCode::Json => schema::TypeCode::Json,
        TypeCode::Proto => schema::TypeCode::Proto,
        TypeCode::Enum => schema::TypeCode::Enum,
        TypeCode::Float32 => schema::TypeCode::Float32,
        TypeCode::Interval => schema::TypeCode::Interval,
        TypeCode::Uuid => schema::TypeCode::Uuid,
    }
}

/// A code that a later version added is unspecified to this one: its values come as JSON text.
fn code_from_wire(code: std::result::Result<schema::TypeCode, capnp::NotInSchema>) -> TypeCode {
    match code {
        Ok(schema::TypeCode::Bool) => TypeCode::Bool,
        Ok(schema::TypeCode::Int64) => TypeCode::Int64,
        Ok(schema::TypeCode::Float64) => TypeCode::Float64,
        Ok(schema::TypeCode::Timestamp) => TypeCode::Timestamp,
        Ok(schema::TypeCode::Date) => TypeCode::Date,
        Ok(schema::TypeCode::String) => TypeCode::String,
        Ok(schema::TypeCode::Bytes) => TypeCode::Bytes,
        Ok(schema::TypeCode::Array) => TypeCode::Array,
        Ok(schema::TypeCode::Struct) => TypeCode::Struct,
        Ok(schema::TypeCode::Numeric) => TypeCode::Numeric,
        Ok(schema::TypeCode::Json) => TypeCode::Json,
        Ok(schema::TypeCode::Proto) => TypeCode::Proto,
        Ok(schema::TypeCode::Enum) => TypeCode::Enum,
        Ok(schema::TypeCode::Float32) => TypeCode::Float32,
        Ok(schema::TypeCode::Interval) => TypeCode::Interval,
        Ok(schema::TypeCode::Uuid) => TypeCode::Uuid,
        Ok(schema::TypeCode::Unspecified | schema::TypeCode::Reserved12) | Err(_) => TypeCode::Unspecified,
    }
}

fn read<S: capnp::message::ReaderSegments>(
    message: &capnp::message::Reader<S>,
) -> capnp::Result<(String, Vec<Column>)> {
    let root = message.get_root::<schema::columns::Reader<'_>>()?;
    let columns = root
        .get_columns()?
        .iter()
        .map(|column| {
            Ok(Column {
                name: column.get_name()?.to_string()?,
                column_type: read_type(column.get_type()?, 0)?,
                is_primary_key: column.get_is_primary_key(),
                ordinal_position: column.get_ordinal_position(),
            })
        })
        .collect::<capnp::Result<_>>()?;
    Ok((root.get_table()?.to_string()?, columns))
}

fn read_type(reader: schema::type_::Reader<'_>, depth: usize) -> capnp::Result<Type> {
    if depth > MAX_TYPE_DEPTH {
        return Err(capnp::Error::failed("types nested too deeply".into()));
    }
    let array_element = if reader.has_array_element() {
        Some(Box::new(read_type(reader.get_array_element()?, depth + 1)?))
    } else {
        None
    };
    Ok(Type {
        code: code_from_wire(reader.get_code()),
        annotation: match reader.get_annotation() {
            Ok(schema::TypeAnnotation::PgNumeric) => TypeAnnotation::PgNumeric,
            Ok(schema::TypeAnnotation::PgJsonb) => TypeAnnotation::PgJsonb,
            Ok(schema::TypeAnnotation::PgOid) => TypeAnnotation::PgOid,
            Ok(schema::TypeAnnotation::None | schema::TypeAnnotation::Reserved1) | Err(_) => {
                TypeAnnotation::None
            }
        },
        array_element,
        proto_type_fqn: reader.get_proto_type_fqn()?.to_string()?,
        unknown: reader.get_unknown()?.to_string()?,
    })
}
