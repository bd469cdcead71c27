//! The tables of a scenario.

use super::{Table, Text};
use crate::beside;
use crate::result::{Cell, Measured, Results, RoleCost};
use crate::scenario::{Load, Published};
use crate::spread::{Spread, distinct, megabytes};

/// All of them, in their order.
pub(super) fn all(results: &Results) -> Vec<Table> {
    let mut tables = vec![service(results)];
    tables.extend(ratios(results));
    tables.push(by_role(results));
    tables.extend(published(results));
    tables
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
        "writer held up µs",
        "of it working µs",
    ];
    let row = |(load, arm): &(Load, String)| {
        let rounds = results.of(arm, load);
        let spread = |of: &dyn Fn(&Measured) -> f64, digits| {
            Spread::of(rounds.iter().map(|round| of(round)), digits).to_string()
        };
        let synchrony = rounds.iter().filter_map(|round| round.figures.synchrony_ms);
        let figures = || rounds.iter().map(|round| &round.figures);
        let writer = figures().filter_map(|figures| figures.writer_us);
        let working = figures().filter_map(|figures| figures.writer_cpu_us);
        let figures = [
            spread(&|round| round.figures.fps, 1),
            spread(&|round| round.figures.fps_least, 1),
            spread(&|round| 100.0 * round.figures.delivered, 2),
            spread(&|round| round.figures.age_p50_ms, 1),
            spread(&|round| round.figures.age_p99_ms, 1),
            Spread::of(synchrony, 1).to_string(),
            spread(&|round| 100.0 * round.cpu(), 1),
            spread(&|round| megabytes(round.memory_bytes()), 1),
            Spread::of(writer, 1).to_string(),
            Spread::of(working, 1).to_string(),
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
    let row = |theirs: &Published| {
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

/// What each arm took of what the reference took in the same round, where there is one.
fn ratios(results: &Results) -> Option<Table> {
    let reference = results.scenario.reference.as_deref()?;
    let has_workers = results
        .scenario
        .arms
        .iter()
        .any(|arm| arm.workers.is_some());
    let mut head = vec!["load", "who", "CPU", "memory", "age p99"];
    if has_workers {
        head.extend(["speed-up", "efficiency"]);
    }
    let row = |(load, arm): &(Load, String)| {
        let ratio = |of: fn(&Measured) -> f64| {
            Spread::of(
                beside::ratios(results, (arm, reference), load, of).into_iter(),
                2,
            )
        };
        let figures = [
            ratio(Measured::cpu),
            ratio(|round| megabytes(round.memory_bytes())),
            ratio(|round| round.figures.age_p99_ms),
        ];
        let mut row: Vec<Text> = [load.to_string(), arm.clone()].map(Text::from).to_vec();
        row.extend(figures.map(|spread| spread.to_string().into()));
        if has_workers {
            let speed_up = beside::speed_ups(results, arm, load);
            let efficiency = beside::efficiencies(results, arm, load);
            let both = [speed_up, efficiency];
            row.extend(both.map(|values| Spread::of(values.into_iter(), 2).to_string().into()));
        }
        row
    };
    let others = pairs(results)
        .into_iter()
        .filter(|(_, arm)| arm != reference);
    Some(Table {
        caption: format!("How many times as much as {reference} in the same round"),
        head: head.into_iter().map(str::to_owned).collect(),
        rows: others.map(|pair| row(&pair)).collect(),
    })
}
