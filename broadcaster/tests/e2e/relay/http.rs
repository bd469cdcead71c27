//! Relays of MJPEG servers: our own, a hand-made one with bad habits, and ustreamer.

use std::collections::HashMap;
use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use bytes::Bytes;
use common::{Clock, Frame, SystemClock, jpeg};

use super::{Stage, follow, next, next_real, receiver_of, seqs};
use crate::clients::are_installed;
use crate::stage::{Kept, PATIENCE, Running};

#[test]
fn our_own_stream_is_numbered_afresh_and_keeps_its_times() {
    const FRAMES: u64 = 50;
    let origin = Stage::with("--source pattern --fps 50");
    let url = origin.url("/live/main.mjpeg?max_age=10s");
    let relay = Stage::with(&format!("--source {url}"));
    let last = Arc::new(AtomicU64::new(u64::MAX));
    let mut at_relay = receiver_of(relay.tcp);
    let first = next_real(&mut at_relay).head.identity;
    let at_origin = follow(origin.tcp, &last);
    let arrived: Vec<_> = (0..FRAMES).map(|_| next_real(&mut at_relay)).collect();
    assert_eq!(
        seqs(&arrived),
        Vec::from_iter(first.seq + 1..=first.seq + FRAMES)
    );
    last.store(0, Ordering::Relaxed);
    let micros = |frame: &Frame| frame.head.captured_at.as_nanos() / 1_000;
    let sent = at_origin.join().unwrap().into_iter();
    let sent: HashMap<_, _> = sent.map(|frame| (micros(&frame), frame)).collect();
    let pairs = arrived
        .iter()
        .filter_map(|frame| Some((frame, sent.get(&micros(frame))?)));
    let mut compared = 0;
    for (arrived, sent) in pairs {
        assert_eq!(arrived.data(), sent.data());
        assert_eq!((arrived.head.width, arrived.head.height), (640, 480));
        assert_eq!(arrived.head.hops, 1);
        assert_eq!(arrived.head.identity.epoch, first.epoch);
        assert_ne!(first.epoch, sent.head.identity.epoch);
        compared += 1;
    }
    assert!(compared > FRAMES / 2, "{compared}");
}

/// Three different pictures.
fn pictures() -> Vec<Bytes> {
    let footage = Bytes::from_static(include_bytes!("../../../assets/footage.mjpeg"));
    let mut at = 0;
    let mut picture = || {
        let length = jpeg::scan(&footage[at..]).unwrap().length;
        at += length;
        footage.slice(at - length..at)
    };
    vec![picture(), picture(), picture()]
}

/// A server that sends to all who come what `body` writes, again and again.
fn serve(
    body: impl Fn(&mut TcpStream) -> std::io::Result<()> + Send + Sync + 'static,
) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let addr = listener.local_addr().unwrap();
    let body = Arc::new(body);
    thread::spawn(move || {
        for stream in listener.incoming() {
            let (mut stream, body) = (stream.unwrap(), body.clone());
            thread::spawn(move || -> std::io::Result<()> {
                // The request, to its blank line.
                let lines = BufReader::new(stream.try_clone()?).lines();
                lines.map_while(Result::ok).find(String::is_empty);
                stream.write_all(
                    b"HTTP/1.0 200 OK\nContent-Type: multipart/x-mixed-replace;boundary=--cut\n\n",
                )?;
                loop {
                    body(&mut stream)?;
                }
            });
        }
    });
    addr
}

#[test]
fn parts_without_a_length_a_number_or_a_time_are_given_them() {
    let addr = serve(|stream| {
        for picture in pictures() {
            stream.write_all(b"--cut\nContent-Type: image/jpeg\n\n")?;
            stream.write_all(&picture)?;
            stream.write_all(b"\n")?;
            thread::sleep(Duration::from_millis(20));
        }
        Ok(())
    });
    let relay = Stage::with(&format!("--source http://{addr}/?action=stream"));
    let mut ingress = receiver_of(relay.tcp);
    let pictures = pictures();
    let mut before = next_real(&mut ingress);
    let place = |frame: &Frame| pictures.iter().position(|picture| picture == frame.data());
    for _ in 0..30 {
        let frame = next_real(&mut ingress);
        assert_eq!(frame.head.identity.epoch, before.head.identity.epoch);
        assert_eq!(frame.head.identity.seq, before.head.identity.seq + 1);
        assert_eq!(place(&frame), Some((place(&before).unwrap() + 1) % 3));
        assert!(frame.head.captured_at > before.head.captured_at);
        assert!(SystemClock.wall().since(frame.head.captured_at) < PATIENCE);
        before = frame;
    }
}

