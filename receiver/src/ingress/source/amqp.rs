//! `amqp://…`: which exchange, of which brokers.

use std::fmt;

use super::{Error, is_channel};
use crate::broker::{self, Addresses};

/// Keys of the query that are about the exchange.
const KEYS: [&str; 3] = ["channel", "exchange", "prefetch"];
/// As long as names of queues made of it can be.
const MAX_EXCHANGE: usize = 200;
const DEFAULT_CHANNEL: &str = "main";
const ONE: &str = "one value for all brokers of the list";

/// An exchange and how to read from it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Amqp {
    /// Where it is.
    pub brokers: Addresses,
    /// Its name.
    pub exchange: String,
    /// Messages that may be on their way unacknowledged, for measuring; 0: acknowledgements are not
    /// wanted; `None`: as many as it takes.
    pub prefetch: Option<u16>,
}

impl Amqp {
    pub(super) fn parse(text: &str) -> Result<Self, Error> {
        let (brokers, keys) = Addresses::parse(text, &KEYS)?;
        let (mut channel, mut exchange, mut prefetch) = (None, None, None);
        for (key, value) in keys {
            let wrong = |right| Error::Key(key.clone(), value.clone(), right);
            let kept = match &*key {
                "channel" if !is_channel(&value) => {
                    return Err(Error::Channel(brokers.to_string(), value));
                }
                "channel" => keep(&mut channel, value.clone()),
                "exchange" if (1..=MAX_EXCHANGE).contains(&value.len()) => {
                    keep(&mut exchange, value.clone())
                }
                "exchange" => return Err(wrong("a name of 1 to 200 bytes")),
                _ => {
                    let count = value.parse::<u16>();
                    let count = count.map_err(|_| wrong("a number from 0 to 65535"))?;
                    keep(&mut prefetch, count)
                }
            };
            kept.ok_or_else(|| wrong(ONE))?;
        }
        let channel = channel.as_deref().unwrap_or(DEFAULT_CHANNEL);
        Ok(Self {
            brokers,
            exchange: exchange.unwrap_or_else(|| broker::exchange_of(channel)),
            prefetch,
        })
    }
}

/// Keeps a value; `None` if another one was said before.
fn keep<T: PartialEq>(slot: &mut Option<T>, value: T) -> Option<()> {
    if slot.as_ref().is_some_and(|known| *known != value) {
        return None;
    }
    *slot = Some(value);
    Some(())
}

impl fmt::Display for Amqp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let exchange = broker::escaped(&self.exchange);
        write!(f, "{}?exchange={exchange}", self.brokers)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exchanges_are_named_by_themselves_or_by_their_channel() {
        let exchange = |text| Amqp::parse(text).unwrap().exchange;
        assert_eq!(exchange("amqp://h"), "framecast.main");
        assert_eq!(exchange("amqp://h?channel=lab"), "framecast.lab");
        assert_eq!(exchange("amqp://h?exchange=x,amqp://i"), "x");
        assert_eq!(
            exchange("amqp://h?channel=a,amqp://i?channel=a"),
            "framecast.a"
        );
        assert_eq!(
            Amqp::parse("amqp://h?prefetch=0").unwrap().prefetch,
            Some(0)
        );
    }

    #[test]
    fn what_is_displayed_can_be_read_again() {
        let text = "amqp://h:1/%2F,amqps://i:2/a?exchange=a.b%20c";
        assert_eq!(Amqp::parse(text).unwrap().to_string(), text);
    }

    #[test]
    fn every_refusal_says_what_would_be_right() {
        for (text, part) in [
            ("amqp://h?channel=A", "a-z, 0-9"),
            ("amqp://h?exchange=", "a name of 1 to 200 bytes"),
            ("amqp://h?prefetch=many", "a number from 0 to 65535"),
            ("amqp://h?channel=a,amqp://i?channel=b", "one value for all"),
            (
                "amqp://h?ack=1",
                "known are heartbeat, frame_max, cacertfile, certfile, keyfile, channel",
            ),
        ] {
            let complaint = Amqp::parse(text).unwrap_err().to_string();
            assert!(complaint.contains(part), "{text}: {complaint}");
        }
    }
}
