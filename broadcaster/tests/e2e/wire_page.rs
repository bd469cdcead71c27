//! The page about the wire format tells the truth: the reader printed there reads the stream.

use super::clients::{are_installed, assert_consecutive, python, run_well, still_says};
use super::stage::Stage;

const PAGE: &str = include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/../common/wire.md"));
const MAX_LINES: usize = 30;
const FRAMES: usize = 10;

/// The one block of Python on the page.
fn reader() -> &'static str {
    let (_, rest) = PAGE.split_once("```python\n").unwrap();
    let (block, rest) = rest.split_once("```\n").unwrap();
    assert!(!rest.contains("```python"), "more than one reader");
    block
}

#[test]
fn the_reader_is_short() {
    let count = reader().lines().count();
    assert!(count <= MAX_LINES, "{count} lines");
}

#[test]
fn the_reader_prints_a_line_for_each_frame() {
    if !are_installed(&["python3"]) {
        return;
    }
    let stage = Stage::with("--source pattern --max-age 10s");
    let (host, port) = (stage.tcp.ip().to_string(), stage.tcp.port().to_string());
    let mut command = python();
    command.args(["-c", reader(), &host, &port, "main", &FRAMES.to_string()]);
    let output = String::from_utf8(run_well(&mut command)).unwrap();
    let epoch = still_says(&stage, "X-Epoch").to_string();
    let mut seqs = Vec::new();
    for line in output.lines() {
        let words: Vec<_> = line.split(' ').collect();
        let [said, seq, "640", "480", length, age_ms] = words[..] else {
            panic!("not a frame of 640x480: {line}");
        };
        assert_eq!(said, epoch);
        assert!(length.parse::<usize>().unwrap() > 0, "{line}");
        assert!(age_ms.parse::<f64>().unwrap() >= 0.0, "{line}");
        seqs.push(seq.parse().unwrap());
    }
    assert_eq!(seqs.len(), FRAMES);
    assert_consecutive(&seqs);
}
