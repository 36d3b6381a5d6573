//! Builds libzmq with CURVE from the sources that `zeromq-src` and `libsodium-sys-stable` carry.

use std::env;

/// What libzmq's own configure finds on any Linux of the last ten years. `zeromq-src` writes an
/// empty `platform.hpp`, which leaves all of it out: wake-ups then go through socket pairs instead
/// of eventfd, keepalive options are taken and ignored, and sockets leak into child processes.
const LINUX: &[&str] = &[
    "ZMQ_HAVE_EVENTFD",
    "ZMQ_HAVE_EVENTFD_CLOEXEC",
    "ZMQ_IOTHREAD_POLLER_USE_EPOLL_CLOEXEC",
    "ZMQ_HAVE_O_CLOEXEC",
    "ZMQ_HAVE_SOCK_CLOEXEC",
    "HAVE_ACCEPT4",
    "ZMQ_HAVE_SO_KEEPALIVE",
    "ZMQ_HAVE_TCP_KEEPCNT",
    "ZMQ_HAVE_TCP_KEEPIDLE",
    "ZMQ_HAVE_TCP_KEEPINTVL",
    "ZMQ_HAVE_SO_PEERCRED",
    "ZMQ_HAVE_SO_PRIORITY",
    "ZMQ_HAVE_SO_BINDTODEVICE",
    "ZMQ_HAVE_IFADDRS",
    "HAVE_IF_NAMETOINDEX",
    "ZMQ_HAVE_PTHREAD_SETNAME_2",
    "ZMQ_HAVE_PTHREAD_SET_AFFINITY",
    "HAVE_POSIX_MEMALIGN=1",
    "ZMQ_CACHELINE_SIZE=64",
    "HAVE_CLOCK_GETTIME",
    "HAVE_MKDTEMP",
    "HAVE_FORK",
    "ZMQ_HAVE_NOEXCEPT",
];

/// The same for macOS, which has other names for some and nothing for others.
const APPLE: &[&str] = &[
    "ZMQ_HAVE_OSX",
    "ZMQ_HAVE_O_CLOEXEC",
    "ZMQ_HAVE_SO_KEEPALIVE",
    "ZMQ_HAVE_TCP_KEEPALIVE",
    "ZMQ_HAVE_TCP_KEEPCNT",
    "ZMQ_HAVE_TCP_KEEPINTVL",
    "ZMQ_HAVE_IFADDRS",
    "HAVE_IF_NAMETOINDEX",
    "ZMQ_HAVE_PTHREAD_SETNAME_1",
    "HAVE_POSIX_MEMALIGN=1",
    "ZMQ_CACHELINE_SIZE=64",
    "HAVE_MKDTEMP",
    "HAVE_FORK",
    "ZMQ_HAVE_NOEXCEPT",
];

fn main() {
    println!("cargo:rerun-if-changed=build.rs");
    let target = env::var("TARGET").expect("cargo sets TARGET");
    let defines = match env::var("CARGO_CFG_TARGET_OS").as_deref() {
        Ok("linux" | "android") => LINUX,
        Ok("macos" | "ios") => APPLE,
        _ => &[],
    };
    add_compiler_flags(&target, defines);

    let sodium = |what| {
        env::var(format!("DEP_SODIUM_{what}")).unwrap_or_else(|_| {
            panic!(
                "libsodium-sys-stable did not say where libsodium is ({what}): unset SODIUM_LIB_DIR and \
                 SODIUM_USE_PKG_CONFIG, so that it is built from the source that comes with the crate"
            )
        })
    };
    let location = zeromq_src::LibLocation::new(sodium("LIB"), sodium("INCLUDE"));
    zeromq_src::Build::new().with_libsodium(Some(location)).build();
}

/// `zeromq-src` gives no access to its compiler call, but that call reads this variable.
fn add_compiler_flags(target: &str, defines: &[&str]) {
    if target.contains("msvc") {
        return;
    }
    let underscored = target.replace('-', "_");
    let names = [
        format!("CXXFLAGS_{target}"),
        format!("CXXFLAGS_{underscored}"),
        "TARGET_CXXFLAGS".to_owned(),
        "CXXFLAGS".to_owned(),
    ];
    for name in &names {
        println!("cargo:rerun-if-env-changed={name}");
    }
    let mut flags = names.iter().find_map(|name| env::var(name).ok()).unwrap_or_default();
    // Optimised in every profile (a debug build of libzmq says nothing about ours), and with line
    // numbers only: full debug information would be most of the extension.
    flags.push_str(" -O2 -g1");
    for define in defines {
        flags.push_str(" -D");
        flags.push_str(define);
    }
    // SAFETY: a build script's only thread.
    unsafe { env::set_var(&names[0], flags) };
}
