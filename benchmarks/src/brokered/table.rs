//! A run with a broker as Markdown tables: medians with their spread, ratios within the round, doubts.

mod floor;

use std::fmt::Write as _;
use std::path::Path;
use std::{fs, io};

use super::cells::{Case, Cell, LIMIT_SHARE, MAKING, RoleCost, Run, Way};
use crate::result::{BUSY_LOAD, VALID_SHARE};
use crate::spread::{Spread, distinct, megabytes};

/// Roles that watch: they are the load, not the cost of serving it.
const LOAD: [&str; 2] = ["readers", "viewers"];
/// Below this share of the rate that was asked for, fewer frames were published.
const FULL_RATE: f64 = 0.99;
/// Above this share of all processors the machine was full.
const FULL_MACHINE: f64 = 0.95;

/// Writes the run as tables.
///
/// # Errors
/// If the file cannot be written.
pub fn save(run: &Run, path: &Path) -> io::Result<()> {
    fs::write(path, render(run))
}

/// A load in few words.
#[must_use]
pub fn describe(case: &Case) -> String {
    let Case {
        viewers,
        bytes,
        fps,
        ..
    } = case;
    format!("{viewers} × {} kB × {fps} fps", bytes / 1000)
}

/// A way in few words.
#[must_use]
pub fn name(case: &Case) -> String {
    let way = match case.way {
        Way::Floor => "floor",
        Way::Crossed => "exchange, the floor's readers",
        Way::Exchange => "exchange",
        Way::Ring => "one ring",
        Way::Edges => "two edges",
    };
    match setting(case) {
        None => way.to_owned(),
        Some(setting) => format!("{way}, {setting}"),
    }
}

/// What is set otherwise than readers do by themselves.
fn setting(case: &Case) -> Option<String> {
    match (case.prefetch, case.frame_max) {
        (None, None) => None,
        (None, Some(bytes)) => Some(format!("AMQP frames of {} KiB", bytes >> 10)),
        (Some(0), _) => Some("no-ack".to_owned()),
        (Some(count), _) => Some(format!("prefetch {count}")),
    }
}

/// The run as text.
#[must_use]
pub fn render(run: &Run) -> String {
    let mut out = head(run);
    if run.cells.iter().any(|cell| cell.case.way == Way::Floor) {
        out.push_str(&floor::beside_floor(run));
        out.push_str(&floor::settings(run));
    } else {
        out.push_str(&by_role(run));
        out.push_str(&limit(run));
    }
    out.push_str(&doubts(run));
    out
}

fn head(run: &Run) -> String {
    let machine = &run.machine;
    let rounds = run.cells.iter().map(|cell| cell.round).max().unwrap_or(0);
    let quick = if run.is_quick {
        "**Cut short: to see that it works, not for quoting.** "
    } else {
        ""
    };
    format!(
        "# {}\n{quick}{rounds} rounds; {} × {}, Linux {}, {}, commit {}, load before {}. Median (least \
         to most) over the rounds. Readers of an exchange have 1 s after the window for what is still on \
         its way; for viewers over tcp a frame may lie across each edge of it. Synchrony is the 99th percentile of last minus first arrival. Of each role all \
         processes are counted, of the broker its epmd too; PSS is what would be free without them.\n\n",
        run.scenario,
        machine.cores,
        machine.cpu,
        machine.kernel,
        run.broker,
        machine.commit,
        machine.load_before,
    )
}

/// All cells of one case.
struct Cells<'a>(Vec<&'a Cell>);

impl<'a> Cells<'a> {
    fn of(run: &'a Run, case: &Case) -> Self {
        let of_case = run.cells.iter().filter(|cell| cell.case == *case);
        Self(of_case.collect())
    }

    fn spread(&self, digits: usize, value: impl Fn(&Cell) -> Option<f64>) -> Spread {
        Spread::of(self.0.iter().filter_map(|cell| value(cell)), digits)
    }

    /// Medians of the roles, in the order of their names.
    fn roles(&self, names: &[&str], digits: usize, of: impl Fn(&RoleCost) -> f64) -> String {
        let median = |name: &&str| {
            let of_role = |cell: &Cell| cell.role(name).map(&of);
            self.spread(digits, of_role).median()
        };
        names.iter().map(median).collect::<Vec<_>>().join(" / ")
    }

    fn ages(&self) -> String {
        let median = self
            .spread(1, |cell| Some(cell.figures.age_p50_ms))
            .median();
        format!(
            "{median} / {}",
            self.spread(1, |cell| Some(cell.figures.age_p99_ms))
        )
    }

    fn synchrony(&self) -> String {
        self.spread(1, |cell| Some(cell.figures.synchrony_ms))
            .median()
    }

    /// In bold if it was too little for the cost to mean something.
    fn delivered(&self) -> String {
        let share = self.spread(2, |cell| Some(100.0 * cell.figures.delivered));
        if self.0.iter().all(|cell| cell.is_valid()) {
            share.to_string()
        } else {
            format!("**{share}**")
        }
    }
}

