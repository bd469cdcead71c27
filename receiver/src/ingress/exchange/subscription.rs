//! A queue of our own, bound to the exchange, and what comes out of it.
//!
//! Who deletes the exchange takes the binding with it, and a publisher that makes it again does not bring
//! that back; the queue and its consumer notice nothing. A publisher that is there says something at least
//! once a second, so after some seconds of silence the queue is bound again, which changes nothing if it
//! is bound.

use std::hash::{BuildHasher, RandomState};
use std::time::Duration;

use common::{Clock, Monotonic, SystemClock};
use lapin::options::{
    BasicAckOptions, BasicConsumeOptions, BasicQosOptions, QueueBindOptions, QueueDeclareOptions,
};
use lapin::types::{AMQPValue, FieldTable};
use lapin::{Channel, Consumer};

use crate::broker::{self, Address};

/// Messages that wait in the queue while the window is full: who was overtaken goes on with the newest.
const QUEUE_LENGTH: i32 = 1;
/// Silence after which the queue is bound again, for the first time and at most.
const SILENCE: Duration = Duration::from_secs(4);
const LONGEST_SILENCE: Duration = Duration::from_secs(60);

/// A queue that is bound to the exchange.
#[derive(Debug)]
pub(super) struct Subscription {
    channel: Channel,
    pub(super) consumer: Consumer,
    queue: String,
    exchange: String,
    /// When something came last, or the silence was broken.
    heard_at: Monotonic,
    /// How long a silence is too long.
    patience: Duration,
}

impl Subscription {
    /// Makes the exchange, if it is not there, and the queue, and has at most `prefetch` messages sent
    /// before they are acknowledged; 0: none has to be.
    pub(super) async fn begin(
        connection: &lapin::Connection,
        broker: &Address,
        exchange: &str,
        prefetch: u16,
    ) -> Result<Self, broker::Error> {
        let refused = |error: lapin::Error| broker::Error::new(broker, &error);
        let channel = broker::own_exchange(connection, broker, exchange).await?;
        let queue = format!("{exchange}{}{}", broker::READER, unique());
        let options = QueueDeclareOptions {
            exclusive: true,
            auto_delete: true,
            ..QueueDeclareOptions::default()
        };
        let declared = channel.queue_declare(queue.as_str().into(), options, bounds());
        declared.await.map_err(refused)?;
        let bound = bind(&channel, &queue, exchange);
        bound.await.map_err(refused)?;
        let limited = channel.basic_qos(prefetch, BasicQosOptions::default());
        limited.await.map_err(refused)?;
        let options = BasicConsumeOptions {
            no_ack: prefetch == 0,
            exclusive: true,
            ..BasicConsumeOptions::default()
        };
        let (no_tag, no_table) = ("".into(), FieldTable::default());
        let consumed = channel.basic_consume(queue.as_str().into(), no_tag, options, no_table);
        let consumer = consumed.await.map_err(refused)?;
        Ok(Self {
            channel,
            consumer,
            queue,
            exchange: exchange.to_owned(),
            heard_at: SystemClock.monotonic(),
            patience: SILENCE,
        })
    }

    /// Something has come.
    pub(super) const fn heard(&mut self, now: Monotonic) {
        self.heard_at = now;
        self.patience = SILENCE;
    }

    /// Whether nothing has come for too long: then it is to be bound again, and the next time is later.
    pub(super) fn is_too_quiet(&mut self, now: Monotonic) -> bool {
        let is_too_quiet = now.since(self.heard_at) >= self.patience;
        if is_too_quiet {
            self.heard_at = now;
            self.patience = (self.patience * 2).min(LONGEST_SILENCE);
        }
        is_too_quiet
    }

    /// Binds it once more.
    pub(super) async fn bind(&self) -> lapin::Result<()> {
        bind(&self.channel, &self.queue, &self.exchange).await
    }

    /// Acknowledges all messages up to the one with this tag.
    pub(super) async fn acknowledge(&self, up_to: u64) -> lapin::Result<()> {
        let options = BasicAckOptions { multiple: true };
        self.channel.basic_ack(up_to, options).await
    }
}

async fn bind(channel: &Channel, queue: &str, exchange: &str) -> lapin::Result<()> {
    let options = QueueBindOptions::default();
    let (no_key, no_table) = ("".into(), FieldTable::default());
    (channel.queue_bind(queue.into(), exchange.into(), no_key, options, no_table)).await
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_queues_differ() {
        assert_ne!(unique(), unique());
    }
}
