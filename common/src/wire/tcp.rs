//! The native protocol: one connection, messages both ways, every message a type and a length.
//!
//! ```text
//! message  = type u8, flags u8 (0), zero u16, length u32, body     big endian
//! 1 HELLO     viewer -> server  "FRMC", min u8, max u8, zero u16, max_age_ms u32 (0: the server's), channel (empty: the default one)
//! 2 WELCOME   server -> viewer  version u8, zero u8, zero u16, feedback_ms u32, epoch u64
//! 3 PAYLOAD   server -> viewer  see the payload module
//! 4 PING      viewer -> server  sent_at_ns u64
//! 5 PONG      server -> viewer  sent_at_ns u64, received_at_ns u64, replied_at_ns u64
//! 6 FEEDBACK  viewer -> server  received u64, skipped u64, age_p50_us u32, age_p99_us u32
//! 7 GOODBYE   server -> viewer  code u16, zero u16, retry_after_s u32, text (UTF-8)
//! ```
//!
//! The viewer speaks first. A GOODBYE comes only between messages; after it the server closes.
//! `common/wire.md` is the same for readers in other languages, with a reader in Python.

use std::time::Duration;

use bytes::{Buf, BufMut, Bytes, BytesMut};

use super::{Cursor, DecodeError, Fault, MAX_CHANNEL, MAX_PAYLOAD, MAX_TEXT, payload};
use crate::frame::{Frame, Timestamp};

/// The version spoken here. Readers accept this one and the one before.
pub const VERSION: u8 = 1;
/// The oldest version still understood.
pub const OLDEST_VERSION: u8 = 1;
/// Bytes before each body.
pub const HEAD_BYTES: usize = 8;

const MAGIC: [u8; 4] = *b"FRMC";
const HELLO_BYTES: usize = 12;
const GOODBYE_BYTES: usize = 8;

/// Who sent the bytes: each side sends, and so may be sent, only its own messages.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sender {
    /// The one who watches: HELLO, PING, FEEDBACK.
    Viewer,
    /// The one who serves: WELCOME, PAYLOAD, PONG, GOODBYE.
    Server,
}

/// One message of the native protocol.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Message {
    /// What the viewer wants.
    Hello(Hello),
    /// The server agrees.
    Welcome(Welcome),
    /// Frames, 1 to 64.
    Payload(Vec<Frame>),
    /// A question for the time, bearing the viewer's clock.
    Ping(Timestamp),
    /// The answer, with all three times.
    Pong(Pong),
    /// How the viewer fares.
    Feedback(Feedback),
    /// The last message, with the reason.
    Goodbye(Goodbye),
}

/// What a viewer wants.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hello {
    /// Oldest version the viewer understands.
    pub min_version: u8,
    /// Newest version the viewer understands.
    pub max_version: u8,
    /// Payloads older than this are skipped when there is a newer one; `None`: as the server does.
    pub max_age: Option<Duration>,
    /// Channel name, empty for the default channel.
    pub channel: String,
}

impl Hello {
    /// The version both sides understand, if there is one.
    #[must_use]
    pub fn agreed_version(&self) -> Option<u8> {
        let highest = self.max_version.min(VERSION);
        (highest >= self.min_version && highest >= OLDEST_VERSION).then_some(highest)
    }
}

/// How a server agrees.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Welcome {
    /// The version that both understand.
    pub version: u8,
    /// How often the server wants FEEDBACK, in whole milliseconds.
    pub feedback_every: Duration,
    /// The channel's epoch at this moment.
    pub epoch: u64,
}

/// An answered PING.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pong {
    /// The viewer's wall clock when it sent the PING, as it said.
    pub sent_at: Timestamp,
    /// The server's wall clock when the PING arrived.
    pub received_at: Timestamp,
    /// The server's wall clock when this PONG was written.
    pub replied_at: Timestamp,
}

/// How a viewer fares, counted since it connected.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Feedback {
    /// Frames received.
    pub received: u64,
    /// Frames missing between those received.
    pub skipped: u64,
    /// Median age at arrival since the last FEEDBACK, in microseconds.
    pub age_p50_us: u32,
    /// 99th percentile of the same.
    pub age_p99_us: u32,
}

/// Why a connection ends.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Goodbye {
    /// The reason as a number.
    pub code: GoodbyeCode,
    /// When another try is worth it; zero: now, or never for codes that say so.
    pub retry_after: Duration,
    /// The reason for people.
    pub text: String,
}

