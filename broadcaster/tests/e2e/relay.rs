//! Broadcasters that pass on what others send: along chains, over slow lines, through outages, and
//! not in circles.

use std::collections::HashMap;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use bytes::BytesMut;
use common::wire::DecodeError;
use common::wire::mjpeg::{self, Parser, Part};
use common::wire::tcp::Message;
use common::{Clock, Format, Frame, Shutdown, Subscribe, SystemClock};
use receiver::account::Account;
use receiver::ingress::{Ingress, Options, Purpose};

use crate::program::{command, interrupt, start};
use crate::stage::{Kept, Native, PATIENCE, Running, Stage, patient, says};
use link::Line;

mod hostile;
mod http;
pub(crate) mod link;

/// A broadcaster that passes on the default channel of another one.
pub(crate) fn relay_of(upstream: SocketAddr) -> Stage {
    Stage::with(&format!("--source tcp://{upstream}"))
}

/// A receiver that misses nothing.
fn receiver_of(addr: SocketAddr) -> Ingress {
    let options = Options {
        max_age: Some(Duration::from_secs(10)),
        purpose: Purpose::Watch,
    };
    let source = format!("tcp://{addr}").parse().unwrap();
    Ingress::open(source, options, Shutdown::default())
}

/// The frames of the next payload, placeholders included.
fn next(ingress: &mut Ingress) -> Vec<Frame> {
    ingress.recv(PATIENCE).unwrap().frames.clone()
}

/// The next frame that is no placeholder, payloads of one frame taken for granted.
fn next_real(ingress: &mut Ingress) -> Frame {
    let begun = Instant::now();
    loop {
        let frame = next(ingress).remove(0);
        if !frame.head.is_placeholder() {
            return frame;
        }
        assert!(begun.elapsed() < PATIENCE, "nothing but placeholders");
    }
}

/// Receives everything up to the frame of this number.
fn follow(addr: SocketAddr, last: &Arc<AtomicU64>) -> JoinHandle<Vec<Frame>> {
    let mut ingress = receiver_of(addr);
    let last = last.clone();
    let mut frames = vec![next_real(&mut ingress)];
    thread::spawn(move || {
        while frames[frames.len() - 1].head.identity.seq < last.load(Ordering::Relaxed) {
            frames.push(next_real(&mut ingress));
        }
        frames
    })
}

fn seqs(frames: &[Frame]) -> Vec<u64> {
    let seq = |frame: &Frame| frame.head.identity.seq;
    frames.iter().map(seq).collect()
}

#[test]
fn frames_stay_what_they_are_along_a_chain() {
    const FRAMES: u64 = 100;
    let origin = Stage::with("--source pattern --fps 50");
    let middle = relay_of(origin.tcp);
    let end = Stage::with(&format!("--source tcp://{}/main", middle.tcp));
    let last = Arc::new(AtomicU64::new(u64::MAX));
    let mut at_end = receiver_of(end.tcp);
    let first = next_real(&mut at_end).head.identity.seq;
    let at_origin = follow(origin.tcp, &last);
    let arrived: Vec<_> = (0..FRAMES).map(|_| next_real(&mut at_end)).collect();
    assert_eq!(seqs(&arrived), Vec::from_iter(first + 1..=first + FRAMES));
    last.store(first + FRAMES, Ordering::Relaxed);
    let sent = at_origin.join().unwrap().into_iter();
    let sent: HashMap<_, _> = sent.map(|frame| (frame.head.identity, frame)).collect();
    let mut compared = 0;
    for mut frame in arrived {
        assert_eq!(frame.head.hops, 2);
        frame.head.hops = 0;
        if let Some(sent) = sent.get(&frame.head.identity) {
            assert_eq!(frame, *sent);
            compared += 1;
        }
    }
    assert!(compared > FRAMES / 2, "{compared}");
}

