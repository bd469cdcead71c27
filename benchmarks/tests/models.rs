//! What each model costs: results as people read them, and runs of small scenarios with the real programs.
#![expect(clippy::unwrap_used, reason = "a test ends at its first surprise")]

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

use benchmarks::export::{csv, document, html, markdown};
use benchmarks::load::Protocol;
use benchmarks::machine::Machine;
use benchmarks::plot::{Figure, Line, Panel, draw, figures};
use benchmarks::report::compare::{self, Comparison};
use benchmarks::result::{Cell, Curve, Figures, Measured, Outcome, Results, RoleCost, Skipped};
use benchmarks::scenario::{Load, Scenario};
use rustix::process::{Pid, Signal, kill_process};

/// Two arms that are always here, one that is not, and few viewers.
const SMALL: &str = r#"
question = "Does it work?"
watchers = "crowd"
warm_up = "300ms"
windows = ["500ms", "300ms"]
rounds = 2
reference = "bare"

[[arm]]
name = "bare"
model = "bare"

[[arm]]
name = "ring"
model = "ring"

[[load]]
viewers = [2, 9]
bytes = [8_000]
fps = [30]

[quick]
warm_up = "200ms"
window = "300ms"
load = [{ viewers = [2], bytes = [8_000], fps = [30] }]
"#;

fn golden(name: &str) -> String {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/models");
    fs::read_to_string(format!("{folder}/{name}")).unwrap_or_default()
}

/// As it was, or the difference in a file to look at.
fn assert_as_it_was(name: &str, now: &str) {
    if now != golden(name) {
        let path = std::env::temp_dir().join(format!("framecast-{name}"));
        fs::write(&path, now).unwrap();
        panic!("{name} is not as it was; it is now {}", path.display());
    }
}

fn role(name: &str, cpu: f64, megabytes: u64) -> RoleCost {
    RoleCost {
        name: name.to_owned(),
        cpu,
        system: cpu / 2.0,
        memory_bytes: megabytes * 1_000_000,
        memory_most_bytes: megabytes * 1_100_000,
        memory_is_rss: false,
        read_bps: Some(0.0),
        written_bps: Some(1_500.0),
        processes: 1,
        threads: 3,
        switches_per_s: 250.0,
    }
}

fn curve(role: &str, cpu: f64) -> Curve {
    Curve {
        role: role.to_owned(),
        at_s: vec![0.2, 0.4, 0.6],
        cpu_percent: vec![cpu, cpu + 1.0, cpu - 1.0],
        memory_mb: vec![20.0, 20.5, 21.0],
    }
}

fn cell(round: u32, arm: &str, load: &Load, roles: &[(&str, f64, u64)], delivered: f64) -> Cell {
    let growing = f64::from(round) * 0.1;
    let outcome = Outcome::Measured(Box::new(Measured {
        figures: Figures {
            window_s: 4.0,
            published_fps: 30.0,
            fps: 30.0 * delivered,
            fps_least: 29.5 * delivered,
            delivered,
            age_p50_ms: 1.0 + growing,
            age_p99_ms: 2.0 + growing,
            age_max_ms: 3.0,
            synchrony_ms: (load.viewers > 1).then_some(0.5),
            lost: 0,
            edges_cut: 0,
            writer_us: None,
            writer_cpu_us: None,
        },
        roles: roles
            .iter()
            .map(|(name, cpu, megabytes)| role(name, cpu + growing, *megabytes))
            .collect(),
        curves: roles
            .iter()
            .map(|(name, cpu, _)| curve(name, 100.0 * cpu))
            .collect(),
        ps: Vec::new(),
        sampler_cpu: 0.02,
        doubts: if delivered < 1.0 {
            vec!["the machine was full: 1.99 of 2 cores busy".to_owned()]
        } else {
            Vec::new()
        },
    }));
    Cell {
        round,
        arm: arm.to_owned(),
        load: load.clone(),
        outcome,
    }
}

