//! WebSocket (RFC 6455), as much of it as is spoken here: the handshake's proof, frames both ways,
//! and what the messages mean.
//!
//! ```text
//! server -> viewer   binary: channel u16, then a PAYLOAD body (see the payload module)
//! both ways          text: JSON, see the text module; ping, pong, close
//! ```
//!
//! A message is one frame. Fragments, extensions and text above its bound are refused; so is a frame
//! whose length is written with more bytes than it needs. A viewer masks what it sends, a server does
//! not, so payloads leave as shared bytes behind a head of at most ten.

pub mod text;

use bytes::{Buf, BufMut, Bytes, BytesMut};

use super::base64::base64;
use super::tcp::Sender;
use super::{Cursor, DecodeError, Fault, MAX_PAYLOAD, payload};
use crate::frame::Frame;

/// Longest text a viewer may send, in bytes.
pub const MAX_VIEWER_TEXT: usize = 4 << 10;
/// Longest text a server may send: a list of channels may be long.
pub const MAX_SERVER_TEXT: usize = 256 << 10;
/// Longest body of a ping, a pong and a close, RFC 6455, section 5.5.
pub const MAX_CONTROL: usize = 125;
/// Bytes of the longest head: two, eight of length. A viewer's has four more for its mask.
pub const MAX_HEAD: usize = 10;
/// Bytes of the channel's number before a PAYLOAD body.
pub const CHANNEL_BYTES: usize = 2;
/// The version of the protocol that a handshake has to name.
pub const VERSION: &str = "13";

/// Appended to the key before it is hashed, RFC 6455, section 1.3.
const GUID: &[u8] = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11";
const FIN: u8 = 0x80;
const RESERVED: u8 = 0x70;
const MASKED: u8 = 0x80;

/// What answers the key of a handshake (`Sec-WebSocket-Accept`).
#[must_use]
pub fn accept(key: &str) -> String {
    let mut hash = sha1_smol::Sha1::new();
    hash.update(key.as_bytes());
    hash.update(GUID);
    base64(&hash.digest().bytes())
}

/// What a frame is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
enum Opcode {
    Text = 1,
    Binary = 2,
    Close = 8,
    Ping = 9,
    Pong = 10,
}

/// Why a connection is closed, RFC 6455, section 7.4.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CloseCode {
    /// All was said.
    Normal,
    /// The server ends.
    GoingAway,
    /// What came cannot be understood.
    Protocol,
    /// What came is understood and not wanted.
    Policy,
    /// No room now; come back later.
    TryAgain,
    /// Any other number.
    Other(u16),
}

impl CloseCode {
    const NAMED: [(Self, u16); 5] = [
        (Self::Normal, 1000),
        (Self::GoingAway, 1001),
        (Self::Protocol, 1002),
        (Self::Policy, 1008),
        (Self::TryAgain, 1013),
    ];

    /// The code that is written as this number.
    fn from_number(number: u16) -> Option<Self> {
        // The rest must not be sent, or belongs to nobody yet.
        if !matches!(number, 1000..=1003 | 1007..=1014 | 3000..=4999) {
            return None;
        }
        let named = Self::NAMED.into_iter().find(|(_, known)| *known == number);
        Some(named.map_or(Self::Other(number), |(code, _)| code))
    }

    fn number(self) -> u16 {
        match self {
            Self::Other(number) => number,
            code => {
                let named = Self::NAMED.into_iter().find(|(known, _)| *known == code);
                named.expect("all but Other are in the table").1
            }
        }
    }
}

/// One message, which is one frame.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Message {
    /// JSON, see [`text`].
    Text(String),
    /// A payload with its channel, see [`decode_payload`]; only a server sends it.
    Binary(Bytes),
    /// To be answered with the same bytes.
    Ping(Bytes),
    /// The answer.
    Pong(Bytes),
    /// The last message of either side, with the reason if there is one.
    Close(Option<(CloseCode, String)>),
}

