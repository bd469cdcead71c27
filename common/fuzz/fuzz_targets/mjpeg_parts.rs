//! The multipart reader. The stream's first line is the content type.
//!
//! Must hold: however the stream is cut, the same parts come out and it ends alike; a part is as
//! long as it says, or as the boundary says; what waits in the buffer stays within the bounds on
//! parts and heads.
#![no_main]

use bytes::BytesMut;
use common::Frame;
use common::wire::mjpeg::{Parser, Part};
use common::wire::{DecodeError, MAX_HEAD};
use common_fuzz::Stream;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: &[u8]| {
    let Some(mut stream) = Stream::new(input) else {
        return;
    };
    let Some(end) = stream.bytes.iter().position(|&byte| byte == b'\n') else {
        return;
    };
    let line: Vec<_> = stream.bytes.drain(..=end).collect();
    let Ok(content_type) = std::str::from_utf8(&line[..end]) else {
        return;
    };
    let pieces = read(content_type, stream.pieces());
    let whole = read(content_type, std::iter::once(&stream.bytes[..]));
    assert_eq!(whole, pieces, "the cuts matter");
});

#[derive(Debug, PartialEq, Eq)]
enum End {
    Incomplete,
    Invalid,
    Closed,
}

fn read<'a>(
    content_type: &str,
    pieces: impl Iterator<Item = &'a [u8]>,
) -> Option<(Vec<Part>, End)> {
    let mut parser = Parser::new(content_type)?;
    let (mut buffer, mut parts) = (BytesMut::new(), Vec::new());
    for piece in pieces {
        buffer.extend_from_slice(piece);
        loop {
            match parser.decode(&mut buffer) {
                Ok(Some(part)) => {
                    check(&part);
                    parts.push(part);
                }
                Ok(None) => {
                    assert_eq!(
                        parser.decode(&mut buffer),
                        Ok(None),
                        "went on after the end"
                    );
                    return Some((parts, End::Closed));
                }
                Err(DecodeError::Incomplete { needed }) => {
                    assert!((1..=Frame::MAX_BYTES).contains(&needed));
                    assert!(buffer.len() <= Frame::MAX_BYTES + MAX_HEAD + piece.len());
                    break;
                }
                Err(DecodeError::Invalid { .. }) => return Some((parts, End::Invalid)),
            }
        }
    }
    Some((parts, End::Incomplete))
}

fn check(part: &Part) {
    assert!(part.data.len() <= Frame::MAX_BYTES);
    if let Some(length) = part.head.content_length {
        assert_eq!(part.data.len(), length);
    }
}
