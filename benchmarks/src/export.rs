//! What people read of results: a document, told as Markdown and as HTML, and all figures as CSV.
//!
//! Everything here is made of result files alone, so it can be made again at any time.

use crate::machine::Machine;
use crate::result::{Cell, Measured, Outcome, Results, RoleCost};
use crate::scenario::Load;
use crate::spread::{Spread, distinct};

pub mod csv;
pub mod html;
pub mod markdown;

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
    let mut tables = vec![service(results), by_role(results)];
    tables.extend(published(results));
    Document {
        name: scenario.name.clone(),
        question: scenario.question.clone(),
        answer: answer(results),
        method: method(results),
        tables,
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

/// Each arm under each load, in the order of the scenario.
fn pairs(results: &Results) -> Vec<(Load, String)> {
    let loads = distinct(results.cells.iter().map(|cell| cell.load.clone()));
    let arms = results.scenario.arms.iter().map(|arm| arm.name.clone());
    let arms: Vec<_> = arms.collect();
    let with_arms = |load: Load| arms.iter().map(move |arm| (load.clone(), arm.clone()));
    let pairs = loads.into_iter().flat_map(with_arms);
    pairs
        .filter(|(load, arm)| !results.of(arm, load).is_empty())
        .collect()
}

/// The largest load under which most arms have valid figures: who took least CPU there, and how much
/// more the others took.
fn answer(results: &Results) -> String {
    let arms = || results.scenario.arms.iter().map(|arm| arm.name.as_str());
    let is_valid = |arm: &str, load: &Load| {
        let rounds = results.of(arm, load);
        !rounds.is_empty() && rounds.iter().all(|round| round.is_valid())
    };
    let loads = distinct(results.cells.iter().map(|cell| cell.load.clone()));
    let carried = |load: &Load| arms().filter(|arm| is_valid(arm, load)).count();
    let best = loads
        .iter()
        .max_by_key(|load| (carried(load), load.viewers, load.bytes));
    let Some(load) = best.filter(|load| carried(load) > 0) else {
        return "No cell is a valid measurement.".to_owned();
    };
    let (valid, others): (Vec<_>, Vec<_>) = arms().partition(|arm| is_valid(arm, load));
    let mut costs: Vec<_> = valid
        .into_iter()
        .map(|arm| Cost::of(results, arm, load))
        .collect();
    costs.sort_by(|one, other| one.cpu.total_cmp(&other.cpu));
    let [least, more @ ..] = costs.as_slice() else {
        return String::new();
    };
    let times = |value: f64, of: f64| value / of.max(f64::MIN_POSITIVE);
    let more = more.iter().map(|cost| {
        let (cpu, memory) = (times(cost.cpu, least.cpu), times(cost.memory, least.memory));
        format!(
            "{}: {cpu:.2} × that CPU, {memory:.1} × that memory",
            cost.arm
        )
    });
    let more = more.collect::<Vec<_>>();
    let others = match others.as_slice() {
        [] => String::new(),
        others => format!(" No valid measurement there: {}.", others.join("; ")),
    };
    format!(
        "{load} took least CPU with {}: {:.1} % of a core and {:.0} MB. {}{}{others}",
        least.arm,
        least.cpu,
        least.memory,
        more.join("; "),
        if more.is_empty() { "" } else { "." },
    )
}

/// Medians of what an arm took.
struct Cost<'a> {
    arm: &'a str,
    cpu: f64,
    memory: f64,
}

impl<'a> Cost<'a> {
    fn of(results: &Results, arm: &'a str, load: &Load) -> Self {
        let rounds = results.of(arm, load);
        let median = |of: &dyn Fn(&Measured) -> f64| {
            let spread = Spread::of(rounds.iter().map(|round| of(round)), 0);
            spread.middle().unwrap_or(f64::NAN)
        };
        Self {
            arm,
            cpu: median(&|round| 100.0 * round.cpu()),
            memory: median(&|round| megabytes(round.memory_bytes())),
        }
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
         percentile of last minus first arrival of a frame.",
        count(rounds, "round"),
        humantime::format_duration(scenario.warm_up),
        windows.collect::<Vec<_>>().join(", then "),
    )
}