/// The reasons for a GOODBYE. Numbers that are not known are kept as they are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum GoodbyeCode {
    /// 1: the server ends.
    ShuttingDown,
    /// 2: there is no such channel.
    UnknownChannel,
    /// 3: what the viewer sent was not understood, or came too late.
    Protocol,
    /// 4: no version in common.
    Version,
    /// 5: too many viewers or too little memory; come back later.
    Busy,
    /// Any other number.
    Other(u16),
}

impl GoodbyeCode {
    const fn number(self) -> u16 {
        match self {
            Self::ShuttingDown => 1,
            Self::UnknownChannel => 2,
            Self::Protocol => 3,
            Self::Version => 4,
            Self::Busy => 5,
            Self::Other(number) => number,
        }
    }

    const fn from_number(number: u16) -> Self {
        match number {
            1 => Self::ShuttingDown,
            2 => Self::UnknownChannel,
            3 => Self::Protocol,
            4 => Self::Version,
            5 => Self::Busy,
            other => Self::Other(other),
        }
    }
}

/// The pieces of a PAYLOAD message; all but the heads are the frames' own bytes.
#[must_use]
pub fn encode_payload(frames: &[Frame]) -> Vec<Bytes> {
    let length = u32::try_from(payload::encoded_len(frames)).expect("MAX_PAYLOAD fits");
    let mut head = [0; HEAD_BYTES];
    head[0] = Kind::Payload as u8;
    head[4..].copy_from_slice(&length.to_be_bytes());
    payload::encode(&head, frames)
}

impl Message {
    /// The whole message as one piece. For payloads, which copies their frames, prefer
    /// [`encode_payload`].
    #[must_use]
    pub fn encode(&self) -> Bytes {
        let mut out = BytesMut::with_capacity(64);
        out.put_bytes(0, HEAD_BYTES);
        let kind = match self {
            Self::Hello(hello) => {
                out.put_slice(&MAGIC);
                out.put_slice(&[hello.min_version, hello.max_version, 0, 0]);
                out.put_u32(hello.max_age.map_or(0, whole_millis));
                out.put_slice(hello.channel.as_bytes());
                Kind::Hello
            }
            Self::Welcome(welcome) => {
                out.put_slice(&[welcome.version, 0, 0, 0]);
                out.put_u32(whole_millis(welcome.feedback_every));
                out.put_u64(welcome.epoch);
                Kind::Welcome
            }
            Self::Payload(frames) => return encode_payload(frames).concat().into(),
            Self::Ping(sent_at) => {
                out.put_u64(sent_at.as_nanos());
                Kind::Ping
            }
            Self::Pong(pong) => {
                out.put_u64(pong.sent_at.as_nanos());
                out.put_u64(pong.received_at.as_nanos());
                out.put_u64(pong.replied_at.as_nanos());
                Kind::Pong
            }
            Self::Feedback(feedback) => {
                out.put_u64(feedback.received);
                out.put_u64(feedback.skipped);
                out.put_u32(feedback.age_p50_us);
                out.put_u32(feedback.age_p99_us);
                Kind::Feedback
            }
            Self::Goodbye(goodbye) => {
                out.put_u16(goodbye.code.number());
                out.put_u16(0);
                let seconds = goodbye.retry_after.as_secs();
                out.put_u32(seconds.try_into().unwrap_or(u32::MAX));
                out.put_slice(cut_text(&goodbye.text).as_bytes());
                Kind::Goodbye
            }
        };
        out[0] = kind as u8;
        let length = u32::try_from(out.len() - HEAD_BYTES).expect("control messages are short");
        out[4..HEAD_BYTES].copy_from_slice(&length.to_be_bytes());
        out.freeze()
    }

    /// Takes one message of `sender` from the front of `buffer`, which stays as it is while the
    /// message is incomplete. What is in it after `Invalid` is of no use.
    ///
    /// # Errors
    /// `Incomplete` until the whole message is there. `Invalid` at once if its head is wrong, else
    /// when the body is whole.
    pub fn decode(buffer: &mut BytesMut, sender: Sender) -> Result<Self, DecodeError> {
        let mut cursor = Cursor::new(buffer);
        let kind = Kind::from_wire(cursor.u8()?, sender)?;
        cursor.zero::<3>()?;
        let length = cursor.length(kind.longest_body())?;
        cursor.take(length)?;
        let body = buffer
            .split_to(HEAD_BYTES + length)
            .freeze()
            .slice(HEAD_BYTES..);
        // A body is whole: whatever it lacks, no further byte will bring.
        kind.decode_body(&body).map_err(|error| match error {
            DecodeError::Incomplete { needed } => {
                let (found, expected) = (length, length + needed);
                DecodeError::invalid(4, Fault::Length { found, expected })
            }
            invalid @ DecodeError::Invalid { .. } => invalid.shifted(HEAD_BYTES),
        })
    }
}

