//! The columns of records, parsed once per shape.
//!
//! Every record describes its columns. The bytes of the description, as they arrived, are the
//! key: two records with the same bytes have the same columns.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use foldhash::fast::FixedState;

use crate::change::{ColumnTypes, DataChangeRecord};
use crate::envelope::Columns;
use crate::error::Result;
use crate::wire;

/// How many shapes one partition remembers: with `NEW_VALUES` every set of written columns is one.
pub const MOST: usize = 1_024;

/// Columns by the frame they make: shared by all partitions, so that a shape has one buffer.
#[derive(Debug, Default)]
pub struct Shared(Mutex<HashMap<[u8; 16], Arc<Columns>, FixedState>>);

impl Shared {
    /// The columns, or the same ones that are known already.
    pub fn intern(&self, columns: Columns) -> Arc<Columns> {
        let mut known = self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        if known.len() >= 16 * MOST {
            known.retain(|_, columns| Arc::strong_count(columns) > 1);
        }
        Arc::clone(known.entry(columns.hash()).or_insert_with(|| Arc::new(columns)))
    }
}

/// The shapes one partition has met.
#[derive(Debug)]
pub struct Shapes {
    shared: Arc<Shared>,
    /// Table and description as they arrived, one after the other.
    known: HashMap<Box<[u8]>, Arc<Columns>, FixedState>,
    key: Vec<u8>,
    /// Records of one shape mostly follow each other.
    last: Option<Last>,
}

/// The shape met last.
#[derive(Debug)]
struct Last {
    table: Box<[u8]>,
    description: Box<[u8]>,
    columns: Arc<Columns>,
}

impl Shapes {
    pub fn new(shared: Arc<Shared>) -> Self {
        Self { shared, known: HashMap::default(), key: Vec::new(), last: None }
    }

    /// The columns of a record.
    pub fn of(&mut self, record: &DataChangeRecord<'_>) -> Result<Arc<Columns>> {
        let (ColumnTypes::GoogleSql(description)
        | ColumnTypes::PostgreSql(description)
        | ColumnTypes::ChangeStreamRecord(description)) = record.column_types;
        let table = record.table_name.as_bytes();
        if let Some(last) = &self.last
            && *last.description == *description
            && *last.table == *table
        {
            return Ok(Arc::clone(&last.columns));
        }
        self.key.clear();
        self.key.extend_from_slice(table);
        self.key.push(0);
        self.key.extend_from_slice(description);
        let columns = if let Some(columns) = self.known.get(&*self.key) {
            Arc::clone(columns)
        } else {
            let parsed = Columns::new(&record.table_name, wire::columns_of(record)?);
            let columns = self.shared.intern(parsed);
            if self.known.len() >= MOST {
                self.known.clear();
            }
            self.known.insert(self.key.as_slice().into(), Arc::clone(&columns));
            columns
        };
        self.last = Some(Last {
            table: table.into(),
            description: description.into(),
            columns: Arc::clone(&columns),
        });
        Ok(columns)
    }
}
