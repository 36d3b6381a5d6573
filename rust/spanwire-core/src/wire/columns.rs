//! The columns that a record describes, parsed: done once per shape, off the hot path.

use std::borrow::Cow;

use crate::change::{Column, ColumnTypes, DataChangeRecord, Type, TypeAnnotation, TypeCode};
use crate::error::{Error, Result as CoreResult};
use crate::json::{Kind, Scanner};

use super::column_metadata;
use super::googlesql::{self, Struct};
use super::record::{Fault, In, count, utf8};

type Result<T> = std::result::Result<T, Fault>;

/// Arrays of arrays do not exist in Spanner; a little more than exists is let through.
pub const MAX_TYPE_DEPTH: usize = 8;

/// Parses the columns of a record. `Undecodable`, naming the record, where that cannot be done.
pub fn columns_of(record: &DataChangeRecord<'_>) -> CoreResult<Vec<Column>> {
    parse(record.column_types).map_err(|fault| Error::Undecodable {
        version: record.version(0).to_string(),
        table: record.table_name.clone().into_owned(),
        what: fault.to_string(),
    })
}

/// Parses columns as they arrived. `Undecodable`, version and table empty, where that cannot be done.
pub fn column_types(columns: ColumnTypes<'_>) -> CoreResult<Vec<Column>> {
    parse(columns).map_err(nameless)
}

/// Parses a type's JSON text, e.g. `{"code":"ARRAY","array_element_type":{"code":"INT64"}}`.
/// `Undecodable`, version and table empty, where it is not that. A code or an annotation that is
/// not known is no error: see [`Type::unknown`].
pub fn read_type(json: &str) -> CoreResult<Type> {
    type_of(json, 0).map_err(nameless)
}

fn nameless(fault: Fault) -> Error {
    Error::Undecodable { version: String::new(), table: String::new(), what: fault.to_string() }
}

fn parse(columns: ColumnTypes<'_>) -> Result<Vec<Column>> {
    match columns {
        ColumnTypes::GoogleSql(encoded) => from_structs(encoded),
        ColumnTypes::PostgreSql(json) => from_objects(utf8(json, "column_types")?),
        ColumnTypes::ChangeStreamRecord(stretch) => column_metadata::columns(stretch),
    }
}

fn from_structs(encoded: &[u8]) -> Result<Vec<Column>> {
    let mut structs = googlesql::array(encoded, "column_types")?;
    let mut columns = Vec::new();
    while let Some(column) = structs.next().within("column_types")? {
        let mut fields = Struct::of(column, "column_types")?;
        columns.push(Column {
            name: fields.text("column_types.name")?.into(),
            column_type: type_of(fields.text("column_types.type")?, 0)?,
            is_primary_key: fields.boolean("column_types.is_primary_key")?,
            ordinal_position: fields.count("column_types.ordinal_position")?,
        });
    }
    Ok(columns)
}

fn from_objects(json: &str) -> Result<Vec<Column>> {
    let mut scanner = Scanner::new(json);
    let mut columns = Vec::new();
    scanner.array_start().within("column_types")?;
    while scanner.next().within("column_types")? {
        columns.push(from_object(&mut scanner)?);
    }
    scanner.end().within("column_types")?;
    Ok(columns)
}

fn from_object(scanner: &mut Scanner<'_>) -> Result<Column> {
    let (mut name, mut column_type, mut is_primary_key, mut ordinal_position) = (None, None, None, None);
    scanner.object_start().within("column_types")?;
    while let Some(key) = scanner.next_key().within("column_types")? {
        if key.is("name") {
            name = Some(text(scanner, "column_types.name")?.into_owned());
        } else if key.is("type") {
            column_type = Some(match scanner.kind().within("column_types.type")? {
                Kind::String => type_of(&text(scanner, "column_types.type")?, 0)?,
                _ => type_of(scanner.raw_value().within("column_types.type")?, 0)?,
            });
        } else if key.is("is_primary_key") {
            is_primary_key = Some(scanner.boolean().within("column_types.is_primary_key")?);
        } else if key.is("ordinal_position") {
            const AT: &str = "column_types.ordinal_position";
            ordinal_position = Some(match scanner.kind().within(AT)? {
                Kind::String => count(&text(scanner, AT)?, AT)?,
                _ => count(scanner.number().within(AT)?, AT)?,
            });
        } else {
            scanner.raw_value().within("column_types")?;
        }
    }
    let missing = |at| Fault::new(at, "missing");
    Ok(Column {
        name: name.ok_or(missing("column_types.name"))?,
        column_type: column_type.ok_or(missing("column_types.type"))?,
        is_primary_key: is_primary_key.ok_or(missing("column_types.is_primary_key"))?,
        ordinal_position: ordinal_position.ok_or(missing("column_types.ordinal_position"))?,
    })
}

