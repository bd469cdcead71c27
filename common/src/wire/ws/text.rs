//! The text messages of a WebSocket: JSON objects whose `type` says which.
//!
//! Fields that are not known are read past, so that either side may learn new ones. Times are
//! milliseconds, with decimals; clocks count from 1970-01-01 00:00 UTC. Numbers of channels (`ch`)
//! hold for one connection.

use serde::{Deserialize, Serialize};

use super::super::{DecodeError, Fault};
use crate::frame::Timestamp;

/// Payloads of a channel that may be on their way to a viewer or wait there, unacknowledged.
pub const WINDOW: usize = 2;

/// What a viewer says.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "lowercase")]
pub enum Request {
    /// Sends this channel from now on, beginning with the newest frame; said again: on these terms.
    Sub {
        /// Its name; empty or absent: the default channel.
        #[serde(default)]
        channel: String,
        /// How old a payload may grow before it is skipped; absent: as the server does.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        max_age_ms: Option<f64>,
        /// How many frames a second are wanted at most; absent: all.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        fps: Option<f64>,
    },
    /// Sends this channel no more.
    Unsub {
        /// The channel's number.
        ch: u16,
    },
    /// The payload was used, and all before it.
    Ack {
        /// The channel's number.
        ch: u16,
        /// The sequence number of the payload's last frame.
        seq: u64,
        /// How long the viewer's machine had it; absent: not said.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        took_ms: Option<f64>,
    },
    /// Asks for the time.
    Ping {
        /// The viewer's clock, echoed.
        t: f64,
    },
    /// Asks which channels there are.
    Channels,
}

/// What a server says.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "lowercase")]
pub enum Notice {
    /// What there is: said first, and when asked for.
    Channels(House),
    /// A channel is sent from now on.
    Subscribed {
        /// Its number before its payloads.
        ch: u16,
        /// Its name.
        channel: String,
        /// Payloads that may be unacknowledged.
        window: usize,
        /// The age above which payloads are skipped.
        max_age_ms: f64,
    },
    /// A channel is not sent any more; nothing of it follows.
    Unsubscribed {
        /// The channel's number.
        ch: u16,
    },
    /// A channel cannot be sent, from the start or any more.
    Refused {
        /// The channel's name, as it was asked for.
        channel: String,
        /// Why, and what would be right.
        text: String,
    },
    /// The answer to a ping.
    Pong {
        /// What the ping said.
        t: f64,
        /// The server's clock when it was read.
        received_ms: f64,
        /// The server's clock when this was written.
        replied_ms: f64,
    },
    /// Payloads were left out; what comes next of this channel is newer.
    Skipped {
        /// The channel's number.
        ch: u16,
        /// How many.
        count: u64,
        /// What held them up.
        why: Cause,
    },
    /// The last message but the closing one.
    Goodbye {
        /// The reason, for people.
        text: String,
    },
}

/// What held payloads up until they were too old.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Cause {
    /// The network took no more bytes, or takes long to bring acknowledgements.
    Link,
    /// The viewer's machine took long to use what it had.
    Device,
    /// The server did not get to it.
    Server,
}

/// A server and its channels.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct House {
    /// The server's version.
    pub version: String,
    /// How frames get from the writer to the viewers.
    pub model: String,
    /// What moves bytes to the viewers.
    pub driver: String,
    /// All channels, the default one first.
    pub channels: Vec<Room>,
}

/// One channel.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Room {
    /// Its number.
    pub ch: u16,
    /// Its name.
    pub channel: String,
    /// Whether frames flow.
    pub is_ready: bool,
    /// Frames a second that its source gives.
    pub fps: f64,
    /// How many watch.
    pub viewers: usize,
    /// How much of the past is kept; 0: none.
    pub history_ms: f64,
}

impl Request {
    /// What this text says.
    ///
    /// # Errors
    /// `Invalid` if it is no request.
    pub fn parse(text: &str) -> Result<Self, DecodeError> {
        parse(text)
    }

    /// The text that says this.
    #[must_use]
    pub fn to_text(&self) -> String {
        to_text(self)
    }
}

impl Notice {
    /// What this text says.
    ///
    /// # Errors
    /// `Invalid` if it is no notice.
    pub fn parse(text: &str) -> Result<Self, DecodeError> {
        parse(text)
    }

    /// The text that says this.
    #[must_use]
    pub fn to_text(&self) -> String {
        to_text(self)
    }
}

fn parse<'a, T: Deserialize<'a>>(text: &'a str) -> Result<T, DecodeError> {
    serde_json::from_str(text)
        .map_err(|error| DecodeError::invalid(0, Fault::Json(error.to_string())))
}

fn to_text(message: &impl Serialize) -> String {
    serde_json::to_string(message).expect("messages have no maps and no numbers beyond JSON")
}

/// A time of a wall clock in milliseconds, as messages bear it: exact to a microsecond.
#[must_use]
#[expect(
    clippy::cast_precision_loss,
    reason = "microseconds since 1970 are below 2^53 for two centuries"
)]
pub fn millis(time: Timestamp) -> f64 {
    (time.as_nanos() / 1_000) as f64 / 1_000.0
}

