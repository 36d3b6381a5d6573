//! Puts the pieces of a chunked value together.
//!
//! The rules are those of `google.spanner.v1.PartialResultSet.values`: strings and lists are
//! concatenated, of lists the last element with the next one's first by the same rules where
//! they are strings, lists or structs; structs are united, fields of one name by the same rules;
//! bool, number and null are never cut. All pieces are put together at once, when the last has
//! come: each byte is copied once, however many pieces there are.

use std::collections::HashMap;

use super::protobuf::{Fields, List, Malformed, Result, Value, entry, tag};

/// How deep values may nest along the cuts; protobuf's own parsers stop there too.
const MAX_DEPTH: usize = 100;

/// Merges the pieces, encoded `google.protobuf.Value`s, into one.
pub fn merge(pieces: &[&[u8]]) -> Result<Vec<u8>> {
    let merged = join(pieces, 0)?;
    let mut out = Vec::with_capacity(merged.size());
    merged.write(&mut out);
    Ok(out)
}

/// A value that will be: its size is known before a byte of it is written.
enum Joined<'a> {
    /// An encoded Value, as it was.
    Whole(&'a [u8]),
    Text {
        size: usize,
        pieces: Vec<&'a [u8]>,
    },
    List {
        size: usize,
        items: Vec<Item<'a>>,
    },
    Struct {
        size: usize,
        fields: Vec<(&'a [u8], Joined<'a>)>,
    },
}

/// A stretch of a list.
enum Item<'a> {
    /// Elements between the cuts, encoded with their tags.
    Stretch(&'a [u8]),
    Element(Joined<'a>),
}

fn join<'a>(pieces: &[&'a [u8]], depth: usize) -> Result<Joined<'a>> {
    if let [whole] = pieces {
        return Ok(Joined::Whole(whole));
    }
    if depth == MAX_DEPTH {
        return Err(Malformed("a chunked value nested too deep"));
    }
    let mut values = Vec::with_capacity(pieces.len());
    for piece in pieces {
        values.push(Value::read(piece)?);
    }
    match values.first() {
        Some(Value::Text(_)) => join_texts(&values),
        Some(Value::List(_)) => join_lists(&values, depth),
        Some(Value::Struct(_)) => join_structs(&values, depth),
        _ => Err(Malformed("a chunked bool, number or null")),
    }
}

const UNLIKE: Malformed = Malformed("chunks of unlike kinds");

fn join_texts<'a>(values: &[Value<'a>]) -> Result<Joined<'a>> {
    let text = |value: &Value<'a>| if let Value::Text(text) = value { Ok(*text) } else { Err(UNLIKE) };
    let pieces = values.iter().map(text).collect::<Result<Vec<_>>>()?;
    Ok(Joined::Text { size: pieces.iter().map(|piece| piece.len()).sum(), pieces })
}

fn join_lists<'a>(values: &[Value<'a>], depth: usize) -> Result<Joined<'a>> {
    let mut items = Vec::new();
    // The pieces of the element that the cuts went through, as far as they have come.
    let mut open: Vec<&'a [u8]> = Vec::new();
    let close = |open: &mut Vec<&'a [u8]>, items: &mut Vec<Item<'a>>| -> Result<()> {
        if !open.is_empty() {
            items.push(Item::Element(join(open, depth + 1)?));
            open.clear();
        }
        Ok(())
    };
    for value in values {
        let &Value::List(List(body)) = value else { return Err(UNLIKE) };
        let mut elements = List(body).elements();
        let Some(first) = elements.next()? else { continue };
        if let Some(before) = open.first()
            && !is_cut(before)?
        {
            close(&mut open, &mut items)?;
        }
        open.push(first);
        let start = body.len() - elements.left();
        let mut end = start;
        let mut last = None;
        loop {
            let before = body.len() - elements.left();
            let Some(element) = elements.next()? else { break };
            (end, last) = (before, Some(element));
        }
        if let Some(last) = last {
            close(&mut open, &mut items)?;
            if end > start {
                items.push(Item::Stretch(&body[start..end]));
            }
            open.push(last);
        }
    }
    close(&mut open, &mut items)?;
    let size = items.iter().map(Item::size).sum();
    Ok(Joined::List { size, items })
}

