//! The program as a user meets it: what it prints, writes, and ends with.

use std::io::{BufRead, BufReader, Read};
use std::process::{Command, Output, Stdio};
use std::thread;
use std::time::Duration;

use common::wire::tcp::{GoodbyeCode, Message};
use rustix::process::{Pid, Signal, kill_process};

use crate::desktop::Running;
use crate::server::{JPEG, Script, frame, part, serve, serve_one};

fn receiver(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_receiver"));
    command.args(arguments);
    command
}

fn run(arguments: &[&str]) -> Output {
    receiver(arguments).output().unwrap()
}

fn json(line: &str) -> serde_json::Value {
    serde_json::from_str(line).unwrap_or_else(|error| panic!("{line:?}: {error}"))
}

fn last_json(output: &Output) -> serde_json::Value {
    let text = String::from_utf8(output.stdout.clone()).unwrap();
    json(text.lines().last().expect("at least the summary"))
}

/// A native server whose viewers each get the same frames and are then held.
fn three_frames() -> Script {
    Box::new(|peer| {
        peer.welcome();
        for seq in [1, 2, 4] {
            peer.say(Message::Payload(vec![frame(1, seq)]));
        }
        peer.hold();
    })
}

#[test]
fn wrong_arguments_end_with_2_and_one_line() {
    for arguments in [
        &["ftp://cam/"][..],
        &["tcp://cam"],
        &["tcp://cam:1", "--duration", "soon"],
        &["tcp://cam:1", "--count", "0"],
        &["tcp://cam:1", "--duration", "2s", "--warm-up", "2s"],
    ] {
        let output = run(arguments);
        let error = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(2), "{error}");
        assert_eq!(error.lines().count(), 1, "{error}");
        assert!(error.contains("right would be"), "{error}");
    }
}

#[test]
fn without_a_frame_the_end_is_1_and_says_why() {
    let port = serve(Vec::new());
    let url = format!("tcp://127.0.0.1:{port}");
    let output = run(&[&url, "--duration", "300ms", "--log", "error"]);
    let error = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1));
    let expected = format!("no frame arrived within 300ms from {url}: connection refused");
    assert_eq!(error.trim(), format!("receiver: {expected}"));
}

#[test]
fn a_final_error_ends_with_1_at_once() {
    let port = serve_one(|peer| {
        peer.hear();
        peer.goodbye(GoodbyeCode::UnknownChannel, "no channel here");
    });
    let output = run(&[&format!("tcp://127.0.0.1:{port}")]);
    let error = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert!(
        error.ends_with("no channel here\n") && error.lines().count() == 1,
        "{error}"
    );
}

#[test]
fn the_summary_is_the_last_object_and_counts_everything() {
    let port = serve(vec![three_frames()]);
    let url = format!("tcp://127.0.0.1:{port}");
    let output = run(&[&url, "--duration", "1500ms", "--json", "--decode"]);
    assert_eq!(output.status.code(), Some(0));
    let summary = last_json(&output);
    for (name, expected) in [
        ("frames", 3),
        ("gaps", 1),
        ("skipped", 1),
        ("duplicates", 0),
        ("receivers", 1),
        ("decode_errors", 3),
    ] {
        assert_eq!(summary[name], expected, "{name} in {summary}");
    }
    assert_eq!(
        (&summary["kind"], &summary["delivered"]),
        (&"summary".into(), &0.75.into())
    );
    // The frame on joining is none that came as time went by.
    let number = |name: &str| summary[name].as_f64().unwrap();
    let flow = number("fps") * number("elapsed_s");
    assert!((flow - 2.0).abs() < 0.01, "{flow} in {summary}");
    assert_eq!(summary["clock"], "synchronised to server");
    assert_eq!(summary["synchrony_ms"], serde_json::Value::Null);
    for name in [
        "url",
        "connected",
        "age_ms",
        "bitrate_bps",
        "fps",
        "cpu",
        "elapsed_s",
    ] {
        assert!(summary.get(name).is_some(), "{name} in {summary}");
    }
    let first = String::from_utf8(output.stdout).unwrap();
    assert_eq!(json(first.lines().next().unwrap())["kind"], "second");
}