/// The time that messages bear as milliseconds; `None` if no clock can say it.
#[must_use]
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "checked before"
)]
pub fn from_millis(millis: f64) -> Option<Timestamp> {
    let micros = (millis * 1_000.0).round();
    let is_time = (0.0..1e16).contains(&micros);
    is_time.then(|| Timestamp::from_nanos(micros as u64 * 1_000))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(message: &Request, text: &str) {
        assert_eq!(message.to_text(), text);
        assert_eq!(Request::parse(text).as_ref(), Ok(message));
    }

    fn notice(message: &Notice, text: &str) {
        assert_eq!(message.to_text(), text);
        assert_eq!(Notice::parse(text).as_ref(), Ok(message));
    }

    #[test]
    fn golden_requests() {
        let sub = |max_age_ms, fps| Request::Sub {
            channel: "main".to_owned(),
            max_age_ms,
            fps,
        };
        request(&sub(None, None), r#"{"type":"sub","channel":"main"}"#);
        request(
            &sub(Some(250.0), Some(7.5)),
            r#"{"type":"sub","channel":"main","max_age_ms":250.0,"fps":7.5}"#,
        );
        request(&Request::Unsub { ch: 1 }, r#"{"type":"unsub","ch":1}"#);
        let (ch, seq, took_ms) = (0, u64::MAX, Some(4.5));
        request(
            &Request::Ack { ch, seq, took_ms },
            r#"{"type":"ack","ch":0,"seq":18446744073709551615,"took_ms":4.5}"#,
        );
        let t = 1_700_000_000_123.25;
        request(
            &Request::Ping { t },
            r#"{"type":"ping","t":1700000000123.25}"#,
        );
        request(&Request::Channels, r#"{"type":"channels"}"#);
    }

    #[test]
    fn golden_notices() {
        let channels = vec![Room {
            ch: 0,
            channel: "main".to_owned(),
            is_ready: true,
            fps: 30.0,
            viewers: 2,
            history_ms: 10_000.0,
        }];
        let house = House {
            version: "0.1.0".to_owned(),
            model: "ring".to_owned(),
            driver: "multiplex".to_owned(),
            channels,
        };
        notice(
            &Notice::Channels(house),
            r#"{"type":"channels","version":"0.1.0","model":"ring","driver":"multiplex","channels":[{"ch":0,"channel":"main","is_ready":true,"fps":30.0,"viewers":2,"history_ms":10000.0}]}"#,
        );
        let (ch, window, max_age_ms) = (3, WINDOW, 250.0);
        let channel = "lab".to_owned();
        notice(
            &Notice::Subscribed {
                ch,
                channel,
                window,
                max_age_ms,
            },
            r#"{"type":"subscribed","ch":3,"channel":"lab","window":2,"max_age_ms":250.0}"#,
        );
        notice(
            &Notice::Unsubscribed { ch },
            r#"{"type":"unsubscribed","ch":3}"#,
        );
        for (why, word) in [
            (Cause::Link, "link"),
            (Cause::Device, "device"),
            (Cause::Server, "server"),
        ] {
            notice(
                &Notice::Skipped { ch, count: 5, why },
                &format!(r#"{{"type":"skipped","ch":3,"count":5,"why":"{word}"}}"#),
            );
        }
        let (t, received_ms, replied_ms) = (1.0, 2.5, 2.5);
        notice(
            &Notice::Pong {
                t,
                received_ms,
                replied_ms,
            },
            r#"{"type":"pong","t":1.0,"received_ms":2.5,"replied_ms":2.5}"#,
        );
        let text = "the broadcast has ended".to_owned();
        notice(
            &Notice::Goodbye { text },
            r#"{"type":"goodbye","text":"the broadcast has ended"}"#,
        );
    }

    #[test]
    fn what_is_not_known_is_read_past_and_what_is_wrong_is_named() {
        let sub = Request::parse(r#"{"type":"sub","new":[1],"fps":5}"#);
        let (channel, max_age_ms, fps) = (String::new(), None, Some(5.0));
        assert_eq!(
            sub,
            Ok(Request::Sub {
                channel,
                max_age_ms,
                fps
            })
        );
        for (text, part) in [
            ("", "EOF"),
            ("{}", "missing field `type`"),
            (r#"{"type":"jump"}"#, "unknown variant `jump`"),
            (r#"{"type":"ack","ch":70000,"seq":1}"#, "70000"),
            (r#"{"type":"ack","ch":0,"seq":-1}"#, "-1"),
            (r#"{"type":"ping"}"#, "missing field `t`"),
        ] {
            let error = Request::parse(text).unwrap_err().to_string();
            assert!(error.contains(part), "{text}: {error}");
        }
        let deep = "[".repeat(4_000);
        assert!(Request::parse(&deep).is_err());
    }

    #[test]
    fn times_are_exact_to_a_microsecond() {
        let time = Timestamp::from_nanos(1_763_726_400_123_456_789);
        assert_eq!(millis(time), 1_763_726_400_123.456);
        let back = from_millis(millis(time)).unwrap();
        assert_eq!(back.as_nanos(), 1_763_726_400_123_456_000);
        for wrong in [-1.0, f64::NAN, f64::INFINITY, 1e15] {
            assert_eq!(from_millis(wrong), None, "{wrong}");
        }
    }
}
