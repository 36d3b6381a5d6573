//! One output's choice at work in one partition: plans by the columns that records have.

use std::collections::HashMap;
use std::sync::Arc;

use foldhash::fast::FixedState;

use crate::change::DataChangeRecord;
use crate::choose::{Choice, Chooser, Plan};
use crate::envelope::Columns;

use super::shapes::{self, MOST};

/// What has been worked out so far.
#[derive(Debug, Default)]
pub struct Choosing {
    pub chooser: Chooser,
    /// By the hash of the columns frame, which names the table too; none where that does not go out.
    plans: HashMap<[u8; 16], Option<Arc<Planned>>, FixedState>,
}

/// A plan, and the columns frame of what goes out by it.
#[derive(Debug)]
pub struct Planned {
    pub plan: Plan,
    pub columns: Arc<Columns>,
}

impl Choosing {
    /// The plan for a record with these columns; none where its table does not go out.
    pub fn planned(
        &mut self,
        choice: &Choice,
        record: &DataChangeRecord<'_>,
        columns: &Arc<Columns>,
        shapes: &shapes::Shared,
    ) -> Option<Arc<Planned>> {
        if let Some(planned) = self.plans.get(&columns.hash()) {
            return planned.clone();
        }
        if self.plans.len() >= MOST {
            self.plans.clear();
        }
        let planned = choice.plan(&record.table_name, columns.columns()).map(|plan| {
            let columns = if plan.columns() == columns.columns() {
                Arc::clone(columns)
            } else {
                shapes.intern(Columns::new(&record.table_name, plan.columns().to_vec()))
            };
            Arc::new(Planned { plan, columns })
        });
        self.plans.insert(columns.hash(), planned.clone());
        planned
    }
}
