//! One JSON object of a mod (keys, new or old values), written as a list of cells.

use super::arena::{Arena, Pointer, tag};
use super::columns::Role;
use super::cursor::{Broken, Cursor, unescape};
use super::value::{CELL_DATA_WORDS, CELL_POINTERS, CELL_WORDS, Cell, Elems, Writer};

/// What a mod's writing needs until lengths are known: kept, so that a change allocates nothing.
#[derive(Debug, Default)]
pub(super) struct Scratch {
    pub(super) key_order: Order,
    pub(super) rest_order: Order,
    /// Of the columns that the orders belong to.
    pub(super) hash: [u8; 16],
    cells: Vec<Cell>,
    others: Vec<Other>,
    elements: Elems,
}

/// Which column follows which, as far as objects have shown: Spanner keeps one order, and not
/// necessarily that of the columns.
#[derive(Debug, Default)]
pub(super) struct Order {
    /// At 0 the first column, at i + 1 what follows column i.
    next: Vec<u16>,
}

impl Order {
    pub(super) fn reset(&mut self, columns: usize) {
        self.next.clear();
        self.next.extend((0..=u16::MAX).take(columns + 1));
    }
}

/// A value without a place in the lists: the schema's `Other`.
#[derive(Debug)]
struct Other {
    place: Place,
    name: Pointer,
    json: Pointer,
}

/// Which of a mod's objects.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Place {
    Keys = 0,
    NewValues = 1,
    OldValues = 2,
}

impl Place {
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Keys => "keys",
            Self::NewValues => "new_values",
            Self::OldValues => "old_values",
        }
    }
}

/// Writes the objects of one mod.
pub(super) struct ModWriter<'w, 'b> {
    arena: &'w mut Arena<'b>,
    scratch: &'w mut Scratch,
    pub(super) misfits: u64,
}

impl<'w, 'b> ModWriter<'w, 'b> {
    pub(super) fn new(arena: &'w mut Arena<'b>, scratch: &'w mut Scratch) -> Self {
        scratch.others.clear();
        Self { arena, scratch, misfits: 0 }
    }

    /// The list of an object's values.
    pub(super) fn object(&mut self, text: &str, role: &Role, place: Place) -> Result<Pointer, Broken> {
        if text == "{}" {
            return Ok(Pointer::NULL); // the most common one: a delete's new, an insert's old values
        }
        // Room for all but arrays at once: texts get shorter, but end in up to eight zeros.
        self.arena.reserve(text.len() + role.fields.len() * (CELL_WORDS as usize + 1) * 8 + 64);
        let mut cursor = Cursor::new(text);
        cursor.skip_space();
        if !cursor.take(b'{') {
            return cursor.broken("an object was expected");
        }
        cursor.skip_space();
        if cursor.take(b'}') {
            cursor.end()?;
            return Ok(Pointer::NULL);
        }
        let length = self.members(&mut cursor, role, place)?;
        cursor.end()?;
        Ok(self.close(length))
    }

    /// How many cells there are up to the last that is not missing.
    fn members(&mut self, cursor: &mut Cursor<'_>, role: &Role, place: Place) -> Result<usize, Broken> {
        let Scratch { key_order, rest_order, cells, others, elements, .. } = &mut *self.scratch;
        let order = if place == Place::Keys { &mut key_order.next } else { &mut rest_order.next };
        cells.clear();
        cells.resize(role.fields.len(), Cell::MISSING);
        let mut writer = Writer { arena: &mut *self.arena, elements, misfits: 0 };
        let mut length = 0;
        let mut step = 0;
        loop {
            let expected = order.get(step).map_or(usize::MAX, |&next| usize::from(next));
            let found = match role.fields.get(expected) {
                Some(field) if cursor.take_all(&field.token) => {
                    cursor.skip_space();
                    Ok(expected)
                }
                _ => find(cursor, role, order, step)?,
            };
            match found {
                Ok(column) if cells[column].is_missing() => {
                    cells[column] = writer.value(cursor, role.fields[column].kind)?;
                    length = length.max(column + 1);
                    step = column + 1;
                }
                // A name twice in one object: neither may be lost.
                Ok(column) => others.push(Other {
                    place,
                    name: writer.arena.text(role.fields[column].name.as_bytes()),
                    json: writer.arena.text(cursor.value()?),
                }),
                Err(name) => {
                    let name = name.text(writer.arena);
                    others.push(Other { place, name, json: writer.arena.text(cursor.value()?) });
                }
            }
            if !cursor.next_member(b'}')? {
                break;
            }
        }
        self.misfits += writer.misfits;
        Ok(length)
    }

    fn close(&mut self, length: usize) -> Pointer {
        if length == 0 {
            return Pointer::NULL;
        }
        let position = self.arena.position();
        #[allow(clippy::cast_possible_truncation)] // at most 65,535 columns have a place
        let count = length as u32;
        self.arena.push(tag(count, CELL_DATA_WORDS, CELL_POINTERS));
        for cell in &self.scratch.cells[..length] {
            cell.push(self.arena);
        }
        Pointer::structures(position, count * CELL_WORDS)
    }

    /// The list of what had no place in the others.
    pub(super) fn others(&mut self) -> Pointer {
        if self.scratch.others.is_empty() {
            return Pointer::NULL;
        }
        let position = self.arena.position();
        let count = u32::try_from(self.scratch.others.len()).unwrap_or(u32::MAX);
        self.arena.push(tag(count, 1, 2));
        for other in &self.scratch.others {
            self.arena.push(other.place as u64);
            self.arena.push_pointer(other.name);
            self.arena.push_pointer(other.json);
        }
        Pointer::structures(position, count * 3)
    }
}

/// A name in an object as it was met.
struct Name<'a> {
    raw: &'a [u8],
    unescaped: Option<Vec<u8>>,
}

impl Name<'_> {
    fn text(&self, arena: &mut Arena<'_>) -> Pointer {
        arena.text(self.unescaped.as_deref().unwrap_or(self.raw))
    }
}

/// Reads a name that was not the expected one: its column, or the name if it has none here.
fn find<'a>(
    cursor: &mut Cursor<'a>,
    role: &Role,
    order: &mut [u16],
    step: usize,
) -> Result<Result<usize, Name<'a>>, Broken> {
    let raw = cursor.string()?;
    let unescaped = if raw.has_escapes {
        let mut text = Vec::with_capacity(raw.text.len());
        if !unescape(raw.text, |run| text.extend_from_slice(run)) {
            return cursor.broken("half a surrogate pair in a name");
        }
        Some(text)
    } else {
        None
    };
    cursor.colon()?;
    let name = unescaped.as_deref().unwrap_or(raw.text);
    match role.find(name) {
        Some(column) => {
            if let (Some(next), Ok(column)) = (order.get_mut(step), u16::try_from(column)) {
                *next = column;
            }
            Ok(Ok(column))
        }
        None => Ok(Err(Name { raw: raw.text, unescaped })),
    }
}
