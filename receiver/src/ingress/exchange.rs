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

mod window;

use std::future::Future as _;
use std::hash::{BuildHasher, RandomState};
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
use lapin::options::{
    BasicAckOptions, BasicConsumeOptions, BasicQosOptions, QueueBindOptions, QueueDeclareOptions,
};
use lapin::types::{AMQPValue, FieldTable};
use lapin::{Channel, Consumer};
use tokio::runtime::{Builder, Handle};

use self::window::Window;
use super::Error;
use super::connection::Memory;
use super::source::Amqp;
use crate::broker::{self, Address, Line};

/// Messages that wait in the queue while the window is full: who was overtaken goes on with the newest.
const QUEUE_LENGTH: i32 = 1;

/// A queue that is bound to the exchange, and what comes out of it.
#[derive(Debug)]
pub(super) struct Connection {
    /// Taken out only to be closed.
    connection: Option<lapin::Connection>,
    /// Where messages come; rung after each word of ours.
    line: Arc<Line>,
    broker: Address,
    channel: Channel,
    consumer: Consumer,
    window: Window,
    /// The last frame handed out.
    last: Option<Identity>,
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
        let (connection, line, broker) =
            broker::connect_any_line(&source.brokers, first, &name).await?;
        let consuming = Self::consume(source, connection, line.clone(), broker);
        line.ringing(consuming).await
    }

    /// Makes a queue of our own, and has its messages sent.
    async fn consume(
        source: &Amqp,
        connection: lapin::Connection,
        line: Arc<Line>,
        broker: Address,
    ) -> Result<Self, broker::Error> {
        let refused = |error: lapin::Error| broker::Error::new(&broker, &error);
        let channel = broker::own_exchange(&connection, &broker, &source.exchange).await?;
        let queue = format!("{}.reader-{}", source.exchange, unique());
        let options = QueueDeclareOptions {
            exclusive: true,
            auto_delete: true,
            ..QueueDeclareOptions::default()
        };
        let declared = channel.queue_declare(queue.as_str().into(), options, bounds());
        declared.await.map_err(refused)?;
        let bound = channel.queue_bind(
            queue.as_str().into(),
            source.exchange.as_str().into(),
            "".into(),
            QueueBindOptions::default(),
            FieldTable::default(),
        );
        bound.await.map_err(refused)?;
        let window = Window::new(source.prefetch);
        let limited = channel.basic_qos(window.most(), BasicQosOptions::default());
        limited.await.map_err(refused)?;
        let options = BasicConsumeOptions {
            no_ack: window.most() == 0,
            exclusive: true,
            ..BasicConsumeOptions::default()
        };
        let consumed = channel.basic_consume(
            queue.as_str().into(),
            "".into(),
            options,
            FieldTable::default(),
        );
        let consumer = consumed.await.map_err(refused)?;
        Ok(Self {
            connection: Some(connection),
            line,
            broker,
            channel,
            consumer,
            window,
            last: None,
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
            match pin!(&mut self.consumer).poll_next(&mut context) {
                Poll::Ready(Some(Ok(delivery))) => return Ok(Some(delivery)),
                Poll::Ready(Some(Err(error))) => return Err(self.refused(&error)),
                Poll::Ready(None) => return Err(Error::Closed),
                Poll::Pending => {}
            }
            let left = deadline.since(SystemClock.monotonic());
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
        let has_gap = last.is_some_and(|last| seq > last.seq + 1);
        let newest = real.next_back().unwrap_or(first);
        self.last = Some(newest.head.identity);
        let age = SystemClock.wall().since(newest.head.captured_at);
        self.window.note(age, has_gap, SystemClock.monotonic());
    }

    /// Tells the broker what was handed out, not each time. The words are on their way when this
    /// returns; that they have left is not waited for.
    fn acknowledge(&mut self, tag: u64) -> Result<(), Error> {
        let Some(up_to) = self.window.acknowledge(tag) else {
            return Ok(());
        };
        let options = BasicAckOptions { multiple: true };
        let said = pin!(self.channel.basic_ack(up_to, options));
        let said = said.poll(&mut Context::from_waker(Waker::noop()));
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
            end(connection, self.line.clone()).await;
        }
    }

    fn refused(&self, error: &lapin::Error) -> Error {
        broker::Error::new(&self.broker, error).into()
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        if let (Some(connection), Ok(runtime)) = (self.connection.take(), runtime()) {
            let closing = end(connection, self.line.clone());
            match Handle::try_current() {
                // A task must not wait here.
                Ok(_) => drop(runtime.spawn(closing)),
                Err(_) => runtime.block_on(closing),
            }
        }
    }
}

/// Ends a connection, with the broker's consent if that comes within a moment.
async fn end(connection: lapin::Connection, line: Arc<Line>) {
    line.clone().ringing(broker::close(connection)).await;
    line.hang_up();
}

/// Wakes a thread.
struct Alarm(Thread);

impl Wake for Alarm {
    fn wake(self: Arc<Self>) {
        self.0.unpark();
    }
}

/// What the queue may hold.
fn bounds() -> FieldTable {
    let mut bounds = FieldTable::default();
    bounds.insert("x-max-length".into(), AMQPValue::LongInt(QUEUE_LENGTH));
    let overflow = AMQPValue::LongString("drop-head".into());
    bounds.insert("x-overflow".into(), overflow);
    let kind = AMQPValue::LongString("classic".into());
    bounds.insert("x-queue-type".into(), kind);
    bounds
}

/// What no other queue's name ends in.
fn unique() -> String {
    let random = RandomState::new();
    format!("{:016x}", random.hash_one(std::process::id()))
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_queues_differ() {
        assert_ne!(unique(), unique());
    }
}