/// Whether a cut behind this element goes through it.
fn is_cut(element: &[u8]) -> Result<bool> {
    Ok(matches!(Value::read(element)?, Value::Text(_) | Value::List(_) | Value::Struct(_)))
}

fn join_structs<'a>(values: &[Value<'a>], depth: usize) -> Result<Joined<'a>> {
    let mut places: HashMap<&[u8], usize> = HashMap::new();
    let mut found: Vec<(&'a [u8], Vec<&'a [u8]>)> = Vec::new();
    // In which of the values each was found last.
    let mut newest: Vec<usize> = Vec::new();
    for (number, value) in values.iter().enumerate() {
        let &Value::Struct(body) = value else { return Err(UNLIKE) };
        let mut fields = Fields::of(body);
        while let Some((field, payload)) = fields.next()? {
            if field != 1 {
                continue;
            }
            let (name, content) = entry(payload.bytes()?)?;
            let place = *places.entry(name).or_insert(found.len());
            if place == found.len() {
                found.push((name, Vec::new()));
                newest.push(number);
            } else if newest[place] == number {
                // Of two in one struct protobuf would take the later; they are not two pieces.
                return Err(Malformed("a struct's field, written twice"));
            }
            newest[place] = number;
            found[place].1.push(content);
        }
    }
    let mut fields = Vec::with_capacity(found.len());
    let mut size = 0;
    for (key, pieces) in found {
        let content = join(&pieces, depth + 1)?;
        size += prefixed(entry_size(key, &content));
        fields.push((key, content));
    }
    Ok(Joined::Struct { size, fields })
}

impl Joined<'_> {
    /// Of the encoded Value.
    fn size(&self) -> usize {
        match self {
            Self::Whole(encoded) => encoded.len(),
            Self::Text { size, .. } | Self::List { size, .. } | Self::Struct { size, .. } => prefixed(*size),
        }
    }

    fn write(&self, out: &mut Vec<u8>) {
        match self {
            Self::Whole(encoded) => out.extend_from_slice(encoded),
            Self::Text { size, pieces } => {
                prefix(tag::TEXT, *size, out);
                for piece in pieces {
                    out.extend_from_slice(piece);
                }
            }
            Self::List { size, items } => {
                prefix(tag::LIST, *size, out);
                for item in items {
                    match item {
                        Item::Stretch(encoded) => out.extend_from_slice(encoded),
                        Item::Element(element) => {
                            prefix(tag::FIRST, element.size(), out);
                            element.write(out);
                        }
                    }
                }
            }
            Self::Struct { size, fields } => {
                prefix(tag::STRUCT, *size, out);
                for (key, content) in fields {
                    prefix(tag::FIRST, entry_size(key, content), out);
                    prefix(tag::FIRST, key.len(), out);
                    out.extend_from_slice(key);
                    prefix(tag::SECOND, content.size(), out);
                    content.write(out);
                }
            }
        }
    }
}

impl Item<'_> {
    fn size(&self) -> usize {
        match self {
            Self::Stretch(encoded) => encoded.len(),
            Self::Element(element) => prefixed(element.size()),
        }
    }
}

fn entry_size(key: &[u8], content: &Joined<'_>) -> usize {
    prefixed(key.len()) + prefixed(content.size())
}

/// The size of a length-delimited field with a one-byte tag.
fn prefixed(size: usize) -> usize {
    let bits = usize::BITS - (size | 1).leading_zeros();
    1 + bits.div_ceil(7) as usize + size
}

fn prefix(tag: u8, mut size: usize, out: &mut Vec<u8>) {
    out.push(tag);
    while size >= 0x80 {
        out.push(size.to_le_bytes()[0] | 0x80);
        size >>= 7;
    }
    out.push(size.to_le_bytes()[0]);
}
