//! Clients of ustreamer and mjpg-streamer, with the addresses and options they use: nothing in them
//! has to be changed but the host.

use std::process::Command;
use std::time::Instant;

use crate::clients::{
    FRAMES, are_installed, assert_consecutive, live, printed, run_well, script, seq_shown,
    still_says, value,
};
use crate::stage::{PATIENCE, Stage};

/// A generous limit of age, so that a slow test machine misses no frame.
const PATIENT: &str = "max_age=10s";

/// The sequence numbers that a client saw which reads like this.
fn seen(stage: &Stage, way: &str, target: &str) -> Vec<u64> {
    let mut client = script("drop_in.py");
    client.args([way, &stage.url(target), &FRAMES.to_string()]);
    printed(&run_well(&mut client))
}

#[test]
fn readers_of_streams_get_every_frame() {
    if !are_installed(&["cv2"]) {
        return;
    }
    let stage = live();
    for (way, target) in [
        ("length", "/?action=stream&timestamp=1700000000000"),
        ("length", "/stream?key=abc&advance_headers=1"),
        ("between", "/?action=stream&cacheBust=1700000000000"),
        ("boundary", "/stream?extra_headers=1"),
        ("boundary", "/?action=stream_0"),
    ] {
        let seqs = seen(&stage, way, &format!("{target}&{PATIENT}"));
        assert_eq!(seqs.len(), FRAMES, "{way} {target}");
        assert_consecutive(&seqs);
    }
}

#[test]
fn takers_of_stills_get_one_of_now() {
    if !are_installed(&["cv2"]) {
        return;
    }
    let stage = live();
    for (way, target) in [
        ("markers", "/?action=stream"),
        ("markers", "/stream"),
        ("still", "/?action=snapshot"),
        ("still", "/?action=snapshot&bypassCache=1700000000000"),
        ("still", "/snapshot"),
    ] {
        let before = still_says(&stage, "X-Sequence");
        let seqs = seen(&stage, way, target);
        let after = still_says(&stage, "X-Sequence");
        assert_eq!(seqs.len(), 1, "{way} {target}");
        assert!((before..=after).contains(&seqs[0]), "{way} {target}");
    }
}

#[test]
fn ffmpeg_and_opencv_read_the_streams() {
    if !are_installed(&["ffmpeg", "cv2"]) {
        return;
    }
    let stage = live();
    for target in ["/stream", "/?action=stream"] {
        let separator = if target.contains('?') { '&' } else { '?' };
        let url = stage.url(&format!("{target}{separator}{PATIENT}"));
        let mut ffmpeg = Command::new("ffmpeg");
        ffmpeg.args(["-v", "error", "-i", &url, "-fps_mode", "passthrough"]);
        ffmpeg.args(["-frames:v", &FRAMES.to_string()]);
        ffmpeg.args(["-f", "rawvideo", "-pix_fmt", "rgb24", "-"]);
        let pixels = run_well(&mut ffmpeg);
        let seqs: Vec<_> = pixels.chunks(3 * 640 * 480).map(seq_shown).collect();
        assert_eq!(seqs.len(), FRAMES);
        assert_consecutive(&seqs);
        let mut opencv = script("opencv.py");
        opencv.args([url, FRAMES.to_string()]);
        let seqs = printed(&run_well(&mut opencv));
        assert_eq!(seqs.len(), FRAMES);
        assert_consecutive(&seqs);
    }
}

#[test]
fn stills_and_state_bear_what_clients_of_ustreamer_look_at() {
    let stage = live();
    for target in ["/snapshot", "/?action=snapshot"] {
        let still = stage.get(target);
        assert!(still.starts_with("HTTP/1.1 200 OK\r\n"), "{target}");
        assert_eq!(value(&still, "Content-Type"), "image/jpeg");
        assert_eq!(value(&still, "X-UStreamer-Online"), "true");
        assert_eq!(value(&still, "X-UStreamer-Width"), "640");
        assert_eq!(value(&still, "X-UStreamer-Height"), "480");
        assert!(value(&still, "X-Timestamp").contains('.'));
    }
    let watching = stage.native();
    let mut state = stage.get("/state");
    // The rate is that of the last second, which has just begun.
    let begun = Instant::now();
    while !state.contains(r#""captured_fps": 30}"#) {
        assert!(begun.elapsed() < PATIENCE, "{state}");
        assert!(
            value(&state, "Content-Type") == "application/json",
            "{state}"
        );
        state = stage.get("/state");
    }
    let body = state.rsplit("\r\n\r\n").next().unwrap();
    let known = r#"{"ok": true, "result": {"source": {"resolution": {"width": 640, "height": 480}, "online": true, "desired_fps": 30, "captured_fps": 30}, "stream": {"clients": 1}}}"#;
    assert_eq!(body, known);
    drop(watching);
}

#[test]
fn heads_are_answered_and_other_methods_refused() {
    let stage = live();
    for target in [
        "/stream",
        "/snapshot",
        "/?action=stream",
        "/?action=snapshot",
        "/state",
    ] {
        let says = |method| {
            stage.http_says(format!("{method} {target} HTTP/1.1\r\nHost: x\r\n\r\n").as_bytes())
        };
        let head = says("HEAD");
        assert!(head.starts_with("HTTP/1.1 200 OK\r\n"), "{target}: {head}");
        assert!(head.ends_with("\r\n\r\n"), "{target} has a body");
        assert!(says("DELETE").starts_with("HTTP/1.1 405 "), "{target}");
    }
    let page = stage.get("/?action=none");
    assert_eq!(value(&page, "Content-Type"), "text/html; charset=utf-8");
}

#[test]
fn inputs_are_named_by_their_places() {
    let stage = live();
    let unknown = stage.get("/?action=snapshot_1");
    assert!(unknown.starts_with("HTTP/1.1 404 "), "{unknown}");
    assert!(unknown.contains("there is: main"), "{unknown}");
    assert!(
        stage
            .get("/?action=snapshot_0")
            .starts_with("HTTP/1.1 200 ")
    );
}
