//! Stills of the past and of right now, and streams at a lower rate.

use std::io::Read;
use std::io::Write;
use std::time::{Duration, Instant};

use bytes::BytesMut;
use common::wire::DecodeError;
use common::wire::mjpeg::{Parser, Part, parse_seconds};
use common::{Clock, SystemClock, Timestamp};

use crate::clients::{live, value};
use crate::stage::{PATIENCE, Stage, patient};

fn captured_at(still: &str) -> Timestamp {
    parse_seconds(value(still, "X-Timestamp")).unwrap()
}

fn seq(still: &str) -> u64 {
    value(still, "X-Sequence").parse().unwrap()
}

/// A broadcaster that has a history of this length by now.
fn with_history(line: &str, length: Duration) -> Stage {
    let stage = Stage::with(line);
    let begun = Instant::now();
    let path = format!("/live/main.jpg?at=-{}ms", length.as_millis());
    while !stage.get(&path).starts_with("HTTP/1.1 200 ") {
        assert!(begun.elapsed() < PATIENCE, "{}", stage.get(&path));
    }
    stage
}

#[test]
fn the_past_is_there_by_age_and_by_time() {
    let length = Duration::from_millis(1500);
    for driver in ["multiplex", "threads"] {
        let line = format!("--source pattern --fps 20 --history 30s --driver {driver}");
        let stage = with_history(&line, length);
        let before = SystemClock.wall();
        let past = stage.get("/live/main.jpg?at=-1s");
        let after = SystemClock.wall();
        let age = |now: Timestamp| now.since(captured_at(&past));
        assert!(age(after) >= Duration::from_secs(1), "{past}");
        // At 20 frames a second the one before is at most 50 ms older, if the machine keeps up.
        assert!(age(before) < Duration::from_millis(1500), "{past}");
        let at = value(&past, "X-Timestamp");
        let again = stage.get(&format!("/live/main.jpg?at={at}"));
        assert_eq!(
            (seq(&again), captured_at(&again)),
            (seq(&past), captured_at(&past))
        );
        for field in ["X-Epoch", "Content-Length"] {
            assert_eq!(value(&again, field), value(&past, field));
        }
        assert_eq!(value(&past, "Cache-Control"), "no-store");
        assert!(seq(&stage.get("/live/main.jpg?at=-0s")) > seq(&past));
    }
}

#[test]
fn outside_of_the_history_the_answer_names_its_end() {
    let stage = with_history(
        "--source pattern --fps 50 --history 400ms",
        Duration::from_millis(350),
    );
    let gone = stage.get("/live/main.jpg?at=-5s");
    assert!(gone.starts_with("HTTP/1.1 404 Not Found\r\n"), "{gone}");
    let oldest = gone.trim_end().rsplit(' ').next().unwrap();
    let age = SystemClock.wall().since(parse_seconds(oldest).unwrap());
    let bounds = Duration::from_millis(300)..Duration::from_secs(2);
    assert!(bounds.contains(&age), "{gone}: {age:?}");
    let future = stage.get("/live/main.jpg?at=99999999999");
    assert!(future.starts_with("HTTP/1.1 400 "), "{future}");
    let unclear = stage.get("/live/main.jpg?at=yesterday");
    assert!(unclear.contains("right would be -5s"), "{unclear}");
    let none = live().get("/live/main.jpg?at=-1s");
    assert!(none.starts_with("HTTP/1.1 404 "), "{none}");
    assert!(none.contains("--history"), "{none}");
}

#[test]
fn a_history_above_its_share_of_memory_is_shorter() {
    let line = "--source pattern?bytes=100000 --fps 50 --history 60s --memory-budget 4MB";
    let stage = with_history(line, Duration::from_millis(150));
    let begun = Instant::now();
    while begun.elapsed() < Duration::from_millis(800) {
        let health = stage.get("/healthz");
        let held: u64 = number_behind(&health, "frame_bytes_held ");
        assert!(held <= 2_200_000, "{health}");
    }
    // A quarter of 4 MB are ten frames, which are 200 ms.
    let gone = stage.get("/live/main.jpg?at=-600ms");
    assert!(gone.starts_with("HTTP/1.1 404 "), "{gone}");
}

fn number_behind(text: &str, name: &str) -> u64 {
    let line = text.lines().find_map(|line| line.strip_prefix(name));
    line.unwrap().parse().unwrap()
}

