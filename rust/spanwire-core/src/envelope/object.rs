//! One JSON object of a mod (keys, new or old values), written as a list of cells.

use std::borrow::Cow;

use super::arena::{Arena, Pointer, tag};
use super::array::Elems;
use super::columns::{Field, Role};
use super::cursor::{Broken, Cursor};
use super::value::{CELL_DATA_WORDS, CELL_POINTERS, CELL_WORDS, Cell, Writer};

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

    #[inline]
    fn after(&self, step: usize) -> usize {
        self.next.get(step).map_or(usize::MAX, |&next| usize::from(next))
    }

    fn learn(&mut self, step: usize, column: usize) {
        if let (Some(next), Ok(column)) = (self.next.get_mut(step), u16::try_from(column)) {
            *next = column;
        }
    }
}

/// A value without a place in the lists: the schema's `Other`.
#[derive(Debug)]
struct Other {
    place: Place,
    name: Pointer,
    json: Pointer,
}

impl Other {
    /// Writes the value at the cursor as JSON, and steps behind it.
    fn write(
        place: Place,
        name: &[u8],
        cursor: &mut Cursor<'_>,
        arena: &mut Arena<'_>,
    ) -> Result<Self, Broken> {
        Ok(Self { place, name: arena.text(name), json: arena.text(cursor.value()?) })
    }
}

/// An object that is not JSON.
#[derive(Debug, Clone, Copy)]
pub(super) struct BrokenAt {
    pub(super) broken: Broken,
    pub(super) place: Place,
    /// Byte offset in the object's text.
    pub(super) at: usize,
}

/// The first value of a record that did not fit.
#[derive(Debug, Clone, Copy)]
pub(super) struct Misfit {
    pub(super) place: Place,
    /// Its column's place in its role; none where the record describes none for it.
    pub(super) field: Option<usize>,
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
    pub(super) first_misfit: Option<Misfit>,
}

impl<'w, 'b> ModWriter<'w, 'b> {
    pub(super) fn new(arena: &'w mut Arena<'b>, scratch: &'w mut Scratch) -> Self {
        scratch.others.clear();
        Self { arena, scratch, misfits: 0, first_misfit: None }
    }

    /// The list of an object's values.
    pub(super) fn object(&mut self, text: &str, role: &Role, place: Place) -> Result<Pointer, BrokenAt> {
        if text == "{}" {
            return Ok(Pointer::NULL); // the most common one: a delete's new, an insert's old values
        }
        // Room for all but arrays at once: texts get shorter, but end in up to eight zeros.
        self.arena.reserve(text.len() + role.fields.len() * (CELL_WORDS as usize + 1) * 8 + 64);
        let mut cursor = Cursor::new(text);
        match self.members(&mut cursor, role, place) {
            Ok(length) => Ok(self.close(length)),
            Err(broken) => Err(BrokenAt { broken, place, at: cursor.position() }),
        }
    }

    /// How many cells there are up to the last that is not missing.
    fn members(&mut self, cursor: &mut Cursor<'_>, role: &Role, place: Place) -> Result<usize, Broken> {
        cursor.skip_space();
        if !cursor.take(b'{') {
            return Err(Broken::Object);
        }
        cursor.skip_space();
        if cursor.take(b'}') {
            cursor.end()?;
            return Ok(0);
        }
        let Scratch { key_order, rest_order, cells, others, elements, .. } = &mut *self.scratch;
        let order = if place == Place::Keys { key_order } else { rest_order };
        cells.clear();
        cells.resize(role.fields.len(), Cell::MISSING);
        let mut writer = Writer { arena: &mut *self.arena, elements, misfits: 0 };
        let mut length = 0;
        let mut step = 0;
        loop {
            let expected = order.after(step);
            let column = match role.fields.get(expected) {
                Some(field) if cursor.take_token(&field.token) => {
                    cursor.skip_space();
                    Some(expected)
                }
                _ => {
                    let name = name(cursor)?;
                    let column = role.find(&name);
                    if let Some(column) = column {
                        order.learn(step, column);
                    } else {
                        others.push(Other::write(place, &name, cursor, writer.arena)?);
                    }
                    column
                }
            };
            if let Some(column) = column {
                let cell = &mut cells[column];
                if cell.is_missing() {
                    writer.value(cursor, role.fields[column].kind, cell)?;
                    length = length.max(column + 1);
                    step = column + 1;
                } else {
                    // A name twice in one object: neither value may be lost.
                    let name = role.fields[column].name.as_bytes();
                    others.push(Other::write(place, name, cursor, writer.arena)?);
                }
            }
            if !cursor.next_member(b'}')? {
                break;
            }
        }
        let misfits = writer.misfits;
        cursor.end()?;
        if misfits > 0 {
            self.misfits += misfits;
            self.note(role, place);
        }
        Ok(length)
    }

    /// Remembers the first value that did not fit.
    #[cold]
    fn note(&mut self, role: &Role, place: Place) {
        let is_misfit = |(cell, field): (&Cell, &Field)| cell.is_json() || cell.is_array_of_json(field.kind);
        let field = self.scratch.cells.iter().zip(role.fields.iter()).position(is_misfit);
        self.first_misfit.get_or_insert(Misfit { place, field });
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
        self.misfits += u64::from(count);
        self.first_misfit.get_or_insert(Misfit { place: self.scratch.others[0].place, field: None });
        self.arena.push(tag(count, 1, 2));
        for other in &self.scratch.others {
            self.arena.push(other.place as u64);
            self.arena.push_pointer(other.name);
            self.arena.push_pointer(other.json);
        }
        Pointer::structures(position, count * 3)
    }
}

/// A name that was not the expected one, and the colon behind it.
#[cold]
fn name<'a>(cursor: &mut Cursor<'a>) -> Result<Cow<'a, [u8]>, Broken> {
    let mut again = *cursor;
    let raw = cursor.string()?;
    let mut name = Cow::Borrowed(raw.text);
    if raw.has_escapes {
        let mut text = Vec::with_capacity(raw.text.len());
        if !again.string_into(|from, length| text.extend_from_slice(&from[..length]))? {
            return Err(Broken::Surrogate);
        }
        name = Cow::Owned(text);
    }
    cursor.colon()?;
    Ok(name)
}
