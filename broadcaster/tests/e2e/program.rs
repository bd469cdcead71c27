//! The program as its users start it: what it prints, what it refuses, how it ends.

use std::io::{BufRead, BufReader, Read};
use std::net::TcpListener;
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

use crate::stage::Running;

pub(crate) fn command(line: &str) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_broadcaster"));
    for (name, _) in std::env::vars().filter(|(name, _)| name.starts_with("FRAMECAST_")) {
        command.env_remove(name);
    }
    command.args(line.split_whitespace());
    command
}

/// Runs it to its end, which must come by itself.
pub(crate) fn output(line: &str) -> Output {
    command(line).output().unwrap()
}

/// The one line it says before it fails, and its exit code.
pub(crate) fn complaint(line: &str) -> (String, Option<i32>) {
    let output = output(line);
    let text = String::from_utf8(output.stderr).unwrap();
    (text, output.status.code())
}

pub(crate) fn start(command: &mut Command) -> (Running, Vec<String>) {
    start_and_read(command, 4)
}

/// Starts it and reads the first lines it prints.
pub(crate) fn start_and_read(command: &mut Command, lines: usize) -> (Running, Vec<String>) {
    let child = command
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn();
    let mut program = Running(child.unwrap());
    let stdout = program.0.stdout.take().unwrap();
    let lines = BufReader::new(stdout).lines().take(lines);
    let lines = lines.collect::<Result<_, _>>().unwrap();
    (program, lines)
}

/// Ends it as Ctrl-C does.
pub(crate) fn interrupt(program: &Running) {
    signal(program, Signal::INT);
}

fn signal(program: &Running, signal: Signal) {
    kill_process(Pid::from_child(&program.0), signal).unwrap();
}

#[test]
fn real_addresses_are_printed_once_everything_is_bound() {
    let (_program, lines) = start(&mut command(
        "--http 127.0.0.1:0 --tcp 127.0.0.1:0 --source pattern",
    ));
    assert_eq!(lines[0], "source  test pattern 640x480 at 30 fps");
    let page = lines[1].strip_prefix("page    http://").unwrap();
    let addr = page.strip_suffix('/').unwrap();
    assert!(!addr.ends_with(":0"));
    std::net::TcpStream::connect(addr).unwrap();
    assert!(lines[2].ends_with("/live/main.mjpeg"), "{}", lines[2]);
    assert!(
        lines[3].starts_with("native  tcp://127.0.0.1:"),
        "{}",
        lines[3]
    );
}

#[test]
fn a_signal_ends_it_cleanly_within_two_seconds() {
    for name in [Signal::INT, Signal::TERM] {
        let (mut program, _) = start(&mut command("--http 127.0.0.1:0 --tcp 127.0.0.1:0"));
        let begun = Instant::now();
        signal(&program, name);
        let status = program.0.wait().unwrap();
        assert_eq!(status.code(), Some(0), "{name:?}");
        assert!(
            begun.elapsed() < Duration::from_secs(2),
            "{:?}",
            begun.elapsed()
        );
    }
}

#[test]
fn the_environment_sets_what_flags_do_not() {
    let mut command = command("--http 127.0.0.1:0 --tcp 127.0.0.1:0 --fps 5");
    command.env("FRAMECAST_SOURCE", "pattern?bytes=9000");
    command.env("FRAMECAST_SIZE", "320x240");
    command.env("FRAMECAST_FPS", "99");
    let (_program, lines) = start(&mut command);
    assert_eq!(
        lines[0],
        "source  test pattern 320x240 at 5 fps, 9000 bytes a frame"
    );
}

#[test]
fn what_can_never_become_right_exits_2_with_one_line() {
    let folder = tempfile::tempdir().unwrap();
    let text = folder.path().join("notes.mjpeg");
    std::fs::write(&text, "no picture").unwrap();
    let text = text.display();
    for (line, part) in [
        (
            "--source /nowhere/clip.mjpeg".to_owned(),
            "no such file or folder",
        ),
        (format!("--source {text}"), "no JPEG picture in it"),
        (
            format!("--source {}", folder.path().display()),
            "no JPEG picture in it",
        ),
        (
            "--source rtsp://camera".to_owned(),
            "sources are auto, webcam",
        ),
        ("--source tcp://cam".to_owned(), "tcp://HOST:PORT"),
        ("--source http://".to_owned(), "http://HOST[:PORT]/path"),
        ("--size 12".to_owned(), "such as 1280x720"),
        ("--http 0.0.0.0:0".to_owned(), "add --open"),
        ("--log =".to_owned(), "a filter like broadcaster=debug"),
    ] {
        let (complaint, code) = complaint(&line);
        assert_eq!(code, Some(2), "{line}: {complaint}");
        assert!(complaint.contains(part), "{line}: {complaint}");
        let own = complaint.lines().filter(|l| l.starts_with("broadcaster: "));
        assert_eq!(own.count(), 1, "{line}: {complaint}");
    }
    for line in [
        "--fps fast",
        "--sauce pattern",
        "--driver threats",
        "--max-age 1",
    ] {
        assert_eq!(complaint(line).1, Some(2), "{line}");
    }
}

#[test]
fn a_busy_port_exits_1_and_says_so() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let addr = taken.local_addr().unwrap();
    for line in [
        format!("--http {addr} --tcp 127.0.0.1:0"),
        format!("--http 127.0.0.1:0 --tcp {addr}"),
    ] {
        let (complaint, code) = complaint(&line);
        assert_eq!(code, Some(1), "{complaint}");
        let expected = format!("{addr}: Address already in use (os error 98); another program");
        assert!(complaint.contains(&expected), "{complaint}");
    }
}

#[test]
fn auto_says_what_it_took() {
    let (mut program, lines) = start(&mut command("--http 127.0.0.1:0 --tcp 127.0.0.1:0"));
    assert!(lines[0].contains("test pattern"), "{}", lines[0]);
    interrupt(&program);
    let mut log = String::new();
    program
        .0
        .stderr
        .take()
        .unwrap()
        .read_to_string(&mut log)
        .unwrap();
    assert!(log.contains("showing the test pattern"), "{log}");
    assert!(!log.contains('\u{1b}'), "colours only on a terminal: {log}");
}

#[test]
fn help_teaches() {
    let help = String::from_utf8(output("--help").stdout).unwrap();
    for part in [
        "Examples:",
        "--source <SRC>",
        "tcp://HOST:PORT[/CHANNEL]",
        "[env: FRAMECAST_SOURCE]",
        "receiver tcp://",
    ] {
        assert!(help.contains(part), "{part}: {help}");
    }
}
