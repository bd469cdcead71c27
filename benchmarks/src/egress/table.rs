//! A run as a Markdown table: medians with their spread, ratios within the round, doubts.

use std::fmt::Write as _;
use std::path::Path;
use std::{fs, io};

use super::result::{Cell, Run};
use crate::contender::{Contender, Hindrance, Workload};
use crate::load::Protocol;
use crate::result::{BUSY_LOAD, VALID_SHARE};
use crate::spread::{Spread, distinct, megabytes};

/// Writes the run as a table.
///
/// # Errors
/// If the file cannot be written.
pub fn save(run: &Run, path: &Path) -> io::Result<()> {
    fs::write(path, render(run))
}

/// A workload in few words.
#[must_use]
pub fn describe(workload: &Workload) -> String {
    let protocol = match workload.protocol {
        Protocol::Tcp => "tcp",
        Protocol::Http => "http",
    };
    let Workload {
        viewers,
        bytes,
        fps,
        frames_per_payload,
        hindrance,
        ..
    } = workload;
    let size = format!("{viewers} × {} kB × {fps} fps", bytes / 1000);
    let payload = match frames_per_payload {
        1 => String::new(),
        count => format!(", {count} a payload"),
    };
    let beside = match hindrance {
        Hindrance::None => String::new(),
        Hindrance::Stopped(count) => format!(", {count} stopped"),
        Hindrance::Throttled(count) => format!(", {count} throttled"),
        Hindrance::Joining => ", newcomers".to_owned(),
    };
    format!("{protocol} {size}{payload}{beside}")
}

/// The run as text.
#[must_use]
pub fn render(run: &Run) -> String {
    let mut out = String::new();
    let machine = &run.machine;
    let rounds = run.cells.iter().map(|cell| cell.round).max().unwrap_or(0);
    let _ = writeln!(
        out,
        "# {}\n{}{} rounds; {} × {}, Linux {}, commit {}, load before {}. Median (least to most) over \
         the rounds; ratios are to the bare loop of the same round. Delivered: at the limit a frame \
         may lie across each edge of the window. Synchrony: 99th percentile of last minus first \
         arrival at 8 viewers that parse.\n",
        run.scenario,
        if run.is_quick {
            "**Quick run, not for quoting.** "
        } else {
            ""
        },
        rounds,
        machine.cores,
        machine.cpu,
        machine.kernel,
        machine.commit,
        machine.load_before,
    );
    out.push_str(
        "| load | who | CPU µs a frame and viewer | ratio | age p50 / p99 ms | synchrony ms | \
         delivered % | PSS MB | socket MB | threads |\n|---|---|---|---|---|---|---|---|---|---|\n",
    );
    for workload in distinct(run.cells.iter().map(|cell| cell.workload)) {
        for contender in distinct(run.cells.iter().map(|cell| cell.contender)) {
            let cells: Vec<_> = (run.cells.iter())
                .filter(|cell| cell.workload == workload && cell.contender == contender)
                .collect();
            if !cells.is_empty() {
                out.push_str(&row(run, &workload, contender, &cells));
            }
        }
    }
    out.push_str(&first_frames(run));
    out.push_str(&doubts(run));
    out
}

fn row(run: &Run, workload: &Workload, contender: Contender, cells: &[&Cell]) -> String {
    let spread =
        |of: &dyn Fn(&Cell) -> f64, digits| Spread::of(cells.iter().map(|c| of(c)), digits);
    let ratios = cells
        .iter()
        .filter_map(|cell| Some(cell.cost.cpu_us / bare_beside(run, cell)?));
    let delivered = spread(&|cell| 100.0 * cell.figures.delivered, 2);
    let delivered = if cells.iter().all(|cell| cell.is_valid()) {
        delivered.to_string()
    } else {
        format!("**{delivered}**")
    };
    format!(
        "| {} | {} | {} | {} | {} / {} | {} | {delivered} | {} | {} | {} |\n",
        describe(workload),
        contender.name(),
        spread(&|cell| cell.cost.cpu_us, 2),
        Spread::of(ratios, 2),
        spread(&|cell| cell.figures.age_p50_ms, 1).median(),
        spread(&|cell| cell.figures.age_p99_ms, 1),
        spread(&|cell| cell.figures.synchrony_ms, 1).median(),
        spread(&|cell| megabytes(cell.cost.pss_bytes.unwrap_or(0)), 1).median(),
        spread(&|cell| megabytes(cell.cost.socket_bytes), 1).median(),
        spread(&|cell| count(cell.cost.threads), 0).median(),
    )
}

/// What the bare loop cost under the same load in the same round.
fn bare_beside(run: &Run, cell: &Cell) -> Option<f64> {
    let is_beside = |other: &&Cell| {
        other.contender == Contender::Bare
            && other.round == cell.round
            && other.workload == cell.workload
    };
    run.cells
        .iter()
        .find(is_beside)
        .map(|other| other.cost.cpu_us)
}

/// From connecting to the first whole frame, where there were newcomers.
fn first_frames(run: &Run) -> String {
    let mut out = String::new();
    for workload in distinct(run.cells.iter().map(|cell| cell.workload)) {
        for contender in distinct(run.cells.iter().map(|cell| cell.contender)) {
            let times = (run.cells.iter())
                .filter(|cell| cell.workload == workload && cell.contender == contender)
                .filter_map(|cell| cell.figures.first_frame_ms);
            let (medians, longest): (Vec<_>, Vec<_>) = times.unzip();
            if !medians.is_empty() {
                let _ = writeln!(
                    out,
                    "| {} | {} | {} | {} |",
                    describe(&workload),
                    contender.name(),
                    Spread::of(medians.into_iter(), 1),
                    Spread::of(longest.into_iter(), 1),
                );
            }
        }
    }
    if out.is_empty() {
        return out;
    }
    let head = "| load | who | first frame after connecting: median ms | longest ms |";
    format!("\n{head}\n|---|---|---|---|\n{out}")
}

fn doubts(run: &Run) -> String {
    let mut out = String::new();
    let invalid = run.cells.iter().filter(|cell| !cell.is_valid()).count();
    if invalid > 0 {
        let share = 100.0 * VALID_SHARE;
        let _ = writeln!(
            out,
            "\n**Bold: not valid as a cost**, {invalid} cells delivered less than {share} %."
        );
    }
    let cut = run.cells.iter().filter(|cell| cell.is_cut()).count();
    if cut > 0 {
        let _ = writeln!(
            out,
            "\nDoubt: in {cut} cells payloads took as long as from one to the next, so there was no \
             moment without one on its way; what was delivered is uncertain there by up to a frame for each \
             viewer, and may be above 100 %."
        );
    }
    let busy = run
        .cells
        .iter()
        .filter(|cell| cell.cost.load_cpu > BUSY_LOAD)
        .count();
    if busy > 0 {
        let _ = writeln!(
            out,
            "\nDoubt: in {busy} cells the load generator used more than {:.0} % of a core; ages and \
             shares there may be its own.",
            100.0 * BUSY_LOAD
        );
    }
    out
}

#[expect(clippy::cast_precision_loss, reason = "counts below 2^53")]
const fn count(value: u64) -> f64 {
    value as f64
}
