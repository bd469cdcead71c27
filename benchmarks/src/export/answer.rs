//! The answer of a scenario in a sentence or two, with its figures.

mod falls;
mod sizes;

use crate::beside;
use crate::plot::group;
use crate::result::{Measured, Results};
use crate::scenario::Load;
use crate::spread::{Spread, distinct, megabytes};

/// What a scenario has come to; how it is put depends on what was varied.
pub(super) fn of(results: &Results) -> String {
    let scenario = &results.scenario;
    if scenario.until_failure {
        return limits(results);
    }
    if scenario.ps_every.is_some() {
        return falls::told(results);
    }
    if scenario.arms.iter().any(|arm| arm.workers.is_some()) {
        return speed_ups(results);
    }
    if loads(results).iter().any(|load| load.stopped > 0) {
        return hindered(results);
    }
    if group::Varied::of(results) == group::Varied::Bytes {
        return sizes::told(results);
    }
    cheapest(results)
}

fn arms(results: &Results) -> impl Iterator<Item = &str> {
    results.scenario.arms.iter().map(|arm| arm.name.as_str())
}

fn loads(results: &Results) -> Vec<Load> {
    distinct(results.cells.iter().map(|cell| cell.load.clone()))
}

/// Whether each round of it is a valid measurement.
fn is_valid(results: &Results, arm: &str, load: &Load) -> bool {
    let rounds = results.of(arm, load);
    !rounds.is_empty() && rounds.iter().all(|round| round.is_valid())
}

/// How many viewers each arm carried, and where it no longer did.
fn limits(results: &Results) -> String {
    let loads = loads(results);
    let told = |arm: &str| {
        let tried = loads
            .iter()
            .filter(|load| !results.of(arm, load).is_empty());
        let is_carried = |load: &&&Load| {
            let rounds = results.of(arm, load);
            rounds.iter().all(|round| round.is_carried())
        };
        let (carried, failed): (Vec<_>, Vec<_>) = tried.partition(|load| is_carried(&load));
        let most = carried.iter().map(|load| load.viewers).max();
        let least = failed.iter().map(|load| load.viewers).min();
        match (most, least) {
            (Some(most), Some(least)) => Some(format!("{arm} {most}, not {least}")),
            (Some(most), None) => Some(format!("{arm} {most} (no more were tried)")),
            (None, Some(least)) => Some(format!("{arm} not even {least}")),
            (None, None) => None,
        }
    };
    let told: Vec<_> = arms(results).filter_map(told).collect();
    format!(
        "Viewers carried in every round, at least 99 % of the frames delivered: {}.",
        told.join("; ")
    )
}

/// How much sooner frames are with everybody.
fn speed_ups(results: &Results) -> String {
    let loads = loads(results);
    let Some(load) = loads.iter().max_by_key(|load| load.viewers) else {
        return "Nothing was measured.".to_owned();
    };
    let reference = results.scenario.reference.as_deref().unwrap_or_default();
    let told = |arm: &str| {
        let spread = Spread::of(beside::speed_ups(results, arm, load).into_iter(), 2);
        spread.middle().map(|_| format!("{arm} {spread}"))
    };
    let told: Vec<_> = arms(results)
        .filter(|arm| *arm != reference)
        .filter_map(told)
        .collect();
    format!(
        "{load}: the last viewers (p99) had a frame so many times as soon as with {reference}: {}. Numbers \
         whose spreads overlap are not shown to differ.",
        told.join("; ")
    )
}

/// What the healthy ones felt, and what the stopped ones took.
fn hindered(results: &Results) -> String {
    let loads = loads(results);
    let Some(most) = loads.iter().max_by_key(|load| load.stopped) else {
        return "Nothing was measured.".to_owned();
    };
    let alone = Load {
        stopped: 0,
        ..most.clone()
    };
    let told = |arm: &str| {
        let spread = |load: &Load, of: fn(&Measured) -> f64, digits| {
            let rounds = results.of(arm, load);
            Spread::of(rounds.iter().map(|round| of(round)), digits)
        };
        let both = |of: fn(&Measured) -> f64, digits| {
            let (before, after) = (spread(&alone, of, digits), spread(most, of, digits));
            before.middle().map(|_| format!("{after} after {before}"))
        };
        Some(format!(
            "{arm}: {} % delivered, age p99 {} ms, memory {} MB",
            both(|round| 100.0 * round.figures.delivered, 2)?,
            both(|round| round.figures.age_p99_ms, 1)?,
            both(|round| megabytes(round.memory_bytes()), 1)?,
        ))
    };
    let told: Vec<_> = arms(results).filter_map(told).collect();
    format!(
        "With {} stopped viewers beside {}: {}.",
        most.stopped,
        alone.viewers,
        told.join("; ")
    )
}

/// The largest load under which most arms have valid figures: who took least CPU there, and how much
/// more the others took.
fn cheapest(results: &Results) -> String {
    let carried = |load: &Load| {
        arms(results)
            .filter(|arm| is_valid(results, arm, load))
            .count()
    };
    let loads = loads(results);
    let best = loads
        .iter()
        .max_by_key(|load| (carried(load), load.viewers, load.bytes));
    let Some(load) = best.filter(|load| carried(load) > 0) else {
        return "No cell is a valid measurement.".to_owned();
    };
    let (valid, others): (Vec<_>, Vec<_>) =
        arms(results).partition(|arm| is_valid(results, arm, load));
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
