//! A frame whose bytes libzmq takes as they are: nothing is copied between the envelope and the
//! socket.

use std::ffi::c_void;
use std::sync::Arc;

use libzmq_sys as zmq;

use super::context::last_error;
use super::kept::Body;
use super::pool::Pool;
use crate::error::Result;

/// Below this libzmq copies a frame into its own 8 KiB batch in any case, so a callback would only
/// cost.
pub(super) const ZERO_COPY: usize = 8 << 10;

/// One frame, ready to be sent. Empty once it was.
pub(super) struct Frame(zmq::zmq_msg_t);

/// Keeps the bytes of a frame until libzmq lets go of them.
enum Owner {
    Pooled { buffer: Vec<u8>, pool: Arc<Pool> },
    Shared(Arc<[u8]>),
    Kept(Arc<Body>),
}

/// Called by libzmq on whatever thread lets go last. It must not unwind into C++, and does not:
/// `give` does not panic.
unsafe extern "C" fn release(_: *mut c_void, hint: *mut c_void) {
    // SAFETY: `hint` was made by `Box::into_raw` in `Frame::owned` and comes back once.
    match *unsafe { Box::from_raw(hint.cast::<Owner>()) } {
        Owner::Pooled { buffer, pool } => pool.give(buffer),
        Owner::Shared(_) | Owner::Kept(_) => {}
    }
}

impl Frame {
    /// A buffer that goes back to its pool when it was sent. A small one, or one that would tie up
    /// much more memory than it fills, is copied and goes back at once.
    pub fn pooled(buffer: Vec<u8>, pool: &Arc<Pool>) -> Result<Self> {
        if buffer.len() < ZERO_COPY || buffer.len() < buffer.capacity() / 4 {
            let frame = Self::copied(&buffer);
            pool.give(buffer);
            return frame;
        }
        Self::owned(Owner::Pooled { buffer, pool: Arc::clone(pool) })
    }

    /// A body that others use too. A small one is copied: libzmq would do it in any case, or hold its page.
    pub fn kept(body: &Arc<Body>) -> Result<Self> {
        if body.is_alone() && body.bytes().len() >= ZERO_COPY {
            Self::owned(Owner::Kept(Arc::clone(body)))
        } else {
            Self::copied(body.bytes())
        }
    }

    /// Bytes that others use too.
    pub fn shared(bytes: &Arc<[u8]>) -> Result<Self> {
        Self::owned(Owner::Shared(Arc::clone(bytes)))
    }

    pub fn copied(bytes: &[u8]) -> Result<Self> {
        let mut message = zmq::zmq_msg_t::zeroed();
        // SAFETY: room for a message; `bytes.len()` bytes are reserved, and written from a slice
        // that cannot overlap them.
        unsafe {
            if zmq::zmq_msg_init_size(&raw mut message, bytes.len()) != 0 {
                return Err(last_error("a new message"));
            }
            let data = zmq::zmq_msg_data(&raw mut message);
            std::ptr::copy_nonoverlapping(bytes.as_ptr(), data.cast(), bytes.len());
        }
        Ok(Self(message))
    }

    fn owned(owner: Owner) -> Result<Self> {
        let owner = Box::new(owner);
        let (data, size) = match &*owner {
            Owner::Pooled { buffer, .. } => (buffer.as_ptr(), buffer.len()),
            Owner::Shared(bytes) => (bytes.as_ptr(), bytes.len()),
            Owner::Kept(body) => (body.bytes().as_ptr(), body.bytes().len()),
        };
        let hint = Box::into_raw(owner);
        let mut message = zmq::zmq_msg_t::zeroed();
        // SAFETY: the bytes live in `owner`, which `release` frees when libzmq lets go of them.
        // libzmq only reads them: the sockets that we send on never write into a message.
        let answer = unsafe {
            let data = data.cast_mut().cast();
            zmq::zmq_msg_init_data(&raw mut message, data, size, Some(release), hint.cast())
        };
        if answer != 0 {
            let error = last_error("a new message");
            // SAFETY: libzmq did not take it.
            drop(unsafe { Box::from_raw(hint) });
            return Err(error);
        }
        Ok(Self(message))
    }

    /// To receive into.
    pub fn empty() -> Self {
        let mut message = zmq::zmq_msg_t::zeroed();
        // SAFETY: room for a message. It cannot fail.
        unsafe { zmq::zmq_msg_init(&raw mut message) };
        Self(message)
    }

    pub fn bytes(&mut self) -> &[u8] {
        // SAFETY: an initialised message; its bytes live and stay in place while it is borrowed.
        unsafe {
            let data = zmq::zmq_msg_data(&raw mut self.0).cast_const().cast();
            std::slice::from_raw_parts(data, zmq::zmq_msg_size(&raw const self.0))
        }
    }

    /// Whether it is not the last of its message.
    pub fn more(&self) -> bool {
        // SAFETY: an initialised message.
        unsafe { zmq::zmq_msg_more(&raw const self.0) != 0 }
    }

    pub fn as_mut_ptr(&mut self) -> *mut zmq::zmq_msg_t {
        &raw mut self.0
    }
}

impl Drop for Frame {
    fn drop(&mut self) {
        // SAFETY: initialised by every constructor; a message that was sent is empty but still one.
        unsafe { zmq::zmq_msg_close(&raw mut self.0) };
    }
}