#[test]
fn ages_add_up_along_a_chain() {
    const DELAY: Duration = Duration::from_millis(60);
    /// How far the clock of a server on loopback may be misjudged.
    const ERROR: Duration = Duration::from_millis(10);
    let origin = Stage::with("--source pattern --fps 50");
    let middle = relay_of(link::open(origin.tcp, Line::Long(DELAY)));
    let end = relay_of(link::open(middle.tcp, Line::Long(DELAY)));
    let (in_middle, at_end) = thread::scope(|scope| {
        let in_middle = scope.spawn(|| median_age(middle.tcp));
        let at_end = median_age(end.tcp);
        (in_middle.join().unwrap(), at_end)
    });
    assert!(in_middle + ERROR >= DELAY, "{in_middle:?}");
    assert!(
        at_end + ERROR >= in_middle + DELAY,
        "{in_middle:?}, {at_end:?}"
    );
    assert!(
        at_end < 2 * DELAY + Duration::from_millis(200),
        "{at_end:?}"
    );
}

/// How old frames are where they are received.
fn median_age(addr: SocketAddr) -> Duration {
    const AGES: usize = 101;
    let mut ingress = receiver_of(addr);
    let mut ages = Vec::new();
    while ages.len() < AGES {
        let frame = next_real(&mut ingress);
        ages.extend(ingress.age(&frame.head, SystemClock.wall()));
    }
    ages.sort_unstable();
    ages[AGES / 2]
}

#[test]
fn losses_on_the_way_to_a_relay_are_gaps_to_all_behind_it() {
    const FRAMES: usize = 120;
    let origin =
        Stage::with("--source pattern?bytes=20000 --size 320x240 --fps 50 --ring-capacity 1024");
    let middle = relay_of(link::open(origin.tcp, Line::Thin(600_000)));
    let end = relay_of(middle.tcp);
    let last = Arc::new(AtomicU64::new(u64::MAX));
    let at_origin = follow(origin.tcp, &last);
    let in_middle = follow(middle.tcp, &last);
    let mut ingress = receiver_of(end.tcp);
    let mut account = Account::default();
    let mut arrived = Vec::new();
    while arrived.len() < FRAMES || account.counts().skipped == 0 {
        let frame = next_real(&mut ingress);
        account.add(&frame.head, frame.data().len());
        arrived.push(frame);
    }
    let arrived = seqs(&arrived);
    let window = arrived[0]..=arrived[arrived.len() - 1];
    last.store(*window.end(), Ordering::Relaxed);
    let within = |frames: JoinHandle<Vec<Frame>>| {
        let mut seqs = seqs(&frames.join().unwrap());
        seqs.retain(|seq| window.contains(seq));
        seqs
    };
    assert_eq!(within(at_origin), Vec::from_iter(window.clone()));
    assert_eq!(within(in_middle), arrived);
    let counts = account.counts();
    let at_origin = window.end() - window.start() + 1;
    assert_eq!(counts.frames + counts.skipped, at_origin);
    assert_eq!((counts.duplicates, counts.restarts), (0, 0));
}

#[test]
fn payloads_are_bundled_anew_and_lose_nothing() {
    let origin = Stage::with("--source pattern --fps 100 --frames-per-payload 5");
    let relay = Stage::with(&format!(
        "--source tcp://{} --frames-per-payload 2",
        origin.tcp
    ));
    let mut ingress = receiver_of(relay.tcp);
    let mut expected = next_real(&mut ingress).head.identity.seq + 2;
    for _ in 0..50 {
        assert_eq!(seqs(&next(&mut ingress)), [expected, expected + 1]);
        expected += 2;
    }
}

#[test]
fn opaque_frames_are_passed_on_to_native_viewers_only() {
    let origin = Stage::with("--source pattern?bytes=64");
    let relay = relay_of(origin.tcp);
    let frame = next_real(&mut receiver_of(relay.tcp));
    assert_eq!((frame.head.format, frame.head.hops), (Format::Opaque, 1));
    assert_eq!(frame.data().len(), 64);
    for path in ["/live/main.mjpeg", "/live/main.jpg"] {
        let request = format!("GET {path} HTTP/1.1\r\nHost: x\r\n\r\n");
        let answer = relay.http_says(request.as_bytes());
        assert!(answer.starts_with("HTTP/1.1 406 "), "{path}: {answer}");
    }
}

/// The parts of a stream over HTTP, as they come.
struct Browser {
    stream: TcpStream,
    parser: Parser,
    buffer: BytesMut,
}

impl Browser {
    fn new(addr: SocketAddr) -> Self {
        let mut stream = patient(addr);
        let request = b"GET /live/main.mjpeg?max_age=10s HTTP/1.1\r\nHost: x\r\n\r\n";
        stream.write_all(request).unwrap();
        Self {
            stream,
            // The response's head is passed over like anything before the first boundary.
            parser: Parser::new(mjpeg::CONTENT_TYPE).unwrap(),
            buffer: BytesMut::new(),
        }
    }

