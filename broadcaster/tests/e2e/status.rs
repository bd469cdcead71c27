//! The API: what it tells is true and as its document says, and who must not is refused.

use std::io::{self, Write};
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use common::wire::tcp::{Hello, Message};
use common::wire::ws::text::Request;
use rustix::process::{Pid, setpriority_process};
use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};
use serde_json::Value;

use crate::clients::{are_installed, python, run};
use crate::program::{command, start};
use crate::relay::link::{self, Line};
use crate::stage::{Native, PATIENCE, Socket, Stage, patient, says};

/// Head and body of an answer to a request with these header fields.
fn ask(server: SocketAddr, method: &str, path: &str, fields: &str) -> (String, Value) {
    let request = format!("{method} {path} HTTP/1.1\r\n{fields}\r\n");
    let answer = says(server, request.as_bytes());
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    assert!(head.contains("content-type: application/json"), "{head}");
    (head.to_owned(), serde_json::from_str(body).unwrap())
}

fn get(stage: &Stage, path: &str) -> Value {
    let (head, body) = ask(
        stage.http,
        "GET",
        path,
        &format!("Host: {}\r\n", stage.http),
    );
    assert!(head.starts_with("HTTP/1.1 200 "), "{path}: {head}\n{body}");
    body
}

/// The one viewer there is, once it is as it should be.
fn viewer_that(stage: &Stage, is_meant: impl Fn(&Value) -> bool) -> Value {
    let begun = Instant::now();
    loop {
        let list = get(stage, "/api/v1/viewers");
        let viewer = &list["viewers"][0];
        if !viewer.is_null() && is_meant(viewer) {
            return viewer.clone();
        }
        assert!(begun.elapsed() < PATIENCE, "{viewer:#}");
        std::thread::sleep(Duration::from_millis(100));
    }
}

/// How many frames a second the source brings just now: as many as are asked for, if the machine keeps
/// up.
fn published_fps(stage: &Stage) -> f64 {
    let channel = get(stage, "/api/v1/channels/main");
    channel["fps"].as_f64().unwrap()
}

fn verdict(viewer: &Value) -> &str {
    viewer["verdict"]["text"].as_str().unwrap()
}

/// Asks to send a viewer away.
fn dismiss(stage: &Stage, viewer: &Value) -> Value {
    let fields = format!("Host: {}\r\nContent-Type: application/json\r\n", stage.http);
    let path = format!("/api/v1/viewers/{}", viewer["id"]);
    let (head, body) = ask(stage.http, "DELETE", &path, &fields);
    assert!(head.starts_with("HTTP/1.1 202 "), "{head}\n{body}");
    body
}

#[test]
fn the_status_tells_of_the_program_and_its_channels() {
    let stage = Stage::with("--source pattern --size 320x240 --history 5s");
    let mut native = stage.native();
    let mut heads: Vec<_> = (0..40).map(|_| native.heads()[0]).collect();
    let heads = heads.split_off(heads.len() - 31);
    let second = heads[30].captured_at.since(heads[0].captured_at);
    let status = get(&stage, "/api/v1/status");
    assert_eq!(status["version"], env!("CARGO_PKG_VERSION"));
    assert_eq!(status["models"], serde_json::json!(["ring"]));
    assert_eq!(
        (&status["driver"], &status["viewers"]),
        (&"multiplex".into(), &1.into())
    );
    assert!(status["cpu"]["seconds"].as_f64().unwrap() > 0.0);
    assert!(status["memory"]["rss_bytes"].as_u64().unwrap() > 1 << 20);
    assert!(status["memory"]["frame_bytes"].as_u64().unwrap() > 0);
    let channel = &status["channels"][0];
    assert_eq!(
        (&channel["name"], &channel["format"]),
        (&"main".into(), &"jpeg".into())
    );
    assert_eq!(channel["size"], serde_json::json!([320, 240]));
    assert_eq!(channel["source"]["state"], "live");
    assert_eq!(
        channel["source"]["description"],
        "test pattern 320x240 at 30 fps"
    );
    let (fps, seen) = (
        channel["fps"].as_f64().unwrap(),
        30.0 / second.as_secs_f64(),
    );
    assert!(
        (seen - 3.0..=seen + 3.0).contains(&fps),
        "{fps}, not {seen}"
    );
    assert!(channel["frames"].as_u64().unwrap() >= 40);
    assert_eq!(get(&stage, "/api/v1/channels/main")["name"], "main");
    let names = &get(&stage, "/api/v1/channels")["channels"];
    assert_eq!(names.as_array().unwrap().len(), 1);
}

