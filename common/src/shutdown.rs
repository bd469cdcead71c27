//! One word said once to everybody: end.
//!
//! A [`Shutdown`] can be polled by a loop, slept on by a thread, awaited by a task, and can wake an
//! event loop. Whoever holds a clone may trigger it; it cannot be taken back.

use std::future::poll_fn;
use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::task::{Poll, Waker};
use std::time::Duration;

/// The word, shared by all its clones.
///
/// ```
/// use common::Shutdown;
/// use std::time::Duration;
///
/// let shutdown = Shutdown::default();
/// let thread = {
///     let shutdown = shutdown.clone();
///     std::thread::spawn(move || while !shutdown.wait(Duration::from_secs(1)) {})
/// };
/// shutdown.trigger();
/// thread.join().unwrap();
/// ```
#[derive(Debug, Clone, Default)]
pub struct Shutdown {
    shared: Arc<Shared>,
}

#[derive(Debug, Default)]
struct Shared {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct State {
    triggered: bool,
    wakers: Vec<Waker>,
}

impl Shutdown {
    /// Says the word. Saying it again changes nothing.
    pub fn trigger(&self) {
        let wakers = {
            let mut state = self.lock();
            state.triggered = true;
            std::mem::take(&mut state.wakers)
        };
        self.shared.changed.notify_all();
        wakers.into_iter().for_each(Waker::wake);
    }

    /// Whether the word was said.
    #[must_use]
    pub fn is_triggered(&self) -> bool {
        self.lock().triggered
    }

    /// Sleeps until the word is said or the time is over; true if it was said.
    #[must_use]
    pub fn wait(&self, timeout: Duration) -> bool {
        let waited = self
            .shared
            .changed
            .wait_timeout_while(self.lock(), timeout, |state| !state.triggered);
        waited
            .expect("no thread panics while holding this")
            .0
            .triggered
    }

    /// Ready once the word is said.
    pub async fn triggered(&self) {
        poll_fn(|context| {
            if self.wake_by(context.waker()) {
                Poll::Ready(())
            } else {
                Poll::Pending
            }
        })
        .await;
    }

    /// Has `waker` called when the word is said; true, without a call, if it already was.
    pub fn wake_by(&self, waker: &Waker) -> bool {
        let mut state = self.lock();
        if !state.triggered && !state.wakers.iter().any(|known| known.will_wake(waker)) {
            state.wakers.push(waker.clone());
        }
        state.triggered
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        let state = self.shared.state.lock();
        state.expect("no thread panics while holding this")
    }
}

#[cfg(test)]
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
    fn every_waker_is_called_once() {
        let shutdown = Shutdown::default();
        let count = Arc::new(Count::default());
        let waker = Waker::from(count.clone());
        assert!(!shutdown.wake_by(&waker));
        assert!(!shutdown.wake_by(&waker));
        assert!(!shutdown.wait(Duration::ZERO));
        shutdown.trigger();
        shutdown.trigger();
        assert_eq!(count.0.load(Ordering::Relaxed), 1);
        assert!(shutdown.wake_by(&waker));
        assert!(shutdown.wait(Duration::from_secs(60)));
    }
}
