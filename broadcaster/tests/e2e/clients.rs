//! Clients that others wrote watch the stream: curl, ffmpeg and OpenCV. What a browser shows is
//! looked at in `page`.
//!
//! Which frames they saw is read off the pixels they decoded. None of them may miss a frame, so
//! they ask for a generous `max_age`: what a slow client is spared is tested elsewhere.

use std::io::Read;
use std::path::Path;
use std::process::{Command, ExitStatus, Stdio};
use std::sync::mpsc;
use std::time::Duration;
use std::{env, thread};

use bytes::BytesMut;
use common::wire::DecodeError;
use common::wire::mjpeg::{self, Parser, Part};
use common::{Image, barcode, jpeg};
use turbojpeg::PixelFormat;

use super::stage::{Running, Stage};

/// How long a client may run: a little longer than `page.py`, which tidies up by itself.
pub(crate) const RUN_LIMIT: Duration = Duration::from_secs(40);
const STREAM: &str = "/live/main.mjpeg?max_age=10s";
const STILL: &str = "/live/main.jpg";
/// Frames that each decoder is asked for.
pub(crate) const FRAMES: usize = 20;
/// Exit code of curl when its time was up, which is how it leaves a stream.
const CURL_TIME_UP: i32 = 28;

/// Runs a client to its end; how it ended and what it wrote.
pub(crate) fn run(command: &mut Command) -> (ExitStatus, Vec<u8>) {
    let child = command.stdin(Stdio::null()).stdout(Stdio::piped()).spawn();
    let mut running = Running(child.unwrap());
    let mut stdout = running.0.stdout.take().unwrap();
    let (sender, written) = mpsc::channel();
    thread::spawn(move || {
        let mut bytes = Vec::new();
        let outcome = stdout.read_to_end(&mut bytes).map(|_| bytes);
        sender.send(outcome)
    });
    let Ok(outcome) = written.recv_timeout(RUN_LIMIT) else {
        panic!("{command:?} still runs after {RUN_LIMIT:?}");
    };
    // Its output is closed, so it has ended or is about to.
    (running.0.wait().unwrap(), outcome.unwrap())
}

/// Runs a client that must succeed; what it wrote.
pub(crate) fn run_well(command: &mut Command) -> Vec<u8> {
    let (status, output) = run(command);
    assert!(status.success(), "{command:?}: {status}");
    output
}

/// The Python that has what the tests need.
pub(crate) fn python() -> Command {
    let name = env::var_os("FRAMECAST_TEST_PYTHON");
    Command::new(name.unwrap_or_else(|| "python3".into()))
}

pub(crate) fn script(name: &str) -> Command {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/e2e");
    let mut command = python();
    // -B: no compiled files among the sources.
    command.arg("-B").arg(folder.join(name));
    command
}

/// Whether these tools are here. If not the test is to be skipped, which `STRICT=1` forbids.
pub(crate) fn are_installed(tools: &[&str]) -> bool {
    let missing = tools.iter().find(|tool| !is_installed(tool));
    missing.inspect(|tool| skip_without(tool)).is_none()
}

/// Says that a test is skipped and for lack of what, which `STRICT=1` forbids.
#[expect(clippy::print_stderr, reason = "a skipped test has to say so")]
pub(crate) fn skip_without(tool: &str) {
    let skipped = format!("skipped: {tool} is not installed");
    assert!(env::var("STRICT").as_deref() != Ok("1"), "{skipped}");
    eprintln!("{skipped}");
}

fn is_installed(tool: &str) -> bool {
    let mut probe = match tool {
        "cv2" | "pika" | "axe_playwright_python" | "prometheus_client" | "schemathesis" => {
            let import = format!("import importlib.util as u; assert u.find_spec({tool:?})");
            let outcome = python().args(["-c", &import]).output();
            return outcome.is_ok_and(|output| output.status.success());
        }
        "python3" => python(),
        program => Command::new(program),
    };
    // Not all of them know the argument, but what can be started is there.
    probe.arg("--version").output().is_ok()
}

/// A broadcaster whose test pattern has begun.
pub(crate) fn live() -> Stage {
    let stage = Stage::with("--source pattern");
    stage.native().seqs();
    stage
}

/// A number that the head of the newest still bears.
pub(crate) fn still_says(stage: &Stage, field: &str) -> u64 {
    let answer = stage.http_says(format!("GET {STILL} HTTP/1.1\r\nHost: x\r\n\r\n").as_bytes());
    value(&answer, field).parse().unwrap()
}

pub(crate) fn value<'a>(head: &'a str, field: &str) -> &'a str {
    let fields = head.lines().filter_map(|line| line.split_once(": "));
    let mut values = fields.filter(|(name, _)| name.eq_ignore_ascii_case(field));
    let Some((_, value)) = values.next() else {
        panic!("no {field} in {head}");
    };
    value
}

/// The sequence number in the bar code of a picture of the test pattern's size.
pub(crate) fn seq_shown(pixels: &[u8]) -> u64 {
    let image = Image {
        width: 640,
        height: 480,
        pixels: pixels.to_vec(),
    };
    barcode::read(&image).unwrap().seq
}

