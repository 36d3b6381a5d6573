//! Benches of the core.

// The encoders of the core's tests: what is measured did not make what it is measured with.
#[path = "../../../rust/spanwire-core/tests/support/change_streams.rs"]
mod change_streams;
pub mod sample;
#[path = "../../../rust/spanwire-core/tests/support/values.rs"]
mod values;
pub mod workload;
