//! Chooses what goes out through one output: tables, rows, columns, and in what form.
//!
//! Works on the JSON text of mods, before anything is written: what is left out never reaches a
//! message. The stage knows nothing of messages; the pipeline hands it records and writes what it
//! gives back.
//!
//! | here | |
//! |---|---|
//! | [`Choice`] | what an output's settings say, checked |
//! | [`Plan`] | that, worked out for the columns of one kind of record |
//! | [`Chooser`] | applies plans to records; keeps its buffers |

mod bucket;
mod chooser;
mod compare;
mod condition;
mod decimal;
mod names;
mod plain;
mod plan;
mod settings;
mod transform;

pub use chooser::{Chooser, LeftOut};
pub use condition::Condition;
pub use plan::Plan;
pub use settings::{Choice, HashKey, MAX_BUCKETS, TableChoice};
pub use transform::MASK;
