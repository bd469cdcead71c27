//! Hostile and clumsy peers: each gets one clear answer, and the others do not notice.

use std::io::{Read, Write};
use std::time::{Duration, Instant};

use common::wire::tcp::{GoodbyeCode, Hello, Message};

use crate::stage::{Native, Stage, patient, says};

/// The reason a peer is given when it is turned away.
fn goodbye(native: &mut Native) -> (GoodbyeCode, String) {
    loop {
        match native.next() {
            Message::Goodbye(goodbye) => return (goodbye.code, goodbye.text),
            Message::Payload(_) | Message::Welcome(_) => {}
            other => panic!("not a goodbye: {other:?}"),
        }
    }
}

/// Whether nothing but the end of the connection follows.
fn is_closed(native: &mut Native) -> bool {
    native
        .stream
        .read(&mut [0; 16])
        .is_ok_and(|count| count == 0)
}

#[test]
fn garbage_on_the_native_port_is_named_and_closed() {
    let stage = Stage::with("--source pattern");
    let mut native = Native::connect(stage.tcp);
    native.stream.write_all(b"GET / HTTP/1.1\r\n\r\n").unwrap();
    let (code, text) = goodbye(&mut native);
    assert_eq!(code, GoodbyeCode::Protocol);
    assert!(text.contains("this is the native port"), "{text}");
    assert!(is_closed(&mut native));
}

#[test]
fn four_gibibytes_announced_are_refused_at_once() {
    let stage = Stage::with("--source pattern");
    for head in [
        *b"\x01\0\0\0\xff\xff\xff\xff",
        *b"\x04\0\0\0\xff\xff\xff\xff",
    ] {
        let mut native = Native::connect(stage.tcp);
        native.stream.write_all(&head).unwrap();
        let (_, text) = goodbye(&mut native);
        assert!(text.contains("4294967295 bytes announced"), "{text}");
    }
    let mut viewer = stage.native();
    viewer
        .stream
        .write_all(b"\x04\0\0\0\xff\xff\xff\xff")
        .unwrap();
    let (_, text) = goodbye(&mut viewer);
    assert!(text.contains("4294967295 bytes announced"), "{text}");
}

#[test]
fn an_unknown_channel_and_an_unknown_version_are_named() {
    let stage = Stage::with("--source pattern --channel lab");
    let mut native = Native::connect(stage.tcp);
    native.hello("garden");
    let (code, text) = goodbye(&mut native);
    assert_eq!(code, GoodbyeCode::UnknownChannel);
    assert_eq!(text, "no channel \"garden\" here; there is: lab");

    let mut native = Native::connect(stage.tcp);
    native.say(&Message::Hello(Hello {
        min_version: 7,
        max_version: 9,
        max_age: None,
        channel: String::new(),
    }));
    let (code, text) = goodbye(&mut native);
    assert_eq!(code, GoodbyeCode::Version);
    assert!(text.contains("version 1 is spoken here"), "{text}");

    for path in ["/live/garden.mjpeg", "/live/garden.jpg", "/watch/garden"] {
        let answer = stage.http_says(format!("GET {path} HTTP/1.1\r\nHost: x\r\n\r\n").as_bytes());
        assert!(
            answer.starts_with("HTTP/1.1 404 Not Found\r\n"),
            "{path}: {answer}"
        );
        assert!(answer.contains("there is: lab"), "{path}: {answer}");
    }
}

#[test]
fn clients_that_never_speak_are_closed_after_five_seconds() {
    let stage = Stage::with("--source pattern");
    let begun = Instant::now();
    let mut silent = patient(stage.http);
    let mut halting = patient(stage.http);
    halting.write_all(b"GET / HT").unwrap();
    let mut native = Native::connect(stage.tcp);
    let (code, text) = goodbye(&mut native);
    let waited = begun.elapsed();
    assert_eq!(
        (code, &*text),
        (GoodbyeCode::Protocol, "no HELLO within 5 s")
    );
    for stream in [&mut silent, &mut halting] {
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        assert!(answer.starts_with("HTTP/1.1 408 "), "{answer}");
    }
    let around_five = Duration::from_millis(4900)..Duration::from_secs(7);
    assert!(around_five.contains(&waited), "{waited:?}");
}

#[test]
fn heads_that_cannot_be_read_get_their_status() {
    let stage = Stage::with("--source pattern");
    let oversized = format!("GET / HTTP/1.1\r\nX: {}\r\n\r\n", "x".repeat(20_000));
    for (request, status) in [
        (oversized.as_bytes(), "431 "),
        (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", "400 "),
        (b"FRMC\x01\x01\r\n\r\n", "400 "),
        (b"POST /live/main.mjpeg HTTP/1.1\r\nHost: x\r\n\r\n", "405 "),
        (b"POST /live/main.jpg HTTP/1.1\r\nHost: x\r\n\r\n", "405 "),
        (
            b"GET /live/main.mjpeg?max_age=soon HTTP/1.1\r\nHost: x\r\n\r\n",
            "400 ",
        ),
        (b"GET /../../etc/passwd HTTP/1.1\r\nHost: x\r\n\r\n", "404 "),
    ] {
        let answer = stage.http_says(request);
        let text = answer.strip_prefix("HTTP/1.1 ").unwrap_or("no answer");
        assert!(text.starts_with(status), "{request:?}: {answer}");
    }
}

#[test]
fn opaque_frames_do_not_leave_over_http() {
    let stage = Stage::with("--source pattern?bytes=64");
    for path in ["/live/main.mjpeg", "/live/main.jpg"] {
        let answer = says(
            stage.http,
            format!("GET {path} HTTP/1.1\r\nHost: x\r\n\r\n").as_bytes(),
        );
        assert!(answer.starts_with("HTTP/1.1 406 "), "{path}: {answer}");
        assert!(
            answer.contains("only tcp:// can deliver"),
            "{path}: {answer}"
        );
    }
    let Message::Payload(frames) = stage.native().next() else {
        panic!("not a payload");
    };
    assert_eq!(frames[0].data().len(), 64);
}
