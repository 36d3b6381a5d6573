//! A small safe wrapper of `ZeroMQ` sockets: what outputs need, and the receiving side of it for
//! tests and benches.

use std::ffi::{CString, c_int, c_long, c_void};
use std::ptr::NonNull;
use std::sync::Arc;
use std::time::Duration;

use libzmq_sys as zmq;

use super::context::{Context, EINTR, describe, errno, last_error};
use super::feed::Blocked;
use super::frame::{Frame, ZERO_COPY};
use super::kept::Kept;
use super::message::Message;
use super::pool::Pool;
use super::settings::{Kind, OutputSettings};
use crate::error::{Error, Result};

/// The part of `errno.h` that is met here.
mod code {
    use std::ffi::c_int;

    pub const EACCES: c_int = 13;
    pub const ENODEV: c_int = 19;
    pub const EINVAL: c_int = 22;

    #[cfg(any(target_os = "linux", target_os = "android"))]
    mod platform {
        pub const EAGAIN: i32 = 11;
        pub const EADDRINUSE: i32 = 98;
        pub const EADDRNOTAVAIL: i32 = 99;
        pub const EPROTONOSUPPORT: i32 = 93;
        pub const EHOSTUNREACH: i32 = 113;
    }
    #[cfg(windows)]
    mod platform {
        pub const EAGAIN: i32 = 11;
        pub const EADDRINUSE: i32 = 100;
        pub const EADDRNOTAVAIL: i32 = 101;
        pub const EPROTONOSUPPORT: i32 = 135;
        pub const EHOSTUNREACH: i32 = 110;
    }
    /// macOS and the BSDs.
    #[cfg(not(any(target_os = "linux", target_os = "android", windows)))]
    mod platform {
        pub const EAGAIN: i32 = 35;
        pub const EADDRINUSE: i32 = 48;
        pub const EADDRNOTAVAIL: i32 = 49;
        pub const EPROTONOSUPPORT: i32 = 43;
        pub const EHOSTUNREACH: i32 = 65;
    }
    pub use platform::*;
}

/// One who receives.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Receiver {
    /// Subscribes to every topic with one of these beginnings.
    Sub,
    /// Takes its share.
    Pull,
}

/// Which end of a pair within the process.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Transport {
    Bind,
    Connect,
}

/// What a peer may send to a ROUTER in one frame: more than a request, so that it can be told why that is too
/// large. Whoever sends a larger one is disconnected.
const LARGEST_FRAME: i64 = 256 << 10;
/// Requests that wait at a ROUTER, of each peer.
const REQUESTS_WAITING: c_int = 64;

/// A socket, used by one thread at a time.
#[derive(Debug)]
pub struct Socket {
    handle: NonNull<c_void>,
    endpoint: String,
    /// Dropped behind the socket.
    _context: Arc<Context>,
}

// SAFETY: libzmq lets a socket move between threads with a full fence, which every way of moving a
// value to another thread in Rust has. It is not `Sync`.
unsafe impl Send for Socket {}

/// A message on its way: kept until the socket has taken all of it.
pub struct Outgoing {
    message: Carried,
    body: Frame,
    bytes: usize,
}

/// A message's other frames: its sender's own, or shared with a ring.
enum Carried {
    Own(Message),
    Kept(Arc<Kept>),
}

impl Outgoing {
    /// The body's buffer goes to libzmq, and from there back to the pool.
    pub fn new(mut message: Message, pool: &Arc<Pool>) -> Result<Self> {
        let bytes = message.bytes();
        let body = Frame::pooled(std::mem::take(&mut message.body), pool)?;
        Ok(Self { message: Carried::Own(message), body, bytes })
    }

    /// Of a message that a ring keeps too.
    pub fn kept(kept: Arc<Kept>) -> Result<Self> {
        let (bytes, body) = (kept.bytes(), Frame::kept(&kept.body)?);
        Ok(Self { message: Carried::Kept(kept), body, bytes })
    }

    /// The message, its body empty.
    pub fn message(&self) -> &Message {
        match &self.message {
            Carried::Own(message) => message,
            Carried::Kept(kept) => &kept.message,
        }
    }

    /// What a ring keeps of it, where one is to.
    pub(super) fn to_keep(&self) -> Option<&Arc<Kept>> {
        match &self.message {
            Carried::Own(_) => None,
            Carried::Kept(kept) => Some(kept),
        }
    }

    /// The bytes of its four frames.
    pub fn bytes(&self) -> usize {
        self.bytes
    }
}