impl Message {
    /// The message as a server sends it.
    ///
    /// # Panics
    /// If a control message is longer than [`MAX_CONTROL`].
    #[must_use]
    pub fn encode(&self) -> Bytes {
        let (opcode, body) = self.parts();
        let mut out = BytesMut::with_capacity(MAX_HEAD + body.len());
        put_head(&mut out, opcode, body.len(), 0);
        out.put_slice(&body);
        out.freeze()
    }

    /// The message as a viewer sends it, hidden behind `mask`, which nobody must be able to foretell
    /// where a script decides what is sent.
    ///
    /// # Panics
    /// If a control message is longer than [`MAX_CONTROL`].
    #[must_use]
    pub fn encode_masked(&self, mask: [u8; 4]) -> Bytes {
        let (opcode, body) = self.parts();
        let mut out = BytesMut::with_capacity(MAX_HEAD + mask.len() + body.len());
        put_head(&mut out, opcode, body.len(), MASKED);
        out.put_slice(&mask);
        let start = out.len();
        out.put_slice(&body);
        apply(mask, &mut out[start..]);
        out.freeze()
    }

    fn parts(&self) -> (Opcode, Bytes) {
        let (opcode, body) = match self {
            Self::Text(text) => (Opcode::Text, Bytes::copy_from_slice(text.as_bytes())),
            Self::Binary(body) => (Opcode::Binary, body.clone()),
            Self::Ping(body) => (Opcode::Ping, body.clone()),
            Self::Pong(body) => (Opcode::Pong, body.clone()),
            Self::Close(None) => (Opcode::Close, Bytes::new()),
            Self::Close(Some((code, text))) => {
                let mut body = code.number().to_be_bytes().to_vec();
                body.extend_from_slice(text.as_bytes());
                (Opcode::Close, body.into())
            }
        };
        assert!(
            matches!(opcode, Opcode::Text | Opcode::Binary) || body.len() <= MAX_CONTROL,
            "a control message above its bound"
        );
        (opcode, body)
    }

    /// Takes the message at the front of `buffer`, which `sender` sent.
    ///
    /// # Errors
    /// `Incomplete` until the whole message is there; then the buffer is left alone. `Invalid` if it
    /// can never become a message that this side sends.
    pub fn decode(buffer: &mut BytesMut, sender: Sender) -> Result<Self, DecodeError> {
        let mut cursor = Cursor::new(buffer);
        let head = Head::read(&mut cursor, sender)?;
        let start = cursor.at();
        cursor.take(head.length)?;
        buffer.advance(start);
        let mut body = buffer.split_to(head.length);
        if let Some(mask) = head.mask {
            apply(mask, &mut body);
        }
        let body = body.freeze();
        let message = Self::from_body(head.opcode, body);
        message.map_err(|error| error.shifted(start))
    }

    fn from_body(opcode: Opcode, body: Bytes) -> Result<Self, DecodeError> {
        Ok(match opcode {
            Opcode::Text => Self::Text(utf8(&body)?),
            Opcode::Binary => Self::Binary(body),
            Opcode::Ping => Self::Ping(body),
            Opcode::Pong => Self::Pong(body),
            Opcode::Close => match &body[..] {
                [] => Self::Close(None),
                [_] => {
                    let (found, expected) = (1, 2);
                    let fault = Fault::Length { found, expected };
                    return Err(DecodeError::invalid(0, fault));
                }
                [high, low, text @ ..] => {
                    let number = u16::from_be_bytes([*high, *low]);
                    let code = CloseCode::from_number(number)
                        .ok_or_else(|| DecodeError::invalid(0, Fault::Close(number)))?;
                    let text = utf8(text).map_err(|error| error.shifted(2))?;
                    Self::Close(Some((code, text)))
                }
            },
        })
    }
}

/// A payload as pieces to be written one after the other: head, channel, and what
/// [`payload::encode`] makes. The pictures are shared.
///
/// # Panics
/// As [`payload::encode`].
#[must_use]
pub fn encode_payload(channel: u16, frames: &[Frame]) -> Vec<Bytes> {
    let mut prefix = Vec::with_capacity(MAX_HEAD + CHANNEL_BYTES);
    let length = CHANNEL_BYTES + payload::encoded_len(frames);
    put_head(&mut prefix, Opcode::Binary, length, 0);
    prefix.put_u16(channel);
    payload::encode(&prefix, frames)
}