#[test]
fn what_comes_before_the_end_of_the_warm_up_is_left_out() {
    let port = serve_one(|peer| {
        peer.welcome();
        // A gap of one, then nothing until the warm-up is over.
        for seq in [1, 2, 4] {
            peer.say(Message::Payload(vec![frame(1, seq)]));
        }
        thread::sleep(Duration::from_millis(900));
        for seq in [5, 7] {
            peer.say(Message::Payload(vec![frame(1, seq)]));
        }
        peer.hold();
    });
    let url = format!("tcp://127.0.0.1:{port}");
    let output = run(&[&url, "--warm-up", "600ms", "--duration", "1600ms", "--json"]);
    let summary = last_json(&output);
    let count = |name: &str| summary[name].as_u64().unwrap();
    assert_eq!((count("frames"), count("skipped")), (2, 1), "{summary}");
    let seconds = summary["elapsed_s"].as_f64().unwrap();
    assert!((0.9..1.3).contains(&seconds), "{summary}");
    let flow = seconds * summary["fps_least"].as_f64().unwrap();
    assert!((flow - 2.0).abs() < 0.01, "{summary}");
}

#[test]
fn several_receivers_are_counted_together_and_compared() {
    let port = serve(vec![three_frames(), three_frames()]);
    let url = format!("tcp://127.0.0.1:{port}");
    let output = run(&[&url, "--duration", "1s", "--json", "--count", "2"]);
    assert_eq!(output.status.code(), Some(0));
    let summary = last_json(&output);
    assert_eq!(
        (&summary["receivers"], &summary["connected"]),
        (&2.into(), &2.into())
    );
    assert_eq!(
        (&summary["frames"], &summary["gaps"]),
        (&6.into(), &2.into())
    );
    assert!(summary["synchrony_ms"].is_number(), "{summary}");
    assert!(summary.get("decoded").is_none(), "{summary}");
}

#[test]
fn frames_are_saved() {
    let port = serve_one(|peer| {
        peer.begin_stream();
        peer.send(&[part(1, 7), part(1, 8), part(2, 1)].concat());
        peer.hold();
    });
    let dir = tempfile::tempdir().unwrap();
    let folder = dir.path().join("frames");
    let (url, to) = (
        format!("http://127.0.0.1:{port}/"),
        folder.to_str().unwrap(),
    );
    let output = run(&[&url, "--duration", "1s", "--save", to, "--json"]);
    assert_eq!(output.status.code(), Some(0));
    for name in ["0000000007.jpg", "0000000008.jpg", "2/0000000001.jpg"] {
        assert_eq!(std::fs::read(folder.join(name)).unwrap(), JPEG, "{name}");
    }
    assert_eq!(last_json(&output)["restarts"], 1);
    assert_eq!(last_json(&output)["clock"], "unchecked");

    let not_a_folder = folder.join("0000000007.jpg/below");
    let output = run(&[&url, "--save", not_a_folder.to_str().unwrap()]);
    assert_eq!(output.status.code(), Some(1));
    let error = String::from_utf8(output.stderr).unwrap();
    assert!(error.starts_with("receiver: cannot write /"), "{error}");
}

fn start_watching() -> (Running, BufReader<std::process::ChildStdout>) {
    let port = serve_one(|peer| {
        peer.welcome();
        peer.say(Message::Payload(vec![frame(1, 1)]));
        peer.hold();
    });
    let child = receiver(&[&format!("tcp://127.0.0.1:{port}"), "--json"])
        .stdout(Stdio::piped())
        .spawn();
    let mut child = Running(child.unwrap());
    let mut lines = BufReader::new(child.0.stdout.take().unwrap());
    lines.read_line(&mut String::new()).unwrap();
    (child, lines)
}

#[test]
fn both_signals_end_with_0_and_the_summary() {
    for signal in [Signal::INT, Signal::TERM] {
        let (mut child, mut lines) = start_watching();
        kill_process(Pid::from_child(&child.0), signal).unwrap();
        let mut rest = String::new();
        lines.read_to_string(&mut rest).unwrap();
        assert_eq!(child.0.wait().unwrap().code(), Some(0));
        assert_eq!(json(rest.lines().last().unwrap())["kind"], "summary");
    }
}

#[test]
fn a_closed_stdout_ends_quietly() {
    let (mut child, lines) = start_watching();
    drop(lines);
    assert_eq!(child.0.wait().unwrap().code(), Some(0));
}