impl Socket {
    /// An output's socket, bound to an endpoint.
    pub fn bind(context: &Arc<Context>, settings: &OutputSettings, endpoint: &str) -> Result<Self> {
        let kind = match settings.kind {
            Kind::Pub => zmq::ZMQ_PUB,
            Kind::Push => zmq::ZMQ_PUSH,
            Kind::Feed => zmq::ZMQ_ROUTER,
            Kind::Ring => return Err(bad_endpoint(endpoint, "a ring has no socket")),
        };
        check_port(endpoint)?;
        let mut socket = Self::open(context, kind, endpoint)?;
        socket.set(zmq::ZMQ_SNDHWM, settings.high_water_mark)?;
        if settings.kind == Kind::Feed {
            socket.set(zmq::ZMQ_RCVHWM, REQUESTS_WAITING)?;
            socket.set_bytes(zmq::ZMQ_MAXMSGSIZE, &LARGEST_FRAME.to_ne_bytes())?;
            // A peer that is gone, or takes nothing, is told from one that was sent something.
            socket.set(zmq::ZMQ_ROUTER_MANDATORY, 1)?;
        }
        socket.set(zmq::ZMQ_LINGER, milliseconds(settings.linger))?;
        socket.keep_alive(settings)?;
        if endpoint.contains('[') {
            socket.set(zmq::ZMQ_IPV6, 1)?;
        }
        let text = CString::new(endpoint).map_err(|_| bad_endpoint(endpoint, "it has a zero byte in it"))?;
        // SAFETY: a live socket and a terminated string.
        if unsafe { zmq::zmq_bind(socket.as_ptr(), text.as_ptr()) } != 0 {
            return Err(bind_error(endpoint, errno()));
        }
        socket.endpoint = socket.last_endpoint()?;
        Ok(socket)
    }

    /// A receiving socket, connected to an endpoint. `high_water_mark` counts messages, 0 is none.
    pub fn connect(
        context: &Arc<Context>,
        receiver: Receiver,
        endpoint: &str,
        high_water_mark: i32,
        topics: &[&[u8]],
    ) -> Result<Self> {
        let kind = match receiver {
            Receiver::Sub => zmq::ZMQ_SUB,
            Receiver::Pull => zmq::ZMQ_PULL,
        };
        let mut socket = Self::open(context, kind, endpoint)?;
        socket.set(zmq::ZMQ_RCVHWM, high_water_mark)?;
        socket.set(zmq::ZMQ_LINGER, 0)?;
        for topic in topics {
            socket.set_bytes(zmq::ZMQ_SUBSCRIBE, topic)?;
        }
        let text = CString::new(endpoint).map_err(|_| bad_endpoint(endpoint, "it has a zero byte in it"))?;
        // SAFETY: a live socket and a terminated string.
        if unsafe { zmq::zmq_connect(socket.as_ptr(), text.as_ptr()) } != 0 {
            return Err(last_error(endpoint));
        }
        Ok(socket)
    }

    /// One end of a pair within the process.
    pub(super) fn pair(context: &Arc<Context>, name: &str, end: Transport) -> Result<Self> {
        let socket = Self::open(context, zmq::ZMQ_PAIR, name)?;
        let text = CString::new(name).map_err(|_| bad_endpoint(name, "it has a zero byte in it"))?;
        // SAFETY: a live socket and a terminated string.
        let answer = unsafe {
            match end {
                Transport::Bind => zmq::zmq_bind(socket.as_ptr(), text.as_ptr()),
                Transport::Connect => zmq::zmq_connect(socket.as_ptr(), text.as_ptr()),
            }
        };
        if answer == 0 { Ok(socket) } else { Err(last_error(name)) }
    }

    fn open(context: &Arc<Context>, kind: c_int, endpoint: &str) -> Result<Self> {
        // SAFETY: a live context, kept alive by the socket.
        let socket = unsafe { zmq::zmq_socket(context.as_ptr(), kind) };
        let handle = NonNull::new(socket).ok_or_else(|| last_error(endpoint))?;
        Ok(Self { handle, endpoint: endpoint.to_owned(), _context: Arc::clone(context) })
    }