/// Message types, as on the wire.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Hello = 1,
    Welcome = 2,
    Payload = 3,
    Ping = 4,
    Pong = 5,
    Feedback = 6,
    Goodbye = 7,
}

impl Kind {
    const fn from_wire(number: u8, sender: Sender) -> Result<Self, DecodeError> {
        Ok(match (number, sender) {
            (1, Sender::Viewer) => Self::Hello,
            (2, Sender::Server) => Self::Welcome,
            (3, Sender::Server) => Self::Payload,
            (4, Sender::Viewer) => Self::Ping,
            (5, Sender::Server) => Self::Pong,
            (6, Sender::Viewer) => Self::Feedback,
            (7, Sender::Server) => Self::Goodbye,
            _ => return Err(DecodeError::invalid(0, Fault::Type(number))),
        })
    }

    const fn longest_body(self) -> usize {
        match self {
            Self::Hello => HELLO_BYTES + MAX_CHANNEL,
            Self::Welcome => 16,
            Self::Payload => MAX_PAYLOAD,
            Self::Ping => 8,
            Self::Pong | Self::Feedback => 24,
            Self::Goodbye => GOODBYE_BYTES + MAX_TEXT,
        }
    }

    fn decode_body(self, body: &Bytes) -> Result<Message, DecodeError> {
        let mut cursor = Cursor::new(body);
        let message = match self {
            Self::Hello => return decode_hello(body).map(Message::Hello),
            Self::Payload => return payload::decode(body).map(Message::Payload),
            Self::Goodbye => return decode_goodbye(body).map(Message::Goodbye),
            Self::Welcome => {
                let version = cursor.u8()?;
                cursor.zero::<3>()?;
                Message::Welcome(Welcome {
                    version,
                    feedback_every: Duration::from_millis(cursor.u32()?.into()),
                    epoch: cursor.u64()?,
                })
            }
            Self::Ping => Message::Ping(Timestamp::from_nanos(cursor.u64()?)),
            Self::Pong => Message::Pong(Pong {
                sent_at: Timestamp::from_nanos(cursor.u64()?),
                received_at: Timestamp::from_nanos(cursor.u64()?),
                replied_at: Timestamp::from_nanos(cursor.u64()?),
            }),
            Self::Feedback => Message::Feedback(Feedback {
                received: cursor.u64()?,
                skipped: cursor.u64()?,
                age_p50_us: cursor.u32()?,
                age_p99_us: cursor.u32()?,
            }),
        };
        // `longest_body` is also the only length of these, so nothing can be left over.
        debug_assert_eq!(cursor.at(), body.len());
        Ok(message)
    }
}

fn decode_hello(body: &Bytes) -> Result<Hello, DecodeError> {
    let mut cursor = Cursor::new(body);
    if cursor.array()? != MAGIC {
        return Err(DecodeError::invalid(0, Fault::Magic));
    }
    let (min, max) = (cursor.u8()?, cursor.u8()?);
    if min > max {
        return Err(DecodeError::invalid(4, Fault::Versions { min, max }));
    }
    cursor.zero::<2>()?;
    let max_age_ms = cursor.u32()?;
    Ok(Hello {
        min_version: min,
        max_version: max,
        max_age: (max_age_ms > 0).then(|| Duration::from_millis(max_age_ms.into())),
        channel: text(&body[HELLO_BYTES..], HELLO_BYTES)?,
    })
}

fn decode_goodbye(body: &Bytes) -> Result<Goodbye, DecodeError> {
    let mut cursor = Cursor::new(body);
    let code = GoodbyeCode::from_number(cursor.u16()?);
    cursor.zero::<2>()?;
    let retry_after = Duration::from_secs(cursor.u32()?.into());
    Ok(Goodbye {
        code,
        retry_after,
        text: text(&body[GOODBYE_BYTES..], GOODBYE_BYTES)?,
    })
}

fn text(bytes: &[u8], at: usize) -> Result<String, DecodeError> {
    match std::str::from_utf8(bytes) {
        Ok(text) => Ok(text.to_owned()),
        Err(error) => Err(DecodeError::invalid(at + error.valid_up_to(), Fault::Text)),
    }
}