/// The channel and the frames of a binary message, whose bytes they share.
///
/// # Errors
/// As [`payload::decode`].
pub fn decode_payload(body: &Bytes) -> Result<(u16, Vec<Frame>), DecodeError> {
    let channel = Cursor::new(body).u16()?;
    let frames = payload::decode(&body.slice(CHANNEL_BYTES..));
    let frames = frames.map_err(|error| error.shifted(CHANNEL_BYTES))?;
    Ok((channel, frames))
}

/// What stands before a body.
#[derive(Debug)]
struct Head {
    opcode: Opcode,
    mask: Option<[u8; 4]>,
    length: usize,
}

impl Head {
    fn read(cursor: &mut Cursor<'_>, sender: Sender) -> Result<Self, DecodeError> {
        let first = cursor.u8()?;
        if first & RESERVED != 0 {
            let fault = Fault::Reserved(u64::from(first & RESERVED) >> 4);
            return Err(DecodeError::invalid(0, fault));
        }
        let (opcode, limit) = match (first & 0x0f, sender) {
            (1, Sender::Viewer) => (Opcode::Text, MAX_VIEWER_TEXT),
            (1, Sender::Server) => (Opcode::Text, MAX_SERVER_TEXT),
            (2, Sender::Server) => (Opcode::Binary, CHANNEL_BYTES + MAX_PAYLOAD),
            (8, _) => (Opcode::Close, MAX_CONTROL),
            (9, _) => (Opcode::Ping, MAX_CONTROL),
            (10, _) => (Opcode::Pong, MAX_CONTROL),
            (0, _) => return Err(DecodeError::invalid(0, Fault::Fragment)),
            (other, _) => return Err(DecodeError::invalid(0, Fault::Type(other))),
        };
        if first & FIN == 0 {
            return Err(DecodeError::invalid(0, Fault::Fragment));
        }
        let second = cursor.u8()?;
        let is_masked = second & MASKED != 0;
        if is_masked != (sender == Sender::Viewer) {
            return Err(DecodeError::invalid(1, Fault::Mask));
        }
        let length = read_length(second & !MASKED, cursor, limit)?;
        let mask = is_masked.then(|| cursor.array()).transpose();
        // Asks for the body too: what is read in one go is decoded in one go.
        let mask = mask.map_err(|error| match error {
            DecodeError::Incomplete { needed } => DecodeError::incomplete(needed + length),
            invalid @ DecodeError::Invalid { .. } => invalid,
        })?;
        Ok(Self {
            opcode,
            mask,
            length,
        })
    }
}

fn read_length(short: u8, cursor: &mut Cursor<'_>, limit: usize) -> Result<usize, DecodeError> {
    let (announced, least) = match short {
        126 => (u64::from(cursor.u16()?), 126),
        127 => (cursor.u64()?, 1 << 16),
        short => (short.into(), 0),
    };
    if announced < least {
        return Err(DecodeError::invalid(1, Fault::Padded(announced)));
    }
    match usize::try_from(announced) {
        Ok(length) if length <= limit => Ok(length),
        _ => Err(DecodeError::invalid(1, Fault::TooLong { announced, limit })),
    }
}

fn put_head(out: &mut impl BufMut, opcode: Opcode, length: usize, masked: u8) {
    out.put_u8(FIN | opcode as u8);
    match (u8::try_from(length), u16::try_from(length)) {
        (Ok(short @ ..126), _) => out.put_u8(masked | short),
        (_, Ok(medium)) => {
            out.put_u8(masked | 126);
            out.put_u16(medium);
        }
        _ => {
            out.put_u8(masked | 127);
            out.put_u64(length as u64);
        }
    }
}

/// Hides or shows a body: the same either way.
fn apply(mask: [u8; 4], body: &mut [u8]) {
    for (byte, mask) in body.iter_mut().zip(mask.iter().cycle()) {
        *byte ^= mask;
    }
}

fn utf8(bytes: &[u8]) -> Result<String, DecodeError> {
    let text = std::str::from_utf8(bytes);
    let text = text.map_err(|error| DecodeError::invalid(error.valid_up_to(), Fault::Text))?;
    Ok(text.to_owned())
}

