//! What viewers get of a whole broadcaster, from either driver. How each driver treats a viewer over
//! each protocol is the contract in `tests/contract/service.rs`.

use std::io::{Read, Write};
use std::time::{Duration, Instant};

use common::wire::tcp::{GoodbyeCode, Message};

use crate::stage::{Native, PATIENCE, Stage, patient};

/// A viewer that the machine keeps waiting for seconds loses nothing: neither for the age of frames nor
/// because the ring has gone round.
const PATIENT: &str = "--max-age 10s --ring-capacity 4096";

#[test]
fn a_native_viewer_gets_every_frame_from_the_newest_on() {
    for stage in Stage::with_each_driver(&format!("--source pattern --fps 200 {PATIENT}")) {
        let mut native = stage.native();
        let first = native.seqs()[0];
        for expected in first + 1..first + 200 {
            assert_eq!(native.seqs(), [expected]);
        }
    }
}

#[test]
fn footage_is_looped_without_a_break() {
    const FRAMES: usize = 100;
    let footage = concat!(env!("CARGO_MANIFEST_DIR"), "/assets/footage.mjpeg");
    let stage = Stage::with(&format!("--source {footage} --fps 200 {PATIENT}"));
    let mut native = stage.native();
    let mut shown = Vec::new();
    let mut next = None;
    while shown.len() <= FRAMES {
        let Message::Payload(frames) = native.next() else {
            panic!("not a payload");
        };
        for frame in frames {
            let head = frame.head;
            assert!(next.is_none_or(|next| head.identity.seq == next));
            next = Some(head.identity.seq + 1);
            assert_eq!((head.width, head.height), (640, 360));
            shown.push(frame.data().clone());
        }
    }
    assert_eq!(shown[0], shown[FRAMES]);
    assert_ne!(shown[0], shown[1]);
}

#[test]
fn payloads_of_several_frames_arrive_whole() {
    let line = format!("--source pattern --fps 200 --frames-per-payload 5 {PATIENT}");
    for stage in Stage::with_each_driver(&line) {
        let mut native = stage.native();
        let first = native.seqs()[0];
        assert_eq!(first % 5, 0);
        for begin in (first + 5..first + 50).step_by(5) {
            assert_eq!(native.seqs(), (begin..begin + 5).collect::<Vec<_>>());
        }
    }
}

#[test]
fn the_end_is_said_within_two_seconds_also_with_stopped_viewers() {
    for stage in Stage::with_each_driver("--source pattern?bytes=500000 --size 640x480 --fps 50") {
        let stopped: Vec<_> = (0..5).map(|_| stage.native()).collect();
        let mut native = stage.native();
        let mut browser = patient(stage.http);
        browser
            .write_all(b"GET /live/main.mjpeg HTTP/1.1\r\nHost: x\r\n\r\n")
            .unwrap();
        let reader = std::thread::spawn(move || std::io::copy(&mut browser, &mut std::io::sink()));
        let listener = std::thread::spawn(move || goodbye(&mut native));
        std::thread::sleep(Duration::from_millis(500));
        let took = stage.end();
        assert!(took < Duration::from_secs(2), "{took:?}");
        assert_eq!(listener.join().unwrap(), GoodbyeCode::ShuttingDown);
        assert!(reader.join().unwrap().is_ok());
        drop(stopped);
    }
}

fn goodbye(native: &mut Native) -> GoodbyeCode {
    loop {
        match native.next() {
            Message::Goodbye(goodbye) => return goodbye.code,
            Message::Payload(_) => {}
            other => panic!("not a goodbye: {other:?}"),
        }
    }
}

#[test]
fn readiness_follows_the_frames_and_viewers_are_counted() {
    for stage in Stage::with_each_driver("--source pattern --fps 20") {
        let mut native = stage.native();
        native.seqs();
        let get = |path: &str| {
            stage.http_says(format!("GET {path} HTTP/1.1\r\nHost: x\r\n\r\n").as_bytes())
        };
        for path in ["/healthz", "/readyz"] {
            let answer = get(path);
            assert!(answer.starts_with("HTTP/1.1 200 OK\r\n"), "{answer}");
            assert!(answer.contains("\nviewers 1\n"), "{answer}");
        }
        drop(native);
        let begun = Instant::now();
        while !get("/healthz").contains("\nviewers 0\n") {
            assert!(begun.elapsed() < PATIENCE, "the viewer is still counted");
        }
    }
}

#[test]
fn allowed_origins_are_told_to_browsers() {
    for stage in Stage::with_each_driver("--source pattern --allow-origin https://example.org") {
        let mut browser = patient(stage.http);
        browser
            .write_all(b"GET /live/main.mjpeg HTTP/1.1\r\nHost: x\r\n\r\n")
            .unwrap();
        let mut head = [0; 400];
        browser.read_exact(&mut head).unwrap();
        let line = "access-control-allow-origin: https://example.org\r\n";
        assert!(String::from_utf8_lossy(&head).to_lowercase().contains(line));
        stage.native().seqs();
        let still = stage.http_says(b"GET /live/main.jpg HTTP/1.1\r\nHost: x\r\n\r\n");
        assert!(still.to_lowercase().contains(line));
    }
}
