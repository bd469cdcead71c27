//! A camera that comes and goes, played by `scripts/fakecam`: a library put before libc that
//! answers for a device node.
#![cfg(target_os = "linux")]

use std::io::Read as _;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::time::{Duration, Instant};

use common::Head;
use common::wire::tcp::Message;
use tempfile::TempDir;

use crate::program::{command, interrupt, start};
use crate::stage::{Native, PATIENCE, Running, says};

/// Frames that the camera gives before it is pulled out.
const FRAMES: usize = 40;

/// A made camera: its library and its node.
struct Fake {
    folder: TempDir,
}

impl Fake {
    fn build() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("../scripts/fakecam/fakecam.c");
        let built = Command::new("cc")
            .args(["-O2", "-shared", "-fPIC", "-o"])
            .arg(folder.path().join("fakecam.so"))
            .arg(&source)
            .arg("-ldl")
            .status();
        assert!(
            built.unwrap().success(),
            "{} is not built",
            source.display()
        );
        Self { folder }
    }

    fn node(&self) -> PathBuf {
        self.folder.path().join("video0")
    }

    fn plug(&self) {
        std::fs::write(self.node(), "").unwrap();
    }

    /// The broadcaster with this camera as its source.
    fn broadcaster(&self, line: &str) -> Command {
        let line = format!(
            "--source webcam:{} --http 127.0.0.1:0 --tcp 127.0.0.1:0 {line}",
            self.node().display()
        );
        let mut command = command(&line);
        let footage = concat!(env!("CARGO_MANIFEST_DIR"), "/assets/footage.mjpeg");
        command
            .env("LD_PRELOAD", self.folder.path().join("fakecam.so"))
            .env("FAKECAM_DEV", self.node())
            .env("FAKECAM_FILE", footage)
            .env("FAKECAM_W", "640")
            .env("FAKECAM_H", "360")
            .env("FAKECAM_FPS", "50");
        command
    }
}

fn addr(line: &str, scheme: &str) -> SocketAddr {
    let (_, address) = line.split_once(scheme).unwrap();
    address.split('/').next().unwrap().parse().unwrap()
}

/// A running broadcaster: what it printed, where its page is, and a viewer.
fn watched(command: &mut Command) -> (Running, Vec<String>, SocketAddr, Native) {
    let (program, lines) = start(command);
    let mut native = Native::connect(addr(&lines[3], "tcp://"));
    native.hello("");
    assert!(matches!(native.next(), Message::Welcome(_)));
    let http = addr(&lines[1], "http://");
    (program, lines, http, native)
}

fn get(addr: SocketAddr, path: &str) -> String {
    says(
        addr,
        format!("GET {path} HTTP/1.1\r\nHost: x\r\n\r\n").as_bytes(),
    )
}