    fn keep_alive(&mut self, settings: &OutputSettings) -> Result<()> {
        if !settings.keepalive.is_zero() {
            let idle = i32::try_from(settings.keepalive.as_secs().max(1)).unwrap_or(i32::MAX);
            self.set(zmq::ZMQ_TCP_KEEPALIVE, 1)?;
            self.set(zmq::ZMQ_TCP_KEEPALIVE_IDLE, idle)?;
            // A third of the idle time, three times: given up after twice the idle time.
            self.set(zmq::ZMQ_TCP_KEEPALIVE_INTVL, (idle / 3).max(1))?;
            self.set(zmq::ZMQ_TCP_KEEPALIVE_CNT, 3)?;
        }
        if !settings.heartbeat.is_zero() {
            let interval = milliseconds(settings.heartbeat).max(1);
            self.set(zmq::ZMQ_HEARTBEAT_IVL, interval)?;
            let patience = match settings.kind {
                Kind::Pub => interval.saturating_mul(3),
                // For ever: see `OutputSettings::heartbeat`.
                _ => 0,
            };
            self.set(zmq::ZMQ_HEARTBEAT_TIMEOUT, patience)?;
            self.set(zmq::ZMQ_HEARTBEAT_TTL, interval.saturating_mul(3))?;
        }
        Ok(())
    }

    /// The address bound, a wildcard port resolved; or the one connected to.
    pub fn endpoint(&self) -> &str {
        &self.endpoint
    }

    /// Hands a message to the socket; false when it takes none at the moment. Nothing was sent then,
    /// and the message can be tried again.
    pub fn try_send(&mut self, outgoing: &mut Outgoing) -> Result<bool> {
        let message = match &outgoing.message {
            Carried::Own(message) => message,
            Carried::Kept(kept) => &kept.message,
        };
        if !self.leading(&message.topic)? {
            return Ok(false);
        }
        if !(self.leading(&message.header)? && self.shared_leading(&message.columns)?) {
            self.abandon();
            return Ok(false);
        }
        // A last frame that is refused leaves nothing behind.
        self.frame(&mut outgoing.body, 0)
    }

    /// Hands a reply to a ROUTER socket, for one peer, with a message behind it where there is one.
    pub(super) fn try_send_to(
        &mut self,
        peer: &[u8],
        reply: &[u8],
        message: Option<&Arc<Kept>>,
    ) -> Result<std::result::Result<(), Blocked>> {
        match self.leading(peer) {
            Ok(true) => {}
            Ok(false) => return Ok(Err(Blocked::Full)),
            Err(Error::Socket { errno: code::EHOSTUNREACH, .. }) => return Ok(Err(Blocked::Gone)),
            Err(error) => return Err(error),
        }
        // The peer is chosen. Should it go away meanwhile, the socket drops the other frames.
        let sent = match message {
            None => self.frame(&mut Frame::copied(reply)?, 0)?,
            Some(kept) => {
                let [topic, header, ..] = kept.frames();
                self.leading(reply)?
                    && self.leading(topic)?
                    && self.leading(header)?
                    && self.shared_leading(&kept.message.columns)?
                    && self.frame(&mut Frame::kept(&kept.body)?, 0)?
            }
        };
        if !sent {
            self.abandon();
            return Ok(Err(Blocked::Gone));
        }
        Ok(Ok(()))
    }

    /// Sends an empty message, or does nothing where there is no room for it.
    pub(super) fn signal(&mut self) {
        // SAFETY: a live socket; no bytes.
        unsafe { zmq::zmq_send(self.as_ptr(), std::ptr::null(), 0, zmq::ZMQ_DONTWAIT) };
    }

    /// A leading frame, copied.
    fn leading(&self, bytes: &[u8]) -> Result<bool> {
        self.attempt(|socket| {
            let flags = zmq::ZMQ_DONTWAIT | zmq::ZMQ_SNDMORE;
            // SAFETY: a live socket and a slice's bytes.
            unsafe { zmq::zmq_send(socket, bytes.as_ptr().cast(), bytes.len(), flags) }
        })
    }

    /// A leading frame, copied where that is the cheaper way.
    fn shared_leading(&self, bytes: &Arc<[u8]>) -> Result<bool> {
        if bytes.len() < ZERO_COPY {
            return self.leading(bytes);
        }
        self.frame(&mut Frame::shared(bytes)?, zmq::ZMQ_SNDMORE)
    }

    fn frame(&self, frame: &mut Frame, flags: c_int) -> Result<bool> {
        // SAFETY: an initialised message and a live socket.
        self.attempt(|socket| unsafe {
            zmq::zmq_msg_send(frame.as_mut_ptr(), socket, flags | zmq::ZMQ_DONTWAIT)
        })
    }

