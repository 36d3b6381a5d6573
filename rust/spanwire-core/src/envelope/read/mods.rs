//! The mods of a received record.

use super::segment::{self, Struct, Structs, bad};
use super::value::{Value, spend, text_words};
use crate::change::{self, Column};
use crate::envelope::columns::Role;
use crate::envelope::{Columns, Values};
use crate::error::Result;

/// The mods of a record.
#[derive(Debug, Clone)]
pub struct Mods<'a> {
    structs: Structs<'a>,
    next: usize,
}

impl<'a> Mods<'a> {
    pub(super) fn new(structs: Structs<'a>) -> Self {
        Self { structs, next: 0 }
    }

    pub(super) fn check(self, left: &mut usize) -> segment::Result<()> {
        spend(left, self.structs.words())?;
        for each in self {
            each.check(left)?;
        }
        Ok(())
    }

    /// One of them, by its place in the message (which may differ from [`Mod::number`]).
    pub fn get(&self, place: usize) -> Option<Mod<'a>> {
        self.structs.get(place).map(|root| Mod { root })
    }
}

impl<'a> Iterator for Mods<'a> {
    type Item = Mod<'a>;

    #[inline]
    fn next(&mut self) -> Option<Mod<'a>> {
        let found = self.get(self.next)?;
        self.next += 1;
        Some(found)
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        let left = self.structs.len() - self.next;
        (left, Some(left))
    }
}

impl ExactSizeIterator for Mods<'_> {}

/// One row change.
#[derive(Debug, Clone, Copy)]
pub struct Mod<'a> {
    root: Struct<'a>,
}

/// A value whose column the record does not describe, or describes with another role.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Other<'a> {
    /// The object it was in.
    pub place: OtherPlace,
    /// Its name there.
    pub name: &'a str,
    /// Its JSON text as Spanner sent it.
    pub json: &'a str,
}

/// One of a mod's objects.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum OtherPlace {
    Keys,
    NewValues,
    OldValues,
}

impl<'a> Mod<'a> {
    /// Its place in Spanner's record, from 0: the last part of the record version.
    #[allow(clippy::cast_possible_truncation)] // the low half
    pub fn number(&self) -> u32 {
        self.root.word(0) as u32
    }

    /// How its values are written.
    pub fn values(&self) -> Result<Values> {
        Ok(self.kind()?)
    }

    #[inline]
    fn kind(&self) -> segment::Result<Values> {
        match self.root.word(0) >> 32 & 0xFFFF {
            0 => Ok(Values::Typed),
            1 => Ok(Values::Json),
            _ => bad("a kind of mod that this build does not know: update the consumer"),
        }
    }

    #[inline]
    fn must_be(&self, values: Values) -> segment::Result<()> {
        match (self.kind()?, values) {
            (Values::Typed, Values::Json) => bad("JSON values were expected, and these are typed"),
            (Values::Json, Values::Typed) => bad("typed values were expected, and these are JSON"),
            _ => Ok(()),
        }
    }

    /// Of a mod with JSON values: their text as Spanner sent it.
    pub fn json(&self) -> Result<change::Mod<'a>> {
        self.must_be(Values::Json)?;
        Ok(change::Mod {
            keys: self.root.text(0)?,
            new_values: self.root.text(1)?,
            old_values: self.root.text(2)?,
        })
    }

    /// Of a mod with typed values: the primary key's. Trailing missing ones may be cut.
    pub fn keys<'c>(&self, columns: &'c Columns) -> Result<Cells<'a, 'c>> {
        self.cells(0, &columns.key, columns)
    }

    /// Of a mod with typed values: those after the change.
    pub fn new_values<'c>(&self, columns: &'c Columns) -> Result<Cells<'a, 'c>> {
        self.cells(1, &columns.rest, columns)
    }

    /// Of a mod with typed values: those before the change.
    pub fn old_values<'c>(&self, columns: &'c Columns) -> Result<Cells<'a, 'c>> {
        self.cells(2, &columns.rest, columns)
    }

    fn cells<'c>(&self, place: usize, role: &'c Role, columns: &'c Columns) -> Result<Cells<'a, 'c>> {
        self.must_be(Values::Typed)?;
        let list = self.root.structs(place)?;
        if list.len() > role.fields.len() {
            bad("more values than columns")?;
        }
        Ok(Cells { list, role, columns, next: 0 })
    }

    /// Of a mod with typed values: what has no place in the lists.
    pub fn others(&self) -> Result<impl ExactSizeIterator<Item = Result<Other<'a>>> + use<'a>> {
        self.must_be(Values::Typed)?;
        let structs = self.root.structs(3)?;
        Ok((0..structs.len()).map(move |place| Ok(Other::read(structs, place)?)))
    }

    fn check(&self, left: &mut usize) -> segment::Result<()> {
        if self.kind()? == Values::Json {
            return (0..3).try_for_each(|place| spend(left, text_words(self.root.text(place)?)));
        }
        for place in 0..3 {
            let cells = self.root.structs(place)?;
            spend(left, cells.words())?;
            (0..cells.len())
                .filter_map(|cell| cells.get(cell))
                .try_for_each(|cell| Value::check(&cell, left))?;
        }
        let others = self.root.structs(3)?;
        spend(left, others.words())?;
        (0..others.len()).try_for_each(|place| {
            let other = Other::read(others, place)?;
            spend(left, text_words(other.name) + text_words(other.json))
        })
    }
}

impl<'a> Other<'a> {
    fn read(others: Structs<'a>, place: usize) -> segment::Result<Self> {
        let Some(other) = others.get(place) else { return bad("a list shorter than it says") };
        let place = match other.word(0) & 0xFFFF {
            0 => OtherPlace::Keys,
            1 => OtherPlace::NewValues,
            2 => OtherPlace::OldValues,
            _ => return bad("a place of a value that this build does not know: update the consumer"),
        };
        Ok(Self { place, name: other.text(0)?, json: other.text(1)? })
    }
}

/// A list of values with their columns.
#[derive(Debug, Clone)]
pub struct Cells<'a, 'c> {
    list: Structs<'a>,
    role: &'c Role,
    columns: &'c Columns,
    next: usize,
}

impl Cells<'_, '_> {
    /// The place among the columns of what `next` gives.
    #[inline]
    pub fn column(&self) -> Option<usize> {
        self.role.fields.get(self.next).map(|field| field.column)
    }
}

impl<'a, 'c> Iterator for Cells<'a, 'c> {
    type Item = Result<(&'c Column, Value<'a>)>;

    #[inline]
    fn next(&mut self) -> Option<Self::Item> {
        let cell = self.list.get(self.next)?;
        let column = &self.columns.columns()[self.role.fields[self.next].column];
        self.next += 1;
        Some(match Value::read(&cell) {
            Ok(value) => Ok((column, value)),
            Err(bad) => Err(bad.into()),
        })
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        let left = self.list.len() - self.next;
        (left, Some(left))
    }
}

impl ExactSizeIterator for Cells<'_, '_> {}