#[test]
fn the_status_has_the_last_lines_of_the_log() {
    let line = "--http 127.0.0.1:0 --tcp 127.0.0.1:0 --source pattern --log-format json";
    let (_program, lines) = start(&mut command(line));
    let http = lines[1].strip_prefix("page    http://").unwrap();
    let http = http.strip_suffix('/').unwrap().parse().unwrap();
    // Addresses are printed first; the line is there before the first picture.
    Socket::connect(http, "/live/main.ws", "").seqs();
    let (_, status) = ask(http, "GET", "/api/v1/status", &format!("Host: {http}\r\n"));
    let log = status["log"].as_array().unwrap();
    let text = log[0].as_str().unwrap();
    assert!(
        text.ends_with("INFO capturing source=test pattern 640x480 at 30 fps"),
        "{text}"
    );
}

#[test]
fn viewers_are_listed_page_by_page_with_what_they_were_sent() {
    for stage in Stage::with_each_driver("--source pattern --size 320x240") {
        let mut natives: Vec<_> = (0..5).map(|_| stage.native()).collect();
        let mut socket = Socket::connect(stage.http, "/live/main.ws", "");
        let mut stream = patient(stage.http);
        write!(
            stream,
            "GET /live/main.mjpeg?fps=5 HTTP/1.1\r\nHost: x\r\n\r\n"
        )
        .unwrap();
        let until = Instant::now() + Duration::from_millis(1_500);
        while Instant::now() < until {
            natives.iter_mut().for_each(|native| drop(native.seqs()));
            socket.seqs();
        }
        let first = get(&stage, "/api/v1/viewers?limit=3");
        assert_eq!((&first["count"], &first["next"]), (&7.into(), &3.into()));
        let rest = get(&stage, "/api/v1/viewers?after=3&channel=main");
        assert_eq!((&rest["count"], &rest["next"]), (&4.into(), &Value::Null));
        let all = [&first, &rest].map(|page| page["viewers"].as_array().unwrap().clone());
        let all = all.concat();
        let protocols: Vec<_> = all
            .iter()
            .map(|one| one["protocol"].as_str().unwrap())
            .collect();
        assert_eq!(protocols, ["tcp", "tcp", "tcp", "tcp", "tcp", "ws", "http"]);
        for viewer in &all[..6] {
            assert_eq!(verdict(viewer), "keeps up", "{viewer:#}");
            let fps = viewer["lately"]["rate"].as_f64().unwrap();
            assert!((24.0..=36.0).contains(&fps), "{viewer:#}");
            assert!(viewer["lately"]["age_ms"]["p99"].as_f64().unwrap() < 250.0);
            assert!(viewer["bytes"].as_u64().unwrap() > 10_000);
            assert!(viewer["connection"]["round_trip_ms"].as_f64().unwrap() > 0.0);
        }
        assert_eq!(verdict(&all[6]), "asks for 5 frames a second and gets them");
        let id = &all[5]["id"];
        assert_eq!(
            get(&stage, &format!("/api/v1/viewers/{id}"))["protocol"],
            "ws"
        );
        drop((natives, socket, stream));
        let begun = Instant::now();
        while get(&stage, "/api/v1/viewers")["count"] != 0 {
            assert!(
                begun.elapsed() < PATIENCE,
                "viewers that left are still listed"
            );
        }
    }
}

#[test]
fn a_viewer_that_is_sent_away_is_told() {
    for stage in Stage::with_each_driver("--source pattern") {
        let mut native = stage.native();
        native.seqs();
        let viewer = viewer_that(&stage, |_| true);
        assert_eq!(dismiss(&stage, &viewer)["state"], "leaving");
        let goodbye = loop {
            match native.next() {
                Message::Payload(_) => {}
                Message::Goodbye(goodbye) => break goodbye,
                other => panic!("{other:?}"),
            }
        };
        assert_eq!(goodbye.text, "was sent away");
        let begun = Instant::now();
        while get(&stage, "/api/v1/viewers")["count"] != 0 {
            assert!(begun.elapsed() < PATIENCE);
        }
    }
}