#[cfg(test)]
mod tests {
    use super::super::payload::tests::{frame, joined};
    use super::*;
    use proptest::prelude::*;

    const MASK: [u8; 4] = [0x37, 0xfa, 0x21, 0x3d];

    fn decode(bytes: &[u8], sender: Sender) -> Result<Message, DecodeError> {
        let mut buffer = BytesMut::from(bytes);
        let message = Message::decode(&mut buffer, sender)?;
        assert!(buffer.is_empty());
        Ok(message)
    }

    fn text(text: &str) -> Message {
        Message::Text(text.to_owned())
    }

    #[test]
    fn the_handshake_of_rfc_6455() {
        assert_eq!(
            accept("dGhlIHNhbXBsZSBub25jZQ=="),
            "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="
        );
    }

    #[test]
    fn the_examples_of_rfc_6455() {
        let plain = [0x81, 0x05, 0x48, 0x65, 0x6c, 0x6c, 0x6f];
        let masked = [
            0x81, 0x85, 0x37, 0xfa, 0x21, 0x3d, 0x7f, 0x9f, 0x4d, 0x51, 0x58,
        ];
        assert_eq!(text("Hello").encode()[..], plain);
        assert_eq!(text("Hello").encode_masked(MASK)[..], masked);
        assert_eq!(decode(&plain, Sender::Server), Ok(text("Hello")));
        assert_eq!(decode(&masked, Sender::Viewer), Ok(text("Hello")));
        let ping = Message::Ping(Bytes::from_static(b"Hello"));
        assert_eq!(ping.encode()[..2], [0x89, 0x05]);
        let binary = |length: usize| Message::Binary(vec![0; length].into()).encode();
        assert_eq!(binary(256)[..4], [0x82, 0x7e, 0x01, 0x00]);
        assert_eq!(binary(65_536)[..10], [0x82, 0x7f, 0, 0, 0, 0, 0, 1, 0, 0]);
    }

    #[test]
    fn golden_bytes_of_a_payload() {
        let message = joined(&encode_payload(3, &[frame(7, b"data")]));
        let golden = [
            0x82, 48, // binary, bytes that follow
            0, 3, // channel
            0, 1, // count
            1, 2, 3, 4, 5, 6, 7, 8, // epoch
            0, 0, 0, 0, 0, 0, 0, 7, // seq
            0x11, 0x12, 0x13, 0x14, 0x15, 0x16, 0x17, 0x18, // captured_at
            0, 0, 0, 4, // length
            0xae, 0xd8, 0x7d, 0xd1, // crc32c
            2, 0x80, 1, 0xe0, // width, height
            1, 1, 2, 0, // format, flags, hops, zero
            b'd', b'a', b't', b'a',
        ];
        assert_eq!(message[..], golden);
        let Ok(Message::Binary(body)) = decode(&message, Sender::Server) else {
            panic!("not binary");
        };
        assert_eq!(decode_payload(&body), Ok((3, vec![frame(7, b"data")])));
    }

    #[test]
    fn heads_have_at_most_ten_bytes_and_pictures_are_shared() {
        for length in [1, 100, 126, 1_000, 65_535, 65_536, 1 << 20] {
            let data = vec![7; length].leak();
            let sent = frame(1, data);
            let pieces = encode_payload(0, std::slice::from_ref(&sent));
            let own = CHANNEL_BYTES + payload::COUNT_BYTES + payload::HEAD_BYTES;
            assert!(pieces[0].len() <= MAX_HEAD + own);
            assert_eq!(pieces[1].as_ptr(), sent.data().as_ptr());
            let Ok(Message::Binary(body)) = decode(&joined(&pieces), Sender::Server) else {
                panic!("not binary: {length}");
            };
            assert_eq!(decode_payload(&body), Ok((0, vec![sent])));
        }
    }