#[test]
fn a_camera_that_is_pulled_out_leaves_its_viewers_a_placeholder() {
    let fake = Fake::build();
    fake.plug();
    // However busy the machine is, the viewer is sent every frame.
    let mut command = fake.broadcaster("--history 60s --max-age 10s");
    command.env("FAKECAM_UNPLUG_AFTER", FRAMES.to_string());
    let (_program, lines, http, mut native) = watched(&mut command);
    assert!(lines[0].contains("MJPEG 640x360 at 50 fps"), "{}", lines[0]);
    assert!(lines[0].contains("chosen by default"), "{}", lines[0]);

    let mut last = native.heads()[0];
    assert_eq!((last.width, last.height), (640, 360));
    let placeholder = loop {
        let head = native.heads()[0];
        if head.is_placeholder() {
            break head;
        }
        assert_eq!(head.identity.seq, last.identity.seq + 1);
        assert!(head.captured_at > last.captured_at);
        last = head;
    };
    assert_eq!(placeholder.identity, last.identity);
    assert_eq!(placeholder.captured_at, last.captured_at);
    // On a busy machine a picture may be overtaken by the next before it is taken.
    let shown = last.identity.seq + 1;
    assert!(
        (FRAMES as u64 / 2..=FRAMES as u64).contains(&shown),
        "{shown}"
    );
    for path in ["/live/main.jpg", "/snapshot", "/?action=snapshot"] {
        let still = get(http, path);
        let head = still.split("\r\n\r\n").next().unwrap();
        assert!(head.starts_with("HTTP/1.1 200 OK\r\n"), "{path}: {head}");
        assert!(head.contains("\r\nx-placeholder: 1"), "{path}: {head}");
        let is_marked = head.contains("\r\nx-ustreamer-online: false");
        assert_eq!(is_marked, path != "/live/main.jpg", "{path}: {head}");
    }
    assert!(get(http, "/readyz").starts_with("HTTP/1.1 503 "));
    // There is a history, and what is fresh may come: but not now, which is said at once.
    for query in ["fresh=1", "at=-10ms", "at=-60s"] {
        let begun = Instant::now();
        let answer = get(http, &format!("/live/main.jpg?{query}"));
        assert!(answer.starts_with("HTTP/1.1 503 "), "{query}: {answer}");
        assert!(answer.contains("placeholder"), "{query}: {answer}");
        assert!(begun.elapsed() < Duration::from_secs(4), "{query}");
    }

    // The viewer stays, and is told every second.
    for _ in 0..2 {
        let again = native.heads()[0];
        assert!(again.is_placeholder());
        assert_eq!(again.identity, last.identity);
    }
}

#[test]
fn a_camera_whose_pictures_have_another_size_than_was_set_is_shown_with_one_warning() {
    let fake = Fake::build();
    fake.plug();
    let mut command = fake.broadcaster("");
    command.env("FAKECAM_H", "352");
    let (mut program, lines, _, mut native) = watched(&mut command);
    assert!(lines[0].contains("MJPEG 640x352"), "{}", lines[0]);
    for seq in 0..FRAMES {
        let head = native.heads()[0];
        assert_eq!((head.width, head.height), (640, 360));
        assert!(!head.is_placeholder());
        assert!(head.identity.seq >= seq as u64);
    }
    interrupt(&program);
    let mut log = String::new();
    let mut stderr = program.0.stderr.take().unwrap();
    stderr.read_to_string(&mut log).unwrap();
    let warnings = log.matches("its pictures measure 640x360, though 640x352 was set");
    assert_eq!(warnings.count(), 1, "{log}");
}

#[test]
fn a_camera_that_has_only_faster_rates_is_thinned_without_gaps() {
    let fake = Fake::build();
    fake.plug();
    let (_program, lines, _, mut native) = watched(&mut fake.broadcaster("--fps 10 --max-age 10s"));
    let description = "MJPEG 640x360 at 50 fps, thinned to 10";
    assert!(lines[0].ends_with(description), "{}", lines[0]);
    let heads: Vec<_> = (0..20).map(|_| native.heads()[0]).collect();
    let is_next = |pair: &[Head]| pair[1].identity.seq == pair[0].identity.seq + 1;
    assert!(heads.windows(2).all(is_next));
    let span = heads[19].captured_at.since(heads[0].captured_at);
    // The first and the last may each be off by less than half the camera's own time.
    let exact = Duration::from_millis(1900);
    assert!(span + Duration::from_millis(20) > exact, "{span:?}");
    assert!(span < 2 * exact, "{span:?}");
}