    /// Calls once more when a signal came in between; false when the socket takes nothing.
    fn attempt(&self, mut call: impl FnMut(*mut c_void) -> c_int) -> Result<bool> {
        loop {
            if call(self.as_ptr()) >= 0 {
                return Ok(true);
            }
            match errno() {
                EINTR => {}
                code::EAGAIN => return Ok(false),
                _ => return Err(last_error(&self.endpoint)),
            }
        }
    }

    /// After a peer went away within a message: libzmq has taken back the frames sent so far and
    /// drops what follows, up to the next last frame. This is that frame, so that the message can
    /// be sent again from its first.
    fn abandon(&self) {
        // SAFETY: a live socket; no bytes.
        unsafe { zmq::zmq_send(self.as_ptr(), std::ptr::null(), 0, zmq::ZMQ_DONTWAIT) };
    }

    /// Waits until the socket would take a message (`POLLOUT`) or has one (`POLLIN`).
    fn wait(&mut self, events: i16, timeout: Duration) -> Result<bool> {
        let mut item = zmq::zmq_pollitem_t { socket: self.as_ptr(), fd: 0, events, revents: 0 };
        // SAFETY: one item with a live socket.
        let answer = unsafe { zmq::zmq_poll(&raw mut item, 1, c_long::from(milliseconds(timeout))) };
        if answer < 0 && errno() != EINTR {
            return Err(last_error(&self.endpoint));
        }
        Ok(answer > 0)
    }

    /// Waits until the socket would take a message; false when time ran out.
    pub fn wait_for_room(&mut self, timeout: Duration) -> Result<bool> {
        self.wait(zmq::ZMQ_POLLOUT, timeout)
    }

    /// Waits until there is a message to receive; false when time ran out.
    pub fn wait_for_message(&mut self, timeout: Duration) -> Result<bool> {
        self.wait(zmq::ZMQ_POLLIN, timeout)
    }

    /// The frames of the next message; `None` when time ran out.
    pub fn receive(&mut self, timeout: Duration) -> Result<Option<Vec<Vec<u8>>>> {
        let mut frames = Vec::with_capacity(4);
        let received =
            self.wait_for_message(timeout)? && self.try_each_frame(|frame| frames.push(frame.to_vec()))?;
        Ok(received.then_some(frames))
    }

    /// Looks at the frames of the next message in place; false when there is none yet.
    pub fn try_each_frame(&mut self, mut look: impl FnMut(&[u8])) -> Result<bool> {
        loop {
            let mut frame = Frame::empty();
            // SAFETY: an initialised message and a live socket.
            let received = self.attempt(|socket| unsafe {
                zmq::zmq_msg_recv(frame.as_mut_ptr(), socket, zmq::ZMQ_DONTWAIT)
            })?;
            if !received {
                // Only before the first frame: a message arrives whole.
                return Ok(false);
            }
            look(frame.bytes());
            if !frame.more() {
                return Ok(true);
            }
        }
    }

    fn set(&mut self, option: c_int, value: c_int) -> Result<()> {
        self.set_bytes(option, &value.to_ne_bytes())
    }

    fn set_bytes(&mut self, option: c_int, value: &[u8]) -> Result<()> {
        // SAFETY: a live socket and a slice's bytes.
        let answer =
            unsafe { zmq::zmq_setsockopt(self.as_ptr(), option, value.as_ptr().cast(), value.len()) };
        if answer == 0 { Ok(()) } else { Err(last_error(format!("{}: option {option}", self.endpoint))) }
    }

    fn last_endpoint(&self) -> Result<String> {
        let mut text = [0_u8; 1024];
        let mut length = text.len();
        // SAFETY: a live socket and a buffer of the length given.
        let answer = unsafe {
            zmq::zmq_getsockopt(
                self.as_ptr(),
                zmq::ZMQ_LAST_ENDPOINT,
                text.as_mut_ptr().cast(),
                &raw mut length,
            )
        };
        if answer != 0 {
            return Err(last_error(&self.endpoint));
        }
        Ok(String::from_utf8_lossy(&text[..length.saturating_sub(1)]).into_owned())
    }

    fn as_ptr(&self) -> *mut c_void {
        self.handle.as_ptr()
    }
}

impl Drop for Socket {
    fn drop(&mut self) {
        // SAFETY: a live socket, used no more.
        unsafe { zmq::zmq_close(self.as_ptr()) };
    }
}