    #[test]
    fn what_must_not_be_sent_is_refused_with_its_place_as_soon_as_it_shows() {
        let refused = |bytes: &[u8], sender| decode(bytes, sender).unwrap_err().to_string();
        let viewer = |bytes: &[u8]| refused(bytes, Sender::Viewer);
        assert!(viewer(&[0x01]).contains("byte 0: a message in fragments"));
        assert!(viewer(&[0x80]).contains("byte 0: a message in fragments"));
        assert!(viewer(&[0x09]).contains("byte 0: a message in fragments"));
        assert!(viewer(&[0xc1]).contains("byte 0: a reserved field is 4"));
        assert!(viewer(&[0x82]).contains("message type 2"));
        assert!(viewer(&[0x83]).contains("message type 3"));
        assert!(viewer(&[0x81, 0x05]).contains("byte 1: masked by the wrong side"));
        assert!(viewer(&[0x89, 0xfe, 0, 126]).contains("at most 125"));
        assert!(viewer(&[0x81, 0xfe, 0x10, 0x01]).contains("4097 bytes announced, at most 4096"));
        assert!(viewer(&[0x81, 0xfe, 0, 125]).contains("a length of 125 written with more"));
        assert!(viewer(&[0x81, 0xff, 0, 0, 0, 0, 0, 0, 0xff, 0xff]).contains("65535 written"));
        assert!(viewer(&[0x81, 0x81, 0, 0, 0, 0, 0xff]).contains("byte 6: text that is not UTF-8"));
        assert!(viewer(&[0x88, 0x81, 0, 0, 0, 0, 3]).contains("byte 6: 1 bytes where 2 belong"));
        assert!(viewer(&[0x88, 0x82, 0, 0, 0, 0, 3, 0xed]).contains("1005 is no reason"));
        let server = |bytes: &[u8]| refused(bytes, Sender::Server);
        assert!(server(&[0x81, 0x85]).contains("byte 1: masked by the wrong side"));
        assert!(server(&[0x82, 127, 0, 0, 0, 0, 4, 0, 0, 3]).contains("at most 67108866"));
    }

    #[test]
    fn only_what_is_missing_of_this_message_is_asked_for() {
        let whole = text(&"x".repeat(300)).encode_masked(MASK);
        for cut in 0..whole.len() {
            let mut buffer = BytesMut::from(&whole[..cut]);
            let Err(DecodeError::Incomplete { needed }) =
                Message::decode(&mut buffer, Sender::Viewer)
            else {
                panic!("cut at {cut}");
            };
            assert_eq!(buffer.len(), cut);
            assert!(needed >= 1 && cut + needed <= whole.len(), "cut at {cut}");
            assert!(cut < 4 || cut + needed == whole.len(), "cut at {cut}");
        }
    }

    fn any_message() -> impl Strategy<Value = Message> {
        let control = || proptest::collection::vec(any::<u8>(), 0..=MAX_CONTROL);
        let code = prop_oneof![1000..=1003_u16, 1007..=1014_u16, 3000..=4999_u16];
        prop_oneof![
            ".{0,200}".prop_map(Message::Text),
            control().prop_map(|body| Message::Ping(body.into())),
            control().prop_map(|body| Message::Pong(body.into())),
            Just(Message::Close(None)),
            (code, "[a-z ]{0,123}").prop_map(|(code, text)| {
                Message::Close(Some((CloseCode::from_number(code).unwrap(), text)))
            }),
        ]
    }

    proptest! {
        #[test]
        fn what_was_sent_arrives(messages in proptest::collection::vec(any_message(), 1..6), mask in any::<[u8; 4]>()) {
            let mut buffer = BytesMut::new();
            for message in &messages {
                buffer.extend_from_slice(&message.encode_masked(mask));
            }
            for message in &messages {
                prop_assert_eq!(&Message::decode(&mut buffer, Sender::Viewer).unwrap(), message);
                prop_assert_eq!(&decode(&message.encode(), Sender::Server).unwrap(), message);
            }
            prop_assert!(buffer.is_empty());
        }

        #[test]
        fn any_bytes_give_a_message_or_a_reason(bytes in proptest::collection::vec(any::<u8>(), 0..40)) {
            for sender in [Sender::Viewer, Sender::Server] {
                let mut buffer = BytesMut::from(&bytes[..]);
                while Message::decode(&mut buffer, sender).is_ok() {}
            }
        }
    }
}