/// Results of the scenario `models` with everything that can be: valid and invalid cells, a failed one,
/// an arm that is missing.
fn results() -> Results {
    let mut scenario = Scenario::find("models").unwrap();
    // What may be tuned does not show in what is compared here.
    scenario.warm_up = Duration::from_secs(3);
    scenario.windows = [20, 5].map(Duration::from_secs).to_vec();
    scenario.reference = Some("ring, threads".to_owned());
    let load = |viewers| Load {
        viewers,
        bytes: 90_000,
        size: "640x480".to_owned(),
        fps: 30,
        frames_per_payload: 1,
        stopped: 0,
        protocol: Protocol::Tcp,
    };
    let mut cells = Vec::new();
    for round in 1..=3 {
        for (viewers, cpu) in [(1, 0.05), (20, 0.4)] {
            let load = load(viewers);
            let threads = [("broadcaster", cpu, 12), ("receivers", 2.0 * cpu, 20)];
            cells.push(cell(round, "ring, threads", &load, &threads, 1.0));
            let delivered = if viewers == 20 { 0.98 } else { 1.0 };
            let roles = [
                ("broadcaster", cpu, 10),
                ("broker", 3.0 * cpu, 110),
                ("receivers", 2.0 * cpu, 30),
            ];
            cells.push(cell(round, "rabbitmq", &load, &roles, delivered));
        }
    }
    cells.push(Cell {
        round: 1,
        arm: "ring, multiplex".to_owned(),
        load: load(1),
        outcome: Outcome::Failed(
            "`broadcaster --x` ended in the middle; it said: <no> | \"port\"".to_owned(),
        ),
    });
    Results {
        scenario,
        is_quick: false,
        machine: Machine {
            cpu: "a processor".to_owned(),
            cores: 2,
            kernel: "6.1".to_owned(),
            commit: "abc".to_owned(),
            load_before: "0.90".to_owned(),
            memory_bytes: 8_000_000_000,
            system: "an operating system".to_owned(),
            versions: vec!["Framecast 0.1.0".to_owned()],
            begun: "2026-11-21T20:00:00Z".to_owned(),
        },
        skipped: vec![Skipped {
            arm: "rabbitmq + edge".to_owned(),
            why: "rabbitmq-server is not installed".to_owned(),
        }],
        cells,
    }
}

#[test]
fn tables_are_as_they_were() {
    let results = results();
    let document = document(&results);
    let pictures = [("models-time.svg".to_owned(), "over time".to_owned())];
    assert_as_it_was("models.markdown", &markdown::render(&document, &pictures));
    let csv = String::from_utf8(csv::render(&results).unwrap()).unwrap();
    assert_as_it_was("models.csv", &csv);
    let section = html::Section {
        document,
        plots: vec![("over time & more".to_owned(), "<svg></svg>".to_owned())],
    };
    assert_as_it_was("report.html", &html::render(&[section]));
}

/// A figure, a line for each of its lines.
fn told(figure: &Figure) -> String {
    let mut out = format!(
        "{}: {} ({} columns)\n",
        figure.name, figure.title, figure.columns
    );
    for panel in &figure.panels {
        let Panel { title, x, y, .. } = panel;
        let axes = format!("{} {:?}, {} {:?}", x.label, x.scale, y.label, y.scale);
        out.push_str(&format!("  {title}: {axes}\n"));
        for line in &panel.lines {
            let Line {
                name,
                colour,
                points,
                band,
                invalid,
            } = line;
            out.push_str(&format!(
                "    {name} {colour} {points:.1?} {band:.1?} {invalid:.1?}\n"
            ));
        }
    }
    out
}

#[test]
fn what_is_plotted_is_as_it_was() {
    let figures = figures(&results());
    let told = figures.iter().map(told).collect::<String>();
    assert_as_it_was("figures.txt", &told);
    for figure in &figures {
        let drawn = draw::draw(figure).unwrap();
        assert!(drawn.png.starts_with(b"\x89PNG"), "{}", figure.name);
        for panel in &figure.panels {
            assert!(drawn.svg.contains(&panel.x.label), "{}", figure.name);
        }
    }
}

#[test]
fn results_are_read_as_they_were_written() {
    let folder = tempfile::tempdir().unwrap();
    let results = results();
    let path = results.save(folder.path()).unwrap();
    assert_eq!(Results::load(&path).unwrap(), results);
    let lines = fs::read_to_string(&path).unwrap().lines().count();
    assert_eq!(lines, results.cells.len() + 6, "a line for each cell");
}

/// What is measured of frames of so many bytes, so many a second, one by one or several at once.
fn of_size(arm: &str, (bytes, fps, frames_per_payload): (usize, u32, usize), told: Told) -> Cell {
    let load = Load {
        viewers: 1,
        bytes,
        size: "16x16".to_owned(),
        fps,
        frames_per_payload,
        stopped: 0,
        protocol: Protocol::Tcp,
    };
    let roles = [("broadcaster", told.cpu, 10)];
    let mut cell = cell(1, arm, &load, &roles, told.delivered);
    if let Outcome::Measured(measured) = &mut cell.outcome {
        measured.figures.writer_us = Some(told.writer_us);
        measured.figures.writer_cpu_us = Some(told.work_us);
        measured.figures.fps = told.delivered * f64::from(fps);
        measured.figures.age_p50_ms = told.age_ms;
        measured.roles[0].cpu = told.cpu;
    }
    cell
}