/// Waits until one of two sockets has a message, or until time has run out.
pub(super) fn wait_for_either(one: &mut Socket, other: &mut Socket, timeout: Option<Duration>) -> Result<()> {
    let item = |socket: &Socket| zmq::zmq_pollitem_t {
        socket: socket.as_ptr(),
        fd: 0,
        events: zmq::ZMQ_POLLIN,
        revents: 0,
    };
    let mut items = [item(one), item(other)];
    // Rounded up: looking too early would be looking twice.
    let timeout = timeout
        .map_or(-1, |timeout| c_long::from(milliseconds(timeout.saturating_add(Duration::from_micros(999)))));
    // SAFETY: two items with live sockets.
    let answer = unsafe { zmq::zmq_poll(items.as_mut_ptr(), 2, timeout) };
    if answer < 0 && errno() != EINTR { Err(last_error(&one.endpoint)) } else { Ok(()) }
}

fn milliseconds(duration: Duration) -> c_int {
    c_int::try_from(duration.as_millis()).unwrap_or(c_int::MAX)
}

fn bad_endpoint(endpoint: &str, why: &str) -> Error {
    let what = format!(
        "{endpoint:?} cannot be bound: {why}; write it like tcp://127.0.0.1:5556 or ipc:///run/spanwire.sock"
    );
    Error::Config { setting: "bind", what }
}

/// libzmq reads a port's leading digits, modulo 65536: `:70000` would be bound as `:4464`.
fn check_port(endpoint: &str) -> Result<()> {
    let Some(address) = endpoint.strip_prefix("tcp://") else { return Ok(()) };
    match address.rsplit_once(':') {
        Some((_, port)) if port == "*" || port.parse::<u16>().is_ok() => Ok(()),
        _ => Err(bad_endpoint(endpoint, "its port must be 0 to 65535, or * for any free one")),
    }
}

/// What a failed bind means to the one who wrote the endpoint.
fn bind_error(endpoint: &str, errno: c_int) -> Error {
    let what = match errno {
        code::EADDRINUSE => {
            "the port is in use: stop the program that has it (perhaps another relay), or bind to another port"
        }
        code::EACCES => "not permitted: take a port above 1023, or a path that this user may write",
        code::EINVAL | code::EPROTONOSUPPORT | zmq::ENOCOMPATPROTO => {
            return bad_endpoint(endpoint, "not an endpoint that ZeroMQ knows");
        }
        code::ENODEV | code::EADDRNOTAVAIL => {
            return bad_endpoint(endpoint, "this machine has no such address or interface");
        }
        _ => return Error::Socket { at: endpoint.to_owned(), errno, what: describe(errno) },
    };
    Error::Socket { at: endpoint.to_owned(), errno, what: what.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PATIENCE: Duration = Duration::from_secs(20);

    fn message() -> Message {
        Message {
            flow: 0,
            sequence: 0,
            topic: Arc::from(*b"topic/"),
            header: b"header".to_vec(),
            columns: Arc::from(*b"columns"),
            body: b"body".to_vec(),
            changes: 1,
        }
    }

    #[test]
    fn a_peer_that_goes_away_within_a_message_leaves_the_next_one_whole() {
        let context = Arc::new(Context::new(1).unwrap());
        let settings = OutputSettings::new(Kind::Push, vec![String::new()]);
        let pull =
            |push: &Socket| Socket::connect(&context, Receiver::Pull, push.endpoint(), 10, &[]).unwrap();
        // libzmq hears of it when its own thread gets its turn: on a busy machine that takes a while,
        // and trying has a part of the message sent. So each try has a socket of its own, and more time.
        let cut_off = |patience| {
            let mut push = Socket::bind(&context, &settings, "tcp://127.0.0.1:*").unwrap();
            let first = pull(&push);
            assert!(push.wait_for_room(PATIENCE).unwrap());
            assert!(push.leading(b"topic/").unwrap());
            drop(first);
            std::thread::sleep(patience);
            (!push.leading(b"header").unwrap()).then_some(push)
        };
        let mut push = [200, 1_000, 5_000, 15_000]
            .into_iter()
            .find_map(|patience| cut_off(Duration::from_millis(patience)))
            .expect("the peer is gone");
        push.abandon();

        let mut second = pull(&push);
        let mut outgoing = Outgoing::new(message(), &Arc::default()).unwrap();
        assert!(push.wait_for_room(PATIENCE).unwrap());
        assert!(push.try_send(&mut outgoing).unwrap());
        let frames = second.receive(PATIENCE).unwrap().expect("it was dropped in silence");
        assert_eq!(frames, [&b"topic/"[..], b"header", b"columns", b"body"]);
    }
}