#[test]
fn a_viewer_that_takes_nothing_is_cut_off_when_it_is_sent_away() {
    for stage in Stage::with_each_driver("--source pattern?bytes=200000") {
        let _native = stage.native();
        let viewer = viewer_that(&stage, |viewer| {
            verdict(viewer).starts_with("client does not read")
        });
        assert!(viewer["connection"]["unsent_bytes"].as_u64().unwrap() > 0);
        let begun = Instant::now();
        dismiss(&stage, &viewer);
        while get(&stage, "/api/v1/viewers")["count"] != 0 {
            assert!(
                begun.elapsed() < Duration::from_secs(5),
                "{:?}",
                begun.elapsed()
            );
            std::thread::sleep(Duration::from_millis(50));
        }
    }
}

#[test]
fn a_thin_link_is_told_with_what_it_carries_and_what_it_would_have_to() {
    for stage in Stage::with_each_driver("--source pattern?bytes=90000") {
        let line = link::open(stage.tcp, Line::Thin(400_000));
        let mut native = Native::connect(line);
        native.hello("");
        std::thread::spawn(move || {
            loop {
                native.next();
            }
        });
        assert_link_is_told(&stage);
    }
}

#[test]
fn a_thin_link_to_a_browser_is_told_from_a_slow_machine() {
    for stage in Stage::with_each_driver("--source pattern?bytes=90000") {
        let line = link::open(stage.http, Line::Thin(400_000));
        let mut socket = Socket::connect(line, "/live/main.ws", "");
        std::thread::spawn(move || {
            loop {
                let (ch, seqs) = socket.unacknowledged();
                // It shows what it gets without delay.
                let (seq, took_ms) = (seqs[0], Some(2.0));
                socket.say(&Request::Ack { ch, seq, took_ms });
            }
        });
        assert_link_is_told(&stage);
    }
}

/// The one viewer gets 400 kB a second, and 90 kB for each frame are what it should.
fn assert_link_is_told(stage: &Stage) {
    let viewer = viewer_that(stage, |viewer| {
        viewer["verdict"]["kind"] == "link" && viewer["connected_s"].as_f64() > Some(6.0)
    });
    let megabits = published_fps(stage) * 90_000.0 * 8.0 / 1e6;
    let text = verdict(&viewer);
    let numbers = text.strip_prefix("link carries ").unwrap();
    let (carries, needs) = numbers.split_once(" Mbit/s, needs ").unwrap();
    let (carries, needs): (f64, f64) = (carries.parse().unwrap(), needs.parse().unwrap());
    assert!((2.0..=4.5).contains(&carries), "{text}");
    let needed = megabits - 1.1..=megabits + 1.1;
    assert!(needed.contains(&needs), "{text}, not {megabits}");
    let skipped = &viewer["lately"]["payloads"]["skipped_for"];
    assert!(skipped["link"].as_u64() > Some(20), "{viewer:#}");
    assert_eq!(skipped["device"], 0, "{viewer:#}");
}

#[test]
fn a_browser_that_is_slow_or_stops_is_told_from_a_thin_link() {
    for stage in Stage::with_each_driver("--source pattern --size 320x240") {
        let mut socket = Socket::connect(stage.http, "/live/main.ws", "");
        let begun = Instant::now();
        while begun.elapsed() < Duration::from_secs(5) {
            let (ch, seqs) = socket.unacknowledged();
            std::thread::sleep(Duration::from_millis(200));
            // The one before it was being shown when it came.
            let (seq, took_ms) = (seqs[0], Some(400.0));
            socket.say(&Request::Ack { ch, seq, took_ms });
        }
        let viewer = viewer_that(&stage, |_| true);
        let published = published_fps(&stage);
        let text = verdict(&viewer);
        assert_eq!(viewer["verdict"]["kind"], "device", "{viewer:#}");
        let shown = text.strip_prefix("its machine shows ").unwrap();
        let (shown, all) = shown.split_once(" of ").unwrap();
        assert!(
            (3.0..=8.0).contains(&shown.parse::<f64>().unwrap()),
            "{text}"
        );
        let (all, _) = all.split_once(' ').unwrap();
        let apart = (all.parse::<f64>().unwrap() - published).abs();
        assert!(apart <= 1.0, "{text}, not {published}");
        // From here on it says nothing, and the kernel takes what is sent.
        let viewer = viewer_that(&stage, |viewer| viewer["verdict"]["kind"] == "stopped");
        let text = verdict(&viewer);
        assert!(
            text.starts_with("client does not read: it has acknowledged nothing for"),
            "{text}"
        );
        assert_eq!(viewer["connection"]["unsent_bytes"], 0);
    }
}

