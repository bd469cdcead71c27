//! Several channels at once: each viewer gets the one it asked for, from the same ports and workers.

use std::io::{BufRead, BufReader, Write};
use std::time::{Duration, Instant};

use common::wire::tcp::{GoodbyeCode, Message};
use common::wire::ws::text::Request;

use crate::stage::{Native, PATIENCE, Socket, Stage, patient};

/// A broadcaster with each driver, and with the channels of a configuration file.
fn stages(text: &str) -> impl Iterator<Item = Stage> {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("framecast.toml");
    std::fs::write(&file, text).unwrap();
    Stage::with_each_driver(&format!("--config {}", file.display()))
        .collect::<Vec<_>>()
        .into_iter()
}

/// However busy the machine is, no viewer is spared a frame for its age.
const TWO: &str = "
max_age = '10s'
[[channel]]
source = 'pattern?bytes=9000'
fps = 100
[[channel]]
name = 'lab'
source = 'pattern?bytes=30000'
fps = 50
";

/// How long the frames of the next payload are.
fn lengths(native: &mut Native) -> Vec<usize> {
    match native.next() {
        Message::Payload(frames) => frames.iter().map(|frame| frame.data().len()).collect(),
        other => panic!("not a payload: {other:?}"),
    }
}

#[test]
fn every_native_viewer_gets_the_channel_it_named_and_the_first_if_none() {
    for stage in stages(TWO) {
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
fn all_channels_arrive_over_one_websocket_without_a_gap() {
    for stage in stages(TWO) {
        let mut socket = Socket::connect(stage.http, "/live.ws", "");
        for channel in ["lab", "main"] {
            socket.say(&Request::Sub {
                channel: channel.to_owned(),
                max_age_ms: Some(10_000.0),
                fps: None,
            });
        }
        let mut numbers = [Vec::new(), Vec::new()];
        while numbers.iter().any(|seqs| seqs.len() < 100) {
            let (ch, seqs) = socket.seqs();
            numbers[usize::from(ch)].extend(seqs);
        }
        for seqs in &numbers {
            assert!(seqs.is_sorted_by(|one, next| one + 1 == *next), "{seqs:?}");
        }
        let [main, lab] = numbers.map(|seqs| seqs.len());
        assert!(
            main > 3 * lab / 2,
            "{main} and {lab}, of 100 and 50 a second"
        );
    }
}

#[test]
fn over_websocket_a_channel_comes_at_its_own_pace_whatever_the_others_do() {
    const SLOW_AND_FAST: &str = "
[[channel]]
source = 'pattern'
fps = 1
[[channel]]
name = 'lab'
source = 'pattern'
fps = 50
";
    for stage in stages(SLOW_AND_FAST) {
        let mut socket = Socket::connect(stage.http, "/live/lab.ws", "");
        socket.seqs();
        for _ in 0..100 {
            let begun = Instant::now();
            socket.seqs();
            // Whoever is not woken looks by itself once a second.
            let took = begun.elapsed();
            assert!(took < Duration::from_millis(500), "{took:?}");
        }
    }
}

#[test]
fn pages_of_other_hosts_get_no_websocket() {
    let stage = Stage::with("--source pattern");
    let own = format!("Origin: http://{}\r\n", stage.http);
    Socket::connect(stage.http, "/live/main.ws", &own).seqs();
    let refused = stage.http_says(
        b"GET /live.ws HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
          Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\
          Origin: http://evil.example\r\n\r\n",
    );
    assert!(
        refused.starts_with("HTTP/1.1 403 Forbidden\r\n"),
        "{refused}"
    );
    assert!(refused.contains("--allow-origin http://evil.example would let them"));
    let open = Stage::with("--source pattern --allow-origin http://home.example");
    let elsewhere = "Origin: http://home.example\r\n";
    Socket::connect(open.http, "/live/main.ws", elsewhere).seqs();
}

#[test]
fn frames_of_a_channel_arrive_without_a_gap_beside_a_faster_one() {
    for stage in stages(TWO) {
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
    for stage in stages(TWO) {
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
    for stage in stages(TWO) {
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
    let stage = stages(TWO).next().unwrap();
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
    let late = "[[channel]]\nname = 'late'\nsource = 'pattern'\nfps = 1\nframes_per_payload = 64";
    let stage = stages(&format!("{TWO}{late}")).next().unwrap();
    for name in ["main", "lab"] {
        stage.native_of(name).seqs();
    }
    let answer = stage.get("/readyz");
    assert!(answer.starts_with("HTTP/1.1 503 "), "{answer}");
    assert!(
        answer.contains("\r\n\r\nnot_ready late\nchannel main\n"),
        "{answer}"
    );
    assert!(stage.get("/healthz").starts_with("HTTP/1.1 200 "));

    let stage = stages(TWO).next().unwrap();
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
    let stage = stages(&format!("max_viewers = 2\n{TWO}")).next().unwrap();
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

/// The values of a line of `/healthz`, one for each time it is there.
fn facts(stage: &Stage, name: &str) -> Vec<u64> {
    let begin = format!("{name} ");
    let health = stage.get("/healthz");
    let values = health.lines().filter_map(|line| line.strip_prefix(&begin));
    values.map(|value| value.parse().unwrap()).collect()
}

#[test]
fn all_rings_together_take_at_most_half_of_the_memory() {
    let channel = |name| {
        format!(
            "[[channel]]\nname = '{name}'\nsource = 'pattern?bytes=100000'\nsize = '64x64'\nfps = 200\n"
        )
    };
    let channels = ["a", "b", "c", "d"].map(channel).concat();
    let text = format!("memory_budget = '4MB'\n{channels}");
    let stage = stages(&text).next().unwrap();
    // Each ring alone could hold 64 frames, 6.4 MB.
    let begun = Instant::now();
    while facts(&stage, "frames").iter().any(|frames| *frames < 70) {
        assert!(begun.elapsed() < PATIENCE, "{:?}", facts(&stage, "frames"));
    }
    // Beside the rings' 2 MB each channel may be busy with a frame.
    let [held] = *facts(&stage, "frame_bytes_held") else {
        panic!("not one account");
    };
    assert!((1_600_000..=2_400_000).contains(&held), "{held}");
}

#[test]
fn a_recording_and_a_pattern_are_served_side_by_side() {
    let footage = concat!(env!("CARGO_MANIFEST_DIR"), "/assets/footage.mjpeg");
    let text = format!("{TWO}[[channel]]\nname = 'film'\nsource = '{footage}'\nfps = 50\n");
    for stage in stages(&text) {
        let mut film = stage.native_of("film");
        let Message::Payload(frames) = film.next() else {
            panic!("not a payload");
        };
        assert_eq!((frames[0].head.width, frames[0].head.height), (640, 360));
        let mut lab = stage.native_of("lab");
        let first = film.seqs()[0];
        for expected in first + 1..first + 20 {
            assert_eq!(film.seqs(), [expected]);
            assert_eq!(lengths(&mut lab), [30_000]);
        }
    }
}
