//! The broadcaster's door over HTTP: request head, route, query, short answers. Bit 0 of `control`:
//! the channel carries opaque frames.
//!
//! Must hold: the first word on a head that arrives in pieces is the word on the whole; only what
//! asks for a stream gets one; an answer is well-formed HTTP and as long as it says.
#![no_main]

use std::sync::{Arc, LazyLock};
use std::time::Duration;

use broadcaster::channel::{Channel, Channels};
use broadcaster::egress::accept::request::{Reply, Request, Route};
use common::wire::MAX_HEAD;
use common::{Format, ring};
use common_fuzz::Stream;
use libfuzzer_sys::fuzz_target;

const MAX_AGE: Duration = Duration::from_millis(250);

static PICTURES: LazyLock<Channels> = LazyLock::new(|| channels(Format::Jpeg));
static OPAQUE: LazyLock<Channels> = LazyLock::new(|| channels(Format::Opaque));

fuzz_target!(|input: &[u8]| {
    let Some(mut stream) = Stream::new(input) else {
        return;
    };
    stream.bytes.truncate(MAX_HEAD);
    let whole = Request::parse(&stream.bytes);
    let mut head = Vec::new();
    let first = stream.pieces().find_map(|piece| {
        head.extend_from_slice(piece);
        Request::parse(&head).transpose()
    });
    assert_eq!(whole.clone().transpose(), first, "the cuts matter");
    match whole {
        Ok(Some(request)) => check_route(&request, &stream),
        Ok(None) => {}
        Err(reply) => check_reply(&reply),
    }
});

fn channels(format: Format) -> Channels {
    let channel = Channel::new("main", 1, ring::new(2).1);
    Channels::new(vec![Arc::new(Channel { format, ..channel })])
}

fn check_route(request: &Request, stream: &Stream) {
    let channels = if stream.control & 1 == 0 {
        &*PICTURES
    } else {
        &*OPAQUE
    };
    let is_asked_for = stream
        .bytes
        .windows(17)
        .any(|window| window == b"/live/main.mjpeg?" || window == b"/live/main.mjpeg ");
    match request.route(channels, MAX_AGE) {
        Ok(Route::Pages) => {}
        Ok(Route::Stream { .. } | Route::StreamHead) => {
            assert!(is_asked_for && channels[0].format == Format::Jpeg);
        }
        Ok(Route::Socket { channel }) => {
            let is_socket = |path: &[u8]| stream.bytes.windows(path.len()).any(|at| at == path);
            match channel {
                None => assert!(is_socket(b"/live.ws")),
                Some(_) => {
                    assert!(is_socket(b"/live/main.ws") && channels[0].format == Format::Jpeg)
                }
            }
        }
        Err(reply) => check_reply(&reply),
    }
}

fn check_reply(reply: &Reply) {
    let bytes = reply.encode();
    let mut headers = [httparse::EMPTY_HEADER; 16];
    let mut response = httparse::Response::new(&mut headers);
    let Ok(httparse::Status::Complete(length)) = response.parse(&bytes) else {
        panic!("no response head: {reply:?}");
    };
    assert!(response.code.is_some_and(|code| (400..600).contains(&code)));
    assert!(response.reason.is_some_and(|reason| !reason.is_empty()));
    let announced = response
        .headers
        .iter()
        .find(|header| header.name == "Content-Length");
    let body = (reply.text.len() + 1).to_string();
    assert_eq!(announced.map(|header| header.value), Some(body.as_bytes()));
    let expected = if reply.has_body {
        reply.text.len() + 1
    } else {
        0
    };
    assert_eq!(bytes.len() - length, expected);
    assert!(bytes.ends_with(b"\n") && std::str::from_utf8(&bytes).is_ok());
}