/// What viewers got, and what all programs of an arm took for it.
fn service(results: &Results) -> Table {
    let head = [
        "load",
        "who",
        "fps at viewers",
        "least",
        "delivered %",
        "age p50 ms",
        "age p99 ms",
        "synchrony ms",
        "CPU %",
        "memory MB",
    ];
    let row = |(load, arm): &(Load, String)| {
        let rounds = results.of(arm, load);
        let spread = |of: &dyn Fn(&Measured) -> f64, digits| {
            Spread::of(rounds.iter().map(|round| of(round)), digits).to_string()
        };
        let synchrony = rounds.iter().filter_map(|round| round.figures.synchrony_ms);
        let figures = [
            spread(&|round| round.figures.fps, 1),
            spread(&|round| round.figures.fps_least, 1),
            spread(&|round| 100.0 * round.figures.delivered, 2),
            spread(&|round| round.figures.age_p50_ms, 1),
            spread(&|round| round.figures.age_p99_ms, 1),
            Spread::of(synchrony, 1).to_string(),
            spread(&|round| 100.0 * round.cpu(), 1),
            spread(&|round| megabytes(round.memory_bytes()), 1),
        ];
        let is_bold = rounds.iter().any(|round| !round.is_valid());
        let figures = figures.into_iter().map(|text| Text { text, is_bold });
        [load.to_string(), arm.clone()]
            .map(Text::from)
            .into_iter()
            .chain(figures)
            .collect()
    };
    Table {
        caption: "What viewers got, and what all programs together took for it".to_owned(),
        head: head.map(str::to_owned).to_vec(),
        rows: pairs(results).iter().map(row).collect(),
    }
}

/// What each role took: percent of a core and megabytes.
fn by_role(results: &Results) -> Table {
    let measured = results.cells.iter().filter_map(Cell::measured);
    let roles =
        distinct(measured.flat_map(|round| round.roles.iter().map(|role| role.name.clone())));
    let mut head = vec!["load".to_owned(), "who".to_owned()];
    head.extend(roles.iter().map(|role| format!("{role}: CPU % / MB")));
    head.push("disk writes kB/s".to_owned());
    let row = |(load, arm): &(Load, String)| {
        let rounds = results.of(arm, load);
        let is_bold = rounds.iter().any(|round| !round.is_valid());
        let figure = |role: &String| {
            let of = |value: &dyn Fn(&RoleCost) -> f64| {
                let roles = rounds.iter().filter_map(|round| round.role(role));
                Spread::of(roles.map(value), 1)
            };
            let cpu = of(&|role| 100.0 * role.cpu);
            let text = match cpu.middle() {
                Some(_) => format!(
                    "{cpu} / {}",
                    of(&|role| megabytes(role.memory_bytes)).median()
                ),
                None => "–".to_owned(),
            };
            Text { text, is_bold }
        };
        let written = rounds.iter().map(|round| {
            let rates = round.roles.iter().filter_map(|role| role.written_bps);
            rates.sum::<f64>() / 1e3
        });
        let mut row: Vec<Text> = [load.to_string(), arm.clone()].map(Text::from).to_vec();
        row.extend(roles.iter().map(figure));
        row.push(Spread::of(written, 1).to_string().into());
        row
    };
    Table {
        caption: "The same by program".to_owned(),
        rows: pairs(results).iter().map(row).collect(),
        head,
    }
}

/// What others have published, marked as theirs.
fn published(results: &Results) -> Option<Table> {
    let published = &results.scenario.published;
    let row = |theirs: &crate::scenario::Published| {
        let clients = theirs.viewers.to_string();
        let cpu = format!("{:.0}", theirs.cpu_percent);
        [theirs.who.clone(), clients, cpu, theirs.memory.clone()]
            .map(Text::from)
            .to_vec()
    };
    (!published.is_empty()).then(|| Table {
        caption: "Not measured here: what the two student projects published of theirs, on another machine. \
                  CPU is server, clients and broker in one sum, as `ps` tells it: an average over the life \
                  of each process"
            .to_owned(),
        head: ["theirs", "clients", "CPU %", "memory"].map(str::to_owned).to_vec(),
        rows: published.iter().map(row).collect(),
    })
}

fn doubts(results: &Results) -> Vec<String> {
    let mut doubts: Vec<String> = results.machine.doubt().into_iter().collect();
    for cell in &results.cells {
        let place = format!("{}, {}, round {}", cell.load, cell.arm, cell.round);
        match &cell.outcome {
            Outcome::Measured(measured) => {
                doubts.extend(
                    measured
                        .doubts
                        .iter()
                        .map(|doubt| format!("{place}: {doubt}")),
                );
            }
            Outcome::Failed(why) => doubts.push(format!("{place}: failed: {why}")),
        }
    }
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

#[expect(clippy::cast_precision_loss, reason = "bytes below 2^53")]
fn megabytes(bytes: u64) -> f64 {
    bytes as f64 / 1e6
}
