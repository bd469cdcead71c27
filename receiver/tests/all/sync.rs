//! `--sync`: screens that get a frame at different times show it at the same time.

use std::collections::HashMap;
use std::io::{BufRead, BufReader, Read};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Barrier, OnceLock};
use std::thread;
use std::time::Duration;

use common::wire::tcp::{Message, Pong};
use common::{Clock, SystemClock, Timestamp};

use crate::server::{Peer, Script, frame, serve};

/// The server's clock is an hour ahead.
const AHEAD_NANOS: u64 = 3_600_000_000_000;
/// For the answer to reach the viewer.
const LEAD_NANOS: u64 = 300_000_000;
const FRAME_TIME: Duration = Duration::from_millis(50);
const FRAMES: u64 = 100;

fn server_now() -> u64 {
    SystemClock.wall().as_nanos() + AHEAD_NANOS
}

/// A server whose frames are captured every 50 ms, from when all viewers are there and have been told its
/// time; they take so long to each viewer.
fn stream(links: &[Duration]) -> String {
    let start = Arc::new((Barrier::new(links.len()), OnceLock::new()));
    let script = |&link: &Duration| -> Script {
        let start = start.clone();
        Box::new(move |peer| {
            peer.welcome();
            let mut sender = Some(peer.clone());
            while let Some(message) = peer.hear() {
                let Message::Ping(sent_at) = message else {
                    continue;
                };
                let now = Timestamp::from_nanos(server_now());
                peer.say(Message::Pong(Pong {
                    sent_at,
                    received_at: now,
                    replied_at: now,
                }));
                if let Some(sender) = sender.take() {
                    let start = start.clone();
                    thread::spawn(move || {
                        let (all_are_there, begun) = &*start;
                        all_are_there.wait();
                        let begun = *begun.get_or_init(|| server_now() + LEAD_NANOS);
                        send(sender, begun, link);
                    });
                }
            }
        })
    };
    let port = serve(links.iter().map(script).collect());
    format!("tcp://127.0.0.1:{port}")
}

fn send(mut peer: Peer, begun: u64, link: Duration) {
    for seq in 0..FRAMES {
        let captured_at = begun + seq * u64::try_from(FRAME_TIME.as_nanos()).unwrap();
        let due = captured_at + u64::try_from(link.as_nanos()).unwrap();
        thread::sleep(Duration::from_nanos(due.saturating_sub(server_now())));
        let mut frame = frame(1, seq);
        frame.head.captured_at = Timestamp::from_nanos(captured_at);
        peer.say(Message::Payload(vec![frame]));
    }
}

fn receiver(url: &str, arguments: &str) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_receiver"));
    command
        .arg(url)
        .args(arguments.split(' '))
        .stdout(Stdio::piped());
    command
}

/// What is left of a captured line: which frame was shown, and when.
fn shown(line: &str) -> Option<(u64, u64)> {
    let value = |name: &str| {
        let (_, rest) = line.split_once(name)?;
        rest.split_whitespace().next()?.parse().ok()
    };
    line.contains("shown")
        .then(|| Some((value("seq=")?, value("wall_ns=")?)))?
}

/// When each frame was shown, told on stderr, and the summary.
fn read(mut child: Child) -> (HashMap<u64, u64>, serde_json::Value) {
    let stderr = BufReader::new(child.stderr.take().unwrap());
    let lines = stderr.lines().map_while(Result::ok);
    let times = lines.filter_map(|line| shown(&line)).collect();
    let mut stdout = String::new();
    child
        .stdout
        .take()
        .unwrap()
        .read_to_string(&mut stdout)
        .unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(0));
    (
        times,
        serde_json::from_str(stdout.lines().last().unwrap()).unwrap(),
    )
}

fn median(mut values: Vec<u64>) -> u64 {
    values.sort_unstable();
    values[values.len() / 2]
}

#[test]
fn two_programs_show_a_frame_at_the_same_time_and_the_delay_after_its_capture() {
    let url = stream(&[Duration::ZERO, Duration::from_millis(120)]);
    let start = || {
        let arguments = "--sync 300ms --duration 3s --json --log trace";
        receiver(&url, arguments)
            .stderr(Stdio::piped())
            .spawn()
            .unwrap()
    };
    let (near, far) = (start(), start());
    let far = thread::spawn(move || read(far));
    let (near, summary) = read(near);
    let (far, far_summary) = far.join().unwrap();
    let apart: Vec<_> = near
        .iter()
        .filter_map(|(seq, at)| far.get(seq).map(|other| at.abs_diff(*other)))
        .collect();
    assert!(apart.len() > 30, "{near:?} {far:?}");
    // The links are 120 ms apart; the programs' clocks are one and the same.
    let apart = Duration::from_nanos(median(apart));
    assert!(apart < Duration::from_millis(15), "{apart:?}");
    for summary in [summary, far_summary] {
        assert_eq!(
            (&summary["late"], &summary["sync_ms"]),
            (&0.into(), &300.0.into())
        );
        assert!(
            summary["sync_off_ms"]["p50"].as_f64().unwrap() < 15.0,
            "{summary}"
        );
        assert!(summary["shown"].as_u64().unwrap() > 30, "{summary}");
        assert_eq!(summary["sync_spread_ms"], serde_json::Value::Null);
    }
}

#[test]
fn receivers_of_one_program_are_in_step_although_frames_arrive_apart() {
    let url = stream(&[Duration::ZERO, Duration::from_millis(120)]);
    let arguments = "--sync 300ms --duration 3s --json --count 2";
    let (_, summary) = read(
        receiver(&url, arguments)
            .stderr(Stdio::piped())
            .spawn()
            .unwrap(),
    );
    assert!(
        summary["synchrony_ms"].as_f64().unwrap() > 100.0,
        "{summary}"
    );
    let spread = summary["sync_spread_ms"].as_f64().unwrap();
    assert!(spread < 60.0, "{summary}");
    assert_eq!(summary["late"], 0, "{summary}");
}

#[test]
fn frames_that_come_after_their_time_are_late_and_shown_at_once() {
    let url = stream(&[Duration::from_millis(120)]);
    let arguments = "--sync 60ms --duration 3s --json";
    let (_, summary) = read(
        receiver(&url, arguments)
            .stderr(Stdio::piped())
            .spawn()
            .unwrap(),
    );
    let count = |name: &str| summary[name].as_u64().unwrap();
    // All but those before the server's clock was known.
    assert!(
        count("late") > 30 && count("late") + 5 >= count("frames"),
        "{summary}"
    );
    assert!(count("shown") + 2 >= count("frames"), "{summary}");
    let off = summary["sync_off_ms"]["p50"].as_f64().unwrap();
    assert!((55.0..120.0).contains(&off), "{summary}");
}
