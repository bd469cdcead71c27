//! The native protocol, from either side. Bit 0 of `control`: the server sends; bit 1: checksums
//! stay as they are.
//!
//! Must hold: however the stream is cut, the same messages come out and then the same error; a
//! message encodes to the very bytes it was read from; `Incomplete` leaves the buffer alone and asks
//! for no byte behind the message; with exactly what it asks for, decoding gets further.
#![no_main]

use bytes::BytesMut;
use common::DecodeError;
use common::wire::tcp::{self, Message, Sender};
use common_fuzz::Stream;
use libfuzzer_sys::fuzz_target;

/// A head is read in three steps, the body in one, and then there is a message or an error.
const MAX_STEPS: usize = 4;

fuzz_target!(|input: &[u8]| {
    let Some(mut stream) = Stream::new(input) else {
        return;
    };
    let sender = if stream.control & 1 == 0 {
        Sender::Viewer
    } else {
        Sender::Server
    };
    if stream.control & 2 == 0 {
        common_fuzz::mend_messages(&mut stream.bytes);
    }
    let whole = at_once(&stream.bytes, sender);
    assert_eq!(whole, in_pieces(&stream, sender), "the cuts matter");
    as_asked_for(&stream.bytes, sender);
});

/// What was read, and why it ended.
type Outcome = (Vec<Message>, DecodeError);

fn at_once(stream: &[u8], sender: Sender) -> Outcome {
    let mut buffer = BytesMut::from(stream);
    let mut messages = Vec::new();
    loop {
        let before = buffer.clone();
        match Message::decode(&mut buffer, sender) {
            Ok(message) => {
                let consumed = &before[..before.len() - buffer.len()];
                assert_eq!(message.encode(), consumed, "not what was read: {message:?}");
                messages.push(message);
            }
            Err(error) => return (messages, error),
        }
    }
}

fn in_pieces(stream: &Stream, sender: Sender) -> Outcome {
    let mut buffer = BytesMut::new();
    let mut messages = Vec::new();
    let mut last = DecodeError::Incomplete { needed: 1 };
    for piece in stream.pieces() {
        tcp::append(&mut buffer, piece);
        last = loop {
            let before = buffer.len();
            match Message::decode(&mut buffer, sender) {
                Ok(message) => messages.push(message),
                Err(DecodeError::Incomplete { needed }) => {
                    assert_eq!(buffer.len(), before, "bytes taken without a message");
                    check_needed(&buffer, needed);
                    break DecodeError::Incomplete { needed };
                }
                Err(error) => return (messages, error),
            }
        };
    }
    (messages, last)
}

fn check_needed(buffer: &[u8], needed: usize) {
    assert!(needed >= 1);
    let wanted = buffer.len() + needed;
    match buffer.first_chunk() {
        Some(&[_, _, _, _, l3, l2, l1, l0]) => {
            let body = u32::from_be_bytes([l3, l2, l1, l0]);
            assert_eq!(wanted - tcp::HEAD_BYTES, body as usize);
        }
        None => assert!(wanted <= tcp::HEAD_BYTES),
    }
}

/// Reads as a blocking reader would that never reads more than it is asked to.
fn as_asked_for(mut stream: &[u8], sender: Sender) {
    let mut buffer = BytesMut::new();
    let mut steps = 0;
    loop {
        match Message::decode(&mut buffer, sender) {
            Ok(_) => {
                assert!(buffer.is_empty(), "more was asked for than the message has");
                steps = 0;
            }
            Err(DecodeError::Incomplete { needed }) => {
                steps += 1;
                assert!(steps <= MAX_STEPS, "no progress");
                let Some((piece, rest)) = stream.split_at_checked(needed) else {
                    return;
                };
                tcp::append(&mut buffer, piece);
                stream = rest;
            }
            Err(DecodeError::Invalid { .. }) => return,
        }
    }
}
