//! WebSocket from either side. Bit 0 of `control`: the server sends.
//!
//! Must hold: however the stream is cut, the same messages come out and then the same error; a
//! message encodes to the very bytes it was read from; `Incomplete` leaves the buffer alone and asks
//! for no byte behind the message; with exactly what it asks for, decoding gets further. A text that is
//! a message is written as a text that says the same.
#![no_main]

use bytes::BytesMut;
use common::DecodeError;
use common::wire::tcp::{self, Sender};
use common::wire::ws::text::{Notice, Request};
use common::wire::ws::{self, Message};
use common_fuzz::Stream;
use libfuzzer_sys::fuzz_target;

/// Two bytes one by one, a length, a mask with the body, and then there is a message or an error.
const MAX_STEPS: usize = 5;

fuzz_target!(|input: &[u8]| {
    let Some(stream) = Stream::new(input) else {
        return;
    };
    let sender = if stream.control & 1 == 0 {
        Sender::Viewer
    } else {
        Sender::Server
    };
    let whole = at_once(&stream.bytes, sender);
    assert_eq!(whole, in_pieces(&stream, sender), "the cuts matter");
    as_asked_for(&stream.bytes, sender);
    whole.0.iter().for_each(check_meaning);
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
                let encoded = match sender {
                    Sender::Viewer => message.encode_masked(mask_of(consumed)),
                    Sender::Server => message.encode(),
                };
                assert_eq!(encoded, consumed, "not what was read: {message:?}");
                messages.push(message);
            }
            Err(error) => return (messages, error),
        }
    }
}

fn mask_of(message: &[u8]) -> [u8; 4] {
    let at = match message[1] & 0x7f {
        126 => 4,
        127 => 10,
        _ => 2,
    };
    [0, 1, 2, 3].map(|byte| message[at + byte])
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
                    assert!(needed >= 1);
                    break DecodeError::Incomplete { needed };
                }
                Err(error) => return (messages, error),
            }
        };
    }
    (messages, last)
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

fn check_meaning(message: &Message) {
    match message {
        Message::Text(text) => {
            if let Ok(request) = Request::parse(text) {
                let written = request.to_text();
                // Once more: decimals may be rounded when they are read first.
                let again = Request::parse(&written).map(|request| request.to_text());
                assert_eq!(again, Ok(written));
            }
            if let Ok(notice) = Notice::parse(text) {
                let written = notice.to_text();
                let again = Notice::parse(&written).map(|notice| notice.to_text());
                assert_eq!(again, Ok(written));
            }
        }
        Message::Binary(body) => {
            if let Ok((channel, frames)) = ws::decode_payload(body) {
                let written = ws::encode_payload(channel, &frames).concat();
                assert!(written.ends_with(body), "not what was read");
            }
        }
        Message::Ping(_) | Message::Pong(_) | Message::Close(_) => {}
    }
}
