//! A broadcaster's frames over WebSocket, for where only HTTP gets through.
//!
//! The frames are those of the native protocol, with identity, time and checksum. Each payload is
//! acknowledged as it is taken in, which is what keeps the server from sending more than is asked for.

use std::hash::{BuildHasher, RandomState};

use bytes::BytesMut;
use common::wire::base64::base64;
use common::wire::tcp::{Goodbye, GoodbyeCode, Pong, Sender};
use common::wire::ws::text::{self, Notice, Request};
use common::wire::ws::{self, Message};
use common::{Clock, DecodeError, Frame, Monotonic, SystemClock};
use url::Url;

use super::http::head::{self, Response};
use super::http::with_max_age;
use super::offset::{ClockOffset, Estimator};
use super::socket::{ANSWER_TIMEOUT, Socket};
use super::source::host_of;
use super::tcp::Pings;
use super::{Error, Options};

const DEFAULT_PORT: u16 = 80;
/// What answers a handshake that succeeds.
const SWITCHING_PROTOCOLS: u16 = 101;

/// A connection on which the server has said that it sends the channel.
#[derive(Debug)]
pub(super) struct Connection {
    socket: Socket,
    buffer: BytesMut,
    masks: Masks,
    offset: Estimator,
    pings: Pings,
}

impl Connection {
    /// Connects, shakes hands and subscribes; blocks for at most some seconds.
    pub(super) fn open(url: &Url, options: &Options) -> Result<Self, Error> {
        let port = url.port().unwrap_or(DEFAULT_PORT);
        let mut connection = Self {
            socket: Socket::connect(&host_of(url), port)?,
            buffer: BytesMut::new(),
            masks: Masks::default(),
            offset: Estimator::default(),
            pings: Pings::new(SystemClock.monotonic()),
        };
        connection.shake_hands(&with_max_age(url, options))?;
        if url.path() == super::source::ALL_CHANNELS {
            connection.say(&Request::Sub {
                channel: String::new(),
                max_age_ms: options.max_age.map(|age| age.as_secs_f64() * 1_000.0),
                fps: None,
            })?;
        }
        connection.await_subscribed()?;
        Ok(connection)
    }

    /// The frames of the next payload, `None` if it is not there by the deadline.
    pub(super) fn poll(&mut self, deadline: Monotonic) -> Result<Option<Vec<Frame>>, Error> {
        loop {
            match self.decode() {
                Ok(Message::Binary(body)) => {
                    let (ch, frames) = ws::decode_payload(&body)?;
                    self.acknowledge(ch, &frames)?;
                    return Ok(Some(frames));
                }
                Ok(message) => {
                    self.take_notice(message)?;
                    // A flood of these must not keep us beyond the deadline.
                    if SystemClock.monotonic() >= deadline {
                        return Ok(None);
                    }
                }
                Err(DecodeError::Incomplete { needed }) => {
                    self.ask_for_time()?;
                    let until = deadline.min(self.pings.next());
                    let is_filled = self.socket.fill(&mut self.buffer, needed, until)?;
                    if !is_filled && SystemClock.monotonic() >= deadline {
                        return Ok(None);
                    }
                }
                Err(broken) => return Err(broken.into()),
            }
        }
    }

    /// How far the server's clock is ahead, once the first answer is here.
    pub(super) fn clock_offset(&self) -> Option<ClockOffset> {
        self.offset.best()
    }

    fn shake_hands(&mut self, url: &Url) -> Result<(), Error> {
        let key = base64(&[(); 4].map(|()| self.masks.next()).concat());
        let request = head::encode_upgrade(url, &key);
        self.socket.send(request.as_bytes())?;
        let deadline = SystemClock.monotonic() + ANSWER_TIMEOUT;
        let response = loop {
            match Response::take(&mut self.buffer) {
                Ok(response) => break response,
                Err(Error::Wire(DecodeError::Incomplete { needed })) => {
                    self.wait_for(needed, deadline)?;
                }
                Err(error) => return Err(error),
            }
        };
        self.socket.note_whole();
        match response.status {
            SWITCHING_PROTOCOLS if response.accept.as_ref() == Some(&ws::accept(&key)) => Ok(()),
            SWITCHING_PROTOCOLS | 200..300 => Err(Error::NoSocket),
            code => Err(Error::Status {
                code,
                retry_after: response.retry_after,
            }),
        }
    }