fn percent(role: &RoleCost) -> f64 {
    100.0 * role.cpu
}

fn pss(role: &RoleCost) -> f64 {
    megabytes(role.pss_bytes.unwrap_or(role.rss_bytes))
}

/// Ways with edges, a ring, or a broker alone: what each role takes.
fn by_role(run: &Run) -> String {
    let mut out = String::from(
        "| load | way | serving: µs a frame and viewer | % of a core by role | PSS MB by role | \
         age p50 / p99 ms | synchrony ms | delivered % |\n|---|---|---|---|---|---|---|---|\n",
    );
    for case in distinct(run.cells.iter().map(|cell| cell.case)) {
        let cells = Cells::of(run, &case);
        let names = cells.0.first().map_or_else(Vec::new, |cell| {
            let names = cell.roles.iter().map(|role| role.name.as_str());
            names.collect()
        });
        let each = |of: fn(&RoleCost) -> f64| {
            let one = |name: &&str| format!("{name} {}", cells.roles(&[name], 1, of));
            names.iter().map(one).collect::<Vec<_>>().join(", ")
        };
        let _ = writeln!(
            out,
            "| {} | {} | {} | {} | {} | {} | {} | {} |",
            describe(&case),
            name(&case),
            cells.spread(2, serving),
            each(percent),
            each(pss),
            cells.ages(),
            cells.synchrony(),
            cells.delivered(),
        );
    }
    out.push_str("\nServing: all roles but those that watch.\n");
    out
}

/// What everybody but the viewers takes for a frame at one of them.
fn serving(cell: &Cell) -> Option<f64> {
    let is_serving = |name: &str| name != MAKING && !LOAD.contains(&name);
    let serving = (cell.roles.iter()).filter(|role| is_serving(&role.name));
    serving
        .map(|role| cell.us_a_delivery(&role.name))
        .sum::<Option<f64>>()
}

/// Where one broker fails, in each round.
fn limit(run: &Run) -> String {
    let rising = (run.cells.iter()).filter(|cell| cell.case.way == Way::Exchange);
    let rising: Vec<_> = rising.collect();
    let mut told = Vec::new();
    for round in distinct(rising.iter().map(|cell| cell.round)) {
        let of_round = rising.iter().filter(|cell| cell.round == round);
        let of_round: Vec<_> = of_round.collect();
        let failed = (of_round.iter()).find(|cell| !cell.is_carried());
        let carried = (of_round.iter())
            .filter(|cell| cell.is_carried())
            .map(|cell| cell.case.viewers)
            .max();
        let carried = carried.map_or("none".to_owned(), |count| count.to_string());
        told.push(match failed {
            Some(cell) => format!(
                "{carried} carried, {} not ({:.2} %)",
                cell.case.viewers,
                100.0 * cell.figures.delivered,
            ),
            None => format!("{carried} carried, more not tried"),
        });
    }
    if told.is_empty() {
        return String::new();
    }
    format!(
        "\nStraight on one broker, readers included on this machine, at least {:.0} % delivered: {}.\n",
        100.0 * LIMIT_SHARE,
        told.join("; "),
    )
}

fn doubts(run: &Run) -> String {
    let count = |is_doubtful: &dyn Fn(&Cell) -> bool| {
        let doubtful = run.cells.iter().filter(|cell| is_doubtful(cell));
        doubtful.count()
    };
    let sum = |cell: &Cell| cell.roles.iter().map(|role| role.cpu).sum::<f64>();
    let is_busy = |role: &RoleCost| LOAD.contains(&role.name.as_str()) && role.cpu > BUSY_LOAD;
    let all = f64::from(u32::try_from(run.machine.cores).unwrap_or(u32::MAX));
    let told = [
        (
            count(&|cell| !cell.is_valid()),
            format!(
                "**Bold: not valid as a cost**, less than {} % delivered",
                100.0 * VALID_SHARE
            ),
        ),
        (
            count(&|cell| cell.fps() < FULL_RATE * f64::from(cell.case.fps)),
            "Doubt: fewer frames were published than asked for".to_owned(),
        ),
        (
            count(&|cell| cell.roles.iter().any(is_busy)),
            format!(
                "Doubt: those that watch used more than {:.0} % of a core; ages and shares may be their \
                 own",
                100.0 * BUSY_LOAD
            ),
        ),
        (
            count(&|cell| sum(cell) > FULL_MACHINE * all),
            format!(
                "Doubt: together they used more than {:.0} % of all processors; what fails there may be \
                 the machine",
                100.0 * FULL_MACHINE
            ),
        ),
        (
            count(&|cell| cell.roles.iter().any(|role| role.pss_bytes.is_none())),
            "Doubt: PSS is not told, RSS stands in its place".to_owned(),
        ),
    ];
    let mut out = String::new();
    for (cells, doubt) in told.iter().filter(|(cells, _)| *cells > 0) {
        let _ = writeln!(out, "\n{doubt}: {cells} cells.");
    }
    out
}
