//! A source that is open only while somebody watches: opened, kept, released, and numbered on.

use std::thread;
use std::time::{Duration, Instant};

use common::Head;

use crate::clients::value;
use crate::program::complaint;
use crate::stage::{Native, PATIENCE, Stage};

const HOLD: Duration = Duration::from_millis(1_000);
/// How often is looked whether anybody watches, from when on the source is kept.
const SEEN_EVERY: Duration = Duration::from_millis(200);
/// However busy the machine is, whoever comes is sent the placeholder that waits there, and no later
/// frame instead of it.
const AGE: &str = "10s";
/// How much later than that a busy machine may be.
const LATE: Duration = Duration::from_secs(2);

/// The next frame that is no placeholder.
fn real(native: &mut Native) -> Head {
    let begun = Instant::now();
    loop {
        let head = native.heads()[0];
        if !head.is_placeholder() {
            return head;
        }
        assert!(begun.elapsed() < PATIENCE, "nothing but placeholders");
    }
}

/// A number that a page tells on a line of its own, or the last one in the line that begins so.
fn told(stage: &Stage, path: &str, line: &str) -> u64 {
    let page = stage.get(path);
    let found = page.lines().find_map(|one| one.strip_prefix(line));
    let Some(found) = found else {
        panic!("no {line} in {page}");
    };
    found.trim().parse().unwrap()
}

fn viewers(stage: &Stage) -> u64 {
    told(stage, "/healthz", "viewers ")
}

/// How many native viewers have ever been let in.
fn admitted(stage: &Stage) -> u64 {
    told(
        stage,
        "/metrics",
        "framecast_viewers_admitted_total{protocol=\"tcp\"} ",
    )
}

fn source(stage: &Stage) -> String {
    let health = stage.get("/healthz");
    let state = health.lines().find_map(|line| line.strip_prefix("source "));
    state.unwrap().to_owned()
}

fn wait_until(what: &str, is_so: impl Fn() -> bool) -> Duration {
    let begun = Instant::now();
    while !is_so() {
        assert!(begun.elapsed() < PATIENCE, "not {what}");
        thread::sleep(Duration::from_millis(5));
    }
    begun.elapsed()
}

/// A test pattern, and a relay of it that watches only while it is watched.
fn pair() -> (Stage, Stage) {
    let upstream = Stage::with("--source pattern --fps 50");
    upstream.native().seqs();
    wait_until("alone", || viewers(&upstream) == 0);
    let hold = HOLD.as_millis();
    let line = format!(
        "--source tcp://{} --on-demand={hold}ms --history 5s --max-age {AGE}",
        upstream.tcp
    );
    let relay = Stage::with(&line);
    (upstream, relay)
}

#[test]
fn the_source_is_open_while_somebody_watches_and_a_little_longer() {
    let (upstream, relay) = pair();
    let before = admitted(&upstream);
    // Nothing opens it by itself, the history neither.
    thread::sleep(Duration::from_millis(500));
    assert_eq!((viewers(&upstream), admitted(&upstream)), (0, before));

    let mut viewer = relay.native();
    let first = viewer.heads()[0];
    assert!(first.is_placeholder(), "{first:?}");
    let seen = real(&mut viewer);
    assert_eq!((viewers(&upstream), admitted(&upstream)), (1, before + 1));
    assert_eq!(source(&relay), "up");

    // Who comes back in time finds it as it was.
    drop(viewer);
    wait_until("left", || viewers(&relay) == 0);
    thread::sleep(HOLD / 3);
    let mut viewer = relay.native();
    assert!(!viewer.heads()[0].is_placeholder());
    thread::sleep(HOLD + HOLD / 2);
    real(&mut viewer);
    assert_eq!((viewers(&upstream), admitted(&upstream)), (1, before + 1));

    let mut other = relay.native();
    drop(viewer);
    wait_until("left", || viewers(&relay) == 1);
    thread::sleep(HOLD + HOLD / 2);
    real(&mut other);
    // It left between these two moments: from the one it is certainly no shorter, from the other no longer.
    let leaving = Instant::now();
    drop(other);
    wait_until("left", || viewers(&relay) == 0);
    let after = wait_until("released", || viewers(&upstream) == 0);
    let held = leaving.elapsed();
    assert!(held >= HOLD - SEEN_EVERY, "{held:?}");
    assert!(after < HOLD + LATE, "{after:?}");
    wait_until("idle", || source(&relay) == "idle");

    // Over the pause the numbers are those of the origin.
    let mut viewer = relay.native();
    assert!(viewer.heads()[0].is_placeholder());
    let again = real(&mut viewer);
    assert_eq!(again.identity.epoch, seen.identity.epoch);
    assert!(again.identity.seq > seen.identity.seq);
    assert_eq!(admitted(&upstream), before + 2);
}

