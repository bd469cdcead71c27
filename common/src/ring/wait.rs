//! How readers learn that something was published: sleeping threads and event loops.
//!
//! Both hang on one bell. Event loops register a [`Waker`] and are called from the writer's
//! thread, so a waker must be cheap and must not block (write an eventfd, no more). Sleeping
//! threads share one futex word: waking them all is one system call, made only if one sleeps.

use std::sync::Arc;
use std::task::Waker;
use std::time::Duration;

use crate::sync::{Event, Mutex, Slot};

/// What the writer rings after each publication.
#[derive(Debug)]
pub(super) struct Bell {
    sleepers: Event,
    /// Read by the writer without a lock, replaced as a whole under `registering`.
    wakers: Slot<Vec<(u64, Waker)>>,
    /// The next registration's number.
    registering: Mutex<u64>,
}

impl Bell {
    pub(super) fn new() -> Self {
        Self {
            sleepers: Event::new(),
            wakers: Slot::new(None),
            registering: Mutex::new(0),
        }
    }

    /// Wakes all that wait. Takes no lock.
    pub(super) fn ring(&self) {
        if let Some(wakers) = self.wakers.load() {
            for (_, waker) in &*wakers {
                waker.wake_by_ref();
            }
        }
        self.sleepers.signal();
    }

    /// To be taken before looking at the ring, and passed to [`sleep`](Self::sleep).
    pub(super) fn seen(&self) -> u32 {
        self.sleepers.seen()
    }

    /// Sleeps until the bell rings after `seen` was taken, or the time is over.
    pub(super) fn sleep(&self, seen: u32, timeout: Duration) {
        self.sleepers.wait(seen, timeout);
    }

    pub(super) fn register(&self, waker: Waker) -> Registration<'_> {
        let mut number = self.registering.lock().expect("no thread panics in here");
        let id = *number;
        *number += 1;
        self.replace(|wakers| wakers.push((id, waker)));
        Registration { bell: self, id }
    }

    /// Replaces the list; the caller holds `registering`.
    fn replace(&self, change: impl FnOnce(&mut Vec<(u64, Waker)>)) {
        let mut wakers = self
            .wakers
            .load()
            .map_or_else(Vec::new, |wakers| (*wakers).clone());
        change(&mut wakers);
        self.wakers.store(Some(Arc::new(wakers)));
    }
}

/// Keeps a waker registered; dropping it ends that.
#[derive(Debug)]
pub struct Registration<'a> {
    bell: &'a Bell,
    id: u64,
}

impl Drop for Registration<'_> {
    fn drop(&mut self) {
        let registering = self.bell.registering.lock();
        self.bell
            .replace(|wakers| wakers.retain(|(id, _)| *id != self.id));
        drop(registering);
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicU32, Ordering};
    use std::task::Wake;

    #[derive(Default)]
    struct Count(AtomicU32);

    impl Wake for Count {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }

    #[test]
    fn a_waker_is_called_while_it_is_registered() {
        let bell = Bell::new();
        let (early, late) = (Arc::new(Count::default()), Arc::new(Count::default()));
        let first = bell.register(Waker::from(early.clone()));
        bell.ring();
        let second = bell.register(Waker::from(late.clone()));
        bell.ring();
        drop(first);
        bell.ring();
        drop(second);
        bell.ring();
        assert_eq!(early.0.load(Ordering::Relaxed), 2);
        assert_eq!(late.0.load(Ordering::Relaxed), 2);
    }
}
