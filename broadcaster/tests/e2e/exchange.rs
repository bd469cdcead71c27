//! The model `rabbitmq` end to end: a broadcaster, a real broker, receivers and edges.

use std::sync::Barrier;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant, SystemTime};

use common::{Clock, Frame, RecvError, Shutdown, Subscribe, SystemClock};
use receiver::ingress::{Ingress, Options, Purpose};
use serde_json::Value;

use crate::broker::{self, Broker};
use crate::relay::link::{self, Line};
use crate::stage::{PATIENCE, Stage};

mod attended;
mod foreign;
mod refusals;
mod trouble;
mod watched;

/// A frame time of 30 fps.
const FRAME_TIME: Duration = Duration::from_millis(33);
/// Viewers of a ring are spared no frame for its age, however busy the machine is.
const PATIENT: &str = "--max-age 10s";
const SECOND: Duration = Duration::from_secs(1);

/// An exchange that no other test has, at this broker.
struct Place {
    url: String,
    name: String,
    /// Ends with the test, if it is this test's own.
    _broker: Option<Broker>,
}

impl Place {
    /// At the broker that all tests share; `None` if there is none to be had.
    fn shared() -> Option<Self> {
        broker::is_here().then(|| {
            let (url, broker) = broker::shared();
            Self::at(url, broker)
        })
    }

    fn at(url: String, broker: Option<Broker>) -> Self {
        static COUNT: AtomicU64 = AtomicU64::new(0);
        let now = SystemTime::UNIX_EPOCH.elapsed().unwrap().as_nanos();
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        Self {
            url,
            name: format!("framecast.test-{now}-{count}"),
            _broker: broker,
        }
    }

    /// The same place, seen from the other end of a line.
    fn behind(&self, line: Line) -> Self {
        let (user, place) = self.url.split_once('@').unwrap();
        let (addr, vhost) = place.split_once('/').unwrap();
        let here = link::open(addr.parse().unwrap(), line);
        Self {
            url: format!("{user}@{here}/{vhost}"),
            name: self.name.clone(),
            _broker: None,
        }
    }

    /// A broadcaster of the test pattern that publishes here.
    fn stage(&self, line: &str) -> Stage {
        let (url, name) = (&self.url, &self.name);
        let stage = Stage::with(&format!("--amqp {url} --exchange {name} {PATIENT} {line}"));
        wait_until("publishing", || exchange(&stage)["state"] == "publishing");
        stage
    }

    /// The exchange as a source.
    fn source(&self) -> String {
        format!("{}?exchange={}", self.url, self.name)
    }

    /// A reader whose queue is bound.
    fn reader(&self) -> Ingress {
        reader_of(&self.source())
    }

    /// A broadcaster that takes the exchange as its source.
    fn edge(&self, line: &str) -> Stage {
        Stage::with(&format!("--source {} {PATIENT} {line}", self.source()))
    }
}

fn reader_of(source: &str) -> Ingress {
    let mut ingress = opened(source);
    wait_until("connected", || {
        // What comes before anybody looks is of no use here.
        let _ = ingress.recv(Duration::ZERO);
        ingress.is_connected()
    });
    ingress
}

fn opened(source: &str) -> Ingress {
    let options = Options {
        max_age: None,
        purpose: Purpose::Watch,
    };
    Ingress::open(source.parse().unwrap(), options, Shutdown::default())
}

/// What the broadcaster says of its exchange.
fn exchange(stage: &Stage) -> Value {
    let answer = stage.get("/state");
    let (_, body) = answer.split_once("\r\n\r\n").unwrap();
    let state: Value = serde_json::from_str(body).unwrap();
    state["result"]["exchange"].clone()
}

fn count(stage: &Stage, what: &str) -> u64 {
    exchange(stage)[what].as_u64().unwrap()
}

/// Looks again and again until it is so.
fn wait_until(what: &str, mut is_so: impl FnMut() -> bool) -> Duration {
    let begun = Instant::now();
    while !is_so() {
        assert!(begun.elapsed() < PATIENCE, "not {what}");
        thread::sleep(Duration::from_millis(5));
    }
    begun.elapsed()
}

/// The frames of the next payload.
fn next(reader: &mut Ingress) -> Vec<Frame> {
    reader.recv(PATIENCE).unwrap().frames.clone()
}

