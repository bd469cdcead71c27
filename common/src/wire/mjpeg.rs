//! Motion JPEG over HTTP: `multipart/x-mixed-replace`, written and read.
//!
//! Written: a part is a head, the frame's own bytes, and the boundary right behind them, because
//! browsers show a part only when they see the next boundary. Each part says when it was captured
//! and which frame it is.
//!
//! Read: what cameras and servers really send, which is not always what they should: boundaries
//! announced with or without their dashes, quoted or not, parts with or without Content-Length,
//! line ends with or without a carriage return.

use std::fmt::Write as _;

use bytes::{Buf, Bytes, BytesMut};

use super::{DecodeError, Fault, MAX_HEAD};
use crate::frame::{Frame, Timestamp};

/// What separates the parts we write.
pub const BOUNDARY: &str = "framecast";
/// The content type of a stream we write.
pub const CONTENT_TYPE: &str = "multipart/x-mixed-replace; boundary=framecast";

const TAIL: &[u8] = b"\r\n--framecast\r\n";
const MAX_HEADERS: usize = 32;

/// The bytes before the first part: the first boundary.
#[must_use]
pub fn encode_start() -> Bytes {
    Bytes::from_static(b"--framecast\r\n")
}

/// The pieces of one part for each frame; all but the heads are the frames' own bytes.
#[must_use]
pub fn encode_parts(frames: &[Frame]) -> Vec<Bytes> {
    let mut pieces = Vec::with_capacity(3 * frames.len());
    for frame in frames {
        pieces.push(encode_head(frame));
        pieces.push(frame.data().clone());
        pieces.push(Bytes::from_static(TAIL));
    }
    pieces
}

fn encode_head(frame: &Frame) -> Bytes {
    let head = &frame.head;
    let mut text = String::with_capacity(192);
    write!(
        text,
        "Content-Type: image/jpeg\r\nContent-Length: {}\r\n\
         X-Timestamp: {}\r\nX-Sequence: {}\r\nX-Epoch: {}\r\n",
        frame.data().len(),
        head.captured_at.as_seconds(),
        head.identity.seq,
        head.identity.epoch,
    )
    .expect("a String takes everything");
    if head.hops > 0 {
        write!(text, "X-Hops: {}\r\n", head.hops).expect("a String takes everything");
    }
    if head.is_placeholder() {
        text.push_str("X-Placeholder: 1\r\n");
    }
    text.push_str("\r\n");
    text.into()
}

/// One part of a stream from anybody.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Part {
    /// What the part's head says.
    pub head: PartHead,
    /// The picture, as it came.
    pub data: Bytes,
}

/// What a part's head may say; most servers say little.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct PartHead {
    /// Bytes of the body, if announced.
    pub content_length: Option<usize>,
    /// `X-Timestamp`: when it was captured.
    pub captured_at: Option<Timestamp>,
    /// `X-Sequence`: which frame it is.
    pub seq: Option<u64>,
    /// `X-Epoch`: since when frames are counted.
    pub epoch: Option<u64>,
    /// `X-Hops`: relays passed so far.
    pub hops: u8,
    /// `X-Placeholder: 1`: stands in for a missing picture.
    pub placeholder: bool,
}

/// Takes parts out of a stream as its bytes arrive.
#[derive(Debug)]
pub struct Parser {
    /// What stands between parts: two dashes and the announced word.
    delimiter: Vec<u8>,
    state: State,
    /// Bytes at the front of the buffer already searched in vain.
    searched: usize,
}

#[derive(Debug, Clone, Copy)]
enum State {
    /// Looking for a boundary, and how many bytes were passed over for it.
    Between {
        passed: usize,
    },
    Head,
    Body(PartHead),
}

