//! Pieces of a chunked value, put together as `google.spanner.v1.PartialResultSet.values` says, two at
//! a time.

use prost::Message;

use crate::proto::{Kind, ListValue, Struct, Value};

/// The whole of pieces that are encoded values: none where one is no value; then whether they fit.
pub fn merge(pieces: &[&[u8]]) -> Option<Option<Value>> {
    let mut values =
        pieces.iter().map(|piece| Value::decode(*piece).ok()).collect::<Option<Vec<_>>>()?.into_iter();
    let first = values.next()?;
    Some(values.try_fold(first, join))
}

fn join(head: Value, tail: Value) -> Option<Value> {
    let kind = match (head.kind?, tail.kind?) {
        (Kind::Text(head), Kind::Text(tail)) => Kind::Text(head + &tail),
        (Kind::List(head), Kind::List(tail)) => Kind::List(join_lists(head, tail)?),
        (Kind::Struct(head), Kind::Struct(tail)) => Kind::Struct(join_structs(head, tail)?),
        _ => return None,
    };
    Some(Value { kind: Some(kind) })
}

fn join_lists(mut head: ListValue, tail: ListValue) -> Option<ListValue> {
    let mut tail = tail.values.into_iter();
    let can_be_cut =
        |value: &Value| matches!(value.kind, Some(Kind::Text(_) | Kind::List(_) | Kind::Struct(_)));
    if head.values.last().is_some_and(can_be_cut)
        && let Some(first) = tail.next()
    {
        let last = head.values.pop()?;
        head.values.push(join(last, first)?);
    }
    head.values.extend(tail);
    Some(head)
}

fn join_structs(mut head: Struct, tail: Struct) -> Option<Struct> {
    for (name, value) in tail.fields {
        let value = match head.fields.remove(&name) {
            Some(before) => join(before, value)?,
            None => value,
        };
        head.fields.insert(name, value);
    }
    Some(head)
}
