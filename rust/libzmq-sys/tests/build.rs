//! What the build must have put into libzmq.

use std::ffi::{CStr, CString, c_int, c_void};
use std::ptr;

use libzmq_sys as zmq;

/// A context with sockets that are closed with it.
struct Sockets {
    context: *mut c_void,
    open: Vec<*mut c_void>,
}

impl Sockets {
    fn new() -> Self {
        // SAFETY: no precondition.
        Self { context: unsafe { zmq::zmq_ctx_new() }, open: Vec::new() }
    }

    fn socket(&mut self, kind: c_int) -> *mut c_void {
        // SAFETY: the context lives until `drop`.
        let socket = unsafe { zmq::zmq_socket(self.context, kind) };
        assert!(!socket.is_null());
        self.open.push(socket);
        set(socket, zmq::ZMQ_LINGER, &0_i32.to_ne_bytes());
        set(socket, zmq::ZMQ_RCVTIMEO, &5_000_i32.to_ne_bytes());
        set(socket, zmq::ZMQ_SNDTIMEO, &5_000_i32.to_ne_bytes());
        socket
    }
}

impl Drop for Sockets {
    fn drop(&mut self) {
        // SAFETY: each was opened once and is used no more; the context comes last.
        unsafe {
            for socket in self.open.drain(..) {
                zmq::zmq_close(socket);
            }
            zmq::zmq_ctx_term(self.context);
        }
    }
}

fn set(socket: *mut c_void, option: c_int, value: &[u8]) {
    // SAFETY: a live socket and a buffer of the length given.
    let answer = unsafe { zmq::zmq_setsockopt(socket, option, value.as_ptr().cast(), value.len()) };
    assert_eq!(answer, 0, "option {option}");
}

fn bind_to_any_port(socket: *mut c_void) -> CString {
    let mut endpoint = [0_u8; 256];
    let mut length = endpoint.len();
    // SAFETY: a live socket, a terminated string, and a buffer of the length given.
    unsafe {
        assert_eq!(zmq::zmq_bind(socket, c"tcp://127.0.0.1:*".as_ptr()), 0);
        let answer = zmq::zmq_getsockopt(
            socket,
            zmq::ZMQ_LAST_ENDPOINT,
            endpoint.as_mut_ptr().cast(),
            &raw mut length,
        );
        assert_eq!(answer, 0);
    }
    CStr::from_bytes_until_nul(&endpoint).unwrap().to_owned()
}

fn connect(socket: *mut c_void, endpoint: &CStr) {
    // SAFETY: a live socket and a terminated string.
    assert_eq!(unsafe { zmq::zmq_connect(socket, endpoint.as_ptr()) }, 0);
}

fn send(socket: *mut c_void, bytes: &[u8]) -> c_int {
    // SAFETY: a live socket and a buffer of the length given.
    unsafe { zmq::zmq_send(socket, bytes.as_ptr().cast(), bytes.len(), 0) }
}

fn receive(socket: *mut c_void) -> Option<Vec<u8>> {
    let mut buffer = [0_u8; 64];
    // SAFETY: a live socket and a buffer of the length given.
    let length = unsafe { zmq::zmq_recv(socket, buffer.as_mut_ptr().cast(), buffer.len(), 0) };
    Some(buffer[..usize::try_from(length).ok()?].to_vec())
}

fn keypair() -> (CString, CString) {
    let (mut public, mut secret) = ([0_u8; 41], [0_u8; 41]);
    // SAFETY: 41 bytes each, as libzmq asks for.
    let answer = unsafe { zmq::zmq_curve_keypair(public.as_mut_ptr().cast(), secret.as_mut_ptr().cast()) };
    assert_eq!(answer, 0, "CURVE is not built in");
    let text = |key: &[u8]| CStr::from_bytes_with_nul(key).unwrap().to_owned();
    (text(&public), text(&secret))
}

#[test]
fn the_version_is_4_3_5() {
    let (mut major, mut minor, mut patch) = (0, 0, 0);
    // SAFETY: three places for integers.
    unsafe { zmq::zmq_version(&raw mut major, &raw mut minor, &raw mut patch) };
    assert_eq!((major, minor, patch), (4, 3, 5));
}

#[test]
fn curve_and_ipc_are_built_in() {
    for capability in [c"curve", c"ipc"] {
        // SAFETY: a terminated string.
        assert_eq!(unsafe { zmq::zmq_has(capability.as_ptr()) }, 1, "{capability:?}");
    }
}

#[test]
fn a_secret_key_has_the_public_key_made_with_it() {
    let (public, secret) = keypair();
    let mut derived = [0_u8; 41];
    // SAFETY: room for 41 bytes and a terminated key.
    assert_eq!(unsafe { zmq::zmq_curve_public(derived.as_mut_ptr().cast(), secret.as_ptr()) }, 0);
    assert_eq!(&derived, public.to_bytes_with_nul());
    assert_ne!(keypair().1, secret, "keys are random");
}

/// PUSH as CURVE server; PULL as its client, which believes in `server_key`.
fn curve_pair(
    sockets: &mut Sockets,
    server: &(CString, CString),
    server_key: &CStr,
) -> (*mut c_void, *mut c_void) {
    let push = sockets.socket(zmq::ZMQ_PUSH);
    set(push, zmq::ZMQ_CURVE_SERVER, &1_i32.to_ne_bytes());
    set(push, zmq::ZMQ_CURVE_SECRETKEY, server.1.as_bytes_with_nul());
    let endpoint = bind_to_any_port(push);
    let pull = sockets.socket(zmq::ZMQ_PULL);
    let client = keypair();
    set(pull, zmq::ZMQ_CURVE_SERVERKEY, server_key.to_bytes_with_nul());
    set(pull, zmq::ZMQ_CURVE_PUBLICKEY, client.0.as_bytes_with_nul());
    set(pull, zmq::ZMQ_CURVE_SECRETKEY, client.1.as_bytes_with_nul());
    connect(pull, &endpoint);
    (push, pull)
}

