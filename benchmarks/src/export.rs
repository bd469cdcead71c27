//! What people read of results: a document, told as Markdown and as HTML, and all figures as CSV.
//!
//! Everything here is made of result files alone, so it can be made again at any time.

use crate::machine::Machine;
use crate::result::{Cell, Outcome, Results};
use crate::spread::{Spread, megabytes};

mod answer;
pub mod csv;
pub mod html;
pub mod markdown;
mod tables;

/// What is told of a scenario, before it is put into a form.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Document {
    /// Name of the scenario.
    pub name: String,
    /// What was asked.
    pub question: String,
    /// The answer in a sentence, if there is one.
    pub answer: String,
    /// How it was measured, and how to read the tables.
    pub method: String,
    /// In their order.
    pub tables: Vec<Table>,
    /// What makes all this less certain.
    pub doubts: Vec<String>,
    /// What was not measured, and why.
    pub missing: Vec<String>,
    /// Where it was measured: name and value.
    pub machine: Vec<(String, String)>,
    /// The command that measures it again.
    pub repeat: String,
    /// Whether it is not for quoting.
    pub is_quick: bool,
}

/// A table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Table {
    /// What it shows.
    pub caption: String,
    /// Names of the columns.
    pub head: Vec<String>,
    /// Each as long as the head.
    pub rows: Vec<Vec<Text>>,
}

/// What stands in a table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Text {
    /// Its words.
    pub text: String,
    /// Whether it is to stand out: it belongs to a cell that is no valid measurement.
    pub is_bold: bool,
}

impl From<String> for Text {
    fn from(text: String) -> Self {
        Self {
            text,
            is_bold: false,
        }
    }
}

/// The document of a scenario.
#[must_use]
pub fn document(results: &Results) -> Document {
    let scenario = &results.scenario;
    Document {
        name: scenario.name.clone(),
        question: scenario.question.clone(),
        answer: answer::of(results),
        method: method(results),
        tables: tables::all(results),
        doubts: doubts(results),
        missing: missing(results),
        machine: machine(&results.machine),
        repeat: format!(
            "benchmarks run {}{}",
            scenario.name,
            if results.is_quick { " --quick" } else { "" }
        ),
        is_quick: results.is_quick,
    }
}

fn method(results: &Results) -> String {
    let scenario = &results.scenario;
    let rounds = results
        .cells
        .iter()
        .map(|cell| cell.round)
        .max()
        .unwrap_or(0);
    let windows = scenario
        .windows
        .iter()
        .map(|window| humantime::format_duration(*window).to_string());
    format!(
        "{} in which all take turns, {} before each window, windows of {} round by round. Figures \
         are medians (least to most) over the rounds; CPU in percent of one core; memory is what would be \
         free without the programs (PSS). Delivered: whole frames at the viewers ÷ frames published × \
         viewers; below 99.9 % the cell is no valid measurement of cost and bold. Synchrony: 99th \
         percentile of last minus first arrival of a frame. Writer held up: by handing a frame on, the mean; whom \
         it wakes may push it off its processor meanwhile.",
        count(rounds, "round"),
        humantime::format_duration(scenario.warm_up),
        windows.collect::<Vec<_>>().join(", then "),
    )
}

fn doubts(results: &Results) -> Vec<String> {
    let mut doubts: Vec<String> = results.machine.doubt().into_iter().collect();
    let mut told: Vec<(String, Vec<u32>)> = Vec::new();
    for cell in &results.cells {
        let place = |doubt: &str| format!("{}, {}: {doubt}", cell.load, cell.arm);
        let found: Vec<String> = match &cell.outcome {
            Outcome::Measured(measured) => {
                measured.doubts.iter().map(|doubt| place(doubt)).collect()
            }
            Outcome::Failed(why) => vec![place(&format!("failed: {why}"))],
        };
        for doubt in found {
            match told.iter_mut().find(|(known, _)| *known == doubt) {
                Some((_, rounds)) => rounds.push(cell.round),
                None => told.push((doubt, vec![cell.round])),
            }
        }
    }
    doubts.extend(told.into_iter().map(|(doubt, rounds)| {
        let rounds: Vec<_> = rounds.iter().map(u32::to_string).collect();
        format!("{doubt} (round {})", rounds.join(", "))
    }));
    let sampler = results.cells.iter().filter_map(Cell::measured);
    let sampler = Spread::of(sampler.map(|round| 100.0 * round.sampler_cpu), 1);
    if sampler.middle().is_some() {
        doubts.push(format!(
            "the sampler itself took {sampler} % of a core, which no figure contains but \
                             where the viewers are in the same process"
        ));
    }
    doubts
}

fn missing(results: &Results) -> Vec<String> {
    let skipped = results.skipped.iter();
    skipped
        .map(|skipped| format!("{}: {}", skipped.arm, skipped.why))
        .collect()
}

fn machine(machine: &Machine) -> Vec<(String, String)> {
    let memory = megabytes(machine.memory_bytes) / 1e3;
    [
        ("processor", format!("{} × {}", machine.cores, machine.cpu)),
        ("memory", format!("{memory:.1} GB")),
        (
            "system",
            format!("{}, Linux {}", machine.system, machine.kernel),
        ),
        ("versions", machine.versions.join(", ")),
        ("commit", machine.commit.clone()),
        ("begun", machine.begun.clone()),
        ("load before", machine.load_before.clone()),
    ]
    .map(|(name, value)| (name.to_owned(), value))
    .to_vec()
}

fn count(number: u32, of: &str) -> String {
    match number {
        1 => format!("1 {of}"),
        _ => format!("{number} {of}s"),
    }
}