    fn next(&mut self) -> Part {
        let mut scratch = [0; 64 << 10];
        loop {
            match self.parser.decode(&mut self.buffer) {
                Ok(part) => return part.unwrap(),
                Err(DecodeError::Incomplete { .. }) => {}
                Err(error) => panic!("{error}"),
            }
            let count = self.stream.read(&mut scratch).unwrap();
            assert!(count > 0, "closed in the middle");
            self.buffer.extend_from_slice(&scratch[..count]);
        }
    }

    fn next_that(&mut self, is_it: impl Fn(&Part) -> bool) -> Part {
        let begun = Instant::now();
        loop {
            let part = self.next();
            if is_it(&part) {
                return part;
            }
            assert!(begun.elapsed() < PATIENCE);
        }
    }
}

/// The frames of the next payload that is one.
fn next_frames(native: &mut Native) -> Vec<Frame> {
    match native.next() {
        Message::Payload(frames) => frames,
        other => panic!("not a payload: {other:?}"),
    }
}

/// A broadcaster as a program of its own, whose log is kept.
struct Program {
    running: Running,
    log: JoinHandle<String>,
    http: SocketAddr,
    tcp: SocketAddr,
}

impl Program {
    fn start(line: &str) -> Self {
        let (mut running, lines) = start(&mut command(line));
        let mut stderr = running.0.stderr.take().unwrap();
        let log = thread::spawn(move || {
            let mut text = String::new();
            stderr.read_to_string(&mut text).unwrap();
            text
        });
        let addr = |line: &str| line.split('/').nth(2).unwrap().parse().unwrap();
        Self {
            running,
            log,
            http: addr(&lines[1]),
            tcp: addr(&lines[3]),
        }
    }

    fn get(&self, path: &str) -> String {
        let request = format!("GET {path} HTTP/1.1\r\nHost: x\r\n\r\n");
        says(self.http, request.as_bytes())
    }

    /// Ends it as Ctrl-C does, which takes no longer than it may; what it has logged.
    fn end(mut self) -> String {
        let begun = Instant::now();
        interrupt(&self.running);
        let status = self.running.0.wait().unwrap();
        assert!(
            begun.elapsed() < Duration::from_secs(2),
            "{:?}",
            begun.elapsed()
        );
        assert_eq!(status.code(), Some(0));
        self.log.join().unwrap()
    }
}

fn origin_at(tcp: SocketAddr) -> Program {
    Program::start(&format!("--http 127.0.0.1:0 --tcp {tcp} --source pattern"))
}

#[test]
fn viewers_of_a_relay_stay_while_its_upstream_is_killed_and_restarted() {
    let kept = Kept::new();
    let addr = kept.addr;
    let origin = origin_at(addr);
    // However busy the machine is, the viewer is sent the last frame there was.
    let relay = Stage::with(&format!("--source tcp://{addr} --max-age 10s"));
    let mut native = relay.native();
    let mut browser = Browser::new(relay.http);
    let mut real = 0;
    // Long enough for its rate to be known.
    let mut last = loop {
        let head = next_frames(&mut native)[0].head;
        real += u32::from(!head.is_placeholder());
        if real == 10 {
            break head;
        }
    };
    browser.next_that(|part| !part.head.placeholder);
    drop(origin);
    let killed = Instant::now();
    let placeholder = loop {
        let head = next_frames(&mut native)[0].head;
        if head.is_placeholder() {
            break head;
        }
        last = head;
    };
    assert!(
        killed.elapsed() < Duration::from_secs(2),
        "{:?}",
        killed.elapsed()
    );
    assert_eq!(placeholder.identity, last.identity);
    assert_eq!(placeholder.captured_at, last.captured_at);
    let shown = browser.next_that(|part| part.head.placeholder);
    assert_eq!(shown.head.seq, Some(last.identity.seq));
    let answer = relay.http_says(b"GET /readyz HTTP/1.1\r\nHost: x\r\n\r\n");
    assert!(answer.starts_with("HTTP/1.1 503 "), "{answer}");

    let _origin = origin_at(addr);
    let back = loop {
        let head = next_frames(&mut native)[0].head;
        if !head.is_placeholder() {
            break head;
        }
        assert_eq!(head.identity, last.identity);
    };
    assert!(back.identity.epoch > last.identity.epoch, "{back:?}");
    let shown = browser.next_that(|part| !part.head.placeholder);
    assert_eq!(shown.head.epoch, Some(back.identity.epoch));
}

