//! What goes out through an output, from the dicts that Python gives.

use std::collections::HashMap;

use pyo3::prelude::*;
use pyo3::pybacked::PyBackedBytes;
use pyo3::types::PyDict;
use spanwire_core::change::ModType;
use spanwire_core::choose::{self, Condition, TableChoice};
use spanwire_core::{Error, Result};

/// As `Output` takes it; what is not given is as without it.
#[derive(Default)]
pub struct Choice {
    tables: Vec<String>,
    exclude_tables: Vec<String>,
    mod_types: Vec<String>,
    rules: Vec<Rule>,
    hash_key: Option<PyBackedBytes>,
    buckets: Option<u32>,
}

/// What is said of the tables of one name.
#[derive(Default)]
struct Rule {
    name: String,
    columns: Vec<String>,
    exclude_columns: Vec<String>,
    conditions: Vec<String>,
    missing: Option<String>,
    mask: Vec<String>,
    truncate: HashMap<String, usize>,
    hash: Vec<String>,
}

impl Choice {
    /// The core's, or what is wrong.
    pub fn checked(self) -> Result<choose::Choice> {
        let mod_types = self
            .mod_types
            .iter()
            .map(|name| {
                ModType::from_name(name).ok_or_else(|| Error::Config {
                    setting: "mod_types",
                    what: format!("must be \"INSERT\", \"UPDATE\" or \"DELETE\", is {name:?}"),
                })
            })
            .collect::<Result<_>>()?;
        let rules = self.rules.into_iter().map(Rule::checked).collect::<Result<_>>()?;
        choose::Choice::new(
            &self.tables,
            &self.exclude_tables,
            mod_types,
            rules,
            self.hash_key.as_deref(),
            self.buckets,
        )
    }
}

impl Rule {
    fn checked(self) -> Result<(String, TableChoice)> {
        let leave_out_undecided = match self.missing.as_deref() {
            None | Some("send") => false,
            Some("leave-out") => true,
            Some(other) => {
                let what = format!("must be \"send\" or \"leave-out\", is {other:?}");
                return Err(Error::Config { setting: "where_missing", what });
            }
        };
        let rule = TableChoice {
            columns: self.columns,
            exclude_columns: self.exclude_columns,
            conditions: self.conditions.iter().map(|text| Condition::parse(text)).collect::<Result<_>>()?,
            leave_out_undecided,
            mask: self.mask,
            truncate: self.truncate.into_iter().collect(),
            hash: self.hash,
        };
        Ok((self.name, rule))
    }
}

impl<'py> FromPyObject<'_, 'py> for Choice {
    type Error = PyErr;

    fn extract(given: Borrowed<'_, 'py, PyAny>) -> PyResult<Self> {
        let mut choice = Self::default();
        for (name, value) in given.cast::<PyDict>()?.iter() {
            match name.extract::<String>()?.as_str() {
                "tables" => choice.tables = value.extract()?,
                "exclude_tables" => choice.exclude_tables = value.extract()?,
                "mod_types" => choice.mod_types = value.extract()?,
                "table" => choice.rules = value.extract()?,
                "hash_key" => choice.hash_key = value.extract()?,
                "buckets" => choice.buckets = value.extract()?,
                other => return Err(unknown(other)),
            }
        }
        Ok(choice)
    }
}

impl<'py> FromPyObject<'_, 'py> for Rule {
    type Error = PyErr;

    fn extract(given: Borrowed<'_, 'py, PyAny>) -> PyResult<Self> {
        let mut rule = Self::default();
        for (name, value) in given.cast::<PyDict>()?.iter() {
            match name.extract::<String>()?.as_str() {
                "name" => rule.name = value.extract()?,
                "columns" => rule.columns = value.extract()?,
                "exclude_columns" => rule.exclude_columns = value.extract()?,
                "where" => rule.conditions = value.extract()?,
                "where_missing" => rule.missing = value.extract()?,
                "mask" => rule.mask = value.extract()?,
                "truncate" => rule.truncate = value.extract()?,
                "hash" => rule.hash = value.extract()?,
                other => return Err(unknown(other)),
            }
        }
        Ok(rule)
    }
}

fn unknown(name: &str) -> PyErr {
    pyo3::exceptions::PyTypeError::new_err(format!("choice: {name:?} is not known"))
}

/// What is wrong with a condition on a row; None where nothing is.
#[pyfunction]
pub fn condition_problem(condition: &str) -> Option<String> {
    match Condition::parse(condition) {
        Err(Error::Config { what, .. }) => Some(what),
        _ => None,
    }
}