/// The next frames that are no placeholders.
fn take(reader: &mut Ingress, count: usize) -> Vec<Frame> {
    let mut begun = Instant::now();
    let mut frames = Vec::new();
    while frames.len() < count {
        let real = |frame: &Frame| !frame.head.is_placeholder();
        let before = frames.len();
        frames.extend(next(reader).into_iter().filter(real));
        if frames.len() > before {
            begun = Instant::now();
        }
        assert!(begun.elapsed() < PATIENCE, "nothing but placeholders");
    }
    frames
}

fn seqs(frames: &[Frame]) -> Vec<u64> {
    let seq = |frame: &Frame| frame.head.identity.seq;
    frames.iter().map(seq).collect()
}

/// How many numbers are missing in all.
fn lost(followed: &[Vec<Frame>]) -> u64 {
    followed.iter().map(|frames| gaps(frames)).sum()
}

/// How many numbers are missing.
fn gaps(frames: &[Frame]) -> u64 {
    let seqs = seqs(frames);
    let span = seqs[seqs.len() - 1] + 1 - seqs[0];
    span - seqs.len() as u64
}

#[test]
fn every_receiver_gets_every_frame_as_the_rings_viewers_do() {
    const FRAMES: usize = 60;
    let Some(place) = Place::shared() else {
        return;
    };
    for count in [1, 5, 10, 20] {
        let stage = place.stage("--source pattern --model ring,rabbitmq");
        let mut sources = vec![place.source(); count];
        sources.push(format!("tcp://{}", stage.tcp));
        let (all, _) = follow(&sources, FRAMES);
        assert_eq!(lost(&all), 0);
        let (ring, through) = all.split_last().unwrap();
        for frames in through {
            let same = frames.iter().filter(|frame| ring.contains(frame)).count();
            // They have not begun at the same frame.
            assert!(same > FRAMES / 2, "{same} of {FRAMES}");
        }
        assert_eq!(stage.end().as_secs(), 0);
    }
}

#[test]
fn without_a_ring_frames_go_only_through_the_exchange() {
    let Some(place) = Place::shared() else {
        return;
    };
    let stage = place.stage("--source pattern --model rabbitmq");
    assert_eq!(gaps(&take(&mut place.reader(), 30)), 0);
    for path in ["/live/main.mjpeg", "/live/main.jpg", "/snapshot", "/stream"] {
        let answer = stage.get(path);
        assert!(answer.starts_with("HTTP/1.1 503"), "{path}: {answer}");
        assert!(answer.contains("--model ring,rabbitmq"), "{path}: {answer}");
    }
    assert!(stage.get("/").starts_with("HTTP/1.1 200"));
    assert!(stage.get("/readyz").starts_with("HTTP/1.1 200"));
    // Nothing is bound there.
    assert_eq!(stage.tcp.port(), 0);
}

#[test]
fn channels_have_an_exchange_each_and_are_told_apart() {
    let Some(place) = Place::shared() else {
        return;
    };
    let (url, name) = (&place.url, &place.name);
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("framecast.toml");
    let channel = |label: &str, size: &str| {
        format!(
            "[[channel]]\nname = '{label}'\nsource = 'pattern'\nsize = '{size}'\nexchange = \
             '{name}-{label}'\n"
        )
    };
    let text = format!(
        "model = 'rabbitmq'\namqp = '{url}'\n{}{}",
        channel("hall", "320x240"),
        channel("yard", "160x120")
    );
    std::fs::write(&file, text).unwrap();
    let _stage = Stage::with(&format!("--config {}", file.display()));
    for (label, size) in [("hall", (320, 240)), ("yard", (160, 120))] {
        let mut reader = reader_of(&format!("{url}?exchange={name}-{label}"));
        let frames = take(&mut reader, 30);
        assert_eq!(gaps(&frames), 0, "{label}");
        let sizes = |frame: &Frame| (frame.head.width, frame.head.height);
        assert!(frames.iter().all(|frame| sizes(frame) == size), "{label}");
    }
}

#[test]
fn names_and_passwords_may_bear_what_urls_do_not() {
    if !broker::is_here() {
        return;
    }
    let broker = Broker::start();
    broker.ctl("add_vhost a/b");
    broker.ctl("add_user zoë p@ss/%:?");
    broker.ctl("set_permissions -p a/b zoë ^framecast ^framecast ^framecast");
    let (_, host) = broker.url().split_once('@').unwrap();
    let (host, _) = host.split_once('/').unwrap();
    let url = format!("amqp://zo%C3%AB:p%40ss%2F%25%3A%3F@{host}/a%2Fb");
    let place = Place::at(url, None);
    let stage = place.stage("--source pattern --model rabbitmq");
    assert_eq!(gaps(&take(&mut place.reader(), 30)), 0);
    let told = exchange(&stage).to_string();
    assert!(!told.contains("p@ss") && !told.contains("p%40ss"), "{told}");
}

