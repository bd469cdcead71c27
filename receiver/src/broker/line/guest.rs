//! A future that is polled on a connection's thread: whoever wakes it puts it into the line's queue.

use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Context, Wake, Waker};

use super::{Line, lock};

type Errand = Pin<Box<dyn Future<Output = ()> + Send>>;

/// One such future, until it is done.
pub(super) struct Guest {
    line: Arc<Line>,
    future: Mutex<Option<Errand>>,
    /// Whether it is in the queue.
    is_waiting: AtomicBool,
}

impl Guest {
    /// To be put into the queue of `line`.
    pub(super) fn new(
        line: Arc<Line>,
        future: impl Future<Output = ()> + Send + 'static,
    ) -> Arc<Self> {
        Arc::new(Self {
            line,
            future: Mutex::new(Some(Box::pin(future))),
            is_waiting: AtomicBool::new(true),
        })
    }

    /// Goes on as far as it can without waiting. A panic ends the guest, as it would end a task, and not
    /// the thread.
    pub(super) fn poll(self: Arc<Self>) {
        let waker = Waker::from(self.clone());
        let _clock = self.line.runtime.enter();
        let mut future = lock(&self.future);
        // Before it is polled: who wakes it from now on wants it polled once more. AcqRel: pairs with the
        // one in `wake`, so what was done before waking is seen.
        self.is_waiting.swap(false, Ordering::AcqRel);
        let mut poll = || {
            let future = future.as_mut().map(Pin::as_mut);
            future.is_none_or(|future| future.poll(&mut Context::from_waker(&waker)).is_ready())
        };
        let polled = catch_unwind(AssertUnwindSafe(&mut poll));
        if polled.unwrap_or(true) {
            future.take();
        }
    }
}

impl Wake for Guest {
    fn wake(self: Arc<Self>) {
        if !self.is_waiting.swap(true, Ordering::AcqRel) {
            self.line.clone().admit(self);
        }
    }
}

impl fmt::Debug for Guest {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Guest")
    }
}
