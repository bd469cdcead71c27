//! `receiver probe`, as scripts and people use it.

use std::process::{Command, Output};
use std::thread;
use std::time::Duration;

use common::wire::tcp::{GoodbyeCode, Message};
use common::{Flags, Frame};

use crate::server::{picture, serve, serve_one};

fn probe(url: &str, arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_receiver"));
    command
        .args(["probe", url])
        .args(arguments)
        .output()
        .unwrap()
}

fn json(url: &str) -> (serde_json::Value, Option<i32>) {
    let output = probe(url, &["--for", "1s", "--json"]);
    let text = String::from_utf8(output.stdout).unwrap();
    assert_eq!(text.lines().count(), 1, "{text}");
    assert!(
        output.stderr.is_empty(),
        "{:?}",
        String::from_utf8(output.stderr)
    );
    (serde_json::from_str(&text).unwrap(), output.status.code())
}

/// A native server of 20 frames a second, some of them left out or changed.
fn stream(change: impl Fn(u64) -> Option<Frame> + Send + 'static) -> String {
    let port = serve_one(move |peer| {
        peer.welcome();
        for seq in 0..200 {
            if let Some(frame) = change(seq) {
                peer.say(Message::Payload(vec![frame]));
            }
            thread::sleep(Duration::from_millis(50));
        }
    });
    format!("tcp://127.0.0.1:{port}/main")
}

fn usual(seq: u64) -> Frame {
    picture(1, seq, (96, 48))
}

#[test]
fn a_healthy_stream_is_described_and_ends_with_0() {
    let (found, code) = json(&stream(|seq| Some(usual(seq))));
    assert_eq!(code, Some(0), "{found}");
    assert_eq!(
        (&found["kind"], &found["verdict"]),
        (&"probe".into(), &"healthy".into())
    );
    assert_eq!(
        (&found["format"], &found["width"], &found["height"]),
        (&"JPEG".into(), &96.into(), &48.into())
    );
    let fps = found["fps"].as_f64().unwrap();
    assert!((10.0..=22.0).contains(&fps), "{found}");
    let apart = found["interval_ms"]["p50"].as_f64().unwrap();
    assert!((45.0..=90.0).contains(&apart), "{found}");
    assert_eq!(
        (&found["skipped"], &found["decode_errors"]),
        (&0.into(), &0.into())
    );

    let output = probe(&stream(|seq| Some(usual(seq))), &["--for", "1s"]);
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(text.contains("\n  picture   JPEG 96x48, "), "{text}");
    assert!(text.ends_with("\nhealthy\n"), "{text}");
    assert!(output.stderr.is_empty(), "progress is for terminals only");
}

#[test]
fn what_is_wrong_is_told_in_words_and_ends_with_1() {
    let placeholder = |seq| {
        let mut frame = usual(seq);
        frame.head.flags = Flags::KEY.with(Flags::PLACEHOLDER);
        frame
    };
    let (found, code) = json(&stream(move |seq| Some(placeholder(seq))));
    assert_eq!(code, Some(1), "{found}");
    assert_eq!(
        found["reasons"][0],
        "the source is gone, only a placeholder comes"
    );
    assert_eq!((&found["frames"], &found["fps"]), (&0.into(), &0.0.into()));

    let (found, code) = json(&stream(|_| None));
    assert_eq!(
        (code, &found["verdict"]),
        (Some(1), &"unhealthy".into()),
        "{found}"
    );
    assert!(
        found["reasons"][0]
            .as_str()
            .unwrap()
            .starts_with("no frame came within 1.")
    );

    let (found, code) = json(&stream(|seq| (seq % 3 != 1).then(|| usual(seq))));
    assert_eq!(code, Some(1), "{found}");
    assert!(
        found["reasons"][0]
            .as_str()
            .unwrap()
            .contains("of the frames were skipped"),
        "{found}"
    );
}

#[test]
fn where_there_is_no_stream_the_end_is_3_at_once() {
    let refused = format!("tcp://127.0.0.1:{}", serve(Vec::new()));
    let unknown = serve_one(|peer| {
        peer.hear();
        peer.goodbye(GoodbyeCode::UnknownChannel, "no channel here");
    });
    let not_found = serve_one(|peer| drop(peer.answer("404 Not Found", "Content-Length: 0\r\n")));
    let page = serve_one(|peer| drop(peer.answer("200 OK", "Content-Type: text/html\r\n")));
    for (url, words) in [
        (refused, "connection refused"),
        (format!("tcp://127.0.0.1:{unknown}"), "no channel here"),
        (format!("http://127.0.0.1:{not_found}/"), "404"),
        (format!("http://127.0.0.1:{page}/"), "not an MJPEG stream"),
    ] {
        let (found, code) = json(&url);
        assert_eq!(code, Some(3), "{found}");
        assert_eq!(found["verdict"], "unreachable");
        assert!(
            found["reasons"][0].as_str().unwrap().contains(words),
            "{found}"
        );
    }
}

#[test]
fn wrong_arguments_end_with_2_and_help_tells_the_codes() {
    for (url, arguments) in [
        ("ftp://cam", &[][..]),
        ("tcp://cam:1", &["--for", "soon"]),
        ("tcp://cam:1", &["--for", "10ms"]),
        ("tcp://cam:1", &["--count", "2"]),
    ] {
        assert_eq!(
            probe(url, arguments).status.code(),
            Some(2),
            "{url} {arguments:?}"
        );
    }
    let help = String::from_utf8(probe("--help", &[]).stdout).unwrap();
    for words in ["Exit codes: 0 healthy", "3 no stream", "--for <D>"] {
        assert!(help.contains(words), "{words}: {help}");
    }
}
