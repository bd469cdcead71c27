//! A connection whose own thread does everything: it sleeps in the socket, and what is to be done with
//! messages is done where they come.
//!
//! lapin gives each connection a thread, but leaves sleeping in the socket to a runtime. With tokio's a
//! small message wakes three threads in turn: the one that watches sockets, lapin's, and the one where
//! the message's task runs; to wake them costs more than all they do. Here lapin's is the only one.
//! [`Kit`] is the runtime that lapin is given: tokio's but for the [socket](socket), and futures that are
//! [run](Line::run) on a line are polled whenever lapin asks its socket for more.
//!
//! The price: a thread that sleeps in the socket does not see what others put into lapin's queues. So
//! whoever talks to lapin from elsewhere rings once it has spoken: by [`Line::ring`], or as a future that
//! is polled through [`Line::ringing`]. lapin's own tasks are. What nobody rings for is seen with the next
//! message, or heartbeat.

mod guest;
mod kit;
mod socket;

use std::collections::VecDeque;
use std::future::poll_fn;
use std::pin::pin;
use std::sync::atomic::{AtomicBool, AtomicU8, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use tokio::runtime::Handle;
use tokio::sync::{Notify, oneshot};

use self::guest::Guest;
pub(crate) use self::kit::Kit;
use self::socket::Alarm;
pub(crate) use self::socket::Socket;

/// What the bell says: the thread is at work.
const AWAKE: u8 = 0;
/// It sleeps, or is about to: who rings must wake it.
const ASLEEP: u8 = 1;
/// Somebody rang since it last listened.
const RUNG: u8 = 2;

/// What a connection's thread and those who talk to it share.
#[derive(Debug)]
pub struct Line {
    bell: AtomicU8,
    has_hung_up: AtomicBool,
    /// Notified when somebody hangs up.
    over: Notify,
    /// What wakes the socket's sleep; none before there is a socket.
    alarm: Mutex<Option<Alarm>>,
    /// Those who are to be polled; none once the thread is gone.
    guests: Mutex<Option<VecDeque<Arc<Guest>>>>,
    /// Where guests go on without the thread, and whose clock they use.
    runtime: Handle,
}

impl Line {
    /// A line without a socket yet; `runtime` is for all but that.
    pub(crate) fn new(runtime: Handle) -> Arc<Self> {
        Arc::new(Self {
            bell: AtomicU8::new(AWAKE),
            has_hung_up: AtomicBool::new(false),
            over: Notify::new(),
            alarm: Mutex::default(),
            guests: Mutex::new(Some(VecDeque::new())),
            runtime,
        })
    }

    /// Has the thread look at lapin's queues: to be called by whoever has put something in there.
    pub fn ring(&self) {
        // AcqRel: pairs with those of `may_sleep` and `listen`: whoever finds it rung sees what was queued
        // before.
        if self.bell.swap(RUNG, Ordering::AcqRel) == ASLEEP
            && let Some(alarm) = &*lock(&self.alarm)
        {
            alarm.wake();
        }
    }

    /// The future, ringing each time it was polled.
    pub async fn ringing<F: Future>(self: Arc<Self>, future: F) -> F::Output {
        let mut future = pin!(future);
        poll_fn(|context| {
            let polled = future.as_mut().poll(context);
            self.ring();
            polled
        })
        .await
    }

    /// The same, until somebody hangs up: then there is no output.
    async fn ringing_until_end<F: Future>(self: Arc<Self>, future: F) -> Option<F::Output> {
        let mut end = pin!(self.over.notified());
        // Who hangs up from now on is heard, and who has before is seen.
        end.as_mut().enable();
        if self.has_hung_up() {
            return None;
        }
        tokio::select! {
            output = self.clone().ringing(future) => Some(output),
            () = end => None,
        }
    }

    /// The future, for which so much time is well enough: then the connection ends, and with it what the
    /// future waits for.
    async fn within<F: Future>(&self, limit: Duration, future: F) -> F::Output {
        let mut future = pin!(future);
        match tokio::time::timeout(limit, &mut future).await {
            Ok(output) => output,
            Err(_) => {
                self.hang_up();
                future.await
            }
        }
    }

    /// Polls the future on the connection's thread from now on, for as long as there is one, and on the
    /// runtime afterwards. Its output; none if it panics.
    pub(crate) async fn run<F>(self: &Arc<Self>, future: F) -> Option<F::Output>
    where
        F: Future<Output: Send> + Send + 'static,
    {
        let (sender, output) = oneshot::channel();
        let future = async move {
            // Nobody may be waiting any more.
            drop(sender.send(future.await));
        };
        self.admit(Guest::new(self.clone(), future));
        output.await.ok()
    }

    /// Ends the connection, its thread and all that belongs to it, whether the broker answers or not.
    pub fn hang_up(&self) {
        self.has_hung_up.store(true, Ordering::Release);
        self.over.notify_waiters();
        self.ring();
    }

    fn has_hung_up(&self) -> bool {
        // Acquire: pairs with the Release in `hang_up`.
        self.has_hung_up.load(Ordering::Acquire)
    }

    /// Has a guest polled soon.
    fn admit(&self, guest: Arc<Guest>) {
        let Some(guests) = &mut *lock(&self.guests) else {
            drop(self.runtime.spawn(async move { guest.poll() }));
            return;
        };
        guests.push_back(guest);
        self.ring();
    }

    /// Polls the guests that want it, on the thread of the caller. Whether there were any.
    fn poll_guests(&self) -> bool {
        let waiting = lock(&self.guests).as_mut().map(std::mem::take);
        let waiting = waiting.unwrap_or_default();
        let were_any = !waiting.is_empty();
        waiting.into_iter().for_each(|guest| guest.poll());
        were_any
    }

    /// Whether the thread may sleep: nobody rang since it last listened. It listens again once it is awake.
    fn may_sleep(&self) -> bool {
        let (success, failure) = (Ordering::AcqRel, Ordering::Acquire);
        let swapped = (self.bell).compare_exchange(AWAKE, ASLEEP, success, failure);
        swapped.is_ok()
    }

    /// The thread will look at all that was queued before now, so who rang for that is heard.
    fn listen(&self) {
        self.bell.swap(AWAKE, Ordering::AcqRel);
    }

    /// The thread is gone, with its socket.
    fn end(&self) {
        lock(&self.alarm).take();
        let left = lock(&self.guests).take();
        left.into_iter()
            .flatten()
            .for_each(|guest| self.admit(guest));
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().expect("no thread panics while holding this")
}
