//! The whole way of an HTTP answer through the receiver: head, chunked coding, parts, pictures.
//!
//! Must hold: however the answer is cut, the same head, parts and pictures come out and it ends
//! alike; the head's end is where the body begins.
#![no_main]

use bytes::BytesMut;
use common::jpeg::{self, Picture};
use common::wire::mjpeg::{Parser, Part};
use common::wire::{DecodeError, MAX_HEAD};
use common_fuzz::Stream;
use libfuzzer_sys::fuzz_target;
use receiver::ingress::Error;
use receiver::ingress::http::chunked::Decoder;
use receiver::ingress::http::head::{Coding, Response};

fuzz_target!(|input: &[u8]| {
    let Some(stream) = Stream::new(input) else {
        return;
    };
    let mut pieces = Reader::default();
    for piece in stream.pieces() {
        pieces.feed(piece);
    }
    let mut whole = Reader::default();
    whole.feed(&stream.bytes);
    assert_eq!(whole.seen, pieces.seen, "the cuts matter");
});

/// All that can be seen of an answer from outside.
#[derive(Debug, Default, PartialEq, Eq)]
struct Seen {
    response: Option<Response>,
    parts: Vec<(Part, Option<Picture>)>,
    is_over: bool,
}

#[derive(Debug, Default)]
struct Reader {
    seen: Seen,
    raw: BytesMut,
    decoded: BytesMut,
    decoder: Decoder,
    parser: Option<Parser>,
}

impl Reader {
    fn feed(&mut self, piece: &[u8]) {
        self.raw.extend_from_slice(piece);
        if self.seen.response.is_none() && !self.seen.is_over {
            self.take_head();
        }
        if !self.seen.is_over && self.parser.is_some() {
            self.take_body();
        }
    }

    fn take_head(&mut self) {
        let before = self.raw.clone();
        match Response::take(&mut self.raw) {
            Ok(response) => {
                let (head, body) = before.split_at(before.len() - self.raw.len());
                assert!(head.len() <= MAX_HEAD && head.ends_with(b"\n"));
                assert_eq!(body, self.raw);
                self.parser = Parser::new(&response.content_type);
                self.seen.is_over = self.parser.is_none();
                self.seen.response = Some(response);
            }
            Err(Error::Wire(DecodeError::Incomplete { needed })) => {
                assert!(needed >= 1 && self.raw.len() < MAX_HEAD);
                assert_eq!(before, self.raw, "bytes taken without a head");
            }
            Err(_) => self.seen.is_over = true,
        }
    }

    fn take_body(&mut self) {
        let coding = self.seen.response.as_ref().map(|response| response.coding);
        let mut is_broken = false;
        let body = if coding == Some(Coding::Chunked) {
            let outcome = self.decoder.decode(&mut self.raw, &mut self.decoded);
            is_broken = outcome.is_err();
            &mut self.decoded
        } else {
            &mut self.raw
        };
        let Some(parser) = &mut self.parser else {
            return;
        };
        loop {
            match parser.decode(body) {
                Ok(Some(part)) => {
                    let picture = jpeg::scan(&part.data).ok();
                    self.seen.parts.push((part, picture));
                }
                Err(DecodeError::Incomplete { .. }) if !is_broken => return,
                _ => break,
            }
        }
        self.seen.is_over = true;
    }
}
