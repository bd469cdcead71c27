//! `/metrics` as Prometheus reads it: by the parsers of its own client for Python, in both formats.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Write;
use std::process::Stdio;
use std::time::Instant;

use serde_json::Value;

use crate::clients::{are_installed, script, value};
use crate::stage::{PATIENCE, Running, Stage};

/// As Prometheus 2.42 asks.
const OPEN_METRICS: &str = "application/openmetrics-text;version=1.0.0,\
    application/openmetrics-text;version=0.0.1;q=0.75,text/plain;version=0.0.4;q=0.5,*/*;q=0.1";
/// All labels there are but a histogram's own: none tells viewers apart.
const LABELS: [&str; 7] = [
    "channel", "driver", "model", "protocol", "reason", "state", "version",
];

/// What the tests need beside a broadcaster.
pub(crate) const TOOLS: [&str; 1] = ["prometheus_client"];

/// One metric with its value.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Sample {
    pub(crate) name: String,
    pub(crate) labels: BTreeMap<String, String>,
    pub(crate) value: f64,
}

/// Metrics of one name, as the parser understood them.
#[derive(Debug)]
pub(crate) struct Family {
    name: String,
    kind: String,
    help: String,
    unit: String,
    samples: Vec<Sample>,
}

/// An answer of `/metrics` that was understood.
#[derive(Debug)]
pub(crate) struct Metrics(Vec<Family>);

impl Metrics {
    /// What Prometheus gets.
    pub(crate) fn of(stage: &Stage) -> Self {
        Self::read(stage, OPEN_METRICS, "openmetrics")
    }

    /// What comes for this `Accept`, read by the parser of this name.
    fn read(stage: &Stage, accept: &str, parser: &str) -> Self {
        let request = format!("GET /metrics HTTP/1.1\r\nHost: x\r\nAccept: {accept}\r\n\r\n");
        let answer = stage.http_says(request.as_bytes());
        let (head, body) = answer.split_once("\r\n\r\n").unwrap();
        assert!(head.starts_with("HTTP/1.1 200 OK"), "{head}");
        let kind = match parser {
            "text" => "text/plain; version=0.0.4; charset=utf-8",
            _ => "application/openmetrics-text; version=1.0.0; charset=utf-8",
        };
        assert_eq!(value(head, "Content-Type"), kind);
        let mut script = script("metrics.py");
        script
            .arg(parser)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped());
        let mut running = Running(script.spawn().unwrap());
        let mut stdin = running.0.stdin.take().unwrap();
        stdin.write_all(body.as_bytes()).unwrap();
        drop(stdin);
        let understood: Vec<Value> =
            serde_json::from_reader(running.0.stdout.take().unwrap()).unwrap();
        assert!(running.0.wait().unwrap().success());
        Self(understood.iter().map(Family::new).collect())
    }

    /// All of them.
    pub(crate) fn samples(&self) -> impl Iterator<Item = &Sample> {
        self.0.iter().flat_map(|family| &family.samples)
    }

    /// All of a name that have these labels, added up.
    pub(crate) fn sum(&self, name: &str, labels: &[(&str, &str)]) -> f64 {
        let has = |sample: &&Sample| {
            let mut labels = labels.iter();
            sample.name == name
                && labels
                    .all(|(label, value)| sample.labels.get(*label).is_some_and(|is| is == value))
        };
        let mut meant = self.samples().filter(has).peekable();
        assert!(meant.peek().is_some(), "no {name} with {labels:?}");
        meant.map(|sample| sample.value).sum()
    }
}

impl Family {
    fn new(parsed: &Value) -> Self {
        let text = |value: &Value| value.as_str().unwrap().to_owned();
        let samples = parsed["samples"].as_array().unwrap().iter();
        let samples = samples.map(|sample| Sample {
            name: text(&sample[0]),
            labels: (sample[1].as_object().unwrap().iter())
                .map(|(label, value)| (label.clone(), text(value)))
                .collect(),
            value: sample[2].as_f64().unwrap_or(f64::INFINITY),
        });
        Self {
            name: text(&parsed["name"]),
            kind: text(&parsed["kind"]),
            help: text(&parsed["help"]),
            unit: text(&parsed["unit"]),
            samples: samples.collect(),
        }
    }
}

#[test]
fn prometheus_understands_both_formats_and_they_say_the_same() {
    if !are_installed(&TOOLS) {
        return;
    }
    for stage in Stage::with_each_driver("--source pattern") {
        stage.native().seqs();
        let (open, text) = (Metrics::of(&stage), Metrics::read(&stage, "*/*", "text"));
        let names = |metrics: &Metrics| -> Vec<_> {
            let samples = metrics.samples();
            samples
                .map(|one| (one.name.clone(), one.labels.clone()))
                .collect()
        };
        assert_eq!(names(&open), names(&text));
        let kinds = |metrics: &Metrics| -> Vec<_> {
            let families = metrics.0.iter();
            families
                .map(|one| (one.name.clone(), one.kind.clone(), one.help.clone()))
                .collect()
        };
        assert_eq!(kinds(&open), kinds(&text));
        for family in &open.0 {
            assert!(family.help.len() > 5, "{family:?}");
            assert_ne!(family.kind, "unknown", "{family:?}");
            let is_ours = family.name.starts_with("framecast_");
            assert!(is_ours || family.name.starts_with("process_"), "{family:?}");
            for unit in ["seconds", "bytes"] {
                let is_named = family.name.ends_with(&format!("_{unit}"));
                assert_eq!(is_named, family.unit == unit, "{family:?}");
            }
        }
        let labels = open.samples().flat_map(|sample| sample.labels.keys());
        let labels: BTreeSet<_> = labels.map(|label| &**label).collect();
        assert_eq!(labels, LABELS.into_iter().chain(["le"]).collect());
        let unknown = stage.get("/nothing");
        assert!(unknown.contains("/metrics"), "{unknown}");
        let head = stage.http_says(b"HEAD /metrics HTTP/1.1\r\nHost: x\r\n\r\n");
        assert!(head.starts_with("HTTP/1.1 200 OK\r\n") && head.ends_with("\r\n\r\n"));
    }
}

