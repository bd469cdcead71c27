//! Upstreams that mean no good: the relay stays small, says so once, shows the placeholder and tries
//! again.

use std::fs;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use common::wire::mjpeg;
use common::wire::tcp::{Message, Welcome};

use super::Program;

/// A message of a byte a second is waited for for half a minute.
const LONGEST_TRY: Duration = Duration::from_secs(45);
/// The largest frame, twice, and what a broadcaster needs anyway.
const MOST_MEMORY_KB: usize = 96 << 10;

/// What an upstream does with a connection; it ends when the relay leaves.
type Treatment = fn(TcpStream) -> std::io::Result<()>;

/// Starts a server that treats all alike; where it is and how many came.
fn serve(treatment: Treatment) -> (SocketAddr, Arc<AtomicUsize>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let addr = listener.local_addr().unwrap();
    let count = Arc::new(AtomicUsize::new(0));
    let counted = count.clone();
    thread::spawn(move || {
        for stream in listener.incoming() {
            counted.fetch_add(1, Ordering::Relaxed);
            let stream = stream.unwrap();
            thread::spawn(move || drop(treatment(stream)));
        }
    });
    (addr, count)
}

/// Says nothing until the relay leaves.
fn hold(mut stream: TcpStream) -> std::io::Result<()> {
    std::io::copy(&mut stream, &mut std::io::sink()).map(drop)
}

/// Says the same until the relay leaves.
fn repeat(mut stream: TcpStream, bytes: &[u8]) -> std::io::Result<()> {
    let bytes = bytes.repeat((64 << 10) / bytes.len());
    loop {
        stream.write_all(&bytes)?;
    }
}

/// Says this and then nothing but zeros, one byte a second, until the relay leaves.
fn drip(mut stream: TcpStream, bytes: &[u8]) -> std::io::Result<()> {
    for byte in bytes.iter().chain(std::iter::repeat(&0)) {
        stream.write_all(&[*byte])?;
        thread::sleep(Duration::from_secs(1));
    }
    Ok(())
}

fn welcome(stream: &mut TcpStream) -> std::io::Result<()> {
    let welcome = Message::Welcome(Welcome {
        version: 1,
        feedback_every: Duration::from_secs(1),
        epoch: 1,
    });
    stream.write_all(&welcome.encode())
}

/// Waits for the request and begins a stream.
fn begin_stream(stream: &mut TcpStream) -> std::io::Result<()> {
    stream.read_exact(&mut [0; 16])?;
    let kind = mjpeg::CONTENT_TYPE;
    let head = format!("HTTP/1.1 200 OK\r\nContent-Type: {kind}\r\n\r\n--framecast\r\n");
    stream.write_all(head.as_bytes())
}

const OVER_TCP: [(&str, Treatment); 6] = [
    ("garbage", |stream| repeat(stream, &[0xff])),
    ("words", |stream| repeat(stream, b"HTTP/1.1 200 OK\r\n\r\n")),
    ("four gibibytes", |mut stream| {
        welcome(&mut stream)?;
        stream.write_all(b"\x03\0\0\0\xff\xff\xff\xff")?;
        hold(stream)
    }),
    ("silence", hold),
    ("a byte a second", |stream| {
        drip(stream, b"\x02\0\0\0\0\0\0\x10")
    }),
    ("a byte of a payload a second", |mut stream| {
        welcome(&mut stream)?;
        stream.write_all(b"\x03\0\0\0\0\x10\0\0")?;
        drip(stream, b"")
    }),
];

