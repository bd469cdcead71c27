//! Other programs at the exchange: one that reads what we publish, one that publishes garbage.

use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};

use super::*;
use crate::clients::{are_installed, python};
use crate::stage::Running;

const PAGE: &str = include_str!("../../../../common/wire.md");

/// What a Python program taken from `common/wire.md` says of an exchange's frames.
pub(super) fn says(place: &Place, words: &str) -> String {
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/e2e/exchange/foreign.py");
    let mut program: Command = python();
    let program = program.arg(script).args([&place.url, &place.name]);
    let output = program.args(words.split_whitespace()).output().unwrap();
    let told = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{told}");
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn other_programs_read_frames_by_head_and_body() {
    let Some(place) = Place::shared().filter(|_| are_installed(&["pika"])) else {
        return;
    };
    let _stage = place.stage("--source pattern --model rabbitmq --size 320x240");
    let said = says(&place, "read 5");
    let lines: Vec<_> = said.lines().collect();
    assert_eq!(lines.len(), 5, "{said}");
    for line in lines {
        let fields: Value = serde_json::from_str(line).unwrap();
        assert_eq!(fields["content_type"], "application/x-framecast-payload");
        assert_eq!(fields["headers"].as_object().unwrap().len(), 4);
        for key in ["epoch", "seq", "captured_at_ns", "flags"] {
            assert_eq!(fields["headers"][key], fields["body"][key], "{line}");
        }
        assert_eq!(fields["starts_as_jpeg"], true);
    }
}

#[test]
fn the_reader_on_the_page_about_the_wire_format_reads() {
    let Some(place) = Place::shared().filter(|_| are_installed(&["pika"])) else {
        return;
    };
    let _stage = place.stage("--source pattern --model rabbitmq --size 320x240");
    let (_, reader) = PAGE.split_once("```py\n").unwrap();
    let (reader, _) = reader.split_once("```").unwrap();
    let reader = reader.replace("amqp://guest:guest@127.0.0.1:5672/%2f", &place.url);
    let reader = reader.replace("framecast.main", &place.name);
    let mut program = python();
    let program = program.args(["-u", "-c", &reader]).stdout(Stdio::piped());
    let mut program = Running(program.spawn().unwrap());
    let said = BufReader::new(program.0.stdout.take().unwrap());
    let lines: Vec<_> = said.lines().take(5).map(Result::unwrap).collect();
    let numbers = lines.iter().map(|line| {
        let fields: Vec<u64> = line.split(' ').map(|one| one.parse().unwrap()).collect();
        assert!(fields[1] > 500, "{line}");
        fields[0]
    });
    let numbers: Vec<_> = numbers.collect();
    assert!(
        numbers.is_sorted_by(|one, next| next == &(one + 1)),
        "{numbers:?}"
    );
}

#[test]
fn garbage_is_counted_and_passed_over() {
    let Some(place) = Place::shared().filter(|_| are_installed(&["pika"])) else {
        return;
    };
    let _stage = place.stage("--source pattern --model rabbitmq --fps 10");
    let mut reader = place.reader();
    thread::scope(|scope| {
        let junk = scope.spawn(|| says(&place, "garbage 300"));
        while !junk.is_finished() {
            take(&mut reader, 1);
        }
        assert_eq!(junk.join().unwrap().trim(), "300");
    });
    // Some of it was dropped by the queue, as frames would have been.
    take(&mut reader, 5);
    assert!(reader.damaged() > 100, "{}", reader.damaged());
    assert!(reader.is_connected());
    assert_eq!(gaps(&take(&mut reader, 10)), 0);
}
