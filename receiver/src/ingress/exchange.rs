//! A RabbitMQ fanout exchange from the reader's side: a queue of our own, bound to it.
//!
//! * The queue is exclusive and ends with the connection. It is short and drops its oldest message
//!   when full, so a reader that has stopped costs the broker a few messages and no more.
//! * The broker sends ahead of our acknowledgements only as many messages as the window (`window.rs`) allows:
//!   enough for a long line, and not so many that a thin one makes them old. A message is acknowledged
//!   when it is handed out, not when it arrives.
//! * What is no payload is counted, told now and then, and passed over. It ends nothing: anybody
//!   may publish to an exchange.
//!
//! Whether lost messages come from us or from the writer, they are a gap in the numbers; a queue
//! knows nothing of key frames.

mod subscription;
mod window;

use std::io;
use std::pin::pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Wake, Waker};
use std::thread::{self, Thread};

use bytes::Bytes;
use common::wire::{MAX_PAYLOAD, payload};
use common::{Clock, Frame, Identity, Monotonic, SystemClock};
use futures_core::Stream as _;
use lapin::message::Delivery;
use tokio::runtime::{Builder, Handle};

use self::subscription::Subscription;
use self::window::{Transit, Window};
use super::Error;
use super::connection::Memory;
use super::source::Amqp;
use crate::broker::{self, Address, Line};

/// A queue that is bound to the exchange, and what comes out of it.
#[derive(Debug)]
pub(super) struct Connection {
    /// Taken out only to be closed.
    connection: Option<lapin::Connection>,
    /// Where messages come; rung after each word of ours.
    line: Arc<Line>,
    broker: Address,
    subscription: Subscription,
    window: Window,
    /// The last frame handed out.
    last: Option<Identity>,
    /// How long frames take.
    transit: Transit,
}

impl Connection {
    /// Connects to the first broker that consents, beginning with the one at `first`; blocks for some
    /// seconds a broker at most.
    pub(super) fn open(source: &Amqp, first: usize) -> Result<Self, Error> {
        let opening = Self::begin(source, first);
        Ok(runtime()?.block_on(opening)?)
    }

    async fn begin(source: &Amqp, first: usize) -> Result<Self, broker::Error> {
        let name = format!("framecast reader of {}", source.exchange);
        let (connection, line, broker) = broker::connect_any(&source.brokers, first, &name).await?;
        let window = Window::new(source.prefetch);
        let (exchange, most) = (&source.exchange, window.most());
        let subscribing = async |connection: &lapin::Connection| {
            Subscription::begin(connection, &broker, exchange, most).await
        };
        let (connection, subscription) =
            broker::ask(connection, &line, &broker, subscribing).await?;
        Ok(Self {
            connection: Some(connection),
            line,
            broker,
            subscription,
            window,
            last: None,
            transit: Transit::default(),
        })
    }

    /// The frames of the next payload, waiting for it until the deadline.
    pub(super) fn poll(
        &mut self,
        memory: &mut Memory,
        deadline: Monotonic,
    ) -> Result<Option<Vec<Frame>>, Error> {
        let task = memory.task.clone();
        let waker = task.unwrap_or_else(|| Waker::from(Arc::new(Alarm(thread::current()))));
        loop {
            let Some(delivery) = self.next(&waker, deadline)? else {
                return Ok(None);
            };
            let body = Bytes::from(delivery.data);
            let decoded = match payload::decode(&body) {
                _ if body.len() > MAX_PAYLOAD => Err(format!("{} bytes", body.len())),
                Ok(frames) => Ok(frames),
                Err(error) => Err(error.to_string()),
            };
            if let Ok(frames) = &decoded {
                self.note(frames);
            }
            self.acknowledge(delivery.delivery_tag)?;
            match decoded {
                Ok(frames) => return Ok(Some(frames)),
                Err(why) => memory.damage.note("a message", &why),
            }
            if SystemClock.monotonic() >= deadline {
                // There may be more.
                waker.wake();
                return Ok(None);
            }
        }
    }

