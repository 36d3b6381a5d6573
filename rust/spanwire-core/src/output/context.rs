//! The `ZeroMQ` context: its I/O threads, shared by the sockets made from it.

use std::ffi::{CStr, c_int, c_void};
use std::ptr::NonNull;

use libzmq_sys as zmq;

use crate::error::{Error, Result};

/// Interrupted by a signal: to be tried again.
pub(super) const EINTR: c_int = 4;

/// A `ZeroMQ` context. Dropping it waits until its sockets are closed and their linger has passed.
#[derive(Debug)]
pub struct Context(NonNull<c_void>);

// SAFETY: libzmq documents contexts as thread safe.
unsafe impl Send for Context {}
// SAFETY: as above.
unsafe impl Sync for Context {}

impl Context {
    /// A context with `io_threads` threads for network work.
    pub fn new(io_threads: i32) -> Result<Self> {
        // SAFETY: no precondition.
        let context =
            NonNull::new(unsafe { zmq::zmq_ctx_new() }).ok_or_else(|| last_error("a new context"))?;
        let context = Self(context);
        // SAFETY: a live context.
        if unsafe { zmq::zmq_ctx_set(context.as_ptr(), zmq::ZMQ_IO_THREADS, io_threads) } != 0 {
            let what = format!("must be 1 or more, is {io_threads}");
            return Err(Error::Config { setting: "io_threads", what });
        }
        Ok(context)
    }

    pub(super) fn as_ptr(&self) -> *mut c_void {
        self.0.as_ptr()
    }
}

impl Drop for Context {
    fn drop(&mut self) {
        // Every socket holds an `Arc` of its context, so all are closed by now: what this waits for
        // is their linger, which each has.
        // SAFETY: a live context, used no more.
        while unsafe { zmq::zmq_ctx_term(self.as_ptr()) } != 0 && errno() == EINTR {}
    }
}

/// The errno of the last libzmq call on this thread.
pub(super) fn errno() -> c_int {
    // SAFETY: no precondition.
    unsafe { zmq::zmq_errno() }
}

/// What the last libzmq call on this thread failed with.
pub(super) fn last_error(at: impl Into<String>) -> Error {
    let errno = errno();
    Error::Socket { at: at.into(), errno, what: describe(errno) }
}

/// What libzmq says of an errno.
pub(super) fn describe(errno: c_int) -> String {
    // SAFETY: libzmq answers any number with a static, terminated string.
    unsafe { CStr::from_ptr(zmq::zmq_strerror(errno)) }.to_string_lossy().into_owned()
}
