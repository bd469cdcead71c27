//! Runs with a broker as people read them, made of cells with known figures; and the programs around
//! one as they are started.
#![expect(clippy::unwrap_used, reason = "a test ends at its first surprise")]

use std::io::{BufRead, BufReader, Lines, Write};
use std::process::{Child, ChildStdout, Command, Stdio};
use std::time::Duration;
use std::{env, fs, thread};

use benchmarks::broker::{self, Broker};
use benchmarks::brokered::cells::{Case, Cell, RoleCost, Run, Way};
use benchmarks::brokered::table::render;
use benchmarks::load::Figures;
use benchmarks::machine::Machine;

fn case(way: Way, viewers: usize) -> Case {
    Case {
        way,
        viewers,
        bytes: 90_000,
        fps: 30,
        prefetch: None,
        frame_max: None,
    }
}

/// 4 s at 30 frames a second; each role with its share of a core.
fn cell(round: u32, case: Case, delivered: f64, roles: &[(&str, f64)]) -> Cell {
    let role = |(name, cpu): &(&str, f64)| RoleCost {
        name: (*name).to_owned(),
        cpu: *cpu,
        pss_bytes: Some(20_000_000),
        rss_bytes: 25_000_000,
        written_bps: Some(1_500.0),
        processes: 1,
        threads: 4,
    };
    Cell {
        round,
        case,
        figures: Figures {
            viewers: case.viewers,
            seconds: 4.0,
            published: 120,
            delivered,
            delivered_least: delivered,
            wire_bytes: 90_042.0,
            age_p50_ms: 2.5,
            age_p99_ms: 10.0 * f64::from(round),
            age_max_ms: 50.0,
            synchrony_ms: 1.5,
            first_frame_ms: None,
            lost: 0,
            edges_cut: 0,
        },
        roles: roles.iter().map(role).collect(),
    }
}

fn run(scenario: &str, cells: Vec<Cell>) -> Run {
    Run {
        scenario: scenario.to_owned(),
        is_quick: false,
        machine: Machine {
            cpu: "a processor".to_owned(),
            cores: 2,
            kernel: "6.1".to_owned(),
            commit: "abc".to_owned(),
            load_before: "0.10".to_owned(),
            ..Machine::default()
        },
        broker: "RabbitMQ 3.10.8".to_owned(),
        cells,
    }
}

/// Three rounds in which ours costs 1.1, 1.3 and 1.5 times the floor at the publisher, a fifth of the
/// floor for making frames, twice as much at the readers, and 1.2 times what the floor's readers cost
/// behind our publisher.
fn exchange() -> Run {
    let mut cells = Vec::new();
    for (round, publisher) in [(1, 0.011), (2, 0.013), (3, 0.015)] {
        let roles = [("publisher", 0.01), ("broker", 0.3), ("readers", 0.06)];
        cells.push(cell(round, case(Way::Floor, 10), 1.0, &roles));
        let behind_ours = |readers| {
            [
                ("publisher", publisher),
                ("broker", 0.3),
                ("readers", readers),
                ("making", 0.002),
            ]
        };
        let roles = behind_ours(0.1);
        cells.push(cell(round, case(Way::Crossed, 10), 1.0, &roles));
        let roles = behind_ours(0.12);
        cells.push(cell(round, case(Way::Exchange, 10), 1.0, &roles));
        let no_ack = Case {
            prefetch: Some(0),
            ..case(Way::Exchange, 10)
        };
        cells.push(cell(round, no_ack, 0.98, &roles));
        let small_frames = Case {
            frame_max: Some(128 << 10),
            ..case(Way::Exchange, 10)
        };
        cells.push(cell(round, small_frames, 1.0, &roles));
    }
    run("exchange", cells)
}

fn edges() -> Run {
    let mut cells = Vec::new();
    for round in 1..=2 {
        let roles = [("publisher", 0.3), ("viewers", 0.5)];
        cells.push(cell(round, case(Way::Ring, 1000), 1.0, &roles));
        let roles = [
            ("publisher", 0.03),
            ("broker", 0.06),
            ("edges", 0.3),
            ("viewers", 0.97),
        ];
        cells.push(cell(round, case(Way::Edges, 1000), 1.0, &roles));
        let roles = [("publisher", 0.03), ("broker", 1.2), ("readers", 0.75)];
        cells.push(cell(round, case(Way::Exchange, 50), 0.995, &roles));
        if round == 2 {
            cells.push(cell(round, case(Way::Exchange, 100), 0.9, &roles));
        }
    }
    run("edges", cells)
}

#[test]
fn tables_are_as_they_were() {
    let golden = |name: &str| {
        let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/brokered");
        fs::read_to_string(format!("{folder}/{name}.md")).unwrap()
    };
    assert_eq!(render(&exchange()), golden("exchange"));
    assert_eq!(render(&edges()), golden("edges"));
}

