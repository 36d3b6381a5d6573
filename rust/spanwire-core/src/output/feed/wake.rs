//! Wakes a thread that sleeps on sockets: a pair of them within the process.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use super::super::context::Context;
use super::super::socket::{Socket, Transport};
use crate::error::Result;

/// Used by whoever wakes.
pub struct Waker(Mutex<Socket>);

/// Polled by the one that sleeps.
pub struct Alarm(pub Socket);

/// Both ends.
pub fn pair(context: &Arc<Context>) -> Result<(Waker, Alarm)> {
    static NEXT: AtomicU64 = AtomicU64::new(0);
    let name = format!("inproc://spanwire.wake.{}", NEXT.fetch_add(1, Ordering::Relaxed));
    let alarm = Socket::pair(context, &name, Transport::Bind)?;
    let waker = Socket::pair(context, &name, Transport::Connect)?;
    Ok((Waker(Mutex::new(waker)), Alarm(alarm)))
}

impl Waker {
    /// Never waits. Where the alarm has rung and was not heard yet, another time makes no difference.
    pub fn wake(&self) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).signal();
    }
}

impl Alarm {
    /// It was heard.
    pub fn clear(&mut self) -> Result<()> {
        while self.0.try_each_frame(|_| {})? {}
        Ok(())
    }
}