#[test]
fn a_curve_handshake_carries_a_message() {
    let mut sockets = Sockets::new();
    let server = keypair();
    let (push, pull) = curve_pair(&mut sockets, &server, &server.0);
    assert_eq!(send(push, b"secret"), 6);
    assert_eq!(receive(pull).as_deref(), Some(&b"secret"[..]));
}

#[test]
fn a_wrong_server_key_gets_nothing() {
    let mut sockets = Sockets::new();
    let server = keypair();
    let (push, pull) = curve_pair(&mut sockets, &server, &keypair().0);
    set(push, zmq::ZMQ_SNDTIMEO, &300_i32.to_ne_bytes());
    set(pull, zmq::ZMQ_RCVTIMEO, &100_i32.to_ne_bytes());
    assert_eq!(send(push, b"secret"), -1, "no peer was let in, so nobody can be sent to");
    assert_eq!(receive(pull), None);
}

#[test]
fn a_null_message_is_not_larger_than_the_room_for_it() {
    // libzmq writes its 64 bytes into what the bindings reserve.
    assert_eq!((size_of::<zmq::zmq_msg_t>(), align_of::<zmq::zmq_msg_t>()), (64, 8));
    let mut message = zmq::zmq_msg_t::zeroed();
    // SAFETY: initialised before it is used, closed once.
    unsafe {
        assert_eq!(zmq::zmq_msg_init_size(&raw mut message, 33), 0);
        assert_eq!(zmq::zmq_msg_size(&raw const message), 33);
        assert_ne!(zmq::zmq_msg_data(&raw mut message), ptr::null_mut());
        assert_eq!(zmq::zmq_msg_close(&raw mut message), 0);
    }
}

/// What is compiled out takes its options without an error: look at what the kernel was told.
#[cfg(target_os = "linux")]
mod live_socket {
    use super::*;
    use std::fs;

    const SOL_SOCKET: c_int = 1;
    const SO_KEEPALIVE: c_int = 9;
    const IPPROTO_TCP: c_int = 6;
    const TCP_KEEPIDLE: c_int = 4;
    const TCP_KEEPCNT: c_int = 6;
    const F_GETFD: c_int = 1;
    const FD_CLOEXEC: c_int = 1;

    unsafe extern "C" {
        fn getsockopt(fd: c_int, level: c_int, name: c_int, value: *mut c_void, length: *mut u32) -> c_int;
        fn fcntl(fd: c_int, command: c_int, ...) -> c_int;
    }

    fn kernel_option(fd: c_int, level: c_int, name: c_int) -> Option<c_int> {
        let (mut value, mut length) = (0, 4);
        // SAFETY: a place for four bytes; a descriptor that is none is answered with an error.
        let answer = unsafe { getsockopt(fd, level, name, (&raw mut value).cast(), &raw mut length) };
        (answer == 0).then_some(value)
    }

    /// Descriptor numbers of this process and what they are.
    fn descriptors() -> Vec<(c_int, String)> {
        fs::read_dir("/proc/self/fd")
            .unwrap()
            .filter_map(|entry| {
                let entry = entry.ok()?;
                let what = fs::read_link(entry.path()).ok()?;
                Some((entry.file_name().to_str()?.parse().ok()?, what.to_string_lossy().into_owned()))
            })
            .collect()
    }

    #[test]
    fn keepalive_reaches_the_kernel_and_wake_ups_go_through_eventfd() {
        let mut sockets = Sockets::new();
        let (push, pull) = (sockets.socket(zmq::ZMQ_PUSH), sockets.socket(zmq::ZMQ_PULL));
        for (option, value) in [
            (zmq::ZMQ_TCP_KEEPALIVE, 1_i32),
            (zmq::ZMQ_TCP_KEEPALIVE_IDLE, 4_321),
            (zmq::ZMQ_TCP_KEEPALIVE_CNT, 7),
        ] {
            set(push, option, &value.to_ne_bytes());
        }
        connect(pull, &bind_to_any_port(push));
        assert_eq!(send(push, b"x"), 1);
        assert!(receive(pull).is_some());

        let all = descriptors();
        assert!(all.iter().any(|(_, what)| what.contains("eventfd")), "no eventfd among {all:?}");
        // No other socket of this process has this idle time.
        let ours: Vec<c_int> = all
            .iter()
            .map(|(fd, _)| *fd)
            .filter(|&fd| kernel_option(fd, IPPROTO_TCP, TCP_KEEPIDLE) == Some(4_321))
            .collect();
        assert!(!ours.is_empty(), "no TCP connection has the idle time that was asked for");
        for fd in ours {
            assert_eq!(kernel_option(fd, SOL_SOCKET, SO_KEEPALIVE), Some(1));
            assert_eq!(kernel_option(fd, IPPROTO_TCP, TCP_KEEPCNT), Some(7));
            // SAFETY: reads a flag of a descriptor.
            assert_eq!(unsafe { fcntl(fd, F_GETFD) } & FD_CLOEXEC, FD_CLOEXEC, "leaks into child processes");
        }
    }
}