#[test]
fn a_camera_may_be_plugged_in_after_the_start() {
    let fake = Fake::build();
    // However busy the machine is, the viewer is sent the first frame.
    let mut command = fake.broadcaster("--size 640x360 --max-age 10s");
    let (mut program, lines, http, mut native) = watched(&mut command);
    assert!(
        lines[0].contains("a placeholder, until there is a source"),
        "{}",
        lines[0]
    );
    let first = native.heads()[0];
    assert!(first.is_placeholder());
    assert_eq!((first.width, first.height), (640, 360));
    assert!(get(http, "/live/main.jpg").contains("x-placeholder: 1\r\n"));
    fake.plug();
    let begun = Instant::now();
    let first = loop {
        let head = native.heads()[0];
        if !head.is_placeholder() {
            break head;
        }
        assert!(begun.elapsed() < PATIENCE, "the camera is not found");
    };
    assert_eq!(first.identity.seq, 0);
    assert!(get(http, "/readyz").starts_with("HTTP/1.1 200 "));
    interrupt(&program);
    assert_eq!(program.0.wait().unwrap().code(), Some(0));
}

#[test]
fn what_the_camera_does_not_have_exits_2_and_lists_what_it_has() {
    let fake = Fake::build();
    fake.plug();
    for (line, part) in [
        (
            "--size 641x360",
            "no size 641x360; there is:\n  MJPEG 640x360 at 50 fps",
        ),
        ("--control zoom=1", "no control zoom; there is:\n  none"),
    ] {
        let Output { status, stderr, .. } = fake.broadcaster(line).output().unwrap();
        let text = String::from_utf8_lossy(&stderr);
        assert_eq!(status.code(), Some(2), "{text}");
        assert!(text.contains(part), "{text}");
    }
}

/// Whether the program has the camera open: its pictures come on a thread of their own.
fn is_open(program: &Running) -> bool {
    let tasks = std::fs::read_dir(format!("/proc/{}/task", program.0.id())).unwrap();
    let names = tasks
        .flatten()
        .map(|task| std::fs::read_to_string(task.path().join("comm")));
    names.flatten().any(|name| name == "camera\n")
}

fn wait_until(what: &str, is_so: impl Fn() -> bool) {
    let begun = Instant::now();
    while !is_so() {
        assert!(begun.elapsed() < PATIENCE, "not {what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

#[test]
fn a_camera_on_demand_is_open_only_while_somebody_watches() {
    let fake = Fake::build();
    fake.plug();
    let (mut program, lines) = start(&mut fake.broadcaster("--on-demand=300ms --max-age 10s"));
    assert!(
        lines[0].ends_with(", opened while somebody watches"),
        "{}",
        lines[0]
    );
    let (http, tcp) = (addr(&lines[1], "http://"), addr(&lines[3], "tcp://"));
    let mut last = None;
    for _ in 0..2 {
        assert!(get(http, "/readyz").starts_with("HTTP/1.1 200 "));
        assert!(!is_open(&program));
        let mut native = Native::connect(tcp);
        native.hello("");
        assert!(matches!(native.next(), Message::Welcome(_)));
        let placeholder = native.heads()[0];
        assert!(placeholder.is_placeholder());
        let begun = Instant::now();
        let first = loop {
            let head = native.heads()[0];
            if !head.is_placeholder() {
                break head;
            }
            assert!(begun.elapsed() < PATIENCE, "the camera is not opened");
        };
        assert!(is_open(&program));
        assert_eq!(placeholder.identity.epoch, first.identity.epoch);
        assert!(last < Some(first.identity.seq));
        last = Some(first.identity.seq);
        drop(native);
        wait_until("released", || !is_open(&program));
        wait_until("idle", || get(http, "/readyz").contains("\nsource idle\n"));
    }
    // Nobody is at fault, and each time there are two lines.
    interrupt(&program);
    let mut log = String::new();
    let mut stderr = program.0.stderr.take().unwrap();
    stderr.read_to_string(&mut log).unwrap();
    let mut warnings = log.lines().filter(|line| line.contains("WARN"));
    // Which a busy machine may have to do.
    let is_left_out = |line: &str| line.contains("pictures left out");
    assert!(warnings.all(is_left_out), "{log}");
    assert_eq!(log.matches("source opened on demand").count(), 2, "{log}");
    assert_eq!(log.matches("source released").count(), 2, "{log}");
}