impl Parser {
    /// A parser for a response of this content type, `None` if it announces no boundary.
    #[must_use]
    pub fn new(content_type: &str) -> Option<Self> {
        let mut fields = content_type.split(';').map(str::trim);
        let kind = fields.next()?;
        if !kind.to_ascii_lowercase().starts_with("multipart/") {
            return None;
        }
        let announced = fields.find_map(|field| {
            let (name, value) = field.split_once('=')?;
            (name.trim().eq_ignore_ascii_case("boundary")).then(|| value.trim().trim_matches('"'))
        })?;
        // Some announce the word with the dashes they send, some without; all send at least two.
        let word = announced.trim_start_matches('-');
        (!word.is_empty()).then(|| Self {
            delimiter: [b"--", word.as_bytes()].concat(),
            state: State::Between { passed: 0 },
            searched: 0,
        })
    }

    /// Takes the next part from the front of `buffer`; `None` after the closing boundary.
    ///
    /// # Errors
    /// `Incomplete` until a whole part is there (bytes may have been consumed), `Invalid` if what
    /// comes is not a stream of parts.
    pub fn decode(&mut self, buffer: &mut BytesMut) -> Result<Option<Part>, DecodeError> {
        loop {
            match self.state {
                State::Between { passed } => {
                    if self.pass_boundary(buffer, passed)? == Boundary::Closing {
                        return Ok(None);
                    }
                    self.enter(State::Head);
                }
                State::Head => {
                    let head = self.take_head(buffer)?;
                    self.enter(State::Body(head));
                }
                State::Body(head) => {
                    let data = match head.content_length {
                        Some(length) => take_exactly(buffer, length)?,
                        None => self.take_up_to_boundary(buffer)?,
                    };
                    self.enter(State::Between { passed: 0 });
                    return Ok(Some(Part { head, data }));
                }
            }
        }
    }

    fn enter(&mut self, state: State) {
        self.state = state;
        self.searched = 0;
    }

    /// Drops everything up to and including the next boundary line.
    fn pass_boundary(
        &mut self,
        buffer: &mut BytesMut,
        passed: usize,
    ) -> Result<Boundary, DecodeError> {
        let Some(at) = memchr::memmem::find(buffer, &self.delimiter) else {
            let keep = buffer.len().min(self.delimiter.len() - 1);
            let passed = passed + buffer.len() - keep;
            buffer.advance(buffer.len() - keep);
            self.state = State::Between { passed };
            // A wrong Content-Length may leave most of a frame to be passed over.
            if passed > Frame::MAX_BYTES {
                return Err(DecodeError::invalid(passed, Fault::Boundary(passed)));
            }
            return Err(DecodeError::incomplete(1));
        };
        let behind = at + self.delimiter.len();
        let line = &buffer[behind..buffer.len().min(behind + MAX_HEAD)];
        if line.starts_with(b"--") {
            return Ok(Boundary::Closing);
        }
        match memchr::memchr(b'\n', line) {
            Some(length) => {
                buffer.advance(behind + length + 1);
                Ok(Boundary::Opening)
            }
            None if line.len() < MAX_HEAD => Err(DecodeError::incomplete(1)),
            None => Err(DecodeError::invalid(behind, Fault::Boundary(MAX_HEAD))),
        }
    }

    fn take_head(&mut self, buffer: &mut BytesMut) -> Result<PartHead, DecodeError> {
        let mut headers = [httparse::EMPTY_HEADER; MAX_HEADERS];
        let window = &buffer[..buffer.len().min(MAX_HEAD)];
        match httparse::parse_headers(window, &mut headers) {
            Ok(httparse::Status::Complete((length, headers))) => {
                let head = PartHead::from_headers(headers)?;
                buffer.advance(length);
                Ok(head)
            }
            Ok(httparse::Status::Partial) if buffer.len() < MAX_HEAD => {
                Err(DecodeError::incomplete(1))
            }
            Ok(httparse::Status::Partial) => {
                let (announced, limit) = (buffer.len() as u64, MAX_HEAD);
                Err(DecodeError::invalid(0, Fault::TooLong { announced, limit }))
            }
            Err(error) => Err(DecodeError::invalid(0, Fault::Head(error.to_string()))),
        }
    }