    /// The next message, waiting for it until the deadline; after that the waker is called for it.
    fn next(&mut self, waker: &Waker, deadline: Monotonic) -> Result<Option<Delivery>, Error> {
        let mut context = Context::from_waker(waker);
        loop {
            match pin!(&mut self.subscription.consumer).poll_next(&mut context) {
                Poll::Ready(Some(Ok(delivery))) => {
                    self.subscription.heard(SystemClock.monotonic());
                    return Ok(Some(delivery));
                }
                Poll::Ready(Some(Err(error))) => return Err(self.refused(&error)),
                Poll::Ready(None) => return Err(Error::Closed),
                Poll::Pending => {}
            }
            let now = SystemClock.monotonic();
            self.mind_silence(now);
            let left = deadline.since(now);
            if left.is_zero() {
                return Ok(None);
            }
            thread::park_timeout(left);
        }
    }

    /// Tells the window how these frames have come.
    fn note(&mut self, frames: &[Frame]) {
        let real = |frame: &&Frame| !frame.head.is_placeholder();
        let mut real = frames.iter().filter(real);
        let Some(first) = real.next() else { return };
        let Identity { epoch, seq } = first.head.identity;
        let last = self.last.filter(|last| last.epoch == epoch);
        let has_gap = last.is_some_and(|last| seq.saturating_sub(last.seq) > 1);
        if last.is_none() {
            self.transit = Transit::default();
        }
        let newest = real.next_back().unwrap_or(first);
        self.last = Some(newest.head.identity);
        let now = SystemClock.monotonic();
        let transit = self.transit.of(newest.head.captured_at, now);
        self.window.note(transit, has_gap, now);
    }

    /// Binds the queue once more if nothing has come for long, and acknowledges all that came.
    fn mind_silence(&mut self, now: Monotonic) {
        if !self.subscription.is_too_quiet(now) {
            return;
        }
        // What becomes of it, the broker says: if the exchange is gone it closes the channel.
        let _ = begin(self.subscription.bind());
        if let Some(up_to) = self.window.acknowledge_all() {
            let _ = begin(self.subscription.acknowledge(up_to));
        }
        self.line.ring();
    }

    /// Tells the broker what was handed out, not each time. The words are on their way when this
    /// returns; that they have left is not waited for.
    fn acknowledge(&mut self, tag: u64) -> Result<(), Error> {
        let Some(up_to) = self.window.acknowledge(tag) else {
            return Ok(());
        };
        let said = begin(self.subscription.acknowledge(up_to));
        self.line.ring();
        match said {
            Poll::Ready(Err(error)) => Err(self.refused(&error)),
            Poll::Ready(Ok(())) | Poll::Pending => Ok(()),
        }
    }

    /// The thread on which messages come.
    pub(super) const fn line(&self) -> &Arc<Line> {
        &self.line
    }

    /// Ends it, as a task.
    pub(super) async fn close(mut self) {
        if let Some(connection) = self.connection.take() {
            broker::close(connection, self.line.clone()).await;
        }
    }

    fn refused(&self, error: &lapin::Error) -> Error {
        broker::Error::new(&self.broker, error).into()
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        if let (Some(connection), Ok(runtime)) = (self.connection.take(), runtime()) {
            let closing = broker::close(connection, self.line.clone());
            match Handle::try_current() {
                // A task must not wait here.
                Ok(_) => drop(runtime.spawn(closing)),
                Err(_) => runtime.block_on(closing),
            }
        }
    }
}

/// Says something; that it has left is not waited for.
fn begin<T>(saying: impl Future<Output = T>) -> Poll<T> {
    pin!(saying).poll(&mut Context::from_waker(Waker::noop()))
}

/// Wakes a thread.
struct Alarm(Thread);

impl Wake for Alarm {
    fn wake(self: Arc<Self>) {
        self.0.unpark();
    }
}

/// What opens and closes all connections to brokers of this process, and keeps their heartbeats, however
/// many readers there are: one thread. Messages do not pass it.
pub(super) fn runtime() -> io::Result<Handle> {
    static RUNTIME: Mutex<Option<Handle>> = Mutex::new(None);
    let mut known = RUNTIME.lock().expect("no thread panics while holding this");
    if let Some(handle) = &*known {
        return Ok(handle.clone());
    }
    let runtime = Builder::new_current_thread().enable_all().build()?;
    let handle = runtime.handle().clone();
    let thread = thread::Builder::new().name("exchange".to_owned());
    thread.spawn(move || runtime.block_on(std::future::pending::<()>()))?;
    Ok(known.insert(handle).clone())
}