pub(crate) fn assert_consecutive(seqs: &[u64]) {
    let is_next = |seq: &u64, next: &u64| *next == seq + 1;
    assert!(seqs.is_sorted_by(is_next), "frames missing: {seqs:?}");
}

/// The numbers that a script printed, one a line.
pub(crate) fn printed(output: &[u8]) -> Vec<u64> {
    let text = str::from_utf8(output).unwrap();
    text.lines().map(|line| line.parse().unwrap()).collect()
}

fn curl(url: &str) -> Command {
    let mut command = Command::new("curl");
    command.args(["--silent", "--show-error", "--include", url]);
    command
}

/// Head and body of an answer.
fn split(answer: &[u8]) -> (&str, &[u8]) {
    let blank_line = answer.windows(4).position(|bytes| bytes == b"\r\n\r\n");
    let (head, body) = answer.split_at(blank_line.unwrap() + 4);
    (str::from_utf8(head).unwrap(), body)
}

fn whole_parts(content_type: &str, stream: &[u8]) -> Vec<Part> {
    let mut parser = Parser::new(content_type).unwrap();
    let mut buffer = BytesMut::from(stream);
    let mut parts = Vec::new();
    loop {
        match parser.decode(&mut buffer) {
            Ok(Some(part)) => parts.push(part),
            Err(DecodeError::Incomplete { .. }) => return parts,
            other => panic!("after {} parts: {other:?}", parts.len()),
        }
    }
}

#[test]
fn curl_reads_every_part_of_the_stream() {
    if !are_installed(&["curl"]) {
        return;
    }
    let stage = live();
    let (status, answer) = run(curl(&stage.url(STREAM)).args(["--max-time", "2"]));
    assert_eq!(status.code(), Some(CURL_TIME_UP));
    let (head, stream) = split(&answer);
    let parts = whole_parts(value(head, "Content-Type"), stream);
    assert!(parts.len() >= 30, "{} parts in 2 s", parts.len());
    for part in &parts {
        assert_eq!(part.head.content_length, Some(part.data.len()));
        assert_eq!(jpeg::scan(&part.data).unwrap().length, part.data.len());
    }
    let seqs: Vec<_> = parts.iter().map(|part| part.head.seq.unwrap()).collect();
    assert_consecutive(&seqs);
}

#[test]
fn curl_can_ask_for_heads_alone() {
    if !are_installed(&["curl"]) {
        return;
    }
    let stage = live();
    for (path, content_type) in [(STREAM, mjpeg::CONTENT_TYPE), (STILL, "image/jpeg")] {
        let answer = run_well(curl(&stage.url(path)).arg("--head"));
        let (head, body) = split(&answer);
        assert!(head.starts_with("HTTP/1.1 200 OK\r\n"), "{head}");
        assert_eq!(value(head, "Content-Type"), content_type);
        assert_eq!(value(head, "Cache-Control"), "no-store");
        assert!(body.is_empty());
    }
}

#[test]
fn curl_fetches_a_still_that_shows_the_frame_its_head_names() {
    if !are_installed(&["curl"]) {
        return;
    }
    let stage = live();
    let answer = run_well(&mut curl(&stage.url(STILL)));
    let (head, body) = split(&answer);
    assert_eq!(value(head, "Content-Length"), body.len().to_string());
    assert_eq!(jpeg::scan(body).unwrap().length, body.len());
    let picture = turbojpeg::decompress(body, PixelFormat::RGB).unwrap();
    assert_eq!((picture.width, picture.height), (640, 480));
    let shown = seq_shown(&picture.pixels);
    assert_eq!(value(head, "X-Sequence"), shown.to_string());
}

#[test]
fn ffmpeg_decodes_every_frame() {
    if !are_installed(&["ffmpeg"]) {
        return;
    }
    let stage = live();
    let mut ffmpeg = Command::new("ffmpeg");
    ffmpeg.args(["-v", "error", "-i", &stage.url(STREAM)]);
    // Passed through: the stream bears no frame rate, and ffmpeg would fill up to one it guesses.
    ffmpeg.args(["-fps_mode", "passthrough", "-frames:v", &FRAMES.to_string()]);
    ffmpeg.args(["-f", "rawvideo", "-pix_fmt", "rgb24", "-"]);
    let pixels = run_well(&mut ffmpeg);
    let seqs: Vec<_> = pixels.chunks(3 * 640 * 480).map(seq_shown).collect();
    assert_eq!(seqs.len(), FRAMES);
    assert_consecutive(&seqs);
}

#[test]
fn opencv_reads_every_frame() {
    if !are_installed(&["cv2"]) {
        return;
    }
    let stage = live();
    let mut opencv = script("opencv.py");
    opencv.args([stage.url(STREAM), FRAMES.to_string()]);
    let seqs = printed(&run_well(&mut opencv));
    assert_eq!(seqs.len(), FRAMES);
    assert_consecutive(&seqs);
}