#[test]
fn a_result_is_read_as_it_was_written_and_its_table_made_anew() {
    let folder = tempfile::tempdir().unwrap();
    let run = edges();
    let path = run.save(folder.path()).unwrap();
    let report = Command::new(env!("CARGO_BIN_EXE_benchmarks"))
        .arg("report")
        .arg(folder.path())
        .output()
        .unwrap();
    assert!(report.status.success(), "{report:?}");
    let table = fs::read_to_string(path.with_extension("md")).unwrap();
    assert_eq!(table, render(&run));
}

#[test]
fn scenarios_with_a_broker_are_listed_and_their_helpers_are_not() {
    let words = |word: &str| {
        let told = Command::new(env!("CARGO_BIN_EXE_benchmarks"))
            .arg(word)
            .output()
            .unwrap();
        String::from_utf8(told.stdout).unwrap()
    };
    let list = words("list");
    for name in ["models", "drop", "exchange", "edges", "egress"] {
        let is_it = |line: &str| line.starts_with(&format!("  {name} "));
        assert!(list.lines().any(is_it), "{name}: {list}");
    }
    let help = words("--help");
    for hidden in ["floor", "readers", "  ring "] {
        assert!(!help.contains(hidden), "{help}");
    }
}

/// The broker that `scripts/check` has started for all tests, or one of our own; `None` if there cannot
/// be one, which `STRICT=1` forbids.
#[expect(clippy::print_stderr, reason = "a skipped test has to say so")]
fn broker() -> Option<(String, Option<Broker>)> {
    if let Ok(url) = env::var("FRAMECAST_TEST_AMQP") {
        return Some((url, None));
    }
    if let Some(missing) = broker::missing() {
        assert!(env::var("STRICT").as_deref() != Ok("1"), "{missing}");
        eprintln!("skipped: {missing}");
        return None;
    }
    let broker = Broker::start().unwrap();
    Some((broker.url.clone(), Some(broker)))
}

/// A helper as the runner starts it; killed at the latest when dropped.
struct Helper(Child, Lines<BufReader<ChildStdout>>);

impl Helper {
    fn start(line: &str) -> Self {
        let mut child = Command::new(env!("CARGO_BIN_EXE_benchmarks"))
            .args(line.split_whitespace())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let stdout = BufReader::new(child.stdout.take().unwrap());
        Self(child, stdout.lines())
    }

    fn line(&mut self) -> String {
        self.1.next().unwrap().unwrap()
    }

    fn ask(&mut self, word: &str) -> String {
        writeln!(self.0.stdin.as_mut().unwrap(), "{word}").unwrap();
        self.line()
    }
}

impl Drop for Helper {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn floor_and_readers_of_both_kinds_count_every_frame() {
    let Some((url, _broker)) = broker() else {
        return;
    };
    let exchange = format!("benchmark-test-{}", std::process::id());
    let mut floor = Helper::start(&format!(
        "floor {url} --exchange {exchange} --bytes 8000 --fps 50"
    ));
    assert_eq!(floor.line(), "publishing");
    // No acknowledgements, fewer than ours take, and what each kind does by itself.
    for settings in [
        "floor --prefetch 0",
        "floor",
        "ingress --prefetch 4 --frame-max 8192",
        "ingress",
    ] {
        let mut readers = Helper::start(&format!(
            "readers {url} --exchange {exchange} --viewers 3 --bytes 8000 --through {settings}"
        ));
        assert_eq!(readers.line(), "ready 3", "{settings}");
        assert_eq!(readers.ask("begin"), "begun", "{settings}");
        thread::sleep(Duration::from_secs(1));
        let figures: Figures = serde_json::from_str(&readers.ask("end")).unwrap();
        assert_eq!(figures.viewers, 3, "{settings}");
        assert!(figures.published >= 25, "{settings}: {figures:?}");
        assert!(figures.delivered > 0.9, "{settings}: {figures:?}");
        assert!(figures.age_p50_ms > 0.0, "{settings}: {figures:?}");
        // The end of its words is its end.
        drop(readers.0.stdin.take());
        assert!(readers.0.wait().unwrap().success(), "{settings}");
    }
}

#[test]
fn readers_without_a_broker_say_why() {
    // Nobody listens on port 1.
    for through in ["floor", "ingress"] {
        let url = match through {
            "floor" => "amqp://127.0.0.1:1/%2f",
            _ => "tcp://127.0.0.1",
        };
        let line = format!("readers {url} --exchange x --viewers 1 --bytes 1 --through {through}");
        let readers = Command::new(env!("CARGO_BIN_EXE_benchmarks"))
            .args(line.split(' '))
            .output()
            .unwrap();
        assert!(!readers.status.success());
        let told = String::from_utf8(readers.stderr).unwrap();
        let part = match through {
            "floor" => "benchmarks: a reader ended: exchange: ",
            _ => "names no port",
        };
        assert!(told.contains(part), "{told}");
    }
}
