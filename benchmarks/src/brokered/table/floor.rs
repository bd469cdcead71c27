//! Ours beside the floor, and beside ours with other settings.

use std::fmt::Write as _;

use super::{Cells, describe, name, percent, pss, setting};
use crate::brokered::cells::{Case, Cell, MAKING, Run, Way};
use crate::spread::distinct;

/// What ours may cost at each side of the broker, in units of the floor.
const BAR: f64 = 1.2;
/// Both sides of the broker.
const SIDES: [&str; 2] = ["publisher", "readers"];

fn written(cell: &Cell) -> Option<f64> {
    Some(cell.role("broker")?.written_bps? / 1e3)
}

/// What something costs, in units of the floor of the same round.
fn ratio(run: &Run, cell: &Cell, cost: impl Fn(&Cell) -> Option<f64>) -> Option<f64> {
    let floor = Case {
        way: Way::Floor,
        ..cell.case
    };
    let floor = run.beside(cell, floor)?;
    Some(cost(cell)? / cost(floor).filter(|us| *us > 0.0)?)
}

/// What the programs at both sides of the broker take for a frame at one reader.
fn both_sides(cell: &Cell) -> Option<f64> {
    let sides = SIDES.map(|role| cell.us_a_delivery(role));
    sides.into_iter().sum()
}

/// Ours and the floor under each load, as readers are by themselves.
pub(super) fn beside_floor(run: &Run) -> String {
    const ROLES: [&str; 3] = ["publisher", "broker", "readers"];
    let mut out = String::from(
        "## Beside the floor\nThe floor: the least that publishes and reads with the same client. Its \
         readers acknowledge every fourth message, ours every eighth; its messages have no properties, \
         ours the four headers that other programs read. \
         Ratios are to the floor of the same round. The floor sends the same bytes again and again; what \
         ours takes to make frames is measured beside it, at a broadcaster without viewers, and \
         publishing is what is left.\n\n\
         | load | who | publisher: µs a frame | of it making frames | ratio of publishing | broker: µs a \
         frame and reader | readers: µs a frame and reader | ratio of readers | ratio of publisher and \
         readers together, frames made too | % of a core: publisher / broker / readers | PSS MB, the same \
         | broker writes kB/s | age p50 / p99 ms | delivered % |\n\
         |---|---|---|---|---|---|---|---|---|---|---|---|---|---|\n",
    );
    let cases = distinct(run.cells.iter().map(|cell| cell.case));
    let ordinary: Vec<_> = (cases.iter())
        .filter(|case| setting(case).is_none())
        .collect();
    let mut worst = [0.0_f64; 3];
    for load in distinct(ordinary.iter().map(|case| describe(case))) {
        for way in [Way::Floor, Way::Exchange] {
            let is_it = |case: &&&Case| case.way == way && describe(case) == load;
            let Some(case) = ordinary.iter().find(is_it) else {
                continue;
            };
            let cells = Cells::of(run, case);
            let costs: [fn(&Cell) -> Option<f64>; 3] = [
                Cell::us_of_publishing,
                |cell| cell.us_a_delivery("readers"),
                both_sides,
            ];
            let ratios = costs.map(|cost| cells.spread(2, |cell| ratio(run, cell, cost)));
            for (worst, ratio) in worst.iter_mut().zip(&ratios) {
                *worst = worst.max(ratio.middle().unwrap_or(0.0));
            }
            let _ = writeln!(
                out,
                "| {load} | {} | {} | {} | {} | {} | {} | {} | {} | {} | {} | {} | {} | {} |",
                name(case),
                cells.spread(0, |cell| cell.us_a_frame("publisher")),
                cells.spread(0, |cell| cell.us_a_frame(MAKING)),
                ratios[0],
                cells.spread(1, |cell| cell.us_a_delivery("broker")),
                cells.spread(1, |cell| cell.us_a_delivery("readers")),
                ratios[1],
                ratios[2],
                cells.roles(&ROLES, 1, percent),
                cells.roles(&ROLES, 1, pss),
                cells.spread(1, written).median(),
                cells.ages(),
                cells.delivered(),
            );
        }
    }
    let verdict = |ratio: f64| {
        if ratio <= BAR { "within" } else { "above" }
    };
    let _ = writeln!(
        out,
        "\nThe largest median ratio: publishing {:.2} ({} the bar of {BAR}), readers {:.2} ({} it), \
         publisher and readers together {:.2} ({} it).",
        worst[0],
        verdict(worst[0]),
        worst[1],
        verdict(worst[1]),
        worst[2],
        verdict(worst[2]),
    );
    out
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
