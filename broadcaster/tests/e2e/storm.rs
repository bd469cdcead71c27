//! Many clients that come, stall and go: memory stays within its budget, newcomers are told to come
//! back, and those who watch steadily lose nothing.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

use common::wire::tcp::{GoodbyeCode, Message};

use crate::stage::{Native, Stage};

const STEADY: usize = 50;
const STORM_THREADS: usize = 8;
const CLIENTS_PER_THREAD: usize = 250;
/// Stalled clients that each thread keeps before it lets go of the oldest.
const KEPT: usize = 200;
const BUDGET: u64 = 8_000_000;

/// A figure on the health page.
fn health(stage: &Stage, name: &str) -> u64 {
    let page = stage.http_says(b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n");
    let value = page.lines().find_map(|line| line.strip_prefix(name));
    value
        .unwrap_or_else(|| panic!("no {name} in {page}"))
        .trim()
        .parse()
        .unwrap()
}

/// Watches until told to end; panics at the first frame that is missing.
fn watch_steadily(mut native: Native, is_over: &AtomicBool) -> u64 {
    let first = native.seqs()[0];
    let mut next = first + 1;
    while !is_over.load(Ordering::Relaxed) {
        assert_eq!(native.seqs(), [next]);
        next += 1;
    }
    next - first
}

/// Clients of both protocols that ask for the stream and never read it. Returns how many of those
/// that looked at the answer were told to come back.
fn stall(stage: &Stage) -> usize {
    let (mut kept, mut busy) = (Vec::new(), 0);
    for number in 0..CLIENTS_PER_THREAD {
        match number % 10 {
            0 => busy += usize::from(is_native_busy(stage)),
            1 => busy += usize::from(is_http_busy(stage)),
            _ if number % 2 == 0 => {
                let mut native = Native::connect(stage.tcp);
                native.hello("");
                kept.push(native.stream);
            }
            _ => {
                let mut stream = TcpStream::connect(stage.http).unwrap();
                stream
                    .write_all(b"GET /live/main.mjpeg HTTP/1.1\r\nHost: x\r\n\r\n")
                    .unwrap();
                kept.push(stream);
            }
        }
        if kept.len() > KEPT {
            drop(kept.remove(0));
        }
        thread::sleep(Duration::from_millis(20));
    }
    busy
}

fn is_native_busy(stage: &Stage) -> bool {
    let mut native = Native::connect(stage.tcp);
    native.hello("");
    match native.next() {
        Message::Welcome(_) => false,
        Message::Goodbye(goodbye) => {
            assert_eq!(goodbye.code, GoodbyeCode::Busy);
            assert!(goodbye.retry_after > Duration::ZERO);
            true
        }
        other => panic!("neither welcome nor goodbye: {other:?}"),
    }
}

fn is_http_busy(stage: &Stage) -> bool {
    let mut stream = crate::stage::patient(stage.http);
    stream
        .write_all(b"GET /live/main.mjpeg HTTP/1.1\r\nHost: x\r\n\r\n")
        .unwrap();
    let mut head = [0; 120];
    stream.read_exact(&mut head).unwrap();
    let head = String::from_utf8_lossy(&head);
    if head.starts_with("HTTP/1.1 200 ") {
        return false;
    }
    assert!(head.starts_with("HTTP/1.1 503 "), "{head}");
    assert!(head.contains("\r\nRetry-After: 2\r\n"), "{head}");
    true
}

#[test]
fn a_storm_of_stalling_clients_costs_no_steady_viewer_a_frame() {
    let line = format!(
        "--source pattern?bytes=100000 --size 320x240 --max-age 10s --memory-budget {BUDGET}"
    );
    for stage in Stage::with_each_driver(&line) {
        let is_over = Arc::new(AtomicBool::new(false));
        let steady: Vec<_> = (0..STEADY)
            .map(|_| {
                let (native, is_over) = (stage.native(), is_over.clone());
                thread::spawn(move || watch_steadily(native, &is_over))
            })
            .collect();
        let (busy, raging) = (AtomicUsize::new(0), AtomicUsize::new(STORM_THREADS));
        thread::scope(|scope| {
            for _ in 0..STORM_THREADS {
                scope.spawn(|| {
                    busy.fetch_add(stall(&stage), Ordering::Relaxed);
                    raging.fetch_sub(1, Ordering::Relaxed);
                });
            }
            let mut highest = 0;
            while raging.load(Ordering::Relaxed) > 0 {
                highest = highest.max(health(&stage, "frame_bytes_held "));
                assert!(highest <= BUDGET, "{highest} bytes held");
                thread::sleep(Duration::from_millis(10));
            }
            assert!(highest > BUDGET / 2, "no pressure: {highest} bytes held");
        });
        assert!(
            busy.load(Ordering::Relaxed) > 0,
            "nobody was told to come back"
        );
        is_over.store(true, Ordering::Relaxed);
        for viewer in steady {
            assert!(viewer.join().unwrap() > 100);
        }
    }
}

#[test]
fn a_rush_of_newcomers_is_let_in() {
    const AT_THE_DOOR: usize = 4096;
    const BEHIND_THEM: usize = 4;
    let stage = Stage::with("--source pattern?bytes=64 --fps 5");
    let connect = |_| Native::connect(stage.tcp);
    let mut rush: Vec<_> = (1..AT_THE_DOOR).map(connect).collect();
    // Who comes after them is let in: so all of them are at the door, and nobody has spoken yet.
    let first = stage.native();
    rush.extend((0..=BEHIND_THEM).map(connect));
    // The door has patience with those behind, but not for long.
    thread::sleep(Duration::from_millis(10));
    rush.iter_mut().for_each(|native| native.hello(""));
    for (number, native) in rush.iter_mut().enumerate() {
        let answer = native.next();
        assert!(
            matches!(answer, Message::Welcome(_)),
            "{number}: {answer:?}"
        );
    }
    assert_eq!(health(&stage, "viewers "), rush.len() as u64 + 1);
    drop(first);
}

#[test]
fn places_are_limited_and_given_back() {
    for stage in Stage::with_each_driver("--source pattern --max-viewers 2") {
        let (first, second) = (stage.native(), stage.native());
        assert!(is_native_busy(&stage));
        assert!(is_http_busy(&stage));
        assert_eq!(health(&stage, "viewers "), 2);
        drop((first, second));
        while health(&stage, "viewers ") > 0 {}
        drop(stage.native());
    }
}