#[test]
fn payloads_of_several_frames_stay_together() {
    let Some(place) = Place::shared() else {
        return;
    };
    let _stage = place.stage("--source pattern --model rabbitmq --frames-per-payload 5");
    let mut reader = place.reader();
    for _ in 0..5 {
        assert_eq!(next(&mut reader).len(), 5);
    }
}

/// Readers hand out what they have while the process has other things to do.
#[test]
fn a_hundred_readers_lose_nothing() {
    const READERS: usize = 100;
    let Some(place) = Place::shared() else {
        return;
    };
    let _stage = place.stage("--source pattern --model rabbitmq --fps 10 --size 160x120");
    // Small buffers: a connection of the usual size takes 8 MB.
    let source = format!("{}?exchange={}&frame_max=16384", place.url, place.name);
    let (followed, _) = follow(&vec![source; READERS], 50);
    assert_eq!(lost(&followed), 0);
}

/// So many frames in a row for readers of all these sources, each on a thread of its own, once the last
/// of them has begun; and how long the slowest took.
fn follow(sources: &[String], count: usize) -> (Vec<Vec<Frame>>, Duration) {
    let begun = Barrier::new(sources.len());
    let begun = &begun;
    let (followed, times): (Vec<_>, Vec<_>) = thread::scope(|scope| {
        let reading = sources.iter().map(|source| {
            scope.spawn(move || {
                let mut reader = reader_of(source);
                take(&mut reader, 1);
                begun.wait();
                // What has come in the meantime, and the gap that it ends with.
                while reader.recv(Duration::ZERO).is_ok() {}
                take(&mut reader, 3);
                let begun = Instant::now();
                (take(&mut reader, count), begun.elapsed())
            })
        });
        let reading: Vec<_> = reading.collect();
        let followed = reading.into_iter().map(|one| one.join().unwrap());
        followed.unzip()
    });
    (followed, times.into_iter().max().unwrap())
}

#[test]
fn edges_pass_on_what_they_get() {
    let Some(place) = Place::shared() else {
        return;
    };
    let origin = place.stage("--source pattern --model ring,rabbitmq");
    let edges = [place.edge(""), place.edge("")];
    let sources = [&origin, &edges[0], &edges[1]].map(|one| format!("tcp://{}", one.tcp));
    let (followed, _) = follow(&sources, 60);
    assert_eq!(lost(&followed), 0);
    let [sent, at_edges @ ..] = &followed[..] else {
        panic!("nobody was followed");
    };
    for frames in at_edges {
        let same = frames.iter().filter(|frame| {
            assert_eq!(frame.head.hops, 1);
            let mut here = (*frame).clone();
            here.head.hops = 0;
            sent.contains(&here)
        });
        let same = same.count();
        assert!(same > 30, "{same} of 60");
    }
}

/// Two edges, each with so many viewers that a broker could not serve them all.
#[test]
fn two_edges_carry_two_hundred_viewers_each_at_full_rate() {
    const VIEWERS: usize = 200;
    const FRAMES: usize = 50;
    let Some(place) = Place::shared() else {
        return;
    };
    let _origin = place.stage("--model rabbitmq --source pattern?bytes=8000 --fps 10");
    let edges = [place.edge(""), place.edge("")];
    let sources: Vec<_> = (edges.iter())
        .flat_map(|edge| vec![format!("tcp://{}", edge.tcp); VIEWERS])
        .collect();
    let (followed, took) = follow(&sources, FRAMES);
    assert_eq!(lost(&followed), 0);
    assert!(took < Duration::from_secs(8), "5 s of frames took {took:?}");
}