    fn await_subscribed(&mut self) -> Result<(), Error> {
        let deadline = SystemClock.monotonic() + ANSWER_TIMEOUT;
        loop {
            match self.decode() {
                Ok(Message::Text(text)) => match Notice::parse(&text)? {
                    Notice::Subscribed { .. } => return Ok(()),
                    Notice::Refused { text, .. } => {
                        return Err(goodbye(GoodbyeCode::UnknownChannel, text));
                    }
                    Notice::Goodbye { text } => {
                        return Err(goodbye(GoodbyeCode::ShuttingDown, text));
                    }
                    _ => {}
                },
                Ok(_) => return Err(Error::Unexpected("a payload before it was asked for")),
                Err(DecodeError::Incomplete { needed }) => self.wait_for(needed, deadline)?,
                Err(broken) => return Err(broken.into()),
            }
        }
    }

    fn wait_for(&mut self, needed: usize, deadline: Monotonic) -> Result<(), Error> {
        if SystemClock.monotonic() >= deadline {
            return Err(Error::NoAnswer(ANSWER_TIMEOUT));
        }
        self.socket.fill(&mut self.buffer, needed, deadline)?;
        Ok(())
    }

    fn decode(&mut self) -> Result<Message, DecodeError> {
        let message = Message::decode(&mut self.buffer, Sender::Server)?;
        self.socket.note_whole();
        Ok(message)
    }

    /// Takes in whatever is no payload.
    fn take_notice(&mut self, message: Message) -> Result<(), Error> {
        let text = match message {
            Message::Text(text) => text,
            Message::Ping(body) => return self.send(&Message::Pong(body)),
            Message::Close(_) => {
                self.send(&Message::Close(None))?;
                return Err(Error::Closed);
            }
            Message::Pong(_) | Message::Binary(_) => return Ok(()),
        };
        match Notice::parse(&text)? {
            Notice::Pong {
                t,
                received_ms,
                replied_ms,
            } => {
                let times = [t, received_ms, replied_ms].map(text::from_millis);
                if let [Some(sent_at), Some(received_at), Some(replied_at)] = times {
                    let pong = Pong {
                        sent_at,
                        received_at,
                        replied_at,
                    };
                    self.offset.add(&pong, SystemClock.wall());
                }
                Ok(())
            }
            Notice::Refused { text, .. } | Notice::Goodbye { text } => {
                Err(goodbye(GoodbyeCode::ShuttingDown, text))
            }
            _ => Ok(()),
        }
    }

    fn acknowledge(&mut self, ch: u16, frames: &[Frame]) -> Result<(), Error> {
        let seq = frames.last().map_or(0, |frame| frame.head.identity.seq);
        let took_ms = None;
        self.say(&Request::Ack { ch, seq, took_ms })
    }

    fn ask_for_time(&mut self) -> Result<(), Error> {
        if self.pings.is_due(SystemClock.monotonic()) {
            let t = text::millis(SystemClock.wall());
            self.say(&Request::Ping { t })?;
        }
        Ok(())
    }

    fn say(&mut self, request: &Request) -> Result<(), Error> {
        self.send(&Message::Text(request.to_text()))
    }

    fn send(&mut self, message: &Message) -> Result<(), Error> {
        let mask = self.masks.next();
        self.socket.send(&message.encode_masked(mask))
    }
}

fn goodbye(code: GoodbyeCode, text: String) -> Error {
    Error::Goodbye(Goodbye {
        code,
        retry_after: std::time::Duration::ZERO,
        text,
    })
}

/// Numbers that nobody foretells who does not know the keys that the standard library drew.
#[derive(Debug, Default)]
struct Masks {
    keys: RandomState,
    drawn: u64,
}

impl Masks {
    fn next(&mut self) -> [u8; 4] {
        self.drawn += 1;
        let [a, b, c, d, ..] = self.keys.hash_one(self.drawn).to_be_bytes();
        [a, b, c, d]
    }
}
