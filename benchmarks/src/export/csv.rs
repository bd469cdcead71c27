//! All figures as comma-separated values (RFC 4180): a line for each role of each cell.

use std::io;

use crate::result::{Cell, Measured, Results, RoleCost};

const HEAD: [&str; 34] = [
    "scenario",
    "round",
    "arm",
    "viewers",
    "bytes",
    "size",
    "fps",
    "frames_per_payload",
    "stopped",
    "failed",
    "valid",
    "window_s",
    "published_fps",
    "viewer_fps",
    "viewer_fps_least",
    "delivered",
    "age_p50_ms",
    "age_p99_ms",
    "age_max_ms",
    "synchrony_ms",
    "lost",
    "writer_held_up_us",
    "writer_working_us",
    "role",
    "cpu_percent",
    "system_percent",
    "memory_bytes",
    "memory_most_bytes",
    "memory_is_rss",
    "read_bytes_per_s",
    "written_bytes_per_s",
    "processes",
    "threads",
    "switches_per_s",
];

/// The results as text.
///
/// # Errors
/// Never, unless memory is short.
pub fn render(results: &Results) -> io::Result<Vec<u8>> {
    let mut out = ::csv::Writer::from_writer(Vec::new());
    out.write_record(HEAD)?;
    for cell in &results.cells {
        let begin = begin(results, cell);
        match cell.measured() {
            Some(measured) => {
                for role in &measured.roles {
                    let fields = begin.iter().cloned();
                    out.write_record(fields.chain(figures(measured)).chain(of_role(role)))?;
                }
            }
            None => {
                let mut fields = begin;
                fields.push("yes".to_owned());
                fields.resize(HEAD.len(), String::new());
                out.write_record(fields)?;
            }
        }
    }
    out.into_inner().map_err(|error| error.into_error())
}

fn begin(results: &Results, cell: &Cell) -> Vec<String> {
    let load = &cell.load;
    vec![
        results.scenario.name.clone(),
        cell.round.to_string(),
        cell.arm.clone(),
        load.viewers.to_string(),
        load.bytes.to_string(),
        load.size.clone(),
        load.fps.to_string(),
        load.frames_per_payload.to_string(),
        load.stopped.to_string(),
    ]
}

fn figures(measured: &Measured) -> [String; 14] {
    let figures = &measured.figures;
    [
        "no".to_owned(),
        yes_or_no(measured.is_valid()),
        figures.window_s.to_string(),
        figures.published_fps.to_string(),
        figures.fps.to_string(),
        figures.fps_least.to_string(),
        figures.delivered.to_string(),
        figures.age_p50_ms.to_string(),
        figures.age_p99_ms.to_string(),
        figures.age_max_ms.to_string(),
        or_empty(figures.synchrony_ms),
        figures.lost.to_string(),
        or_empty(figures.writer_us),
        or_empty(figures.writer_cpu_us),
    ]
}

fn of_role(role: &RoleCost) -> [String; 11] {
    [
        role.name.clone(),
        (100.0 * role.cpu).to_string(),
        (100.0 * role.system).to_string(),
        role.memory_bytes.to_string(),
        role.memory_most_bytes.to_string(),
        yes_or_no(role.memory_is_rss),
        or_empty(role.read_bps),
        or_empty(role.written_bps),
        role.processes.to_string(),
        role.threads.to_string(),
        role.switches_per_s.to_string(),
    ]
}

fn yes_or_no(value: bool) -> String {
    if value { "yes" } else { "no" }.to_owned()
}

fn or_empty(value: Option<f64>) -> String {
    value.map(|value| value.to_string()).unwrap_or_default()
}