/// Full rate over a line whose round trip takes a tenth of a second, for both sides.
#[test]
fn long_lines_are_used_in_full() {
    let Some(place) = Place::shared() else {
        return;
    };
    let far = place.behind(Line::Long(Duration::from_millis(100)));
    let stage = far.stage("--source pattern --model rabbitmq --fps 60 --size 320x240");
    let dropped_before = count(&stage, "dropped");
    let mut reader = far.reader();
    take(&mut reader, 30);
    let begun = Instant::now();
    let frames = take(&mut reader, 300);
    let took = begun.elapsed();
    assert_eq!(gaps(&frames), 0);
    // Five seconds, if the source keeps up.
    let expected = frames[299]
        .head
        .captured_at
        .since(frames[0].head.captured_at);
    assert!(took < expected + 10 * FRAME_TIME, "{took:?}");
    let published = count(&stage, "published");
    assert!(published > 300, "{published}");
    // While nothing was known of the line.
    assert!(count(&stage, "dropped") - dropped_before < 60);
}

/// The median age of frames that arrive from now on.
fn median_age(reader: &mut Ingress, count: usize) -> Duration {
    while reader.recv(Duration::ZERO).is_ok() {}
    let age = |reader: &mut Ingress| {
        let frame = take(reader, 1).remove(0);
        SystemClock.wall().since(frame.head.captured_at)
    };
    let mut ages: Vec<_> = (0..count).map(|_| age(reader)).collect();
    ages.sort_unstable();
    ages[count / 2]
}

#[test]
fn ages_add_up_over_an_edge() {
    const DELAY: Duration = Duration::from_millis(60);
    let Some(place) = Place::shared() else {
        return;
    };
    let _origin = place.stage("--model rabbitmq --source pattern");
    let edge = place.behind(Line::Long(DELAY)).edge("");
    // One after the other: what nobody reads meanwhile waits for its reader and grows old.
    let before = median_age(&mut place.reader(), 30);
    let mut at_edge = reader_of(&format!("tcp://{}", edge.tcp));
    take(&mut at_edge, 10);
    let after = median_age(&mut at_edge, 30);
    assert!(after > before + DELAY * 9 / 10, "{before:?} and {after:?}");
    assert!(
        after < before + DELAY + Duration::from_millis(100),
        "{before:?} and {after:?}"
    );
}

#[test]
fn thin_lines_make_frames_fewer_not_older() {
    let Some(place) = Place::shared() else {
        return;
    };
    // A third of what is sent fits; twenty frames on their way would be 2 s old.
    let _stage = place.stage("--model rabbitmq --source pattern?bytes=20000");
    let mut reader = place.behind(Line::Thin(200_000)).reader();
    let begun = Instant::now();
    while begun.elapsed() < 8 * SECOND {
        take(&mut reader, 1);
    }
    let begun = Instant::now();
    let age = median_age(&mut reader, 50);
    assert!(age < Duration::from_millis(800), "{age:?}");
    let took = begun.elapsed();
    assert!(
        (4 * SECOND..8 * SECOND).contains(&took),
        "50 frames in {took:?}"
    );
}

/// A reader that reads nothing costs nobody anything.
#[test]
fn a_stopped_reader_costs_nobody_anything() {
    const BEFORE: u32 = 10;
    const STOPPED: u32 = 60;
    const FPS: u32 = 30;
    if !broker::is_here() {
        return;
    }
    let own = Broker::start();
    let place = Place::at(own.url().to_owned(), None);
    let _stage = place.stage("--model rabbitmq --source pattern?bytes=100000");
    let count = (FPS * (BEFORE + STOPPED)) as usize;
    let others = vec![place.source(); 10];
    thread::scope(|scope| {
        let others = scope.spawn(|| follow(&others, count));
        thread::sleep(BEFORE * SECOND);
        let before = used(&own);
        let stopped = place.reader();
        thread::sleep(STOPPED * SECOND);
        let grown = used(&own).saturating_sub(before);
        assert!(grown < 10_000_000, "the broker has grown by {grown} bytes");
        drop(stopped);
        // A busy machine may make one of them miss a frame now and then, with or without the other.
        let lost = lost(&others.join().unwrap().0);
        let all = 10 * count as u64;
        assert!(lost <= all / 200, "{lost} of {all} frames are lost");
    });
}

/// Bytes that the broker holds once it has cleaned up.
fn used(broker: &Broker) -> u64 {
    let words = "eval [garbage_collect(P)||P<-processes()],erlang:memory(total).";
    broker.ctl(words).trim().parse().unwrap()
}

/// Whether nothing comes for a while.
fn is_quiet(reader: &mut Ingress, time: Duration) -> bool {
    reader.recv(time) == Err(RecvError::TimedOut)
}