#[test]
fn what_the_source_brings_and_the_process_costs_is_told() {
    if !are_installed(&TOOLS) {
        return;
    }
    let stage = Stage::with("--source pattern?bytes=20000 --memory-budget 64MB");
    let viewer = stage.native();
    let earlier = Metrics::of(&stage);
    let begun = Instant::now();
    let later = loop {
        let later = Metrics::of(&stage);
        let published = later.sum("framecast_frames_published_total", &[]);
        if published >= earlier.sum("framecast_frames_published_total", &[]) + 10.0 {
            break later;
        }
        assert!(begun.elapsed() < PATIENCE, "{published} frames published");
    };
    // All counters go on while they are read, one after the other: those of before and after bound them.
    let latest = Metrics::of(&stage);
    let now = |name: &str| later.sum(name, &[]);
    let published = now("framecast_frames_published_total");
    let frames = |metrics: &Metrics| metrics.sum("framecast_frames_published_total", &[]);
    let bytes = now("framecast_frames_published_bytes_total");
    // The newest may be counted and its bytes not yet.
    let possible = 20_000.0 * (frames(&earlier) - 1.0)..=20_000.0 * frames(&latest);
    assert!(
        possible.contains(&bytes) && bytes % 20_000.0 == 0.0,
        "{bytes} bytes"
    );
    assert!(latest.sum("framecast_source_pictures_total", &[]) >= published);
    let spent = now("framecast_frames_publishing_seconds_total") / published;
    assert!(spent > 0.0 && spent < 1.0, "{spent} s a frame");
    let worked = now("framecast_frames_publishing_cpu_seconds_total") / published;
    // Both are read one after the other.
    assert!(
        worked > 0.0 && worked < spent + 0.001,
        "{worked} of {spent}"
    );
    let up = [("channel", "main"), ("state", "up")];
    assert_eq!(later.sum("framecast_source_state", &up), 1.0);
    assert_eq!(now("framecast_source_state"), 1.0);
    assert_eq!(now("framecast_source_lost_total"), 0.0);
    assert_eq!(now("framecast_viewers"), 1.0);
    assert_eq!(now("framecast_memory_limit_bytes"), 64e6);
    assert!(now("framecast_memory_used_bytes") >= 20_000.0);
    let info = later
        .samples()
        .find(|one| one.name == "framecast_build_info");
    let labels = &info.unwrap().labels;
    assert_eq!(labels["version"], env!("CARGO_PKG_VERSION"));
    assert_eq!(
        (&*labels["model"], &*labels["driver"]),
        ("ring", "multiplex")
    );
    let cpu = "process_cpu_seconds_total";
    assert!(now(cpu) > earlier.sum(cpu, &[]) && now(cpu) < 1000.0);
    assert!(now("process_resident_memory_bytes") > 1e6);
    assert!(now("process_open_fds") >= 5.0);
    assert!(now("process_max_fds") > now("process_open_fds"));
    drop(viewer);
}

#[test]
fn who_is_turned_away_and_a_source_that_is_away_are_counted() {
    if !are_installed(&TOOLS) {
        return;
    }
    // Nobody listens at port 1.
    let stage = Stage::with("--source tcp://127.0.0.1:1 --max-viewers-per-address 1");
    let viewer = stage.native();
    let refused = stage.get("/live/main.mjpeg");
    assert!(refused.starts_with("HTTP/1.1 503 "), "{refused}");
    let begun = Instant::now();
    let placeholder = [("channel", "main"), ("state", "placeholder")];
    let metrics = loop {
        let metrics = Metrics::of(&stage);
        if metrics.sum("framecast_source_state", &placeholder) == 1.0 {
            break metrics;
        }
        assert!(begun.elapsed() < PATIENCE, "{metrics:?}");
    };
    assert_eq!(metrics.sum("framecast_source_state", &[]), 1.0);
    assert_eq!(metrics.sum("framecast_source_lost_total", &[]), 1.0);
    assert_eq!(metrics.sum("framecast_frames_published_total", &[]), 0.0);
    // Placeholders are sent and are no frames.
    assert_eq!(metrics.sum("framecast_viewer_frames_sent_total", &[]), 0.0);
    let address = [("reason", "address")];
    assert_eq!(
        metrics.sum("framecast_viewers_refused_total", &address),
        1.0
    );
    assert_eq!(metrics.sum("framecast_viewers_refused_total", &[]), 1.0);
    assert_eq!(metrics.sum("framecast_viewers_admitted_total", &[]), 1.0);
    drop(viewer);
}
