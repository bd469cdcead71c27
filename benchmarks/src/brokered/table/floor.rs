//! Ours beside the floor, the floor's readers behind our publisher, and ours with other settings.

use std::fmt::Write as _;

use super::{Cells, describe, name, percent, pss, setting};
use crate::brokered::cells::{Case, Cell, MAKING, Run, Way};
use crate::spread::{Spread, distinct};

/// What ours may cost at each side of the broker, in units of the floor.
const BAR: f64 = 1.2;
/// Both sides of the broker.
const SIDES: [&str; 2] = ["publisher", "readers"];

fn written(cell: &Cell) -> Option<f64> {
    Some(cell.role("broker")?.written_bps? / 1e3)
}

/// A cost in units of what it is another way in the same round.
struct Ratio {
    /// What it is called where the largest is named.
    name: &'static str,
    to: Way,
    cost: fn(&Cell) -> Option<f64>,
}

/// In the order of their columns.
const RATIOS: [Ratio; 4] = [
    Ratio {
        name: "publishing",
        to: Way::Floor,
        cost: Cell::us_of_publishing,
    },
    Ratio {
        name: "readers",
        to: Way::Floor,
        cost: of_readers,
    },
    Ratio {
        name: "readers to the floor's behind our publisher",
        to: Way::Crossed,
        cost: of_readers,
    },
    Ratio {
        name: "publisher and readers together",
        to: Way::Floor,
        cost: both_sides,
    },
];

impl Ratio {
    fn of(&self, run: &Run, cell: &Cell) -> Option<f64> {
        if cell.case.way == Way::Floor && self.to != Way::Floor {
            return None;
        }
        let other = Case {
            way: self.to,
            ..cell.case
        };
        let other = run.beside(cell, other)?;
        Some((self.cost)(cell)? / (self.cost)(other).filter(|us| *us > 0.0)?)
    }
}

fn of_readers(cell: &Cell) -> Option<f64> {
    cell.us_a_delivery("readers")
}

/// What the programs at both sides of the broker take for a frame at one reader.
fn both_sides(cell: &Cell) -> Option<f64> {
    let sides = SIDES.map(|role| cell.us_a_delivery(role));
    sides.into_iter().sum()
}

/// Ours and the floor under each load, as readers are by themselves.
pub(super) fn beside_floor(run: &Run) -> String {
    let mut out = String::from(
        "## Beside the floor\nThe floor: the least that publishes and reads with the same client. Its \
         readers acknowledge every fourth message, ours every eighth; its connections have the client's own \
         runtime, ours one that sleeps in the socket; its messages have no properties, \
         ours the four headers that other programs read. Ratios are to the floor of the same round. The \
         floor sends the same bytes again and again; what ours takes to make frames is measured beside \
         it, at a broadcaster without viewers, and publishing is what is left. What a reader takes \
         depends on who publishes too: on the headers, and on how much else the processor does between \
         two messages. So the floor's readers are measured behind our publisher as well.\n\n\
         | load | who | publisher: µs a frame | of it making frames | ratio of publishing | broker: µs a \
         frame and reader | readers: µs a frame and reader | ratio of readers | the same, to the floor's \
         behind our publisher | ratio of publisher and readers together, frames made too | % of a core: \
         publisher / broker / readers | PSS MB, the same | broker writes kB/s | age p50 / p99 ms | \
         delivered % |\n|---|---|---|---|---|---|---|---|---|---|---|---|---|---|---|\n",
    );
    let cases = distinct(run.cells.iter().map(|cell| cell.case));
    let ordinary: Vec<_> = (cases.iter())
        .filter(|case| setting(case).is_none())
        .collect();
    let mut largest = [0.0_f64; RATIOS.len()];
    for load in distinct(ordinary.iter().map(|case| describe(case))) {
        for way in [Way::Floor, Way::Crossed, Way::Exchange] {
            let is_it = |case: &&&Case| case.way == way && describe(case) == load;
            let Some(case) = ordinary.iter().find(is_it) else {
                continue;
            };
            let cells = Cells::of(run, case);
            let ratios = RATIOS.map(|ratio| cells.spread(2, |cell| ratio.of(run, cell)));
            if way == Way::Exchange {
                for (largest, ratio) in largest.iter_mut().zip(&ratios) {
                    *largest = largest.max(ratio.middle().unwrap_or(0.0));
                }
            }
            out.push_str(&row(&load, case, &cells, &ratios));
        }
    }
    let named = RATIOS.iter().zip(largest).map(|(ratio, largest)| {
        let verdict = if largest <= BAR { "within" } else { "above" };
        format!("{} {largest:.2} ({verdict} the bar of {BAR})", ratio.name)
    });
    let named: Vec<_> = named.collect();
    let _ = writeln!(
        out,
        "\nOurs, the largest median ratio: {}.",
        named.join(", ")
    );
    out
}

fn row(load: &str, case: &Case, cells: &Cells<'_>, ratios: &[Spread; RATIOS.len()]) -> String {
    const ROLES: [&str; 3] = ["publisher", "broker", "readers"];
    let [publishing, readers, crossed, together] = ratios;
    format!(
        "| {load} | {} | {} | {} | {publishing} | {} | {} | {readers} | {crossed} | {together} | {} | {} \
         | {} | {} | {} |\n",
        name(case),
        cells.spread(0, |cell| cell.us_a_frame("publisher")),
        cells.spread(0, |cell| cell.us_a_frame(MAKING)),
        cells.spread(1, |cell| cell.us_a_delivery("broker")),
        cells.spread(1, of_readers),
        cells.roles(&ROLES, 1, percent),
        cells.roles(&ROLES, 1, pss),
        cells.spread(1, written).median(),
        cells.ages(),
        cells.delivered(),
    )
}

/// Every setting beside what readers choose by themselves.
pub(super) fn settings(run: &Run) -> String {
    let cases = distinct(run.cells.iter().map(|cell| cell.case));
    let is_ours = |case: &&Case| case.way == Way::Exchange;
    let set = cases.iter().filter(|case| setting(case).is_some());
    let loads = distinct(set.map(describe));
    if loads.is_empty() {
        return String::new();
    }
    let mut out = String::from(
        "\n## Settings\nThe same readers with a fixed number of messages on their way unacknowledged \
         (without one it follows the line, up to 20), and with other frames of AMQP than 32 KiB.\n\n\
         | load | setting | broker: µs a frame and reader | readers: µs a frame and reader | PSS MB: \
         broker / readers | age p50 / p99 ms | synchrony ms | delivered % |\n\
         |---|---|---|---|---|---|---|---|\n",
    );
    for load in loads {
        let mut cases: Vec<_> = (cases.iter().filter(is_ours))
            .filter(|case| describe(case) == load)
            .collect();
        cases.sort_by_key(|case| (case.prefetch, case.frame_max));
        for case in cases {
            let setting = setting(case).unwrap_or_else(|| "as they are".to_owned());
            let cells = Cells::of(run, case);
            let _ = writeln!(
                out,
                "| {load} | {setting} | {} | {} | {} | {} | {} | {} |",
                cells.spread(1, |cell| cell.us_a_delivery("broker")),
                cells.spread(1, |cell| cell.us_a_delivery("readers")),
                cells.roles(&["broker", "readers"], 1, pss),
                cells.ages(),
                cells.synchrony(),
                cells.delivered(),
            );
        }
    }
    out
}
