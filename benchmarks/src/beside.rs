//! One arm beside another, round by round: rounds differ more than what is measured in one of them.

use crate::result::{Cell, Measured, Results};
use crate::scenario::Load;

/// A quantity of an arm divided by that of another.
pub(crate) fn ratios(
    results: &Results,
    (arm, other): (&str, &str),
    load: &Load,
    of: fn(&Measured) -> f64,
) -> Vec<f64> {
    let cell = |round: u32, arm: &str| {
        let is_it = |cell: &&Cell| cell.round == round && cell.arm == arm && cell.load == *load;
        results.cells.iter().find(is_it).and_then(Cell::measured)
    };
    let rounds = 1..=results.scenario.rounds;
    let ratio = |round| Some(of(cell(round, arm)?) / of(cell(round, other)?));
    rounds
        .filter_map(ratio)
        .filter(|ratio| ratio.is_finite())
        .collect()
}

/// How many times as soon as with the reference the last viewers (p99) have a frame.
pub(crate) fn speed_ups(results: &Results, arm: &str, load: &Load) -> Vec<f64> {
    let Some(reference) = results.scenario.reference.as_deref() else {
        return Vec::new();
    };
    ratios(results, (reference, arm), load, |round| {
        round.figures.age_p99_ms
    })
}

/// The same for each of the arm's workers.
#[expect(clippy::cast_precision_loss, reason = "a number of threads")]
pub(crate) fn efficiencies(results: &Results, arm: &str, load: &Load) -> Vec<f64> {
    let its = results.scenario.arms.iter().find(|its| its.name == arm);
    let workers = its.and_then(|its| its.workers).unwrap_or(1) as f64;
    let speed_ups = speed_ups(results, arm, load).into_iter();
    speed_ups.map(|times| times / workers).collect()
}
