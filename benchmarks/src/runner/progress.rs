//! What is going on, on stderr: a bar on a terminal, else a line for each cell.

use std::io::{IsTerminal, Write as _};
use std::time::Duration;

use common::{Clock, Monotonic, SystemClock};
use indicatif::{ProgressBar, ProgressStyle};

use crate::result::{Cell, Outcome, Results};
use crate::scenario::{Arm, Load};

/// What a cell takes beside warm-up and window: programs start, viewers connect, all end. Only the
/// first guess: what cells are seen to take replaces it.
const AROUND: Duration = Duration::from_secs(2);
const STYLE: &str = "{prefix} {bar:24} {pos}/{len} s, {msg}";

/// How far a run is. Its unit is the second.
#[derive(Debug)]
pub(super) struct Progress {
    bar: Option<ProgressBar>,
    /// What all cells were guessed to take, and those that are over.
    all: Duration,
    passed: Duration,
    /// Of the cells that were run: what they were guessed to take, and what they took.
    guessed: Duration,
    taken: Duration,
    begun: Monotonic,
}

impl Progress {
    pub(super) fn new(results: &Results) -> Self {
        let scenario = &results.scenario;
        let arms = scenario.arms.len() - results.skipped.len();
        let arms = u32::try_from(arms).unwrap_or(0);
        let rounds = 1..=scenario.rounds;
        let all = rounds.flat_map(|round| {
            let loads = scenario.loads();
            loads
                .into_iter()
                .map(move |load| arms * guess(results, round, &load))
        });
        let all = all.sum();
        for skipped in &results.skipped {
            say(&format!(
                "{}: {} is skipped: {}",
                scenario.name, skipped.arm, skipped.why
            ));
        }
        let bar = std::io::stderr().is_terminal().then(|| {
            let bar = ProgressBar::new(Duration::as_secs(&all));
            let style = ProgressStyle::with_template(STYLE).expect("the template is sound");
            bar.with_style(style).with_prefix(scenario.name.clone())
        });
        Self {
            bar,
            all,
            passed: Duration::ZERO,
            guessed: Duration::ZERO,
            taken: Duration::ZERO,
            begun: Monotonic::default(),
        }
    }

    /// A cell need not be run.
    pub(super) fn pass(&mut self, results: &Results, round: u32, load: &Load) {
        self.passed += guess(results, round, load);
    }

    /// A cell is run.
    pub(super) fn begin(&mut self, results: &Results, round: u32, arm: &Arm, load: &Load) {
        self.begun = SystemClock.monotonic();
        if let Some(bar) = &self.bar {
            let rounds = results.scenario.rounds;
            let left = human(self.left());
            bar.set_position(self.passed.as_secs());
            bar.set_message(format!(
                "{left} left: round {round} of {rounds}, {load}, {}",
                arm.name
            ));
        }
    }

    /// It is over.
    pub(super) fn end(&mut self, results: &Results, cell: &Cell) {
        let guess = guess(results, cell.round, &cell.load);
        self.passed += guess;
        self.guessed += guess;
        self.taken += SystemClock.monotonic().since(self.begun);
        let told = match &cell.outcome {
            Outcome::Measured(measured) => format!(
                "delivered {:.2} %, age p99 {:.1} ms, {:.1} % of a core, {:.0} MB",
                100.0 * measured.figures.delivered,
                measured.figures.age_p99_ms,
                100.0 * measured.cpu(),
                measured.memory_bytes() as f64 / 1e6,
            ),
            Outcome::Failed(why) => format!("failed: {why}"),
        };
        let left = human(self.left());
        let line = format!(
            "{}, {}, {}: {told}",
            results.scenario.name, cell.load, cell.arm
        );
        match (&self.bar, &cell.outcome) {
            (Some(bar), Outcome::Failed(_)) => bar.suspend(|| say(&line)),
            (Some(_), Outcome::Measured(_)) => {}
            (None, _) => say(&format!("[{left} left] {line}")),
        }
    }

    /// What the rest will take if it takes as much longer than guessed as what is over did.
    fn left(&self) -> Duration {
        let rest = self.all.saturating_sub(self.passed);
        if self.guessed.is_zero() {
            return rest;
        }
        rest.mul_f64(self.taken.as_secs_f64() / self.guessed.as_secs_f64())
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}

fn guess(results: &Results, round: u32, load: &Load) -> Duration {
    results.scenario.warm_up + results.scenario.window(round, load) + AROUND
}

fn human(span: Duration) -> String {
    humantime::format_duration(Duration::from_secs(span.as_secs())).to_string()
}

/// Tells people, on stderr.
fn say(line: &str) {
    // Nobody watches if this fails; the result is in the file.
    let _ = writeln!(std::io::stderr(), "{line}");
}