    fn take_up_to_boundary(&mut self, buffer: &mut BytesMut) -> Result<Bytes, DecodeError> {
        let Some(found) = memchr::memmem::find(&buffer[self.searched..], &self.delimiter) else {
            if buffer.len() > Frame::MAX_BYTES {
                let (announced, limit) = (buffer.len() as u64, Frame::MAX_BYTES);
                return Err(DecodeError::invalid(0, Fault::TooLong { announced, limit }));
            }
            self.searched = (buffer.len() + 1).saturating_sub(self.delimiter.len());
            return Err(DecodeError::incomplete(1));
        };
        let mut end = self.searched + found;
        // Whoever announced its dashes sends more of them than the delimiter has.
        while end > 0 && buffer[end - 1] == b'-' {
            end -= 1;
        }
        for line_end in [b'\n', b'\r'] {
            if end > 0 && buffer[end - 1] == line_end {
                end -= 1;
            }
        }
        if end > Frame::MAX_BYTES {
            let (announced, limit) = (end as u64, Frame::MAX_BYTES);
            return Err(DecodeError::invalid(0, Fault::TooLong { announced, limit }));
        }
        Ok(buffer.split_to(end).freeze())
    }
}

#[derive(Debug, PartialEq, Eq)]
enum Boundary {
    Opening,
    Closing,
}

impl PartHead {
    fn from_headers(headers: &[httparse::Header<'_>]) -> Result<Self, DecodeError> {
        let value = |name: &str| {
            let header = (headers.iter()).find(|header| header.name.eq_ignore_ascii_case(name));
            header.and_then(|header| std::str::from_utf8(header.value).ok().map(str::trim))
        };
        let content_length = value("Content-Length").map(parse_length).transpose()?;
        Ok(Self {
            content_length,
            captured_at: value("X-Timestamp").and_then(parse_seconds),
            seq: value("X-Sequence").and_then(parse_whole),
            epoch: value("X-Epoch").and_then(parse_whole),
            hops: value("X-Hops")
                .and_then(parse_whole)
                .map_or(0, |hops| hops.try_into().unwrap_or(u8::MAX)),
            placeholder: value("X-Placeholder") == Some("1"),
        })
    }
}

fn take_exactly(buffer: &mut BytesMut, length: usize) -> Result<Bytes, DecodeError> {
    match length.checked_sub(buffer.len()) {
        None | Some(0) => Ok(buffer.split_to(length).freeze()),
        Some(needed) => Err(DecodeError::incomplete(needed)),
    }
}

fn parse_length(text: &str) -> Result<usize, DecodeError> {
    let Some(announced) = parse_whole(text) else {
        let text = format!("Content-Length: {text:?} is no number of bytes");
        return Err(DecodeError::invalid(0, Fault::Head(text)));
    };
    let limit = Frame::MAX_BYTES;
    let length = usize::try_from(announced).ok();
    length
        .filter(|&length| length <= limit)
        .ok_or_else(|| DecodeError::invalid(0, Fault::TooLong { announced, limit }))
}

/// A number of digits and nothing else; `parse` would take a sign.
fn parse_whole(text: &str) -> Option<u64> {
    let is_plain = text.bytes().all(|byte| byte.is_ascii_digit());
    is_plain.then(|| text.parse().ok()).flatten()
}

/// `1700000000.123456` as nanoseconds, without the rounding of a float.
#[must_use]
pub fn parse_seconds(text: &str) -> Option<Timestamp> {
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    let digits = fraction.get(..fraction.len().min(9))?;
    let parsed = match digits {
        "" => 0,
        digits => parse_whole(digits)?,
    };
    let scale = 10_u64.pow(9 - u32::try_from(digits.len()).ok()?);
    let nanos = parse_whole(whole)?
        .checked_mul(1_000_000_000)?
        .checked_add(parsed * scale)?;
    Some(Timestamp::from_nanos(nanos))
}

#[cfg(test)]
mod tests {
    use super::super::payload::tests::{frame, joined};
    use super::*;
    use proptest::prelude::*;

