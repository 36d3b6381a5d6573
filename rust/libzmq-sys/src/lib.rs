//! Raw bindings to libzmq.