#[test]
fn a_fresh_still_was_captured_after_the_request() {
    let stage = Stage::with("--source pattern --fps 5 --allow-origin https://example.org");
    stage.native().seqs();
    for _ in 0..3 {
        let asked_at = SystemClock.wall();
        let fresh = stage.get("/live/main.jpg?fresh=1");
        assert!(fresh.starts_with("HTTP/1.1 200 OK\r\n"), "{fresh}");
        assert!(captured_at(&fresh) > asked_at, "{fresh}");
        let newest = stage.get("/live/main.jpg");
        assert!(seq(&newest) >= seq(&fresh));
        let origin = value(&fresh, "Access-Control-Allow-Origin");
        assert_eq!(origin, "https://example.org");
    }
    let head = stage.http_says(b"HEAD /live/main.jpg?fresh=1 HTTP/1.1\r\nHost: x\r\n\r\n");
    assert!(value(&head, "Content-Length").parse::<u64>().unwrap() > 1000);
    assert!(head.ends_with("\r\n\r\n"));
}

#[test]
fn many_wait_for_the_same_fresh_still() {
    let stage = Stage::with("--source pattern --fps 2");
    stage.native().seqs();
    let mut waiting: Vec<_> = (0..100).map(|_| patient(stage.http)).collect();
    let asked_at = SystemClock.wall();
    for stream in &mut waiting {
        let request = b"GET /live/main.jpg?fresh=1 HTTP/1.1\r\nHost: x\r\n\r\n";
        stream.write_all(request).unwrap();
    }
    for mut stream in waiting {
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).unwrap();
        let answer = String::from_utf8_lossy(&answer);
        assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
        assert!(captured_at(&answer) > asked_at);
    }
}

#[test]
fn without_a_fresh_frame_the_answer_is_503_after_five_seconds() {
    let stage = Stage::with("--source pattern --fps 0.05");
    stage.native().seqs();
    let begun = Instant::now();
    let answer = stage.get("/live/main.jpg?fresh=1");
    let waited = begun.elapsed();
    assert!(answer.starts_with("HTTP/1.1 503 "), "{answer}");
    assert_eq!(value(&answer, "Retry-After"), "1");
    let around_five = Duration::from_millis(4900)..Duration::from_secs(8);
    assert!(around_five.contains(&waited), "{waited:?}");
}

/// Reads a stream until so many parts in a row have numbers this far apart. A machine that holds the
/// source up shifts its beat, and with it what is sent; undisturbed, it comes to that.
fn comes_to(stage: &Stage, query: &str, (count, apart): (usize, u64)) -> Vec<u64> {
    let begun = Instant::now();
    let mut seqs: Vec<u64> = Vec::new();
    read_parts(stage, query, |part| {
        seqs.push(part.head.seq.unwrap());
        let last = seqs.len().saturating_sub(count);
        let is_beat = |pair: &[u64]| pair[1] - pair[0] == apart;
        let late = begun.elapsed() > PATIENCE;
        assert!(!late, "never {count} that are {apart} apart: {seqs:?}");
        seqs.len() < count || !seqs[last..].windows(2).all(is_beat)
    });
    seqs
}

/// Reads a stream for as long as it is said that there shall be more.
fn read_parts(stage: &Stage, query: &str, mut wants_more: impl FnMut(&Part) -> bool) {
    let mut stream = patient(stage.http);
    let request = format!("GET /live/main.mjpeg?{query} HTTP/1.1\r\nHost: x\r\n\r\n");
    stream.write_all(request.as_bytes()).unwrap();
    let mut parser = Parser::new("multipart/x-mixed-replace; boundary=framecast").unwrap();
    let mut buffer = BytesMut::new();
    let mut scratch = [0; 64 << 10];
    loop {
        match parser.decode(&mut buffer) {
            Ok(Some(part)) if wants_more(&part) => {}
            Ok(Some(_)) => return,
            Err(DecodeError::Incomplete { .. }) => {
                let read = stream.read(&mut scratch).unwrap();
                assert!(read > 0, "closed");
                buffer.extend_from_slice(&scratch[..read]);
            }
            other => panic!("{other:?}"),
        }
    }
}

#[test]
fn ten_of_thirty_frames_are_every_third() {
    for stage in Stage::with_each_driver("--source pattern --fps 30") {
        let seqs = comes_to(&stage, "fps=10&max_age=10s", (11, 3));
        assert!(seqs.is_sorted_by(|one, next| one < next), "{seqs:?}");
    }
}

#[test]
fn of_bundled_frames_the_newest_are_sent_at_the_rate_asked_for() {
    let stage = Stage::with("--source pattern --fps 40 --frames-per-payload 4");
    let seqs = comes_to(&stage, "fps=5&max_age=10s", (5, 8));
    assert!(seqs.iter().all(|seq| seq % 4 == 3), "{seqs:?}");
}