    /// All parts of a stream that arrives in pieces of `step` bytes.
    fn parts(content_type: &str, stream: &[u8], step: usize) -> Result<Vec<Part>, DecodeError> {
        let mut parser = Parser::new(content_type).expect("a multipart type");
        let (mut buffer, mut parts) = (BytesMut::new(), Vec::new());
        for piece in stream.chunks(step) {
            buffer.extend_from_slice(piece);
            loop {
                match parser.decode(&mut buffer) {
                    Ok(Some(part)) => parts.push(part),
                    Ok(None) => return Ok(parts),
                    Err(DecodeError::Incomplete { .. }) => break,
                    Err(error) => return Err(error),
                }
            }
        }
        Ok(parts)
    }

    #[test]
    fn golden_bytes() {
        let mut placeholder = frame(7, b"jpeg");
        placeholder.head.flags = placeholder.head.flags.with(crate::Flags::PLACEHOLDER);
        placeholder.head.hops = 0;
        let parts = joined(&encode_parts(&[frame(7, b"jpeg"), placeholder]));
        let golden = "Content-Type: image/jpeg\r\nContent-Length: 4\r\n\
            X-Timestamp: 1230066625.199609\r\nX-Sequence: 7\r\nX-Epoch: 72623859790382856\r\n\
            X-Hops: 2\r\n\r\n\
            jpeg\r\n--framecast\r\n\
            Content-Type: image/jpeg\r\nContent-Length: 4\r\n\
            X-Timestamp: 1230066625.199609\r\nX-Sequence: 7\r\nX-Epoch: 72623859790382856\r\n\
            X-Placeholder: 1\r\n\r\n\
            jpeg\r\n--framecast\r\n";
        assert_eq!(std::str::from_utf8(&parts).unwrap(), golden);
    }

    #[test]
    fn what_we_write_we_read_at_every_cut() {
        let frames = [frame(7, b"one--framecast\r\n"), frame(8, b"two")];
        let stream = [encode_start(), joined(&encode_parts(&frames))].concat();
        for step in 1..stream.len() {
            let parts = parts(CONTENT_TYPE, &stream, step).unwrap();
            assert_eq!(parts.len(), 2, "in steps of {step}");
            for (part, frame) in parts.iter().zip(&frames) {
                assert_eq!(part.data, frame.data());
                assert_eq!(part.head.seq, Some(frame.head.identity.seq));
                assert_eq!(part.head.epoch, Some(frame.head.identity.epoch));
                assert_eq!(part.head.hops, frame.head.hops);
                let micros = frame.head.captured_at.as_nanos() / 1_000 * 1_000;
                assert_eq!(part.head.captured_at, Some(Timestamp::from_nanos(micros)));
            }
        }
    }

    #[test]
    fn parts_without_a_length_end_at_the_boundary() {
        for (boundary, sent, end) in [
            ("boundary=foo", "--foo", "\r\n"),
            ("boundary=\"foo\"", "--foo", "\n"),
            ("boundary=--foo", "--foo", "\r\n"),
            ("charset=x; BOUNDARY=--foo", "----foo", "\r\n"),
        ] {
            let head = format!("{sent}{end}Content-Type: image/jpeg{end}{end}");
            let stream = format!("{head}one{end}{head}two{end}{sent}--{end}");
            let content_type = format!("multipart/x-mixed-replace; {boundary}");
            for step in 1..stream.len() {
                let parts = parts(&content_type, stream.as_bytes(), step).unwrap();
                let data: Vec<_> = parts.iter().map(|part| &part.data[..]).collect();
                assert_eq!(data, [b"one", b"two"], "{boundary} in steps of {step}");
            }
        }
    }

