//! `Transfer-Encoding: chunked` (RFC 9112, section 7.1), undone as bytes arrive.
//!
//! Data is handed on at once, so a chunk may be of any length; only its size line is bounded.
//! Extensions and trailers are passed over.

use bytes::{Buf, BytesMut};

/// Longest size line with its extensions, and longest trailer line.
const MAX_LINE: usize = 256;

/// Why this is not chunked coding.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// A chunk whose size is no hexadecimal number of 64 bits.
    #[error("chunk size {0:?} is not a number")]
    Size(String),
    /// A line above its bound.
    #[error("a line of more than {MAX_LINE} bytes between chunks")]
    Line,
    /// More data than the chunk announced.
    #[error("a chunk is not followed by a line end")]
    End,
}

/// Takes chunks apart.
#[derive(Debug, Default)]
pub struct Decoder {
    state: State,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
enum State {
    #[default]
    Size,
    Data {
        left: u64,
    },
    DataEnd,
    Ended,
}

impl Decoder {
    /// Moves all data in `input` behind what is in `output`; what is left in `input` is the
    /// beginning of something that needs more bytes.
    ///
    /// # Errors
    /// What can never become chunks; the data before it is in `output`.
    pub fn decode(&mut self, input: &mut BytesMut, output: &mut BytesMut) -> Result<(), Error> {
        while !input.is_empty() {
            match self.state {
                State::Size => {
                    let Some(line) = take_line(input)? else { break };
                    self.state = match parse_size(&line)? {
                        0 => State::Ended,
                        left => State::Data { left },
                    };
                }
                State::Data { left } => self.state = move_data(left, input, output),
                State::DataEnd => {
                    let Some(line) = take_line(input)? else { break };
                    if !line.is_empty() {
                        return Err(Error::End);
                    }
                    self.state = State::Size;
                }
                // Trailers tell nothing about pictures.
                State::Ended => input.clear(),
            }
        }
        Ok(())
    }

    /// Whether the last chunk was seen.
    #[must_use]
    pub fn is_ended(&self) -> bool {
        self.state == State::Ended
    }
}

fn move_data(left: u64, input: &mut BytesMut, output: &mut BytesMut) -> State {
    let count = usize::try_from(left).map_or(input.len(), |left| left.min(input.len()));
    output.extend_from_slice(&input[..count]);
    input.advance(count);
    match left - count as u64 {
        0 => State::DataEnd,
        left => State::Data { left },
    }
}

/// The next line without its end, `None` if that has not arrived yet.
fn take_line(input: &mut BytesMut) -> Result<Option<BytesMut>, Error> {
    let window = &input[..input.len().min(MAX_LINE)];
    let Some(end) = window.iter().position(|&byte| byte == b'\n') else {
        return if input.len() < MAX_LINE {
            Ok(None)
        } else {
            Err(Error::Line)
        };
    };
    let mut line = input.split_to(end + 1);
    line.truncate(end);
    if line.last() == Some(&b'\r') {
        line.truncate(end - 1);
    }
    Ok(Some(line))
}

fn parse_size(line: &[u8]) -> Result<u64, Error> {
    let text = String::from_utf8_lossy(line);
    let digits = text.split(';').next().unwrap_or_default().trim();
    let is_hex = digits.bytes().all(|byte| byte.is_ascii_hexdigit());
    u64::from_str_radix(digits, 16)
        .ok()
        .filter(|_| is_hex)
        .ok_or_else(|| Error::Size(digits.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn decoded(stream: &[u8], step: usize) -> Result<(Vec<u8>, bool), Error> {
        let mut decoder = Decoder::default();
        let (mut input, mut output) = (BytesMut::new(), BytesMut::new());
        for piece in stream.chunks(step) {
            input.extend_from_slice(piece);
            decoder.decode(&mut input, &mut output)?;
        }
        Ok((output.to_vec(), decoder.is_ended()))
    }

    #[test]
    fn chunks_are_joined_at_every_cut() {
        let stream = b"4\r\nWiki\r\n6;name=value\r\npedia \r\n0A\nin chunks.\n0\r\nX: y\r\n\r\n";
        for step in 1..stream.len() {
            let expected = (b"Wikipedia in chunks.".to_vec(), true);
            assert_eq!(decoded(stream, step), Ok(expected), "in steps of {step}");
        }
    }

    #[test]
    fn a_chunk_may_announce_anything_and_gets_only_what_it_brings() {
        assert_eq!(
            decoded(b"ffffffffffffffff\r\nab", 3),
            Ok((b"ab".to_vec(), false))
        );
    }

    #[test]
    fn what_is_not_chunked_is_refused() {
        let refused = |stream: &[u8]| decoded(stream, 5).unwrap_err();
        assert_eq!(
            refused(b"--boundary\r\n"),
            Error::Size("--boundary".to_owned())
        );
        assert_eq!(refused(b"+4\r\nWiki\r\n"), Error::Size("+4".to_owned()));
        assert_eq!(refused(b"\r\n"), Error::Size(String::new()));
        assert_eq!(
            refused(b"10000000000000000\r\n"),
            Error::Size("1".to_owned() + &"0".repeat(16))
        );
        assert_eq!(refused(b"2\r\nlonger\r\n"), Error::End);
        assert_eq!(refused(&[b'1'; 300]), Error::Line);
    }
}
