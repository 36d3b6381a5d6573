//! libzmq alone, called as its manual says.

use std::ffi::{CStr, c_int, c_void};
use std::ptr;
use std::sync::Arc;

use libzmq_sys as zmq;

use super::{Frames, Subscriber};

/// A PUB socket that the measuring thread itself sends on.
pub struct Publisher {
    context: *mut c_void,
    socket: *mut c_void,
    subscriber: Option<Subscriber>,
    frames: Arc<Frames>,
    copying: bool,
}

unsafe extern "C" fn free(_: *mut c_void, hint: *mut c_void) {
    // SAFETY: made by `Box::into_raw` in `body`, and given back once.
    drop(unsafe { Box::from_raw(hint.cast::<Vec<u8>>()) });
}

impl Publisher {
    pub fn new(frames: &Arc<Frames>, copying: bool) -> Self {
        // SAFETY: a live context and socket, terminated strings, buffers of the lengths given.
        let (context, socket, endpoint) = unsafe {
            let context = zmq::zmq_ctx_new();
            let socket = zmq::zmq_socket(context, zmq::ZMQ_PUB);
            let options: [(c_int, c_int); 2] = [(zmq::ZMQ_SNDHWM, 10_000), (zmq::ZMQ_LINGER, 0)];
            for (option, value) in options {
                zmq::zmq_setsockopt(socket, option, (&raw const value).cast(), size_of::<c_int>());
            }
            assert_eq!(zmq::zmq_bind(socket, c"tcp://127.0.0.1:*".as_ptr()), 0);
            let (mut endpoint, mut length) = ([0_u8; 64], 64);
            zmq::zmq_getsockopt(
                socket,
                zmq::ZMQ_LAST_ENDPOINT,
                endpoint.as_mut_ptr().cast(),
                &raw mut length,
            );
            (context, socket, endpoint)
        };
        let endpoint = CStr::from_bytes_until_nul(&endpoint).expect("terminated").to_str().expect("ASCII");
        let subscriber = Subscriber::connect(endpoint);
        let publisher =
            Self { context, socket, subscriber: Some(subscriber), frames: Arc::clone(frames), copying };
        publisher.subscriber().wait_until_subscribed(|| publisher.send());
        publisher
    }

    fn subscriber(&self) -> &Subscriber {
        self.subscriber.as_ref().expect("there until dropped")
    }

    pub fn measure(&mut self, count: u64) -> f64 {
        self.subscriber().measure(count, || self.send())
    }

    fn send(&self) {
        let frames = &self.frames;
        for part in [&frames.topic, &frames.header, &frames.columns] {
            // SAFETY: a live socket and a slice's bytes.
            unsafe { zmq::zmq_send(self.socket, part.as_ptr().cast(), part.len(), zmq::ZMQ_SNDMORE) };
        }
        let mut message = zmq::zmq_msg_t::zeroed();
        // SAFETY: the body lives until `free` is called, or as long as the publisher.
        unsafe {
            if self.copying {
                let body = Box::into_raw(Box::new(frames.body.clone()));
                let (data, size) = ((*body).as_mut_ptr().cast(), (*body).len());
                zmq::zmq_msg_init_data(&raw mut message, data, size, Some(free), body.cast());
            } else {
                let (data, size) = (frames.body.as_ptr().cast_mut().cast(), frames.body.len());
                zmq::zmq_msg_init_data(&raw mut message, data, size, None, ptr::null_mut());
            }
            assert!(zmq::zmq_msg_send(&raw mut message, self.socket, 0) >= 0);
        }
    }
}

impl Drop for Publisher {
    fn drop(&mut self) {
        self.subscriber.take();
        // SAFETY: closed once, the context last.
        unsafe {
            zmq::zmq_close(self.socket);
            zmq::zmq_ctx_term(self.context);
        }
    }
}