    #[test]
    fn a_length_that_is_too_small_costs_one_part_only() {
        let stream = b"--foo\r\nContent-Length: 2\r\n\r\nlonger\r\n\
            --foo\r\nContent-Length: 3\r\n\r\ntwo\r\n--foo\r\n";
        let parts = parts("multipart/x-mixed-replace;boundary=foo", stream, 7).unwrap();
        assert_eq!(parts[0].data, "lo");
        assert_eq!(parts[1].data, "two");
    }

    #[test]
    fn what_is_no_stream_of_parts_is_refused() {
        let refused = |stream: &[u8]| {
            let result = parts("multipart/mixed;boundary=foo", stream, 64 << 10);
            result.unwrap_err().to_string()
        };
        let no_boundary = vec![b'x'; Frame::MAX_BYTES + (64 << 10)];
        assert!(refused(&no_boundary).contains("no part boundary"));
        let huge = b"--foo\r\nContent-Length: 99999999999\r\n\r\n";
        assert!(refused(huge).contains("99999999999 bytes announced"));
        for length in ["-1", "+5", "5 5", "0x5", "99999999999999999999", ""] {
            let part = format!("--foo\r\nContent-Length: {length}\r\n\r\nhello\r\n--foo\r\n");
            let text = format!("Content-Length: {length:?} is no number of bytes");
            assert!(refused(part.as_bytes()).contains(&text), "{text}");
        }
        let endless = [&b"--foo\r\nX: "[..], &vec![b'x'; 2 * MAX_HEAD]].concat();
        assert!(refused(&endless).contains("at most 8192"));
        let endless = [&b"--foo\r\n\r\n"[..], &no_boundary].concat();
        assert!(refused(&endless).contains("at most 16777216"));
        assert!(Parser::new("image/jpeg").is_none());
        assert!(Parser::new("multipart/x-mixed-replace").is_none());
        assert!(Parser::new("multipart/x-mixed-replace; boundary=--").is_none());
    }

    #[test]
    fn a_boundary_line_above_its_bound_is_refused_at_every_cut() {
        let line = [&b"--foo"[..], &[b' '; MAX_HEAD]].concat();
        let stream = [&line, &b"\r\n\r\none\r\n--foo--"[..]].concat();
        for step in [1, 100, stream.len()] {
            let error = parts("multipart/mixed;boundary=foo", &stream, step).unwrap_err();
            let text = "broken at byte 5: no part boundary within 8192 bytes";
            assert_eq!(error.to_string(), text, "in steps of {step}");
        }
    }

    #[test]
    fn seconds_are_read_exactly() {
        let nanos = |text| parse_seconds(text).map(Timestamp::as_nanos);
        assert_eq!(nanos("1700000000.123456"), Some(1_700_000_000_123_456_000));
        assert_eq!(nanos("12"), Some(12_000_000_000));
        assert_eq!(nanos("1.2345678901"), Some(1_234_567_890));
        assert_eq!(nanos("1."), Some(1_000_000_000));
        for text in ["-1", "+1", "1.x", "1.+5", "1.-5", "1. 5", ".5", ""] {
            assert_eq!(nanos(text), None, "{text:?}");
        }
    }

    #[test]
    fn numbers_with_a_sign_are_none() {
        let stream = b"--foo\r\nX-Sequence: +7\r\nX-Epoch: +1\r\n\r\none\r\n--foo--";
        let parts = parts("multipart/mixed;boundary=foo", stream, 64).unwrap();
        assert_eq!(parts[0].head, PartHead::default());
    }

    proptest! {
        #[test]
        fn noise_never_panics(
            noise in proptest::collection::vec(any::<u8>(), 0..400),
            step in 1_usize..50,
        ) {
            let stream = [&b"--foo\r\n"[..], &noise, b"\r\n--foo\r\n\r\n", &noise].concat();
            drop(parts("multipart/mixed;boundary=foo", &stream, step));
        }
    }
}
