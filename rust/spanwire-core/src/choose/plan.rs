//! An output's choice, worked out for the records of one table with the same columns.

use std::collections::HashMap;

use foldhash::fast::FixedState;

use super::compare::Test;
use super::settings::{Choice, Rules};
use super::transform::Action;
use crate::change::{Column, Type};
use crate::json::RawStr;

/// What becomes of the records of one table with the same columns.
#[derive(Debug)]
pub struct Plan {
    columns: Vec<Column>,
    /// By exact name: what the record describes.
    entries: HashMap<Box<str>, Entry, FixedState>,
    /// Each with whether a row is left out of which it cannot be decided.
    pub(super) tests: Vec<(Test, bool)>,
    /// The types of the primary key's columns, in the order of their names.
    pub(super) key: Vec<Type>,
    rules: Rules,
    /// Whether values are rewritten at all.
    pub(super) rewrites: bool,
}

/// What is known of a column.
#[derive(Debug)]
pub(super) struct Entry {
    pub(super) action: Action,
    pub(super) column_type: Option<Type>,
    /// Its place among the primary key's columns.
    pub(super) key: Option<usize>,
    /// The tests that look at it.
    pub(super) tests: Vec<usize>,
}

impl Choice {
    /// The plan for records of `table` with these columns; none where the table does not go out.
    pub fn plan(&self, table: &str, columns: &[Column]) -> Option<Plan> {
        self.takes_table(table).then(|| Plan::new(self.rules_of(table), columns))
    }
}

impl Plan {
    fn new(rules: Rules, columns: &[Column]) -> Self {
        let mut key: Vec<&Column> = columns.iter().filter(|column| column.is_primary_key).collect();
        key.sort_by(|a, b| a.name.cmp(&b.name));
        let described = |name: &str| columns.iter().find(|column| column.name.to_lowercase() == name);
        let tests = rules
            .conditions
            .iter()
            .map(|(condition, leave_out)| {
                let of = described(&condition.column).map(|column| &column.column_type);
                (Test::new(condition, of), *leave_out)
            })
            .collect();
        let tests_of = |name: &str| {
            let name = name.to_lowercase();
            let conditions = rules.conditions.iter().enumerate();
            conditions.filter(|(_, (one, _))| one.column == name).map(|(place, _)| place).collect()
        };
        let entries = columns
            .iter()
            .map(|column| {
                let entry = Entry {
                    action: rules.action(&column.name, column.is_primary_key),
                    column_type: Some(column.column_type.clone()),
                    key: key.iter().position(|one| one.name == column.name),
                    tests: tests_of(&column.name),
                };
                (column.name.as_str().into(), entry)
            })
            .collect();
        let chosen = columns
            .iter()
            .map(|column| (column, rules.action(&column.name, column.is_primary_key)))
            .filter(|(_, action)| *action != Action::Drop)
            .map(|(column, action)| Column {
                column_type: action.type_of(&column.column_type),
                ..column.clone()
            })
            .collect();
        let key = key.into_iter().map(|column| column.column_type.clone()).collect();
        let rewrites = rules.choose_columns();
        Self { columns: chosen, entries, tests, key, rules, rewrites }
    }

    /// The columns that go out, with the types that they have then.
    pub fn columns(&self) -> &[Column] {
        &self.columns
    }

    /// What is known of the column of this name; none where the record does not describe it.
    pub(super) fn entry(&self, name: &RawStr<'_>) -> Option<&Entry> {
        if name.has_escapes {
            return self.entries.get(&*name.to_cow().ok()?);
        }
        self.entries.get(name.text)
    }

    /// What becomes of a column that the record does not describe. A name that is no text: nothing of it.
    pub(super) fn action_of_stranger(&self, name: &RawStr<'_>) -> Action {
        name.to_cow().map_or(Action::Drop, |name| self.rules.action(&name, false))
    }
}