/// Its frames are late as soon as they are not sent at once.
const STARVED: &str = "--source pattern --size 160x120 --fps 200";
/// Who comes before that thread: so many that each frame waits longer than it may, however kind the
/// scheduler is to those who sleep a lot.
const SPINNERS: usize = 16;
/// What serves the first viewer, and the thread that does so.
const SERVERS: [(&str, &str); 2] = [
    ("multiplex --workers 1", "viewers-0"),
    ("threads", "viewer-0"),
];

#[test]
fn a_server_that_is_short_of_cpu_says_so() {
    for (driver, thread) in SERVERS {
        let stage = Stage::with(&format!("{STARVED} --driver {driver}"));
        let mut native = Native::connect(stage.tcp);
        native.say(&Message::Hello(Hello {
            min_version: 1,
            max_version: 1,
            max_age: Some(Duration::from_millis(10)),
            channel: String::new(),
        }));
        std::thread::spawn(move || io::copy(&mut native.stream, &mut io::sink()));
        assert_server_is_blamed(&stage, thread);
    }
}

#[test]
fn a_server_that_is_short_of_cpu_does_not_blame_browsers_or_their_links() {
    for (driver, thread) in SERVERS {
        let stage = Stage::with(&format!("{STARVED} --driver {driver}"));
        let mut socket = Socket::connect(stage.http, "/live.ws", "");
        socket.say(&Request::Sub {
            channel: String::new(),
            max_age_ms: Some(10.0),
            fps: None,
        });
        // Until the server ends.
        std::thread::spawn(move || {
            loop {
                socket.seqs();
            }
        });
        assert_server_is_blamed(&stage, thread);
    }
}

/// Starves the thread that serves the only viewer, and lets it have its processor back.
fn assert_server_is_blamed(stage: &Stage, thread: &str) {
    viewer_that(stage, |viewer| verdict(viewer) == "keeps up");
    // It shares one processor with others that come first.
    let all = sched_getaffinity(None).unwrap();
    let mut only = CpuSet::new();
    only.set((0..CpuSet::MAX_CPU).find(|cpu| all.is_set(*cpu)).unwrap());
    let worker = thread_of(thread);
    sched_setaffinity(Some(worker), &only).unwrap();
    setpriority_process(Some(worker), 19).unwrap();
    let is_over = Arc::new(AtomicBool::new(false));
    for _ in 0..SPINNERS {
        let is_over = is_over.clone();
        std::thread::spawn(move || {
            sched_setaffinity(None, &only).unwrap();
            while !is_over.load(Ordering::Relaxed) {
                std::hint::spin_loop();
            }
        });
    }
    // Two seconds of it. Where the first few frames are lost is also the test's own affair: whoever reads
    // here shares its processor with other tests.
    let viewer = viewer_that(stage, |viewer| {
        let skipped = viewer["lately"]["payloads"]["skipped"].as_u64();
        viewer["verdict"]["kind"] != "well" && skipped > Some(400)
    });
    is_over.store(true, Ordering::Relaxed);
    assert_eq!(verdict(&viewer), "the server is short of CPU", "{viewer:#}");
    viewer_that(stage, |viewer| verdict(viewer) == "keeps up");
}

/// The thread of this name in this process.
fn thread_of(name: &str) -> Pid {
    let mut tasks = std::fs::read_dir("/proc/self/task")
        .unwrap()
        .map(Result::unwrap);
    let task = tasks.find(|task| {
        let comm = std::fs::read_to_string(task.path().join("comm"));
        comm.is_ok_and(|comm| comm.trim_end() == name)
    });
    let number = task.unwrap().file_name().into_string().unwrap();
    Pid::from_raw(number.parse().unwrap()).unwrap()
}

