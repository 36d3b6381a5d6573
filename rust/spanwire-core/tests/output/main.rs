//! Outputs on real sockets: TCP on loopback, ports as the system gives them.

mod support;

mod bytes;
mod close;
mod errors;
mod flush;
mod full;
mod order;
mod peers;
mod ring;
mod ring_order;
mod ticks;