#[test]
fn numbers_go_on_over_a_pause() {
    let line = format!("--source pattern --fps 50 --on-demand=200ms --max-age {AGE}");
    for stage in Stage::with_each_driver(&line) {
        let mut last: Option<Head> = None;
        for _ in 0..3 {
            wait_until("idle", || source(&stage) == "idle");
            let published = told(&stage, "/healthz", "frames ");
            let mut viewer = stage.native();
            let placeholder = viewer.heads()[0];
            assert!(placeholder.is_placeholder());
            let head = real(&mut viewer);
            assert_eq!(head.identity.seq, published);
            if let Some(last) = last {
                assert_eq!(placeholder.identity.epoch, last.identity.epoch);
                assert_eq!(placeholder.identity.seq, published - 1);
                assert_eq!(head.identity.epoch, last.identity.epoch);
                assert!(head.captured_at > last.captured_at);
            }
            last = Some(head);
        }
    }
}

#[test]
fn a_closed_source_is_ready_and_says_so() {
    let stage = Stage::with("--source pattern --on-demand=200ms");
    let shown = |state: &str| {
        let ready = stage.get("/readyz");
        assert!(ready.starts_with("HTTP/1.1 200 "), "{ready}");
        assert!(ready.contains(&format!("\nsource {state}\n")), "{ready}");
        let told = stage.get("/state");
        assert!(told.contains("\"online\": true"), "{told}");
        assert!(
            told.contains(&format!("\"on_demand\": \"{state}\"")),
            "{told}"
        );
        let line = format!("framecast_source_state{{channel=\"main\",state=\"{state}\"}} 1\n");
        let metrics = stage.get("/metrics");
        assert!(metrics.contains(&line), "{metrics}");
        assert!(
            metrics.contains("framecast_source_lost_total{channel=\"main\"} 0\n"),
            "{metrics}"
        );
    };
    wait_until("idle", || source(&stage) == "idle");
    shown("idle");
    let mut viewer = stage.native();
    real(&mut viewer);
    shown("up");
    drop(viewer);
    wait_until("idle", || source(&stage) == "idle");
    shown("idle");
}

#[test]
fn stills_open_it_and_are_of_now() {
    let stage = Stage::with("--source pattern --fps 20 --on-demand=300ms --history 30s");
    let mut newest = None;
    for path in [
        "/live/main.jpg",
        "/live/main.jpg?fresh=1",
        "/snapshot",
        "/?action=snapshot",
    ] {
        wait_until("idle", || source(&stage) == "idle");
        let frames = told(&stage, "/healthz", "frames ");
        let begun = Instant::now();
        let still = stage.get(path);
        assert!(still.starts_with("HTTP/1.1 200 "), "{path}: {still}");
        assert!(!still.contains("x-placeholder"), "{path}: {still}");
        assert!(
            begun.elapsed() < Duration::from_secs(5),
            "{:?}",
            begun.elapsed()
        );
        let seq: u64 = value(&still, "X-Sequence").parse().unwrap();
        assert!(seq >= frames, "{path}: {seq} is one of before");
        assert!(newest < Some(seq));
        newest = Some(seq);
        // By now it may have been released again.
        assert!(told(&stage, "/healthz", "frames ") > frames, "not opened");
    }
    // The past is there, and does not wake it.
    wait_until("idle", || source(&stage) == "idle");
    let frames = told(&stage, "/healthz", "frames ");
    let past = stage.get("/live/main.jpg?at=-100ms");
    assert!(past.starts_with("HTTP/1.1 200 "), "{past}");
    thread::sleep(Duration::from_millis(300));
    assert_eq!(source(&stage), "idle");
    assert_eq!(told(&stage, "/healthz", "frames "), frames);
}

#[test]
fn a_source_that_is_not_there_is_not_ready_while_it_is_wanted() {
    // Nobody listens at port 1.
    let stage = Stage::with("--source tcp://127.0.0.1:1 --on-demand=200ms");
    wait_until("idle", || source(&stage) == "idle");
    let viewer = stage.native();
    wait_until("missed", || source(&stage) == "placeholder");
    assert!(stage.get("/readyz").starts_with("HTTP/1.1 503 "));
    let begun = Instant::now();
    let fresh = stage.get("/live/main.jpg?fresh=1");
    assert!(fresh.starts_with("HTTP/1.1 503 "), "{fresh}");
    assert!(begun.elapsed() < Duration::from_secs(1), "said at once");
    let still = stage.get("/live/main.jpg");
    assert!(still.contains("x-placeholder: 1"), "{still}");
    drop(viewer);
    wait_until("idle", || source(&stage) == "idle");
    assert!(stage.get("/readyz").starts_with("HTTP/1.1 200 "));
}

#[test]
fn an_exchange_cannot_have_a_source_on_demand() {
    for model in ["rabbitmq", "ring,rabbitmq"] {
        let (line, code) = complaint(&format!("--source pattern --model {model} --on-demand"));
        assert_eq!(code, Some(2), "{line}");
        assert_eq!(line.lines().count(), 1, "{line}");
        let words = "--on-demand 10s: an exchange does not know who reads it";
        assert!(line.contains(words), "{line}");
    }
    let (line, code) = complaint("--source pattern --on-demand=soon");
    assert_eq!(code, Some(2), "{line}");
    assert!(line.contains("or off"), "{line}");
}
