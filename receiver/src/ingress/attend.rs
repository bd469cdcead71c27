//! Payloads are brought to whoever takes them, on the thread where that costs least.
//!
//! Most streams are read by a thread of their own, for it sleeps in its socket. Those of a broker arrive
//! on a thread that all of them share. To wake another for each frame would cost more than a small frame
//! itself, so who is [`Work::Brief`] takes it right there, as a task. Both roads go through
//! [`Ingress::recv`]; a task only looks and is woken.

use std::future::poll_fn;
use std::io;
use std::mem::discriminant;
use std::ops::ControlFlow;
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;
use std::thread;
use std::time::Duration;

use common::{Clock, Payload, RecvError, Subscribe, SystemClock};

use super::source::Source;
use super::{Ingress, SLICE, State, exchange};

const STACK_BYTES: usize = 256 << 10;
/// How often a task looks although nothing wakes it, while it is connected.
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

    async fn attend_as_task(
        mut self,
        mut take: impl FnMut(&Self, Result<Arc<Payload>, RecvError>) -> ControlFlow<()>,
    ) {
        let mut pause = pin!(tokio::time::sleep(SLICE));
        loop {
            let outcome = tokio::select! {
                biased;
                outcome = self.next() => outcome,
                () = &mut pause => Err(RecvError::TimedOut),
            };
            if outcome == Err(RecvError::TimedOut) {
                pause.set(tokio::time::sleep(self.patience()));
            }
            if take(&self, outcome).is_break() {
                break;
            }
            // The others on this thread have their turn, however much comes.
            tokio::task::consume_budget().await;
        }
        if let State::Connected(connection) = std::mem::replace(&mut self.state, State::Ended) {
            connection.close().await;
        }
    }

    /// What `recv` says, as soon as it says anything, or that the connection has come or gone. Time that
    /// passes wakes nobody here; the word to end does.
    async fn next(&mut self) -> Result<Arc<Payload>, RecvError> {
        poll_fn(|context| {
            if self.memory.task.is_none() {
                self.memory.task = Some(context.waker().clone());
                // Whether it was said before is looked up by `recv`.
                let _ = self.shutdown.wake_by(context.waker());
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