fn type_of(json: &str, depth: usize) -> Result<Type> {
    const AT: &str = "column_types.type";
    if depth == MAX_TYPE_DEPTH {
        return Err(Fault::new(AT, "nested too deep"));
    }
    let mut found = Type {
        code: TypeCode::Unspecified,
        annotation: TypeAnnotation::None,
        array_element: None,
        proto_type_fqn: String::new(),
        unknown: String::new(),
    };
    let mut known = false;
    let mut annotation_known = true;
    let mut scanner = Scanner::new(json);
    scanner.object_start().within(AT)?;
    while let Some(key) = scanner.next_key().within(AT)? {
        if key.is("code") {
            let code = TypeCode::from_name(&text(&mut scanner, AT)?);
            known = code.is_some_and(|code| code != TypeCode::Unspecified);
            found.code = code.unwrap_or(TypeCode::Unspecified);
        } else if key.is("type_annotation") {
            let annotation = TypeAnnotation::from_name(&text(&mut scanner, AT)?);
            annotation_known = annotation.is_some();
            found.annotation = annotation.unwrap_or(TypeAnnotation::None);
        } else if key.is("array_element_type") {
            found.array_element = Some(Box::new(type_of(scanner.raw_value().within(AT)?, depth + 1)?));
        } else if key.is("proto_type_fqn") {
            found.proto_type_fqn = text(&mut scanner, AT)?.into_owned();
        } else {
            scanner.raw_value().within(AT)?;
        }
    }
    scanner.end().within(AT)?;
    if found.code == TypeCode::Array && found.array_element.is_none() {
        return Err(Fault::new(AT, "an array without an element type"));
    }
    if !known || !annotation_known {
        // An annotation bends how values are written: without knowing it, nothing is known.
        found.code = TypeCode::Unspecified;
        found.unknown = json.into();
    }
    Ok(found)
}

fn text<'a>(scanner: &mut Scanner<'a>, at: &'static str) -> Result<Cow<'a, str>> {
    scanner.string().within(at)?.to_cow().within(at)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(outcome: CoreResult<impl std::fmt::Debug>) -> String {
        match outcome.unwrap_err() {
            Error::Undecodable { what, .. } => what,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_type_is_read_with_what_bends_it() {
        let array = read_type(
            r#"{"array_element_type":{"code":"NUMERIC","type_annotation":"PG_NUMERIC"},"code":"ARRAY"}"#,
        );
        let array = array.unwrap();
        let element = array.array_element.unwrap();
        assert_eq!((array.code, element.code), (TypeCode::Array, TypeCode::Numeric));
        assert_eq!((array.annotation, element.annotation), (TypeAnnotation::None, TypeAnnotation::PgNumeric));
        let proto =
            read_type(r#" { "code" : "PROTO", "proto_type_fqn": "shop.Order", "later": [1] } "#).unwrap();
        assert_eq!((proto.code, proto.proto_type_fqn.as_str()), (TypeCode::Proto, "shop.Order"));
        assert_eq!((proto.unknown.as_str(), element.unknown.as_str()), ("", ""));
    }

    #[test]
    fn a_type_that_is_not_known_is_kept_as_its_text() {
        for json in [
            r#"{"code":"VECTOR"}"#,
            r#"{"code":"TYPE_CODE_UNSPECIFIED"}"#,
            r#"{"code":"STRING","type_annotation":"PG_NEW"}"#,
            "{}",
        ] {
            let read = read_type(json).unwrap();
            assert_eq!((read.code, read.unknown.as_str()), (TypeCode::Unspecified, json));
        }
        let array = read_type(r#"{"code":"ARRAY","array_element_type":{"code":"VECTOR"}}"#).unwrap();
        assert_eq!((array.code, array.unknown.as_str()), (TypeCode::Array, ""));
        assert_eq!(array.array_element.unwrap().unknown, r#"{"code":"VECTOR"}"#);
    }

    #[test]
    fn what_is_no_type_is_refused() {
        for json in ["", "[]", r#"{"code":1}"#, r#"{"code":"INT64"} x"#, r#"{"code":"INT64""#] {
            assert!(refused(read_type(json)).starts_with("column_types.type: "), "{json}");
        }
        assert_eq!(
            refused(read_type(r#"{"code":"ARRAY"}"#)),
            "column_types.type: an array without an element type"
        );
        let nested = (0..9).fold(r#"{"code":"INT64"}"#.to_owned(), |element, _| {
            format!(r#"{{"code":"ARRAY","array_element_type":{element}}}"#)
        });
        assert_eq!(refused(read_type(&nested)), "column_types.type: nested too deep");
    }

    #[test]
    fn columns_of_objects_take_fields_in_any_order_and_miss_none() {
        let json = r#"[{"is_primary_key":true,"x":null,"ordinal_position":"2","type":"{\"code\":\"BOOL\"}","name":"a\"b"}]"#;
        let columns = column_types(ColumnTypes::PostgreSql(json.as_bytes())).unwrap();
        let [column] = columns.as_slice() else { panic!("{columns:?}") };
        assert_eq!((column.name.as_str(), column.ordinal_position, column.is_primary_key), ("a\"b", 2, true));
        assert_eq!(column.column_type.code, TypeCode::Bool);
        for name in ["is_primary_key", "ordinal_position", "type", "name"] {
            let json = json.replace(&format!("{name:?}"), "\"other\"");
            let what = refused(column_types(ColumnTypes::PostgreSql(json.as_bytes())));
            assert_eq!(what, format!("column_types.{name}: missing"));
        }
        assert!(refused(column_types(ColumnTypes::PostgreSql(b"[\xff]"))).contains("not UTF-8"));
        assert!(refused(column_types(ColumnTypes::GoogleSql(b"\x1a\x00"))).contains("expected an array"));
    }
}
