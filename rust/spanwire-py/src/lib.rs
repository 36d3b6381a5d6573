//! The Python face of `spanwire-core`: thin, one crossing per batch of messages, the GIL released
//! inside. Every class has a file of its own, and its twin in `python/spanwire/_core.pyi`.

// Doc comments here are Python docstrings, and signatures are Python's.
#![allow(
    clippy::doc_markdown,
    clippy::needless_pass_by_value,
    clippy::too_many_arguments,
    clippy::new_ret_no_self,
    clippy::wrong_self_convention,
    clippy::unnecessary_wraps
)]

mod bench;
mod change;
mod choice;
mod errors;
mod exchange;
mod message;
mod output;
mod partition;
mod pipeline;
mod records;
mod ring;
mod table_rows;
mod timestamp;
mod untyped;
mod values;
mod version;
mod window;

use pyo3::prelude::*;

/// The extension: `spanwire-core` seen from Python.
#[pymodule]
mod _core {
    #[pymodule_export]
    use crate::bench::dedup_nanoseconds;
    #[pymodule_export]
    use crate::change::Change;
    #[pymodule_export]
    use crate::choice::condition_problem;
    #[pymodule_export]
    use crate::exchange::{decode_reply, decode_request, encode_reply, encode_request};
    #[pymodule_export]
    use crate::message::Message;
    #[pymodule_export]
    use crate::output::Output;
    #[pymodule_export]
    use crate::partition::{ChildPartitions, Partition, PartitionEvent, PartitionStart, Pushed, Resume};
    #[pymodule_export]
    use crate::pipeline::Pipeline;
    #[pymodule_export]
    use crate::records::{RecordReader, reassemble};
    #[pymodule_export]
    use crate::ring::{Ring, RingReader};
    #[pymodule_export]
    use crate::table_rows::TableRows;
    #[pymodule_export]
    use crate::timestamp::Timestamp;
    #[pymodule_export]
    use crate::untyped::Untyped;
    #[pymodule_export]
    use crate::version::RecordVersion;
    #[pymodule_export]
    use crate::window::Window;

    use pyo3::prelude::*;

    #[pymodule_init]
    fn init(module: &Bound<'_, PyModule>) -> PyResult<()> {
        module.add("__version__", env!("CARGO_PKG_VERSION"))?;
        // Benches refuse to run on a debug build.
        module.add("_debug_build", cfg!(debug_assertions))
    }
}