#[derive(Clone, Copy)]
struct Told {
    cpu: f64,
    writer_us: f64,
    work_us: f64,
    age_ms: f64,
    delivered: f64,
}

#[test]
fn what_the_size_of_a_frame_decides_is_said_in_words() {
    let mut results = results();
    results.scenario = Scenario::find("size").unwrap();
    let plain = Told {
        cpu: 0.1,
        writer_us: 10.0,
        work_us: 8.0,
        age_ms: 1.0,
        delivered: 1.0,
    };
    let held_up = |writer_us, work_us| Told {
        writer_us,
        work_us,
        ..plain
    };
    let fast = Told {
        delivered: 0.5,
        writer_us: 1_000.0,
        ..plain
    };
    let joined = Told {
        cpu: 0.02,
        age_ms: 26.0,
        ..plain
    };
    results.cells = vec![
        of_size("tcp", (64, 30, 1), held_up(10.0, 8.0)),
        of_size("tcp", (90_000, 30, 1), held_up(15.0, 12.0)),
        of_size("tcp", (4_000_000, 30, 1), held_up(40.0, 13.0)),
        of_size("http", (1_000, 30, 1), held_up(9.0, 9.0)),
        of_size("http", (4_000_000, 30, 1), held_up(9.0, 9.0)),
        of_size("tcp", (4_000_000, 1_000, 1), fast),
        of_size("tcp", (64, 600, 1), plain),
        of_size("tcp", (64, 600, 30), joined),
    ];
    assert_eq!(
        document(&results).answer,
        "Until the writer may go on, and of that its own work (for the rest others have its processor, \
         whom it has woken): tcp 10 µs, 8 of work, with 64 B; 40 µs, 13 of work, with 4 MB; as much work \
         up to 90 kB – http 9 µs, 9 of work, with 1 kB; 9 µs, 9 of work, with 4 MB; as much work up to 4 \
         MB. The most that arrived at one viewer: tcp 2.00 GB/s, in frames of 4 MB – http 0.12 GB/s, in \
         frames of 4 MB. 30 frames of 64 B at once take so much of the CPU that they take one by one, and \
         arrive so much later: tcp 0.20 ×, 25 ms."
    );
}

#[test]
fn a_run_that_took_twice_as_much_is_told_from_chance() {
    let (first, mut second) = (results(), results());
    for cell in &mut second.cells {
        if let Outcome::Measured(measured) = &mut cell.outcome {
            measured
                .roles
                .iter_mut()
                .for_each(|role| role.memory_bytes *= 2);
        }
    }
    let compared = Comparison::of(&[first, second]);
    let summary = compare::summary(std::slice::from_ref(&compared));
    let expected = "Figures that differ by more than chance explains with 95 % confidence: CPU 0 of 4, \
                    memory 4 of 4, age p99 0 of 4. By chance alone one in twenty does.\n";
    assert_eq!(summary, expected);
    let table = markdown::table(&compared.table());
    let row = table
        .lines()
        .find(|line| line.contains("ring, threads"))
        .unwrap();
    let expected =
        "| 1 × 90 kB × 30 fps | ring, threads | 1.00 (0.42 to 2.38) | **2.00 (2.00 to 2.00)** |";
    assert!(row.starts_with(expected), "{row}");
}

fn benchmarks(words: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_benchmarks"));
    command.args(words).stdin(Stdio::null());
    command
}

fn output(words: &[&str]) -> Output {
    benchmarks(words).output().unwrap()
}

fn error_of(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).unwrap()
}

/// The scenario as a file, and where its results go.
fn small(folder: &Path, text: &str) -> (String, String) {
    let file = folder.join("small.toml");
    fs::write(&file, text).unwrap();
    let out = folder.join("out");
    [file, out]
        .map(|path| path.to_str().unwrap().to_owned())
        .into()
}

