//! `benchmarks sample` as its users start it: what it writes, what it refuses, how it ends.
#![expect(clippy::unwrap_used, reason = "a test ends at its first surprise")]

use std::fs;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

/// More numbers than Linux gives (2^22).
const NOBODY: &str = "99999999";

/// A child that does nothing for longer than any test; killed at the latest when dropped.
struct Sleeper(Child);

impl Sleeper {
    fn start() -> Self {
        Self(Command::new("sleep").arg("1000").spawn().unwrap())
    }

    fn pid(&self) -> String {
        self.0.id().to_string()
    }
}

impl Drop for Sleeper {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn sample(words: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_benchmarks"));
    command.arg("sample").args(words).stdin(Stdio::null());
    command
}

fn output(words: &[&str]) -> Output {
    sample(words).output().unwrap()
}

fn text(bytes: &[u8]) -> &str {
    std::str::from_utf8(bytes).unwrap()
}

fn lines(path: &Path) -> Vec<Value> {
    let text = fs::read_to_string(path).unwrap();
    text.lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect()
}

fn interrupt(child: &Child) {
    let pid = Pid::from_child(child);
    kill_process(pid, Signal::INT).unwrap();
}

#[test]
fn every_sample_is_a_line_and_the_summary_is_the_last() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("samples.jsonl");
    let (one, other) = (Sleeper::start(), Sleeper::start());
    let both = format!("idle={},{}", one.pid(), other.pid());
    let own = std::process::id().to_string();
    let line = [
        "--role",
        &both,
        "--pid",
        &own,
        "--interval",
        "50ms",
        "--duration",
        "400ms",
    ];
    let output = sample(&line).arg("--out").arg(&path).output().unwrap();
    assert!(output.status.success(), "{}", text(&output.stderr));

    let lines = lines(&path);
    let (summary, samples) = lines.split_last().unwrap();
    assert_eq!(summary["kind"], "summary");
    assert_eq!(summary["samples"], samples.len());
    assert!(summary["elapsed_s"].as_f64().unwrap() >= 0.39, "{summary}");
    assert!(samples.len() >= 2, "{lines:?}");
    let mut earlier = (-1.0, -1.0);
    for line in samples {
        assert_eq!(line["kind"], "sample");
        assert!(line["sampler_cpu_s"].as_f64().unwrap() > 0.0);
        let roles = line["roles"].as_array().unwrap();
        assert_eq!(
            (&roles[0]["role"], &roles[0]["processes"]),
            (&"idle".into(), &2.into())
        );
        assert!(roles[0]["pss_bytes"].as_u64().unwrap() > 0, "{line}");
        // This test is the second role, and the sleepers, its children, do not count as its own.
        assert!(
            roles[1]["role"]
                .as_str()
                .unwrap()
                .ends_with(&format!("[{own}]"))
        );
        let now = (
            line["elapsed_s"].as_f64().unwrap(),
            roles[1]["cpu_s"].as_f64().unwrap(),
        );
        assert!(
            now.0 > earlier.0 && now.1 >= earlier.1,
            "{now:?} after {earlier:?}"
        );
        earlier = now;
    }
    let told = text(&output.stdout);
    assert!(
        told.contains("idle: CPU ") && told.contains("the sampler itself: "),
        "{told}"
    );
}

#[test]
fn without_a_file_there_is_a_table_until_the_last_process_ends() {
    let sleeper = Sleeper::start();
    let role = format!("idle={}", sleeper.pid());
    let mut child = sample(&["--role", &role, "--interval", "20ms"])
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap())
        .lines()
        .map(Result::unwrap);
    assert!(lines.next().unwrap().contains("CPU %"));
    let row = lines.next().unwrap();
    assert_eq!(row.split_whitespace().nth(1), Some("idle"));
    drop(sleeper);
    let rest: Vec<String> = lines.collect();
    assert!(child.wait().unwrap().success());
    let summary = rest.iter().find(|line| line.contains(" samples in "));
    assert!(summary.is_some(), "{rest:?}");
}

#[test]
fn an_interrupt_ends_it_with_a_summary() {
    let sleeper = Sleeper::start();
    let mut child = sample(&["--pid", &sleeper.pid(), "--interval", "1h"]);
    let mut child = child.stdout(Stdio::piped()).spawn().unwrap();
    let mut stdout = BufReader::new(child.stdout.take().unwrap());
    let mut head = String::new();
    stdout.read_line(&mut head).unwrap();
    interrupt(&child);
    let rest: Vec<String> = stdout.lines().map(Result::unwrap).collect();
    assert!(child.wait().unwrap().success());
    assert!(rest[0].starts_with("1 samples in 0.0 s"), "{rest:?}");
}

#[test]
fn mistakes_are_told() {
    let own = std::process::id().to_string();
    let twice = format!("a={own},{own}");
    for (words, told) in [
        (
            ["--pid", NOBODY],
            "there is no process 99999999; --pid and --role take",
        ),
        (["--role", &twice], "is named twice"),
        (["--role", "a"], "right would be NAME=PID,PID"),
        (["--interval", "0s"], "10ms or more"),
        (["--interval", "1s"], "--pid"),
    ] {
        let output = output(&words);
        let complaint = text(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{complaint}");
        assert!(complaint.contains(told), "{complaint}");
    }
    let output = output(&["--pid", &own, "--out", "/nowhere/at/all"]);
    assert_eq!(output.status.code(), Some(1));
    assert!(text(&output.stderr).contains("/nowhere/at/all: No such file"));
}

#[test]
fn a_full_disk_ends_it_loudly() {
    let output = output(&[
        "--pid",
        &std::process::id().to_string(),
        "--out",
        "/dev/full",
    ]);
    assert_eq!(output.status.code(), Some(1));
    assert!(text(&output.stderr).contains("/dev/full: No space left on device"));
}
