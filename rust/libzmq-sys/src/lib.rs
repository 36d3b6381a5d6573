//! Raw bindings to libzmq 4.3.5, which is built from source with CURVE: what spanwire calls and
//! nothing else.
//!
//! Names, values and meanings are libzmq's: <https://libzmq.readthedocs.io/en/latest/>. An error is
//! -1 or null, and [`zmq_errno`] on the same thread then says which.

#![allow(non_camel_case_types)]

mod constants;
mod functions;

pub use constants::*;
pub use functions::*;

// Linked for its symbols: libzmq calls them.
use libsodium_sys as _;
