//! Several channels at once: each viewer gets the one it asked for, from the same ports and workers.

use std::io::{BufRead, BufReader, Write};
use std::time::Instant;

use common::wire::tcp::{GoodbyeCode, Message};

use crate::stage::{Native, PATIENCE, Stage, config, patient};

/// A broadcaster with each driver, and with a channel for each line of arguments.
fn stages(lines: &[&str]) -> impl Iterator<Item = Stage> {
    ["multiplex", "threads"].into_iter().map(move |driver| {
        let mut whole = config(&format!("--driver {driver}"));
        whole.channels = lines
            .iter()
            .flat_map(|line| config(line).channels)
            .collect();
        Stage::on(whole)
    })
}

const TWO: [&str; 2] = [
    "--channel main --source pattern?bytes=9000 --fps 100",
    "--channel lab --source pattern?bytes=30000 --fps 50",
];

/// How long the frames of the next payload are.
fn lengths(native: &mut Native) -> Vec<usize> {
    match native.next() {
        Message::Payload(frames) => frames.iter().map(|frame| frame.data().len()).collect(),
        other => panic!("not a payload: {other:?}"),
    }
}

#[test]
fn every_native_viewer_gets_the_channel_it_named_and_the_first_if_none() {
    for stage in stages(&TWO) {
        let mut viewers = [("", 9000), ("main", 9000), ("lab", 30_000)]
            .map(|(name, bytes)| (stage.native_of(name), bytes));
        for _ in 0..50 {
            for (viewer, bytes) in &mut viewers {
                assert_eq!(lengths(viewer), [*bytes]);
            }
        }
    }
}

#[test]
fn frames_of_a_channel_arrive_without_a_gap_beside_a_faster_one() {
    for stage in stages(&TWO) {
        let mut crowd: Vec<_> = (0..20).map(|_| stage.native_of("main")).collect();
        let mut viewer = stage.native_of("lab");
        let first = viewer.seqs()[0];
        for expected in first + 1..first + 100 {
            assert_eq!(viewer.seqs(), [expected]);
        }
        assert!(crowd.iter_mut().all(|one| lengths(one) == [9000]));
    }
}

#[test]
fn every_browser_gets_the_channel_in_its_path() {
    for stage in stages(&TWO) {
        for (name, bytes) in [("main", 9000), ("lab", 30_000)] {
            let mut browser = patient(stage.http);
            let request = format!("GET /live/{name}.mjpeg HTTP/1.1\r\nHost: x\r\n\r\n");
            browser.write_all(request.as_bytes()).unwrap();
            let length = format!("Content-Length: {bytes}");
            let mut lines = BufReader::new(browser).lines().map_while(Result::ok);
            assert!(lines.any(|line| line == length), "{name}");
            stage.native_of(name).seqs();
            let still = stage.get(&format!("/live/{name}.jpg")).to_lowercase();
            let length = format!("\r\ncontent-length: {bytes}\r\n");
            assert!(still.contains(&length), "{name}");
        }
    }
}

#[test]
fn an_unknown_channel_learns_of_those_there_are() {
    for stage in stages(&TWO) {
        let expected = "no channel \"attic\" here; there are: main, lab";
        let mut native = Native::connect(stage.tcp);
        native.hello("attic");
        let Message::Goodbye(goodbye) = native.next() else {
            panic!("not a goodbye");
        };
        let answer = (goodbye.code, &*goodbye.text);
        assert_eq!(answer, (GoodbyeCode::UnknownChannel, expected));
        for path in ["/live/attic.mjpeg", "/live/attic.jpg", "/watch/attic"] {
            let answer = stage.get(path);
            assert!(answer.starts_with("HTTP/1.1 404 "), "{path}: {answer}");
            assert!(
                answer.ends_with(&format!("{expected}\n")),
                "{path}: {answer}"
            );
        }
    }
}

#[test]
fn each_channel_has_a_page_that_leads_to_the_others() {
    let stage = stages(&TWO).next().unwrap();
    for (path, shown, other) in [
        ("/", "main", "lab"),
        ("/watch/main", "main", "lab"),
        ("/watch/lab", "lab", "main"),
    ] {
        let page = stage.get(path);
        assert!(
            page.contains(&format!("src=\"/live/{shown}.mjpeg\"")),
            "{page}"
        );
        assert!(page.contains(&format!("href=\"/watch/{other}\"")), "{page}");
        assert!(!page.contains("{{"), "{page}");
    }
}

#[test]
fn readiness_wants_every_channel_and_names_those_that_are_not() {
    let late = "--channel late --source pattern --fps 1 --frames-per-payload 64";
    let stage = stages(&[TWO[0], late]).next().unwrap();
    stage.native().seqs();
    let answer = stage.get("/readyz");
    assert!(answer.starts_with("HTTP/1.1 503 "), "{answer}");
    assert!(
        answer.contains("\r\n\r\nnot_ready late\nchannel main\n"),
        "{answer}"
    );
    assert!(stage.get("/healthz").starts_with("HTTP/1.1 200 "));

    let stage = stages(&TWO).next().unwrap();
    let mut viewer = stage.native_of("lab");
    viewer.seqs();
    let begun = Instant::now();
    while !stage.get("/readyz").starts_with("HTTP/1.1 200 ") {
        assert!(begun.elapsed() < PATIENCE, "{}", stage.get("/readyz"));
    }
    let facts = stage.get("/healthz");
    let (main, lab) = facts.split_once("channel lab\n").unwrap();
    assert!(
        main.contains("\nviewers 0\n") && lab.contains("\nviewers 1\n"),
        "{facts}"
    );
}

#[test]
fn all_channels_share_the_places() {
    let mut whole = config("--max-viewers 2");
    whole.channels = TWO.iter().flat_map(|line| config(line).channels).collect();
    let stage = Stage::on(whole);
    let _seated = [stage.native_of("main"), stage.native_of("lab")];
    for name in ["main", "lab"] {
        let mut refused = Native::connect(stage.tcp);
        refused.hello(name);
        let Message::Goodbye(goodbye) = refused.next() else {
            panic!("not a goodbye");
        };
        assert_eq!(goodbye.text, "all 2 places are taken");
    }
}