#[test]
fn a_scenario_of_ones_own_is_run_and_told() {
    let folder = tempfile::tempdir().unwrap();
    let (file, out) = small(folder.path(), SMALL);
    let ran = output(&["run", &file, "--out", &out]);
    assert!(ran.status.success(), "{}", error_of(&ran));
    let page = format!("{out}/report.html");
    assert_eq!(String::from_utf8(ran.stdout).unwrap().trim(), page);
    let results = Results::load(&Results::path(Path::new(&out), "small")).unwrap();
    assert_eq!(results.cells.len(), 8);
    for cell in &results.cells {
        let measured = cell.measured().unwrap();
        let names: Vec<_> = measured
            .roles
            .iter()
            .map(|role| role.name.as_str())
            .collect();
        let server = if cell.arm == "bare" {
            "server"
        } else {
            "broadcaster"
        };
        assert_eq!(names, [server, "viewers"]);
        assert!(measured.figures.fps > 0.0, "{cell:?}");
        assert!(
            measured.cpu() > 0.0 && measured.memory_bytes() > 0,
            "{cell:?}"
        );
        assert!(
            measured.curves.iter().all(|curve| curve.at_s.len() >= 2),
            "{cell:?}"
        );
    }
    for name in ["small.md", "small.csv", "report.html", "raw/small.jsonl"] {
        let text = fs::read_to_string(format!("{out}/{name}")).unwrap();
        assert!(text.contains("ring"), "{name}");
    }
    // Nothing is left to do, and nothing is done again.
    let before = fs::read(format!("{out}/small.json")).unwrap();
    let again = output(&["run", &file, "--out", &out, "--resume"]);
    assert!(again.status.success(), "{}", error_of(&again));
    assert_eq!(fs::read(format!("{out}/small.json")).unwrap(), before);
    // Without the word nothing is overwritten.
    let refused = output(&["run", &file, "--out", &out]);
    assert_eq!(refused.status.code(), Some(1));
    assert!(
        error_of(&refused).contains("--resume goes on"),
        "{}",
        error_of(&refused)
    );
    let other = output(&["run", &file, "--out", &out, "--resume", "--rounds", "3"]);
    assert!(
        error_of(&other).contains("another version of the scenario"),
        "{}",
        error_of(&other)
    );
}

#[test]
fn an_arm_that_has_failed_is_left_out_of_what_follows_also_later() {
    let folder = tempfile::tempdir().unwrap();
    let text = SMALL.replacen("rounds = 2", "rounds = 2\nuntil_failure = true", 1);
    // Not a size of a picture: the broadcaster ends at once. The bare loop makes no pictures.
    let text = text.replacen("bytes = [8_000]", "bytes = [8_000]\nsize = \"640y480\"", 1);
    let (file, out) = small(folder.path(), &text);
    let ran = output(&["run", &file, "--out", &out]);
    assert!(ran.status.success(), "{}", error_of(&ran));
    let path = Results::path(Path::new(&out), "small");
    let tried = || {
        let cells = Results::load(&path).unwrap().cells;
        let ring = cells.into_iter().filter(|cell| cell.arm == "ring");
        ring.map(|cell| (cell.round, cell.load.viewers))
            .collect::<Vec<_>>()
    };
    assert_eq!(tried(), [(1, 2), (2, 2)]);
    let again = output(&["run", &file, "--out", &out, "--resume"]);
    assert!(again.status.success(), "{}", error_of(&again));
    assert_eq!(tried(), [(1, 2), (2, 2)]);
}

#[test]
fn an_interrupt_keeps_what_is_done_and_it_goes_on_later() {
    let folder = tempfile::tempdir().unwrap();
    let (file, out) = small(folder.path(), SMALL);
    let mut child = benchmarks(&["run", &file, "--out", &out]);
    let mut child = child
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let path = Results::path(Path::new(&out), "small");
    let done = || Results::load(&path).map_or(0, |results| results.cells.len());
    while done() < 2 {
        assert!(
            child.try_wait().unwrap().is_none(),
            "ended before it was interrupted"
        );
        std::thread::sleep(Duration::from_millis(20));
    }
    kill_process(Pid::from_child(&child), Signal::INT).unwrap();
    let output_of = child.wait_with_output().unwrap();
    assert_eq!(
        output_of.status.code(),
        Some(130),
        "{}",
        error_of(&output_of)
    );
    assert!(error_of(&output_of).contains("--resume goes on"));
    let kept = Results::load(&path).unwrap().cells;
    assert!((2..8).contains(&kept.len()), "{}", kept.len());
    let resumed = output(&["run", &file, "--out", &out, "--resume"]);
    assert!(resumed.status.success(), "{}", error_of(&resumed));
    let all = Results::load(&path).unwrap().cells;
    assert_eq!((all.len(), &all[..kept.len()]), (8, kept.as_slice()));
}

