//! What the log says: one line for a viewer's life, and little of a fault that goes on.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::program::{command, interrupt, start};
use crate::stage::{Native, PATIENCE, Running, patient, says};

/// Waits until as many viewers are there as should be.
fn wait_for_viewers(http: SocketAddr, count: usize) {
    let begun = Instant::now();
    let request = format!("GET /api/v1/viewers HTTP/1.1\r\nHost: {http}\r\n\r\n");
    while !says(http, request.as_bytes()).contains(&format!("\"count\":{count},")) {
        assert!(begun.elapsed() < PATIENCE, "not {count} viewers");
        thread::sleep(Duration::from_millis(50));
    }
}

/// Ends it and reads its log.
fn log_of(mut program: Running) -> String {
    interrupt(&program);
    let mut log = String::new();
    let mut stderr = program.0.stderr.take().unwrap();
    stderr.read_to_string(&mut log).unwrap();
    log
}

/// Starts it on free ports; where it is for browsers and for native viewers.
fn start_anywhere(command: &mut Command) -> (Running, SocketAddr, SocketAddr) {
    let (program, lines) = start(command);
    let addr = |line: &str| line.split('/').nth(2).unwrap().parse().unwrap();
    (program, addr(&lines[1]), addr(&lines[3]))
}

/// The program with free ports and these arguments.
fn anywhere(rest: &str) -> Command {
    command(&format!("--http 127.0.0.1:0 --tcp 127.0.0.1:0 {rest}"))
}

#[test]
fn a_viewers_life_is_one_line_and_lines_are_json_if_asked_for() {
    for driver in ["multiplex", "threads"] {
        let rest = "--source pattern --size 320x240 --log-format json --driver";
        let (program, http, tcp) = start_anywhere(&mut anywhere(&format!("{rest} {driver}")));
        let mut native = Native::connect(tcp);
        native.hello("");
        native.next();
        (0..5).for_each(|_| drop(native.seqs()));
        let mut stream = patient(http);
        write!(stream, "GET /stream HTTP/1.1\r\nHost: x\r\n\r\n").unwrap();
        stream.read_exact(&mut [0; 10_000]).unwrap();
        wait_for_viewers(http, 2);
        let peers = [&native.stream, &stream].map(|stream| stream.local_addr().unwrap());
        drop((native, stream));
        wait_for_viewers(http, 0);
        let log = log_of(program);
        let lines = log.lines().map(serde_json::from_str);
        let lines = lines.collect::<Result<Vec<Value>, _>>().expect(&log);
        for line in &lines {
            assert!(line["timestamp"].is_string() && line["level"].is_string());
        }
        for (peer, protocol) in peers.iter().zip(["tcp", "http"]) {
            let peer = peer.to_string();
            let about: Vec<_> = lines
                .iter()
                .filter(|line| line.to_string().contains(&peer))
                .collect();
            let [life] = about[..] else {
                panic!("{about:?}")
            };
            let fields = &life["fields"];
            assert_eq!(fields["message"], "viewer gone");
            assert_eq!(fields["peer"], peer);
            assert_eq!(fields["protocol"], protocol);
            assert_eq!(fields["channel"], "main");
            assert!(fields["sent"].as_u64() >= Some(1), "{life}");
            assert!(fields["bytes"].as_u64() >= Some(10_000), "{life}");
            assert!(fields["reason"].is_string(), "{life}");
        }
    }
}

#[test]
fn a_fault_that_goes_on_is_told_at_most_once_a_second() {
    // Ten connections a second are tried and fail, for there are descriptors for a few only.
    let mut program = Command::new("sh");
    let broadcaster = anywhere("--source pattern");
    program.args(["-c", "ulimit -n 60; exec \"$0\" \"$@\""]);
    program
        .arg(broadcaster.get_program())
        .args(broadcaster.get_args());
    // For what it takes out of the environment.
    for (name, _) in broadcaster.get_envs() {
        program.env_remove(name);
    }
    let (program, http, _) = start_anywhere(&mut program);
    let begun = Instant::now();
    let held: Vec<_> = (0..100)
        .map(|_| TcpStream::connect(http).unwrap())
        .collect();
    thread::sleep(Duration::from_millis(3_500));
    drop(held);
    let log = log_of(program);
    // Until then it may have said so once more.
    let took = begun.elapsed();
    let told = log
        .lines()
        .filter(|line| line.contains("not accepted"))
        .count();
    let most = usize::try_from(took.as_secs()).unwrap() + 1;
    assert!(
        (2..=most).contains(&told),
        "{told} lines in {took:?}: {log}"
    );
}

#[test]
fn of_many_damaged_pictures_one_is_told() {
    let folder = tempfile::tempdir().unwrap();
    let clip = folder.path().join("clip.mjpeg");
    let footage = include_bytes!("../../assets/footage.mjpeg");
    let starts = footage
        .windows(3)
        .enumerate()
        .filter(|(_, bytes)| *bytes == [0xff, 0xd8, 0xff]);
    let starts: Vec<_> = starts.map(|(at, _)| at).take(2).collect();
    let picture = &footage[starts[0]..starts[1]];
    let mut damaged = picture[..picture.len() / 2].repeat(50);
    damaged.extend(picture);
    std::fs::write(&clip, damaged).unwrap();
    let (program, ..) = start_anywhere(&mut anywhere(&format!("--source {}", clip.display())));
    let log = log_of(program);
    assert!(log.contains(", 50 damaged skipped"), "{log}");
    let told = log
        .lines()
        .filter(|line| line.contains("damaged picture skipped"))
        .count();
    assert_eq!(told, 1, "{log}");
}
