//! The least that publishes to an exchange and the least that reads from one, with the client that
//! our programs use too: what they cost more is the price of being more.
//!
//! The publisher sends one ready-made PAYLOAD again and again, with a new number and time in it, on an
//! even beat; it waits for no confirmation, reconnects never, and serves nobody. A reader acknowledges
//! all up to a message at once, a quarter of the prefetch together, looks at number and time, and checks
//! nothing. Exchange and queues are made as ours are: they are what the broker's
//! cost depends on.

use std::future::poll_fn;
use std::io;
use std::ops::Range;
use std::pin::Pin;
use std::time::Duration;

use common::wire::payload;
use common::{Clock, Format, Frame, Head, Identity, Shutdown, SystemClock, Timestamp};
use futures_core::Stream as _;
use lapin::options::{
    BasicAckOptions, BasicConsumeOptions, BasicPublishOptions, BasicQosOptions,
    ExchangeDeclareOptions, QueueBindOptions, QueueDeclareOptions,
};
use lapin::types::{AMQPValue, FieldTable};
use lapin::{BasicProperties, Channel, Connection, ConnectionProperties, ExchangeKind};
use tokio::runtime::{Builder, Runtime};
use tokio::time::MissedTickBehavior;

/// Messages that a reader has unacknowledged at most where nothing else is said.
const PREFETCH: u16 = 16;
/// Where a payload's first frame has its number and its time: behind count and epoch.
const SEQ: Range<usize> = 10..18;
const CAPTURED_AT: Range<usize> = 18..26;
/// Not kept on disk.
const TRANSIENT: u8 = 1;

/// Why nothing is published or read.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// What the broker or the connection says.
    #[error("exchange: {0}")]
    Broker(#[from] lapin::Error),
    /// The system gives no thread.
    #[error("no runtime: {0}")]
    System(#[from] io::Error),
}

/// What is published.
#[derive(Debug, Clone, Copy)]
pub struct Config {
    /// Data bytes of a frame.
    pub bytes: usize,
    /// Time between frames.
    pub interval: Duration,
}

/// Publishes to the exchange `name` of the broker at `url` until `shutdown`; `ready` is called when it
/// begins.
///
/// # Errors
/// The first trouble of any kind.
pub fn publish(
    (url, name): (&str, &str),
    config: Config,
    ready: impl FnOnce(),
    shutdown: &Shutdown,
) -> Result<(), Error> {
    let runtime = Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let (_connection, channel) = connect(url, name).await?;
        let mut beat = tokio::time::interval(config.interval);
        beat.set_missed_tick_behavior(MissedTickBehavior::Skip);
        let mut body = body(config.bytes);
        let head = BasicProperties::default().with_delivery_mode(TRANSIENT);
        ready();
        for seq in 0.. {
            tokio::select! {
                () = shutdown.triggered() => break,
                _ = beat.tick() => {}
            }
            stamp(&mut body, seq, SystemClock.wall());
            let options = BasicPublishOptions::default();
            let sent = channel.basic_publish(name.into(), "".into(), options, &body, head.clone());
            // Ready when it was given to the network; what comes of it is not asked for.
            drop(sent.await?);
        }
        Ok(())
    })
}

/// Connects and makes the exchange.
async fn connect(url: &str, name: &str) -> Result<(Connection, Channel), lapin::Error> {
    let connection = Connection::connect(url, ConnectionProperties::default()).await?;
    let channel = connection.create_channel().await?;
    let options = ExchangeDeclareOptions {
        durable: true,
        ..ExchangeDeclareOptions::default()
    };
    let kind = ExchangeKind::Fanout;
    let declared = channel.exchange_declare(name.into(), kind, options, FieldTable::default());
    declared.await?;
    Ok((connection, channel))
}

/// Readers of one exchange, all in one thread.
#[derive(Debug)]
pub struct Readers {
    runtime: Runtime,
    url: String,
    exchange: String,
    prefetch: u16,
}

impl Readers {
    /// None yet. A prefetch of 0: nothing is acknowledged.
    ///
    /// # Errors
    /// If the system gives no thread.
    pub fn new(url: String, exchange: String, prefetch: Option<u16>) -> io::Result<Self> {
        let runtime = Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()?;
        Ok(Self {
            runtime,
            url,
            exchange,
            prefetch: prefetch.unwrap_or(PREFETCH),
        })
    }

