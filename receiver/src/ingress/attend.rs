//! Payloads are brought to whoever takes them, on the thread where that costs least.
//!
//! Most streams are read by a thread of their own, for it sleeps in its socket. A broker's arrive on the
//! thread of the client's connection (`broker/line.rs`). To wake another for each frame would cost more
//! than a small frame itself, so who is [`Work::Brief`] takes it right there, as a future; between two
//! connections that is a task of the thread `exchange`. Both roads go through [`Ingress::recv`]; a future
//! only looks and is woken.

use std::future::poll_fn;
use std::io;
use std::mem::discriminant;
use std::ops::ControlFlow;
use std::pin::pin;
use std::sync::{Arc, Mutex, MutexGuard};
use std::task::{Poll, Wake, Waker};
use std::thread;
use std::time::Duration;

use common::{Clock, Payload, RecvError, Subscribe, SystemClock};

use super::source::Source;
use super::{Connection, Ingress, SLICE, State, exchange};

const STACK_BYTES: usize = 256 << 10;
/// How often it looks although nothing wakes it, while it is connected.
const RARELY: Duration = Duration::from_secs(5);

/// How long taking a payload may hold up the thread it comes on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Work {
    /// Hardly longer than counting it: nothing is decoded, written or waited for.
    Brief,
    /// As long as it needs.
    Long,
}

impl Ingress {
    /// Starts what calls `take` with all that [`recv`](Subscribe::recv) says until it breaks off, also
    /// with [`RecvError::TimedOut`] soon after a connection has come or gone. It is dropped at the end,
    /// once the connection is closed. A thread of its own would be called `name`.
    ///
    /// # Errors
    /// If the system has no more threads.
    pub fn attend(
        self,
        name: String,
        work: Work,
        take: impl FnMut(&Self, Result<Arc<Payload>, RecvError>) -> ControlFlow<()> + Send + 'static,
    ) -> io::Result<()> {
        match (&*self.source, work) {
            (Source::Amqp(_), Work::Brief) => {
                drop(exchange::runtime()?.spawn(self.attend_as_task(take)));
                Ok(())
            }
            _ => {
                let thread = thread::Builder::new().name(name).stack_size(STACK_BYTES);
                thread.spawn(move || self.attend_here(take)).map(drop)
            }
        }
    }

    fn attend_here(
        mut self,
        mut take: impl FnMut(&Self, Result<Arc<Payload>, RecvError>) -> ControlFlow<()>,
    ) {
        loop {
            let outcome = self.recv(SLICE);
            if take(&self, outcome).is_break() {
                break;
            }
        }
        drop(self);
    }

    /// While there is a connection `take` is called on its thread, else on that of the runtime.
    async fn attend_as_task<T>(mut self, mut take: T)
    where
        T: FnMut(&Self, Result<Arc<Payload>, RecvError>) -> ControlFlow<()> + Send + 'static,
    {
        loop {
            let line = self.connection().and_then(Connection::line).cloned();
            let attending = self.attend_until_change(take);
            let attended = match line {
                Some(line) => line.run(attending).await,
                None => Some(attending.await),
            };
            // `take` panicked: that has been told, and ends this.
            let Some((back, with, flow)) = attended else {
                return;
            };
            (self, take) = (back, with);
            if flow.is_break() {
                break;
            }
        }
        if let State::Connected(connection) = std::mem::replace(&mut self.state, State::Ended) {
            connection.close().await;
        }
    }

    /// Until a connection has come or gone, or `take` breaks off.
    async fn attend_until_change<T>(mut self, mut take: T) -> (Self, T, ControlFlow<()>)
    where
        T: FnMut(&Self, Result<Arc<Payload>, RecvError>) -> ControlFlow<()>,
    {
        let was_connected = self.is_connected();
        let mut pause = pin!(tokio::time::sleep(self.patience()));
        loop {
            let outcome = tokio::select! {
                biased;
                outcome = self.next() => outcome,
                () = &mut pause => Err(RecvError::TimedOut),
            };
            if outcome == Err(RecvError::TimedOut) {
                pause.set(tokio::time::sleep(self.patience()));
            }
            let flow = take(&self, outcome);
            if flow.is_break() || self.is_connected() != was_connected {
                return (self, take, flow);
            }
            // The others on this thread have their turn, however much comes.
            tokio::task::consume_budget().await;
        }
    }

    /// What `recv` says, as soon as it says anything, or that the connection has come or gone. Time that
    /// passes wakes nobody here; the word to end does.
    async fn next(&mut self) -> Result<Arc<Payload>, RecvError> {
        poll_fn(|context| {
            self.forward.set(context.waker());
            if self.memory.task.is_none() {
                let waker = Waker::from(self.forward.clone());
                // Whether it was said before is looked up by `recv`.
                let _ = self.shutdown.wake_by(&waker);
                self.memory.task = Some(waker);
            }
            loop {
                let (before, was_connected) = (discriminant(&self.state), self.is_connected());
                let outcome = self.recv(Duration::ZERO);
                if outcome != Err(RecvError::TimedOut) || self.is_connected() != was_connected {
                    return Poll::Ready(outcome);
                }
                // Only who stands still has seen to it that it is woken.
                if discriminant(&self.state) == before {
                    return Poll::Pending;
                }
            }
        })
        .await
    }

    /// After how long to look again if nobody wakes us.
    fn patience(&self) -> Duration {
        match self.state {
            State::Waiting { until } => until.since(SystemClock.monotonic()).min(SLICE),
            State::Connected(_) => RARELY,
            State::Dialling(_) | State::Ended => SLICE,
        }
    }
}

/// Wakes whatever polls the stream now: it goes from one thread to another with each connection, and those
/// who wake it know this alone.
#[derive(Debug, Default)]
pub(super) struct Forward(Mutex<Option<Waker>>);

impl Forward {
    fn set(&self, waker: &Waker) {
        let mut known = self.lock();
        if known.as_ref().is_none_or(|known| !known.will_wake(waker)) {
            *known = Some(waker.clone());
        }
    }

    fn lock(&self) -> MutexGuard<'_, Option<Waker>> {
        self.0.lock().expect("no thread panics while holding this")
    }
}

impl Wake for Forward {
    fn wake(self: Arc<Self>) {
        let waker = self.lock().clone();
        if let Some(waker) = waker {
            waker.wake();
        }
    }
}