#[test]
fn damaged_parts_are_counted_and_not_passed_on() {
    let addr = serve(|stream| {
        let picture = &pictures()[0];
        let parts = [&picture[..], b"GIF89a", &picture[..picture.len() - 2], b""];
        for part in parts {
            write!(stream, "--cut\r\nContent-Length: {}\r\n\r\n", part.len())?;
            stream.write_all(part)?;
            stream.write_all(b"\r\n")?;
        }
        thread::sleep(Duration::from_millis(20));
        Ok(())
    });
    let relay = Stage::with(&format!("--source http://{addr}"));
    let mut ingress = receiver_of(relay.tcp);
    let first = next_real(&mut ingress).head.identity.seq;
    for expected in first + 1..first + 20 {
        let frame = next_real(&mut ingress);
        assert_eq!(frame.head.identity.seq, expected);
        assert_eq!(*frame.data(), pictures()[0]);
    }
    let health = relay.http_says(b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n");
    let damaged = health
        .lines()
        .find_map(|line| line.strip_prefix("damaged "));
    assert!(
        damaged.unwrap().parse::<u64>().unwrap() >= 3 * 19,
        "{health}"
    );
}

/// ustreamer on a camera that is none, and the folder with what that takes.
struct Ustreamer {
    _program: Running,
    _folder: tempfile::TempDir,
    _kept: Kept,
    addr: SocketAddr,
}

impl Ustreamer {
    fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let (camera, device) = (folder.path().join("camera.so"), folder.path().join("video"));
        compile_camera(&camera);
        fs::write(&device, []).unwrap();
        let kept = Kept::new();
        let addr = kept.addr;
        let mut command = Command::new("ustreamer");
        command.arg("--device").arg(&device);
        command
            .args("--format MJPEG --encoder HW --resolution 640x360 --desired-fps 25".split(' '));
        command.args(["--host", "127.0.0.1", "--port", &addr.port().to_string()]);
        command
            .env("LD_PRELOAD", &camera)
            .env("FAKECAM_DEV", &device);
        command.env(
            "FAKECAM_FILE",
            in_project("broadcaster/assets/footage.mjpeg"),
        );
        command
            .env("FAKECAM_W", "640")
            .env("FAKECAM_H", "360")
            .env("FAKECAM_FPS", "25");
        command
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        Self {
            _program: Running(command.spawn().unwrap()),
            _folder: folder,
            _kept: kept,
            addr,
        }
    }
}

fn compile_camera(camera: &Path) {
    let mut compiler = Command::new("cc");
    compiler.args(["-O2", "-shared", "-fPIC", "-o"]).arg(camera);
    compiler.arg(in_project("scripts/fakecam/fakecam.c"));
    assert!(compiler.status().unwrap().success());
}

fn in_project(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(path)
}

/// What fakecam writes into a comment behind the start marker: when it gave the picture away, wall
/// clock ns, and its number.
fn stamp(picture: &[u8]) -> (u64, u32) {
    let stamp = picture
        .strip_prefix(b"\xff\xd8\xff\xfe\0\x1eFAKECAM-STAMP:")
        .unwrap();
    let nanos = u64::from_le_bytes(stamp[..8].try_into().unwrap());
    (nanos, u32::from_le_bytes(stamp[8..12].try_into().unwrap()))
}

#[test]
fn ustreamer_is_relayed_picture_for_picture() {
    const FRAMES: usize = 50;
    if !are_installed(&["cc", "ustreamer"]) {
        return;
    }
    let ustreamer = Ustreamer::start();
    let relay = Stage::with(&format!("--source http://{}/stream", ustreamer.addr));
    let mut ingress = receiver_of(relay.tcp);
    let begun = Instant::now();
    // Before it has a picture of its camera ustreamer sends one of its own.
    while !next_real(&mut ingress).data()[2..].starts_with(b"\xff\xfe\0\x1eFAKECAM") {
        assert!(begun.elapsed() < PATIENCE);
    }
    let frames: Vec<_> = (0..FRAMES).flat_map(|_| next(&mut ingress)).collect();
    let shown: Vec<_> = frames.iter().map(|frame| stamp(frame.data())).collect();
    assert!(seqs(&frames).is_sorted_by(|seq, next| *next == seq + 1));
    assert!(
        shown.is_sorted_by(|(_, number), (_, next)| number < next),
        "{shown:?}"
    );
    for (frame, (given_at, _)) in frames.iter().zip(shown) {
        assert_eq!((frame.head.width, frame.head.height), (640, 360));
        let late = frame.head.captured_at.as_nanos().saturating_sub(given_at);
        assert!(
            Duration::from_nanos(late) < Duration::from_secs(2),
            "{late} ns"
        );
    }
}