    /// Starts one more, with a connection of its own. `arrived` gets number and time of each frame,
    /// `ended` the reason when it ends.
    pub fn start(
        &self,
        arrived: impl FnMut(u64, Timestamp) + Send + 'static,
        ended: impl FnOnce(Error) + Send + 'static,
    ) {
        let (url, exchange) = (self.url.clone(), self.exchange.clone());
        let prefetch = self.prefetch;
        self.runtime.spawn(async move {
            if let Err(error) = read(&url, &exchange, prefetch, arrived).await {
                ended(error.into());
            }
        });
    }
}

async fn read(
    url: &str,
    exchange: &str,
    prefetch: u16,
    mut arrived: impl FnMut(u64, Timestamp),
) -> Result<(), lapin::Error> {
    let (_connection, channel) = connect(url, exchange).await?;
    let options = QueueDeclareOptions {
        exclusive: true,
        auto_delete: true,
        ..QueueDeclareOptions::default()
    };
    let queue = channel.queue_declare("".into(), options, bounds()).await?;
    let queue = queue.name().clone();
    let options = QueueBindOptions::default();
    let (no_key, no_table) = ("".into(), FieldTable::default());
    let bound = channel.queue_bind(queue.clone(), exchange.into(), no_key, options, no_table);
    bound.await?;
    let limited = channel.basic_qos(prefetch, BasicQosOptions::default());
    limited.await?;
    let options = BasicConsumeOptions {
        no_ack: prefetch == 0,
        exclusive: true,
        ..BasicConsumeOptions::default()
    };
    let consumed = channel.basic_consume(queue, "".into(), options, FieldTable::default());
    let mut consumer = consumed.await?;
    let together = u64::from((prefetch / 4).max(1));
    while let Some(delivery) = poll_fn(|context| Pin::new(&mut consumer).poll_next(context)).await {
        let delivery = delivery?;
        if let Some((seq, captured_at)) = stamp_of(&delivery.data) {
            arrived(seq, captured_at);
        }
        if prefetch > 0 && delivery.delivery_tag % together == 0 {
            let options = BasicAckOptions { multiple: true };
            channel.basic_ack(delivery.delivery_tag, options).await?;
        }
    }
    Ok(())
}

/// What a queue may hold: as ours.
fn bounds() -> FieldTable {
    let text = |text: &str| AMQPValue::LongString(text.into());
    let mut bounds = FieldTable::default();
    bounds.insert("x-max-length".into(), AMQPValue::LongInt(1));
    bounds.insert("x-overflow".into(), text("drop-head"));
    bounds.insert("x-queue-type".into(), text("classic"));
    bounds
}

/// A PAYLOAD of one frame with so many bytes of data.
fn body(bytes: usize) -> Vec<u8> {
    let identity = Identity { epoch: 1, seq: 0 };
    let head = Head::new(identity, Timestamp::default(), Format::Opaque);
    let frame = Frame::new(head, vec![0x55; bytes].into());
    payload::encode(b"", &[frame]).concat()
}

/// Gives the frame another number and time. Its checksum is that of the data, which stays.
fn stamp(body: &mut [u8], seq: u64, captured_at: Timestamp) {
    body[SEQ].copy_from_slice(&seq.to_be_bytes());
    body[CAPTURED_AT].copy_from_slice(&captured_at.as_nanos().to_be_bytes());
}

/// Number and time of the frame.
fn stamp_of(body: &[u8]) -> Option<(u64, Timestamp)> {
    let number = |range: Range<usize>| Some(u64::from_be_bytes(body.get(range)?.try_into().ok()?));
    Some((number(SEQ)?, Timestamp::from_nanos(number(CAPTURED_AT)?)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_floor_publishes_is_what_our_readers_read() {
        let mut body = body(8_000);
        let captured_at = Timestamp::from_nanos(1_700_000_000_123_456_789);
        stamp(&mut body, 0x0102_0304_0506, captured_at);
        assert_eq!(stamp_of(&body), Some((0x0102_0304_0506, captured_at)));
        let frames = payload::decode(&body.into()).unwrap();
        assert_eq!(frames.len(), 1);
        assert_eq!(frames[0].head.identity.seq, 0x0102_0304_0506);
        assert_eq!(frames[0].head.captured_at, captured_at);
        assert_eq!(frames[0].data().len(), 8_000);
        assert_eq!(stamp_of(&[0; 25]), None);
    }
}