#[test]
fn a_channel_is_switched_among_its_sources() {
    let stage = Stage::with("--source pattern --source pattern?bytes=60000 --size 320x240");
    let mut native = stage.native();
    let before = native.seqs()[0];
    let source = get(&stage, "/api/v1/channels/main")["source"].clone();
    assert_eq!(source["name"], "pattern");
    assert_eq!(
        source["names"],
        serde_json::json!(["pattern", "pattern?bytes=60000"])
    );
    let switch = |body: &str| {
        let (host, length) = (stage.http, body.len());
        let fields = format!(
            "Host: {host}\r\nContent-Type: application/json\r\nContent-Length: {length}\r\n"
        );
        let request = format!("PUT /api/v1/channels/main/source HTTP/1.1\r\n{fields}\r\n{body}");
        says(stage.http, request.as_bytes())
    };
    for (body, status) in [
        (r#"{"source": "webcam"}"#, 404),
        (r#"{"source": 7}"#, 400),
        (r#"{"source": "pattern", "more": 1}"#, 400),
        ("", 400),
    ] {
        let answer = switch(body);
        assert!(
            answer.starts_with(&format!("HTTP/1.1 {status} ")),
            "{answer}"
        );
        assert!(answer.contains("pattern, pattern?bytes=60000"), "{answer}");
    }
    let answer = switch(r#"{"source": "pattern?bytes=60000"}"#);
    assert!(answer.starts_with("HTTP/1.1 202 "), "{answer}");
    let mut seqs = vec![before];
    loop {
        match native.next() {
            Message::Payload(frames) => {
                seqs.push(frames[0].head.identity.seq);
                assert!(!frames[0].head.is_placeholder());
                if frames[0].data().len() == 60_000 {
                    break;
                }
            }
            other => panic!("{other:?}"),
        }
        assert!(seqs.len() < 300, "the other source does not come");
    }
    assert!(seqs.is_sorted_by(|seq, next| *next == seq + 1), "{seqs:?}");
    assert_eq!(
        get(&stage, "/api/v1/channels/main")["source"]["name"],
        "pattern?bytes=60000"
    );
}

#[test]
fn a_source_that_is_closed_until_somebody_watches_is_idle() {
    let sources = "--source pattern --source pattern?bytes=60000 --on-demand=300ms";
    let stage = Stage::with(sources);
    let source_that_is = |state: &str| {
        let begun = Instant::now();
        loop {
            let source = get(&stage, "/api/v1/channels/main")["source"].clone();
            if source["state"] == state {
                assert_eq!(source["trouble"], Value::Null, "{source:#}");
                assert_eq!(source["on_demand_s"], 0.3);
                return source;
            }
            assert!(begun.elapsed() < PATIENCE, "not {state}: {source:#}");
        }
    };
    assert_eq!(source_that_is("idle")["description"], "");
    let mut native = stage.native();
    native.seqs();
    let live = source_that_is("live");
    assert_eq!(live["description"], "test pattern 640x480 at 30 fps");
    drop(native);
    // Nobody missed anything: it was not lost.
    assert_eq!(source_that_is("idle")["reconnects"], 0);
}

#[test]
fn calls_by_foreign_names_and_from_foreign_pages_are_refused() {
    let stage = Stage::with("--source pattern");
    let _native = stage.native();
    let id = viewer_that(&stage, |_| true)["id"].clone();
    let (http, port) = (stage.http, stage.http.port());
    let reading = |fields: &str| ask(http, "GET", "/api/v1/status", fields);
    let path = format!("/api/v1/viewers/{id}");
    let changing = |fields: &str| ask(http, "DELETE", &path, fields);
    let ours = format!("Host: localhost:{port}\r\n");
    let json = "Content-Type: application/json\r\n";
    for (answer, wrong) in [
        (
            reading(&format!("Host: evil.example:{port}\r\n")),
            "evil.example",
        ),
        (reading(""), "Host"),
        (reading(&format!("{ours}Host: evil.example\r\n")), "Host"),
        (
            changing(&format!("Host: evil.example:{port}\r\n{json}")),
            "evil.example",
        ),
        (
            changing(&format!("Host: localhost:1\r\n{json}")),
            "localhost:1",
        ),
        (changing(&ours), "Content-Type"),
        (
            changing(&format!("{ours}Content-Type: text/plain\r\n")),
            "text/plain",
        ),
        (
            changing(&format!("{ours}{json}Origin: http://evil.example\r\n")),
            "evil.example",
        ),
        (changing(&format!("{ours}{json}Origin: null\r\n")), "null"),
        (
            changing(&format!(
                "{ours}{json}Origin: http://{http}\r\nOrigin: http://e\r\n"
            )),
            "null",
        ),
    ] {
        let (head, body) = answer;
        assert!(head.starts_with("HTTP/1.1 403 "), "{head}");
        assert!(body["error"].as_str().unwrap().contains(wrong), "{body}");
    }
    assert_eq!(
        get(&stage, "/api/v1/viewers")["count"],
        1,
        "nobody was sent away"
    );
    let (head, _) = changing(&format!("{ours}{json}Origin: http://{http}\r\n"));
    assert!(head.starts_with("HTTP/1.1 202 "), "{head}");
}

#[test]
fn mistakes_are_told_as_json_with_what_would_be_right() {
    let stage = Stage::with("--source pattern");
    let fields = format!("Host: {}\r\nContent-Type: application/json\r\n", stage.http);
    for (method, path, status, wanted) in [
        ("GET", "/api/v1/viewers/99", 404, "no viewer \"99\""),
        ("GET", "/api/v1/viewers/x", 404, "no viewer \"x\""),
        ("DELETE", "/api/v1/viewers/99", 404, "no viewer \"99\""),
        ("GET", "/api/v1/channels/lab", 404, "there is: main"),
        ("GET", "/api/v1/viewers?channel=lab", 404, "there is: main"),
        ("GET", "/api/v1/viewers?limit=0", 400, "1 to 1000"),
        ("GET", "/api/v1/viewers?after=-1", 400, "next gives it"),
        ("GET", "/api/v1/viewers?order=best", 400, "id or worst"),
        ("GET", "/api/v2/status", 404, "/api/openapi.json"),
        ("GET", "/api", 404, "/api/openapi.json"),
        ("POST", "/api/v1/status", 405, "POST"),
    ] {
        let (head, body) = ask(stage.http, method, path, &fields);
        assert!(
            head.starts_with(&format!("HTTP/1.1 {status} ")),
            "{path}: {head}"
        );
        assert!(body["error"].as_str().unwrap().contains(wanted), "{body}");
    }
}

#[test]
fn answers_are_as_the_document_says() {
    // Nobody answers there, which is a state too.
    let exchange = "--model ring,rabbitmq --amqp amqp://127.0.0.1:1";
    let stage = Stage::with(&format!("--source pattern --size 320x240 {exchange}"));
    let mut natives: Vec<_> = (0..3).map(|_| stage.native()).collect();
    natives.iter_mut().for_each(|native| drop(native.seqs()));
    let _socket = Socket::connect(stage.http, "/live/main.ws", "");
    assert_lawful(&stage);
}

#[test]
fn answers_are_as_the_document_says_while_nothing_is_open() {
    let sources = "--source pattern --source pattern?bytes=60000 --on-demand";
    let stage = Stage::with(&format!("{sources} --history 5s"));
    let begun = Instant::now();
    while get(&stage, "/api/v1/channels/main")["source"]["state"] != "idle" {
        assert!(begun.elapsed() < PATIENCE);
    }
    assert_lawful(&stage);
}

/// Asks what the API's document says can be asked, and a lot that it does not say.
fn assert_lawful(stage: &Stage) {
    if !are_installed(&["schemathesis"]) {
        return;
    }
    // What it writes down goes with the folder.
    let folder = tempfile::tempdir().unwrap();
    // First only what leaves the viewers where they are.
    for choice in [&["--include-method", "GET"][..], &[]] {
        let mut schemathesis = python();
        schemathesis.current_dir(&folder);
        schemathesis
            .args(["-m", "schemathesis.cli", "run"])
            .args(choice);
        schemathesis.arg(stage.url("/api/openapi.json"));
        schemathesis.args(["--header", "Content-Type: application/json"]);
        schemathesis.args([
            "--max-examples",
            "20",
            "--request-timeout",
            "5",
            "--seed",
            "1",
        ]);
        schemathesis.arg("--no-color");
        let (status, said) = run(&mut schemathesis);
        assert!(status.success(), "{}", String::from_utf8_lossy(&said));
    }
}