#[test]
fn an_upstream_that_comes_late_is_waited_for() {
    let kept = Kept::new();
    let addr = kept.addr;
    let relay = relay_of(addr);
    let mut native = relay.native();
    let begun = Instant::now();
    assert!(next_frames(&mut native)[0].head.is_placeholder());
    assert!(
        begun.elapsed() < Duration::from_secs(2),
        "{:?}",
        begun.elapsed()
    );
    let still = relay.http_says(b"GET /live/main.jpg HTTP/1.1\r\nHost: x\r\n\r\n");
    assert!(still.starts_with("HTTP/1.1 200 OK\r\n"), "{still}");
    assert!(still.to_lowercase().contains("x-placeholder: 1"), "{still}");
    let _origin = origin_at(addr);
    while next_frames(&mut native)[0].head.is_placeholder() {
        assert!(begun.elapsed() < PATIENCE);
    }
}

#[test]
fn placeholders_of_the_upstream_are_passed_on_and_not_counted() {
    let nobody = Kept::new();
    let first = relay_of(nobody.addr);
    let second = relay_of(first.tcp);
    let mut ingress = receiver_of(second.tcp);
    let begun = Instant::now();
    let passed_on = loop {
        let frame = next(&mut ingress).remove(0);
        assert!(frame.head.is_placeholder());
        if frame.head.hops == 1 {
            break frame;
        }
        assert!(begun.elapsed() < PATIENCE);
    };
    let sent = next(&mut receiver_of(first.tcp)).remove(0);
    assert_eq!(passed_on.data(), sent.data());
    assert_eq!(passed_on.head.identity, sent.head.identity);
    let health = second.http_says(b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n");
    assert!(health.contains("\nframes 0\n"), "{health}");
}

#[test]
fn a_broadcaster_that_relays_itself_says_so_once_and_goes_on() {
    let kept = Kept::new();
    let addr = kept.addr;
    let line = format!("--http 127.0.0.1:0 --tcp {addr} --source tcp://{addr}");
    goes_nowhere(vec![Program::start(&line)]);
    let line = format!("--http {addr} --tcp 127.0.0.1:0 --source http://{addr}/live/main.mjpeg");
    goes_nowhere(vec![Program::start(&line)]);
}

#[test]
fn two_broadcasters_that_relay_each_other_say_so_and_go_on() {
    let kept = Kept::new();
    let addr = kept.addr;
    let first = Program::start(&format!(
        "--http 127.0.0.1:0 --tcp 127.0.0.1:0 --source tcp://{addr}"
    ));
    let second = Program::start(&format!(
        "--http 127.0.0.1:0 --tcp {addr} --source tcp://{}",
        first.tcp
    ));
    goes_nowhere(vec![first, second]);
}

/// What a circle of broadcasters comes to: placeholders at a moderate rate, one warning.
fn goes_nowhere(circle: Vec<Program>) {
    const OBSERVED: Duration = Duration::from_secs(4);
    for program in &circle {
        let mut native = Native::connect(program.tcp);
        native.hello("");
        assert!(matches!(native.next(), Message::Welcome(_)));
        let begun = Instant::now();
        let mut payloads = 0;
        while begun.elapsed() < OBSERVED {
            let frames = next_frames(&mut native);
            assert!(frames.iter().all(|frame| frame.head.is_placeholder()));
            payloads += 1;
        }
        assert!((3..150).contains(&payloads), "{payloads}");
        let ready = program.get("/readyz");
        assert!(ready.starts_with("HTTP/1.1 503 "), "{ready}");
    }
    let mut said = 0;
    for program in circle {
        let log = program.end();
        // The first to say so leaves the circle, and the other one has nothing to say.
        let said_here = log.matches("in a circle").count();
        assert!(said_here <= 1, "{log}");
        // The other one: when it started its upstream was not there, or had nothing to show.
        assert!(log.matches(" WARN ").count() <= 2, "{log}");
        said += said_here;
    }
    assert!(said > 0, "nobody said it");
}