#[test]
fn an_interrupt_does_not_wait_for_a_long_window() {
    let folder = tempfile::tempdir().unwrap();
    let (file, out) = small(folder.path(), &SMALL.replace("\"500ms\"", "\"60s\""));
    let mut child = benchmarks(&["run", &file, "--out", &out]);
    let mut child = child
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    // Samples are taken once the window has begun.
    let raw = format!("{out}/raw/small.jsonl");
    while fs::metadata(&raw).map_or(0, |metadata| metadata.len()) == 0 {
        assert!(
            child.try_wait().unwrap().is_none(),
            "ended before it was interrupted"
        );
        std::thread::sleep(Duration::from_millis(20));
    }
    let begun = Instant::now();
    kill_process(Pid::from_child(&child), Signal::INT).unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(130));
    assert!(
        begun.elapsed() < Duration::from_secs(2),
        "{:?}",
        begun.elapsed()
    );
}

#[test]
fn too_few_descriptors_are_told_before_the_start() {
    let folder = tempfile::tempdir().unwrap();
    let (file, out) = small(folder.path(), SMALL);
    let program = env!("CARGO_BIN_EXE_benchmarks");
    let line = format!("ulimit -n 260 && exec {program} run {file} --out {out}");
    let ran = Command::new("sh").args(["-c", &line]).output().unwrap();
    assert_eq!(ran.status.code(), Some(1));
    let told = "265 open files are needed and 260 allowed";
    assert!(error_of(&ran).contains(told), "{}", error_of(&ran));
    assert!(!Path::new(&out).exists());
}

#[test]
fn a_program_that_dies_fails_its_cell_with_its_last_words_and_the_run_goes_on() {
    let folder = tempfile::tempdir().unwrap();
    // Not a size of a picture: the broadcaster ends at once and says so.
    let text = SMALL.replacen("bytes = [8_000]", "bytes = [8_000]\nsize = \"640y480\"", 1);
    let (file, out) = small(folder.path(), &text);
    let ran = output(&["run", &file, "--out", &out, "--rounds", "1"]);
    assert_eq!(ran.status.code(), Some(1));
    assert!(
        error_of(&ran).contains("2 measurements failed"),
        "{}",
        error_of(&ran)
    );
    let results = Results::load(&Results::path(Path::new(&out), "small")).unwrap();
    let failed =
        |cell: &&Cell| matches!(&cell.outcome, Outcome::Failed(why) if why.contains("640y480"));
    let failed: Vec<_> = results.cells.iter().filter(failed).collect();
    assert_eq!((results.cells.len(), failed.len()), (4, 2));
    let Outcome::Failed(why) = &failed[0].outcome else {
        panic!("not failed");
    };
    assert!(
        why.contains("did not say") && why.contains("such as 1280x720"),
        "{why}"
    );
    let table = fs::read_to_string(format!("{out}/small.md")).unwrap();
    assert!(table.contains(&format!("failed: {why}")), "{table}");
}

#[test]
fn a_full_disk_ends_the_run_loudly() {
    let folder = tempfile::tempdir().unwrap();
    let (file, out) = small(folder.path(), SMALL);
    fs::create_dir_all(format!("{out}/raw")).unwrap();
    symlink("/dev/full", format!("{out}/raw/small.jsonl")).unwrap();
    let ran = output(&["run", &file, "--out", &out]);
    assert_eq!(ran.status.code(), Some(1));
    assert!(
        error_of(&ran).contains("No space left on device"),
        "{}",
        error_of(&ran)
    );
}

#[test]
fn mistakes_end_with_2_and_say_what_would_be_right() {
    let folder = tempfile::tempdir().unwrap();
    let (file, _) = small(
        folder.path(),
        &SMALL.replace("rounds = 2", "rounds = \"two\""),
    );
    for (words, told) in [
        (["run", "modles"], "there are models, clients"),
        (["run", "egres"], "drop, egress, "),
        (["run", "exchnage"], ", exchange, edges; right would"),
        (["run", file.as_str()], "line 6, column 10"),
        (["run", "/nowhere/x.toml"], "/nowhere/x.toml: No such file"),
    ] {
        let ran = output(&words);
        assert_eq!(ran.status.code(), Some(2), "{words:?}");
        assert!(error_of(&ran).contains(told), "{}", error_of(&ran));
    }
    for folder in [folder.path().to_str().unwrap(), "/nowhere"] {
        let report = output(&["report", folder]);
        assert_eq!(report.status.code(), Some(1), "{folder}");
        let told = format!("{folder}: no results in this folder; right would be one that");
        assert!(error_of(&report).contains(&told), "{}", error_of(&report));
    }
}
