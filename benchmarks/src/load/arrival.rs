//! Frames taken off a connection, whatever is spoken on it.

use bytes::{Buf, BytesMut};
use common::wire::mjpeg;
use common::wire::tcp::{Message, Sender};
use common::{DecodeError, Timestamp};

use super::Protocol;

/// A response head longer than this is none.
const MAX_RESPONSE_HEAD: usize = 8 << 10;
/// What `scripts/fakecam` writes behind a picture's start marker and a comment's head, before the
/// time in ns (u64) and the sequence (u32), both little endian.
const STAMP: &[u8] = b"FAKECAM-STAMP:";
const STAMP_AT: usize = 6;

/// What is expected next on a connection.
#[derive(Debug)]
pub enum Parser {
    /// Messages of the native protocol.
    Native,
    /// An HTTP response's head.
    ResponseHead,
    /// A stream of parts.
    Parts(mjpeg::Parser),
}

/// A frame that has arrived whole.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Arrived {
    /// Which frame it is, if that is said.
    pub seq: Option<u64>,
    /// When it was captured, if that is said.
    pub captured_at: Option<Timestamp>,
}

impl Parser {
    /// A parser for a connection's first byte.
    #[must_use]
    pub const fn new(protocol: Protocol) -> Self {
        match protocol {
            Protocol::Tcp => Self::Native,
            Protocol::Http => Self::ResponseHead,
        }
    }

    /// Takes what comes next off the buffer: the frames of a payload, one part, or no frame at all.
    ///
    /// # Errors
    /// `Incomplete` while it is not whole; anything else: give up.
    pub fn take(&mut self, buffer: &mut BytesMut) -> Result<Vec<Arrived>, DecodeError> {
        match self {
            Self::Native => match Message::decode(buffer, Sender::Server)? {
                Message::Payload(frames) => Ok((frames.iter().map(|frame| &frame.head))
                    .map(|head| Arrived {
                        seq: Some(head.identity.seq),
                        captured_at: Some(head.captured_at),
                    })
                    .collect()),
                _ => Ok(Vec::new()),
            },
            Self::ResponseHead => {
                *self = Self::Parts(take_response_head(buffer)?);
                Ok(Vec::new())
            }
            Self::Parts(parser) => Ok((parser.decode(buffer)?.into_iter())
                .map(|part| Arrived::of_part(&part))
                .collect()),
        }
    }
}

impl Arrived {
    /// What the picture's own stamp says counts more than what the part's head says: a head's time
    /// may be that of sending.
    fn of_part(part: &mjpeg::Part) -> Self {
        stamp_in(&part.data).unwrap_or(Self {
            seq: part.head.seq,
            captured_at: part.head.captured_at,
        })
    }
}

fn stamp_in(picture: &[u8]) -> Option<Arrived> {
    let stamp = picture.get(STAMP_AT..)?.strip_prefix(STAMP)?;
    let (nanos, rest) = stamp.split_first_chunk()?;
    Some(Arrived {
        seq: Some(u32::from_le_bytes(*rest.first_chunk()?).into()),
        captured_at: Some(Timestamp::from_nanos(u64::from_le_bytes(*nanos))),
    })
}

fn take_response_head(buffer: &mut BytesMut) -> Result<mjpeg::Parser, DecodeError> {
    let invalid = |text: &str| DecodeError::Invalid {
        at: 0,
        fault: common::wire::Fault::Head(text.to_owned()),
    };
    let mut headers = [httparse::EMPTY_HEADER; 32];
    let mut response = httparse::Response::new(&mut headers);
    match response.parse(buffer) {
        Ok(httparse::Status::Complete(length)) => {
            let is_type = |h: &&httparse::Header<'_>| h.name.eq_ignore_ascii_case("content-type");
            let content_type = response
                .headers
                .iter()
                .find(is_type)
                .map(|header| header.value);
            let content_type = content_type.and_then(|value| std::str::from_utf8(value).ok());
            let parser = content_type.and_then(mjpeg::Parser::new);
            buffer.advance(length);
            parser.ok_or_else(|| invalid("not a stream of parts"))
        }
        Ok(httparse::Status::Partial) if buffer.len() < MAX_RESPONSE_HEAD => {
            Err(DecodeError::Incomplete { needed: 1 })
        }
        _ => Err(invalid("not an HTTP response")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stamp_in_the_picture_counts_more_than_the_head() {
        let head = mjpeg::PartHead {
            seq: Some(1),
            ..Default::default()
        };
        let seq = |data: &[u8]| {
            let data = data.to_vec().into();
            Arrived::of_part(&mjpeg::Part { head, data }).seq
        };
        let stamped = [
            b"\xff\xd8\xff\xfe\x00\x1eFAKECAM-STAMP:",
            &[0; 8][..],
            &[9, 0, 0, 0],
        ];
        assert_eq!(seq(&stamped.concat()), Some(9));
        assert_eq!(seq(&stamped[..2].concat()), Some(1));
        assert_eq!(seq(b"\xff\xd8"), Some(1));
    }
}
