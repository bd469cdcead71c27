//! The switch between the real primitives and those of loom.
//!
//! The ring is written against the names in this file. A normal build maps them to std, arc-swap
//! and the futex; `RUSTFLAGS="--cfg loom"` maps them to loom's, so that the model in
//! `tests/ring_loom.rs` runs the very code that ships. loom cannot see inside arc-swap, so there a
//! [`Slot`] is a mutex: arc-swap is taken to be linearizable, the ring built on it is checked.

use std::sync::Arc;
use std::time::Duration;

#[cfg(loom)]
pub(crate) use loom::sync::{
    Mutex,
    atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering, fence},
};
#[cfg(not(loom))]
pub(crate) use std::sync::{
    Mutex,
    atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering, fence},
};

/// A place that holds at most one shared value and can be read and replaced by any thread.
#[derive(Debug)]
#[cfg(not(loom))]
pub(crate) struct Slot<T>(arc_swap::ArcSwapOption<T>);

#[cfg(not(loom))]
impl<T> Slot<T> {
    pub(crate) fn new(value: Option<Arc<T>>) -> Self {
        Self(arc_swap::ArcSwapOption::new(value))
    }

    pub(crate) fn load(&self) -> Option<Arc<T>> {
        self.0.load_full()
    }

    pub(crate) fn store(&self, value: Option<Arc<T>>) {
        self.0.store(value);
    }
}

#[derive(Debug)]
#[cfg(loom)]
pub(crate) struct Slot<T>(Mutex<Option<Arc<T>>>);

#[cfg(loom)]
impl<T> Slot<T> {
    pub(crate) fn new(value: Option<Arc<T>>) -> Self {
        Self(Mutex::new(value))
    }

    pub(crate) fn load(&self) -> Option<Arc<T>> {
        self.0.lock().expect("no thread panics in a slot").clone()
    }

    pub(crate) fn store(&self, value: Option<Arc<T>>) {
        *self.0.lock().expect("no thread panics in a slot") = value;
    }
}

/// A counter that threads can sleep on: `wait` returns once it differs from what was seen.
///
/// On Linux this is one futex word: waking any number of sleepers is one system call and takes no
/// lock, so whoever signals never waits for a sleeper. Elsewhere, and under loom, a mutex and a
/// condition variable give the same meaning.
#[derive(Debug)]
pub(crate) struct Event {
    count: AtomicU32,
    sleepers: AtomicU32,
    bed: Bed,
}

impl Event {
    pub(crate) fn new() -> Self {
        Self {
            count: AtomicU32::new(0),
            sleepers: AtomicU32::new(0),
            bed: Bed::new(),
        }
    }

    /// The count to pass to [`wait`](Self::wait); take it before looking at what is waited for.
    pub(crate) fn seen(&self) -> u32 {
        // Acquire: pairs with the Release in `signal`; a new count shows what was done before it.
        self.count.load(Ordering::Acquire)
    }

    /// Counts up and wakes every sleeper. A system call only if somebody sleeps.
    pub(crate) fn signal(&self) {
        // Release: pairs with the Acquire in `seen`.
        self.count.fetch_add(1, Ordering::Release);
        // SeqCst: pairs with the fence in `wait`; either the sleeper's comparison sees the new
        // count, or this load sees the sleeper. A fence, since loom does not order SeqCst loads.
        fence(Ordering::SeqCst);
        if self.sleepers.load(Ordering::Relaxed) > 0 {
            self.bed.wake_all(&self.count);
        }
    }

    /// Sleeps until the count differs from `seen` or the time is over. May return early.
    pub(crate) fn wait(&self, seen: u32, timeout: Duration) {
        self.sleepers.fetch_add(1, Ordering::Relaxed);
        // SeqCst: pairs with the fence in `signal`.
        fence(Ordering::SeqCst);
        self.bed.sleep(&self.count, seen, timeout);
        self.sleepers.fetch_sub(1, Ordering::Relaxed);
    }
}

#[derive(Debug)]
#[cfg(all(target_os = "linux", not(loom)))]
struct Bed;

#[cfg(all(target_os = "linux", not(loom)))]
impl Bed {
    fn new() -> Self {
        Self
    }

    fn sleep(&self, count: &AtomicU32, seen: u32, timeout: Duration) {
        use rustix::thread::{Timespec, futex};
        let timeout = Timespec {
            tv_sec: i64::try_from(timeout.as_secs()).unwrap_or(i64::MAX),
            tv_nsec: timeout.subsec_nanos().into(),
        };
        // Every outcome (woken, count differs, interrupted, time over) means: look again.
        let _ = futex::wait(count, futex::Flags::PRIVATE, seen, Some(&timeout));
    }

    fn wake_all(&self, count: &AtomicU32) {
        use rustix::thread::futex;
        futex::wake(count, futex::Flags::PRIVATE, i32::MAX.unsigned_abs())
            .expect("the address is a live atomic");
    }
}

#[cfg(any(not(target_os = "linux"), loom))]
#[derive(Debug)]
struct Bed {
    lock: Mutex<()>,
    #[cfg(loom)]
    woken: loom::sync::Condvar,
    #[cfg(not(loom))]
    woken: std::sync::Condvar,
}

#[cfg(any(not(target_os = "linux"), loom))]
impl Bed {
    fn new() -> Self {
        Self {
            lock: Mutex::new(()),
            woken: Default::default(),
        }
    }

    fn sleep(&self, count: &AtomicU32, seen: u32, timeout: Duration) {
        let guard = self.lock.lock().expect("no thread panics in a bed");
        if count.load(Ordering::Relaxed) != seen {
            return;
        }
        drop(self.woken.wait_timeout(guard, timeout));
    }

    fn wake_all(&self, _: &AtomicU32) {
        drop(self.lock.lock().expect("no thread panics in a bed"));
        self.woken.notify_all();
    }
}