/// The longest beginning of `text` that may be sent.
fn cut_text(text: &str) -> &str {
    &text[..text.floor_char_boundary(MAX_TEXT)]
}

fn whole_millis(duration: Duration) -> u32 {
    u32::try_from(duration.as_millis()).unwrap_or(u32::MAX)
}

/// Puts received bytes behind those not yet decoded, without keeping the space of what is gone.
pub fn append(buffer: &mut BytesMut, bytes: &[u8]) {
    if !buffer.has_remaining() {
        *buffer = BytesMut::new();
    }
    buffer.extend_from_slice(bytes);
}

#[cfg(test)]
mod tests {
    use super::super::payload::tests::{frame, joined};
    use super::*;
    use proptest::prelude::*;

    fn all_messages() -> Vec<(Sender, Message)> {
        vec![
            (
                Sender::Viewer,
                Message::Hello(Hello {
                    min_version: 1,
                    max_version: 1,
                    max_age: Some(Duration::from_millis(250)),
                    channel: "main".to_owned(),
                }),
            ),
            (
                Sender::Server,
                Message::Welcome(Welcome {
                    version: 1,
                    feedback_every: Duration::from_secs(1),
                    epoch: 0x0102_0304_0506_0708,
                }),
            ),
            (
                Sender::Server,
                Message::Payload(vec![frame(7, b"one"), frame(8, b"")]),
            ),
            (
                Sender::Viewer,
                Message::Ping(Timestamp::from_nanos(0x2122_2324_2526_2728)),
            ),
            (
                Sender::Server,
                Message::Pong(Pong {
                    sent_at: Timestamp::from_nanos(1),
                    received_at: Timestamp::from_nanos(2),
                    replied_at: Timestamp::from_nanos(3),
                }),
            ),
            (
                Sender::Viewer,
                Message::Feedback(Feedback {
                    received: 5,
                    skipped: 6,
                    age_p50_us: 7,
                    age_p99_us: 8,
                }),
            ),
            (
                Sender::Server,
                Message::Goodbye(Goodbye {
                    code: GoodbyeCode::Busy,
                    retry_after: Duration::from_secs(9),
                    text: "full".to_owned(),
                }),
            ),
        ]
    }

    #[test]
    fn golden_bytes() {
        let golden: [&[u8]; 7] = [
            b"\x01\0\0\0\0\0\0\x10FRMC\x01\x01\0\0\0\0\0\xfamain",
            b"\x02\0\0\0\0\0\0\x10\x01\0\0\0\0\0\x03\xe8\x01\x02\x03\x04\x05\x06\x07\x08",
            b"\x03\0\0\0\0\0\0\x55\0\x02\
              \x01\x02\x03\x04\x05\x06\x07\x08\0\0\0\0\0\0\0\x07\x11\x12\x13\x14\x15\x16\x17\x18\
              \0\0\0\x03\x2a\x94\xb2\xe9\x02\x80\x01\xe0\x01\x01\x02\0one\
              \x01\x02\x03\x04\x05\x06\x07\x08\0\0\0\0\0\0\0\x08\x11\x12\x13\x14\x15\x16\x17\x18\
              \0\0\0\0\0\0\0\0\x02\x80\x01\xe0\x01\x01\x02\0",
            b"\x04\0\0\0\0\0\0\x08\x21\x22\x23\x24\x25\x26\x27\x28",
            b"\x05\0\0\0\0\0\0\x18\0\0\0\0\0\0\0\x01\0\0\0\0\0\0\0\x02\0\0\0\0\0\0\0\x03",
            b"\x06\0\0\0\0\0\0\x18\0\0\0\0\0\0\0\x05\0\0\0\0\0\0\0\x06\0\0\0\x07\0\0\0\x08",
            b"\x07\0\0\0\0\0\0\x0c\0\x05\0\0\0\0\0\x09full",
        ];
        for ((_, message), golden) in all_messages().iter().zip(golden) {
            assert_eq!(&message.encode()[..], golden, "{message:?}");
        }
    }

    #[test]
    fn messages_arrive_one_after_the_other() {
        for sender in [Sender::Viewer, Sender::Server] {
            let mut sent: Vec<_> = all_messages();
            sent.retain(|(from, _)| *from == sender);
            let mut buffer = BytesMut::new();
            for (_, message) in &sent {
                append(&mut buffer, &message.encode());
            }
            for (_, message) in &sent {
                assert_eq!(&Message::decode(&mut buffer, sender).unwrap(), message);
            }
            assert!(buffer.is_empty());
        }
    }

