//! Benches of the core.

pub mod sample;
