//! Runs a scenario: contenders take turns, every cell is written down at once.

use std::io::Write as _;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context as _, bail};
use common::sampler::{Role, Sampler};
use common::{Clock, Shutdown, SystemClock};

use crate::contender::{Contender, Workload};
use crate::load::Load;
use crate::machine::Machine;

use super::result::{Cell, Cost, Run};
use super::scenario::Scenario;
use super::table;

const QUICK_WINDOW: Duration = Duration::from_secs(1);

/// How long and how often.
#[derive(Debug, Clone, Copy)]
pub struct Effort {
    /// Rounds in which the contenders take turns.
    pub rounds: u32,
    /// Time before the window, in which everything gets going.
    pub warm_up: Duration,
    /// Whether the window is cut down to a second.
    pub is_quick: bool,
}

impl Effort {
    /// Enough for a figure.
    pub const FULL: Self = Self {
        rounds: 3,
        warm_up: Duration::from_millis(1_500),
        is_quick: false,
    };
    /// Enough to see that it works.
    pub const QUICK: Self = Self {
        rounds: 1,
        warm_up: Duration::from_millis(500),
        is_quick: true,
    };
}

/// Runs a scenario and leaves `SCENARIO.json` and `SCENARIO.md` in `folder`. On `shutdown` it ends
/// after the cell at hand and keeps what is done.
///
/// # Errors
/// If a contender does not start, or a result cannot be written.
pub fn run(
    scenario: &Scenario,
    effort: Effort,
    folder: &Path,
    shutdown: &Shutdown,
) -> anyhow::Result<()> {
    let mut run = Run {
        scenario: scenario.name.to_owned(),
        is_quick: effort.is_quick || effort.rounds < Effort::FULL.rounds,
        machine: Machine::here(),
        cells: Vec::new(),
    };
    let cells = scenario.workloads.len() * scenario.contenders.len() * effort.rounds as usize;
    let window = if effort.is_quick {
        QUICK_WINDOW
    } else {
        scenario.window
    };
    let begun = SystemClock.monotonic();
    for round in 1..=effort.rounds {
        for workload in &scenario.workloads {
            for contender in turns(&scenario.contenders, round) {
                if shutdown.is_triggered() {
                    return Ok(());
                }
                let cell = measure(round, contender, workload, (effort.warm_up, window))?;
                run.cells.push(cell);
                let path = run.save(folder).context("result not written")?;
                table::save(&run, &path.with_extension("md")).context("table not written")?;
                let done = run.cells.len();
                let elapsed = SystemClock.monotonic().since(begun);
                let left = elapsed / u32::try_from(done)? * u32::try_from(cells - done)?;
                progress(&run, cells, left);
            }
        }
    }
    Ok(())
}

/// The contenders, beginning with another one each round.
fn turns(contenders: &[Contender], round: u32) -> impl Iterator<Item = Contender> {
    let (count, first) = (contenders.len(), round as usize - 1);
    (0..count).map(move |turn| contenders[(first + turn) % count])
}

fn measure(
    round: u32,
    contender: Contender,
    workload: &Workload,
    (warm_up, window): (Duration, Duration),
) -> anyhow::Result<Cell> {
    let server = contender.start(workload)?;
    let role = |name: &str, pid| Role {
        name: name.to_owned(),
        roots: vec![pid],
    };
    // The server is our child: only named together with us it is not counted as ours.
    let roles = vec![
        role("server", server.pid()),
        role("load", std::process::id()),
    ];
    let mut sampler = Sampler::new(roles)?;
    let load = Load::start(&server.target, workload.viewers, workload.hindrance)
        .with_context(|| format!("{} with {} viewers", contender.name(), workload.viewers))?;
    std::thread::sleep(warm_up);
    let (figures, first, last) = load.watch(window, &Shutdown::default(), || {
        sampler.sample(&SystemClock)
    });
    let (first, last) = (first?, last?);
    if last[0].processes == 0 {
        bail!("{} ended in the middle", contender.name());
    }
    let cost = Cost::of(
        &last[0].since(&first[0]),
        &last[0],
        &last[1].since(&first[1]),
        &figures,
    );
    Ok(Cell {
        round,
        contender,
        workload: *workload,
        figures,
        cost,
    })
}

/// One line about the cell just measured, on stderr.
fn progress(run: &Run, cells: usize, left: Duration) {
    let Some(cell) = run.cells.last() else { return };
    let left = Duration::from_secs(left.as_secs());
    let line = format!(
        "[{}/{cells}, {} left] {} {}: {:.2} µs a frame and viewer, delivered {:.2} %, age p99 {:.1} ms",
        run.cells.len(),
        humantime::format_duration(left),
        table::describe(&cell.workload),
        cell.contender.name(),
        cell.cost.cpu_us,
        100.0 * cell.figures.delivered,
        cell.figures.age_p99_ms,
    );
    // Nobody watches the progress if this fails; the result is in the file.
    let _ = writeln!(std::io::stderr(), "{line}");
}