    #[test]
    fn a_cut_at_every_byte_is_incomplete_and_leaves_the_buffer_alone() {
        for (sender, message) in all_messages() {
            let whole = message.encode();
            for cut in 0..whole.len() {
                let mut buffer = BytesMut::from(&whole[..cut]);
                let Err(DecodeError::Incomplete { needed }) = Message::decode(&mut buffer, sender)
                else {
                    panic!("{message:?} cut at {cut}");
                };
                assert!(needed >= 1 && cut + needed <= whole.len());
                assert_eq!(buffer.len(), cut);
            }
        }
    }

    #[test]
    fn a_flipped_bit_never_yields_the_same_message() {
        for (sender, message) in all_messages() {
            let whole = message.encode();
            for bit in 0..whole.len() * 8 {
                let mut bad = BytesMut::from(&whole[..]);
                bad[bit / 8] ^= 1 << (bit % 8);
                if let Ok(read) = Message::decode(&mut bad, sender) {
                    assert_ne!(read, message, "bit {bit}");
                }
            }
        }
    }

    #[test]
    fn four_gibibytes_announced_are_refused_at_once() {
        let mut buffer = BytesMut::from(&b"\x03\0\0\0\xff\xff\xff\xff"[..]);
        let error = Message::decode(&mut buffer, Sender::Server).unwrap_err();
        let text = "broken at byte 4: 4294967295 bytes announced, at most 67108864 are allowed";
        assert_eq!(error.to_string(), text);
    }

    #[test]
    fn each_side_may_only_say_what_is_its_own() {
        for (sender, message) in all_messages() {
            let other = match sender {
                Sender::Viewer => Sender::Server,
                Sender::Server => Sender::Viewer,
            };
            let mut buffer = BytesMut::from(&message.encode()[..]);
            let error = Message::decode(&mut buffer, other).unwrap_err();
            assert!(matches!(
                error,
                DecodeError::Invalid {
                    at: 0,
                    fault: Fault::Type(_)
                }
            ));
        }
    }

    #[test]
    fn a_body_that_is_too_short_for_its_kind_is_broken_not_incomplete() {
        let mut buffer = BytesMut::from(&b"\x04\0\0\0\0\0\0\x02ab"[..]);
        let error = Message::decode(&mut buffer, Sender::Viewer).unwrap_err();
        assert_eq!(
            error.to_string(),
            "broken at byte 4: 2 bytes where 8 belong"
        );
    }

    #[test]
    fn versions_are_agreed_on() {
        let hello = |min_version, max_version| Hello {
            min_version,
            max_version,
            max_age: None,
            channel: String::new(),
        };
        assert_eq!(hello(0, 1).agreed_version(), Some(1));
        assert_eq!(hello(1, 9).agreed_version(), Some(1));
        assert_eq!(hello(2, 9).agreed_version(), None);
        assert_eq!(hello(0, 0).agreed_version(), None);
    }

    #[test]
    fn payload_pieces_are_the_whole_message() {
        let frames = vec![frame(1, b"a"), frame(2, b"b")];
        let whole = Message::Payload(frames.clone()).encode();
        assert_eq!(joined(&encode_payload(&frames)), whole);
    }

    proptest! {
        #[test]
        fn noise_never_panics(
            noise in proptest::collection::vec(any::<u8>(), 0..200),
            kind in 0_u8..9,
        ) {
            for sender in [Sender::Viewer, Sender::Server] {
                let mut buffer = BytesMut::from(&noise[..]);
                drop(Message::decode(&mut buffer, sender));
                let mut framed = BytesMut::new();
                framed.put_slice(&[kind, 0, 0, 0, 0, 0, 0, u8::try_from(noise.len()).unwrap_or(255)]);
                framed.put_slice(&noise);
                drop(Message::decode(&mut framed, sender));
            }
        }

        #[test]
        fn long_texts_are_cut_between_characters(text in "[a-zäöü€]{300,600}") {
            let goodbye = Goodbye {
                code: GoodbyeCode::Other(77), retry_after: Duration::ZERO, text: text.clone(),
            };
            let mut buffer = BytesMut::from(&Message::Goodbye(goodbye).encode()[..]);
            let Ok(Message::Goodbye(read)) = Message::decode(&mut buffer, Sender::Server) else {
                return Err(TestCaseError::fail("not a goodbye"));
            };
            prop_assert!(text.starts_with(&read.text));
            prop_assert!(read.text.len() <= MAX_TEXT && read.text.len() + 4 > MAX_TEXT.min(text.len()));
        }
    }
}