const OVER_HTTP: [(&str, Treatment); 8] = [
    ("garbage", |stream| repeat(stream, &[0xff])),
    ("four gibibytes", |mut stream| {
        begin_stream(&mut stream)?;
        stream.write_all(b"Content-Length: 4294967296\r\n\r\n")?;
        hold(stream)
    }),
    ("a head without end", |mut stream| {
        stream.write_all(b"HTTP/1.1 200 OK\r\n")?;
        repeat(stream, b"X-Thing: of no use\r\n")
    }),
    ("a part's head without end", |mut stream| {
        begin_stream(&mut stream)?;
        stream.write_all(b"X-Thing: ")?;
        repeat(stream, b"x")
    }),
    ("a part without end", |mut stream| {
        begin_stream(&mut stream)?;
        stream.write_all(b"Content-Type: image/jpeg\r\n\r\n")?;
        repeat(stream, b"\xff\xd8\xff\xe0")
    }),
    ("silence", hold),
    ("silence in a stream", |mut stream| {
        begin_stream(&mut stream)?;
        hold(stream)
    }),
    ("a byte a second", |stream| drip(stream, b"HTTP/1.1 200 OK")),
];

#[test]
fn hostile_upstreams_cost_one_line_and_little_memory() {
    let relays = |scheme: &'static str, treatments: &[(&'static str, Treatment)]| {
        let relay = move |&(name, treatment): &(&'static str, Treatment)| {
            let (addr, count) = serve(treatment);
            let line = format!("--http 127.0.0.1:0 --tcp 127.0.0.1:0 --source {scheme}://{addr}");
            (
                format!("{name} over {scheme}"),
                Program::start(&line),
                count,
            )
        };
        treatments.iter().map(relay).collect::<Vec<_>>()
    };
    let begun = Instant::now();
    for (name, program, count) in relays("tcp", &OVER_TCP)
        .into_iter()
        .chain(relays("http", &OVER_HTTP))
    {
        while count.load(Ordering::Relaxed) < 2 {
            assert!(begun.elapsed() < LONGEST_TRY, "{name}: not tried again");
            thread::sleep(Duration::from_millis(20));
        }
        let still = program.get("/live/main.jpg").to_lowercase();
        assert!(still.starts_with("http/1.1 200 ok\r\n"), "{name}: {still}");
        assert!(
            still.contains("\r\nx-placeholder: 1\r\n"),
            "{name}: {still}"
        );
        let memory = peak_memory_kb(program.running.0.id());
        assert!(memory < MOST_MEMORY_KB, "{name}: {memory} kB");
        let log = program.end();
        assert_eq!(
            log.matches("nothing comes from").count(),
            1,
            "{name}: {log}"
        );
        assert_eq!(log.matches(" WARN ").count(), 1, "{name}: {log}");
    }
}

fn peak_memory_kb(pid: u32) -> usize {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status.lines().find(|line| line.starts_with("VmHWM:"));
    line.unwrap()
        .split_whitespace()
        .nth(1)
        .unwrap()
        .parse()
        .unwrap()
}

#[test]
fn a_flood_that_brings_no_frame_does_not_keep_the_relay_from_ending() {
    let pictureless: Treatment = |mut stream| {
        begin_stream(&mut stream)?;
        repeat(
            stream,
            b"Content-Length: 6\r\n\r\nGIF89a\r\n--framecast\r\n",
        )
    };
    let pongs: Treatment = |mut stream| {
        welcome(&mut stream)?;
        repeat(stream, &[b"\x05\0\0\0\0\0\0\x18", &[0; 24][..]].concat())
    };
    for (scheme, treatment) in [("http", pictureless), ("tcp", pongs)] {
        let (addr, count) = serve(treatment);
        let line = format!("--http 127.0.0.1:0 --tcp 127.0.0.1:0 --source {scheme}://{addr}");
        let program = Program::start(&line);
        while count.load(Ordering::Relaxed) == 0 {
            thread::sleep(Duration::from_millis(20));
        }
        // Long enough to be in the middle of it.
        thread::sleep(Duration::from_secs(2));
        let still = program.get("/live/main.jpg").to_lowercase();
        assert!(
            still.contains("\r\nx-placeholder: 1\r\n"),
            "{scheme}: {still}"
        );
        let memory = peak_memory_kb(program.running.0.id());
        assert!(memory < MOST_MEMORY_KB, "{scheme}: {memory} kB");
        let log = program.end();
        assert!(log.lines().count() < 20, "{scheme}: {log}");
    }
}
